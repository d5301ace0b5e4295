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
