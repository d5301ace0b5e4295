"""OpenMM through its ASE bridge: energies and forces are ours, all along a run."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from waters import water_potential, waters

from so3krates_lite.engines.openmm import openmm_system
from so3krates_lite.errors import UserError
from so3krates_lite.simulate.calculator import So3kratesCalculator

pytestmark = pytest.mark.usefixtures("quick_compilation")
openmm = pytest.importorskip("openmm", reason="needs the extra [engines]")
pytest.importorskip("openmmml", reason="needs the extra [engines]")

KJ = units.kJ / units.mol


@pytest.fixture(scope="module")
def potential(quick_compilation):
    return water_potential()


@pytest.mark.parametrize("periodic", [True, False])
def test_energies_and_forces_along_a_run_are_ours(potential, periodic):
    atoms = waters() if periodic else waters()[:6]
    if periodic:
        atoms.set_cell(atoms.cell.array @ [[1, 0, 0], [0.1, 1, 0], [0, 0.1, 1]], scale_atoms=True)
    atoms.pbc = periodic
    topology, system, positions = openmm_system(atoms, potential)
    integrator = openmm.VerletIntegrator(0.25 * openmm.unit.femtosecond)
    reference = openmm.Platform.getPlatform("Reference")  # in double precision
    simulation = openmm.app.Simulation(topology, system, integrator, reference)
    simulation.context.setPositions(positions)
    simulation.context.setVelocitiesToTemperature(300, 1)
    moved = atoms.copy()
    moved.calc = So3kratesCalculator(potential)
    totals = []
    for _ in range(3):
        state = simulation.context.getState(positions=True, energy=True, forces=True)
        moved.positions = state.getPositions(asNumpy=True).value_in_unit(openmm.unit.angstrom)
        energy = state.getPotentialEnergy()._value * KJ
        forces = state.getForces(asNumpy=True)._value * KJ / 10
        assert energy == pytest.approx(moved.get_potential_energy(), abs=1e-8)
        assert np.abs(forces - moved.get_forces()).max() < 1e-8
        totals.append(energy + state.getKineticEnergy()._value * KJ)
        simulation.step(5)
    assert np.abs(moved.positions - atoms.positions).max() > 1e-3
    # velocities are given half a step late, and jump once
    assert abs(totals[2] - totals[1]) < 1e-2 * state.getKineticEnergy()._value * KJ


def test_a_cell_that_openmm_would_not_take_is_told(potential):
    turned = waters()
    turned.rotate(30, "z", rotate_cell=True)
    leaning = waters()
    leaning.cell[2, 0] = 4.0
    slab = waters()
    slab.pbc = [True, True, False]
    for atoms in (turned, leaning, slab):
        with pytest.raises(UserError, match="OpenMM takes cells that"):
            openmm_system(atoms, potential)
