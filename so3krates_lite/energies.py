"""A network's energies, forces and stress, as functions of its parameters.

Forces are the exact derivative of the energy. What is compiled of them stands in `potential`, for
use, and in `training.loop`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache, partial, wraps
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from so3krates_lite.arrays import AnyArray
from so3krates_lite.config import GeomAttConfig, ModelConfig, So3kratesConfig
from so3krates_lite.geomatt import GeomAtt
from so3krates_lite.model import So3krates
from so3krates_lite.passes import Collect, collect_at_once, collect_for_reverse, map_in_passes
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.from_network import of_geomatt, of_so3krates
from so3krates_lite.runtime.devices import AXIS, EVERYWHERE, SHARED
from so3krates_lite.runtime.settings import Compiled
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch, PairVectors, pair_vectors


class Architecture(NamedTuple):
    """What computes a configuration, and how a record is made of what it leaves."""

    network: type[nn.Module]
    record: Callable[[Frames, Batch, dict, PairVectors, Any], AttentionRecord]


ARCHITECTURES = {
    So3kratesConfig: Architecture(So3krates, of_so3krates),
    GeomAttConfig: Architecture(GeomAtt, of_geomatt),
}


def network(config: ModelConfig, collect: Collect = collect_at_once) -> nn.Module:
    """The flax module that computes a configuration.

    It is applied to a batch and the vectors of its pairs, and returns the energy of each atom. Its
    mutable collection "attention" takes what it attended to, "states" the features between its
    layers; the collection "switches", made by its method `switches`, puts other values in place of
    attention coefficients and features.
    ``collect`` is how sums over pairs are taken, see `passes`.
    """
    return ARCHITECTURES[type(config)].network(config, collect)


# switches (see `notes`) of each block's coefficients, by [layer, graph, receiver, sender, channel],
# and of the features "x" and "chi", by [state, graph, atom, component]
Switches = dict[str, Float[AnyArray, "_layers graphs atoms *_rest 2"]]


def atomic_energies(
    params: dict,
    batch: Batch,
    vectors: PairVectors,
    config: ModelConfig,
    collect: Collect = collect_at_once,
    switches: Switches | None = None,
) -> Float[Array, "graphs atoms"]:
    """The network's energy of each atom, in its own unit and without shifts; zero for padding."""
    model, variables = network(config, collect), {"params": params}
    if switches:
        variables["switches"] = model.switches(switches)
    return model.apply(variables, batch, vectors)


@partial(Compiled, once=True, static_argnames="config")
def initialise(key: jax.Array, batch: Batch, config: ModelConfig) -> dict:
    """Random parameters of the network, in the batch's precision.

    They are drawn in float32 always, so that a seed gives one network; compiled as a whole, which
    is much quicker than eagerly.
    """
    single = jax.tree.map(_to_single, batch)
    params = network(config).init(key, single, pair_vectors(single, config))["params"]
    return jax.tree.map(lambda leaf: leaf.astype(batch.displacement.dtype), params)


def _to_single(leaf: AnyArray) -> AnyArray:
    return leaf.astype(jnp.float32) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def energy(
    params: dict,
    batch: Batch,
    config: ModelConfig,
    collect: Collect = collect_at_once,
    switches: Switches | None = None,
) -> Float[Array, "graphs"]:
    """The network's energy of each structure, in its own unit and without shifts."""
    vectors = pair_vectors(batch, config)
    return atomic_energies(params, batch, vectors, config, collect, switches).sum(axis=1)


def energy_and_forces(
    params: dict, batch: Batch, config: ModelConfig, switches: Switches | None = None
) -> tuple[Float[Array, "graphs"], Float[Array, "graphs atoms 3"]]:
    """The network's energy and F = -dE/dR, by one forward and one reverse sweep.

    On a CPU, many pairs are computed in passes; whoever wants forward derivatives of forces, such
    as products with the Hessian, then takes those of `energy`.
    """
    values, pull = jax.vjp(
        lambda moved: energy(
            params,
            dataclasses.replace(batch, displacement=moved),
            config,
            collect_for_reverse,
            switches,
        ),
        batch.displacement,
    )
    return values, -pull(jnp.ones_like(values))[0]


def energy_forces_and_stress(
    params: dict, batch: Batch, config: ModelConfig
) -> tuple[Float[Array, "graphs"], Float[Array, "graphs atoms 3"], Float[Array, "graphs 3 3"]]:
    """The same with the stress (1/V) dE/d(strain), the strain deforming every pair vector.

    Structures whose cell has no volume, molecules among them, get a stress of zero.
    """

    def strained(moved, strain):
        symmetric = (strain + strain.mT) / 2

        def deformed(vectors):
            return vectors + jnp.einsum("gpa,gab->gpb", vectors, symmetric)

        now = dataclasses.replace(batch, displacement=moved)
        vectors = jax.tree.map(deformed, pair_vectors(now, config))
        # what reads the cell itself: the sum over images
        now = now.replace(displacement=deformed(moved), cell=deformed(batch.cell))
        return atomic_energies(params, now, vectors, config, collect_for_reverse).sum(axis=1)

    values, pull = jax.vjp(strained, batch.displacement, jnp.zeros_like(batch.cell))
    gradient, strain_gradient = pull(jnp.ones_like(values))
    volume = jnp.abs(jnp.linalg.det(batch.cell))[:, None, None]
    stress = jnp.where(volume > 0, strain_gradient / jnp.where(volume > 0, volume, 1), 0)
    return values, -gradient, stress


def in_passes(function: Callable) -> Callable:
    """``function`` of parameters, batch and configuration, in passes where they save time."""

    @wraps(function)
    def passes(params: dict, batch: Batch, config: ModelConfig) -> Array | tuple[Array, ...]:
        if config.is_cut_at_pairs:
            return function(params, batch, config)
        return map_in_passes(lambda part: function(params, part, config), batch)

    return passes


@cache
def on_devices(function: Callable, mesh: Mesh) -> Compiled:
    """`energy_and_forces`, or with stress, of one structure that the devices of ``mesh`` share, see
    `structures.sharing`: forces on the atoms of each device, the rest of the whole structure."""

    def on_all(params: dict, batch: Batch, config: ModelConfig) -> tuple[Array, ...]:
        def on_one(params: dict, batch: Batch) -> tuple[Array, Array, list[Array]]:
            # of its atoms' energies; what those of others owe to its atoms comes by itself
            energy, forces, *stress = function(params, batch, config)
            energy, stress = jax.lax.psum((energy, stress), AXIS)
            return energy, forces, stress

        specs = {"in_specs": (EVERYWHERE, SHARED), "out_specs": (EVERYWHERE, SHARED, EVERYWHERE)}
        shared = jax.shard_map(on_one, mesh=mesh, check_vma=False, **specs)
        energy, forces, stress = shared(params, batch)
        return energy, forces, *stress

    return Compiled(on_all, static_argnames="config")
