"""Change something inside the network, leave the rest, and see what the answer becomes.

A large coefficient says that the model weights a message. It does not say that the message carries
anything, nor that another path would not carry it instead. An intervention asks: values at chosen
places (coefficients of pairs, heads or layers; the features x and chi of atoms) are set to what a
`Baseline` says, and energy, forces and charges are computed anew. The change is what the answer
owes to those places, within this network: an intervention on the model, not on the molecule.

All goes one way: value' = gate value + (1 - gate) baseline, where the gate is 0 at the chosen
places and 1 elsewhere. What is put there stays as it is while atoms move: forces are the slope of
the energy with these values held, so that even a structure's own values change its forces, by what
went through them. Cases are computed side by side, in batches of one shape, by one compiled
program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from so3krates_lite.config import ModelConfig, So3kratesConfig
from so3krates_lite.energies import Switches, network
from so3krates_lite.errors import UserError
from so3krates_lite.harmonics import degree_of_component
from so3krates_lite.interpret.baselines import ZERO, Baseline, Values, channels_of, chosen, only
from so3krates_lite.passes import collect_for_reverse
from so3krates_lite.potential import Potential
from so3krates_lite.runtime.settings import Compiled, precision_context
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch, pair_vectors

CASES_AT_ONCE = 32
NUMBERS_AT_ONCE = 2**23  # most that are handed over for one batch of cases
STATES = ("x", "chi")

Pairs = Sequence[tuple[int, int]] | Int[np.ndarray, "pairs 2"]


@dataclass(frozen=True, eq=False)
class Place:
    """Where a network is changed: all that fits every one of these.

    Args:
        block: a block of attention, such as "feature" or "geometric", whose coefficients are set;
            or "x" or "chi", the features of atoms; None: all blocks of attention
        layer: counted from 0, negative ones from the end; None: all. Of "x" and "chi" 0 is the
            start, l + 1 what layer l leaves
        channel: head, degree or order, counted likewise; of "x" the share of the features that a
            head (or order) writes to; None: all
        pairs: (receiver, sender) of each directed pair; None: all
        atoms: whose "x" or "chi"; of a block all pairs that one of them asks or answers in; None:
            all
        gate: what remains of the trained value, 0 to 1
    """

    block: str | None = None
    layer: int | None = None
    channel: int | None = None
    pairs: Pairs | None = None
    atoms: Sequence[int] | None = None
    gate: float = 0.0


Case = Place | Sequence[Place]


class Effect(NamedTuple):
    """What interventions change: changed less trained, for each case.

    energy in eV, forces in eV/Å, partial charges in e (None: the model has none).
    """

    energy: Float[np.ndarray, "cases"]
    forces: Float[np.ndarray, "cases atoms 3"]
    charges: Float[np.ndarray, "cases atoms"] | None = None

    @property
    def force_size(self) -> Float[np.ndarray, "cases"]:
        """Root of the summed squares of all changes of forces, eV/Å."""
        return np.sqrt((self.forces**2).sum(axis=(1, 2)))


def intervene(
    potential: Potential,
    frame: Frames,
    cases: Sequence[Case],
    baseline: Baseline = ZERO,
) -> Effect:
    """Energy, forces and charges of one frame with values at chosen places replaced.

    Args:
        frame: one structure
        cases: for each case a place, or several that are changed together
        baseline: what is put there. With several draws a case has several effects, side by side:
            ``effect.energy.reshape(len(cases), draws)``

    Raises:
        UserError: several frames, a place that does not exist, or a baseline of other atoms
    """
    only(frame)
    frame = frame.trimmed()
    batch = make_batch(frame, potential.config, dtype=potential.dtype)
    places = [as_places(case, potential.config) for case in cases]
    values = baseline.values(potential, frame, states=has_states(places))
    return effects(potential, batch, places, values)


def effects(
    potential: Potential, batch: Batch, cases: Sequence[Sequence[Place]], values: Values
) -> Effect:
    """`intervene` on the one structure of a batch, with known values in place of the trained."""
    config, dtype = potential.config, potential.dtype
    atoms = batch.numbers.shape[1]
    shapes = shapes_of(config, atoms, states=has_states(cases))
    draws = len(next(iter(values.values()))) if values else 1
    each = [(index, place) for place in cases for index in range(draws)]
    each = [(0, ()), *each]  # the first is as trained
    size = cases_at_once(shapes)
    copies = batch[np.zeros(size, int)]
    found = []
    for start in range(0, len(each), size):
        part = each[start : start + size]
        with precision_context(dtype):
            answer = _answers(
                potential.device_params,
                copies,
                _switches(part, size, shapes, values, config, dtype),
                config,
            )
        found.append([np.asarray(v, np.float64)[: len(part)] for v in answer if v is not None])
    energy, forces, *charges = (np.concatenate(v) for v in zip(*found, strict=True))
    scaled = [v * potential.energy_scale for v in (energy, forces)]
    return Effect(*(v[1:] - v[0] for v in (*scaled, *charges)))


def as_places(case: Case, config: ModelConfig) -> list[Place]:
    """The places of a case, each with a block of its own.

    Raises:
        UserError: a block, layer or channel that the model does not have
    """
    known, found = channels_of(config), []
    states = STATES if isinstance(config, So3kratesConfig) else STATES[:1]
    for place in [case] if isinstance(case, Place) else case:
        if place.block is not None and place.block not in (*known, *states):
            raise UserError(
                f"The model has no block '{place.block}': choose one of {', '.join(known)}, or "
                f"its features {' and '.join(states)}."
            )
        names = known if place.block is None else (place.block,)
        for name in names:
            if name in STATES and place.pairs is not None:
                raise UserError(f"The features {name} belong to atoms: give atoms, not pairs.")
            found.append(replace(place, block=name))
    return found


def has_states(cases: Sequence[Sequence[Place]]) -> bool:
    return any(place.block in STATES for case in cases for place in case)


def shapes_of(config: ModelConfig, atoms: int, *, states: bool) -> dict[str, tuple[int, ...]]:
    """Shapes of what can be changed in one structure, by name."""
    layers = config.layers
    shapes: dict[str, tuple[int, ...]] = {
        block: (layers, atoms, atoms, channels) for block, channels in channels_of(config).items()
    }
    if states and isinstance(config, So3kratesConfig):
        m_tot = len(degree_of_component(config.degrees))
        shapes |= {"x": (layers + 1, atoms, config.features), "chi": (layers + 1, atoms, m_tot)}
    elif states:
        shapes["x"] = (layers + 1, atoms, config.features * len(config.orders))
    return shapes


def cases_at_once(shapes: dict[str, tuple[int, ...]]) -> int:
    numbers = sum(int(np.prod(shape)) for shape in shapes.values())
    return max(min(CASES_AT_ONCE, NUMBERS_AT_ONCE // numbers), 1)


def as_switches(
    gates: dict[str, np.ndarray], others: dict[str, np.ndarray], dtype: np.dtype
) -> Switches:
    """Gates and what stands in, [graphs, layers, …] each, as the network takes them."""
    return {
        name: np.swapaxes(np.stack([gates[name], others[name]], axis=-1, dtype=dtype), 0, 1)
        for name in gates
    }


def _switches(
    cases: Sequence[tuple[int, Sequence[Place]]],
    size: int,
    shapes: dict[str, tuple[int, ...]],
    values: Values,
    config: ModelConfig,
    dtype: np.dtype,
) -> Switches:
    gates = {name: np.ones((size, *shape), dtype) for name, shape in shapes.items()}
    others = {name: np.zeros((size, *shape), dtype) for name, shape in shapes.items()}
    draws = [draw for draw, _ in cases]
    for name in shapes.keys() & values.keys():
        held = values[name][draws]
        # rooms for padding atoms stay empty
        others[name][tuple(slice(n) for n in held.shape)] = held
    for n, (_, places) in enumerate(cases):
        for place in places:
            gate = gates[place.block][n]
            gate[_index(place, gate.shape, config)] = place.gate
    return as_switches(gates, others, dtype)


def _index(place: Place, shape: tuple[int, ...], config: ModelConfig) -> tuple[np.ndarray, ...]:
    """Where in an array [layers, atoms, (atoms,) channels] a place is."""
    layers = chosen("layer", place.layer, shape[0])
    atoms = np.arange(shape[1]) if place.atoms is None else np.asarray(place.atoms, int)
    if outside := [atom for atom in atoms.tolist() if not 0 <= atom < shape[1]]:
        raise UserError(f"Atom {outside[0]} does not exist: the frame has {shape[1]} atoms.")
    if place.block in STATES:
        last = _shares(place, shape[-1], config)
        return np.ix_(layers, atoms, last)
    channels = chosen("channel", place.channel, shape[-1])
    if place.pairs is None:
        touched = np.isin(np.arange(shape[1]), atoms)
        receiver, sender = np.nonzero(touched[:, None] | touched)
    else:
        receiver, sender = np.asarray(place.pairs, int).reshape(-1, 2).T
        wrong = (np.minimum(receiver, sender) < 0) | (np.maximum(receiver, sender) >= shape[1])
        if wrong.any():
            pair = int(np.argmax(wrong))
            raise UserError(
                f"The pair ({receiver[pair]}, {sender[pair]}) does not exist: the frame has "
                f"{shape[1]} atoms."
            )
    return layers[:, None, None], receiver[None, :, None], sender[None, :, None], channels


def _shares(place: Place, width: int, config: ModelConfig) -> Int[np.ndarray, "features"]:
    """Which components of x or chi a channel is."""
    if place.block == "chi":
        degrees = degree_of_component(config.degrees)
        return np.flatnonzero(
            np.isin(degrees, chosen("channel", place.channel, len(config.degrees)))
        )
    shares = next(iter(channels_of(config).values()))
    share = np.arange(width) // (width // shares)
    return np.flatnonzero(np.isin(share, chosen("channel", place.channel, shares)))


@partial(Compiled, static_argnames="config")
def _answers(params: dict, batch: Batch, switches: Switches, config: ModelConfig) -> tuple:
    """Energies, forces and charges (or None), in the network's own units."""
    model = network(config, collect_for_reverse)
    variables = {"params": params, "switches": model.switches(switches)}

    def energies(moved: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        now = batch.replace(displacement=moved)
        of_atoms, left = model.apply(
            variables, now, pair_vectors(now, config), mutable=["properties"]
        )
        charges = left["properties"]["physics"]["charges"] if config.has_charges else None
        return of_atoms.sum(axis=1), charges

    values, pull, charges = jax.vjp(energies, batch.displacement, has_aux=True)
    return values, -pull(jnp.ones_like(values))[0], charges
