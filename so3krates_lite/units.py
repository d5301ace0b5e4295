"""Units: the only place where numbers change theirs.

Inside the package energies are in eV, lengths in Å, forces in eV/Å, stresses in eV/Å³ and charges
in multiples of the elementary charge. Data sets and papers speak kcal/mol, Hartree and bohr; a
loader passes their unit strings to `convert`, and reports convert back the same way.

Constants are CODATA 2018 (Tiesinga, Mohr, Newell, Taylor, Rev. Mod. Phys. 93, 025010, 2021): e and
N_A are exact there, and the thermochemical calorie is 4.184 J by definition. ASE's own defaults
are those of CODATA 2014; they differ from these by less than 3e-8, relative.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from so3krates_lite.errors import UserError

_ELEMENTARY_CHARGE = 1.602176634e-19  # C, exact
_AVOGADRO = 6.02214076e23  # 1/mol, exact
_PLANCK = 6.62607015e-34  # J s, exact
_LIGHT = 299792458.0  # m/s, exact
_DALTON = 1.66053906660e-27  # kg
_VACUUM = 8.8541878128e-12  # F/m

HARTREE = 27.211386245988  # eV
BOHR = 0.529177210903  # Å
KJ_PER_MOL = 1e3 / (_AVOGADRO * _ELEMENTARY_CHARGE)  # eV
KCAL_PER_MOL = 4.184 * KJ_PER_MOL  # eV
BOLTZMANN = 1.380649e-23 / _ELEMENTARY_CHARGE  # eV/K
GPA = 1e9 * 1e-30 / _ELEMENTARY_CHARGE  # eV/Å³
WAVENUMBER = 100 * _PLANCK * _LIGHT / _ELEMENTARY_CHARGE  # eV, a quantum of 1/cm
# 1/cm of a spring of 1 eV/Å² on 1 amu, omega / (2 pi c)
MODE_WAVENUMBER = (_ELEMENTARY_CHARGE / _DALTON) ** 0.5 * 1e10 / (2 * np.pi * 100 * _LIGHT)
# km/mol of a mode with |d mu / dQ|² of 1 e²/amu, N_A / (12 eps_0 c²)
IR_INTENSITY = 1e-3 * _AVOGADRO * _ELEMENTARY_CHARGE**2 / (12 * _VACUUM * _LIGHT**2 * _DALTON)
PER_FS = 1e15 / (100 * _LIGHT)  # 1/cm, of a swing that takes 1 fs
AMU_A2_FS2 = _DALTON * 1e10 / _ELEMENTARY_CHARGE  # eV, of 1 amu (Å/fs)²

ENERGY_UNITS: dict[str, float] = {  # in eV
    "eV": 1.0,
    "meV": 1e-3,
    "kcal/mol": KCAL_PER_MOL,
    "kJ/mol": KJ_PER_MOL,
    "Hartree": HARTREE,
    "mHartree": 1e-3 * HARTREE,
    "Rydberg": HARTREE / 2,
}
LENGTH_UNITS: dict[str, float] = {"Angstrom": 1.0, "bohr": BOHR, "nm": 10.0, "pm": 0.01}  # in Å
STRESS_UNITS: dict[str, float] = {"eV/Angstrom^3": 1.0, "GPa": GPA, "kbar": 0.1 * GPA}  # in eV/Å³
CHARGE_UNITS: dict[str, float] = {"e": 1.0}

_ALIASES = {
    "å": "angstrom",
    "a": "angstrom",
    "ang": "angstrom",
    "ångström": "angstrom",
    "angstroms": "angstrom",
    "a0": "bohr",
    "ha": "hartree",
    "eh": "hartree",
    "hartrees": "hartree",
    "ry": "rydberg",
    "kcalmol-1": "kcal/mol",
    "kjmol-1": "kj/mol",
    "ev/å^3": "ev/angstrom^3",
    "ev/å³": "ev/angstrom^3",
    "ev/a^3": "ev/angstrom^3",
    "ev/ang^3": "ev/angstrom^3",
}


class Unit(NamedTuple):
    """What a unit measures and how large it is in the package's own unit of that kind."""

    kind: str  # "energy", "length", "force", "stress" or "charge"
    factor: float  # eV, Å, eV/Å, eV/Å³ or e


_TABLE: dict[str, Unit] = {
    name.lower(): Unit(kind, factor)
    for kind, units in (
        ("energy", ENERGY_UNITS),
        ("length", LENGTH_UNITS),
        ("stress", STRESS_UNITS),
        ("charge", CHARGE_UNITS),
    )
    for name, factor in units.items()
}


def unit(text: str) -> Unit:
    """Read a unit such as "kcal/mol", "Å", "Hartree/bohr" or "kcal/mol/Angstrom".

    Raises:
        UserError: the text names no unit known here.
    """
    key = str(text).strip().lower().replace(" ", "").replace("(", "").replace(")", "")
    key = _ALIASES.get(key, key)
    if key in _TABLE:
        return _TABLE[key]
    energy, _, length = key.rpartition("/")
    energy, length = _ALIASES.get(energy, energy), _ALIASES.get(length, length)
    above, below = _TABLE.get(energy), _TABLE.get(length)
    if above and below and (above.kind, below.kind) == ("energy", "length"):
        return Unit("force", above.factor / below.factor)
    raise UserError(
        f"unit {text!r} is not known: energies are given in {', '.join(ENERGY_UNITS)}, lengths in "
        f"{', '.join(LENGTH_UNITS)}, forces as energy/length, stresses in {', '.join(STRESS_UNITS)}"
    )


def convert(values: Any, source: str, target: str) -> Any:
    """`values` (a number or an array) given in `source`, expressed in `target`.

    >>> convert(1.0, "Hartree", "eV")
    27.211386245988

    Raises:
        UserError: a unit is unknown, or the two measure different things.
    """
    have, want = unit(source), unit(target)
    if have.kind != want.kind:
        raise UserError(
            f"cannot convert {source!r} ({have.kind}) to {target!r} ({want.kind}): "
            f"both must measure the same thing"
        )
    factor = have.factor / want.factor
    return values * factor if np.isscalar(values) else np.asarray(values, dtype=float) * factor
