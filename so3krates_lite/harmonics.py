"""Spherical harmonics and the bookkeeping of spherical harmonic coordinates (SPHCs).

An SPHC vector chi holds, for every degree l of a list such as (1, 2, 3), the 2l+1 components
m = -l ... l, one degree after the other. For l = 1 the order is (y, z, x). Harmonics are
orthonormal on the sphere: their squares integrate to one, so that |Y_l(r)|^2 = (2l+1)/(4 pi) for
every direction r. Under a rotation each degree turns by its Wigner matrix; under a reflection
through the origin it takes the sign (-1)^l. Lengths of degrees, and differences of two SPHCs, are
therefore what an invariant may be made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import e3x
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from so3krates_lite.arrays import AnyArray, along_last
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.safe import safe_norm, safe_sqrt, smooth_sqrt


@lru_cache
def columns_of_degrees(degrees: tuple[int, ...]) -> Int[np.ndarray, "m_tot"]:
    """Where the wanted degrees stand among all harmonics up to the highest degree."""
    return np.concatenate([np.arange(l * l, (l + 1) ** 2, dtype=np.int32) for l in degrees])


def degree_of_component(degrees: Sequence[int]) -> Int[np.ndarray, "m_tot"]:
    """For each SPHC component the position of its degree in ``degrees``: (0,0,0, 1,1,1,1,1, …)."""
    return np.repeat(np.arange(len(degrees), dtype=np.int32), [2 * l + 1 for l in degrees])


def parity_of_component(degrees: Sequence[int]) -> Float[np.ndarray, "m_tot"]:
    """(-1)^l for each SPHC component: the sign it takes when space, or a pair, is turned round."""
    return np.repeat([(-1.0) ** l for l in degrees], [2 * l + 1 for l in degrees])


def spherical_harmonics(
    vector: Float[AnyArray, "*pairs 3"], degrees: tuple[int, ...]
) -> Float[Array, "*pairs m_tot"]:
    """Real orthonormal harmonics of the directions of ``vector``, m = -l … l, degree by degree.

    Args:
        vector: vectors of any length, in any unit; the zero vector gives 0 for every l > 0
        degrees: the wanted degrees, ascending

    Source: SPHC definition of Frank, Unke & Müller, NeurIPS 2022; values by
    `e3x.so3.spherical_harmonics`.
    """
    values = e3x.so3.spherical_harmonics(
        vector, max_degree=max(degrees), cartesian_order=False, normalization="orthonormal"
    )
    # e3x's table is float64 wherever JAX allows it, also for float32 vectors
    return values[..., columns_of_degrees(degrees)].astype(vector.dtype)


def turned(
    Y_ij: Float[AnyArray, "*pairs m_tot"], degrees: tuple[int, ...]
) -> Float[Array, "*pairs m_tot"]:
    """Y(r_ji) from Y(r_ij): the sign (-1)^l for every component."""
    sign = along_last(parity_of_component(degrees), Y_ij.ndim)
    return Y_ij * jnp.asarray(sign, Y_ij.dtype)


def repeat_degrees(
    per_degree: Float[AnyArray, "*any degrees"], degrees: tuple[int, ...]
) -> Float[AnyArray, "*any m_tot"]:
    """Give each of a degree's 2l+1 components the degree's value."""
    return per_degree[..., degree_of_component(degrees)]


def _sum_within_degrees(
    values: Float[AnyArray, "*any m_tot"], degrees: tuple[int, ...]
) -> Float[Array, "*any degrees"]:
    # a product with a constant 0/1 matrix: no scatter, and cheap to differentiate twice
    member = degree_of_component(degrees)[:, None] == np.arange(len(degrees))
    return values @ jnp.asarray(member, values.dtype)


def degree_norms(
    chi: Float[AnyArray, "*any m_tot"], degrees: tuple[int, ...]
) -> Float[Array, "*any degrees"]:
    """N_l = sqrt(sum_m chi_lm^2): the length of each degree ("norm", the paper's).

    A cone at zero, where an atom's symmetry lets a degree vanish: its derivative is defined as zero
    there, and is that of a length everywhere else.
    """
    return safe_sqrt(_sum_within_degrees(chi * chi, degrees))


def smooth_degree_norms(
    chi: Float[AnyArray, "*any m_tot"], degrees: tuple[int, ...]
) -> Float[Array, "*any degrees"]:
    """sqrt(N_l^2 + rounded^2) - rounded: lengths without the cone's tip ("smooth"), see `safe`."""
    return smooth_sqrt(_sum_within_degrees(chi * chi, degrees))


def degree_contractions(
    chi: Float[AnyArray, "*any m_tot"], degrees: tuple[int, ...]
) -> Float[Array, "*any degrees"]:
    """c_l = sum_m chi_lm^2 / sqrt(2l+1): the coupling to degree 0, smooth ("contraction")."""
    weight = along_last(np.array([1 / np.sqrt(2 * l + 1) for l in degrees]), chi.ndim)
    return _sum_within_degrees(chi * chi, degrees) * jnp.asarray(weight, chi.dtype)


_INVARIANTS = {
    "norm": degree_norms,
    "smooth": smooth_degree_norms,
    "contraction": degree_contractions,
}


def degree_invariants(
    chi: Float[AnyArray, "*any m_tot"], config: So3kratesConfig
) -> Float[Array, "*any degrees"]:
    """What the network reads of an SPHC vector or of a difference of two: one number per degree."""
    return _INVARIANTS[config.sphc_invariant](chi, config.degrees)


def sphc_length(
    chi: Float[AnyArray, "*any m_tot"], config: So3kratesConfig
) -> Float[Array, "*any"]:
    """Length over all degrees at once, with a rounded tip where the degrees have one."""
    if config.sphc_invariant == "smooth":
        return smooth_sqrt(jnp.sum(chi * chi, axis=-1))
    return safe_norm(chi)


@lru_cache
def coupling_coefficients(degrees: tuple[int, ...]) -> Float[np.ndarray, "m_tot m_tot m_tot"]:
    """Couplings C[m3, m1, m2] of two SPHCs of lower and higher degree l1 < l2 to a third, l3.

    Blocks with l1 + l2 + l3 odd are left out: they would make an invariant change sign under
    reflection. Each block that is kept has squares summing to one (3j normalisation) and the sign
    of the integral of Y_l3 Y_l1 Y_l2.

    Source: SelfMix of the NeurIPS 2022 code; values by `e3x.so3.clebsch_gordan` in float64.
    """
    top = max(degrees)
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        table = np.asarray(e3x.so3.clebsch_gordan(top, top, top, cartesian_order=False))
    columns = columns_of_degrees(degrees)
    table = table[np.ix_(columns, columns, columns)].transpose(2, 0, 1)
    degree = np.asarray(degrees)[degree_of_component(degrees)]
    l3, l1, l2 = degree[:, None, None], degree[None, :, None], degree[None, None, :]
    kept = (l1 < l2) & ((l1 + l2 + l3) % 2 == 0) & (abs(l1 - l2) <= l3) & (l3 <= l1 + l2)
    return np.where(kept, table / np.sqrt(2 * l3 + 1), 0.0)
