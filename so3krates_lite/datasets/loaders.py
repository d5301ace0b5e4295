"""Reading data sets: many forms of file, one result (`Frames`, in eV and Å).

The form of a file is told from its content, not from its name; a packed one (xz, gz, bz2) is what
is inside. Units come from the file where it states them, otherwise from the form (MD17: kcal/mol
and Å; n2p2: Hartree and bohr), and can be set by hand. What comes out is then tested for
plausibility (`checks`), because a wrong unit makes no noise of its own.

What a file holds and nobody reads makes no noise either. It is named in one line of the log, which
is seen where no one has set up logging, and in `Frames.info["notes"]`; registered sets are known
and stay quiet.
"""

from __future__ import annotations

import bz2
import gzip
import logging
import lzma
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from so3krates_lite.datasets.ase_files import read_by_ase
from so3krates_lite.datasets.asked import Asked
from so3krates_lite.datasets.checks import check_plausible
from so3krates_lite.datasets.n2p2 import read_n2p2
from so3krates_lite.datasets.npz import PARTS, read_zip
from so3krates_lite.datasets.places import locate, unknown
from so3krates_lite.datasets.qm7x import read_qm7x
from so3krates_lite.datasets.registry import REGISTRY, DatasetCard
from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames

if TYPE_CHECKING:
    from ase import Atoms

log = logging.getLogger(__name__)

_PACKED: dict[bytes, Callable[..., Any]] = {
    b"\xfd7zXZ": lzma.open,
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
}
_INDEX = re.compile(r"-?\d+|-?\d*(:-?\d*){1,2}")


def load(
    name_or_path: str | os.PathLike[str],
    *,
    part: str = "all",
    labels: str | None = None,
    energy_unit: str | None = None,
    length_unit: str | None = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
    limit: int | None = None,
    check: bool = True,
) -> Frames:
    """Load a data set by its registered name, or any file of structures by its path.

    Args:
        name_or_path: a key of `REGISTRY` ("ethanol-gfn2", "md17-ethanol") whose files are bundled,
            under SO3KRATES_DATA or fetched; or a file: npz of the MD17, revised MD17 or this
            package's form, n2p2's input.data, QM7-X hdf5, or whatever ASE reads; packed or not.
            As in ASE, an index may follow: "file.extxyz@0:10", "file.npz@-1", "set@::5".
        part: "train" or "test" where the authors of a set divided it, else "all".
        labels: "original" or "revised" where a file carries two sets of labels.
        energy_unit: unit of the file's energies, if it is neither stated nor the form's usual one.
        length_unit: likewise for lengths; forces are in energy unit over length unit.
        energy_key, forces_key: names under which the file holds the labels, where they are none of
            the usual ones (see `structures.stated`), or where several say different things.
        limit: read at most so many frames, from the start.
        check: test the result for plausible units.

    Returns:
        Frames in eV, Å and e; `info` says what they are.

    Raises:
        UserError: nothing of that name, files not on this machine, an unreadable or incomplete
            file, a unit that cannot be right.
    """
    return load_with_structures(
        name_or_path,
        part=part,
        labels=labels,
        energy_unit=energy_unit,
        length_unit=length_unit,
        energy_key=energy_key,
        forces_key=forces_key,
        limit=limit,
        check=check,
    )[0]


def load_with_structures(
    name_or_path: str | os.PathLike[str],
    *,
    part: str = "all",
    labels: str | None = None,
    limit: int | None = None,
    check: bool = True,
    **names: str | None,
) -> tuple[Frames, list[Atoms] | None]:
    """What `load` reads, and the structures that it made frames of, with all that is theirs.

    Args:
        name_or_path, part, labels, limit, check: as of `load`
        names: its units and keys

    Returns:
        The frames, and the structures as ASE reads them; None where ASE does not, or the set is a
        registered one.
    """
    if part not in PARTS:
        raise UserError(f"part is {part!r}: choose one of {', '.join(PARTS)}")
    if labels not in (None, "original", "revised"):
        raise UserError(f"labels is {labels!r}: choose original or revised")
    name, index = _apart(os.fspath(name_or_path))
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
    chosen = {file.name for file in known.files if file.part == part} if known else set()
    asked = Asked(
        part="all" if all(path.name in chosen for path in paths) else part,
        labels=labels or "original",
        limit=limit,
        **names,  # type: ignore[arg-type]
    )
    if _INDEX.fullmatch(index):
        asked.chosen = _slice(index)
    else:
        asked.query = index
    if len(paths) == 1:
        frames = read_named(paths[0], asked)
    else:  # an index counts through all files of a set
        each = replace(asked, chosen=slice(None), limit=None if index else limit)
        frames = asked.take(Frames.concatenate(read_named(path, each) for path in paths))
    info = _describe(frames.info, known, paths, index, asked.labels)
    if asked.notes and known is None:
        log.warning("%s: %s", paths[0], "; ".join(asked.notes))
        info["notes"] = "; ".join(asked.notes)
    frames = frames.replace(info=info)
    if check:
        try:
            check_plausible(frames)
        except UserError as error:
            raise UserError(f"{', '.join(map(str, paths))}: {error}") from None
    return frames, asked.images if known is None else None


def _apart(name: str) -> tuple[str, str]:
    """A name and the index behind its last @; a file whose own name has an @ stays whole."""
    if "@" not in os.path.basename(name) or Path(name).expanduser().exists():
        return name, ""
    name, _, index = name.rpartition("@")
    return name, index or ":"


def _slice(index: str) -> slice:
    if ":" in index:
        return slice(*(int(number) if number else None for number in index.split(":")))
    k = int(index)
    return slice(k, k + 1 or None)


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
    info: Mapping[str, str],
    known: DatasetCard | None,
    paths: tuple[Path, ...],
    index: str,
    labels: str,
) -> dict[str, str]:
    told = dict(info)
    told["source"] = ", ".join(path.name for path in paths) + (f"@{index}" if index else "")
    if known is None:
        told.setdefault("name", paths[0].stem)
        return told
    told["name"], told["title"] = known.name, known.title
    told["citation"], told["licence"] = known.citation, known.licence
    if labels in known.theories:  # in one spelling, whatever the file's
        told["level_of_theory"] = known.theories[labels]
    else:
        told.setdefault("level_of_theory", known.level_of_theory)
    return told


# -- files ----------------------------------------------------------------------------------------


def read_named(path: Path, asked: Asked) -> Frames:
    """`read_file`, every error of which names the file."""
    try:
        return read_file(path, asked)
    except UserError as error:
        if str(path) in str(error):
            raise
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check it") from error
    except (ValueError, TypeError, LookupError) as error:  # what a file holds may be anything
        raise UserError(f"{path} holds what cannot be read as structures ({error})") from error


def read_file(path: Path, asked: Asked | None = None) -> Frames:
    """Read one file of any known form, packed or not."""
    asked = asked or Asked()
    if path.is_dir():
        raise UserError(f"{path} is a folder: name the file in it")
    with path.open("rb") as stream:
        start = stream.read(512)
    if not start:
        raise UserError("it is empty: fetch or copy it anew")
    for mark, opener in _PACKED.items():
        if start.startswith(mark):
            return _read_packed(path, opener, asked)
    if start.startswith(b"PK"):
        return asked.take(read_zip(path, asked))
    if start.startswith(b"\x89HDF"):
        return asked.take(read_qm7x(path, asked))
    if _looks_like_n2p2(start):
        asked.undivided()
        asked.one_name("input.data")
        units = asked.energy_unit or "Hartree", asked.length_unit or "bohr"
        frames = read_n2p2(path, energy_unit=units[0], length_unit=units[1])
        asked.notes += [f"no energy: {v}" for k, v in frames.info.items() if k == "no_energy"]
        return asked.take(frames)
    return read_by_ase(path, asked)  # which takes the structures first, then their labels


def _read_packed(path: Path, opener: Callable[..., IO[bytes]], asked: Asked) -> Frames:
    """Unpack into a file of the name without the ending, and read that."""
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / (path.stem if path.suffix else path.name)
        try:
            with opener(path) as packed, inner.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, 1 << 20)
        except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"it is damaged ({error}): fetch or copy it anew") from error
        try:
            return read_file(inner, asked)
        except UserError as error:
            raise UserError(str(error).replace(str(inner), str(path))) from error


def _looks_like_n2p2(start: bytes) -> bool:
    words = (line.split() for line in start.decode("latin-1").splitlines())
    first = next((w for w in words if w and not w[0].startswith("#")), [])
    return first == ["begin"]
