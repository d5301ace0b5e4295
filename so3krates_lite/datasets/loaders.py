"""Reading data sets: many forms of file, one result (`Frames`, in eV and Å).

The form of a file is told from its content, not from its name. Units come from the file where it
states them, otherwise from the form (MD17: kcal/mol and Å; n2p2: Hartree and bohr), and can be set
by hand. What comes out is then tested for plausibility (`checks`), because a wrong unit makes no
noise of its own.
"""

from __future__ import annotations

import io
import lzma
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from so3krates_lite.datasets.checks import check_plausible
from so3krates_lite.datasets.n2p2 import read_n2p2
from so3krates_lite.datasets.places import locate, unknown
from so3krates_lite.datasets.registry import REGISTRY, DatasetCard
from so3krates_lite.datasets.storage import frames_from_own_form, is_own_form
from so3krates_lite.errors import UserError
from so3krates_lite.frames import Frames
from so3krates_lite.units import convert

if TYPE_CHECKING:
    from ase import Atoms

PARTS = ("all", "train", "test")


def load(
    name_or_path: str | os.PathLike[str],
    *,
    part: str = "all",
    labels: str | None = None,
    energy_unit: str | None = None,
    length_unit: str | None = None,
    limit: int | None = None,
    check: bool = True,
) -> Frames:
    """Load a data set by its registered name, or any file of structures by its path.

    Args:
        name_or_path: a key of `REGISTRY` ("ethanol-gfn2", "md17-ethanol") whose files are bundled,
            under SO3KRATES_DATA or fetched; or a file: npz of the MD17, revised MD17 or this
            package's form, n2p2's input.data, QM7-X hdf5 or xz, or whatever ASE reads.
        part: "train" or "test" where the authors of a set divided it, else "all".
        labels: "original" or "revised" where a file carries two sets of labels.
        energy_unit: unit of the file's energies, if it is neither stated nor the form's usual one.
        length_unit: likewise for lengths; forces are in energy unit over length unit.
        limit: read at most so many frames, from the start.
        check: test the result for plausible units.

    Returns:
        Frames in eV, Å and e; `info` says what they are.

    Raises:
        UserError: nothing of that name, files not on this machine, an unreadable or incomplete
            file, a unit that cannot be right.
    """
    if part not in PARTS:
        raise UserError(f"part is {part!r}: choose one of {', '.join(PARTS)}")
    if labels not in (None, "original", "revised"):
        raise UserError(f"labels is {labels!r}: choose original or revised")
    name = os.fspath(name_or_path)
    known: DatasetCard | None = None
    if name in REGISTRY:
        known = REGISTRY[name]
        paths = _paths_of(known, part)
        labels = labels or known.labels
    elif Path(name).expanduser().exists():
        paths = (Path(name).expanduser(),)
    else:
        if any(mark in name for mark in (os.sep, "/", ".")):
            raise UserError(f"there is no file {name}")
        raise unknown(name)
    options = {"labels": labels or "original", "energy": energy_unit, "length": length_unit}
    chosen = {file.name for file in known.files if file.part == part} if known else set()
    wanted = "all" if all(path.name in chosen for path in paths) else part
    sets = [_read_named(path, part=wanted, limit=limit, **options) for path in paths]
    frames = sets[0] if len(sets) == 1 else Frames.concatenate(sets)
    if limit is not None:
        frames = frames[:limit]
    frames = frames.replace(info=_describe(frames.info, known, paths))
    if check:
        try:
            check_plausible(frames)
        except UserError as error:
            raise UserError(f"{', '.join(map(str, paths))}: {error}") from None
    return frames


def _paths_of(known: DatasetCard, part: str) -> tuple[Path, ...]:
    paths = locate(known.name)
    if not paths:
        how = (
            f"fetch it with `so3krates-lite data fetch {known.name}`, or"
            if known.files
            else f"get it from https://doi.org/{known.doi} and"
        )
        raise UserError(
            f"{known.name} is not on this machine: {how} name the folder that holds "
            f"{' or '.join(known.local_names)} in SO3KRATES_DATA"
        )
    parts = {file.name: file.part for file in known.files}
    if part != "all" and len(paths) > 1:
        chosen = tuple(path for path in paths if parts.get(path.name) == part)
        if not chosen:
            raise UserError(f"{known.name} was not divided by its authors: load part='all'")
        return chosen
    return paths


def _describe(
    info: Mapping[str, str], known: DatasetCard | None, paths: tuple[Path, ...]
) -> dict[str, str]:
    told = dict(info)
    told["source"] = ", ".join(path.name for path in paths)
    if known is None:
        told.setdefault("name", paths[0].stem)
        return told
    told["name"], told["title"] = known.name, known.title
    told["citation"], told["licence"] = known.citation, known.licence
    told.setdefault("level_of_theory", known.level_of_theory)
    return told


# -- files ----------------------------------------------------------------------------------------


def _read_named(path: Path, **options: Any) -> Frames:
    """`read_file`, every error of which names the file."""
    try:
        return read_file(path, **options)
    except UserError as error:
        if str(path) in str(error):
            raise
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check it") from error
    except (ValueError, TypeError, LookupError) as error:  # what a file holds may be anything
        raise UserError(f"{path} holds what cannot be read as structures ({error})") from error


def read_file(
    path: Path,
    *,
    part: str = "all",
    labels: str = "original",
    energy: str | None = None,
    length: str | None = None,
    limit: int | None = None,
) -> Frames:
    """Read one file of any known form; see `load` for the arguments."""
    if path.is_dir():
        raise UserError(f"{path} is a folder: name the file in it")
    with path.open("rb") as stream:
        start = stream.read(512)
    if not start:
        raise UserError(f"{path} is empty: fetch or copy it anew")
    if start.startswith(b"PK"):
        return _read_zip(path, part, labels, energy, length)
    if start.startswith(b"\x89HDF") or start.startswith(b"\xfd7zXZ"):
        _undivided(path, part, labels)
        return read_qm7x(path, limit=limit)
    if _looks_like_n2p2(start):
        _undivided(path, part, labels)
        return read_n2p2(path, energy_unit=energy or "Hartree", length_unit=length or "bohr")
    _undivided(path, part, labels)
    return _rescaled(Frames.from_atoms(read_by_ase(path)), energy, length)


def _undivided(path: Path, part: str, labels: str) -> None:
    if part != "all":
        raise UserError(f"{path} is not divided into parts: load it with part='all' and split it")
    if labels == "revised":
        raise UserError(f"{path} holds one set of labels: leave out labels={labels!r}")


def _looks_like_n2p2(start: bytes) -> bool:
    words = (line.split() for line in start.decode("latin-1").splitlines())
    first = next((w for w in words if w and not w[0].startswith("#")), [])
    return first == ["begin"]


def read_by_ase(path: Path) -> list[Atoms]:
    """The structures of a file as ASE gives them, whatever units they are in."""
    from ase.db import connect
    from ase.io import read

    with path.open("rb") as stream:
        database = stream.read(15) == b"SQLite format 3"
    try:
        if database:  # ase.io.read would leave out charges and spins
            rows = connect(path, type="db").select()
            return [row.toatoms(add_additional_information=True) for row in rows]
        return read(path, index=":")
    except Exception as error:  # ASE's readers raise whatever comes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} could not be read as npz, input.data, hdf5 or any form ASE knows ({reason})"
        ) from error


def _rescaled(frames: Frames, energy: str | None, length: str | None) -> Frames:
    """Frames whose numbers were read as if in eV and Å, but are in other units."""
    if energy is None and length is None:
        return frames
    energy, length = energy or "eV", length or "Angstrom"
    per_volume = convert(1.0, energy, "eV") / convert(1.0, length, "Angstrom") ** 3
    changed = {"positions": convert(frames.positions, length, "Angstrom")}
    if frames.energy is not None:
        changed["energy"] = convert(frames.energy, energy, "eV")
    if frames.forces is not None:
        changed["forces"] = convert(frames.forces, f"{energy}/{length}", "eV/Angstrom")
    if frames.cell is not None:
        changed["cell"] = convert(frames.cell, length, "Angstrom")
    if frames.stress is not None:
        changed["stress"] = frames.stress * per_volume
    return frames.replace(**changed)


# -- npz ------------------------------------------------------------------------------------------


def _read_zip(path: Path, part: str, labels: str, energy: str | None, length: str | None) -> Frames:
    """An npz, or the zip archives of the coupled-cluster sets, which hold two npz files."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            names = archive.namelist()
            inner = {n: archive.read(n) for n in names if n.endswith(".npz")}
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path} is damaged ({error}): fetch or copy it anew") from error
    if broken is not None:
        raise UserError(f"{path} is damaged (in {broken}): fetch or copy it anew")
    if not inner:
        return _frames_from_npz(path, str(path), part, labels, energy, length)
    chosen = [n for n in sorted(inner, reverse=True) if part == "all" or f"-{part}." in n]
    if not chosen:
        raise UserError(f"{path} holds no {part} file: it holds {', '.join(inner)}")
    sets = [
        _frames_from_npz(io.BytesIO(inner[n]), f"{path}:{n}", "all", labels, energy, length)
        for n in chosen
    ]
    return Frames.concatenate(sets)


def _frames_from_npz(
    source: Path | io.BytesIO,
    label: str,
    part: str,
    labels: str,
    energy: str | None,
    length: str | None,
) -> Frames:
    try:
        with np.load(source, allow_pickle=False) as archive:
            # original MD17 files carry remarks as pickled objects, which are never opened
            content = {}
            for key in archive.files:
                try:
                    content[key] = archive[key]
                except ValueError as error:
                    if "allow_pickle" not in str(error) and "Object arrays" not in str(error):
                        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{label} is damaged ({error}): fetch or copy it anew") from error
    if is_own_form(content):
        if part != "all":
            raise UserError(f"{label} is not divided into parts: load part='all' and split it")
        return _rescaled(frames_from_own_form(content, label), energy, length)
    return _md17_form(content, label, part, labels, energy, length)


_KEYS = {  # in the original form and in that of the revised set
    "z": ("z", "nuclear_charges"),
    "R": ("R", "coords"),
    "E": ("E", "energies"),
    "F": ("F", "forces"),
}


def _md17_form(
    content: dict[str, np.ndarray],
    label: str,
    part: str,
    labels: str,
    energy: str | None,
    length: str | None,
) -> Frames:
    """MD17 (R, E, F, z), revised MD17 (coords, energies, ...), and extensions with units."""

    def find(name: str) -> str:
        for key in _KEYS[name]:
            if key in content:
                return key
        raise UserError(
            f"{label} lacks {' or '.join(_KEYS[name])}: an MD17 file holds z, R, E, F, a revised "
            f"one nuclear_charges, coords, energies, forces; found {', '.join(content)}"
        )

    z, r, e, f = find("z"), find("R"), find("E"), find("F")
    theory = "theory"
    revised_form = e == "energies"
    if labels == "revised" and not revised_form:
        e, f, theory = "E_rmd17", "F_rmd17", "theory_rmd17"
        if e not in content or f not in content:
            raise UserError(f"{label} holds no revised labels (E_rmd17, F_rmd17)")
    elif labels == "original" and revised_form and "old_energies" in content:
        e, f = "old_energies", "old_forces"
    units = {key: str(content[key]) for key in ("E_unit", "F_unit", "R_unit") if key in content}
    energy = energy or units.get("E_unit") or str(content.get("e_unit", "kcal/mol"))
    force_unit = None if length else units.get("F_unit")
    length = length or units.get("R_unit") or str(content.get("r_unit", "Angstrom"))
    force_unit = force_unit or f"{energy}/{length}"

    positions = convert(content[r], length, "Angstrom")
    if positions.ndim != 3 or positions.shape[-1] != 3:
        raise UserError(
            f"{label}: {r} must have the shape (frames, atoms, 3); found {positions.shape}"
        )
    n = len(positions)
    numbers = np.asarray(content[z])
    if numbers.ndim == 1:
        numbers = np.broadcast_to(numbers, (n, len(numbers)))
    energies = convert(content[e], energy, "eV").reshape(-1)
    info = {"energy_labels": e}
    if theory in content:
        info["level_of_theory"] = str(content[theory])
    frames = Frames(
        numbers=numbers,
        positions=positions,
        energy=energies,
        forces=convert(content[f], force_unit, "eV/Angstrom"),
        total_charge=content.get("Q"),
        # S counts unpaired electrons (0: singlet), as in SpookyNet's sets
        spin_multiplicity=None if "S" not in content else content["S"].astype(int) + 1,
        partial_charges=content.get("q"),
        group=_geometry_groups(positions) if "Q" in content else None,
        info=info,
    )
    if part == "all":
        return frames
    if "split" not in content:
        raise UserError(f"{label} was not divided by its authors: load part='all' and split it")
    return frames[np.asarray(content["split"]) == PARTS.index(part) - 1]


def _geometry_groups(positions: np.ndarray) -> np.ndarray:
    """Equal numbers for equal geometries: a set with charges may carry one geometry twice."""
    flat = np.round(positions, 4).reshape(len(positions), -1)
    return np.unique(flat, axis=0, return_inverse=True)[1].reshape(-1)


# -- QM7-X ----------------------------------------------------------------------------------------


def read_qm7x(path: Path, *, limit: int | None = None) -> Frames:
    """QM7-X (hdf5, or hdf5 packed as xz): PBE0+MBD total energies and forces; group = molecule.

    Raises:
        UserError: h5py is not installed, or the file is not QM7-X.
    """
    try:
        import h5py
    except ImportError as error:
        raise UserError(f"reading {path} needs h5py: pip install h5py") from error
    structures: list[tuple[np.ndarray, np.ndarray, float, np.ndarray, int]] = []
    try:
        opener = lzma.open if path.suffix == ".xz" else open
        with opener(path, "rb") as raw, h5py.File(raw, "r") as file:
            for molecule, conformers in file.items():
                for entry in conformers.values():
                    energy = float(np.asarray(entry["ePBE0+MBD"]).reshape(()))
                    structures.append(
                        (
                            np.asarray(entry["atNUM"]).reshape(-1),
                            np.asarray(entry["atXYZ"], dtype=float),
                            energy,
                            np.asarray(entry["totFOR"], dtype=float),
                            int(molecule),
                        )
                    )
                    if limit is not None and len(structures) >= limit:
                        return _stack(structures)
    except (OSError, KeyError, AttributeError, ValueError) as error:
        raise UserError(f"{path} is not a readable QM7-X file ({error})") from error
    return _stack(structures)


def _stack(structures: list[tuple[np.ndarray, np.ndarray, float, np.ndarray, int]]) -> Frames:
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
