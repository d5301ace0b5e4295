"""A potential as an ASE calculator: relaxations, molecular dynamics, phonons, whatever ASE does.

A simulation asks for forces at positions that hardly differ from the last ones. Two things follow.

*The neighbour list is kept for a while.* It is made for a radius of cutoff + skin. As long as no
atom has moved further than skin/2 since, no two atoms can have come closer by more than the skin,
so every pair within the cutoff is still on the list. (A molecule whose pairs are all on the list
needs another only where float32 would lose digits of how far it has moved.) Pairs on the list
beyond the cutoff change nothing: the cutoff function and its derivative are zero there, exactly.
The network reads the vectors of pairs as they were listed, and what the atoms have moved since.
Positions may therefore leave the cell as they like, and where someone folds them back, the jump is
longer than skin/2 and the list is made anew.

*The compiled function is kept.* It is compiled for a number of atoms and a number of pairs. The
arrays of pairs get some spare room, and only when that runs out are they enlarged, geometrically,
and the function compiled once more; the log (INFO) then says so.
"""

from __future__ import annotations

import dataclasses
import logging
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from so3krates_lite.ensemble import Ensemble, load_potential
from so3krates_lite.errors import UserError, require
from so3krates_lite.potential import Potential
from so3krates_lite.runtime.devices import Number, row_of
from so3krates_lite.runtime.settings import precision_context
from so3krates_lite.structures.batching import NEUTRAL, electrons_read, make_batch, room_for_pairs
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch, PairList
from so3krates_lite.structures.sharing import Shares, check_shared, share_out
from so3krates_lite.structures.stated import INFO_KEYS, VOIGT, checked_number, told

if TYPE_CHECKING:
    from ase import Atoms

log = logging.getLogger(__name__)

# Room beyond the pairs counted first: their number in a liquid fluctuates by a few per cent, and
# every empty place is computed as if it were a pair.
HEADROOM = 1.05
ROUNDING = 1e-7  # Å; a bond feels it as 5e-6 eV/Å


class So3kratesCalculator(Calculator):
    """Energy (eV), forces (eV/Å) and, for periodic cells, stress (eV/Å^3) of a `Potential`.

    ``free_energy`` equals ``energy``: there are no electrons at a temperature. Stress is ASE's:
    (1/V) dE/dstrain in the order xx, yy, zz, yz, xz, xy, positive where the cell wants to shrink;
    structures without periodicity, or whose cell has no volume, have none. ``energies`` are what
    each atom adds to the energy, its element's energy included: a share that the network chose, no
    observable. A potential with electrostatics has ``charges`` (e), too, and of structures that are
    not periodic a ``dipole`` (e Å).

    An `Ensemble` gives means, and how far its members disagree: ``energy_std`` (eV) and
    ``forces_std`` (eV/Å, by atom and component), to be had by ``calc.get_property("forces_std",
    atoms)``. They are no properties that ASE knows, so its files leave them out.

    Args:
        potential: a `Potential` or `Ensemble`, the path of its file or run folder, or the name of a
            bundled one
        precision: "float64" (conserves energy in dynamics) or "float32" (faster on most GPUs); the
            element energies are added in float64 in either case
        skin: how much further than the cutoff the neighbour list reaches, in Å. Short skins are
            best: in a liquid each 0.1 Å adds 6 % of pairs that are computed for nothing, while a
            list costs 1 % of a computation (eight ethanols, 2 CPU cores). With 0.2 Å a list serves
            about six steps of 0.5 fs at 300 K
        allow_unknown_elements: compute elements which the training data did not hold, instead of
            refusing
        total_charge, spin_multiplicity: for models that read them, in e and as 2S+1; None: what
            ``atoms.info["charge"]`` and ``atoms.info["spin_multiplicity"]`` say. To a model that
            does not read it, no charge but 0 and no spin but 1 can be given here; one that a
            structure states is warned of, once
        long_cutoff: reach of electrostatics and dispersion, in Å, for potentials that have them;
            None: the potential's own
        devices: how many share the structure, or "all", for energy, forces and stress: where it is
            too large for one, see docs/scale.md

    Raises:
        UserError: an argument is not possible, or (when a property is asked for) the structure
            holds an unknown element, a position that is not finite, a cell without volume, or
            does not state a charge or spin that the model reads
    """

    name = "so3krates-lite"
    implemented_properties: ClassVar[list[str]] = [
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
    ]
    ignored_changes: ClassVar[set[str]] = {"initial_charges", "initial_magmoms"}

    def __init__(
        self,
        potential: Potential | str | PathLike,
        *,
        precision: str = "float64",
        skin: float = 0.2,
        allow_unknown_elements: bool = False,
        total_charge: float | None = None,
        spin_multiplicity: int | None = None,
        long_cutoff: float | None = None,
        devices: Number = 1,
        **kwargs: Any,
    ) -> None:
        require(bool(np.isfinite(skin) and skin >= 0), "skin", skin, "a length in Å, 0 or more")
        if not isinstance(potential, Potential):
            potential = load_potential(potential)
        if long_cutoff is not None:
            potential = potential.with_long_cutoff(long_cutoff)
        if potential.config.has_charges:
            own = [*self.implemented_properties, "charges", "dipole"]
            self.implemented_properties = own  # type: ignore[misc]
        if isinstance(potential, Ensemble):
            own = [*self.implemented_properties, "energy_std", "forces_std"]
            self.implemented_properties = own  # type: ignore[misc]
        self._mesh = row_of(devices)
        if self._mesh is not None:
            check_shared(potential.config)
        self.potential = potential.astype(precision)
        self._dtype = self.potential.dtype
        # so far an atom may move until its displacement is rounded by more than that
        self._farthest = ROUNDING / np.finfo(self._dtype).eps
        self.skin = float(skin)
        self.allow_unknown_elements = allow_unknown_elements
        self.total_charge = self._checked("total_charge", total_charge)
        self.spin_multiplicity = self._checked("spin_multiplicity", spin_multiplicity)
        self.n_lists = 0  # neighbour lists made so far
        self._capacity: dict[tuple[str, int, bool], int] = {}  # pairs, by list, atoms and cell
        self._forget()
        super().__init__(**kwargs)

    def _checked(self, name: str, value: float | None) -> float | None:
        """An argument that is a number, and that the model reads unless it is as good as none."""
        value = checked_number(value, name)
        reads = electrons_read(self.potential.config)[name]
        if not (reads or value in (None, NEUTRAL[name])):
            raise UserError(
                f"{name} = {value:g} is given, but this potential does not read it, and its energy "
                f"would be the same without: leave it out, or take a potential that reads it."
            )
        return value

    def reset(self) -> None:
        """Forget results and neighbour list; compiled functions are kept."""
        super().reset()
        self._forget()

    def _forget(self) -> None:
        self._batch: Batch | None = None
        self._shares: Shares | None = None  # of the batch, where several devices share it
        self._positions: Any = None
        self._cell: Any = None
        self._numbers: Any = None
        self._pbc: Any = None
        self._electrons: dict[str, float] = {}
        self._complete = False  # whether the list holds all pairs there can be
        self._shift = 0.0

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last results, the charge and spin in ``info`` included."""
        changes = super().check_state(atoms, tol=tol)
        self._note_unread(atoms)
        if self._batch is not None and self._electrons_of(atoms) != self._electrons:
            changes.append("info")
        return changes

    def _stated(self, atoms: Atoms) -> dict[str, Any]:
        """Total charge and spin multiplicity, given here or by the structure; None: by neither."""
        given = {name: getattr(self, name) for name in NEUTRAL}
        return {name: told(atoms, name) if v is None else v for name, v in given.items()}

    def _electrons_of(self, atoms: Atoms) -> dict[str, float]:
        """Total charge and spin multiplicity, as far as the model reads them."""
        config, stated = self.potential.config, self._stated(atoms)
        found = {name: stated[name] for name, reads in electrons_read(config).items() if reads}
        for name, value in found.items():
            if value is None and config.assumes_neutral:
                found[name] = NEUTRAL[name]
            elif value is None:
                raise UserError(
                    f"This potential reads the {name}, which is not stated as a number: set "
                    f"atoms.info[{INFO_KEYS[name][0]!r}], or pass {name} to the calculator."
                )
        return found

    def _note_unread(self, atoms: Atoms) -> None:
        """Say, once, that a charge or spin of the structure changes nothing for this model."""
        for name, reads in electrons_read(self.potential.config).items():
            if not reads:
                self.potential.note_unread(name, told(atoms, name))

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | tuple[str, ...] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """All properties of ``atoms`` at once, into ``self.results``; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        if not self._list_is_valid(atoms):
            self._forget()  # an error below must leave no half-made list behind
            self._make_list(atoms)
        periodic = self._has_volume(atoms)
        if "stress" in properties and not periodic:
            raise PropertyNotImplementedError(
                "stress needs a structure that is periodic and whose cell has a volume: "
                "set atoms.pbc and atoms.cell"
            )
        # plain numpy: the compiled function takes it along with less ado than a separate transfer
        moved = (atoms.positions - self._positions)[None].astype(self._dtype)
        batch = dataclasses.replace(self._batch, displacement=moved)
        if self._shares is None:
            found = self.potential.found_in(batch, stress=periodic)
        else:
            shared = self.potential.found_in(self._shares.moved(moved[0]), stress=periodic)
            found = self._shares.whole(shared)
        found = {k: v[0] for k, v in found.items()}
        if periodic:
            found["stress"] = found["stress"][VOIGT]
        energy = float(found["energy"]) + self._shift
        self.results = found | {"energy": energy, "free_energy": energy}
        if "energy_std" in found:
            self.results["energy_std"] = float(found["energy_std"])
        if "energies" in properties:
            of_elements = self.potential.element_shift[atoms.numbers]
            self.results["energies"] = self.potential.atomic_energies(batch)[0] + of_elements
        if {"charges", "dipole"} & set(properties):
            self._add_charges(batch, atoms)

    def _add_charges(self, batch: Batch, atoms: Atoms) -> None:
        charges = self.potential.properties_of(batch)["charges"][0]
        self.results["charges"] = charges
        if not atoms.pbc.any():
            self.results["dipole"] = charges @ atoms.positions

    @staticmethod
    def _has_volume(atoms: Atoms) -> bool:
        return bool(atoms.pbc.any() and atoms.cell.rank == 3)

    def _list_is_valid(self, atoms: Atoms) -> bool:
        if self._batch is None or not np.array_equal(atoms.numbers, self._numbers):
            return False
        if not np.array_equal(atoms.pbc, self._pbc):
            return False
        if self._electrons_of(atoms) != self._electrons:
            return False
        if self._pbc.any() and not np.array_equal(atoms.cell.array, self._cell):
            return False
        moved = atoms.positions - self._positions
        # a position that is lost leads, here and below, to the checks that a new list begins with
        if not np.abs(moved).max() <= self._farthest:
            return False
        if self._complete:  # true of most small molecules
            return True
        return bool(np.einsum("ad,ad->a", moved, moved).max() <= (self.skin / 2) ** 2)

    def _make_list(self, atoms: Atoms) -> None:
        bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
        if len(bad):
            raise UserError(
                f"The position of atom {bad[0]} is {atoms.positions[bad[0]]}: if this came about "
                f"in dynamics or a relaxation, take a shorter time step or step length, or start "
                f"from a structure nearer to the training data."
            )
        if not self.allow_unknown_elements:
            self.potential.check_elements(atoms.numbers)
        periodic = bool(atoms.pbc.any())
        if self.potential.config.assumes_neutral:
            stated = {k: None if v is None else [v] for k, v in self._stated(atoms).items()}
            self.potential.note_assumed(
                Frames(atoms.numbers[None], atoms.positions[None], **stated)  # type: ignore[arg-type]
            )
        electrons = self._electrons_of(atoms)
        frames = Frames(
            numbers=atoms.numbers[None],
            positions=atoms.positions[None],
            cell=atoms.cell.array[None] if periodic else None,
            pbc=atoms.pbc[None] if periodic else None,
            **{name: [value] for name, value in electrons.items()},  # type: ignore[arg-type]
        )
        batch = make_batch(frames, self.potential.config, skin=self.skin, dtype=self._dtype)
        lists = {name: getattr(batch, name) for name in ("local", "far")}
        lists = {name: pairs for name, pairs in lists.items() if pairs is not None}
        roomy: dict[str, Any] = {
            name: self._with_room(name, lists[name], len(atoms), periodic) for name in lists
        }
        self._batch = dataclasses.replace(batch, **roomy)
        if self._mesh is None:
            with precision_context(self._dtype):
                self._batch = jax.device_put(self._batch)
        else:
            self._shares = share_out(batch, frames, self._mesh)
        self._numbers, self._positions = atoms.numbers.copy(), atoms.positions.copy()
        self._cell, self._pbc = atoms.cell.array.copy(), atoms.pbc.copy()
        self._electrons = electrons
        every_pair = len(atoms) * (len(atoms) - 1) // 2
        complete = all(int(pairs.mask.sum()) == every_pair for pairs in lists.values())
        self._complete = not periodic and complete
        self._shift = float(self.potential.shift(frames)[0])
        self.n_lists += 1

    def _with_room(self, name: str, pairs: PairList, atoms: int, periodic: bool) -> PairList:
        """The list with its arrays padded to the room that it is given."""
        n_pairs = int(pairs.mask.sum())
        room = self._room_for(name, n_pairs, atoms, periodic)

        def pad(array: np.ndarray) -> np.ndarray:
            extra = [(0, 0)] * array.ndim
            # where there is no pair at all, make_batch has left room for one
            kept = array[:, :room]
            extra[1] = (0, room - kept.shape[1])
            return np.pad(kept, extra)

        return jax.tree.map(pad, pairs)

    def _room_for(self, name: str, pairs: int, atoms: int, periodic: bool) -> int:
        """The capacity of the arrays of one list, enlarged if need be."""
        key = name, atoms, periodic
        old = self._capacity.get(key, 0)
        if old and pairs <= old:
            return old
        room = room_for_pairs(int(pairs * HEADROOM), atoms, periodic)
        self._capacity[key] = room
        if old:
            log.info(
                "%d pairs of %d atoms no longer fit into the room for %d: it is enlarged to %d, "
                "and the potential compiles anew.",
                pairs,
                atoms,
                old,
                room,
            )
        return room
