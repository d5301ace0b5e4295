"""What structures in ASE say of themselves: labels, charge, spin and group, under any usual name.

Programs disagree on names. An energy stands in a calculator's results, in `Atoms.info`, or in the
rows of a data base, as `energy`, `REF_energy`, `dft_energy`, `TotEnergy`. `meaning` knows such
names; a file may hold several. Where they agree, or where one is all there is, there is nothing to
choose. Where they differ, none is taken and the sentence that comes with the result asks which one
is meant: labels of the wrong kind would train a model without a sound. A free energy counts only
where no energy stands beside it, as in ASE.

A value that is stated for some structures only is no field of `Frames`; it is left out, and the
reason is kept for whoever needs it (`Frames.lacking`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from so3krates_lite.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms

# names under which structures in ASE state these, the first is the one to write
INFO_KEYS = {
    "total_charge": ("charge", "total_charge", "tot_charge"),
    "spin_multiplicity": ("spin_multiplicity", "multiplicity"),
    "group": ("group",),
}
_WORDS = {
    "total_charge": {"neutral": 0},
    "spin_multiplicity": {"singlet": 1, "doublet": 2, "triplet": 3, "quartet": 4, "quintet": 5},
}
_SIGNED = re.compile(r"[+-]?\d+(\.\d*)?|\d+[+-]")  # 1, +1, -1.0, 2-

_SOURCE = r"(?:ref|reference|dft|qm|abinitio|target|label|true)"
_NAMES = {
    "energy": r"energy|tot(?:al)?_?energy|potential_?energy|e_?tot",
    "forces": r"forces?",
    "stress": r"stress(?:es)?",
    "virial": r"virials?",
    "partial_charges": r"(?:partial_|atomic_)?charges",
    "free_energy": r"free_?energy",
}
_PATTERNS = {
    kind: re.compile(rf"(?:{_SOURCE}_?)?(?:{names})(?:_{_SOURCE})?")
    for kind, names in _NAMES.items()
}
AGREE = 1e-4  # eV, eV/Å, eV/Å³: two names that differ by less, a rounding, say the same

# entries of structures that no energy can depend on, or that other entries repeat
_REMARKS = frozenset(
    "numbers positions momenta velocities masses tags config_type name comment unique_id index id "
    "idx frame step time time_fs i energies smiles formula uid spacegroup occupancy "
    "key_value_pairs data".split()
)


@lru_cache(maxsize=1024)
def meaning(key: str) -> str | None:
    """Which label a name stands for: "energy", "forces", "stress", "virial", "partial_charges",
    "free_energy" or None.

    >>> meaning("REF_energy"), meaning("dft-force"), meaning("density")
    ('energy', 'forces', None)
    """
    plain = re.sub(r"[\s.-]", "_", key.strip().lower())
    return next((kind for kind, names in _PATTERNS.items() if names.fullmatch(plain)), None)


@dataclass
class Stated:
    """What `read_images` found: fields of `Frames`, and what is to be said about reading them."""

    fields: dict[str, Any] = field(default_factory=dict)
    info: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)  # keys that were not read

    def without(self, name: str, reason: str) -> None:
        """Note why there is no field ``name``."""
        self.info[f"no_{name}"] = reason
        self.notes.append(f"no {name}: {reason}")


# -- labels ---------------------------------------------------------------------------------------


def read_images(
    images: Sequence[Atoms], *, energy_key: str | None = None, forces_key: str | None = None
) -> Stated:
    """Everything that `Frames` takes from ASE structures; see `Frames.from_atoms`."""
    n, width = len(images), max((len(a) for a in images), default=0)
    numbers, positions = np.zeros((n, width), np.int32), np.zeros((n, width, 3))
    for k, image in enumerate(images):
        numbers[k, : len(image)], positions[k, : len(image)] = image.numbers, image.positions
    found = Stated({"numbers": numbers, "positions": positions})
    periodic = np.array([a.pbc.any() for a in images], dtype=bool)
    if periodic.any():
        found.fields["pbc"] = np.array([a.pbc for a in images])
        found.fields["cell"] = np.array([np.asarray(a.cell) * a.pbc.any() for a in images])

    tables = [_everything(image) for image in images]
    used: set[str] = set()
    chosen = {"energy": energy_key, "forces": forces_key, "stress": None, "partial_charges": None}
    for kind, key in chosen.items():
        there = _candidates(kind, key, tables, images)
        used.update(there)
        if kind == "stress" and there and not periodic.all():
            _drop_where_no_cell(there, periodic, found.notes)
        values = _chosen(kind, there, found, unlabelled=_possible(kind, tables))
        if values is None:
            continue
        if kind in ("forces", "partial_charges"):
            values = [np.pad(v, [(0, width - len(v)), *[(0, 0)] * (v.ndim - 1)]) for v in values]
        found.fields[kind] = np.array(values)
    for name in INFO_KEYS:
        _read_info(name, images, found)
    # a bare word of a comment line is read as True by ASE
    named = {key for table in tables for key, value in table.items() if not _is_true(value)}
    known = used.union(_REMARKS, *INFO_KEYS.values())
    found.unread = sorted(k for k in named - known if meaning(k) != "free_energy")
    return found


def choose(
    kind: str, there: Mapping[str, Sequence[Any]], n: int, option: str = ""
) -> tuple[str | None, str]:
    """The name to read ``kind`` from, and why it is not every frame's; "" where it is.

    Args:
        kind: what is looked for, "energy"
        there: values by name, None where a frame has none
        n: number of frames
        option: the argument by which a user may choose a name
    """
    if not there:
        return None, ""
    counts = {key: sum(v is not None for v in values) for key, values in there.items()}
    key = max(there, key=counts.get)  # of equals the first
    for other, values in there.items():
        pairs = [(a, b) for a, b in zip(there[key], values, strict=True) if b is not None]
        if any(a is None or not np.allclose(a, b, rtol=0, atol=AGREE) for a, b in pairs):
            ask = f": choose one by {option}" if option else ""
            return None, f"{key} and {other} do not say the same{ask}"
    if counts[key] < n:
        return None, some_lack([k for k, value in enumerate(there[key]) if value is None], n)
    return key, ""


def some_lack(lacking: Sequence[int] | Int[np.ndarray, "lacking"], n: int) -> str:
    """The reason that stands where the structures ``lacking``, of ``n``, have no such value."""
    first = ", ".join(map(str, lacking[:3])) + (", …" if len(lacking) > 3 else "")
    return f"{len(lacking)} of {n} structures have none: {first}"


def possible_labels(kind: str, keys: Iterable[str]) -> list[str]:
    """Names that may hold ``kind`` ("energy" or "forces") though they are not known here."""
    traces, letters = {
        "energy": (("energ",), ("e", "u", "u0")),
        "forces": (("forc", "grad"), ("f",)),
    }.get(kind, ((), ()))
    low = {key: key.lower() for key in keys}
    return [k for k, text in low.items() if text in letters or any(t in text for t in traces)]


def ask_for_key(kind: str, keys: Sequence[str]) -> str:
    """The reason that stands where a label has no known name, but may have one of ``keys``."""
    which = "it is one of these" if len(keys) > 1 else "this is it"
    return f"none under a usual name, but {', '.join(keys)}: if {which}, name it by {kind}_key"


def _is_true(value: Any) -> bool:
    return isinstance(value, bool | np.bool_) and bool(value)


def _everything(atoms: Atoms) -> dict[str, Any]:
    """All that is stored with a structure, by name; a calculator's results come first."""
    deeper = [atoms.info.get(key) for key in ("data", "key_value_pairs")]  # ASE's data bases
    more: dict[str, Any] = dict(_results(atoms))
    for part in (atoms.info, atoms.arrays, *deeper):
        if isinstance(part, Mapping):
            more.update({str(k): v for k, v in part.items() if k not in more and v is not None})
    return more


def _results(atoms: Atoms) -> dict[str, Any]:
    """Stored results; nothing is calculated, and nothing of another geometry is returned."""
    from ase.calculators.calculator import PropertyNotImplementedError

    stored = {}
    for name in getattr(atoms.calc, "results", None) or ():
        try:
            value = atoms.calc.get_property(name, atoms, allow_calculation=False)
        except PropertyNotImplementedError:
            continue
        if value is not None:
            stored[name] = value
    return stored


def _candidates(
    kind: str, key: str | None, tables: list[dict[str, Any]], images: Sequence[Atoms]
) -> dict[str, list[Any]]:
    """Values by name, for each name that holds ``kind`` (``key``: for this one alone)."""
    every = dict.fromkeys(name for table in tables for name in table)
    if key is not None:
        names = [key]
        if key not in every:
            others = [name for name in every if name not in ("numbers", "positions")]
            known = f"; they hold {', '.join(others)}" if others else ""
            raise UserError(f"no structure stores {kind} under the key {key!r}{known}")
    elif kind == "stress":
        names = [name for name in every if meaning(name) in ("stress", "virial")]
    else:
        names = [name for name in every if meaning(name) == kind]
        if kind == "energy" and not names:
            names = [name for name in every if meaning(name) == "free_energy"]
    found = {}
    for name in names:
        values = [_shaped(kind, name, t.get(name), a) for t, a in zip(tables, images, strict=True)]
        if any(value is not None for value in values):
            found[name] = values
        elif key is not None:
            shape = {"energy": "one number", "forces": "three numbers for each atom"}[kind]
            raise UserError(f"{key!r} does not hold {kind}, which are {shape} per structure")
    return found


def _shaped(kind: str, name: str, value: Any, atoms: Atoms) -> Any:
    """``value`` as an energy, forces, …; None where it is none, or not a number (NaN)."""
    if kind == "forces" and value is None and len(atoms) == 1:
        return np.zeros((1, 3))  # an atom alone, or one of a lattice of equals, feels none
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    if array.dtype.kind not in "iuf" or np.isnan(array).any():
        return None
    n, array = len(atoms), array.astype(float)
    if kind == "energy":
        return float(array.reshape(())) if array.size == 1 else None
    if kind == "forces":
        return array.reshape(n, 3) if array.shape[-1:] == (3,) and array.size == 3 * n else None
    if kind == "partial_charges":
        return array.reshape(n) if array.size == n else None
    stress = full_stress(array)
    if stress is None or meaning(name) != "virial":
        return stress
    volume = abs(np.linalg.det(atoms.cell))  # virial = -dE/dstrain, the stress is dE/dstrain / V
    return -stress / volume if volume > 0 else None


# rows and columns of xx, yy, zz, yz, xz, xy, the order of ASE
VOIGT = [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]


def full_stress(stress: np.ndarray) -> np.ndarray | None:
    """A 3 x 3 stress from ASE's xx, yy, zz, yz, xz, xy or from nine numbers."""
    if stress.size == 9:
        return stress.reshape(3, 3)
    if stress.size != 6:
        return None
    xx, yy, zz, yz, xz, xy = stress.reshape(6)
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def _drop_where_no_cell(
    there: dict[str, list[Any]], periodic: np.ndarray, notes: list[str]
) -> None:
    """A molecule has no stress: it is zero where others have one."""
    stated = [k for values in there.values() for k, v in enumerate(values) if v is not None]
    if lost := len({k for k in stated if not periodic[k]}):
        notes.append(f"stress is left out of {lost} structures, which have no periodic cell")
    if not periodic.any():
        there.clear()
    for name, values in there.items():
        kept = zip(values, periodic, strict=True)
        there[name] = [value if inside else np.zeros((3, 3)) for value, inside in kept]


def _possible(kind: str, tables: list[dict[str, Any]]) -> list[str]:
    numeric = {
        key
        for table in tables
        for key, value in table.items()
        if not isinstance(value, str | bool | Mapping) and meaning(key) is None
    }
    return possible_labels(kind, sorted(numeric))


def _chosen(
    kind: str, there: dict[str, list[Any]], found: Stated, unlabelled: list[str]
) -> list[Any] | None:
    n = len(found.fields["numbers"])
    option = f"{kind}_key" if kind in ("energy", "forces") else ""
    key, reason = choose(kind, there, n, option)
    if not there and unlabelled:
        reason = ask_for_key(kind, unlabelled)
    if reason:
        found.without(kind, reason)
    if key is None:
        return None
    if key != kind:
        found.info[f"{kind}_labels"] = key
    return there[key]


# -- charge, spin, group --------------------------------------------------------------------------


def told(atoms: Atoms, name: str) -> Any:
    """What a structure says of a field of `INFO_KEYS`; None where it says nothing of use.

    A charge or spin is a number, or a word such as "neutral". True is neither: it is what ASE reads
    where None was written.

    Raises:
        UserError: two names state different values.
    """
    raw = _raw(atoms, name)
    values = {key: _as_number(name, value) for key, value in raw.items()}
    values = {key: value for key, value in values.items() if value is not None}
    if len(set(values.values())) > 1:
        text = " but ".join(f"{key} = {value:g}" for key, value in values.items())
        raise UserError(f"a structure states {text}: leave one of them")
    return next(iter(values.values()), None)


def checked_number(value: Any, name: str) -> float | int | None:
    """A total charge or spin multiplicity as a number; None where None stands for "not stated".

    Raises:
        UserError: it is text, True or False, not finite, more than one number, or no multiplicity
    """
    if value is None:
        return None
    number = np.asarray(value)
    if number.dtype.kind not in "iuf" or number.size != 1 or not np.isfinite(number).all():
        raise UserError(
            f"The {name} is stated as {value!r}, which is not a number: state it as one, or as "
            f"None where it is not known."
        )
    number = number.item()
    if name == "spin_multiplicity" and (number < 1 or number != round(number)):
        raise UserError(
            f"The {name} is stated as {value!r}: it is 2S+1, a whole number from 1 upwards."
        )
    return number


def _raw(atoms: Atoms, name: str) -> dict[str, Any]:
    """What stands under the names of a field, as it stands."""
    info: dict[str, Any] = {}
    for part in (atoms.info.get("data"), atoms.info.get("key_value_pairs"), atoms.info):
        if isinstance(part, Mapping):
            info.update(part)
    return {key: info[key] for key in INFO_KEYS[name] if info.get(key) is not None}


def _as_number(name: str, value: Any) -> float | int | str | None:
    if isinstance(value, str):
        text = value.strip().lower()
        if name == "group":
            return None if text in ("", "none", "nan") else value.strip()
        if text in _WORDS[name]:
            return _WORDS[name][text]
        if not _SIGNED.fullmatch(text):
            return None
        value = float(text[-1] + text[:-1] if text[-1] in "+-" else text)
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iuf":
        return None
    number = float(array.reshape(()))
    if not np.isfinite(number):
        return None
    if number == int(number):
        return None if name == "spin_multiplicity" and number < 1 else int(number)
    return {"total_charge": number, "group": str(value)}.get(name)


def _read_info(name: str, images: Sequence[Atoms], found: Stated) -> None:
    """Charge, spin or group of every structure, with a note where words became numbers."""
    values = [told(image, name) for image in images]
    for image, value in zip(images, values, strict=True):
        for key, raw in _raw(image, name).items():
            if value is None or (isinstance(raw, str) and name != "group"):
                read = "is not read" if value is None else f"is read as {value}"
                note = f"{key} = {raw} {read}"
                if note not in found.notes:
                    found.notes.append(note)
    n, lacking = len(values), [k for k, value in enumerate(values) if value is None]
    if len(lacking) == n:
        return
    if lacking:
        found.without(name, some_lack(lacking, n))
        return
    if any(isinstance(value, str) for value in values):
        names, values = np.unique([str(v) for v in values], return_inverse=True)
        shown = [f"{text} = {k}" for k, text in enumerate(names[:6])]
        shown += ["…"] if len(names) > 6 else []
        found.notes.append(f"groups are numbered: {', '.join(shown)}")
    found.fields[name] = np.asarray(values)
