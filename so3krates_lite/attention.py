"""Attention between atoms: coefficients without softmax, signed, and cut off with distance.

For a pair (i, j) atom i asks with q_i, atom j answers with k_j, and the filter w_ij of their two
distances is woven into the scalar product:

    alpha_ij = sum_f (q_i * w_ij * k_j) / sqrt(f)

There is no softmax: a coefficient may be negative, and the coefficients of one atom need not sum to
one. What reaches atom i is alpha_ij times the cutoff phi(d_ij). *Feature attention* has H heads,
each on its share of the features, and moves x; *geometric attention* has one head per degree l and
moves the SPHCs chi along the harmonics Y_l(r_ij).

Where the model has a spherical neighbourhood, the geometric attention works there, too, with the
same queries, keys and filters; what weighs a pair is then its nearness phi_chi in SPHC space.

Every undirected pair is met once. "First asks second" and "second asks first" share w_ij and differ
in the roles of q and k, and in the sign (-1)^l of Y_l.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.graph import PairList, Pairs
from so3krates_lite.harmonics import degree_norms, parity_of_component, repeat_degrees
from so3krates_lite.safe import safe_norm


class Neighbourhood(NamedTuple):
    """Pairs and what their geometry gives to every layer; r_ij points from first to second atom."""

    pairs: Pairs
    e_ij: Float[Array, "pairs K"]  # radial basis
    phi_ij: Float[Array, "pairs"]  # cutoff, 0 for padding
    Y_ij: Float[Array, "pairs m_tot"]  # spherical harmonics


class Switched(NamedTuple):
    """Factors on the coefficients of one block: 1 as trained, 0 switched off."""

    to_first: Float[Array, "pairs channels"]
    to_second: Float[Array, "pairs channels"]

    @classmethod
    def of(
        cls, factors: Float[Array, "layers graphs atoms atoms channels"], listed: PairList
    ) -> Switched:
        """From [receiver, sender] to the pairs of a list; a leading axis over layers stays."""
        graph = jnp.arange(factors.shape[1])[:, None]
        one = factors[:, graph, listed.first, listed.second]
        other = factors[:, graph, listed.second, listed.first]
        flat = (factors.shape[0], -1, factors.shape[-1])
        return cls(one.reshape(flat), other.reshape(flat))


class BlockRecord(NamedTuple):
    """Attention of one block for both directions of each pair: [0] first asks, [1] second asks."""

    coefficient: Float[Array, "2 pairs channels"]  # alpha_ij
    weight: Float[Array, "2 pairs"]  # what multiplies it: the cutoff, or nearness in SPHC space
    contribution: Float[Array, "2 pairs channels"]  # length of what the pair adds


class HeadwiseDense(nn.Module):
    """One linear map per head, each from its own share of the features: one batched product.

    The result lies flat, head after head: pairs of flat rows are gathered, multiplied and summed
    in half the time of pairs of small matrices.
    """

    heads: int
    use_bias: bool

    @nn.compact
    def __call__(self, x: Float[Array, "atoms F"]) -> Float[Array, "atoms F"]:
        f = x.shape[-1] // self.heads
        initializer = nn.initializers.lecun_normal(batch_axis=0)
        kernel = self.param("kernel", initializer, (self.heads, f, f), x.dtype)
        y = jnp.einsum("nhf,hfg->nhg", x.reshape(-1, self.heads, f), kernel)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.heads, f), x.dtype)
        return y.reshape(x.shape)


def sum_within_heads(values: Float[Array, "pairs F"], heads: int) -> Float[Array, "pairs heads"]:
    """One number per head: the sum over its share of the features."""
    return jnp.sum(values.reshape(len(values), heads, -1), axis=-1)


def repeat_heads(per_head: Float[Array, "pairs heads"], features: int) -> Float[Array, "pairs F"]:
    """Give each of a head's features the head's value."""
    pairs, heads = per_head.shape
    shape = (pairs, heads, features // heads)
    return jnp.broadcast_to(per_head[..., None], shape).reshape(pairs, features)


class Coefficients(nn.Module):
    """alpha_ij and alpha_ji of every pair, before the cutoff, for one or more lists of pairs."""

    config: So3kratesConfig
    heads: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "atoms F"], *lists: tuple[Float[Array, "pairs F"], Pairs]
    ) -> list[tuple[Float[Array, "pairs heads"], Float[Array, "pairs heads"]]]:
        use_bias = self.config.variant == "paper"
        q = HeadwiseDense(self.heads, use_bias, name="query")(x)
        k = HeadwiseDense(self.heads, use_bias, name="key")(x)
        scale = 1 / math.sqrt(x.shape[-1] // self.heads)

        def both_directions(w_ij: Float[Array, "pairs F"], pairs: Pairs):
            (q_i, q_j), (k_i, k_j) = pairs.ends(q), pairs.ends(k)
            alpha_ij = sum_within_heads(q_i * w_ij * k_j, self.heads) * scale
            alpha_ji = sum_within_heads(q_j * w_ij * k_i, self.heads) * scale
            return alpha_ij, alpha_ji

        return [both_directions(*each) for each in lists]


class FeatureAttention(nn.Module):
    """dx_i = concat_h sum_j phi_ij alpha_ij^h v_j^h, with v = W_v x of each head's share.

    Source: So3krates, feature block.
    """

    config: So3kratesConfig

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "atoms F"],
        w_ij: Float[Array, "pairs F"],
        local: Neighbourhood,
        record: bool,
        switched: Switched | None = None,
    ) -> tuple[Float[Array, "atoms F"], BlockRecord | None]:
        heads, pairs = self.config.heads, local.pairs
        coefficients = Coefficients(self.config, heads, name="coefficients")
        ((alpha_ij, alpha_ji),) = coefficients(x, (w_ij, pairs))
        if switched is not None:
            alpha_ij, alpha_ji = alpha_ij * switched.to_first, alpha_ji * switched.to_second
        use_bias = self.config.variant == "paper"
        v_i, v_j = pairs.ends(HeadwiseDense(heads, use_bias, name="value")(x))
        phi_ij, F = local.phi_ij[:, None], x.shape[-1]
        to_i = repeat_heads(phi_ij * alpha_ij, F) * v_j
        to_j = repeat_heads(phi_ij * alpha_ji, F) * v_i
        dx = pairs.collect(to_i, to_j)
        if not record:
            return dx, None
        size = safe_norm(jnp.stack([to_i, to_j]).reshape(2, *alpha_ij.shape, -1))
        weight = jnp.stack([local.phi_ij] * 2)
        return dx, BlockRecord(jnp.stack([alpha_ij, alpha_ji]), weight, size)


class GeometricAttention(nn.Module):
    """dchi_i^(l) = sum_j weight_ij alpha_ij^(l) Y^(l)(r_ij), one head per degree l.

    The sum goes over one or more neighbourhoods, each with a filter and two weights per pair, one
    for each direction: phi_ij twice in the local one, phi_chi in the spherical one.

    Source: So3krates, geometric block, and eq. 14 for the spherical neighbourhood.
    """

    config: So3kratesConfig

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "atoms F"],
        neighbourhoods: Sequence[Neighbourhood],
        filters: Sequence[Float[Array, "pairs F"]],
        weights: Sequence[tuple[Float[Array, "pairs"], Float[Array, "pairs"]]],
        record: bool,
        switched: Sequence[Switched | None] | None = None,
    ) -> tuple[Float[Array, "atoms m_tot"], list[BlockRecord]]:
        degrees = self.config.degrees
        coefficients = Coefficients(self.config, len(degrees), name="coefficients")
        lists = [each.pairs for each in neighbourhoods]
        alphas = coefficients(x, *zip(filters, lists, strict=True))
        dchi, records = 0, []
        for near, (alpha_ij, alpha_ji), (w_ij, w_ji), switch in zip(
            neighbourhoods, alphas, weights, switched or [None] * len(lists), strict=True
        ):
            if switch is not None:
                alpha_ij, alpha_ji = alpha_ij * switch.to_first, alpha_ji * switch.to_second
            Y_ji = near.Y_ij * jnp.asarray(parity_of_component(degrees), near.Y_ij.dtype)
            dchi += near.pairs.collect(
                repeat_degrees(w_ij[:, None] * alpha_ij, degrees) * near.Y_ij,
                repeat_degrees(w_ji[:, None] * alpha_ji, degrees) * Y_ji,
            )
            if record:
                alpha, weight = jnp.stack([alpha_ij, alpha_ji]), jnp.stack([w_ij, w_ji])
                length = degree_norms(near.Y_ij, degrees)
                size = jnp.abs(alpha) * weight[..., None] * length
                records.append(BlockRecord(alpha, weight, size))
        return dchi, records
