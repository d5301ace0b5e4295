"""Norms whose derivatives exist everywhere.

sqrt has no derivative at zero, yet zero is common here: two equivalent atoms have the same SPHCs,
an isolated atom has none, a padded pair has no length. Every norm of the package is taken here, so
that there is one place where the derivative at zero is defined (as zero), to any order.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def safe_sqrt(square: Float[Array, "..."]) -> Float[Array, "..."]:
    """Square root, with all derivatives zero where ``square`` is zero."""
    positive = square > 0
    # the inner `where` keeps the infinite slope out of the branch that autodiff multiplies by zero
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def safe_norm(vector: Float[Array, "... d"]) -> Float[Array, "..."]:
    """Euclidean length over the last axis, with zero derivatives at the zero vector."""
    return safe_sqrt(jnp.sum(vector * vector, axis=-1))
