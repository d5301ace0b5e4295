"""Batches: molecules of any size as arrays of one shape.

A neighbour list says which atoms see each other. Here each *undirected* pair is listed once: its
distance, its filters and its SPHC distance are the same from both ends, and are computed once. What
differs between the ends is who asks and who answers, and the sign of odd harmonics.

There may be two lists. The *local* one holds the pairs within the cutoff. The *spherical* one, for
models with a spherical neighbourhood, holds every pair of a structure, or those up to a second,
longer cutoff: which of them interact is decided in SPHC space, anew in every layer.

Molecules of different size share a batch by padding. A padded atom has atomic number 0; a padded
pair has ``mask`` False and is given a length of twice the cutoff, where every coefficient is zero.
Nothing else of a model with a cutoff needs to know about padding.
"""

from __future__ import annotations

import math
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from so3krates_lite import runtime
from so3krates_lite.config import ModelConfig
from so3krates_lite.errors import UserError
from so3krates_lite.frames import Frames

Tree = TypeVar("Tree")

# of the local and, where there is one, of the spherical list
PairVectors = tuple[Float[Array, "graphs pairs 3"], Float[Array, "graphs far_pairs 3"] | None]


@struct.dataclass
class PairList:
    """Undirected pairs of each structure, padded to one length.

    ``offset`` (Å) is the lattice vector that leads from the second atom as listed to its periodic
    image in the pair.
    """

    first: Int[Array, "graphs pairs"]
    second: Int[Array, "graphs pairs"]
    offset: Float[Array, "graphs pairs 3"]
    mask: Bool[Array, "graphs pairs"]

    @property
    def room(self) -> int:
        """Places for pairs per structure, filled or not."""
        return self.mask.shape[1]


@struct.dataclass
class Batch:
    """Structures stacked along a first axis, ready for the model (a JAX pytree).

    positions in Å; ``cell`` (Å, rows are lattice vectors) is zero for molecules; ``total_charge``
    in e; ``unpaired_electrons`` is the spin multiplicity less one. ``spherical`` is None for models
    without a spherical neighbourhood.
    """

    numbers: Int[Array, "graphs atoms"]
    positions: Float[Array, "graphs atoms 3"]
    cell: Float[Array, "graphs 3 3"]
    total_charge: Float[Array, "graphs"]
    unpaired_electrons: Float[Array, "graphs"]
    local: PairList
    spherical: PairList | None = None

    def __len__(self) -> int:
        return self.numbers.shape[0]

    def __getitem__(self, index) -> Batch:
        """The structures ``index`` (a slice or an array of numbers)."""
        return jax.tree.map(lambda leaf: leaf[index], self)

    @property
    def atom_mask(self) -> Bool[Array, "graphs atoms"]:
        return self.numbers > 0

    @property
    def room(self) -> int:
        """Places for pairs per structure, those of both lists."""
        return self.local.room + (self.spherical.room if self.spherical else 0)


@struct.dataclass
class Pairs:
    """The undirected pairs of a batch, its structures laid end to end."""

    first: Int[Array, "pairs"]
    second: Int[Array, "pairs"]
    n_atoms: int = struct.field(pytree_node=False)

    @classmethod
    def of(cls, listed: PairList, batch: Batch) -> Pairs:
        graphs, atoms = batch.numbers.shape
        start = jnp.arange(graphs, dtype=listed.first.dtype)[:, None] * atoms
        return cls(
            (listed.first + start).reshape(-1),
            (listed.second + start).reshape(-1),
            graphs * atoms,
        )

    def ends(self, values: Tree) -> tuple[Tree, Tree]:
        """Arrays over atoms, as they are at each pair's first and at its second atom."""
        first = jax.tree.map(lambda value: value[self.first], values)
        return first, jax.tree.map(lambda value: value[self.second], values)

    def collect(
        self, to_first: Float[Array, "pairs *any"], to_second: Float[Array, "pairs *any"]
    ) -> Float[Array, "atoms *any"]:
        """Add up, for every atom, what its pairs bring it."""
        index = jnp.concatenate([self.first, self.second])
        return jax.ops.segment_sum(jnp.concatenate([to_first, to_second]), index, self.n_atoms)

    def largest(self, value: Float[Array, "pairs"]) -> Float[Array, "atoms"]:
        """For every atom the largest ``value`` of its pairs; -inf for an atom without any."""
        index = jnp.concatenate([self.first, self.second])
        return jax.ops.segment_max(jnp.concatenate([value, value]), index, self.n_atoms)


def pair_vectors(batch: Batch, config: ModelConfig) -> PairVectors:
    """r_ij = R_j - R_i (+ lattice vector), from first to second atom, in Å."""
    take = jax.vmap(lambda positions, index: positions[index])

    def vectors(listed: PairList, cutoff: float) -> Float[Array, "graphs pairs 3"]:
        vector = (
            take(batch.positions, listed.second)
            - take(batch.positions, listed.first)
            + listed.offset
        )
        length = 2 * cutoff if math.isfinite(cutoff) else 1.0
        outside = jnp.asarray([0.0, 0.0, length], vector.dtype)
        return jnp.where(listed.mask[..., None], vector, outside)

    spherical = batch.spherical and vectors(batch.spherical, config.long_cutoff or config.cutoff)
    return vectors(batch.local, config.cutoff), spherical


def neighbour_pairs(
    positions: Float[np.ndarray, "atoms 3"],
    cutoff: float,
    cell: Float[np.ndarray, "3 3"] | None = None,
    pbc: Bool[np.ndarray, "3"] | None = None,
) -> tuple[Int[np.ndarray, "pairs"], Int[np.ndarray, "pairs"], Float[np.ndarray, "pairs 3"]]:
    """All undirected pairs closer than ``cutoff`` (Å): first atom, second atom, lattice offset (Å).

    In a periodic cell a pair is one of atom and image; an atom may pair with its own images.
    The search is vesin's.
    """
    from vesin import NeighborList

    periodic = cell is not None and pbc is not None and bool(np.any(pbc))
    box = np.asarray(cell if periodic else np.zeros((3, 3)), np.float64)
    search = NeighborList(cutoff=float(cutoff), full_list=False)
    first, second, shift = search.compute(
        points=np.asarray(positions, np.float64),
        box=box,
        periodic=np.asarray(pbc, bool) if periodic else False,
        quantities="ijS",
    )
    offset = shift @ box if periodic else np.zeros((len(first), 3))
    order = np.lexsort((second, first))
    return first[order].astype(np.int32), second[order].astype(np.int32), offset[order]


def make_batch(
    frames: Frames,
    config: ModelConfig,
    *,
    skin: float = 0.0,
    atoms: int | None = None,
    pairs: int | None = None,
    far_pairs: int | None = None,
    spare: bool = False,
    dtype: np.dtype | type = np.float32,
) -> Batch:
    """Stack ``frames`` with their neighbour lists, as numpy arrays: the first use moves them.

    Args:
        frames: one or more structures; with a total charge or spin where the model reads it
        config: of the model that will read the batch: its cutoffs say which pairs are needed
        skin: list pairs that are this much longer than the cutoffs, too, in Å
        atoms, pairs, far_pairs: room per structure for atoms and for pairs of the local and of the
            spherical list; None: as much as the largest needs
        spare: round the room for pairs up to the next step of a ladder, so that sets of nearly
            equal size share one compilation
        dtype: of positions and of everything computed from them

    Raises:
        UserError: there is no structure, too little room (`CapacityError`) or too little memory,
            the model reads a charge or spin that the frames do not state, or all pairs of a
            periodic structure are asked for
    """
    if len(frames) == 0:
        raise UserError("There is no structure in the set: at least one is needed.")
    n_atoms = _room("atoms", int(frames.n_atoms.max()), atoms)
    _check_memory(config, n_atoms, np.dtype(dtype).itemsize)

    def listed(cutoff: float, what: str, given: int | None) -> PairList:
        lists = [_pairs_of(frames, k, cutoff) for k in range(len(frames))]
        room = _room(what, max(len(first) for first, _, _ in lists), given)
        if spare:
            room = room_for_pairs(room, n_atoms, frames.is_periodic)
        return _stacked(lists, room, dtype)

    local = listed(config.cutoff + skin, "pairs", pairs)
    spherical = None
    if config.is_nonlocal:
        spherical = listed((config.long_cutoff or math.inf) + skin, "far_pairs", far_pairs)

    graphs = len(frames)
    numbers = np.zeros((graphs, n_atoms), np.int32)
    positions = np.zeros((graphs, n_atoms, 3), dtype)
    width = min(n_atoms, frames.numbers.shape[1])
    numbers[:, :width] = frames.numbers[:, :width]
    positions[:, :width] = frames.positions[:, :width]
    cell = np.zeros((graphs, 3, 3), dtype)
    if frames.cell is not None:
        # a box drawn around a molecule is no cell
        cell = np.where(frames.pbc.any(axis=1)[:, None, None], frames.cell, 0).astype(dtype)
    charge, unpaired = _charge_and_spin(frames, config)
    return Batch(
        numbers, positions, cell, charge.astype(dtype), unpaired.astype(dtype), local, spherical
    )


def _check_memory(config: ModelConfig, atoms: int, itemsize: int) -> None:
    needed = config.memory(atoms, itemsize)
    if needed and needed > (there := runtime.available_memory()):
        raise UserError(
            f"A structure of {atoms} atoms needs about {needed / 1e9:.1f} GB with this model, and "
            f"{there / 1e9:.1f} GB are free: memory grows with the square of the atoms, so take "
            f"smaller structures, or a model with fewer orders, a smaller inner width or a cutoff."
        )


NEUTRAL = {"total_charge": 0.0, "spin_multiplicity": 1}  # the least a molecule can have


def electrons_read(config: ModelConfig) -> dict[str, bool]:
    """Which of total charge and spin multiplicity a model reads, by their names in `Frames`."""
    return {"total_charge": config.charge_embedding, "spin_multiplicity": config.spin_embedding}


def _charge_and_spin(
    frames: Frames, config: ModelConfig
) -> tuple[Float[np.ndarray, "graphs"], Float[np.ndarray, "graphs"]]:
    for name, reads in electrons_read(config).items():
        if reads and getattr(frames, name) is None:
            neutral = NEUTRAL[name]
            raise UserError(
                f"The model reads the {name} of every structure, but the frames have none"
                f"{frames.lacking(name)}: set it, as in "
                f"frames.replace({name}=np.full(len(frames), {neutral}))."
            )
    zero = np.zeros(len(frames))
    charge = zero if frames.total_charge is None else frames.total_charge
    spin = zero if frames.spin_multiplicity is None else frames.spin_multiplicity - 1.0
    return charge, spin


def _pairs_of(
    frames: Frames, k: int, cutoff: float
) -> tuple[Int[np.ndarray, "pairs"], Int[np.ndarray, "pairs"], Float[np.ndarray, "pairs 3"]]:
    """The undirected pairs of frame ``k`` within ``cutoff`` (Å; infinite: all)."""
    n = int(frames.n_atoms[k])
    cell = None if frames.cell is None else frames.cell[k]
    pbc = None if frames.pbc is None else frames.pbc[k]
    if math.isfinite(cutoff):
        return neighbour_pairs(frames.positions[k, :n], cutoff, cell, pbc)
    if pbc is not None and pbc.any():
        raise UserError(
            f"Frame {k} is periodic and has pairs without end, but the model takes all pairs: use "
            f"one with a cutoff (for a spherical neighbourhood, with a long_cutoff)."
        )
    first, second = np.triu_indices(n, 1)
    return first, second, np.zeros((len(first), 3))


def _stacked(lists: list[tuple], room: int, dtype: np.dtype | type) -> PairList:
    graphs = len(lists)
    pairs = PairList(
        np.zeros((graphs, room), np.int32),
        np.zeros((graphs, room), np.int32),
        np.zeros((graphs, room, 3), dtype),
        np.zeros((graphs, room), bool),
    )
    for k, (first, second, offset) in enumerate(lists):
        pairs.first[k, : len(first)] = first
        pairs.second[k, : len(first)] = second
        pairs.offset[k, : len(first)] = offset
        pairs.mask[k, : len(first)] = True
    return pairs


class CapacityError(UserError):
    """A structure has more atoms or pairs than the arrays made for it have room."""


def _room(what: str, needed: int, given: int | None) -> int:
    if given is None:
        return max(needed, 1)
    if needed > given:
        raise CapacityError(
            f"A structure has {needed} {what}, but the batch was made for {given}: "
            f"pass {what}={needed} or more."
        )
    return given


def room_for_pairs(pairs: int, atoms: int, periodic: bool) -> int:
    """The next step of the ladder for ``pairs``; never more than a molecule can have."""
    room = round_up(pairs, growth=1.1)
    return room if periodic else min(room, max(atoms * (atoms - 1) // 2, 1))


def round_up(number: int, growth: float = 1.25) -> int:
    """The next size on a geometric ladder: few different sizes mean few compilations."""
    size = 8
    while size < number:
        size = math.ceil(size * growth)
    return size
