"""One large structure, cut for several devices.

Every device gets a block of atoms that lie together, and the pairs within it. A pair of atoms of
two blocks goes to one of their devices, by turns. The other atom is then a guest there: in every
layer its features are sent, and what the pair adds to it is sent back. So only the borders between
blocks are sent, and no array is as long as the whole structure.

What a device gets has the form of a batch of one structure, and all of them together that of a
batch with a structure for each, of which the model computes one by one; `Pairs` does the sending.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Float, Int

from so3krates_lite.config import ModelConfig, So3kratesConfig
from so3krates_lite.errors import UserError
from so3krates_lite.runtime.devices import SHARED
from so3krates_lite.runtime.settings import precision_context
from so3krates_lite.structures.batching import round_up
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch, PairList

Blocks = list[Int[np.ndarray, "_atoms"]]


@dataclass(frozen=True)
class Shares:
    """A structure cut for several devices.

    Args:
        batch: for each device its atoms and pairs
        atoms: which atom of the structure stands in each place; -1: none
    """

    batch: Batch
    atoms: Int[np.ndarray, "devices places"]

    def moved(self, displacement: Float[np.ndarray, "atoms 3"]) -> Batch:
        """The batch with the atoms of the structure moved so far, in Å, since pairs were listed."""
        there = np.where(self.atoms[..., None] >= 0, displacement[self.atoms], 0)
        return self.batch.replace(displacement=there.astype(self.batch.displacement.dtype))

    def whole(self, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What was found, by name: forces as those of one structure, its atoms in their order."""
        real = self.atoms >= 0

        def ordered(values: Float[np.ndarray, "devices places 3"]) -> np.ndarray:
            forces = np.zeros((1, int(real.sum()), 3))
            forces[0, self.atoms[real]] = values[real]
            return forces

        return {k: ordered(v) if k.startswith("forces") else v for k, v in found.items()}


def check_shared(config: ModelConfig) -> None:
    """Raise a `UserError` where a model's structures cannot be shared by several devices."""
    if not isinstance(config, So3kratesConfig):
        raise UserError(
            f"A structure cannot be shared by several devices with {config.architecture}, of which "
            f"every atom sees every other: leave devices out."
        )
    if config.ewald:
        raise UserError(
            "A structure cannot be shared by several devices where electrostatics sums over all "
            "images of the cell: leave devices out, or give a long_cutoff in place of ewald."
        )
    if jax.process_count() > 1:
        raise UserError("A structure is shared by the devices of one process: start a single one.")


def share_out(batch: Batch, frame: Frames, mesh: Mesh) -> Shares:
    """`cut` for the devices of ``mesh``, and moved there."""
    shares = cut(batch, frame, mesh.size)
    with precision_context(shares.batch.displacement.dtype):
        placed = jax.device_put(shares.batch, NamedSharding(mesh, SHARED))
    return Shares(placed, shares.atoms)


def cut(batch: Batch, frame: Frames, devices: int) -> Shares:
    """A batch of one structure, cut for so many devices.

    Room for atoms, pairs and what is sent is rounded up to the next step of fine ladders.

    Args:
        batch: as `make_batch` makes it of ``frame`` for a model that `check_shared` lets through
        frame: the structure
        devices: how many
    """
    blocks = blocks_of(folded(frame), devices)
    room = round_up(max(map(len, blocks)), growth=1.02)
    atoms = np.full((devices, room), -1)
    for block, places in zip(blocks, atoms, strict=True):
        places[: len(block)] = block
    at = np.empty(sum(map(len, blocks)), int)  # the place of each atom, counted over all devices
    at[atoms[atoms >= 0]] = np.flatnonzero(atoms >= 0)

    real = atoms[..., None] >= 0
    shares = Batch(
        np.where(real[..., 0], np.asarray(batch.numbers)[0, atoms], 0),
        np.where(real, np.asarray(batch.displacement)[0, atoms], 0),
        np.repeat(batch.cell, devices, 0),
        np.repeat(batch.total_charge, devices, 0),
        np.repeat(batch.unpaired_electrons, devices, 0),
        shared_list(batch.local, at, atoms.shape),
        batch.far and shared_list(batch.far, at, atoms.shape),
    )
    return Shares(shares, atoms)


def folded(frame: Frames) -> Float[np.ndarray, "atoms 3"]:
    """Positions within one cell along periodic directions, in Å."""
    R = frame.positions[0, : int(frame.n_atoms[0])]
    if frame.cell is None or frame.pbc is None:
        return R
    lattice = frame.cell[0][frame.pbc[0]]
    return R - np.floor(R @ np.linalg.pinv(lattice)) @ lattice


def blocks_of(points: Float[np.ndarray, "atoms 3"], number: int) -> Blocks:
    """``number`` blocks of equally many points that lie together: the points are halved across
    their longest extent, and the halves again."""
    if number == 1:
        return [np.arange(len(points))]
    extent = np.ptp(points, axis=0) if len(points) else np.zeros(3)
    order = np.argsort(points[:, int(np.argmax(extent))], kind="stable")
    left = number // 2
    halves = np.split(order, [len(points) * left // number])
    parts = zip(halves, (left, number - left), strict=True)
    return [half[block] for half, n in parts for block in blocks_of(points[half], n)]


def shared_list(listed: PairList, at: Int[np.ndarray, "atoms"], shape: tuple[int, int]) -> PairList:
    """The pairs of each device, and the atoms it sends to the others.

    Args:
        listed: of one structure
        at: the place of each atom, counted over all devices
        shape: devices, and places for atoms on each
    """
    devices, room = shape
    real = np.asarray(listed.mask)[0]
    vector = np.asarray(listed.vector)[0, real]
    ends = at[np.stack([listed.first[0], listed.second[0]])[:, real]]

    one, other = np.sort(ends // room, axis=0)
    here = one.copy()  # where a pair is computed
    across = np.flatnonzero(one != other)
    across = across[np.argsort((one * devices + other)[across], kind="stable")]
    here[across[1::2]] = other[across[1::2]]

    guest = ends // room != here
    wanted, which = np.unique((here * devices * room + ends)[guest], return_inverse=True)
    to, place = np.divmod(wanted, devices * room)
    by, place = np.divmod(place, room)
    route = to * devices + by  # ascending
    rank = np.arange(len(wanted)) - np.searchsorted(route, route)
    most = round_up(int(rank.max(initial=0)) + 1, growth=1.1)
    sent = np.zeros((devices, devices, most), np.int32)
    sent[by, to, rank] = place
    ends %= room
    ends[guest] = (room + by * most + rank)[which]

    order = np.lexsort((ends[1], ends[0], here))
    counts = np.bincount(here, minlength=devices)
    rank = np.arange(len(here)) - np.repeat(np.cumsum(counts) - counts, counts)
    places = here[order], rank
    pairs = round_up(max(int(counts.max()), 1), growth=1.02)
    shared = PairList(
        np.zeros((devices, pairs), np.int32),
        np.zeros((devices, pairs), np.int32),
        np.zeros((devices, pairs, 3), vector.dtype),
        np.zeros((devices, pairs), bool),
        sent,
    )
    shared.first[places], shared.second[places] = ends[:, order]
    shared.vector[places], shared.mask[places] = vector[order], True
    return shared
