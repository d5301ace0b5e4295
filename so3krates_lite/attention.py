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
from so3krates_lite.harmonics import degree_norms, parity_of_component, repeat_degrees
from so3krates_lite.safe import safe_norm
from so3krates_lite.structures.graph import PairList, Pairs


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

    def applied(
        self, alphas: tuple[Float[Array, "pairs channels"], Float[Array, "pairs channels"]]
    ) -> tuple[Float[Array, "pairs channels"], Float[Array, "pairs channels"]]:
        """The coefficients of both directions times their factors."""
        return alphas[0] * self.to_first, alphas[1] * self.to_second


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


class Roles(NamedTuple):
    """How atoms take part: they ask with q, answer with k, and hand on v."""

    q: Float[Array, "atoms F"]
    k: Float[Array, "atoms F"]
    v: Float[Array, "atoms F"] | None = None


def coefficients(
    first: Roles, second: Roles, w_ij: Float[Array, "pairs F"], heads: int
) -> tuple[Float[Array, "pairs heads"], Float[Array, "pairs heads"]]:
    """alpha_ij and alpha_ji of pairs, before the cutoff; roles are those of a pair's two atoms."""
    scale = 1 / math.sqrt(w_ij.shape[-1] // heads)
    alpha_ij = sum_within_heads(first.q * w_ij * second.k, heads) * scale
    alpha_ji = sum_within_heads(second.q * w_ij * first.k, heads) * scale
    return alpha_ij, alpha_ji


def feature_messages(
    first: Roles,
    second: Roles,
    alphas: tuple[Float[Array, "pairs heads"], Float[Array, "pairs heads"]],
    phi_ij: Float[Array, "pairs"],
) -> tuple[Float[Array, "pairs F"], Float[Array, "pairs F"]]:
    """What every pair adds to x of its first and of its second atom."""
    (alpha_ij, alpha_ji), F = alphas, first.v.shape[-1]
    to_first = repeat_heads(phi_ij[:, None] * alpha_ij, F) * second.v
    to_second = repeat_heads(phi_ij[:, None] * alpha_ji, F) * first.v
    return to_first, to_second


def geometric_messages(
    alphas: tuple[Float[Array, "pairs degrees"], Float[Array, "pairs degrees"]],
    weights: tuple[Float[Array, "pairs"], Float[Array, "pairs"]],
    Y_ij: Float[Array, "pairs m_tot"],
    degrees: tuple[int, ...],
) -> tuple[Float[Array, "pairs m_tot"], Float[Array, "pairs m_tot"]]:
    """What every pair adds to chi of its first and of its second atom."""
    (alpha_ij, alpha_ji), (w_ij, w_ji) = alphas, weights
    Y_ji = Y_ij * jnp.asarray(parity_of_component(degrees), Y_ij.dtype)
    to_first = repeat_degrees(w_ij[:, None] * alpha_ij, degrees) * Y_ij
    to_second = repeat_degrees(w_ji[:, None] * alpha_ji, degrees) * Y_ji
    return to_first, to_second


class QueryAndKey(nn.Module):
    """q = W_q x and k = W_k x, head by head."""

    config: So3kratesConfig
    heads: int

    @nn.compact
    def __call__(self, x: Float[Array, "atoms F"]) -> Roles:
        use_bias = self.config.mixes_degrees
        q = HeadwiseDense(self.heads, use_bias, name="query")(x)
        return Roles(q, HeadwiseDense(self.heads, use_bias, name="key")(x))


class FeatureAttention(nn.Module):
    """dx_i = concat_h sum_j phi_ij alpha_ij^h v_j^h, with v = W_v x of each head's share.

    Source: So3krates, feature block.
    """

    config: So3kratesConfig

    def setup(self) -> None:
        heads, use_bias = self.config.heads, self.config.mixes_degrees
        self.coefficients = QueryAndKey(self.config, heads)
        self.value = HeadwiseDense(heads, use_bias)

    def roles(self, x: Float[Array, "atoms F"]) -> Roles:
        return self.coefficients(x)._replace(v=self.value(x))

    def __call__(
        self,
        x: Float[Array, "atoms F"],
        w_ij: Float[Array, "pairs F"],
        local: Neighbourhood,
        record: bool,
        switched: Switched | None = None,
    ) -> tuple[Float[Array, "atoms F"], BlockRecord | None]:
        ends = local.pairs.ends(self.roles(x))
        alphas = coefficients(*ends, w_ij, self.config.heads)
        if switched is not None:
            alphas = switched.applied(alphas)
        messages = feature_messages(*ends, alphas, local.phi_ij)
        dx = local.pairs.collect(*messages)
        if not record:
            return dx, None
        size = safe_norm(jnp.stack(messages).reshape(2, *alphas[0].shape, -1))
        weight = jnp.stack([local.phi_ij] * 2)
        return dx, BlockRecord(jnp.stack(alphas), weight, size)


class GeometricAttention(nn.Module):
    """dchi_i^(l) = sum_j weight_ij alpha_ij^(l) Y^(l)(r_ij), one head per degree l.

    The sum goes over one or more neighbourhoods, each with a filter and two weights per pair, one
    for each direction: phi_ij twice in the local one, phi_chi in the spherical one.

    Source: So3krates, geometric block, and eq. 14 for the spherical neighbourhood.
    """

    config: So3kratesConfig

    def setup(self) -> None:
        self.coefficients = QueryAndKey(self.config, len(self.config.degrees))

    def roles(self, x: Float[Array, "atoms F"]) -> Roles:
        return self.coefficients(x)

    def __call__(
        self,
        x: Float[Array, "atoms F"],
        neighbourhoods: Sequence[Neighbourhood],
        filters: Sequence[Float[Array, "pairs F"]],
        weights: Sequence[tuple[Float[Array, "pairs"], Float[Array, "pairs"]]],
        record: bool,
        switched: Sequence[Switched | None] | None = None,
    ) -> tuple[Float[Array, "atoms m_tot"], list[BlockRecord]]:
        degrees, roles = self.config.degrees, self.roles(x)
        dchi, records = 0, []
        for near, u_ij, both, switch in zip(
            neighbourhoods, filters, weights, switched or [None] * len(filters), strict=True
        ):
            alphas = coefficients(*near.pairs.ends(roles), u_ij, len(degrees))
            if switch is not None:
                alphas = switch.applied(alphas)
            dchi += near.pairs.collect(*geometric_messages(alphas, both, near.Y_ij, degrees))
            if record:
                alpha, weight = jnp.stack(alphas), jnp.stack(both)
                size = jnp.abs(alpha) * weight[..., None] * degree_norms(near.Y_ij, degrees)
                records.append(BlockRecord(alpha, weight, size))
        return dchi, records
