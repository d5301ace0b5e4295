"""n2p2's `input.data`: the text form of the 4G-HDNNP reference sets.

One structure stands between `begin` and `end`; `lattice` lines are optional, three of them make it
periodic. An `atom` line holds x y z, the element, the atomic charge, a number without use, and the
force. Lengths are in bohr and energies in Hartree unless said otherwise; see the manual of n2p2
(Singraber, Behler, Dellago, J. Chem. Theory Comput. 15, 1827, 2019).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.stated import some_lack
from so3krates_lite.units import convert


def read_n2p2(
    path: str | os.PathLike[str], *, energy_unit: str = "Hartree", length_unit: str = "bohr"
) -> Frames:
    """Read every structure of an `input.data` file.

    Returns:
        Frames in eV, Å and e, with atomic charges and total charges; energies only if every
        structure has one (`Frames.lacking`).

    Raises:
        UserError: a line cannot be read (named by number), or a structure is incomplete.
    """
    from ase.data import atomic_numbers

    path = Path(path)
    numbers: list[list[int]] = []
    atoms: list[list[list[float]]] = []  # x y z charge fx fy fz
    lattices: list[list[list[float]]] = []
    energies: list[float] = []
    charges: list[float] = []
    inside = False
    with path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            key, rest = words[0].lower(), words[1:]
            try:
                if key == "begin":
                    if inside:
                        raise ValueError("begin without the end of the structure before")
                    inside = True
                    numbers.append([])
                    atoms.append([])
                    lattices.append([])
                    energies.append(np.nan)
                    charges.append(np.nan)
                elif key == "comment":
                    continue
                elif not inside:
                    raise ValueError(f"{key!r} outside of begin and end")
                elif key == "lattice":
                    lattices[-1].append([float(x) for x in rest[:3]])
                elif key == "atom":
                    if len(rest) < 9:
                        raise ValueError(f"an atom needs nine entries, found {len(rest)}")
                    if rest[3] not in atomic_numbers:
                        raise ValueError(f"{rest[3]!r} is no element")
                    numbers[-1].append(atomic_numbers[rest[3]])
                    kept = (*rest[:3], rest[4], *rest[6:9])
                    atoms[-1].append([float(x) for x in kept])
                elif key == "energy":
                    energies[-1] = float(rest[0])
                elif key == "charge":
                    charges[-1] = float(rest[0])
                elif key == "end":
                    inside = False
                    if not atoms[-1]:
                        raise ValueError("a structure without atoms")
                    if len(lattices[-1]) not in (0, 3):
                        raise ValueError(f"{len(lattices[-1])} lattice lines instead of 3 or none")
                else:
                    raise ValueError(f"unknown key word {key!r}")
            except (ValueError, IndexError) as error:
                raise UserError(f"{path}, line {number}: {error}") from None
    if inside:
        raise UserError(f"{path} ends inside a structure: it is cut short, copy it anew")
    if not atoms:
        raise UserError(f"{path} holds no structures")

    n, width = len(atoms), max(map(len, atoms))
    table, z = np.zeros((n, width, 7)), np.zeros((n, width), int)
    for k, (rows, elements) in enumerate(zip(atoms, numbers, strict=True)):
        table[k, : len(rows)], z[k, : len(rows)] = rows, elements
    periodic = np.array([bool(lattice) for lattice in lattices])
    cell = np.array([lattice or np.zeros((3, 3)) for lattice in lattices], dtype=float)
    total = np.array(charges)
    # files of neutral sets leave the charge out; atomic charges then sum to nothing
    total = np.where(np.isnan(total), np.round(table[..., 3].sum(axis=1)), total)
    energy = convert(np.array(energies), energy_unit, "eV")
    missing = np.flatnonzero(np.isnan(energy))
    info = {}
    if len(missing):
        info["no_energy"] = some_lack(missing, n)
    return Frames(
        numbers=z,
        positions=convert(table[..., :3], length_unit, "Angstrom"),
        energy=None if len(missing) else energy,
        forces=convert(table[..., 4:], f"{energy_unit}/{length_unit}", "eV/Angstrom"),
        cell=convert(cell, length_unit, "Angstrom") if periodic.any() else None,
        pbc=np.repeat(periodic[:, None], 3, axis=1) if periodic.any() else None,
        total_charge=total,
        partial_charges=table[..., 3],
        info=info,
    )
