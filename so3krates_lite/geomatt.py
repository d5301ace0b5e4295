"""GeomAtt: attention read from geometry alone, by correlations of two, three, four … atoms.

So3krates asks with features: who attends to whom depends on what the atoms are. Its predecessor
lets geometry decide. Seen from atom i, another atom j is a bump at its distance on a grid,
rho(d_ij); atom i itself is the bump at zero, rho(0). The overlap of the two, each read through a
trained map, is a number that grows or falls with d_ij: the attention of order 2. Longer products of
such overlaps run over chains of atoms, i -> l -> j for order 3, i -> h -> l -> j for order 4, so
that order 3 knows of angles and order 4 of dihedrals. All atoms take part, i = j included, without
a cutoff; nothing is normalised, and nothing but distances goes in: the energy is the same for a
molecule and its mirror image.

Each order has a *stream* of layers of its own, v_i <- v_i + sum_j alpha_ij (W v_j + b). Since alpha
depends on positions only, every layer's attention is known before the first one moves a feature.
Read `Stream` first.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from so3krates_lite.arrays import AnyArray, along_last
from so3krates_lite.config import GeomAttConfig
from so3krates_lite.embedding import N_ELEMENTS
from so3krates_lite.notes import leave, switched
from so3krates_lite.passes import Collect, collect_at_once
from so3krates_lite.safe import safe_norm
from so3krates_lite.structures.graph import Batch, PairVectors

# the original's uniform draw for elements, between -sqrt(6/F) and sqrt(6/F)
table_init = nn.initializers.variance_scaling(2.0, "fan_in", "uniform", out_axis=0)


def density(distance: Float[Array, "*any"], config: GeomAttConfig) -> Float[Array, "*any D"]:
    """rho(d)_k = exp(-gamma (d - mu_k)^2) on the grid mu_k = 0, Delta, …; distances in Å.

    Source: Frank & Chmiela 2021, densities of atoms.
    """
    grid = config.grid_spacing * jnp.arange(config.grid_points, dtype=distance.dtype)
    grid = along_last(grid, distance.ndim + 1)
    return jnp.exp(-config.gamma * (distance[..., None] - grid) ** 2)


def shifted_softplus(x: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """ln(1 + e^x) - ln 2, which is 0 at 0."""
    return jax.nn.softplus(x) - math.log(2)


class Geometry(NamedTuple):
    """What the positions give to every stream."""

    rho: Float[Array, "graphs pairs D"]  # one density per undirected pair
    rho_0: Float[Array, "D"]  # an atom's own
    place: Int[Array, "graphs atoms atoms"]  # of i and j in a list of pairs, then self, then none

    @classmethod
    def of(cls, batch: Batch, vectors: PairVectors, config: GeomAttConfig) -> Geometry:
        distance = safe_norm(vectors[0])
        own = jnp.zeros((), distance.dtype)
        return cls(density(distance, config), density(own, config), _places(batch))

    def matrix(
        self, of_pairs: Float[Array, "graphs pairs *any"], of_self: Float[Array, "*any"]
    ) -> Float[Array, "graphs atoms atoms *any"]:
        """Values of pairs, and that of every atom with itself, as matrices; 0 for padding."""
        graphs, own = len(of_pairs), of_self[None, None]
        rest = jnp.concatenate([own, jnp.zeros_like(own)], axis=1)
        table = jnp.concatenate([of_pairs, jnp.repeat(rest, graphs, axis=0)], axis=1)
        return table[jnp.arange(graphs)[:, None, None], self.place]


def _places(batch: Batch) -> Int[Array, "graphs atoms atoms"]:
    listed = batch.local
    graphs, atoms = batch.numbers.shape
    own, none = listed.room, listed.room + 1
    graph, atom = jnp.arange(graphs)[:, None], jnp.arange(atoms)
    number = jnp.where(listed.mask, jnp.arange(listed.room), none)
    place = jnp.full((graphs, atoms, atoms), none)
    place = place.at[graph, listed.first, listed.second].set(number)
    place = place.at[graph, listed.second, listed.first].set(number)
    # padded pairs are (0, 0), so the diagonal comes last
    return place.at[:, atom, atom].set(jnp.where(batch.atom_mask, own, none))


class Correlator(nn.Module):
    """C_ij of one order k for all layers of its stream.

    With g_ij = (Q0 rho(0)) (Q rho(d_ij)) in R^f_k, one pair of maps per factor,

        k = 2:  C_ij = Delta sum_f g_ij
        k = 3:  C_ij = Delta sum_f sum_l g_il g'_lj
        k = 4:  C_ij = Delta sum_f sum_l (sum_h g_ih g'_hl) g''_lj

    and one more factor, one more sum over atoms, for each further order: k - 1 factors, the matrix
    product of their matrices for each f. g_ij = g_ji is linear in rho(d_ij): Q0 rho(0) goes into
    the map, and order 2 needs no more than one map to a single number.

    Source: Frank & Chmiela 2021, correlations of order k; maps with biases as in its public code.
    """

    config: GeomAttConfig
    order: int

    @nn.compact
    def __call__(self, geometry: Geometry) -> Float[Array, "layers graphs atoms atoms"]:
        config, order = self.config, self.order
        factors, f = config.factors(order), config.width(order)
        D = config.grid_points
        init = uniform(1 / math.sqrt(D))

        def maps(name: str) -> tuple[AnyArray, AnyArray]:
            shape = (config.layers, factors, D, f)
            kernel = self.param(f"{name}_kernel", init, shape, geometry.rho.dtype)
            bias = self.param(f"{name}_bias", init, (config.layers, factors, f), geometry.rho.dtype)
            return kernel, bias

        centre_kernel, centre_bias = maps("centre")
        kernel, bias = maps("neighbour")
        centre = jnp.einsum("d,xmdf->xmf", geometry.rho_0, centre_kernel) + centre_bias
        kernel, bias = kernel * centre[:, :, None], bias * centre
        if order == 2:
            kernel, bias = kernel.sum(-1, keepdims=True), bias.sum(-1, keepdims=True)

        def g(rho: Float[Array, "*any D"]) -> Float[Array, "*any layers factors f"]:
            flat = jnp.einsum("...d,dk->...k", rho, jnp.moveaxis(kernel, 2, 0).reshape(D, -1))
            flat = flat.reshape(*rho.shape[:-1], *bias.shape)
            return flat + bias.reshape((1,) * (rho.ndim - 1) + bias.shape)

        g_ij = geometry.matrix(g(geometry.rho), g(geometry.rho_0))
        g_ij = jnp.transpose(g_ij, (4, 3, 0, 1, 2, 5))  # factors layers graphs atoms atoms f
        if order == 2:
            return config.grid_spacing * g_ij[0, ..., 0]
        chain = g_ij[0]
        for m in range(1, order - 2):
            chain = jnp.einsum("xgihf,xghlf->xgilf", chain, g_ij[m % factors])
        # by g_lj = g_jl both matrices are met row by row: one product over l and f at once
        last = g_ij[(order - 2) % factors]
        return config.grid_spacing * jnp.einsum("xgilf,xgjlf->xgij", chain, last)


def uniform(bound: float) -> nn.initializers.Initializer:
    """Values drawn evenly between -bound and bound."""

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class Stream(nn.Module):
    """Layers v_i <- v_i + sum_j alpha_ij (W v_j + b) with alpha = C / N_s; no softmax, and i = j
    takes part.

    The collection "switches" may hold a switch (see `notes`) of C, by [layer, graph, receiver,
    sender], and of v at the start and after each layer ("x_0", "x_1", …); the collection
    "attention", where mutable, takes C and the lengths of the messages W v_j + b, "states" v.

    Source: Frank & Chmiela 2021, stream of order k; N_s is the number of streams.
    """

    config: GeomAttConfig
    order: int

    @nn.compact
    def __call__(
        self, v: Float[Array, "graphs atoms F"], geometry: Geometry
    ) -> Float[Array, "graphs atoms F"]:
        C = Correlator(self.config, self.order, name="correlator")(geometry)
        C = switched(self, "correlation", C)
        alpha = C / len(self.config.orders)
        lengths, states = [], [v := switched(self, "x_0", v)]
        for layer in range(self.config.layers):
            message = linear(v.shape[-1], self.config.features, f"value_{layer}")(v)
            v = switched(self, f"x_{layer + 1}", v + alpha[layer] @ message)
            lengths.append(safe_norm(message))
            states.append(v)
        leave(self, "attention", coefficient=C, message=jnp.stack(lengths))
        leave(self, "states", x=jnp.stack(states))
        return v


def linear(width: int, features: int, name: str) -> nn.Dense:
    """x W + b for x of ``width``, both drawn evenly between -1/sqrt(width) and 1/sqrt(width)."""
    init = uniform(1 / math.sqrt(width))
    return nn.Dense(features, kernel_init=init, bias_init=init, name=name)


class GeomAtt(nn.Module):
    """Energy of each atom of a batch, in the network's own unit and without shifts; 0 for padding.

    Collections "attention", "states" and "switches" are those of its streams.
    Invariant under rotation, reflection, translation and permutation of equal atoms, since
    distances alone go in. Not size-consistent: without a cutoff, and with biases in the maps, atoms
    far apart still correlate.

    Source: Frank & Chmiela, arXiv:2106.02549 (2021).
    """

    config: GeomAttConfig
    collect: Collect = collect_at_once  # no use here: pairs are few and cheap

    def switches(self, named: dict[str, Float[AnyArray, "_layers graphs atoms *_rest 2"]]) -> dict:
        """The collection "switches" of C, by [layer, graph, receiver, sender, order], and of the
        features of all streams, one beside the other, by [state, graph, atom]."""
        collection: dict[str, dict[str, Array]] = {f"order_{k}": {} for k in self.config.orders}
        width = self.config.features
        for n, stream in enumerate(collection.values()):
            if "correlation" in named:
                stream["correlation"] = named["correlation"][..., n, :]
            if "x" in named:
                of_stream = named["x"][..., n * width : (n + 1) * width, :]
                stream |= {f"x_{state}": switch for state, switch in enumerate(of_stream)}
        return collection

    @nn.compact
    def __call__(self, batch: Batch, vectors: PairVectors) -> Float[Array, "graphs atoms"]:
        config = self.config
        geometry = Geometry.of(batch, vectors, config)
        shape = (N_ELEMENTS, config.features)
        table = self.param("embedding", table_init, shape, geometry.rho.dtype)
        v = table[batch.numbers]
        out = [Stream(config, k, name=f"order_{k}")(v, geometry) for k in config.orders]

        v = jnp.concatenate(out, axis=-1)
        width = v.shape[-1]
        hidden = linear(width, width // 2, "head_hidden")(v)
        energy = linear(width // 2, 1, "head_out")(shifted_softplus(hidden))[..., 0]
        return jnp.where(batch.atom_mask, energy, 0)
