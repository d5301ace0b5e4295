"""QM7-X (hdf5): PBE0+MBD total energies and forces; group = molecule."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from so3krates_lite.datasets.asked import Asked
from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames

ENERGY, FORCES = "ePBE0+MBD", "totFOR"
Structure = tuple[np.ndarray, np.ndarray, float, np.ndarray, int]


def read_qm7x(path: Path, asked: Asked) -> Frames:
    """Read a file of QM7-X; other energies and forces in it can be named.

    Raises:
        UserError: h5py is not installed, or the file is not QM7-X.
    """
    asked.undivided()
    try:
        import h5py
    except ImportError as error:
        raise UserError("reading hdf5 needs h5py: pip install h5py") from error
    energy, forces = asked.energy_key or ENERGY, asked.forces_key or FORCES
    enough = asked.limit if asked.chosen == slice(None) else None
    structures: list[Structure] = []
    try:
        with h5py.File(path, "r") as file:
            for molecule, conformers in file.items():
                for entry in conformers.values():
                    structures.append(
                        (
                            np.asarray(entry["atNUM"]).reshape(-1),
                            np.asarray(entry["atXYZ"], dtype=float),
                            float(np.asarray(entry[energy]).reshape(())),
                            np.asarray(entry[forces], dtype=float),
                            int(molecule),
                        )
                    )
                    if enough is not None and len(structures) >= enough:
                        return _stack(structures)
    except (OSError, KeyError, AttributeError, ValueError) as error:
        raise UserError(f"it is not a readable QM7-X file ({error})") from error
    if not structures:
        raise UserError("it holds no structures")
    return _stack(structures)


def _stack(structures: list[Structure]) -> Frames:
    n, width = len(structures), max(len(s[0]) for s in structures)
    numbers = np.zeros((n, width), int)
    positions, forces = np.zeros((n, width, 3)), np.zeros((n, width, 3))
    for k, (z, r, _, f, _) in enumerate(structures):
        numbers[k, : len(z)], positions[k, : len(z)], forces[k, : len(z)] = z, r, f
    return Frames(
        numbers,
        positions,
        energy=np.array([s[2] for s in structures]),
        forces=forces,
        group=np.array([s[4] for s in structures]),
    )
