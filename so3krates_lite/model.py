"""So3krates: invariant features x and spherical harmonic coordinates chi, moved by attention.

Read `Layer` first: it is the paper's layer from top to bottom. `So3krates` embeds the atoms, starts
the SPHCs from the neighbourhood, applies the layers, and reads an energy per atom.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from so3krates_lite.attention import BlockRecord, FeatureAttention, GeometricAttention, Geometry
from so3krates_lite.basis import cosine_cutoff, radial_basis
from so3krates_lite.config import ModelConfig
from so3krates_lite.exchange import GatedExchange, SelfMixExchange
from so3krates_lite.filters import SphericalFilter
from so3krates_lite.graph import Batch, Pairs
from so3krates_lite.harmonics import (
    degree_contractions,
    degree_norms,
    parity_of_component,
    spherical_harmonics,
)
from so3krates_lite.safe import safe_norm

# rows of the element table: atomic numbers 0 (padding) to 99
N_ELEMENTS = 100


class LayerRecord(NamedTuple):
    """What one layer did: attention of both blocks and the SPHCs it left behind."""

    feature: BlockRecord
    geometric: BlockRecord
    chi: Float[Array, "atoms m_tot"]


class ModelRecord(NamedTuple):
    """What the model did; `layers` has a leading axis over layers."""

    phi_ij: Float[Array, "pairs"]
    chi_start: Float[Array, "atoms m_tot"]
    layers: LayerRecord


def sphc_start(
    geometry: Geometry, pairs: Pairs, config: ModelConfig
) -> Float[Array, "atoms m_tot"]:
    """The SPHCs before the first layer.

    "mean": chi_i = (1/C_i) sum_j phi(d_ij) Y(r_ij) with C_i = sum_j phi(d_ij), and 0 where C_i = 0.
    It jumps from a unit vector to zero when an atom's last neighbour leaves the cutoff; "smooth"
    divides by C_i + exp(-C_i) instead, which goes to zero with C_i and differs by less than 1 % of
    C_i from C_i >= 4 on.

    Source: So3krates, initialisation of SPHCs; "sum" and "zero": public code v0.3.
    """
    phi_ij = geometry.phi_ij[:, None]
    forth = phi_ij * geometry.Y_ij
    parity = jnp.asarray(parity_of_component(config.degrees), forth.dtype)
    chi = pairs.collect(forth, forth * parity)
    if config.sphc_start == "zero":
        return jnp.zeros_like(chi)
    if config.sphc_start == "sum":
        return chi / config.sphc_normalization
    C = pairs.collect(phi_ij, phi_ij)
    if config.sphc_start == "smooth":
        return chi / (C + jnp.exp(-C))
    return jnp.where(C > 0, chi / jnp.where(C > 0, C, 1), 0)


class Layer(nn.Module):
    """One So3krates layer: filters, two attentions side by side, exchange within each atom."""

    config: ModelConfig
    record: bool = False

    @nn.compact
    def __call__(
        self,
        state: tuple[Float[Array, "atoms F"], Float[Array, "atoms m_tot"]],
        geometry: Geometry,
        pairs: Pairs,
    ) -> tuple[tuple[Float[Array, "atoms F"], Float[Array, "atoms m_tot"]], LayerRecord | None]:
        config = self.config
        paper = config.variant == "paper"
        invariants = degree_norms if paper else degree_contractions
        exchange = SelfMixExchange if paper else GatedExchange
        x, chi = state

        chi_i, chi_j = pairs.ends(chi)
        n_ij = invariants(chi_j - chi_i, config.degrees)  # (pairs, degrees), distance in SPHC space
        w_ij = SphericalFilter(config, name="feature_filter")(geometry.e_ij, n_ij)  # (pairs, F)
        u_ij = SphericalFilter(config, name="geometric_filter")(geometry.e_ij, n_ij)  # (pairs, F)

        feature_attention = FeatureAttention(config, name="feature_attention")
        geometric_attention = GeometricAttention(config, name="geometric_attention")
        dx, feature_record = feature_attention(x, w_ij, geometry, pairs, self.record)
        dchi, geometric_record = geometric_attention(x, u_ij, geometry, pairs, self.record)

        x, chi = exchange(config, name="exchange")(x + dx, chi + dchi)
        if not self.record:
            return (x, chi), None
        return (x, chi), LayerRecord(feature_record, geometric_record, chi)


class EnergyHead(nn.Module):
    """E_i = Dense(silu(Dense(x_i))), one number per atom."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "atoms F"]) -> Float[Array, "atoms"]:
        return nn.Dense(1, name="out")(nn.silu(nn.Dense(self.features, name="hidden")(x)))[:, 0]


class So3krates(nn.Module):
    """Energy of each structure of a batch, in the network's own unit and without atomic shifts.

    Called with ``record=True`` it also returns a `ModelRecord`; the parameters are the same.

    Source: Frank, Unke & Müller, NeurIPS 2022.
    """

    config: ModelConfig

    @nn.compact
    def __call__(
        self, batch: Batch, vectors: Float[Array, "graphs pairs 3"], record: bool = False
    ) -> tuple[Float[Array, "graphs"], ModelRecord | None]:
        config = self.config
        pairs = Pairs.of(batch)
        vectors = vectors.reshape(-1, 3)
        geometry = pair_geometry(vectors, config)

        table = nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)
        shape = (N_ELEMENTS, config.features)
        x = self.param("embedding", table, shape, vectors.dtype)[batch.numbers.reshape(-1)]
        chi = sphc_start(geometry, pairs, config)
        chi_start = chi

        # Of each layer only x and chi are kept for the reverse sweep, which computes the rest
        # anew: less memory to write and read, which costs more than the arithmetic.
        layers = nn.scan(
            nn.remat(Layer, prevent_cse=False),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(nn.broadcast, nn.broadcast),
            length=config.layers,
            check_constancy_invariants=False,  # saves tracing the layer a second time
        )(config, record, name="layers")
        (x, chi), layer_records = layers((x, chi), geometry, pairs)

        energy = EnergyHead(config.features, name="energy_head")(x).reshape(batch.numbers.shape)
        energy = jnp.sum(jnp.where(batch.atom_mask, energy, 0), axis=1)
        return energy, ModelRecord(geometry.phi_ij, chi_start, layer_records) if record else None


def pair_geometry(vectors: Float[Array, "pairs 3"], config: ModelConfig) -> Geometry:
    """Radial basis, cutoff and harmonics of the pair vectors (Å)."""
    distance = safe_norm(vectors)
    phi_ij = cosine_cutoff(distance, config.cutoff)
    e_ij = radial_basis(distance, config.radial_functions, config.cutoff)
    if config.radial_cutoff:
        e_ij = e_ij * phi_ij[:, None]
    return Geometry(e_ij, phi_ij, spherical_harmonics(vectors, config.degrees))


def count_parameters(params) -> int:
    """Number of trained values in a tree of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
