"""Norms whose derivatives exist everywhere.

sqrt has no derivative at zero, yet zero is common here: two equivalent atoms have the same SPHCs,
an isolated atom has none, two atoms may coincide. Every norm of the package is taken here, so that
there is one place where the derivative at zero is defined (as zero), to any order.

What ought to be zero is rarely zero to the last bit. Equivalent atoms have SPHCs that differ by a
few rounding errors, and a norm that took those for a direction would push symmetric molecules at
random: methane's carbon would feel 0.1 eV/Å. Norms within rounding of zero, for the numbers of
order one that occur here, therefore count as zero.

A derivative that is *defined* as zero is still that of a cone: one step aside it is there, in full.
`smooth_sqrt` is the length for whoever wants none: a cone whose tip is rounded off, within
``ROUNDED`` of zero a parabola, and further out the length less a constant.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from so3krates_lite.arrays import AnyArray

# Where the tip of a smooth length ends, in the unit of SPHCs: the harmonics of one direction have
# lengths of 0.5 to 0.75. Measured in docs/results.md.
ROUNDED = 0.2


def safe_sqrt(square: Float[AnyArray, "..."]) -> Float[Array, "..."]:
    """Square root; zero with all its derivatives where it would be below 64 machine epsilons."""
    positive = square > (64 * float(jnp.finfo(square.dtype).eps)) ** 2
    # the inner `where` keeps the infinite slope out of the branch that autodiff multiplies by zero
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def safe_norm(vector: Float[AnyArray, "... d"]) -> Float[Array, "..."]:
    """Euclidean length over the last axis, with zero derivatives at the zero vector."""
    return safe_sqrt(jnp.sum(vector * vector, axis=-1))


def smooth_sqrt(square: Float[AnyArray, "..."], rounded: float = ROUNDED) -> Float[Array, "..."]:
    """sqrt(square + rounded^2) - rounded, smooth to any order in what was squared.

    Written as a quotient, in which nothing cancels where ``square`` is small.
    """
    return square / (jnp.sqrt(square + rounded**2) + rounded)
