import numpy as np
import pytest

from so3krates_lite import units
from so3krates_lite.errors import UserError
from so3krates_lite.units import convert


def test_constants_agree_with_ase():
    from ase import units as ase_units

    assert pytest.approx(ase_units.kcal / ase_units.mol, rel=1e-7) == units.KCAL_PER_MOL
    assert pytest.approx(ase_units.Hartree, rel=1e-7) == units.HARTREE
    assert pytest.approx(ase_units.Bohr, rel=1e-7) == units.BOHR
    assert pytest.approx(ase_units.GPa, rel=1e-7) == units.GPA
    assert pytest.approx(ase_units.kB, rel=1e-6) == units.BOLTZMANN


# one of each unit in eV, Å, eV/Å³ and e, written by hand (CODATA 2018)
BY_HAND = {
    "eV": 1.0,
    "meV": 0.001,
    "kcal/mol": 0.04336410424,
    "kJ/mol": 0.01036426966,
    "Hartree": 27.211386245988,
    "mHartree": 0.027211386246,
    "Rydberg": 13.605693122994,
    "Angstrom": 1.0,
    "bohr": 0.529177210903,
    "nm": 10.0,
    "pm": 0.01,
    "eV/Angstrom^3": 1.0,
    "GPa": 0.006241509074,
    "kbar": 0.0006241509074,
    "e": 1.0,
}
SPELLINGS = {
    "angstrom": ["Å", "A", "ang", "Ångström", "Angstroms"],
    "bohr": ["a0", "Bohr"],
    "Hartree": ["Ha", "Eh", "hartrees"],
    "Rydberg": ["Ry"],
    "kcal/mol": ["kcal mol-1", "kcal / mol", "(kcal/mol)"],
    "kJ/mol": ["kJ mol-1", "KJ/MOL"],
    "eV/Angstrom^3": ["eV/Å^3", "eV/Å³", "eV/A^3", "eV/Ang^3"],
    "eV/Angstrom": ["eV/Å", "eV/A", "eV/ang"],
}


def test_every_unit_is_as_large_as_by_hand():
    known = {**units.ENERGY_UNITS, **units.LENGTH_UNITS, **units.STRESS_UNITS, **units.CHARGE_UNITS}
    assert known == pytest.approx(BY_HAND, rel=1e-9)
    for name, value in BY_HAND.items():
        assert units.unit(name).factor == pytest.approx(value, rel=1e-9)
    assert pytest.approx(8.617333262e-5, rel=1e-9) == units.BOLTZMANN
    assert convert(2.0, "nm", "bohr") == pytest.approx(37.794522492515, rel=1e-9)
    assert convert(50.0, "kbar", "GPa") == pytest.approx(5.0)
    np.testing.assert_allclose(convert([1.0, 2.0], "Ry", "Ha"), [0.5, 1.0])


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_the_same_unit(name):
    assert {units.unit(spelling) for spelling in SPELLINGS[name]} == {units.unit(name)}


@pytest.mark.parametrize("unit", [*units.ENERGY_UNITS, *units.LENGTH_UNITS, *units.STRESS_UNITS])
def test_conversion_there_and_back_changes_nothing(unit):
    own = {"energy": "eV", "length": "Å", "stress": "eV/Å^3"}[units.unit(unit).kind]
    values = np.array([-3.0, 0.0, 2.5])
    there = convert(values, unit, own)
    np.testing.assert_allclose(convert(there, own, unit), values, rtol=1e-15)


def test_forces_convert_by_energy_over_length():
    assert convert(1.0, "Hartree/bohr", "eV/Å") == pytest.approx(51.42206747632590)
    assert convert(1.0, "kcal/mol/Angstrom", "eV/Angstrom") == units.KCAL_PER_MOL
    assert convert(1.0, "kcal/mol/Ang", "eV/A") == units.KCAL_PER_MOL


def test_spelling_does_not_matter():
    assert units.unit("KCAL/MOL") == units.unit(" kcal / mol ")
    assert units.unit("Bohr") == units.unit("a0")


@pytest.mark.parametrize("text", ["", "parsec", "eV/parsec", "kcal", "Å/eV", "eV/eV"])
def test_unknown_unit_is_named(text):
    with pytest.raises(UserError, match="is not known"):
        convert(1.0, text, "eV")


def test_energy_never_becomes_a_length():
    with pytest.raises(UserError, match="same thing"):
        convert(1.0, "eV", "Å")
