"""So3krates: invariant features x and spherical harmonic coordinates chi, moved by attention.

Read `Layer` first: it is the paper's layer from top to bottom. `So3krates` embeds the atoms, starts
the SPHCs from the neighbourhood, applies the layers, and reads an energy per atom.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from so3krates_lite.arrays import AnyArray
from so3krates_lite.attention import (
    BlockRecord,
    FeatureAttention,
    GeometricAttention,
    Message,
    Neighbourhood,
    Roles,
    feature_message,
    geometric_message,
)
from so3krates_lite.basis import cutoff_function, filter_basis
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.embedding import N_ELEMENTS, ElectronEmbedding, table_init
from so3krates_lite.exchange import EXCHANGES
from so3krates_lite.filters import SphericalFilter
from so3krates_lite.harmonics import degree_invariants, sphc_length, spherical_harmonics, turned
from so3krates_lite.heads import EnergyHead
from so3krates_lite.notes import is_asked, leave, switched
from so3krates_lite.passes import FILTERS_KEPT, PAIRS_KEPT, Collect, collect_at_once
from so3krates_lite.physics.terms import PhysicalTerms
from so3krates_lite.safe import safe_norm
from so3krates_lite.spherical import spherical_weights
from so3krates_lite.structures.graph import Batch, PairList, Pairs, PairVectors

# x and chi
State = tuple[Float[Array, "atoms F"], Float[Array, "atoms m_tot"]]
# what goes one way over every pair, by block
Sent = dict[str, Message]


def sphc_start(local: Neighbourhood, config: So3kratesConfig) -> Float[Array, "atoms m_tot"]:
    """The SPHCs before the first layer.

    "mean": chi_i = (1/C_i) sum_j phi(d_ij) Y(r_ij) with C_i = sum_j phi(d_ij), and 0 where C_i = 0.
    It jumps from a unit vector to zero when an atom's last neighbour leaves the cutoff; "smooth"
    divides by C_i + exp(-C_i) instead, which goes to zero with C_i and differs by less than 1 % of
    C_i from C_i >= 4 on.

    Source: So3krates, initialisation of SPHCs; "sum" and "zero": public code v0.3.
    """
    phi_ij = local.phi_ij[:, None]
    forth = phi_ij * local.Y_ij
    chi = local.pairs.collect(forth, turned(forth, config.degrees))
    if config.sphc_start == "zero":
        return jnp.zeros_like(chi)
    if config.sphc_start == "sum":
        return chi / config.sphc_normalization
    C = local.pairs.collect(phi_ij, phi_ij)
    if config.sphc_start == "smooth":
        return chi / (C + jnp.exp(-C))
    return jnp.where(C > 0, chi / jnp.where(C > 0, C, 1), 0)


class Atoms(NamedTuple):
    """What pairs read of their atoms: the SPHCs, and how an atom takes part in each attention."""

    chi: Float[Array, "atoms m_tot"]
    feature: Roles
    geometric: Roles


class Layer(nn.Module):
    """One So3krates layer: two attentions move x and chi side by side, then both meet in each atom.

        w_ij, u_ij = filters of d_ij and chi_j - chi_i
        dx_i       = sum_j phi_ij (q_i . w_ij . k_j) v_j             `feature_message`
        dchi_i     = sum_j phi_ij (q'_i . u_ij . k'_j) Y(r_ij)       `geometric_message`
        x, chi     = exchange(x + dx, chi + dchi)

    With a spherical neighbourhood dchi has a second sum, over those who are near in SPHC space.
    ``collect`` is how sums over pairs are taken, see `passes`.

    The collection "switches" may hold switches (see `notes`) of the coefficients of a block, by
    [graph, receiver, sender, channel], and of x and chi, by [graph, atom]. The collection
    "attention", where mutable, takes a `BlockRecord` of every block, and chi.
    """

    config: So3kratesConfig
    collect: Collect = collect_at_once

    @nn.compact
    def __call__(
        self, state: State, local: Neighbourhood, far: Neighbourhood | None
    ) -> tuple[State, None]:
        config = self.config
        x, chi = state
        names = "feature_filter", "geometric_filter"
        filters = [SphericalFilter(config, name=name).parameters(x.dtype) for name in names]
        feature = FeatureAttention(config, name="feature_attention")(x)
        geometric = GeometricAttention(config, name="geometric_attention")(x)
        atoms = Atoms(chi, feature, geometric)

        moved = self.attend(local_messages, self.collect, filters, atoms, local)
        dx, dchi = moved["feature"], moved["geometric"]
        if far is not None:
            near = far._replace(phi_ij=self.nearness(chi, far))
            dchi += self.attend(far_messages, collect_at_once, filters, atoms, near)["spherical"]
        x, chi = EXCHANGES[config.form.exchange](config, name="exchange")(x + dx, chi + dchi)
        self.record(chi=chi)
        return (x, chi), None

    def step(
        self, state: State, local: Neighbourhood, far: Neighbourhood | None
    ) -> tuple[State, None]:
        """The layer, and what is put in place of the x and chi that it leaves."""
        (x, chi), _ = self(state, local, far)
        return settled(self, x, chi), None

    def attend(
        self,
        messages: Callable[..., tuple[Sent, Sent]],
        collect: Collect,
        filters: list[dict],
        atoms: Atoms,
        near: Neighbourhood,
    ) -> dict[str, Float[Array, "atoms _width"]]:
        """For every atom and block, the sum of what its pairs send it."""
        messages, switches = partial(messages, config=self.config), ({}, {})
        for block in self.config.blocks:
            if self.has_variable("switches", block):
                both = near.pairs.entries(self.get_variable("switches", block))
                for one_way, entries in zip(switches, both, strict=True):
                    one_way[block] = entries
        of_pairs = near.e_ij, near.phi_ij, near.Y_ij, switches
        if self.is_recording:
            to_first, to_second = messages(filters, *near.pairs.ends(atoms), of_pairs)
            for block, message in to_first.items():
                degrees = None if block == "feature" else self.config.degrees
                self.record(**{block: BlockRecord.of(message, to_second[block], degrees)})

        def values(*inputs) -> tuple[dict[str, Array], dict[str, Array]]:
            return tuple({name: m.value for name, m in way.items()} for way in messages(*inputs))

        return collect(values, filters, atoms, of_pairs, near.pairs)

    def nearness(
        self, chi: Float[Array, "atoms m_tot"], far: Neighbourhood
    ) -> tuple[Float[Array, "pairs"], Float[Array, "pairs"]]:
        """phi_chi of every pair, as its first and as its second atom sees the other."""
        chi_i, chi_j = far.pairs.ends(chi)
        self.record(sphc_distance=safe_norm(chi_j - chi_i))
        length = sphc_length(chi_j - chi_i, self.config)
        return spherical_weights(length, far.phi_ij, far.pairs, self.config.spherical_radius)

    @property
    def is_recording(self) -> bool:
        return is_asked(self, "attention")

    def record(self, **values: Array | BlockRecord) -> None:
        leave(self, "attention", **values)


def local_messages(
    filters: list[dict], first: Atoms, second: Atoms, of_pairs: tuple, config: So3kratesConfig
) -> tuple[Sent, Sent]:
    """What pairs of the local neighbourhood send to their first and to their second atoms.

    Args:
        filters: parameters of the feature filter and of the geometric filter
        first, second: what is read of each pair's atoms
        of_pairs: e_ij, phi_ij, Y_ij, and factors on coefficients both ways, by block
        config: of the model
    """
    e_ij, phi_ij, Y_ij, switches = of_pairs
    n_ij = degree_invariants(second.chi - first.chi, config)
    network = SphericalFilter(config, parent=None)
    w_ij, u_ij = (
        checkpoint_name(network.apply({"params": params}, e_ij, n_ij), "filters")
        for params in filters
    )

    def one_way(i: Atoms, j: Atoms, Y_ij: Array, switch: dict[str, Array]) -> Sent:
        at = switch.get
        roles, divisor = (i.feature, j.feature), config.form.neighbours
        dx = feature_message(*roles, w_ij, phi_ij, config.heads, at("feature"), divisor)
        roles, degrees = (i.geometric, j.geometric), config.degrees
        dchi = geometric_message(*roles, u_ij, phi_ij, Y_ij, degrees, at("geometric"), divisor)
        return {"feature": dx, "geometric": dchi}

    Y_ji = turned(Y_ij, config.degrees)
    return one_way(first, second, Y_ij, switches[0]), one_way(second, first, Y_ji, switches[1])


def far_messages(
    filters: list[dict], first: Atoms, second: Atoms, of_pairs: tuple, config: So3kratesConfig
) -> tuple[Sent, Sent]:
    """The same for the spherical neighbourhood, where phi_ij and phi_ji are two."""
    e_ij, (phi_ij, phi_ji), Y_ij, switches = of_pairs
    n_ij = degree_invariants(second.chi - first.chi, config)
    u_ij = SphericalFilter(config, parent=None).apply({"params": filters[1]}, e_ij, n_ij)

    def one_way(i: Atoms, j: Atoms, phi_ij: Array, Y_ij: Array, switch: dict[str, Array]) -> Sent:
        roles, factor = (i.geometric, j.geometric), switch.get("spherical")
        divisor = config.form.neighbours
        dchi = geometric_message(*roles, u_ij, phi_ij, Y_ij, config.degrees, factor, divisor)
        return {"spherical": dchi}

    Y_ji = turned(Y_ij, config.degrees)
    return (
        one_way(first, second, phi_ij, Y_ij, switches[0]),
        one_way(second, first, phi_ji, Y_ji, switches[1]),
    )


def settled(module: nn.Module, x: Array, chi: Array) -> State:
    """x and chi as the collection "switches" wants them; the collection "states" takes them."""
    x, chi = switched(module, "x", x), switched(module, "chi", chi)
    leave(module, "states", x=x, chi=chi)
    return x, chi


class So3krates(nn.Module):
    """Energy of each atom of a batch, in the network's own unit and without shifts; 0 for padding.

    ``collect`` lets many pairs be computed in passes, at the price of all derivatives but one, see
    `passes`. Applied with a mutable collection "attention" it leaves there what every layer
    attended to (with a leading axis over layers) and the SPHCs at the start; a mutable "states"
    takes x and chi at the start and after each layer, a mutable "properties" what is left by the
    physical terms, see `physics.terms`. A collection `switches` puts other values in place of
    coefficients, x and chi. The parameters are the same.

    Source: Frank, Unke & Müller, NeurIPS 2022.
    """

    config: So3kratesConfig
    collect: Collect = collect_at_once

    @staticmethod
    def switches(named: dict[str, Float[AnyArray, "_layers graphs atoms *_rest 2"]]) -> dict:
        """The collection "switches" of a block's alpha, by [layer, graph, receiver, sender,
        channel], and of x and chi, by [state, graph, atom]: at the start and after each layer."""
        start = {name: named[name][0] for name in ("x", "chi") if name in named}
        later = {name: named[name][1:] for name in start}
        return {**start, "layers": {**named, **later}}

    @nn.compact
    def __call__(self, batch: Batch, vectors: PairVectors) -> Float[Array, "graphs atoms"]:
        config = self.config
        local, far = neighbourhoods(batch, vectors, config)

        shape = (N_ELEMENTS, config.features)
        table = self.param("embedding", table_init, shape, local.e_ij.dtype)
        parts = [table[batch.numbers.reshape(-1)]]
        if config.charge_embedding:
            charge = ElectronEmbedding(config, name="charge_embedding")
            parts.append(charge(batch.total_charge, batch))
        if config.spin_embedding:
            spin = ElectronEmbedding(config, name="spin_embedding")
            parts.append(spin(batch.unpaired_electrons, batch))
        x = sum(parts) / math.sqrt(len(parts))
        chi = sphc_start(local, config)
        leave(self, "attention", chi_start=chi)
        x, chi = settled(self, x, chi)

        # Of each layer only x and chi (and what its passes have collected) are kept for the reverse
        # sweep, which computes the rest anew: less memory to write and read, which costs more than
        # the arithmetic. Filters are most of that, in one row per pair; few pairs fit the cache as
        # they are.
        layer, number = Layer, len(local.phi_ij)
        if number > PAIRS_KEPT:
            names = ("collected", "filters") if number <= FILTERS_KEPT else ("collected",)
            kept = jax.checkpoint_policies.save_only_these_names(*names)
            layer = nn.remat(Layer, prevent_cse=False, policy=kept)
        layers = nn.scan(
            layer,
            variable_axes={"params": 0, "attention": 0, "switches": 0, "states": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=config.layers,
            check_constancy_invariants=False,  # saves tracing the layer a second time
            methods=["step"],
        )(config, self.collect, name="layers")
        (x, chi), _ = layers.step((x, chi), local, far)

        energy = EnergyHead(config, name="energy_head")(x, batch.numbers.reshape(-1))
        energy = jnp.where(batch.atom_mask, energy.reshape(batch.numbers.shape), 0)
        leave(self, "properties", network=energy)
        if not config.physics:
            return energy
        return energy + PhysicalTerms(config, self.collect, name="physics")(x, batch, vectors)


def neighbourhoods(
    batch: Batch, vectors: PairVectors, config: So3kratesConfig
) -> tuple[Neighbourhood, Neighbourhood | None]:
    """The local neighbourhood and, where the model has one, the pairs of the spherical one."""

    def of(listed: PairList, vectors: Float[Array, "graphs pairs 3"], reach: float | None):
        vectors = vectors.reshape(-1, 3)
        distance = safe_norm(vectors)
        phi_ij = jnp.asarray(listed.mask.reshape(-1), vectors.dtype)
        if reach is not None:
            phi_ij = cutoff_function(distance, config, reach)
        e_ij = filter_basis(distance, config)
        Y_ij = spherical_harmonics(vectors, config.degrees)
        return Neighbourhood(Pairs.of(listed, batch), e_ij, phi_ij, Y_ij)

    local = of(batch.local, vectors[0], config.cutoff)
    if not config.is_nonlocal:
        return local, None
    return local, of(batch.far, vectors[1], config.long_cutoff)


def count_parameters(params) -> int:
    """Number of trained values in a tree of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
