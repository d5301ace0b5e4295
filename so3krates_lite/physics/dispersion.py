"""Dispersion between atoms, as between two quantum Drude oscillators (QDO).

An atom in a molecule is a free atom of another volume: its radius a and its coefficient C6 are the
free atom's times the Hirshfeld ratio. The oscillator that has both gives C8 and C10 too, and how
far the three are damped at short distance.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from so3krates_lite.arrays import AnyArray
from so3krates_lite.physics.constants import BOHR, FINE_STRUCTURE, HARTREE
from so3krates_lite.physics.switch import smooth_switch

# dipole polarisability (bohr^3) and C6 (hartree bohr^6) of free atoms
FREE_ATOMS = {
    1: (4.5, 6.5),
    6: (12.0, 46.6),
    7: (7.4, 24.2),
    8: (5.4, 15.6),
    9: (3.8, 9.52),
    15: (25.0, 185.0),
    16: (19.6, 134.0),
    17: (15.0, 94.6),
}
DAMPING = 1.2
SWITCHED = 2.0  # Å before the cutoff
_WIDTH = (-0.00433008, 0.24428889, 0.04125273, -0.00078893)  # of the oscillator, by its radius


class Polarisability(NamedTuple):
    """a (bohr^3) and C6 (hartree bohr^6) of atoms in their molecule."""

    a: Float[Array, "*atoms"]
    C6: Float[Array, "*atoms"]


def polarisability(
    ratios: Float[Array, "atoms"], numbers: Int[AnyArray, "atoms"]
) -> Polarisability:
    """Free atoms' a times the ratio v and their C6 times v^2; 1 for elements without a line."""
    table = np.ones((2, max(FREE_ATOMS) + 1))
    table[:, list(FREE_ATOMS)] = np.array(list(FREE_ATOMS.values())).T
    a, C6 = jnp.asarray(table, ratios.dtype)[:, jnp.minimum(numbers, max(FREE_ATOMS))]
    return Polarisability(a * ratios, C6 * ratios**2)


def dispersion(
    distance: Float[Array, "pairs"],
    atoms: tuple[Polarisability, Polarisability],
    cutoff: float | None,
) -> Float[Array, "pairs"]:
    """E_ij = -C6/(R^6 + p^6) - C8/(R^8 + p^8) - C10/(R^10 + p^10), in eV.

    R in bohr; p = 2.4 * 2.54 a_ij^(1/7), C8 = 5 C6 / g, C10 = 245 C6 / (8 g^2), g = 1 / (2 w^2), w
    a polynomial of the radius alpha^(-4/21) a_ij^(1/7). With a cutoff c times S(d; c - 2 Å, c).

    Args:
        distance: in Å, above 0
        atoms: of both atoms
        cutoff: c, in Å; None: none

    Source: Khabibrakhmanov, Fedorov & Tkatchenko, J. Chem. Theory Comput. 19, 7895 (2023), as in
    SO3LR (JACS 2025).
    """
    i, j = atoms
    a = (i.a + j.a) / 2
    C6 = 2 * i.C6 * j.C6 * i.a * j.a / (i.a**2 * j.C6 + j.a**2 * i.C6)
    root = a ** (1 / 7)
    radius = FINE_STRUCTURE ** (-4 / 21) * root
    w = _WIDTH[0] + radius * (_WIDTH[1] + radius * (_WIDTH[2] + radius * _WIDTH[3]))
    wide = 2 * w * w  # 1 / g
    C8, C10 = 5 * C6 * wide, 245 / 8 * C6 * wide**2
    p2, R2 = (2 * DAMPING * 2.54 * root) ** 2, (distance / BOHR) ** 2
    total = C6 / (R2**3 + p2**3) + C8 / (R2**4 + p2**4) + C10 / (R2**5 + p2**5)
    energy = -HARTREE * total
    if cutoff is not None:
        energy = energy * smooth_switch(distance, cutoff - SWITCHED, cutoff)
    return energy
