"""Electrostatics of partial charges that are smeared out.

Two charges repel by k q q / r; near each other the network knows better, so the sum is damped there
to k q q erf(r / sigma) / r. All pairs count, bonded ones too.

With a cutoff the potential is shifted by a constant, and near the cutoff its slope too, so that
energy and force go to zero. The constant depends on the cutoff and is felt wherever charges within
it do not sum to zero: molecules are therefore computed without one.

In a cell the sum over all images can be had, too (Ewald). Charges that are smeared out have no
short waves, so that it is a sum over a few thousand long ones, and nothing is left for pairs.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from so3krates_lite.physics.constants import COULOMB
from so3krates_lite.physics.switch import smooth_switch

SIGMA = 4.0  # Å
CUT_ON = 0.45  # of the cutoff: from there on the slope is shifted, too


def electrostatics(
    distance: Float[Array, "pairs"],
    charges: tuple[Float[Array, "pairs"], Float[Array, "pairs"]],
    cutoff: float | None,
) -> Float[Array, "pairs"]:
    """E_ij = k q_i q_j V(d), in eV, with V(d) = erf(d / sigma) / d.

    With a cutoff c, 0 beyond it and V(d) - V(c) - (1 - f) V'(c) (d - c) below, where
    f = S(d; 0.45 c, c) is `smooth_switch`.

    Args:
        distance: d, in Å, above 0
        charges: q_i and q_j, in e
        cutoff: c, in Å; None: none

    Source: SO3LR (Kabylda et al., JACS 2025) and its public code.
    """
    potential = jax.lax.erf(distance / SIGMA) / distance
    if cutoff is not None:
        gaussian = 2 * math.exp(-((cutoff / SIGMA) ** 2)) / (math.sqrt(math.pi) * SIGMA * cutoff)
        at_cutoff = math.erf(cutoff / SIGMA) / cutoff
        slope = gaussian - at_cutoff / cutoff
        off = 1 - smooth_switch(distance, CUT_ON * cutoff, cutoff)
        shifted = potential - at_cutoff - off * slope * (distance - cutoff)
        potential = jnp.where(distance < cutoff, shifted, 0)
    return COULOMB * charges[0] * charges[1] * potential


def ewald(
    charges: Float[Array, "atoms"],
    places: Float[Array, "atoms 3"],
    displacement: Float[Array, "atoms 3"],
    cell: Float[Array, "3 3"],
    waves: Int[Array, "waves 3"],
) -> Float[Array, "atoms"]:
    """Energy of each atom, in eV: half the sum of k q_i q_j V over all atoms and images but itself.

    An excess of charge is made up for by an even background.

    Args:
        charges: in e, 0 for padding
        places: shares of the cell's vectors
        displacement: from there, in Å
        cell: rows are lattice vectors, in Å
        waves: whole numbers, one of each two opposite ones; 0 for padding

    Source: Ewald's sum, its reciprocal part, by `jaxpme`; V = erf(d / sigma) / d is the potential
    of a Gaussian of width sigma / sqrt(2), so there is no other part.
    """
    from jaxpme.potentials import potential as of_smeared
    from jaxpme.solvers import ewald as solver

    positions = places @ cell + displacement
    k = 2 * math.pi * jnp.asarray(waves, cell.dtype) @ jnp.linalg.inv(cell).T
    volume = jnp.abs(jnp.linalg.det(cell))
    width = SIGMA / math.sqrt(2)
    sums = solver(of_smeared(), halfspace=True)
    potential = sums.kspace(width, charges, k, positions, volume, cell, None)
    return COULOMB * charges * potential
