"""Attention between atoms: coefficients without softmax, signed, and cut off with distance.

For a pair (i, j) atom i asks with q_i, atom j answers with k_j, and the filter w_ij of their two
distances is woven into the scalar product:

    alpha_ij = sum_f (q_i * w_ij * k_j) / sqrt(f)

In the form of SO3LR the mean number of neighbours stands for sqrt(f). There is no softmax: a
coefficient may be negative, and the coefficients of one atom need not sum to one. What reaches atom
i is alpha_ij times the cutoff phi(d_ij). *Feature attention* has H heads, each on its share of the
features, and moves x; *geometric attention* has one head per degree l and moves the SPHCs chi along
the harmonics Y_l(r_ij).

Where the model has a spherical neighbourhood, the geometric attention works there, too, with the
same queries, keys and filters; what weighs a pair is then its nearness phi_chi in SPHC space.

A message is written for one direction: i asks, j answers. Every undirected pair is met once, and
sends both ways. "First asks second" and "second asks first" share w_ij and differ in the roles of
their atoms, and in the sign (-1)^l of Y_l.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.harmonics import degree_norms, repeat_degrees
from so3krates_lite.notes import between
from so3krates_lite.safe import safe_norm
from so3krates_lite.structures.graph import Pairs


class Neighbourhood(NamedTuple):
    """Pairs and what their geometry gives to every layer; r_ij points from first to second atom."""

    pairs: Pairs
    e_ij: Float[Array, "pairs K"]  # radial basis
    # cutoff, 0 for padding; in SPHC space two: how near the second is to the first, and vice versa
    phi_ij: Float[Array, "pairs"] | tuple[Float[Array, "pairs"], Float[Array, "pairs"]]
    Y_ij: Float[Array, "pairs m_tot"]  # spherical harmonics


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
            y = y + self.param("bias", nn.initializers.zeros, (self.heads, f), x.dtype)[None]
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


class QueryAndKey(nn.Module):
    """q = W_q x and k = W_k x, head by head."""

    config: So3kratesConfig
    heads: int

    @nn.compact
    def __call__(self, x: Float[Array, "atoms F"]) -> Roles:
        use_bias = self.config.form.biases
        q = HeadwiseDense(self.heads, use_bias, name="query")(x)
        return Roles(q, HeadwiseDense(self.heads, use_bias, name="key")(x))


class FeatureAttention(nn.Module):
    """The roles of atoms in `feature_message`, v = W_v x of each head's share among them."""

    config: So3kratesConfig

    def setup(self) -> None:
        heads, use_bias = self.config.heads, self.config.form.biases
        self.coefficients = QueryAndKey(self.config, heads)
        self.value = HeadwiseDense(heads, use_bias)

    def __call__(self, x: Float[Array, "atoms F"]) -> Roles:
        return self.coefficients(x)._replace(v=self.value(x))


class GeometricAttention(nn.Module):
    """The roles of atoms in `geometric_message`, with one head per degree."""

    config: So3kratesConfig

    def setup(self) -> None:
        self.coefficients = QueryAndKey(self.config, len(self.config.degrees))

    def __call__(self, x: Float[Array, "atoms F"]) -> Roles:
        return self.coefficients(x)


class Message(NamedTuple):
    """What j sends i over each pair, and what stands in front of it."""

    value: Float[Array, "pairs width"]
    alpha: Float[Array, "pairs channels"]
    weight: Float[Array, "pairs"]  # the cutoff, or nearness in SPHC space


def coefficient(
    i: Roles,
    j: Roles,
    w_ij: Float[Array, "pairs F"],
    heads: int,
    switch: Float[Array, "pairs heads 2"] | None = None,
    divisor: float | None = None,
) -> Float[Array, "pairs heads"]:
    """alpha_ij = sum_f (q_i * w_ij * k_j) / sqrt(f) in each head, before the cutoff.

    ``switch`` puts another in its place, see `notes`; ``divisor`` stands for sqrt(f).
    """
    scale = 1 / (divisor or math.sqrt(w_ij.shape[-1] // heads))
    alpha_ij = sum_within_heads(i.q * w_ij * j.k, heads) * scale
    return alpha_ij if switch is None else between(alpha_ij, switch)


def feature_message(
    i: Roles,
    j: Roles,
    w_ij: Float[Array, "pairs F"],
    phi_ij: Float[Array, "pairs"],
    heads: int,
    switch: Float[Array, "pairs heads 2"] | None = None,
    divisor: float | None = None,
) -> Message:
    """dx_ij = concat_h phi_ij alpha_ij^h v_j^h.

    Source: So3krates, feature block.
    """
    alpha_ij = coefficient(i, j, w_ij, heads, switch, divisor)
    dx_ij = repeat_heads(phi_ij[:, None] * alpha_ij, j.v.shape[-1]) * j.v
    return Message(dx_ij, alpha_ij, phi_ij)


def geometric_message(
    i: Roles,
    j: Roles,
    w_ij: Float[Array, "pairs F"],
    phi_ij: Float[Array, "pairs"],
    Y_ij: Float[Array, "pairs m_tot"],
    degrees: tuple[int, ...],
    switch: Float[Array, "pairs degrees 2"] | None = None,
    divisor: float | None = None,
) -> Message:
    """dchi_ij^(l) = phi_ij alpha_ij^(l) Y^(l)(r_ij), one head per degree l.

    In the spherical neighbourhood phi_ij is phi_chi, and depends on who asks.

    Source: So3krates, geometric block, and eq. 14 for the spherical neighbourhood.
    """
    alpha_ij = coefficient(i, j, w_ij, len(degrees), switch, divisor)
    dchi_ij = repeat_degrees(phi_ij[:, None] * alpha_ij, degrees) * Y_ij
    return Message(dchi_ij, alpha_ij, phi_ij)


class BlockRecord(NamedTuple):
    """Attention of one block for both directions of each pair: [0] first asks, [1] second asks."""

    coefficient: Float[Array, "2 pairs channels"]  # alpha_ij
    weight: Float[Array, "2 pairs"]  # what multiplies it: the cutoff, or nearness in SPHC space
    contribution: Float[Array, "2 pairs channels"]  # length of what the pair adds

    @classmethod
    def of(
        cls, to_first: Message, to_second: Message, degrees: tuple[int, ...] | None = None
    ) -> BlockRecord:
        """From messages both ways; ``degrees`` of a geometric one, whose channels they are."""
        value, alpha, weight = map(jnp.stack, zip(to_first, to_second, strict=True))
        if degrees is None:
            size = safe_norm(value.reshape(*alpha.shape, -1))
        else:
            size = degree_norms(value, degrees)
        return cls(alpha, weight, size)
