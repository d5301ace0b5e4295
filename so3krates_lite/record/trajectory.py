"""Attention of a long trajectory: a record that grows on disk and is opened without being read.

A record of 100,000 frames of ethanol has some hundred million numbers for each quantity. So it is
computed a few frames at a time and appended to a zarr store, whose arrays are those of
`tables.to_xarray`: same names, dimensions, units. A store is opened by xarray in an instant, and
Dask reduces it piece by piece, on as many cores or machines as its scheduler has: see `lazily`.

What is in the store is stated last, after all arrays of a piece are written, so a run that is
killed has lost at most the piece it was in, and goes on from there when it is started again. Every
chunk carries a checksum: one that is missing or torn is named, and recorded anew.
"""

from __future__ import annotations

import math
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from so3krates_lite.datasets.on_disk import FramesOnDisk
from so3krates_lite.errors import UserError, require
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.tables import imported, to_xarray
from so3krates_lite.runtime.settings import precision_of
from so3krates_lite.structures.frames import Frames

if TYPE_CHECKING:
    import xarray as xr
    import zarr

GROWING = ("frame", "pair", "far_pair")  # dimensions that are as long as the trajectory
CAPACITY = 64  # an array that is full grows by so many pieces


@runtime_checkable
class Attends(Protocol):
    """What records attention: a `Potential`."""

    def attention(self, frames: Frames) -> AttentionRecord: ...


def record_trajectory(
    potential: Attends,
    frames: Frames | FramesOnDisk | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    chunk: int = 100,
    precision: str = "float32",
    check: bool = False,
) -> Path:
    """Record the attention of all frames to a zarr store, ``chunk`` frames at a time.

    Where the store is there already, it goes on with what is missing or not yet recorded.

    Args:
        frames: in memory, on disk, or a file or folder of them
        path: of the store, a folder; its name should end in .zarr
        chunk: frames that are computed, and read again, together; memory grows with it
        precision: of what is stored; the network computes in its own
        check: read what is there already, and record anew what is torn

    Returns:
        The path.

    Raises:
        UserError: another potential, other frames or another chunk than the store was begun with,
            zarr is not installed, or the disk is full; what has been recorded is kept
    """
    require(chunk > 0, "chunk", chunk, "a number of frames above 0")
    path = Path(path)
    if isinstance(frames, str | os.PathLike):
        frames = FramesOnDisk(frames)
    precision_of(precision)
    atoms = int(frames.n_atoms.max())
    store = _Store(path, _begun_with(potential, frames[0], atoms, chunk, precision))
    try:
        for start, stop, place in store.lacking(len(frames), chunk, check):
            piece = frames[start:stop].widened(atoms)
            store.write(to_xarray(potential.attention(piece)), start, stop, place, atoms)
        store.finish()
    except OSError as error:
        raise UserError(
            f"{path} cannot be written to ({error.strerror or error}): what has been recorded is "
            f"kept, so make room and run the same again."
        ) from error
    finally:
        if not store.pieces:  # nothing half-written stays
            shutil.rmtree(path, ignore_errors=True)
    return path


def _begun_with(
    potential: Attends, first: Frames, atoms: int, chunk: int, precision: str
) -> dict[str, str | int]:
    """What a store is begun with, and has to go on with."""
    import jax

    params = getattr(potential, "params", {})
    weights = b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(params))
    where = first.trimmed().positions.round(4) + 0.0
    return {
        "potential": f"{zlib.crc32(weights):08x}",
        "first frame": f"{zlib.crc32(where.tobytes()):08x}",
        "number of atoms": atoms,
        "chunk": chunk,
        "precision": precision,
    }


class _Store:
    """The zarr group of a record. Its attribute "pieces" has a line for each that is complete: how
    many frames, pairs and far pairs there are up to its end."""

    def __init__(self, path: Path, begun: dict[str, str | int]) -> None:
        zarr, self.path = imported("zarr", "scale"), path
        if path.exists() and not (path / "zarr.json").is_file():
            raise UserError(f"{path} is there already, and no record: name another place.")
        try:
            self.group = zarr.open_group(path, mode="a", zarr_format=3)
        except OSError as error:
            raise UserError(
                f"{path} cannot be made ({error.strerror}): name a place that you may write to."
            ) from None
        self.begun = self.group.attrs.asdict().get("begun", begun)
        for name, value in begun.items():
            if self.begun[name] != value:
                raise UserError(
                    f"{path} was begun with another {name} ({self.begun[name]}, not {value}): go "
                    f"on with the same, or name another place."
                )
        self.pieces: list[list[int]] = self.group.attrs.asdict().get("pieces", [])

    def lacking(self, frames: int, chunk: int, check: bool) -> Iterator[tuple[int, int, int]]:
        """First and last frame and the place of each piece that is to be recorded."""
        again = set(self.group.attrs.asdict().get("again", []))
        lost = list(missing_chunks(self.group, self.pieces, check))
        for name, first, last, _ in lost:
            which = _grows(self.group[name])[1]
            ends = [0, *(piece[which] for piece in self.pieces)]
            again |= {k for k, end in enumerate(ends[1:]) if ends[k] < last and end > first}
        if again:  # stated before anything is touched, since this may be stopped, too
            self.group.attrs["again"] = sorted(again)
        for *_, file in lost:
            file.unlink(missing_ok=True)  # what cannot be read cannot be written into, either
        begins = [0, *(piece[0] for piece in self.pieces)]
        yield from ((begins[k], begins[k + 1], k) for k in sorted(again))
        for start in range(begins[-1], frames, chunk):
            yield start, min(start + chunk, frames), len(self.pieces)

    def write(self, data: xr.Dataset, start: int, stop: int, place: int, atoms: int) -> None:
        """One piece of the record: the frames from ``start`` to ``stop``."""
        before = self.pieces[place - 1] if place else [0, 0, 0]
        begin = dict(zip(GROWING, before, strict=True))
        for name in ("pair_frame", "far_pair_frame"):
            if name in data:
                data[name] = data[name] + start
        if not self.pieces:
            self._make(data, atoms)
        for name, variable in data.variables.items():
            # a chunk of zeros is a file, too: one that is not there is missing
            array, where = self.group[name].with_config({"write_empty_chunks": True}), []
            for dimension, size in variable.sizes.items():
                first = begin.get(dimension, 0)
                where.append(slice(first, first + size))
            axis, _ = _grows(array)
            if axis is not None and where[axis].stop > array.shape[axis]:
                shape = list(array.shape)
                shape[axis] = where[axis].stop + CAPACITY * array.chunks[axis]
                array.resize(tuple(shape))
            array[tuple(where)] = variable.values
        if place == len(self.pieces):
            ends = [begin[name] + data.sizes.get(name, 0) for name in GROWING]
            self.pieces.append(ends)
            self.group.attrs["pieces"] = self.pieces
        else:
            again = self.group.attrs["again"]
            self.group.attrs["again"] = [other for other in again if other != place]

    def _make(self, data: xr.Dataset, atoms: int) -> None:
        """Arrays for the record's variables, with chunks for a piece as long as the first."""
        from zarr.codecs import BloscCodec, Crc32cCodec

        for name, variable in data.variables.items():
            sizes = dict(variable.sizes)
            if "atom" in sizes:
                sizes["atom"] = atoms
            kind = variable.dtype
            self.group.create_array(
                name,
                shape=tuple(sizes.values()),
                chunks=tuple(max(size, 1) for size in sizes.values()),
                dtype=self.begun["precision"] if kind.kind == "f" else kind,
                compressors=[BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"), Crc32cCodec()],
                dimension_names=tuple(sizes),
                attributes=variable.attrs,
                overwrite=True,
            )
        self.group.attrs.update(data.attrs | {"begun": self.begun, "pieces": []})

    def finish(self) -> None:
        """Cut arrays to what they hold, so that any program finds the same sizes."""
        for _, array in self.group.arrays():
            axis, which = _grows(array)
            if axis is not None and array.shape[axis] != (held := self.pieces[-1][which]):
                array.resize((*array.shape[:axis], held, *array.shape[axis + 1 :]))


def _grows(array: zarr.Array) -> tuple[int | None, int]:
    """The axis of an array that is as long as the trajectory, and which of `GROWING` it is."""
    for axis, name in enumerate(array.metadata.dimension_names):
        if name in GROWING:
            return axis, GROWING.index(name)
    return None, 0


def missing_chunks(
    group: zarr.Group, pieces: list[list[int]], torn: bool = False
) -> Iterator[tuple[str, int, int, Path]]:
    """Array, first and last place and file of every chunk that is not there or, if asked, that is
    there and cannot be read."""
    for name, array in sorted(group.arrays()) if pieces else ():
        axis, which = _grows(array)
        if axis is None:
            continue
        held, size = pieces[-1][which], array.chunks[axis]
        for k in range(math.ceil(held / size)):
            grid = [str(k if other == axis else 0) for other in range(array.ndim)]
            file = Path(group.store.root, name, "c", *grid)
            places = slice(k * size, min((k + 1) * size, held))
            there = file.is_file()
            if there and torn:
                try:
                    array[(slice(None),) * axis + (places,)]
                except Exception:  # whatever a codec makes of it
                    there = False
            if not there:
                yield name, places.start, places.stop, file
