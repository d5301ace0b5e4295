"""How many-body is an energy? Its exact parts by inclusion and exclusion.

Take atoms away and compute what remains. From the energies of all sub-structures T follows what
belongs to a set S of atoms and to none of its parts,

    V(S) = sum over T in S of (-1)^(|S| - |T|) E(T),    so that  E(all) = sum over S of V(S).

V of one atom is its energy alone, V of two their bond, V of three what an angle adds. Summed over
all sets of n atoms they are the n-body part of the energy. A sum over pairs would have nothing
beyond n = 2; how slowly the parts fade says how many-body the *model* is.

Read them with one caution: most sub-structures are radicals that no training set holds. The parts
say what the model does with them, exactly; they are no decomposition of the molecule's true energy,
and they alternate where the model extrapolates wildly. Energies are without the shifts of elements,
which are one-body by construction.

Source: many-body expansion by the Möbius inversion over subsets, as for any cluster expansion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from so3krates_lite.errors import UserError, require
from so3krates_lite.interpret.baselines import only
from so3krates_lite.potential import Potential
from so3krates_lite.structures.buckets import bucketed_batches, in_parts
from so3krates_lite.structures.frames import Frames

MOST_SUBSETS = 8192


@dataclass(frozen=True, eq=False)
class ManyBody:
    """Parts of an energy by sets of atoms; eV.

    Args:
        members: which atoms each set holds, sets of one atom first
        part: V of each set
        total: energy of the whole, without shifts
    """

    members: Bool[np.ndarray, "sets atoms"]
    part: Float[np.ndarray, "sets"]
    total: float

    @property
    def order(self) -> Int[np.ndarray, "sets"]:
        """Number of atoms of each set."""
        return self.members.sum(axis=1)

    @property
    def by_order(self) -> Float[np.ndarray, "orders"]:
        """Sum of all parts of one atom, of two, …; over all orders they sum to the total."""
        return np.bincount(self.order, self.part)[1:]

    @property
    def size_by_order(self) -> Float[np.ndarray, "orders"]:
        """Root of the mean square of the parts of one atom, of two, …."""
        number = np.bincount(self.order)[1:]
        return np.sqrt(np.bincount(self.order, self.part**2)[1:] / number)

    def of(self, *atoms: int) -> float:
        """V of one set of atoms."""
        wanted = np.isin(np.arange(self.members.shape[1]), atoms)
        found = np.flatnonzero((self.members == wanted).all(axis=1))
        if len(found) != 1 or len(set(atoms)) != wanted.sum():
            raise UserError(
                f"There is no part of the atoms {', '.join(map(str, atoms))}: the sets hold up to "
                f"{self.order.max()} of the atoms 0 to {self.members.shape[1] - 1}."
            )
        return float(self.part[found[0]])


def many_body(
    potential: Potential,
    frame: Frames,
    *,
    most: int | None = None,
    batch_size: int = 256,
    allow_unknown_elements: bool = False,
) -> ManyBody:
    """Exact parts of the energy of one frame, of one atom, of two, and so on.

    A total charge or spin that the model reads is left out: fragments are neutral singlets.

    Args:
        frame: one structure; 12 atoms have 4095 sub-structures
        most: sets of up to so many atoms only, whose parts are exact all the same; None: all
        batch_size: how many are computed at once
        allow_unknown_elements: see `Potential.predict`

    Raises:
        UserError: too many sub-structures, or a periodic frame
    """
    atoms = only(frame)
    most = atoms if most is None else most
    require(1 <= most <= atoms, "most", most, f"1 to {atoms}, the number of atoms")
    number = sum(math.comb(atoms, n) for n in range(1, most + 1))
    if number > MOST_SUBSETS:
        raise UserError(
            f"{atoms} atoms have {number} parts of up to {most} atoms, more than {MOST_SUBSETS}: "
            f"ask for smaller ones by most=…, or take a smaller structure."
        )
    if frame.is_periodic:
        raise UserError("Parts of many atoms are taken of molecules, and this frame is periodic.")
    if not allow_unknown_elements:
        potential.check_elements(frame.numbers)
    members = _sets(atoms, most)
    whole = members if most == atoms else np.vstack([members, np.ones(atoms, bool)])
    energy = _energies(potential, frame, whole, batch_size)
    return ManyBody(members, _moebius(members, energy[: len(members)]), float(energy[-1]))


def _sets(atoms: int, most: int) -> Bool[np.ndarray, "sets atoms"]:
    """All sets of 1 to ``most`` atoms, small ones first."""
    index = np.arange(1, 1 << atoms)
    bits = (index[:, None] >> np.arange(atoms)) & 1
    size = bits.sum(axis=1)
    order = np.argsort(size, kind="stable")
    return bits[order][size[order] <= most].astype(bool)


def _energies(
    potential: Potential, frame: Frames, members: Bool[np.ndarray, "sets atoms"], batch_size: int
) -> Float[np.ndarray, "sets"]:
    """Energy of each sub-structure, without shifts, eV."""
    atoms = members.shape[1]
    order = np.argsort(~members, axis=1, kind="stable")  # real atoms first
    there = np.take_along_axis(members, order, axis=1)
    frames = Frames(
        numbers=np.where(there, frame.numbers[0, :atoms][order], 0),
        positions=np.where(there[..., None], frame.positions[0, :atoms][order], 0.0),
        total_charge=np.zeros(len(members)),
        spin_multiplicity=np.ones(len(members), int),
    )
    energy = np.zeros(len(members))
    for index, batch in bucketed_batches(
        frames, potential.config, spare=True, dtype=potential.dtype
    ):
        size = min(batch_size, 1 << (len(index) - 1).bit_length())
        for part, chosen in in_parts(index, size):
            energy[part] = potential.atomic_energies(batch[chosen]).sum(axis=1)[: len(part)]
    return energy


def _moebius(
    members: Bool[np.ndarray, "sets atoms"], energy: Float[np.ndarray, "sets"]
) -> Float[np.ndarray, "sets"]:
    """V(S) from E(T): atom by atom, what a set without the atom has is taken off.

    On a table of all subsets that is n 2^n subtractions instead of 3^n.
    """
    atoms = members.shape[1]
    place = members @ (1 << np.arange(atoms))
    table = np.zeros(1 << atoms)
    table[place] = energy
    table = table.reshape((2,) * atoms)  # the empty set has no energy
    for axis in range(atoms):
        without, with_it = np.moveaxis(table, axis, 0)
        with_it -= without
    return table.reshape(-1)[place]
