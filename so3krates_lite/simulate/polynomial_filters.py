"""Radial filters as polynomials: a trained model that is only used can be quicker.

To learn a filter takes a network; to know it takes a curve. A trained radial filter is one smooth
function of the distance per feature, and a sum of Chebyshev polynomials follows it as closely as
one likes: one product where the network needs two and an activation. The result is a potential
like any other, to be saved, loaded and simulated with; its forces are the exact derivative of its
energy, so that energy is conserved whatever the fit.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.polynomial.chebyshev import chebinterpolate, chebval

from so3krates_lite.basis import decay_of, filter_basis
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.ensemble import Ensemble
from so3krates_lite.errors import UserError, is_whole, require
from so3krates_lite.filters import FilterMLP
from so3krates_lite.potential import Potential
from so3krates_lite.runtime.settings import precision_context

FILTERS = ("feature_filter", "geometric_filter")
NUMBERS = (32, 64, 128, 256, 512)  # of polynomials that are tried
FINE = 1e-4  # largest error over root mean square of the filters


class FilterFit(NamedTuple):
    """How far polynomials are from the filters that they stand for, over all layers and features
    and all distances within the cutoff."""

    largest_error: float
    root_mean_square: float  # of the filters themselves


def fit_filters(
    potential: Potential, polynomials: int | None = None
) -> tuple[Potential, FilterFit]:
    """The same potential with radial filters as sums of Chebyshev polynomials of exp(-d).

    In the form of SO3LR, whose basis reads another exponential, of that.

    The polynomials interpolate the filters at the Chebyshev points, in float64, so their error
    falls exponentially with their number until it reaches the precision of the potential. How many
    it takes depends on the training: 64 that serve a filter learnt by Adam can miss a tenth of one
    learnt by Muon. What it means for energies and forces is best seen by evaluating both
    potentials.

    Args:
        potential: a trained So3krates
        polynomials: how many, 2 or more; None: the least of 32, 64, 128, 256 and 512 whose largest
            error is below a ten-thousandth of the filters' root mean square, or the last of them

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
    fits = polynomials is None or is_whole(polynomials, least=2)
    require(fits, "polynomials", polynomials, "a whole number, 2 or more, or None")

    if isinstance(potential, Ensemble):
        raise UserError(
            "fit_filters takes one network: pass one of the ensemble, such as ensemble.member(0)."
        )
    networks = {name: potential.params["layers"][name]["radial"] for name in FILTERS}
    decay = decay_of(config)

    def filters(name, t):  # t = 2 exp(-decay d) - 1
        return radial_filters(networks[name], -np.log((t + 1) / 2) / decay, config)

    within = 2 * np.linspace(np.exp(-decay * config.cutoff), 1, 2001) - 1
    exact = {name: filters(name, within) for name in FILTERS}
    rms = float(np.sqrt(np.mean([(values**2).mean() for values in exact.values()])))
    for number in NUMBERS if polynomials is None else (int(polynomials),):
        kernels = {name: chebinterpolate(partial(filters, name), number - 1) for name in FILTERS}
        apart = [np.abs(chebval(within, kernels[name]).T - exact[name]).max() for name in FILTERS]
        fit = FilterFit(float(max(apart)), rms)
        if fit.largest_error < FINE * rms:
            break
    layers = dict(potential.params["layers"])
    for name, kernel in kernels.items():
        kernel = kernel.reshape(number, config.layers, config.features).transpose(1, 0, 2)
        layers[name] = {**layers[name], "radial": {"kernel": kernel.astype(potential.dtype)}}
    stated = (
        f"{number} Chebyshev polynomials fitted to the trained filters, largest error "
        f"{fit.largest_error:.1e} where filters are {fit.root_mean_square:.2f} (root mean square)"
    )
    fitted = dataclasses.replace(
        potential,
        config=dataclasses.replace(config, filter_polynomials=number),
        params={**potential.params, "layers": layers},
        card={**potential.card, "radial filters": stated},
    )
    return fitted, fit


def radial_filters(
    networks: dict, distance: Float[np.ndarray, "points"], config: So3kratesConfig
) -> Float[np.ndarray, "points layers_and_features"]:
    """MLP_r of every layer and feature at distances (Å), in float64."""
    with precision_context(np.dtype(np.float64)):
        e = filter_basis(jnp.asarray(distance, jnp.float64), config)
        network = FilterMLP(config.radial_hidden, config.features)
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), networks)
        values = jax.vmap(lambda one: network.apply({"params": one}, e), out_axes=1)(params)
        return np.asarray(values).reshape(len(distance), -1)
