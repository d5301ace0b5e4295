"""Predictions written beside what a user's structures say already.

Nothing of the user's is renamed, moved or overwritten. Predictions stand under names of their own,
a prefix before ``energy`` (eV), ``forces`` (eV/Å) and ``stress`` (eV/Å³; xx, yy, zz, yz, xz, xy),
always; those of an ensemble bring ``energy_std`` and ``forces_std``. Structures that come without
energy, forces and stress get the predictions as ASE's own results as well, so that whatever shows
or reads energies finds them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from so3krates_lite.errors import require
from so3krates_lite.potential import Potential, Prediction
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.stated import VOIGT
from so3krates_lite.units import convert

if TYPE_CHECKING:
    from ase import Atoms

LABELS = ("energy", "free_energy", "forces", "stress")
OF_ATOMS = ("charges", "forces_std")  # beside forces


def check_prefix(prefix: str) -> None:
    """Refuse a prefix that would give the predictions the names of labels, or none at all."""
    good = re.fullmatch(r"[A-Za-z]\w*", prefix, re.ASCII) is not None
    require(good, "prefix", prefix, "a letter, then letters, digits and _, such as 'model1_'")


def has_labels(frames: Frames) -> bool:
    """Whether energies, forces or stresses came with the frames."""
    return any(getattr(frames, name, None) is not None for name in LABELS)


def own_structures(
    frames: Frames,
    given: Sequence[Atoms] | None,
    energy_unit: str | None = None,
    length_unit: str | None = None,
) -> list[Atoms]:
    """Copies of the structures as they were ``given``, if they are those of ``frames``.

    Args:
        frames: what was read, in eV and Å
        given: the same as ASE read them; None: ASE did not
        energy_unit, length_unit: of what was given, if not eV and Å; cell, positions and results
            are converted then
    """
    plain = frames.to_atoms()
    units = energy_unit or "eV", length_unit or "Angstrom"
    converted = units != ("eV", "Angstrom")
    if given is None or not _are_those(given, plain, converted):
        return plain
    units = units if converted else None
    return [_copy(image, other, units) for image, other in zip(given, plain, strict=True)]


def _are_those(given: Sequence[Atoms], plain: Sequence[Atoms], converted: bool) -> bool:
    return len(given) == len(plain) and all(
        np.array_equal(one.numbers, other.numbers)
        and (converted or np.allclose(one.positions, other.positions, rtol=0, atol=1e-6))
        for one, other in zip(given, plain, strict=True)
    )


def _copy(image: Atoms, plain: Atoms, units: tuple[str, str] | None) -> Atoms:
    from ase.calculators.singlepoint import SinglePointCalculator

    copy = image.copy()
    for nested in ("key_value_pairs", "data"):  # so ASE's data bases give what was in info
        copy.info = {**copy.info.pop(nested, {}), **copy.info}
    copy.calc = image.calc
    if units is not None:
        copy.cell = convert(image.cell.array, units[1], "Angstrom")
        copy.positions = plain.positions
        copy.calc = SinglePointCalculator(copy, **_converted(_results(image), *units))
    return copy


def _converted(results: dict, energy_unit: str, length_unit: str) -> dict:
    """Stored results in eV and Å; what is no energy, force or stress stays as it is."""
    energy, length = convert(1.0, energy_unit, "eV"), convert(1.0, length_unit, "Angstrom")
    factors = {"energy": energy, "free_energy": energy, "energies": energy}
    factors |= {"forces": energy / length, "stress": energy / length**3}
    return {
        name: value if value is None else value * factors.get(name, 1)
        for name, value in results.items()
    }


def of_atoms_and_terms(potential: Potential, frames: Frames) -> dict[str, np.ndarray]:
    """Charges (e), dipole (e Å) and energies by term (eV), as far as the model has them."""
    if not potential.config.physics:
        return {}
    found = potential.properties(frames)
    more = {"charges": found.charges, "dipole": found.dipole}
    more |= {f"energy_{name}": energy for name, energy in found.terms.items()}
    return {name: value for name, value in more.items() if value is not None}


def add_predictions(
    images: Sequence[Atoms],
    prediction: Prediction,
    prefix: str,
    labelled: bool = False,
    more: Mapping[str, np.ndarray] | None = None,
) -> bool:
    """Write predictions into ``images``; returns whether they are ASE's results as well.

    They are where no structure has an energy, forces or a stress, by any of these names or, as
    ``labelled`` says, by another. ``more`` stands beside them under its names: what has a number
    for each atom among the arrays.
    """
    from ase.calculators.singlepoint import SinglePointCalculator

    bare = not labelled and not any(map(_says_something, images))
    for k, image in enumerate(images):
        results = {
            "energy": float(prediction.energy[k]),
            "forces": prediction.forces[k, : len(image)],
        }
        if prediction.stress is not None:
            results["stress"] = prediction.stress[k][VOIGT]
        for name, value in results.items():
            (image.arrays if name == "forces" else image.info)[f"{prefix}{name}"] = value
        for name, values in {**prediction.deviations, **(more or {})}.items():
            if name in OF_ATOMS:
                image.arrays[f"{prefix}{name}"] = values[k, : len(image)]
            else:
                image.info[f"{prefix}{name}"] = values[k]
        if bare:
            image.calc = SinglePointCalculator(image, **{**_results(image), **results})
    return bare


def _says_something(image: Atoms) -> bool:
    places = _results(image), image.info, image.arrays
    return any(name in place for name in LABELS for place in places)


def _results(image: Atoms) -> dict:
    return {} if image.calc is None else dict(image.calc.results)
