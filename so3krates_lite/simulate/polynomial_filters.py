"""Radial filters as polynomials: a trained model that is only used can be quicker.

To learn a filter takes a network; to know it takes a curve. A trained radial filter is one smooth
function of the distance per feature, and a sum of Chebyshev polynomials follows it as closely as
one likes: one product where the network needs two and an activation. The result is a potential
like any other, to be saved, loaded and simulated with; its forces are the exact derivative of its
energy, so that energy is conserved whatever the fit.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from so3krates_lite.basis import decay_of
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.ensemble import Ensemble
from so3krates_lite.errors import UserError, is_whole, require
from so3krates_lite.filters import FILTERS, radial_parts, with_polynomials
from so3krates_lite.potential import Potential
from so3krates_lite.runtime.settings import precision_context


class FilterFit(NamedTuple):
    """How far polynomials are from the filters that they stand for, over all layers and features
    and all distances within the cutoff."""

    largest_error: float
    root_mean_square: float  # of the filters themselves


def fit_filters(potential: Potential, polynomials: int = 64) -> tuple[Potential, FilterFit]:
    """The same potential with radial filters as sums of Chebyshev polynomials of exp(-d).

    In the form of SO3LR, whose basis reads another exponential, of that.

    The polynomials interpolate the filters at the Chebyshev points, in float64, so their error
    falls exponentially with their number until it reaches the precision of the potential. What it
    means for energies and forces is best seen by evaluating both potentials.

    Args:
        potential: a trained So3krates
        polynomials: how many, 2 or more

    Returns:
        the fitted potential, whose card states the fit, and the fit's error

    Raises:
        UserError: another architecture, filters that are fitted already, too few polynomials
    """
    config = potential.config
    if not isinstance(config, So3kratesConfig):
        raise UserError(
            f"The potential is a {config.architecture}, which has no radial filters: fit_filters "
            f"takes a So3krates."
        )
    if config.filter_polynomials is not None:
        raise UserError(
            f"The potential's filters are {config.filter_polynomials} polynomials already: pass "
            f"the one it was made from."
        )
    whole = is_whole(polynomials, least=2)
    require(whole, "polynomials", polynomials, "a whole number, 2 or more")
    polynomials = int(polynomials)

    if isinstance(potential, Ensemble):
        raise UserError(
            "fit_filters takes one network: pass one of the ensemble, such as ensemble.member(0)."
        )
    with precision_context(np.dtype(np.float64)):
        exact_params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), potential.params)
        params = jax.device_get(with_polynomials(exact_params, config, polynomials))
    fits, decay = [], decay_of(config)
    within = np.linspace(np.exp(-decay * config.cutoff), 1, 2001)
    for name in FILTERS:
        networks = potential.params["layers"][name]["radial"]
        exact = radial_filters(networks, -np.log(within) / decay, config)
        kernel = np.moveaxis(params["layers"][name]["radial"]["kernel"], 1, 0)
        found = np.polynomial.chebyshev.chebval(2 * within - 1, kernel.reshape(polynomials, -1)).T
        fits.append((np.abs(found - exact).max(), (exact**2).mean()))
    worst, squares = zip(*fits, strict=True)
    fit = FilterFit(float(max(worst)), float(np.sqrt(np.mean(squares))))
    stated = (
        f"{polynomials} Chebyshev polynomials fitted to the trained filters, largest error "
        f"{fit.largest_error:.1e} where filters are {fit.root_mean_square:.2f} (root mean square)"
    )
    fitted = dataclasses.replace(
        potential,
        config=dataclasses.replace(config, filter_polynomials=polynomials),
        params=jax.tree.map(lambda leaf: leaf.astype(potential.dtype), params),
        card={**potential.card, "radial filters": stated},
    )
    return fitted, fit


def radial_filters(
    networks: dict, distance: Float[np.ndarray, "points"], config: So3kratesConfig
) -> Float[np.ndarray, "points layers_and_features"]:
    """MLP_r of every layer and feature at distances (Å), in float64."""
    with precision_context(np.dtype(np.float64)):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), networks)
        values = radial_parts(params, jnp.asarray(distance, jnp.float64), config)
        return np.moveaxis(np.asarray(values), 0, 1).reshape(len(distance), -1)
