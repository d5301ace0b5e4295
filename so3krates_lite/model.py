"""So3krates: invariant features x and spherical harmonic coordinates chi, moved by attention.

Read `Layer` first: it is the paper's layer from top to bottom. `So3krates` embeds the atoms, starts
the SPHCs from the neighbourhood, applies the layers, and reads an energy per atom.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from so3krates_lite.attention import (
    BlockRecord,
    FeatureAttention,
    GeometricAttention,
    Neighbourhood,
    Switched,
    coefficients,
    feature_messages,
    geometric_messages,
)
from so3krates_lite.basis import cosine_cutoff, polynomial_basis, radial_basis
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.embedding import N_ELEMENTS, ElectronEmbedding, table_init
from so3krates_lite.exchange import GatedExchange, SelfMixExchange
from so3krates_lite.filters import SphericalFilter
from so3krates_lite.harmonics import (
    degree_invariants,
    parity_of_component,
    sphc_length,
    spherical_harmonics,
)
from so3krates_lite.passes import FILTERS_KEPT, PAIRS_KEPT, Collect, pairs_per_pass
from so3krates_lite.safe import safe_norm
from so3krates_lite.spherical import spherical_weights
from so3krates_lite.structures.graph import Batch, PairList, Pairs, PairVectors

# factors on the coefficients of a block, by [receiver, sender]: 1 as trained, 0 switched off
Switches = dict[str, Float[Array, "layers graphs atoms atoms channels"]]


class LayerRecord(NamedTuple):
    """What one layer did: attention of each block and the SPHCs it left behind."""

    feature: BlockRecord
    geometric: BlockRecord
    chi: Float[Array, "atoms m_tot"]
    spherical: BlockRecord | None = None  # geometric attention in the spherical neighbourhood
    sphc_distance: Float[Array, "far_pairs"] | None = None  # by which that one was found


class ModelRecord(NamedTuple):
    """What the model did; `layers` has a leading axis over layers."""

    chi_start: Float[Array, "atoms m_tot"]
    layers: LayerRecord


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
    parity = jnp.asarray(parity_of_component(config.degrees), forth.dtype)
    chi = local.pairs.collect(forth, forth * parity)
    if config.sphc_start == "zero":
        return jnp.zeros_like(chi)
    if config.sphc_start == "sum":
        return chi / config.sphc_normalization
    C = local.pairs.collect(phi_ij, phi_ij)
    if config.sphc_start == "smooth":
        return chi / (C + jnp.exp(-C))
    return jnp.where(C > 0, chi / jnp.where(C > 0, C, 1), 0)


class Layer(nn.Module):
    """One So3krates layer: filters, two attentions side by side, exchange within each atom."""

    config: So3kratesConfig
    record: bool = False
    collect: Collect | None = None  # how pairs are collected in passes; None: all at once

    @nn.compact
    def __call__(
        self,
        state: tuple[Float[Array, "atoms F"], Float[Array, "atoms m_tot"]],
        switched: dict[str, Switched],
        local: Neighbourhood,
        far: Neighbourhood | None,
    ) -> tuple[tuple[Float[Array, "atoms F"], Float[Array, "atoms m_tot"]], LayerRecord | None]:
        config = self.config
        feature_filter = SphericalFilter(config, name="feature_filter")
        geometric_filter = SphericalFilter(config, name="geometric_filter")
        feature_attention = FeatureAttention(config, name="feature_attention")
        geometric_attention = GeometricAttention(config, name="geometric_attention")
        exchange = SelfMixExchange if config.mixes_degrees else GatedExchange
        exchange = exchange(config, name="exchange")
        x, chi = state

        if self.collect is not None:
            networks = [part.variables["params"] for part in (feature_filter, geometric_filter)]
            atoms = chi, feature_attention.roles(x), geometric_attention.roles(x)
            of_pairs = local.e_ij, local.phi_ij, local.Y_ij
            messages = partial(local_messages, config=config)
            size = pairs_per_pass(len(local.phi_ij))
            dx, dchi = self.collect(messages, size, networks, atoms, of_pairs, local.pairs)
            # kept for the reverse sweep, which else would go through the passes once more
            dx, dchi = checkpoint_name((dx, dchi), "collected")
            return exchange(x + dx, chi + dchi), None

        chi_i, chi_j = local.pairs.ends(chi)
        n_ij = degree_invariants(chi_j - chi_i, config)
        w_ij = checkpoint_name(feature_filter(local.e_ij, n_ij), "filters")
        neighbourhoods = [local]
        filters = [checkpoint_name(geometric_filter(local.e_ij, n_ij), "filters")]
        weights = [(local.phi_ij, local.phi_ij)]
        X_ij = None
        if far is not None:
            chi_i, chi_j = far.pairs.ends(chi)
            X_ij = safe_norm(chi_j - chi_i)
            far_by = sphc_length(chi_j - chi_i, config), far.phi_ij, far.pairs
            neighbourhoods.append(far)
            n_ij = degree_invariants(chi_j - chi_i, config)
            filters.append(geometric_filter(far.e_ij, n_ij))
            weights.append(spherical_weights(*far_by, config.spherical_radius))

        dx, feature = feature_attention(x, w_ij, local, self.record, switched.get("feature"))
        switches = [switched.get(block) for block in ("geometric", "spherical")]
        dchi, geometric = geometric_attention(
            x, neighbourhoods, filters, weights, self.record, switches[: len(neighbourhoods)]
        )

        x, chi = exchange(x + dx, chi + dchi)
        if not self.record:
            return (x, chi), None
        spherical = geometric[1] if far is not None else None
        return (x, chi), LayerRecord(feature, geometric[0], chi, spherical, X_ij)


def local_messages(
    networks: list[dict], first: tuple, second: tuple, of_pairs: tuple, config: So3kratesConfig
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """What pairs of the local neighbourhood add to x and chi of their first and second atoms.

    The same as the layer's attentions compute of all pairs, for the pairs of one pass.

    Args:
        networks: parameters of the feature filter and of the geometric filter
        first, second: chi and the roles in feature and geometric attention, of each pair's atoms
        of_pairs: e_ij, phi_ij and Y_ij
        config: of the model
    """
    e_ij, phi_ij, Y_ij = of_pairs
    (chi_i, *roles_i), (chi_j, *roles_j) = first, second
    n_ij = degree_invariants(chi_j - chi_i, config)
    network = SphericalFilter(config, parent=None)
    w_ij, u_ij = (network.apply({"params": params}, e_ij, n_ij) for params in networks)
    alphas = coefficients(roles_i[0], roles_j[0], w_ij, config.heads)
    x_i, x_j = feature_messages(roles_i[0], roles_j[0], alphas, phi_ij)
    alphas = coefficients(roles_i[1], roles_j[1], u_ij, len(config.degrees))
    chi_i, chi_j = geometric_messages(alphas, (phi_ij, phi_ij), Y_ij, config.degrees)
    return (x_i, chi_i), (x_j, chi_j)


class EnergyHead(nn.Module):
    """E_i = Dense(silu(Dense(x_i))), one number per atom."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "atoms F"]) -> Float[Array, "atoms"]:
        return nn.Dense(1, name="out")(nn.silu(nn.Dense(self.features, name="hidden")(x)))[:, 0]


class So3krates(nn.Module):
    """Energy of each atom of a batch, in the network's own unit and without shifts; 0 for padding.

    Called with ``record=True`` it also returns a `ModelRecord`; the parameters are the same.
    ``switches`` holds factors on attention coefficients, by block. ``collect`` lets many pairs be
    computed in passes, at the price of all derivatives but one, see `passes`.

    Source: Frank, Unke & Müller, NeurIPS 2022.
    """

    config: So3kratesConfig

    @nn.compact
    def __call__(
        self,
        batch: Batch,
        vectors: PairVectors,
        record: bool = False,
        switches: Switches | None = None,
        collect: Collect | None = None,
    ) -> tuple[Float[Array, "graphs atoms"], ModelRecord | None]:
        config = self.config
        lists = {"feature": batch.local, "geometric": batch.local, "spherical": batch.spherical}
        switched = {
            block: Switched.of(factors, lists[block]) for block, factors in (switches or {}).items()
        }
        local, far = neighbourhoods(batch, vectors, config)

        shape = (N_ELEMENTS, config.features)
        table = self.param("embedding", table_init, shape, local.e_ij.dtype)
        parts = [table[batch.numbers.reshape(-1)]]
        if config.charge_embedding:
            charge = ElectronEmbedding(config.features, name="charge_embedding")
            parts.append(charge(batch.total_charge, batch))
        if config.spin_embedding:
            spin = ElectronEmbedding(config.features, name="spin_embedding")
            parts.append(spin(batch.unpaired_electrons, batch))
        x = sum(parts) / math.sqrt(len(parts))
        chi = sphc_start(local, config)
        chi_start = chi

        number = len(local.phi_ij)
        if record or switched or far is not None or pairs_per_pass(number) == number:
            collect = None
        # Of each layer only x and chi (and what its passes have collected) are kept for the reverse
        # sweep, which computes the rest anew: less memory to write and read, which costs more than
        # the arithmetic. Filters are most of that, in one row per pair; few pairs fit the cache as
        # they are.
        layer = Layer
        if number > PAIRS_KEPT:
            names = ("collected", "filters") if number <= FILTERS_KEPT else ("collected",)
            kept = jax.checkpoint_policies.save_only_these_names(*names)
            layer = nn.remat(Layer, prevent_cse=False, policy=kept)
        layers = nn.scan(
            layer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(0, nn.broadcast, nn.broadcast),
            length=config.layers,
            check_constancy_invariants=False,  # saves tracing the layer a second time
        )(config, record, collect, name="layers")
        (x, chi), layer_records = layers((x, chi), switched, local, far)

        energy = EnergyHead(config.features, name="energy_head")(x).reshape(batch.numbers.shape)
        energy = jnp.where(batch.atom_mask, energy, 0)
        return energy, ModelRecord(chi_start, layer_records) if record else None


def filter_basis(
    distance: Float[Array, "*pairs"], config: So3kratesConfig
) -> Float[Array, "*pairs K"]:
    """What radial filters read of a distance."""
    if config.filter_polynomials is not None:
        return polynomial_basis(distance, config.filter_polynomials)
    e_ij = radial_basis(distance, config.radial_functions, config.cutoff)
    if config.radial_cutoff:
        e_ij = e_ij * cosine_cutoff(distance, config.cutoff)[..., None]
    return e_ij


def neighbourhoods(
    batch: Batch, vectors: PairVectors, config: So3kratesConfig
) -> tuple[Neighbourhood, Neighbourhood | None]:
    """The local neighbourhood and, where the model has one, the pairs of the spherical one."""

    def of(listed: PairList, vectors: Float[Array, "graphs pairs 3"], reach: float | None):
        vectors = vectors.reshape(-1, 3)
        distance = safe_norm(vectors)
        phi_ij = listed.mask.reshape(-1).astype(vectors.dtype)
        if reach is not None:
            phi_ij = cosine_cutoff(distance, reach)
        e_ij = filter_basis(distance, config)
        Y_ij = spherical_harmonics(vectors, config.degrees)
        return Neighbourhood(Pairs.of(listed, batch), e_ij, phi_ij, Y_ij)

    local = of(batch.local, vectors[0], config.cutoff)
    if batch.spherical is None:
        return local, None
    return local, of(batch.spherical, vectors[1], config.long_cutoff)


def count_parameters(params) -> int:
    """Number of trained values in a tree of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
