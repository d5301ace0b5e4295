"""A set of structures in numpy: what every loader returns and every later step reads.

A *frame* is one structure with what a reference calculation says about it: an energy, forces,
perhaps a cell and a stress, a total charge, a spin. Structures of different size stand in one
rectangular array: short ones are filled up with *padding atoms*, whose atomic number is 0 and
whose every other entry is 0. `numbers != 0` therefore tells real atoms from padding everywhere.

Inside the package there is one set of units: eV, Å, eV/Å, eV/Å³ and the elementary charge. A
`Frames` knows no other; whoever reads a file converts (`so3krates_lite.units`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from so3krates_lite.errors import UserError
from so3krates_lite.structures.stated import VOIGT, read_images

if TYPE_CHECKING:
    from ase import Atoms

log = logging.getLogger(__name__)

MAX_ATOMIC_NUMBER = 99  # the embedding table has rows 0..99
# field -> (dtype, trailing shape with "atoms" standing for the number of columns)
_LAYOUT: dict[str, tuple[type, tuple[str | int, ...]]] = {
    "numbers": (np.int32, ("atoms",)),
    "positions": (np.float64, ("atoms", 3)),
    "energy": (np.float64, ()),
    "forces": (np.float64, ("atoms", 3)),
    "cell": (np.float64, (3, 3)),
    "pbc": (np.bool_, (3,)),
    "stress": (np.float64, (3, 3)),
    "total_charge": (np.float64, ()),
    "spin_multiplicity": (np.int32, ()),
    "partial_charges": (np.float64, ("atoms",)),
    "group": (np.int64, ()),
}
_PER_ATOM = tuple(name for name, (_, shape) in _LAYOUT.items() if "atoms" in shape)


@dataclass(frozen=True, eq=False, init=False)
class Frames:
    """Structures with their reference values, in eV, Å, eV/Å, eV/Å³ and e.

    Construction converts to the stated types, checks (`validate`) and hands out read-only views.
    A field that is None is unknown for every frame; a field is never known for some frames only
    (`lacking` says why one was left out). Stress is zero for a frame without a cell.

    Raises:
        UserError: shapes disagree, a number is NaN or infinite (named by field and frame), an
            atomic number is outside 0..99, a frame is empty, padding carries values, a periodic
            cell has no volume.
    """

    numbers: Int[np.ndarray, "frames atoms"]  # atomic numbers, 0 = padding
    positions: Float[np.ndarray, "frames atoms 3"]  # Å
    energy: Float[np.ndarray, "frames"] | None = None  # eV
    forces: Float[np.ndarray, "frames atoms 3"] | None = None  # eV/Å
    cell: Float[np.ndarray, "frames 3 3"] | None = None  # Å, rows are lattice vectors
    pbc: Bool[np.ndarray, "frames 3"] | None = None  # given with `cell`; default: all True
    stress: Float[np.ndarray, "frames 3 3"] | None = None  # eV/Å³, dE/dstrain over volume
    total_charge: Float[np.ndarray, "frames"] | None = None  # e
    spin_multiplicity: Int[np.ndarray, "frames"] | None = None  # 2S+1
    partial_charges: Float[np.ndarray, "frames atoms"] | None = None  # e
    group: Int[np.ndarray, "frames"] | None = None  # same number: same geometry or molecule
    info: Mapping[str, str] = field(default_factory=dict)  # name, level of theory, citation, ...

    # written out, since it takes more types than the fields hold
    def __init__(
        self,
        numbers: ArrayLike,
        positions: ArrayLike,
        energy: ArrayLike | None = None,
        forces: ArrayLike | None = None,
        cell: ArrayLike | None = None,
        pbc: ArrayLike | None = None,
        stress: ArrayLike | None = None,
        total_charge: ArrayLike | None = None,
        spin_multiplicity: ArrayLike | None = None,
        partial_charges: ArrayLike | None = None,
        group: ArrayLike | None = None,
        info: Mapping[str, object] | None = None,
    ) -> None:
        given = locals()
        for name, (dtype, _) in _LAYOUT.items():
            value = given[name]
            array = None if value is None else _read_only(name, value, dtype)
            object.__setattr__(self, name, array)
        if self.cell is not None and self.pbc is None:
            everywhere = np.ones((len(self.cell), 3), dtype=bool)
            object.__setattr__(self, "pbc", _read_only("pbc", everywhere, np.bool_))
        said = {str(key): str(value) for key, value in (info or {}).items()}
        object.__setattr__(self, "info", MappingProxyType(said))
        self.validate()

    def __reduce__(self) -> tuple:
        """Pickled and copied by way of the constructor: checked and read-only again."""
        return type(self), (*(getattr(self, name) for name in frame_fields()), dict(self.info))

    # -- size ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.numbers)

    @property
    def mask(self) -> Bool[np.ndarray, "frames atoms"]:
        """True for real atoms, False for padding."""
        return self.numbers != 0

    @property
    def n_atoms(self) -> Int[np.ndarray, "frames"]:
        """Number of real atoms of each frame."""
        return self.mask.sum(axis=1)

    @property
    def max_atoms(self) -> int:
        """Number of atom columns, padding included."""
        return self.numbers.shape[1]

    @property
    def elements(self) -> Int[np.ndarray, "elements"]:
        """Atomic numbers that occur, ascending, without padding."""
        found = np.unique(self.numbers)
        return found[found > 0]

    @property
    def is_periodic(self) -> bool:
        """Whether any frame repeats along any lattice vector."""
        return self.pbc is not None and bool(self.pbc.any())

    @property
    def has_volume(self) -> Bool[np.ndarray, "frames"]:
        """Whether each frame repeats, and has a cell with a volume."""
        if self.cell is None or self.pbc is None:
            return np.zeros(len(self), bool)
        return self.pbc.any(axis=1) & (np.linalg.det(self.cell) != 0)

    def lacking(self, name: str) -> str:
        """Why the field `name` is None, in brackets behind a sentence; empty if it was never there.

        >>> f"Training needs energy, but the frames have none{frames.lacking('energy')}."
        """
        reason = self.info.get(f"no_{name}", "")
        return f" ({reason})" if reason else ""

    def element_counts(
        self, elements: ArrayLike | None = None
    ) -> Int[np.ndarray, "frames elements"]:
        """How many atoms of each element a frame holds; columns as in `elements`."""
        wanted = self.elements if elements is None else np.asarray(elements)
        return np.stack([(self.numbers == z).sum(axis=1) for z in wanted], axis=1)

    @property
    def composition(self) -> Int[np.ndarray, "frames"]:
        """A number per frame, from 0; the same where frames hold the same atoms in any order."""
        atoms = np.sort(self.numbers, axis=1)
        return np.unique(atoms, axis=0, return_inverse=True)[1].reshape(-1)

    @property
    def known(self) -> list[str]:
        """Fields that are not None."""
        return [name for name in _LAYOUT if getattr(self, name) is not None]

    def __repr__(self) -> str:
        name = self.info.get("name", "")
        head = f"{name!r}, " if name else ""
        known = ", ".join(self.known)
        return f"Frames({head}{len(self)} frames, up to {self.max_atoms} atoms, {known})"

    def forces_std(self) -> float:
        """The standard deviation of all force components, eV/Å."""
        return float(self.forces[self.mask].std())

    # -- choosing and joining -----------------------------------------------------------------

    def only(self, index: Any) -> Frames:
        """The frames ``index``, as of frames on disk, which stay there."""
        return self[index]

    def parts(self) -> Iterator[Frames]:
        """All frames in pieces that fit memory: these do as a whole."""
        yield self

    def __getitem__(self, index: Any) -> Frames:
        """Chosen frames: an int (a one-frame `Frames`), a slice, an index array or a mask."""
        if isinstance(index, int | np.integer):
            if not -len(self) <= index < len(self):
                raise IndexError(f"frame {index} of a set of {len(self)} frames")
            index = [int(index)]
        if not isinstance(index, slice):
            index = np.asarray(index)
            if index.size == 0:
                index = index.astype(np.int64)
        chosen = {name: getattr(self, name) for name in _LAYOUT}
        chosen = {name: None if a is None else a[index] for name, a in chosen.items()}
        return Frames(**chosen, info=self.info)

    def replace(self, **changes: Any) -> Frames:
        """A copy with some fields changed; checked anew."""
        return replace(self, **changes)

    def trimmed(self) -> Frames:
        """Without the trailing columns that are padding in every frame."""
        used = np.flatnonzero(self.mask.any(axis=0))
        width = int(used[-1]) + 1 if len(used) else 0
        cut = {n: getattr(self, n) for n in _PER_ATOM if getattr(self, n) is not None}
        return replace(self, **{name: a[:, :width] for name, a in cut.items()})

    def widened(self, atoms: int) -> Frames:
        """With so many columns, the further ones padding; as they are where they have as many."""
        width = max(atoms, self.max_atoms)
        arrays = {name: getattr(self, name) for name in _PER_ATOM}
        wide: dict[str, Any] = {n: _widen(a, width) for n, a in arrays.items() if a is not None}
        return replace(self, **wide)

    @staticmethod
    def concatenate(sets: Iterable[Frames]) -> Frames:
        """Join sets, widening with padding atoms where needed.

        Every set must know the same fields; only a cell may be missing in some, which are then
        not periodic. Group numbers are kept as they are. Entries of `info` that differ are joined
        by "; ".
        """
        parts = list(sets)
        if not parts:
            raise UserError("Frames.concatenate was given no sets: pass at least one Frames")
        width = max(part.max_atoms for part in parts)
        joined: dict[str, Any] = {}
        for name, (dtype, shape) in _LAYOUT.items():
            arrays = [getattr(part, name) for part in parts]
            if all(a is None for a in arrays):
                continue
            if any(a is None for a in arrays):
                if name not in ("cell", "pbc"):
                    lacking = next(k for k, a in enumerate(arrays) if a is None)
                    raise UserError(
                        f"set {lacking} has no {name} while others have one: add it with "
                        f"frames.replace({name}=...) or drop it from the others with {name}=None"
                    )
                arrays = [
                    np.zeros((len(part), *shape), dtype) if a is None else a
                    for part, a in zip(parts, arrays, strict=True)
                ]
            if "atoms" in shape:
                arrays = [_widen(a, width) for a in arrays]
            joined[name] = np.concatenate(arrays)
        info: dict[str, str] = {}
        for key in dict.fromkeys(key for part in parts for key in part.info):
            values = dict.fromkeys(part.info[key] for part in parts if key in part.info)
            info[key] = "; ".join(values)
        return Frames(**joined, info=info)

    # -- ASE ----------------------------------------------------------------------------------

    @staticmethod
    def from_atoms(
        atoms: Atoms | Sequence[Atoms],
        *,
        energy_key: str | None = None,
        forces_key: str | None = None,
        info: Mapping[str, str] | None = None,
    ) -> Frames:
        """Frames from ASE structures (eV, Å) and the results stored with them.

        Energy, forces, stress and atomic charges come from the attached calculator's stored
        results, or stand in `atoms.info` and `atoms.arrays` under a usual name, such as
        "REF_energy", "dft_forces" or "virial" (see `structures.stated`); nothing is calculated.
        `energy_key` and `forces_key` name them where they have another name, or where two names
        say different things. The total charge comes from `atoms.info["charge"]` (or
        "total_charge"), the spin from `atoms.info["spin_multiplicity"]` (or "multiplicity"), the
        group from `atoms.info["group"]`; texts become numbers.

        What only some structures state is left out, and said in one line of the log; `lacking`
        gives the reason.

        Raises:
            UserError: no structure has anything of use under the key that was given.
        """
        images = [atoms] if hasattr(atoms, "get_positions") else list(atoms)
        found = read_images(images, energy_key=energy_key, forces_key=forces_key)
        if found.notes:
            log.warning("%s", "; ".join(found.notes))
        return Frames(**found.fields, info={**found.info, **(info or {})})

    def to_atoms(self) -> list[Atoms]:
        """ASE structures without padding, reference values attached as stored results."""
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator

        images = []
        for k in range(len(self)):
            real = self.mask[k]
            image = Atoms(numbers=self.numbers[k, real], positions=self.positions[k, real])
            if self.cell is not None:
                image.cell, image.pbc = self.cell[k], self.pbc[k]
            results: dict[str, Any] = {}
            if self.energy is not None:
                results["energy"] = float(self.energy[k])
            if self.forces is not None:
                results["forces"] = self.forces[k, real].copy()
            if self.stress is not None and self.pbc[k].any():
                results["stress"] = self.stress[k][VOIGT]
            if self.partial_charges is not None:
                results["charges"] = self.partial_charges[k, real].copy()
            if results:
                image.calc = SinglePointCalculator(image, **results)
            if self.total_charge is not None:
                image.info["charge"] = float(self.total_charge[k])
            if self.spin_multiplicity is not None:
                image.info["spin_multiplicity"] = int(self.spin_multiplicity[k])
            if self.group is not None:
                image.info["group"] = int(self.group[k])
            images.append(image)
        return images

    # -- checking -----------------------------------------------------------------------------

    def validate(self) -> None:
        """Check shapes, finiteness, atomic numbers, padding and cells; raise `UserError`."""
        if self.numbers.ndim != 2:
            raise UserError(
                f"numbers must have the shape (frames, atoms); found {self.numbers.shape}"
            )
        n, width = self.numbers.shape
        for name, (_, shape) in _LAYOUT.items():
            array = getattr(self, name)
            wanted = (n, *(width if s == "atoms" else s for s in shape))
            if array is not None and array.shape != wanted:
                raise UserError(
                    f"{name} must have the shape {wanted} to go with {n} frames of {width} "
                    f"atoms; found {array.shape}"
                )
        low, high = (self.numbers.min(), self.numbers.max()) if self.numbers.size else (0, 0)
        if low < 0 or high > MAX_ATOMIC_NUMBER:
            bad = low if low < 0 else high
            frame = int(np.argwhere(self.numbers == bad)[0, 0])
            raise UserError(
                f"numbers of frame {frame} hold the atomic number {bad}: elements from 1 to "
                f"{MAX_ATOMIC_NUMBER} can be described (0 is padding)"
            )
        empty = np.flatnonzero(self.n_atoms == 0)
        if len(empty):
            raise UserError(f"frame {empty[0]} holds no atoms: remove it")
        gap = np.argwhere(~self.mask[:, :-1] & self.mask[:, 1:])
        if len(gap):
            raise UserError(
                f"numbers of frame {gap[0, 0]} have padding (0) before an atom, at place "
                f"{gap[0, 1]}: padding comes after all atoms"
            )
        for name, (dtype, shape) in _LAYOUT.items():
            array = getattr(self, name)
            if array is None or dtype is not np.float64:
                continue
            if not np.isfinite(array).all():
                where = np.argwhere(~np.isfinite(array))[0]
                atom = f", atom {where[1]}" if shape[:1] == ("atoms",) else ""
                raise UserError(
                    f"{name} of frame {where[0]}{atom} is not a finite number "
                    f"({array[tuple(where)]}): remove the frame or mend its source"
                )
            if shape[:1] == ("atoms",) and np.any(array[~self.mask]):
                frame = int(np.argwhere(~self.mask & _nonzero(array))[0, 0])
                raise UserError(
                    f"{name} of frame {frame} is not zero on a padding atom (atomic number 0): "
                    f"set it to zero, or give the atom its element"
                )
        self._validate_cell()

    def _validate_cell(self) -> None:
        if self.pbc is None:
            if self.stress is not None:
                raise UserError("stress is given without cell and pbc: give all three or none")
            return
        if self.cell is None:
            if self.pbc.any():
                raise UserError("pbc is given without cell: give both or neither")
            return
        volume = np.abs(np.linalg.det(self.cell))
        flat = np.flatnonzero(self.pbc.all(axis=1) & (volume < 1e-6))
        if len(flat):
            raise UserError(f"the cell of frame {flat[0]} is periodic but has no volume")
        length = np.linalg.norm(self.cell, axis=-1)
        short = np.argwhere(self.pbc & (length < 1e-6))
        if len(short):
            frame, axis = short[0]
            raise UserError(f"frame {frame} is periodic along vector {axis}, which has no length")


def frame_fields() -> tuple[str, ...]:
    """Names of the array fields of `Frames`, in order."""
    return tuple(f.name for f in fields(Frames) if f.name != "info")


def _read_only(name: str, value: Any, dtype: type) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise UserError(f"{name} must be numbers; found the type {array.dtype}")
    whole = array.dtype.kind != "f" or dtype in (np.float64, np.bool_)
    if not (whole or np.all(array == np.round(array))):  # NaN differs from itself
        raise UserError(f"{name} must be whole numbers; found fractions or NaN")
    view: np.ndarray = array.astype(dtype, copy=False).view()
    view.flags.writeable = False
    return view


def _nonzero(array: np.ndarray) -> np.ndarray:
    return np.any(array.reshape(*array.shape[:2], -1), axis=-1)


def _widen(array: np.ndarray, width: int) -> np.ndarray:
    extra = [(0, 0), (0, width - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, extra)
