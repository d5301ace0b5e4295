"""The package's own data file: a compressed npz with one array per field of `Frames`.

Positions, forces and charges are kept in float32 (rounding 1e-7 Å, far below any model's error),
energies in float64, because total energies are large and their differences small. Every entry of
`info` is stored as a string `info_<key>`; units stand in the file too, so that it explains itself.
No pickled object is ever written or read.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from so3krates_lite.errors import UserError
from so3krates_lite.runtime.files import check_version, replacing, save_npz
from so3krates_lite.structures.frames import Frames, frame_fields

if TYPE_CHECKING:
    from ase import Atoms

FORMAT = "so3krates-lite frames"
FORMAT_VERSION = 1

_UNITS = {
    "positions": "Angstrom",
    "energy": "eV",
    "forces": "eV/Angstrom",
    "cell": "Angstrom",
    "stress": "eV/Angstrom^3",
    "total_charge": "e",
    "partial_charges": "e",
}
_STORED_AS = {
    "numbers": np.uint8,
    "positions": np.float32,
    "forces": np.float32,
    "partial_charges": np.float32,
    "spin_multiplicity": np.int16,
}


def save_frames(
    frames: Frames,
    path: str | os.PathLike[str],
    *,
    compact: bool = True,
    beside: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Write frames to `path` (npz); complete or not at all.

    Args:
        frames: what to write.
        path: file name, ending in .npz.
        compact: positions, forces and charges in float32; otherwise float64 throughout.
        beside: further arrays, which are no part of the frames and are not read as such.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise UserError(f"{path} should end in .npz: frames are saved in that form")
    content: dict[str, np.ndarray] = {
        "format": np.array(FORMAT),
        "format_version": np.array(FORMAT_VERSION),
    }
    for name in frame_fields():
        array = getattr(frames, name)
        if array is None:
            continue
        content[name] = array.astype(_STORED_AS[name]) if compact and name in _STORED_AS else array
        if name in _UNITS:
            content[f"{name}_unit"] = np.array(_UNITS[name])
    for key, value in frames.info.items():
        content[f"info_{key}"] = np.array(value)
    content |= beside or {}
    save_npz(path, content)
    return path


def write_frames(frames: Frames, path: str | os.PathLike[str]) -> Path:
    """Write frames to a form chosen by the ending: .npz is this package's, others are ASE's.

    Raises:
        UserError: ASE knows no such form, or it cannot hold these frames.
    """
    if Path(path).suffix == ".npz":
        return save_frames(frames, path)
    return write_atoms(frames.to_atoms(), path)


def write_atoms(images: Sequence[Atoms], path: str | os.PathLike[str]) -> Path:
    """Write ASE's structures to a form of ASE's, chosen by the ending; errors as `write_frames`."""
    from ase.io import write

    path = Path(path)
    with replacing(path) as part:
        try:
            if path.suffix in (".db", ".json"):
                _write_database(images, part)
            else:
                write(part, [_fitting(image, path.suffix) for image in images])
        except OSError:
            raise  # of the place, not of the form
        except Exception as error:  # ASE's writers raise whatever comes
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"{path} could not be written ({reason}): end the name in .npz, .extxyz, .db or "
                f"another form that ASE writes"
            ) from error
    return path


# arrays for which ASE's data bases and trajectories have places; all others they would drop
_PLACES = {"numbers", "positions", "tags", "momenta", "masses"}
_PLACES |= {"initial_charges", "initial_magmoms"}


def _fitting(image: Atoms, ending: str) -> Atoms:
    """Without info that is None, for extxyz would write a bare key, which is read as True."""
    calculator, image = image.calc, image.copy()
    if ending == ".traj":
        image.info |= _without_place(image)
    image.info = {key: value for key, value in image.info.items() if value is not None}
    image.calc = calculator
    return image


def _without_place(image: Atoms) -> dict[str, np.ndarray]:
    return {name: array for name, array in image.arrays.items() if name not in _PLACES}


def _write_database(images: Sequence[Atoms], path: Path) -> None:
    """ASE's writer drops `Atoms.info` and arrays of other names than its own, and "charge" is a
    word of its own there."""
    from ase.db import connect

    with connect(path) as database:
        for image in images:
            pairs, data = {}, _without_place(image)
            for key, value in image.info.items():
                key = "total_charge" if key == "charge" else key
                (pairs if _is_a_pair(key, value) else data)[key] = value
            database.write(image, key_value_pairs=pairs, data=data)


def _is_a_pair(key: str, value: Any) -> bool:
    """Whether ASE's data bases take it as a pair to search by; anything goes into `data`."""
    from ase.db.core import check

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            check({key: value})
        except (ValueError, TypeError, UserWarning):
            return False
    return True


def is_own_form(content: dict[str, np.ndarray]) -> bool:
    """Whether arrays read from an npz are in the package's own form."""
    return str(content.get("format", "")) == FORMAT


def own_keys(content: dict[str, np.ndarray]) -> set[str]:
    """Names that `frames_from_own_form` reads."""
    known = {"format", "format_version", *frame_fields(), *(f"{name}_unit" for name in _UNITS)}
    return {key for key in content if key in known or key.startswith("info_")}


def frames_from_own_form(content: dict[str, np.ndarray]) -> Frames:
    """Frames from the arrays of a file written by `save_frames`."""
    check_version("it", int(content.get("format_version", 0)), FORMAT_VERSION)
    for name, unit in _UNITS.items():
        found = str(content.get(f"{name}_unit", unit))
        if found != unit:
            raise UserError(f"it gives {name} in {found!r}; this format demands {unit!r}")
    missing = [name for name in ("numbers", "positions") if name not in content]
    if missing:
        raise UserError(f"it lacks {' and '.join(missing)}: it is not a complete frames file")
    arrays = {name: content[name] for name in frame_fields() if name in content}
    info = {key[5:]: str(value) for key, value in content.items() if key.startswith("info_")}
    return Frames(**arrays, info=info)
