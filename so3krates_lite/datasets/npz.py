"""npz: the forms of MD17 and of those who came after it, and this package's own.

| what | names |
|---|---|
| elements, positions | `z`, `R` (MD17); `nuclear_charges`, `coords` (revised MD17); plain words |
| energies, forces | `E`, `F`; `energies`, `forces`; or a usual name such as `REF_energy` |
| cell | `unit_cell` with `pbc` (So3krates), `cell`, or `lattice` (sGDML); one, or one per frame |
| others | `stress` or `virial`; `Q`, total charge; `S`, unpaired electrons; `q`, atomic charges |

The rows of a cell are lattice vectors, with one exception: what sGDML writes holds them as columns
of `lattice`. Its files are known by their `type` and `code_version`; where a `lattice` comes
without these, and is not symmetric, a note says how it was read. A cell of zeros is no cell.

Energies are in kcal/mol, as in MD17, unless the file says otherwise, or shows by its names that
it comes from other hands.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import numpy as np

from so3krates_lite.datasets.asked import Asked, rescaled
from so3krates_lite.datasets.frames_file import frames_from_own_form, is_own_form, own_keys
from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.stated import (
    ask_for_key,
    choose,
    full_stress,
    meaning,
    possible_labels,
    some_lack,
)
from so3krates_lite.units import convert

PARTS = ("all", "train", "test")
Content = dict[str, np.ndarray]

_KEYS = {
    "z": ("z", "nuclear_charges", "numbers", "atomic_numbers"),
    "R": ("R", "coords", "positions", "pos", "coordinates"),
    "energy": ("E", "energies"),
    "forces": ("F",),
    "cell": ("unit_cell", "cell", "lattice"),
    "total_charge": ("Q", "total_charge", "charge"),
    "unpaired": ("S",),
    "spin_multiplicity": ("spin_multiplicity", "multiplicity"),
    "partial_charges": ("q",),
}
_UNITS = {
    "energy": ("E_unit", "e_unit", "energy_unit", "energies_unit"),
    "force": ("F_unit", "f_unit", "force_unit", "forces_unit"),
    "length": ("R_unit", "r_unit", "length_unit", "positions_unit", "coords_unit"),
    "stress": ("stress_unit",),
}
_MD17 = ("z", "nuclear_charges")  # elements under these names: the form of MD17, and its units
# stand beside the arrays and change no energy: descriptions, statistics, the other set of labels
_REMARKS = re.compile(
    r"name|type|md5|code_version|notes?|theory\w*|split|idx\w*|\w*ind(ex|ices)|n_atoms|node_mask"
    r"|\w*_unit|[EF]_(min|max|mean|var)|[EF]_rmd17|old_(energies|forces)|perms"
)


def read_zip(path: Path, asked: Asked) -> Frames:
    """An npz, or the zip archives of the coupled-cluster sets, which hold two npz files."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            names = archive.namelist()
            inner = {n: archive.read(n) for n in names if n.endswith(".npz")}
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"it is damaged ({error}): fetch or copy it anew") from error
    if broken is not None:
        raise UserError(f"it is damaged (in {broken}): fetch or copy it anew")
    if not inner:
        return _read_npz(path, asked, asked.part)
    part = asked.part
    chosen = [n for n in sorted(inner, reverse=True) if part == "all" or f"-{part}." in n]
    if not chosen:
        raise UserError(f"it holds no {part} file: it holds {', '.join(inner)}")
    return Frames.concatenate(_read_npz(io.BytesIO(inner[n]), asked, "all") for n in chosen)


def _read_npz(source: Path | io.BytesIO, asked: Asked, part: str) -> Frames:
    content: Content = {}
    closed: set[str] = set()
    try:
        with np.load(source, allow_pickle=False) as archive:
            # original MD17 files carry remarks as pickled objects, which are never opened
            for key in archive.files:
                try:
                    content[key] = archive[key]
                except ValueError as error:
                    if "allow_pickle" not in str(error) and "Object arrays" not in str(error):
                        raise
                    closed.add(key)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"it is damaged ({error}): fetch or copy it anew") from error
    if is_own_form(content):
        asked.undivided()
        asked.one_name("this package's own form")
        frames, used = frames_from_own_form(content), own_keys(content)
        frames = rescaled(frames, asked.energy_unit, asked.length_unit)
    else:
        frames, used = _MD17Form(content, asked).frames()
    left = (closed | content.keys()) - used
    asked.unread(key for key in left if not _REMARKS.fullmatch(key))
    if part == "all":
        return frames
    if "split" not in content:
        raise UserError("it was not divided by its authors: load part='all' and split it")
    return frames[np.asarray(content["split"]) == PARTS.index(part) - 1]


class _MD17Form:
    """Arrays of an npz on their way to `Frames`; `used` keeps the names that were read."""

    def __init__(self, content: Content, asked: Asked) -> None:
        self.content, self.asked = content, asked
        self.used: set[str] = set()
        self.info: dict[str, str] = {}
        self.elements, self.places = self._needed("z"), self._needed("R")
        self._read_units()

    def frames(self) -> tuple[Frames, set[str]]:
        numbers = np.asarray(self.content[self.elements])
        self.positions = convert(self.content[self.places], self.length, "Angstrom")
        if self.positions.ndim != 3 or self.positions.shape[-1] != 3:
            raise UserError(
                f"{self.places} must have the shape (frames, atoms, 3); found "
                f"{self.positions.shape}"
            )
        self.n = len(self.positions)
        if numbers.ndim == 1:
            numbers = np.broadcast_to(numbers, (self.n, len(numbers)))
        cell, pbc = self._cell()
        energy, forces = self._label("energy"), self._label("forces")
        if self.guessed and not (energy is None and forces is None):
            unit = f"energies are taken to be in {self.energy}, for no unit is stated"
            self.asked.notes.append(unit)
        frames = Frames(
            numbers=numbers,
            positions=self.positions,
            energy=None if energy is None else convert(energy.reshape(-1), self.energy, "eV"),
            forces=None if forces is None else convert(forces, self.force, "eV/Angstrom"),
            cell=cell,
            pbc=pbc,
            stress=self._stress(cell, pbc),
            total_charge=self._per_frame("total_charge"),
            spin_multiplicity=self._spin(),
            partial_charges=self._partial_charges(numbers),
            group=_geometry_groups(self.positions) if "Q" in self.content else None,
            info=self.info,
        )
        return frames, self.used

    def _needed(self, name: str) -> str:
        key = self._find(name)
        if key is None:
            raise UserError(
                f"it lacks {' or '.join(_KEYS[name][:2])}: an MD17 file holds z, R, E, F, a "
                f"revised one nuclear_charges, coords, energies, forces; found "
                f"{', '.join(self.content)}"
            )
        return key

    def _find(self, name: str) -> str | None:
        found = [key for key in _KEYS[name] if key in self.content]
        if len(found) > 1:
            first, *others = (np.asarray(self.content[key]) for key in found)
            if not all(np.array_equal(first, other) for other in others):
                raise UserError(f"{' and '.join(found)} do not say the same: leave one of them")
        self.used.update(found)
        return found[0] if found else None

    def _read_units(self) -> None:
        """Those asked for, else those stated in the file, else those of the form."""
        content, asked = self.content, self.asked
        units = {
            kind: str(content[key])
            for kind, keys in _UNITS.items()
            for key in keys
            if key in content
        }
        # the original So3krates code writes a node_mask, beside what ASE has read in eV
        eV = "node_mask" in content or self.elements not in _MD17
        form = "eV" if eV else "kcal/mol"
        self.energy = asked.energy_unit or units.get("energy") or form
        self.length = asked.length_unit or units.get("length") or "Angstrom"
        force = None if asked.length_unit else units.get("force")
        self.force = force or f"{self.energy}/{self.length}"
        self.stress = units.get("stress")
        self.guessed = not (asked.energy_unit or "energy" in units)
        # files of MD17's form without a cell are in kcal/mol by old custom
        self.guessed &= "node_mask" not in content and (eV or "unit_cell" in content)

    def _label(self, kind: str) -> np.ndarray | None:
        """Energies or forces under the name asked for, the form's or a usual one."""
        content, asked = self.content, self.asked
        option = f"{kind}_key"
        key = getattr(asked, option)
        names = [k for k in content if k in _KEYS[kind] or meaning(k) == kind]
        theory = "theory" if key is None else ""
        if key is not None:
            if key not in content:
                raise UserError(f"it holds no {key!r} ({option}); found {', '.join(content)}")
            names = [key]
        elif asked.labels == "revised" and "energies" not in content:
            names = [f"{'E' if kind == 'energy' else 'F'}_rmd17"]
            if names[0] not in content:
                raise UserError("it holds no revised labels (E_rmd17, F_rmd17)")
            theory = "theory_rmd17"
        elif asked.labels == "original" and "old_energies" in content:
            names = ["old_energies" if kind == "energy" else "old_forces"]
        if not names:
            left = sorted(k for k in content.keys() - self.used if not _REMARKS.fullmatch(k))
            if found := possible_labels(kind, left):
                self._without(kind, ask_for_key(kind, found))
            return None
        if theory in content:
            self.info["level_of_theory"] = str(content[theory])
        shape = (self.n,) if kind == "energy" else self.positions.shape
        there = {}
        for name in names:
            array = np.asarray(content[name])
            if array.dtype.kind not in "iuf" or array.size != np.prod(shape):
                raise UserError(f"{name} must have the shape {shape}; found {array.shape}")
            there[name] = array.astype(float).reshape(shape)
        self.used.update(names)
        missing = {
            name: [None if bad else row for row, bad in zip(array, _nan(array), strict=True)]
            for name, array in there.items()
            if len(there) > 1 or _nan(array).any()
        }
        chosen, reason = choose(kind, missing, self.n, option) if missing else (names[0], "")
        if reason:
            self._without(kind, reason)
        if chosen is None:
            return None
        if kind == "energy" or chosen not in ("F", "forces"):
            self.info[f"{kind}_labels"] = chosen
        return there[chosen]

    def _without(self, name: str, reason: str) -> None:
        self.info[f"no_{name}"] = reason
        self.asked.notes.append(f"no {name}: {reason}")

    # -- cell and stress --------------------------------------------------------------------------

    def _cell(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        n, key = self.n, self._find("cell")
        pbc = None
        if "pbc" in self.content:
            self.used.add("pbc")
            pbc = np.asarray(self.content["pbc"]).astype(bool)
            if pbc.shape not in ((), (3,), (1, 3), (n, 1), (n, 3)):
                raise UserError(f"pbc must have the shape (3,) or ({n}, 3); found {pbc.shape}")
            pbc = np.array(np.broadcast_to(pbc, (n, 3)))
        if key is None:
            return None, None if pbc is None or not pbc.any() else pbc
        cell = np.asarray(self.content[key], dtype=float)
        if cell.shape == (3,):
            cell = np.diag(cell)
        if cell.shape not in ((3, 3), (1, 3, 3), (n, 3, 3)):
            raise UserError(
                f"{key} must have the shape (3, 3) or ({n}, 3, 3), lattice vectors as rows; found "
                f"{cell.shape}"
            )
        if key == "lattice" and not np.array_equal(cell, np.swapaxes(cell, -1, -2)):
            cell = self._oriented(cell)
        cell = convert(np.broadcast_to(cell, (n, 3, 3)), self.length, "Angstrom")
        there = cell.any(axis=(1, 2))
        if not there.any() and not (pbc is not None and pbc.any()):
            return None, None
        return cell, np.repeat(there[:, None], 3, axis=1) if pbc is None else pbc

    def _oriented(self, lattice: np.ndarray) -> np.ndarray:
        """Rows from a `lattice`: sGDML, from which the name comes, has vectors as columns."""
        if {"type", "code_version"} <= self.content.keys():
            return np.swapaxes(lattice, -1, -2)
        self.asked.notes.append(
            "lattice is read with lattice vectors as rows (in sGDML's own files they are columns)"
        )
        return lattice

    def _stress(self, cell: np.ndarray | None, pbc: np.ndarray | None) -> np.ndarray | None:
        names = [k for k in self.content if meaning(k) in ("stress", "virial")]
        if not names:
            return None
        self.used.update(names)
        if cell is None or not pbc.any():
            self.asked.notes.append(f"{' and '.join(names)} left out, for there is no cell")
            return None
        volume = np.abs(np.linalg.det(cell))
        inside = pbc.any(axis=1) & (volume > 0)
        per_volume = convert(1.0, self.energy, "eV") / convert(1.0, self.length, "Angstrom") ** 3
        if self.stress:
            per_volume = convert(1.0, self.stress, "eV/Angstrom^3")
        there = {}
        for name in names:
            array = np.asarray(self.content[name], dtype=float)
            rows = [full_stress(row) for row in array.reshape(self.n, -1)]
            if any(row is None for row in rows):
                raise UserError(
                    f"{name} must have the shape ({self.n}, 3, 3) or ({self.n}, 6); found "
                    f"{array.shape}"
                )
            values = np.array(rows)
            if meaning(name) == "virial":  # -dE/dstrain
                values[inside] *= convert(-1.0, self.energy, "eV") / volume[inside, None, None]
            else:
                values *= per_volume
            values[~inside] = 0
            there[name] = [None if bad else v for v, bad in zip(values, _nan(values), strict=True)]
        chosen, reason = choose("stress", there, self.n)
        if reason:
            self._without("stress", reason)
        return None if chosen is None else np.array(there[chosen])

    # -- charges and spin -------------------------------------------------------------------------

    def _per_frame(self, name: str) -> np.ndarray | None:
        """One number for each frame; a single one counts for all."""
        key = self._find(name)
        if key is None:
            return None
        values = np.asarray(self.content[key])
        if values.dtype.kind not in "iuf" or values.size not in (1, self.n):
            raise UserError(f"{key} must be one number per frame; found {values.shape}")
        values = np.array(np.broadcast_to(values.reshape(-1), (self.n,)))
        bad = np.flatnonzero(np.isnan(values))
        if len(bad):
            self._without(name, some_lack(bad, self.n))
            return None
        return values

    def _spin(self) -> np.ndarray | None:
        # S counts unpaired electrons (0: singlet), as in SpookyNet's sets
        unpaired, multiplicity = self._per_frame("unpaired"), self._per_frame("spin_multiplicity")
        if unpaired is None:
            return multiplicity
        if multiplicity is not None and not np.array_equal(unpaired + 1, multiplicity):
            raise UserError("S and the spin multiplicity do not say the same: leave one of them")
        return unpaired.astype(int) + 1

    def _partial_charges(self, numbers: np.ndarray) -> np.ndarray | None:
        names = [k for k in self.content if k == "q" or meaning(k) == "partial_charges"]
        shape = numbers.shape
        for name in names:
            array = np.asarray(self.content[name])
            if array.shape == shape and not np.array_equal(array, numbers):
                self.used.add(name)
                return array
        return None


def _nan(array: np.ndarray) -> np.ndarray:
    """Whether a frame has a number that is none: how arrays say that it was not computed."""
    return np.isnan(array.reshape(len(array), -1)).any(axis=1)


def _geometry_groups(positions: np.ndarray) -> np.ndarray:
    """Equal numbers for equal geometries: a set with charges may carry one geometry twice."""
    flat = np.round(positions, 4).reshape(len(positions), -1)
    return np.unique(flat, axis=0, return_inverse=True)[1].reshape(-1)
