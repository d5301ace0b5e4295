"""Whatever ASE reads: extended xyz, its data bases, trajectories, outputs of programs.

ASE's numbers are in eV and Å. SchNetPack keeps its data in a data base of ASE too, but in units of
its own, which stand in the metadata, and its labels in the rows' `data`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from so3krates_lite.datasets.asked import Asked, rescaled
from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.stated import read_images

if TYPE_CHECKING:
    from ase import Atoms

IN_PIECES = (".extxyz", ".xyz", ".traj")  # forms that ASE reads one structure after another


def read_by_ase(path: Path, asked: Asked) -> Frames:
    """Read structures and the labels stored with them.

    Raises:
        UserError: ASE cannot read the file.
    """
    asked.undivided()
    with path.open("rb") as stream:
        start = stream.read(64)
    metadata: dict[str, Any] = {}
    try:
        if start.startswith(b"SQLite format 3") or path.suffix == ".json":
            images, metadata = _rows(path, asked.query)
        elif asked.query:
            raise UserError(f"@{asked.query} is no choice of structures: write @-1, @0:10 or @::5")
        else:
            images = _images(path, start)
    except UserError:
        raise
    except Exception as error:  # ASE's readers raise whatever comes
        raise _unreadable(error) from error
    images = asked.images = asked.take(images)
    return _frames_of(images, asked, metadata)


def pieces_by_ase(path: Path, asked: Asked, size: int) -> Iterator[Frames]:
    """The same of a file of the forms `IN_PIECES`, so many structures at a time."""
    from ase.io import iread

    images = iread(path, index=":", do_not_split_by_at_sign=True)
    while True:
        try:
            piece = list(islice(images, size))
        except Exception as error:
            raise _unreadable(error) from error
        if not piece:
            return
        yield _frames_of(piece, asked, {})


def _unreadable(error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(
        f"it could not be read as npz, input.data, hdf5 or any form ASE knows ({reason})"
    )


def _frames_of(images: list[Atoms], asked: Asked, metadata: dict[str, Any]) -> Frames:
    found = read_images(images, energy_key=asked.energy_key, forces_key=asked.forces_key)
    asked.notes += found.notes
    asked.unread(found.unread)
    frames = Frames(**found.fields, info=found.info)
    energy, length, force = asked.energy_unit, asked.length_unit, None
    if not any(image.calc for image in images):  # ASE's own results are in its units
        units = metadata.get("_property_unit_dict", {})
        energy = energy or units.get(found.info.get("energy_labels", "energy"))
        if length is None:
            length = metadata.get("_distance_unit")
            force = units.get(found.info.get("forces_labels", "forces"))
    return rescaled(frames, energy, length, force)


def _images(path: Path, start: bytes) -> list[Atoms]:
    from ase.io import read

    # a number of atoms in the first line: ASE would ask the file's name, which may be any
    words = start.split(b"\n")[0].split()
    form = "extxyz" if len(words) == 1 and words[0].isdigit() and not path.suffix else None
    return read(path, index=":", format=form, do_not_split_by_at_sign=True)


def _rows(path: Path, query: str) -> tuple[list[Atoms], dict[str, Any]]:
    """Rows of a data base; `ase.io.read` would leave out charges and spins."""
    from ase.db import connect

    database = connect(path, type="json" if path.suffix == ".json" else "db")
    rows = [row.toatoms(add_additional_information=True) for row in database.select(query)]
    return rows, database.metadata
