"""Plausibility: does what was read look like eV and Å?

A wrong unit raises no error; the model simply learns, or fails to learn, something else. But nature
fixes the scale of some things, so a wrong unit shows:

* **Lengths.** The nearest neighbour of an atom sits at about the sum of their covalent radii.
  Lengths in bohr put it at 1.89 times that, lengths in nm at a tenth.
* **Forces.** A bond to hydrogen of length d resists stretching with a force constant k for which
  k d² is 12 eV (LiH) to 50 eV (water), whatever the method and the temperature; in Hartree/Å it
  reads 2, in kcal/mol/Å 900. Where bonds do not vibrate, this tells nothing. Where there is no
  hydrogen, only the scatter is left: force components of molecules that hold together scatter by
  about 1 eV/Å.
* **Energies against forces.** Whatever their zero, energies must be the work of the forces: between
  two frames E₁ - E₀ ≈ -½ (F₁ + F₀)·(R₁ - R₀), the trapezium rule, exact on a parabola. Between
  frames far apart it is poor, but then the scatter of the energies is known: equipartition gives
  each of 3n-6 vibrations kT/2, and kT is what the bonds to hydrogen show.
* **Energies.** All-electron total energies lie a little below the sum over free atoms. Those of
  semi-empirical methods and pseudopotentials do not, and may come near to it in another unit by
  chance: this is evidence only where energies could not be held against forces.

Only a number that fits a known mistake is called one; unusual data pass. Each refusal names the way
past it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from so3krates_lite.datasets.evidence import (
    Bonds,
    bonds_to_hydrogen,
    energy_per_work,
    nearest_neighbour_ratio,
)
from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames
from so3krates_lite.units import ENERGY_UNITS, LENGTH_UNITS

N_BLOCKS, BLOCK = 12, 8  # frames looked at: blocks of frames of the same atoms, where there are any
FORCE_LIMIT = 8.0  # eV/Å, root mean square; thermal data have 0.3 to 3
SMALL_FORCES = 0.15  # eV/Å, root mean square; thermal forces in Hartree/Å have 0.01 to 0.1
STIFFNESS = 37.0  # eV, k d² of the bonds of hydrogen to carbon, nitrogen, oxygen, silicon, …
STIFFNESS_LIMITS = (5.0, 250.0)
INSIST = "if the data are right as they are, load with check=False (--no-check)"

# total energies of free atoms, Hartree, non-relativistic: Chakravorty, Gwaltney, Davidson, Parpia,
# Froese Fischer, Phys. Rev. A 47, 3649 (1993), rounded
_FREE_ATOM = np.array(
    (
        *(0, 0.5, 2.904, 7.478, 14.667, 24.654, 37.845, 54.589, 75.067, 99.734, 128.938),
        *(162.255, 200.053, 242.346, 289.359, 341.259, 398.110, 460.148, 527.540),
    )
)
_BINDING = (-0.02, 0.35)  # Hartree per atom by which a molecule lies below its free atoms
_RELATIVITY = 0.003  # of the energy, by which some methods lie lower still

_eV_PER = ENERGY_UNITS
_BOHR = LENGTH_UNITS["bohr"]
# energy unit of the file: what its numbers look to be, and by what they are to be multiplied
_ENERGIES = {
    "kcal/mol": ("in kcal/mol, not eV", _eV_PER["kcal/mol"]),
    "kJ/mol": ("in kJ/mol, not eV", _eV_PER["kJ/mol"]),
    "meV": ("in meV, not eV", 1e-3),
    "Hartree": ("in Hartree, not eV", _eV_PER["Hartree"]),
    "eV": ("in eV already but were converted from kcal/mol", 1 / _eV_PER["kcal/mol"]),
}
# by how much forces are too large in each unit, or if converted though in eV/Å
_FORCES = {
    "kcal/mol/Å": 1 / _eV_PER["kcal/mol"],
    "kJ/mol/Å": 1 / _eV_PER["kJ/mol"],
    "meV/Å": 1e3,
    "Hartree/Å": 1 / _eV_PER["Hartree"],
    "Hartree/bohr": _BOHR / _eV_PER["Hartree"],
    "Rydberg/bohr": _BOHR / _eV_PER["Rydberg"],
}
_CONVERTED = {unit: _eV_PER[unit] for unit in ("Hartree", "kcal/mol")}
# energy differences over work that each mixture of units would give
_RIGHT_FORCES = {
    "energies in kcal/mol and forces in eV/Å": 1 / _eV_PER["kcal/mol"],
    "energies in kJ/mol and forces in eV/Å": 1 / _eV_PER["kJ/mol"],
    "energies in meV and forces in eV/Å": 1e3,
    "energies in Hartree and forces in eV/Å": 1 / _eV_PER["Hartree"],
}
_MISMATCHES = {
    **_RIGHT_FORCES,
    "energies in eV and forces in kcal/mol/Å": _eV_PER["kcal/mol"],
    "energies in eV and forces in Hartree/Å": _eV_PER["Hartree"],
    "energies in eV and forces in Hartree/bohr": _eV_PER["Hartree"] / _BOHR,
}


def check_plausible(frames: Frames) -> None:
    """Test a set for signs of wrong units.

    Raises:
        UserError: positions, energies or forces look to be in a unit other than Å, eV and eV/Å;
            the sentence says which one it looks like, and how to state it; or two atoms are at
            the same place.
    """
    if len(frames) == 0:
        return
    chosen = _sample(frames)
    sample = frames[chosen]
    try:
        _check_apart(sample, chosen)
        _check_lengths(sample)
        bonds = bonds_to_hydrogen(sample)
        factor = energy_per_work(sample, bonds)
        unit = _unit_by_all_electrons(sample)
        _check_forces(sample, bonds, factor, unit)
        _check_work(bonds, factor, unit)
        _check_total_energies(sample, bonds, factor, unit)
    except UserError as error:
        raise UserError(f"{error}; {INSIST}") from None


# -- the tests ------------------------------------------------------------------------------------


def _check_apart(sample: Frames, frame: Int[np.ndarray, "frames"]) -> None:
    for k in range(len(sample)):
        places, count = np.unique(sample.positions[k, sample.mask[k]], axis=0, return_counts=True)
        if (count > 1).any():
            x, y, z = places[count > 1][0]
            raise UserError(
                f"frame {frame[k]} has {count.max()} atoms at one place, ({x:g}, {y:g}, {z:g}) Å: "
                f"remove the frame or mend its source"
            )


def _check_lengths(frames: Frames) -> None:
    ratio = nearest_neighbour_ratio(frames)
    if ratio is None or frames.is_periodic:  # a small cell's neighbours may be images
        return
    for unit, factor in LENGTH_UNITS.items():
        # in bohr, numbers are larger by 1/0.529 than they should be
        if unit != "Angstrom" and 0.75 < ratio * factor < 1.15 and not 0.7 < ratio < 1.45:
            raise UserError(
                f"positions look to be in {unit}, not Å (nearest atoms are {ratio:.2f} times the "
                f"sum of their covalent radii apart): state length_unit={unit!r}"
            )
    if 0.4 < ratio < 0.58:
        raise UserError(
            f"positions look to be in Å already but were converted from bohr (nearest atoms are "
            f"{ratio:.2f} times the sum of their covalent radii apart): state "
            f"length_unit='Angstrom'"
        )


def _check_forces(
    frames: Frames, bonds: Bonds | None, factor: float | None, energy_unit: str | None
) -> None:
    if frames.forces is None:
        return
    if bonds is None:
        rms = _size(frames)
        if rms > FORCE_LIMIT:
            unit = "kcal/mol" if rms < 70 else "kJ/mol" if rms < 350 else "meV"
            raise UserError(
                f"forces may be in {unit}/Å, not eV/Å (their root mean square is {rms:.1f}; "
                f"thermal molecules have about 1): state energy_unit={unit!r}, or remove frames "
                f"with extreme forces"
            )
        return
    found = (
        f"a bond to hydrogen resists stretching with {bonds.stiffness:.3g}, force constant times "
        f"length squared, where 12 to 50 eV are usual"
    )
    if bonds.stiffness < 0:
        raise _wrong_sign(found)
    if STIFFNESS_LIMITS[0] < bonds.stiffness < STIFFNESS_LIMITS[1]:
        return
    units = _fitting(_FORCES, bonds.stiffness / STIFFNESS, 1.6)
    units = [unit for unit in units if unit.startswith(energy_unit or "")] or units
    guesses = [f"be in {' or '.join(units)}, not eV/Å"] if units else []
    for unit in _fitting(_CONVERTED, bonds.stiffness / STIFFNESS, 1.6):
        guesses.append(f"have been converted from {unit} although they were in eV/Å")
    what, way = " or to ".join(guesses) or "be in no unit known here", "convert the forces to eV/Å"
    if factor is None:
        way = f"state energy_unit, if energies are so, too, or {way}"
    elif 0.2 < factor < 5:
        what += ", and energies with them"
        way = "state energy_unit, or convert both to eV and eV/Å"
    raise UserError(f"forces look to {what} ({found}): {way}")


def _check_work(bonds: Bonds | None, factor: float | None, energy_unit: str | None) -> None:
    # frames far apart bend the line: only a factor that no curvature explains is a unit's
    if factor is None or 0.1 < factor < 6.0:
        return
    found = f"energy differences are {factor:.3g} times what the forces explain instead of once"
    if factor < 0:
        raise _wrong_sign(found)
    if energy_unit is not None and _fitting({"": 1 / _ENERGIES[energy_unit][1]}, factor, 3):
        raise UserError(
            f"energies look to be {_ENERGIES[energy_unit][0]} (they would be those of all "
            f"electrons, and {found}): convert the energies in the file to eV"
        )
    fitting = _fitting(_MISMATCHES if bonds is None else _RIGHT_FORCES, factor, 3)
    guess = f"looks like {' or '.join(fitting)}" if fitting else "no known pair of units fits"
    raise UserError(
        f"energies and forces are not in units that belong together: {found} ({guess}); convert "
        f"the energies or the forces in the file"
    )


def _check_total_energies(
    frames: Frames, bonds: Bonds | None, factor: float | None, energy_unit: str | None
) -> None:
    if energy_unit is None or (bonds is not None and factor is not None):
        return  # energies are the work of forces that are right
    what, factor_of_unit = _ENERGIES[energy_unit]
    found = "they would be those of all electrons"
    if factor_of_unit > 1:
        # numbers smaller than those of all electrons in eV may be those of fewer electrons; and
        # forces, if no smaller than they should be, speak for energies that go with them
        together = factor is not None or energy_unit == "eV"
        if together and frames.forces is not None and _size(frames) > SMALL_FORCES:
            return
        found += "; those of semi-empirical methods and pseudopotentials can come near by chance"
    look = "may" if factor_of_unit > 1 else "look to"
    raise UserError(f"energies {look} be {what} ({found}): state energy_unit={energy_unit!r}")


def _wrong_sign(found: str) -> UserError:
    return UserError(
        f"forces look to have the wrong sign ({found}): forces are minus the gradient of the energy"
    )


# -- helpers --------------------------------------------------------------------------------------


def _sample(frames: Frames) -> Int[np.ndarray, "frames"]:
    """Numbers of the frames to look at: all of few, else blocks from the whole of the set."""
    n = len(frames)
    if n <= N_BLOCKS * BLOCK:
        return np.arange(n)
    weight = np.random.default_rng(0).integers(1, 2**40, frames.max_atoms)
    kind = frames.numbers.astype(np.int64) @ weight  # the same for the same atoms in order
    first = np.linspace(0, n - BLOCK, N_BLOCKS).astype(int)
    places = (first[:, None] + np.arange(BLOCK)).reshape(-1)
    return np.unique(np.argsort(kind, kind="stable")[places])


def _unit_by_all_electrons(frames: Frames) -> str | None:
    """The unit, if it is not eV, in which nearly all energies are those of all electrons."""
    # hydrogen alone cannot tell
    if frames.energy is None or not 1 < frames.elements.max() < len(_FREE_ATOM):
        return None
    atoms = _FREE_ATOM[frames.numbers].sum(axis=1)
    low, high = (bound * frames.n_atoms for bound in _BINDING)
    for unit, (_, factor) in _ENERGIES.items():
        below = -frames.energy * factor / _eV_PER["Hartree"] - atoms
        if np.mean((low < below) & (below < high + _RELATIVITY * atoms)) > 0.9:
            return unit
    return None


def _fitting(known: dict[str, float], factor: float, within: float) -> list[str]:
    """What explains ``factor``, the nearest first."""
    far = {text: abs(np.log(factor / value)) for text, value in known.items()}
    return sorted((text for text in far if far[text] < np.log(within)), key=far.get)[:3]


def _size(frames: Frames) -> float:
    """Root mean square of the components of the forces, eV/Å."""
    return float(np.sqrt(np.mean(frames.forces[frames.mask] ** 2)))
