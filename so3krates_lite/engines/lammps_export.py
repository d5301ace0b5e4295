"""A potential as a compiled program within LAMMPS, for systems that many processes share.

LAMMPS gives each process a domain of the box. Beside its own atoms a process knows *ghosts*: copies
of those of its neighbours, and of periodic images, up to one cutoff away. That is too little for a
network of L layers, in which an atom hears of others up to L + 1 cutoffs away. Either ghosts reach
that far, and most of the work is done several times; or, as here, the processes tell each other
between layers what their own atoms have become: one exchange of x and chi per layer. An exchange is
linear, so that forces come by differentiating through it, backwards. Domains split in this way give
the numbers of one domain, to rounding.

The package lammps-jax has made this of it: a file with the serialised programs of `jax.export` and
what they expect (arrays of fixed size, pairs of an atom of the domain with each of its neighbours,
padding), and a pair style for LAMMPS that runs it. Its exchange is what the programs call out for.
The network is put together here anew from its own layers, since the exchange has to stand between
them; pairs are directed, and what reaches a ghost is dropped.

Electrostatics, dispersion, embeddings of charge or spin and the spherical neighbourhood need all
atoms at once, which no domain has: such potentials are refused.

Source: lammps-jax 0.2.1, Gangan et al. (2026), doi:10.5281/zenodo.20838693.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from so3krates_lite.attention import Neighbourhood
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.engines.lammps import element_numbers
from so3krates_lite.ensemble import Ensemble, load_potential
from so3krates_lite.errors import UserError, require
from so3krates_lite.heads import EnergyHead
from so3krates_lite.model import Layer, State, neighbourhoods, sphc_start
from so3krates_lite.potential import Potential
from so3krates_lite.runtime.files import replacing
from so3krates_lite.runtime.settings import precision_context, precision_of
from so3krates_lite.structures.graph import Batch, PairList, Pairs


@struct.dataclass
class Directed(Pairs):
    """Pairs of which the first atom is told about the second, and not the other way round."""

    def collect(
        self, to_first: Float[Array, "pairs *any"], to_second: Float[Array, "pairs *any"]
    ) -> Float[Array, "atoms *any"]:
        return jax.ops.segment_sum(to_first, self.first, self.n_atoms)


def domain_energies(
    potential: Potential, elements: Sequence[str], with_shift: bool = True
) -> Callable[..., Float[Array, "atoms"]]:
    """The energies (eV) of a domain's atoms as lammps-jax asks for them.

    A function of positions (Å), types counted from 0, pairs (``senders``, the atoms of the domain,
    ``receivers``, their neighbours, ``edge_mask``) and what exchanges features; those of ghosts
    mean nothing.

    Raises:
        UserError: the potential is not a local So3krates, or an element is not one that it knows
    """
    config = potential.config
    reason = _not_local(potential)
    if reason:
        raise UserError(
            f"This potential {reason}, which a domain of LAMMPS cannot compute by itself: drive "
            "LAMMPS from Python (LammpsForces), or through i-PI."
        )
    of_type = element_numbers(elements)
    potential.check_elements(of_type)
    params = potential.params
    shift = potential.element_shift[of_type] * with_shift

    def energies(positions: Array, types: Array, graph: Any, exchange: Any) -> Array:
        types = jnp.clip(types, 0, len(of_type) - 1)
        numbers = jnp.asarray(of_type)[types]
        local = _neighbourhood(positions, numbers, graph, config)
        x = jnp.asarray(params["embedding"])[numbers]
        chi = sphc_start(local, config)

        @jax.checkpoint  # of pairs nothing is kept for the reverse sweep
        def layer(params: dict, state: State, local: Neighbourhood) -> State:
            return Layer(config).apply({"params": params}, state, local, None)[0]

        for k in range(config.layers):
            of_layer = jax.tree.map(lambda leaf, k=k: leaf[k], params["layers"])
            x, chi = layer(of_layer, exchange.forward_comm((x, chi)), local)
        head = EnergyHead(config).apply({"params": params["energy_head"]}, x, numbers)
        return potential.energy_scale * head + jnp.asarray(shift, x.dtype)[types]

    return energies


def _not_local(potential: Potential) -> str:
    """What a domain cannot compute of it, in words; "" if nothing."""
    config = potential.config
    if isinstance(potential, Ensemble):
        return "is an ensemble"
    if not isinstance(config, So3kratesConfig):
        return "is no So3krates"
    if config.physics:
        return f"has {', '.join(config.physics)}"
    if config.charge_embedding or config.spin_embedding:
        return "hands out the molecule's charge or spin among all its atoms"
    return "has a spherical neighbourhood" if config.is_nonlocal else ""


def _neighbourhood(
    positions: Float[Array, "atoms 3"],
    numbers: Int[Array, "atoms"],
    graph: Any,
    config: So3kratesConfig,
) -> Neighbourhood:
    """The local neighbourhood of directed pairs; those that are padding have no weight."""
    first = jnp.where(graph.edge_mask, graph.senders, 0)
    second = jnp.where(graph.edge_mask, graph.receivers, 0)
    outside = jnp.asarray([0.0, 0.0, 2 * config.cutoff], positions.dtype)
    vectors = positions[second] - positions[first]
    vectors = jnp.where(graph.edge_mask[:, None], vectors, outside)[None]
    nothing = jnp.zeros(1, positions.dtype)
    listed = PairList(first[None], second[None], vectors, graph.edge_mask[None])
    cell = jnp.zeros((1, 3, 3), positions.dtype)
    batch = Batch(numbers[None], positions[None], cell, nothing, nothing, listed)
    local, _ = neighbourhoods(batch, (vectors, None), config)
    return local._replace(pairs=Directed(first, second, len(numbers)))


def export_lammps(
    potential: Potential | str | PathLike,
    path: str | PathLike,
    elements: Sequence[str],
    *,
    max_atoms: int,
    neighbours: int,
    precision: str = "float64",
    platform: str = "cuda",
    with_shift: bool | None = None,
) -> dict[str, Any]:
    """Write a file for the pair style jax/kk of lammps-jax, whole or not at all.

    Args:
        potential: a local So3krates, its file, or the name of one
        path: to write to, such as water.lammps-jax.json
        elements: symbol of each atom type, in LAMMPS's order
        max_atoms: room for atoms of one process, ghosts included
        neighbours: room for neighbours of an atom within the cutoff, on average over ``max_atoms``
        precision: "float64" or "float32"; float32 counts positions from the box's origin, and loses
            digits in large ones
        platform: "cuda" or "cpu", where LAMMPS will run it
        with_shift: whether energies hold the elements' own; None: in float64 only, since in float32
            their sum would drown the rest. Forces have none of it

    Returns:
        the file's content

    Raises:
        UserError: the potential cannot be exported, an argument is not possible, or lammps-jax is
            not installed
    """
    if not isinstance(potential, Potential):
        potential = load_potential(potential)
    dtype = precision_of(precision)
    for name, value in {"max_atoms": max_atoms, "neighbours": neighbours}.items():
        require(value >= 1, name, value, "a whole number from 1 upwards")
    require(platform in ("cuda", "cpu"), "platform", platform, "cuda or cpu")
    if with_shift is None:
        with_shift = dtype == np.float64
    energies = domain_energies(potential.astype(precision), elements, with_shift)
    try:
        from lammps_jax.export import export_model
    except ImportError as error:
        raise UserError(
            f"lammps-jax is missing ({error}): pip install 'so3krates-lite[engines]'."
        ) from None
    with precision_context(dtype), replacing(Path(path)) as place:
        return export_model(
            energy_fn=energies,
            path=place,
            max_atoms=max_atoms,
            max_edges=max_atoms * neighbours,
            cutoff=potential.config.cutoff,
            unit_style="metal",
            precision=precision,
            comm=True,
            n_species=len(elements),
            platform=platform,
        )
