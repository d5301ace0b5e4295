"""Batches: molecules of any size as arrays of one shape.

A neighbour list says which atoms see each other. Here each *undirected* pair is listed once: its
distance, its filters and its SPHC distance are the same from both ends, and are computed once. What
differs between the ends is who asks and who answers, and the sign of odd harmonics.

Molecules of different size share a batch by padding. A padded atom has atomic number 0; a padded
pair has ``pair_mask`` False and is given a length of twice the cutoff, where every coefficient is
zero. Nothing else of the model needs to know about padding.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from so3krates_lite.errors import UserError
from so3krates_lite.frames import Frames


@struct.dataclass
class Batch:
    """Structures stacked along a first axis, ready for the model (a JAX pytree).

    positions in Å; ``pair_offset`` (Å) is the lattice vector that leads from the second atom as
    listed to its periodic image in the pair; ``cell`` (Å, rows are lattice vectors) is zero for
    molecules.
    """

    numbers: Int[Array, "graphs atoms"]
    positions: Float[Array, "graphs atoms 3"]
    pair_first: Int[Array, "graphs pairs"]
    pair_second: Int[Array, "graphs pairs"]
    pair_offset: Float[Array, "graphs pairs 3"]
    pair_mask: Bool[Array, "graphs pairs"]
    cell: Float[Array, "graphs 3 3"]

    def __len__(self) -> int:
        return self.numbers.shape[0]

    def __getitem__(self, index) -> Batch:
        """The structures ``index`` (a slice or an array of numbers)."""
        return jax.tree.map(lambda leaf: leaf[index], self)

    @property
    def atom_mask(self) -> Bool[Array, "graphs atoms"]:
        return self.numbers > 0


@struct.dataclass
class Pairs:
    """The undirected pairs of a batch, its structures laid end to end."""

    first: Int[Array, "pairs"]
    second: Int[Array, "pairs"]
    n_atoms: int = struct.field(pytree_node=False)

    @classmethod
    def of(cls, batch: Batch) -> Pairs:
        graphs, atoms = batch.numbers.shape
        start = jnp.arange(graphs, dtype=batch.pair_first.dtype)[:, None] * atoms
        return cls(
            (batch.pair_first + start).reshape(-1),
            (batch.pair_second + start).reshape(-1),
            graphs * atoms,
        )

    def ends(
        self, values: Float[Array, "atoms *any"]
    ) -> tuple[Float[Array, "pairs *any"], Float[Array, "pairs *any"]]:
        """The values of each pair's first and of its second atom."""
        return values[self.first], values[self.second]

    def collect(
        self, to_first: Float[Array, "pairs *any"], to_second: Float[Array, "pairs *any"]
    ) -> Float[Array, "atoms *any"]:
        """Add up, for every atom, what its pairs bring it."""
        index = jnp.concatenate([self.first, self.second])
        return jax.ops.segment_sum(jnp.concatenate([to_first, to_second]), index, self.n_atoms)


def pair_vectors(batch: Batch, cutoff: float) -> Float[Array, "graphs pairs 3"]:
    """r_ij = R_j - R_i (+ lattice vector), from first to second atom, in Å."""
    take = jax.vmap(lambda positions, index: positions[index])
    vector = (
        take(batch.positions, batch.pair_second)
        - take(batch.positions, batch.pair_first)
        + batch.pair_offset
    )
    outside = jnp.asarray([0.0, 0.0, 2 * cutoff], vector.dtype)
    return jnp.where(batch.pair_mask[..., None], vector, outside)


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
    cutoff: float,
    *,
    atoms: int | None = None,
    pairs: int | None = None,
    spare: bool = False,
    dtype: np.dtype | type = np.float32,
) -> Batch:
    """Stack ``frames`` with their neighbour lists, as numpy arrays: the first use moves them.

    Args:
        frames: one or more structures
        cutoff: in Å, as the model's
        atoms, pairs: room per structure; None: as much as the largest needs
        spare: round the room for pairs up to the next step of a ladder, so that sets of nearly
            equal size share one compilation
        dtype: of positions and of everything computed from them

    Raises:
        UserError: there is no structure, or too little room (`CapacityError`)
    """
    if len(frames) == 0:
        raise UserError("There is no structure in the set: at least one is needed.")
    lists = []
    for k in range(len(frames)):
        n = int(frames.n_atoms[k])
        cell = None if frames.cell is None else frames.cell[k]
        pbc = None if frames.pbc is None else frames.pbc[k]
        lists.append(neighbour_pairs(frames.positions[k, :n], cutoff, cell, pbc))
    n_atoms = _room("atoms", int(frames.n_atoms.max()), atoms)
    n_pairs = _room("pairs", max(len(first) for first, _, _ in lists), pairs)
    if spare:
        n_pairs = room_for_pairs(n_pairs, n_atoms, frames.is_periodic)

    graphs = len(frames)
    numbers = np.zeros((graphs, n_atoms), np.int32)
    positions = np.zeros((graphs, n_atoms, 3), dtype)
    pair_first = np.zeros((graphs, n_pairs), np.int32)
    pair_second = np.zeros((graphs, n_pairs), np.int32)
    pair_offset = np.zeros((graphs, n_pairs, 3), dtype)
    pair_mask = np.zeros((graphs, n_pairs), bool)
    width = min(n_atoms, frames.numbers.shape[1])
    numbers[:, :width] = frames.numbers[:, :width]
    positions[:, :width] = frames.positions[:, :width]
    for k, (first, second, offset) in enumerate(lists):
        pair_first[k, : len(first)] = first
        pair_second[k, : len(first)] = second
        pair_offset[k, : len(first)] = offset
        pair_mask[k, : len(first)] = True
    cell = np.zeros((graphs, 3, 3), dtype)
    if frames.cell is not None:
        # a box drawn around a molecule is no cell
        cell = np.where(frames.pbc.any(axis=1)[:, None, None], frames.cell, 0).astype(dtype)
    return Batch(numbers, positions, pair_first, pair_second, pair_offset, pair_mask, cell)


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
