"""Attention between atoms: coefficients without softmax, signed, and cut off with distance.

For a pair (i, j) atom i asks with q_i, atom j answers with k_j, and the filter w_ij of their two
distances is woven into the scalar product:

    alpha_ij = sum_f (q_i * w_ij * k_j) / sqrt(f)

There is no softmax: a coefficient may be negative, and the coefficients of one atom need not sum to
one. What reaches atom i is alpha_ij times the cutoff phi(d_ij). *Feature attention* has H heads,
each on its share of the features, and moves x; *geometric attention* has one head per degree l and
moves the SPHCs chi along the harmonics Y_l(r_ij).

Every undirected pair is met once. "First asks second" and "second asks first" share w_ij and differ
in the roles of q and k, and in the sign (-1)^l of Y_l.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from so3krates_lite.config import ModelConfig
from so3krates_lite.graph import Pairs
from so3krates_lite.harmonics import degree_norms, parity_of_component, repeat_degrees
from so3krates_lite.safe import safe_norm


class Geometry(NamedTuple):
    """What the pairs' geometry gives to every layer; r_ij points from first to second atom."""

    e_ij: Float[Array, "pairs K"]  # radial basis
    phi_ij: Float[Array, "pairs"]  # cutoff, 0 for padding
    Y_ij: Float[Array, "pairs m_tot"]  # spherical harmonics


class BlockRecord(NamedTuple):
    """Attention of one block for both directions of each pair: [0] first asks, [1] second asks."""

    coefficient: Float[Array, "2 pairs channels"]  # alpha_ij
    contribution: Float[Array, "2 pairs channels"]  # length of what the pair adds


class HeadwiseDense(nn.Module):
    """One linear map per head, each from its own share of the features: one batched product."""

    heads: int
    use_bias: bool

    @nn.compact
    def __call__(self, x: Float[Array, "atoms F"]) -> Float[Array, "atoms heads f"]:
        f = x.shape[-1] // self.heads
        initializer = nn.initializers.lecun_normal(batch_axis=0)
        kernel = self.param("kernel", initializer, (self.heads, f, f), x.dtype)
        y = jnp.einsum("nhf,hfg->nhg", x.reshape(-1, self.heads, f), kernel)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.heads, f), x.dtype)
        return y


class Coefficients(nn.Module):
    """alpha_ij and alpha_ji of every pair, before the cutoff."""

    config: ModelConfig
    heads: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "atoms F"], w_ij: Float[Array, "pairs F"], pairs: Pairs
    ) -> tuple[Float[Array, "pairs heads"], Float[Array, "pairs heads"]]:
        use_bias = self.config.variant == "paper"
        q_i, q_j = pairs.ends(HeadwiseDense(self.heads, use_bias, name="query")(x))
        k_i, k_j = pairs.ends(HeadwiseDense(self.heads, use_bias, name="key")(x))
        w_ij = w_ij.reshape(q_i.shape)
        scale = 1 / math.sqrt(q_i.shape[-1])
        alpha_ij = jnp.sum(q_i * w_ij * k_j, axis=-1) * scale
        alpha_ji = jnp.sum(q_j * w_ij * k_i, axis=-1) * scale
        return alpha_ij, alpha_ji


class FeatureAttention(nn.Module):
    """dx_i = concat_h sum_j phi_ij alpha_ij^h v_j^h, with v = W_v x of each head's share.

    Source: So3krates, feature block.
    """

    config: ModelConfig

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "atoms F"],
        w_ij: Float[Array, "pairs F"],
        geometry: Geometry,
        pairs: Pairs,
        record: bool,
    ) -> tuple[Float[Array, "atoms F"], BlockRecord | None]:
        heads = self.config.heads
        alpha_ij, alpha_ji = Coefficients(self.config, heads, name="coefficients")(x, w_ij, pairs)
        use_bias = self.config.variant == "paper"
        v_i, v_j = pairs.ends(HeadwiseDense(heads, use_bias, name="value")(x))
        phi_ij = geometry.phi_ij[:, None]
        to_i = (phi_ij * alpha_ij)[..., None] * v_j
        to_j = (phi_ij * alpha_ji)[..., None] * v_i
        dx = pairs.collect(to_i, to_j).reshape(x.shape)
        if not record:
            return dx, None
        size = jnp.stack([safe_norm(to_i), safe_norm(to_j)])
        return dx, BlockRecord(jnp.stack([alpha_ij, alpha_ji]), size)


class GeometricAttention(nn.Module):
    """dchi_i^(l) = sum_j phi_ij alpha_ij^(l) Y^(l)(r_ij), one head per degree l.

    Source: So3krates, geometric block (local part).
    """

    config: ModelConfig

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "atoms F"],
        w_ij: Float[Array, "pairs F"],
        geometry: Geometry,
        pairs: Pairs,
        record: bool,
    ) -> tuple[Float[Array, "atoms m_tot"], BlockRecord | None]:
        degrees = self.config.degrees
        coefficients = Coefficients(self.config, len(degrees), name="coefficients")
        alpha_ij, alpha_ji = coefficients(x, w_ij, pairs)
        phi_ij = geometry.phi_ij[:, None]
        Y_ji = geometry.Y_ij * jnp.asarray(parity_of_component(degrees), geometry.Y_ij.dtype)
        dchi = pairs.collect(
            repeat_degrees(phi_ij * alpha_ij, degrees) * geometry.Y_ij,
            repeat_degrees(phi_ij * alpha_ji, degrees) * Y_ji,
        )
        if not record:
            return dchi, None
        alpha = jnp.stack([alpha_ij, alpha_ji])
        size = jnp.abs(alpha) * phi_ij * degree_norms(geometry.Y_ij, degrees)
        return dchi, BlockRecord(alpha, size)
