"""What a reader of files is asked for, and what it has to say besides: `Asked`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames
from so3krates_lite.units import convert

if TYPE_CHECKING:
    from ase import Atoms

Sequence = TypeVar("Sequence", list, Frames)

MANY = 12  # keys that one line names


@dataclass
class Asked:
    """The arguments of `load` on their way to a reader; `notes` collects what it leaves out."""

    part: str = "all"
    labels: str = "original"
    energy_unit: str | None = None
    length_unit: str | None = None
    energy_key: str | None = None
    forces_key: str | None = None
    chosen: slice = field(default_factory=lambda: slice(None))
    query: str = ""  # chooses rows of a data base, instead of a slice
    limit: int | None = None
    notes: list[str] = field(default_factory=list)
    images: list[Atoms] | None = None  # as ASE reads them, if it does

    def take(self, sequence: Sequence) -> Sequence:
        """The structures asked for.

        Raises:
            UserError: there are none of them.
        """
        taken = sequence[self.chosen][: self.limit]
        if len(sequence) and not len(taken):
            raise UserError(f"it holds {len(sequence)} structures, but none of those asked for")
        return taken

    def unread(self, keys: Iterable[str]) -> None:
        """Name what stands in the file and is not read."""
        if names := sorted(keys):
            more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
            self.notes.append(f"not read: {', '.join(names[:MANY])}{more}")

    def undivided(self) -> None:
        """Refuse what only some forms of file have: parts, two sets of labels."""
        if self.part != "all":
            raise UserError("it is not divided into parts: load it with part='all' and split it")
        if self.labels == "revised":
            raise UserError(f"it holds one set of labels: leave out labels={self.labels!r}")

    def one_name(self, form: str) -> None:
        """Refuse names of labels where the form has one name for each."""
        for name in ("energy_key", "forces_key"):
            if getattr(self, name) is not None:
                raise UserError(f"{form} has one name for each label: leave out {name}")
        if self.query:
            raise UserError(f"@{self.query} is no choice of structures: write @-1, @0:10 or @::5")


def rescaled(
    frames: Frames, energy: str | None, length: str | None, force: str | None = None
) -> Frames:
    """Frames whose numbers were read as if in eV and Å, but are in other units."""
    if energy is None and length is None and force is None:
        return frames
    energy, length = energy or "eV", length or "Angstrom"
    per_volume = convert(1.0, energy, "eV") / convert(1.0, length, "Angstrom") ** 3
    changed = {"positions": convert(frames.positions, length, "Angstrom")}
    if frames.energy is not None:
        changed["energy"] = convert(frames.energy, energy, "eV")
    if frames.forces is not None:
        changed["forces"] = convert(frames.forces, force or f"{energy}/{length}", "eV/Angstrom")
    if frames.cell is not None:
        changed["cell"] = convert(frames.cell, length, "Angstrom")
    if frames.stress is not None:
        changed["stress"] = frames.stress * per_volume
    return frames.replace(**changed)
