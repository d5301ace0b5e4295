"""A switch that is smooth to all orders."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from so3krates_lite.arrays import AnyArray


def smooth_switch(
    distance: Float[AnyArray, "*pairs"], begin: float, end: float
) -> Float[Array, "*pairs"]:
    """1 up to ``begin``, 0 from ``end`` on (Å), and between s(1-c) / (s(1-c) + s(c)) with
    s(u) = exp(-1/u) and c = (d - begin) / (end - begin).

    Source: Unke et al., SpookyNet, Nat. Commun. 12, 7273 (2021).
    """
    c = (distance - begin) / (end - begin)
    # of the two only the difference of the exponents matters; at the ends it is without bounds
    inside = (c > 0.005) & (c < 0.995)
    safe = jnp.where(inside, c, 0.5)
    switched = jax.nn.sigmoid(1 / safe - 1 / (1 - safe))
    return jnp.where(inside, switched, (c < 0.5).astype(switched.dtype))
