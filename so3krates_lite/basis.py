"""Distances as features: the radial basis and the cutoff.

A distance enters the network as K smooth bumps, placed evenly in exp(-d), so that they lie densely
where bonds are and thinly far out. The cutoff takes every pair smoothly to zero at ``cutoff``; it
multiplies the attention coefficients, so an atom that drifts out of reach fades instead of
vanishing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import e3x
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import gammaln

from so3krates_lite.arrays import AnyArray, along_last
from so3krates_lite.config import Cutoff, So3kratesConfig
from so3krates_lite.units import BOHR

# of Bernstein polynomials, 1/Å; float32 whatever the rest is, since SO3LR was trained with it so
BERNSTEIN_DECAY = float(np.float32(0.5 / BOHR))


def radial_basis(
    distance: Float[AnyArray, "*pairs"], number: int, cutoff: float
) -> Float[Array, "*pairs K"]:
    """Gaussians in exp(-d), evenly spaced between exp(-cutoff) and 1.

    e_k(d) = exp(-beta (exp(-d) - mu_k)^2) with mu_k = linspace(exp(-cutoff), 1, K) and
    beta = [2/K (1 - exp(-cutoff))]^-2, nothing trainable.

    Args:
        distance: distances in Å; exp(-d) reads them in units of 1 Å
        number: K, how many functions
        cutoff: in Å

    Source: Unke & Meuwly, J. Chem. Theory Comput. 15, 3678 (2019), eq. 7, with fixed centres and
    widths as in So3krates. `e3x.nn.exponential_gaussian` spans the centres from 0 to 1 and has
    another width, so the function is written out here.
    """
    lowest = math.exp(-cutoff)
    centres = along_last(np.linspace(lowest, 1.0, number), distance.ndim + 1)
    beta = (2.0 / number * (1.0 - lowest)) ** -2
    centres = jnp.asarray(centres, distance.dtype)
    return jnp.exp(-beta * (jnp.exp(-distance)[..., None] - centres) ** 2)


def bernstein_basis(distance: Float[AnyArray, "*pairs"], number: int) -> Float[Array, "*pairs K"]:
    """Bernstein polynomials b_k = C(K-1, k) y^k (1-y)^(K-1-k) of y = exp(-d / (2 bohr)).

    Each has one maximum, at its own distance, and together they sum to one.

    Args:
        distance: in Å
        number: K, how many functions

    Source: Unke et al., SpookyNet (2021), as in SO3LR; `e3x.nn.exponential_bernstein` has the same
    with binomials of single precision, and so is written out here.
    """
    n = number - 1
    k = along_last(np.arange(float(number)), distance.ndim + 1)
    binomial = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    k, rest, binomial = (jnp.asarray(value, distance.dtype) for value in (k, n - k, binomial))
    decay = BERNSTEIN_DECAY * distance[..., None]
    one_less = -jnp.expm1(-decay)
    apart = one_less > 0
    # where d is 0 all but the last are: e^-1000 is that, and its power 0 is one
    logarithm = jnp.where(apart, jnp.log(jnp.where(apart, one_less, 1)), -1000)
    return jnp.exp(binomial - k * decay + rest * logarithm)


def decay_of(config: So3kratesConfig) -> float:
    """The basis of a form reads exp(-decay d), with d in Å."""
    return BERNSTEIN_DECAY if config.form.basis == "bernstein" else 1.0


def polynomial_basis(
    distance: Float[AnyArray, "*pairs"], number: int, decay: float = 1.0
) -> Float[Array, "*pairs K"]:
    """Chebyshev polynomials T_0 … T_{K-1} of 2 exp(-decay d) - 1, of which fitted filters are sums.

    Between 0 and any distance they span what is smooth in exp(-decay d), as the bases are.
    By `e3x.nn.exponential_chebyshev`; distances in Å.
    """
    return e3x.nn.exponential_chebyshev(distance, number, decay)


def cosine_cutoff(distance: Float[AnyArray, "*pairs"], cutoff: float) -> Float[Array, "*pairs"]:
    """phi(d) = (cos(pi d / cutoff) + 1) / 2 below ``cutoff`` (Å), 0 beyond;
    continuously differentiable.

    Source: Behler & Parrinello, Phys. Rev. Lett. 98, 146401 (2007), by `e3x.nn.cosine_cutoff`.
    """
    return e3x.nn.cosine_cutoff(distance, cutoff)


def polynomial_cutoff(ratio: Float[AnyArray, "*pairs"], p: int = 6) -> Float[Array, "*pairs"]:
    """1 - (p+1)(p+2)/2 t^p + p(p+2) t^(p+1) - p(p+1)/2 t^(p+2) for a ratio t below 1, 0 beyond.

    Twice continuously differentiable, and almost 1 up to t = 1/2.

    Source: Gasteiger, Groß & Günnemann, Directional message passing, ICLR 2020, eq. 8.
    """
    t = jnp.clip(ratio, 0, 1)
    # The same polynomial with its triple root at 1 taken out: rounding cannot make it negative.
    rest = sum((k + 1) * (k + 2) / 2 * t**k for k in range(p))
    return (1 - t) ** 3 * rest


CUTOFFS: dict[Cutoff, Callable[..., Array]] = {
    "cosine": cosine_cutoff,
    "polynomial": lambda distance, cutoff: polynomial_cutoff(distance / cutoff, p=3),
}


def cutoff_function(
    distance: Float[AnyArray, "*pairs"], config: So3kratesConfig, cutoff: float | None = None
) -> Float[Array, "*pairs"]:
    """phi(d) of a form of So3krates; ``cutoff`` (Å) instead of the configuration's own."""
    return CUTOFFS[config.form.cutoff](distance, cutoff or config.cutoff)


def filter_basis(
    distance: Float[AnyArray, "*pairs"], config: So3kratesConfig
) -> Float[Array, "*pairs K"]:
    """What radial filters read of a distance."""
    if config.filter_polynomials is not None:
        return polynomial_basis(distance, config.filter_polynomials, decay_of(config))
    if config.form.basis == "bernstein":
        e_ij = bernstein_basis(distance, config.radial_functions)
    else:
        e_ij = radial_basis(distance, config.radial_functions, config.cutoff)
    if config.radial_cutoff:
        e_ij = e_ij * cutoff_function(distance, config)[..., None]
    return e_ij
