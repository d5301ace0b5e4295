"""Electrostatics of partial charges that are smeared out.

Two charges repel by k q q / r; near each other the network knows better, so the sum is damped there
to k q q erf(r / sigma) / r. All pairs count, bonded ones too.

With a cutoff the potential is shifted by a constant, and near the cutoff its slope too, so that
energy and force go to zero. The constant depends on the cutoff and is felt wherever charges within
it do not sum to zero: molecules are therefore computed without one.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

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
