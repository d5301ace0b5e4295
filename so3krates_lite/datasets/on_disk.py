"""Frames on disk: more of them than memory holds.

Files of frames can be read from their beginning only, and many are packed. Training needs frames in
any order. So all files are read once, a piece at a time, and every frame goes into a scratch file
of fixed rows, in which it can be found again: memory keeps 44 bytes of each frame, the scratch file
about a kilobyte (QM7-X's molecules of 4 to 23 atoms). The 44 bytes say where the row is and hold
what statistics of the whole set need: size, elements, energy, sums over the forces.
"""

from __future__ import annotations

import copy
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from so3krates_lite.datasets.ase_files import IN_PIECES, pieces_by_ase
from so3krates_lite.datasets.asked import Asked
from so3krates_lite.datasets.checks import check_plausible
from so3krates_lite.datasets.loaders import read_named
from so3krates_lite.datasets.places import cache_folder
from so3krates_lite.errors import UserError
from so3krates_lite.runtime.scratch import Scratch
from so3krates_lite.structures.frames import MAX_ATOMIC_NUMBER, Frames

log = logging.getLogger(__name__)

PIECE = 5000  # frames that are in memory at a time while files are read
_LABELS = ("energy", "forces", "total_charge", "spin_multiplicity")
_INDEX = np.dtype(
    [
        ("place", np.int64),  # in the scratch file
        ("atoms", np.int32),
        ("kind", np.int32),  # which composition
        ("energy", np.float64),
        ("forces_sum", np.float64),  # over all components
        ("forces_square", np.float64),
        ("crc", np.uint32),
    ]
)


@cache
def _row(atoms: int) -> np.dtype:
    """What the scratch file holds of a frame of so many atoms."""
    return np.dtype(
        [
            ("numbers", np.int32, (atoms,)),
            ("positions", np.float64, (atoms, 3)),
            ("forces", np.float64, (atoms, 3)),
            ("cell", np.float64, (3, 3)),
            ("pbc", np.bool_, (3,)),
            ("total_charge", np.float64, ()),
            ("spin_multiplicity", np.int32, ()),
        ]
    )


class FramesOnDisk:
    """The frames of many files, in the order of the files' names, read as they are needed.

    Indexing gives `Frames` in memory; `only` a part that stays on disk. Of what files state,
    elements, positions, cells, energies, forces, total charges and spins are kept, the last four
    where every file has them.

    Args:
        place: a folder of files that `load` reads, or a list of them
        skip_damaged: leave out a file that cannot be read, with a warning; otherwise it is an error
        check: test every file for plausible units
        scratch: the folder for the scratch file, on a disk with room; None: the user's cache
        reading: units and keys as of `load`, for all files

    Raises:
        UserError: there are no files, one cannot be read, or the disk is full
    """

    group = None  # of frames that belong together: not kept

    def __init__(
        self,
        place: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        skip_damaged: bool = False,
        check: bool = True,
        scratch: str | os.PathLike[str] | None = None,
        **reading: str | None,
    ) -> None:
        files = _files_of(place)
        self.info = {"name": Path(place).name if isinstance(place, str | Path) else "files"}
        self.skipped: list[Path] = []
        self.scratch = cache_folder() if scratch is None else Path(scratch)
        self._store = Scratch(self.scratch)
        self._kinds: dict[bytes, int] = {}  # compositions, as counts of every element
        self._periodic = False
        rows, told = [], set()
        for path in files:
            asked = Asked(**reading)  # type: ignore[arg-type]
            try:
                of_file = [self._kept(piece, path) for piece in _pieces(path, asked, check)]
            except UserError as error:
                if not skip_damaged:
                    raise UserError(
                        f"{str(error).rstrip('.')}; skip_damaged=True (--skip-damaged) leaves such "
                        f"files out."
                    ) from error
                log.warning("left out: %s", error)
                self.skipped.append(path)
                continue
            rows += of_file
            for note in {*asked.notes} - told:  # once, though all files may say the same
                told.add(note)
                log.warning("%s: %s", path, note)
        if not rows:
            raise UserError(f"None of {len(files)} files of {place} could be read: check them.")
        self._index = np.concatenate(rows)
        self._counts = np.array([np.frombuffer(kind, np.int32) for kind in self._kinds])

    def _kept(self, frames: Frames, path: Path) -> np.ndarray:
        """Write frames to the scratch file; returns their lines of the index."""
        for name in _LABELS:
            if getattr(frames, name) is None:
                self.info.setdefault(f"no_{name}", f"{path.name} has none{frames.lacking(name)}")
        theory = frames.info.get("level_of_theory")
        if theory and theory not in (said := self.info.get("level_of_theory", "")):
            self.info["level_of_theory"] = f"{said}; {theory}" if said else theory
        self._periodic |= frames.is_periodic
        index = np.zeros(len(frames), _INDEX)
        index["atoms"], index["kind"] = frames.n_atoms, self._kinds_of(frames)
        if frames.energy is not None:
            index["energy"] = frames.energy
        if frames.forces is not None:
            index["forces_sum"] = frames.forces.sum(axis=(1, 2))
            index["forces_square"] = (frames.forces**2).sum(axis=(1, 2))
        for atoms in np.unique(index["atoms"]).tolist():
            these = np.flatnonzero(index["atoms"] == atoms)
            rows = np.zeros(len(these), _row(atoms))
            for name in _row(atoms).names:
                if (array := getattr(frames, name)) is not None:
                    rows[name] = array[these, :atoms] if name in _OF_ATOMS else array[these]
            place = self._store.append(rows.tobytes())
            index["place"][these] = place + rows.itemsize * np.arange(len(these))
            plain = rows.view(np.uint8).reshape(len(these), -1)
            index["crc"][these] = [
                zlib.crc32(row, zlib.crc32(energy))
                for row, energy in zip(plain, index["energy"][these], strict=True)
            ]
        return index

    def _kinds_of(self, frames: Frames) -> Int[np.ndarray, "frames"]:
        """The number of each frame's composition, the same in all files."""
        same = frames.composition
        _, first = np.unique(same, return_index=True)
        elements = np.arange(MAX_ATOMIC_NUMBER + 1)
        counts = frames[first].element_counts(elements).astype(np.int32)
        counts[:, 0] = 0  # padding
        known = [self._kinds.setdefault(one.tobytes(), len(self._kinds)) for one in counts]
        return np.array(known)[same]

    # -- what is known of all frames, without reading -------------------------------------------

    def __len__(self) -> int:
        return len(self._index)

    def __repr__(self) -> str:
        size = f"{len(self)} frames, {self._store.size / 1e6:.0f} MB in a scratch file"
        return f"FramesOnDisk({self.info['name']!r}, {size})"

    @property
    def known(self) -> frozenset[str]:
        """Which labels every file states."""
        return frozenset(name for name in _LABELS if f"no_{name}" not in self.info)

    def lacking(self, name: str) -> str:
        """Why a field is not known, as of `Frames`."""
        reason = self.info.get(f"no_{name}", "")
        return f" ({reason})" if reason else ""

    @property
    def n_atoms(self) -> Int[np.ndarray, "frames"]:
        return self._index["atoms"]

    @property
    def energy(self) -> Float[np.ndarray, "frames"] | None:
        """eV; None where some file has none."""
        return self._index["energy"] if "energy" in self.known else None

    @property
    def composition(self) -> Int[np.ndarray, "frames"]:
        """A number per frame, the same where frames hold the same atoms."""
        return self._index["kind"]

    @property
    def elements(self) -> Int[np.ndarray, "elements"]:
        """Atomic numbers that occur, ascending."""
        return np.flatnonzero(self._counts[np.unique(self.composition)].any(axis=0))

    def element_counts(
        self, elements: Int[np.ndarray, "elements"]
    ) -> Int[np.ndarray, "frames elements"]:
        """How many atoms of each element a frame holds."""
        return self._counts[:, elements][self.composition]

    def forces_std(self) -> float:
        """The standard deviation of all force components, eV/Å."""
        components = 3 * int(self.n_atoms.sum())
        mean = self._index["forces_sum"].sum() / components
        square = self._index["forces_square"].sum() / components
        return float(np.sqrt(max(square - mean**2, 0.0)))

    @property
    def fingerprint(self) -> str:
        """Eight digits that tell one set of frames from another."""
        return f"{zlib.crc32(self._index['crc'].tobytes()):08x}"

    # -- some of them ---------------------------------------------------------------------------

    def only(self, index: Int[np.ndarray, "_some"] | Bool[np.ndarray, "_some"]) -> FramesOnDisk:
        """The frames ``index``, which stay on disk."""
        part = copy.copy(self)
        part._index = self._index[index]
        return part

    def parts(self, size: int = PIECE) -> Iterator[Frames]:
        """All frames, so many at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def __getitem__(self, index: Any) -> Frames:
        """Frames in memory: an int (one frame), a slice, an index array or a mask."""
        if isinstance(index, int | np.integer):
            index = [index]
        elif not isinstance(index, slice):
            index = np.asarray(index)
        lines = self._index[index if len(np.atleast_1d(index)) else slice(0)]
        frames, width = len(lines), int(lines["atoms"].max(initial=1))
        names = ["numbers", "positions", *(n for n in _LABELS if n in self.known)]
        names += ["cell", "pbc"] if self._periodic else []
        arrays: dict[str, np.ndarray] = {}
        for name in names:
            if name == "energy":
                arrays[name] = lines["energy"]
                continue
            kind, shape = _row(width)[name].subdtype or (_row(width)[name], ())
            arrays[name] = np.zeros((frames, *shape), kind)
        for atoms in np.unique(lines["atoms"]).tolist():
            these, row = np.flatnonzero(lines["atoms"] == atoms), _row(atoms)
            places = lines["place"][these].tolist()
            content = b"".join(self._store.read(place, row.itemsize) for place in places)
            rows = np.frombuffer(content, row)
            for name in arrays.keys() - {"energy"}:
                if name in _OF_ATOMS:
                    arrays[name][these, :atoms] = rows[name]
                else:
                    arrays[name][these] = rows[name]
        return Frames(**arrays, info=self.info)


_OF_ATOMS = ("numbers", "positions", "forces")


def _files_of(place: Any) -> list[Path]:
    """The files of a folder in the order of their names, or those that are listed."""
    if not isinstance(place, str | os.PathLike):
        files = [Path(path).expanduser() for path in place]
    else:
        folder = Path(place).expanduser()
        if not folder.is_dir():
            files = [folder]
        else:
            there = (path for path in sorted(folder.iterdir()) if path.is_file())
            files = [path for path in there if not path.name.startswith(".")]
    if not files:
        raise UserError(f"There are no files in {place}: name a folder with files of frames.")
    for path in files:
        if not path.is_file():
            raise UserError(f"There is no file {path}: check the name.")
    return files


def _pieces(path: Path, asked: Asked, check: bool) -> Iterator[Frames]:
    """The frames of a file, `PIECE` at a time where its form allows it."""
    for frames in _read_in_pieces(path, asked):
        try:
            if check:
                check_plausible(frames)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        yield frames


def _read_in_pieces(path: Path, asked: Asked) -> Iterator[Frames]:
    if path.suffix not in IN_PIECES:
        yield read_named(path, asked)
        return
    try:
        yield from pieces_by_ase(path, asked, PIECE)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
