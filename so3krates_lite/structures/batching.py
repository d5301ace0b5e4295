"""Frames with their neighbour lists, stacked into batches of one shape.

How much room a batch has, for atoms and for pairs, decides what is compiled: sizes lie on a
geometric ladder (`round_up`), so that few of them serve structures of any size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from so3krates_lite.config import ModelConfig
from so3krates_lite.errors import UserError
from so3krates_lite.runtime import settings
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch, Images, PairList
from so3krates_lite.structures.neighbours import neighbour_pairs

NEAREST = 0.1  # Å, of two nuclei; H2 is 0.74 Å long
# 1/Å: charges smeared out as those of `physics.electrostatics` have no shorter waves, to 1e-9
SHORTEST_WAVE = 2.3


@dataclass(frozen=True)
class PairLists:
    """The pairs of each structure in each of the lists, before they are padded to one length.

    A list holds for every structure its pairs' first atoms, second atoms and vectors (Å).
    """

    local: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    far: list[tuple[np.ndarray, np.ndarray, np.ndarray]] | None

    @classmethod
    def of(
        cls,
        frames: Frames,
        config: ModelConfig,
        skin: float = 0.0,
        index: Int[np.ndarray, "structures"] | None = None,
    ) -> PairLists:
        """The pairs that a model of this configuration reads, and those up to ``skin`` further; of
        the structures ``index``, None: of all."""
        structures = range(len(frames)) if index is None else index.tolist()

        def listed(cutoff: float) -> list[tuple]:
            return [_pairs_of(frames, k, cutoff) for k in structures]

        local, far = listed(config.cutoff + skin), None
        if config.physics:
            for k, pairs in zip(structures, local, strict=True):
                _check_apart(k, *pairs)
        if config.reads_far_pairs:
            far = listed((config.long_cutoff or math.inf) + skin)
        return cls(local, far)

    def __getitem__(self, index: Int[np.ndarray, "structures"]) -> PairLists:
        """The lists of the structures ``index``."""
        far = self.far and [self.far[k] for k in index]
        return PairLists([self.local[k] for k in index], far)

    @property
    def numbers(self) -> Int[np.ndarray, "structures lists"]:
        """How many pairs each structure has in each list."""
        both = [self.local] if self.far is None else [self.local, self.far]
        return np.array([[len(first) for first, _, _ in one] for one in both], int).T


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
    lists: PairLists | None = None,
) -> Batch:
    """Stack ``frames`` with their neighbour lists, as numpy arrays: the first use moves them.

    Args:
        frames: one or more structures; with a total charge or spin where the model reads it
        config: of the model that will read the batch: its cutoffs say which pairs are needed
        skin: list pairs that are this much longer than the cutoffs, too, in Å
        atoms, pairs, far_pairs: room per structure for atoms and for pairs of the local and of the
            far list; None: as much as the largest needs
        spare: round the room for pairs up to the next step of a ladder, so that sets of nearly
            equal size share one compilation
        dtype: of pair vectors and of everything computed from them
        lists: the pairs, where they are known already

    Raises:
        UserError: there is no structure, too little room (`CapacityError`) or too little memory,
            the model reads a charge or spin that the frames do not state, or all pairs of a
            periodic structure are asked for
    """
    check_size(frames, config, dtype, atoms or 0)
    n_atoms = _room("atoms", int(frames.n_atoms.max()), atoms)
    lists = lists or PairLists.of(frames, config, skin)

    def stacked(listed: list[tuple], what: str, given: int | None) -> PairList:
        room = _room(what, max(len(first) for first, _, _ in listed), given)
        if spare:
            room = room_for_pairs(room, n_atoms, frames.is_periodic)
        return _stacked(listed, room, dtype)

    local = stacked(lists.local, "pairs", pairs)
    far = None if lists.far is None else stacked(lists.far, "far_pairs", far_pairs)

    graphs = len(frames)
    numbers = np.zeros((graphs, n_atoms), np.int32)
    width = min(n_atoms, frames.numbers.shape[1])
    numbers[:, :width] = frames.numbers[:, :width]
    displacement = np.zeros((graphs, n_atoms, 3), dtype)
    cell = np.zeros((graphs, 3, 3), dtype)
    if frames.cell is not None:
        # a box drawn around a molecule is no cell
        cell = np.where(frames.pbc.any(axis=1)[:, None, None], frames.cell, 0).astype(dtype)
    charge, unpaired = _charge_and_spin(frames, config)
    images = _images(frames, n_atoms, dtype) if config.ewald else None
    return Batch(
        numbers,
        displacement,
        cell,
        charge.astype(dtype),
        unpaired.astype(dtype),
        local,
        far,
        images,
    )


def check_size(frames: Frames, config: ModelConfig, dtype: np.dtype | type, atoms: int = 0) -> None:
    """Raise a `UserError` where there is no structure, or one that the memory has no room for.

    Args:
        frames, config, dtype, atoms: as of `make_batch`
    """
    if len(frames) == 0:
        raise UserError("There is no structure in the set: at least one is needed.")
    atoms = max(int(frames.n_atoms.max()), atoms)
    needed = config.memory(atoms, np.dtype(dtype).itemsize)
    if needed and needed > (there := settings.available_memory()):
        raise UserError(
            f"A structure of {atoms} atoms needs about {needed / 1e9:.1f} GB with this model, and "
            f"{there / 1e9:.1f} GB are free: memory grows with the square of the atoms, so take "
            f"smaller structures, or a model with fewer orders, a smaller inner width or a cutoff."
        )


NEUTRAL = {"total_charge": 0.0, "spin_multiplicity": 1}  # the least a molecule can have


def electrons_read(config: ModelConfig) -> dict[str, bool]:
    """Which of total charge and spin multiplicity a model reads, by their names in `Frames`."""
    return {
        "total_charge": config.charge_embedding or config.has_charges,
        "spin_multiplicity": config.spin_embedding,
    }


def _charge_and_spin(
    frames: Frames, config: ModelConfig
) -> tuple[Float[np.ndarray, "graphs"], Float[np.ndarray, "graphs"]]:
    for name, reads in electrons_read(config).items():
        if reads and getattr(frames, name) is None and not config.assumes_neutral:
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


def _pairs_of(frames: Frames, k: int, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First atoms, second atoms and vectors (Å) of the undirected pairs of frame ``k`` within
    ``cutoff`` (Å; infinite: all)."""
    R = frames.positions[k, : int(frames.n_atoms[k])]
    cell = None if frames.cell is None else frames.cell[k]
    pbc = None if frames.pbc is None else frames.pbc[k]
    if math.isfinite(cutoff):
        try:
            first, second, offset = neighbour_pairs(R, cutoff, cell, pbc)
        except UserError as error:
            raise UserError(f"Frame {k}: {error}") from None
        return first, second, R[second] - R[first] + offset
    if pbc is not None and pbc.any():
        raise UserError(
            f"Frame {k} is periodic and has pairs without end, but the model takes all pairs: give "
            f"it a long_cutoff (12 Å serves: potential.with_long_cutoff(12.0), --long-cutoff 12), "
            f"or take one with a cutoff."
        )
    first, second = np.triu_indices(len(R), 1)
    return first, second, R[second] - R[first]


def _images(frames: Frames, atoms: int, dtype: np.dtype | type) -> Images:
    """Places in the cell and waves of every frame, padded to one number."""
    whole = np.zeros(len(frames), bool) if frames.pbc is None else frames.pbc.all(axis=1)
    if not whole.all():
        raise UserError(
            f"ewald sums over all images, but frame {int(np.argmin(whole))} is not periodic in "
            f"three directions: compute it with with_long_cutoff(...) and without ewald."
        )
    places = np.zeros((len(frames), atoms, 3), dtype)
    lists = []
    for k, cell in enumerate(frames.cell):
        inverse, n_atoms = np.linalg.inv(cell), int(frames.n_atoms[k])
        place = frames.positions[k, :n_atoms] @ inverse
        places[k, :n_atoms] = place - np.floor(place)
        most = np.floor(SHORTEST_WAVE * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int)
        waves = np.array(list(np.ndindex(*(2 * most + 1)))) - most
        waves = waves[len(waves) // 2 + 1 :]  # opposite ones stand at opposite ends
        long = 2 * np.pi * np.linalg.norm(waves @ inverse.T, axis=1) <= SHORTEST_WAVE
        lists.append(waves[long])
    padded = np.zeros((len(frames), round_up(max(map(len, lists))), 3), np.int32)
    for k, waves in enumerate(lists):
        padded[k, : len(waves)] = waves
    return Images(places, padded)


def _check_apart(k: int, first: np.ndarray, second: np.ndarray, vector: np.ndarray) -> None:
    """Raise where two nuclei of frame ``k`` are so near that their repulsion means nothing."""
    distance = np.linalg.norm(vector, axis=1)
    if len(distance) and not (least := distance.min()) >= NEAREST:
        pair = int(np.argmin(distance))
        raise UserError(
            f"Frame {k}: atoms {first[pair]} and {second[pair]} are {least:.2g} Å apart, nearer "
            f"than two nuclei can be: check the structure, and that no atom stands in it twice."
        )


def _stacked(lists: list[tuple], room: int, dtype: np.dtype | type) -> PairList:
    graphs = len(lists)
    pairs = PairList(
        np.zeros((graphs, room), np.int32),
        np.zeros((graphs, room), np.int32),
        np.zeros((graphs, room, 3), dtype),
        np.zeros((graphs, room), bool),
    )
    for k, (first, second, vector) in enumerate(lists):
        pairs.first[k, : len(first)] = first
        pairs.second[k, : len(first)] = second
        pairs.vector[k, : len(first)] = vector
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
