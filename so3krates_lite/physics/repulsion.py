"""Repulsion of two nuclei at short distance, after Ziegler, Biersack and Littmark (ZBL).

In SO3LR it is switched off at 1.5 Å: it acts within bonds, where it is a large part of the energy,
and keeps atoms apart where the network has never seen them.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from so3krates_lite.physics.constants import COULOMB
from so3krates_lite.physics.switch import smooth_switch

REACH = 1.5  # Å
# ZBL's own numbers, from which training starts
EXPONENTS = (3.2, 0.9423, 0.4028, 0.2016)
WEIGHTS = (0.1818, 0.5099, 0.2802, 0.02817)
POWER, INVERSE_LENGTH = 0.23, 2.1343  # of the nuclear charges; 1/Å


class Screening(NamedTuple):
    """a_m, c_m with sum 1, p and D of `repulsion`."""

    a: Float[Array, "4"]
    c: Float[Array, "4"]
    p: Float[Array, ""]
    D: Float[Array, ""]


class TrainedScreening(nn.Module):
    """The four, each positive as softplus of what is trained."""

    dtype: jnp.dtype

    @nn.compact
    def __call__(self) -> Screening:
        def positive(name: str, start: tuple[float, ...] | float) -> Array:
            raw = np.log(np.expm1(np.asarray(start)))
            value = self.param(name, lambda _: jnp.asarray(raw, self.dtype))
            return jax.nn.softplus(value)

        c = positive("c", WEIGHTS)
        a, p, D = positive("a", EXPONENTS), positive("p", POWER), positive("D", INVERSE_LENGTH)
        return Screening(a, c / c.sum(), p, D)


def repulsion(
    distance: Float[Array, "pairs"],
    phi_ij: Float[Array, "pairs"],
    charges: tuple[Float[Array, "pairs"], Float[Array, "pairs"]],
    screening: Screening,
) -> Float[Array, "pairs"]:
    """E_ij = k z_i z_j / d phi(d) S(d; 0, 1.5 Å) sum_m c_m exp(-a_m rho), in eV.

    rho = D d (z_i^p + z_j^p); S is `smooth_switch`.

    Args:
        distance: d, in Å, above 0
        phi_ij: the cutoff function of the network
        charges: nuclear charges z_i and z_j
        screening: trained numbers

    Source: Ziegler, Biersack & Littmark (1985), trained as in SO3LR (JACS 2025).
    """
    z_i, z_j = charges
    a, c, p, D = screening
    rho = D * distance * (_power(z_i, p) + _power(z_j, p))
    screened = jnp.exp(-rho[:, None] * a[None]) @ c
    coulomb = COULOMB * z_i * z_j / distance
    return coulomb * phi_ij * smooth_switch(distance, 0.0, REACH) * screened


def _power(z: Float[Array, "pairs"], p: Float[Array, ""]) -> Float[Array, "pairs"]:
    """z^p; padding has z = 0, whose logarithm nobody wants."""
    return jnp.exp(p * jnp.log(jnp.maximum(z, 1)))
