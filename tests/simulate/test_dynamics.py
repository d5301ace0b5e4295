"""Relaxation goes downhill; dynamics conserves energy and starts at rest as a whole."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.simulate.calculator import So3kratesCalculator
from so3krates_lite.simulate.dynamics import Dynamics, relax, run_nve
from so3krates_lite.structures.frames import Frames


@pytest.fixture(scope="module")
def potential() -> Potential:
    config = So3kratesConfig(features=12, layers=2, heads=2, cutoff=2.5)
    return Potential.random(config, precision="float64")


@pytest.fixture(scope="module")
def calculator(potential) -> So3kratesCalculator:
    return So3kratesCalculator(potential)


def with_energies(total: np.ndarray, time: np.ndarray) -> Dynamics:
    """Dynamics of two atoms with given total energies per atom (eV)."""
    n = len(total)
    numbers, positions = np.ones((n, 2), int), np.zeros((n, 2, 3))
    frames = Frames(numbers=numbers, positions=positions, energy=2 * total - 1.0)
    return Dynamics(molecule("H2"), frames, time, np.ones(n), np.zeros(n), np.zeros((n, 2, 3)))


def test_energy_is_conserved_to_second_order_in_the_time_step(calculator):
    def strays(time_step_fs: float) -> float:
        run = run_nve(
            molecule("CH3CH2OH"),
            calculator,
            steps=round(25 / time_step_fs),
            time_step_fs=time_step_fs,
            every=1,
        )
        assert np.ptp(run.frames.energy) / 9 * 1e3 > 50 * run.largest_deviation
        return run.largest_deviation

    assert strays(0.25) / strays(0.125) == pytest.approx(4, rel=0.2)


def test_dynamics_accepts_a_potential_and_leaves_its_start_alone(potential):
    atoms = molecule("CH3CH2OH")
    run = run_nve(atoms, potential, steps=20, every=10)
    assert atoms.calc is None and not atoms.has("momenta")
    assert np.array_equal(atoms.positions, run.frames.positions[0])
    assert not np.array_equal(atoms.positions, run.atoms.positions)
    assert np.array_equal(run.atoms.positions, run.frames.positions[-1])
    assert np.array_equal(run.time, [0.0, 5.0, 10.0])


def test_velocities_have_no_motion_of_the_whole_and_the_wanted_temperature():
    runs = [run_nve(molecule("CH3CH2OH"), EMT(), steps=1, every=1, seed=k) for k in range(200)]
    for run in runs[:5]:
        np.testing.assert_allclose(run.atoms.get_momenta().sum(axis=0), 0, atol=1e-10)
    temperature = np.mean([run.temperature[0] for run in runs])
    # standard error of the mean: 300 K sqrt(2/21/200) = 6.5 K
    assert temperature == pytest.approx(300, abs=25)


def test_a_molecule_starts_without_rotation(calculator):
    run = run_nve(molecule("CH3CH2OH"), calculator, steps=5, time_step_fs=0.1)
    np.testing.assert_allclose(run.atoms.get_angular_momentum(), 0, atol=1e-4)


@pytest.mark.parametrize(("name", "freedom"), [("O", 0), ("H2", 1), ("CO2", 4), ("H2O", 3)])
def test_lone_atoms_and_linear_molecules_have_their_degrees_of_freedom(name, freedom):
    run = run_nve(molecule(name), EMT(), steps=2, every=1)
    expected = 2 * run.kinetic_energy / (8.617333e-5 * freedom) if freedom else np.zeros(3)
    np.testing.assert_allclose(run.temperature, expected, rtol=1e-6, atol=1e-20)


def test_same_seed_same_dynamics_another_seed_another(calculator):
    def end(seed: int) -> np.ndarray:
        atoms = molecule("CH3CH2OH")
        run = run_nve(atoms, calculator, steps=5, thermalise_steps=5, seed=seed)
        return run.atoms.positions

    assert np.array_equal(end(0), end(0))
    assert not np.allclose(end(0), end(1), atol=1e-4)


def test_given_velocities_are_kept_and_a_run_can_be_continued():
    crystal = bulk("Cu", cubic=True)
    whole = run_nve(crystal, EMT(), steps=20, every=10, time_step_fs=2.0)
    half = run_nve(crystal, EMT(), steps=10, every=10, time_step_fs=2.0)
    rest = run_nve(half.atoms, EMT(), steps=10, every=10, time_step_fs=2.0, temperature_K=None)
    assert whole.frames.is_periodic
    np.testing.assert_allclose(rest.atoms.positions, whole.atoms.positions, rtol=0, atol=1e-12)
    np.testing.assert_allclose(rest.kinetic_energy[-1], whole.kinetic_energy[-1], rtol=1e-10)


def test_thermalising_brings_a_cold_crystal_to_temperature():
    crystal = bulk("Cu", cubic=True) * (2, 1, 1)
    run = run_nve(crystal, EMT(), steps=200, thermalise_steps=300, time_step_fs=4.0)
    assert 100 < run.temperature.mean() < 600
    assert run.atoms.get_kinetic_energy() == pytest.approx(run.kinetic_energy[-1])
    assert run.largest_deviation < 1.0


def test_drift_is_the_rise_of_the_fitted_line_in_meV_per_atom():
    time = np.linspace(0.0, 100.0, 201)
    noise = 1e-3 * np.tile([1.0, -1.0], 101)[:201]
    run = with_energies(-0.3 + 0.002 * time / 100 + noise, time)
    assert run.drift == pytest.approx(2.0, abs=0.05)
    assert run.largest_deviation == pytest.approx(2.0, abs=0.05)
    assert with_energies(np.array([-0.3]), np.array([0.0])).drift == 0.0


def test_relaxation_lowers_the_energy_and_leaves_its_start_alone(potential, calculator):
    atoms = molecule("CH3CH2OH")
    start = atoms.get_positions()
    for given in (potential, calculator):
        path = relax(atoms, given, steps=10)
        assert path.frames.energy[-1] < path.frames.energy[0]
        assert np.array_equal(atoms.positions, start) and atoms.calc is None
        assert np.array_equal(path.frames.positions[0], start)
        assert np.array_equal(path.frames.positions[-1], path.atoms.positions)
        assert path.converged == (path.largest_force[-1] <= 0.01)


@pytest.mark.parametrize("optimiser", ["BFGS", "FIRE"])
def test_relaxation_ends_where_no_force_is_larger_than_fmax(optimiser):
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.1, seed=0)
    path = relax(crystal, EMT(), fmax=0.02, optimiser=optimiser)
    assert path.converged
    assert path.largest_force[-1] <= 0.02 < path.largest_force[-2]


GPA = 1 / 160.21766208  # eV/Å³


@pytest.mark.parametrize("optimiser", ["BFGS", "FIRE"])
def test_the_cell_of_a_crystal_can_be_relaxed(optimiser):
    """Copper in EMT has its minimum at a = 3.59 Å, found by a row of cells."""
    lengths = np.linspace(3.5, 3.7, 41)
    energies = []
    for a in lengths:
        crystal = bulk("Cu", a=a)
        crystal.calc = EMT()
        energies.append(crystal.get_potential_energy())
    best = lengths[int(np.argmin(energies))]

    crystal = bulk("Cu", a=3.75, cubic=True)
    crystal.cell[0] *= 1.03
    crystal.rattle(0.05, seed=0)
    start = crystal.copy()
    path = relax(crystal, EMT(), cell=True, optimiser=optimiser)
    assert path.converged
    assert np.array_equal(crystal.cell, start.cell)
    np.testing.assert_array_equal(path.frames.cell[0], start.cell)
    np.testing.assert_array_equal(path.frames.cell[-1], path.atoms.cell)
    np.testing.assert_allclose(path.atoms.cell.lengths(), best, atol=0.006)
    np.testing.assert_allclose(path.atoms.cell.angles(), 90, atol=0.2)
    assert path.largest_force[-1] < 0.01
    assert np.abs(path.frames.stress[-1]).max() < 5e-4 < np.abs(path.frames.stress[0]).max()
    fixed = relax(start, EMT())
    np.testing.assert_array_equal(fixed.atoms.cell, start.cell)
    assert path.frames.energy[-1] < fixed.frames.energy[-1]


def test_a_cell_moves_on_until_its_stress_is_small_enough():
    """Forces on a fcc site are zero whatever the cell: only the stress can say when to stop."""
    crystal = bulk("Cu", a=3.7)
    coarse, fine = (relax(crystal, EMT(), cell=True, smax=smax) for smax in (5e-3, 1e-6))
    for path, smax in ((coarse, 5e-3), (fine, 1e-6)):
        stress = np.abs(path.frames.stress).max(axis=(1, 2))
        assert path.converged and stress[-1] < smax <= stress[:-1].min()
    assert len(fine.frames) > len(coarse.frames)
    early = relax(crystal, EMT(), cell=True, smax=1e-6, steps=1)
    assert not early.converged and len(early.frames) == 2


def test_a_cell_under_pressure_ends_where_stress_balances_it():
    pressure = 10 * GPA
    path = relax(bulk("Cu", a=3.6), EMT(), cell=True, pressure=pressure, smax=1e-5)
    np.testing.assert_allclose(path.frames.stress[-1], -pressure * np.eye(3), atol=1e-5)
    assert path.atoms.get_volume() < relax(bulk("Cu"), EMT(), cell=True).atoms.get_volume()


def test_the_cell_relaxes_in_a_potential_of_ours(calculator):
    crystal = bulk("CO", "rocksalt", a=3.4)
    crystal.rattle(0.05, seed=0)
    path = relax(crystal, calculator, cell=True, steps=3, smax=1e-9)
    assert path.frames.energy[-1] < path.frames.energy[0]
    assert path.frames.stress.shape == (4, 3, 3)
    assert not np.array_equal(path.atoms.cell, crystal.cell)


@pytest.mark.parametrize(
    ("atoms", "arguments", "message"),
    [
        (molecule("H2O"), {"cell": True}, r"cell=True .* is a molecule \(pbc"),
        (molecule("H2O", vacuum=3.0), {"cell": True}, "is a molecule"),
        (fcc111("Cu", (1, 1, 3), vacuum=5.0), {"cell": True}, "slab"),
        (bulk("Cu"), {"pressure": 0.1}, "cell=True"),
        (bulk("Cu"), {"cell": True, "pressure": np.nan}, "pressure"),
        (bulk("Cu"), {"cell": True, "smax": 0.0}, "smax"),
    ],
)
def test_what_has_no_cell_to_move_is_refused(atoms, arguments, message):
    with pytest.raises(UserError, match=message):
        relax(atoms, EMT(), **arguments)


def test_a_calculator_without_stress_moves_no_cell():
    blind = SinglePointCalculator(bulk("Cu"), energy=0.0)
    blind.implemented_properties = ["energy", "forces"]
    with pytest.raises(UserError, match="SinglePointCalculator has none"):
        relax(bulk("Cu"), blind, cell=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps = 0"),
        ({"steps": 5, "every": 0}, "every = 0"),
        ({"steps": 5, "time_step_fs": -0.5}, "time_step_fs"),
        ({"steps": 5, "temperature_K": None, "thermalise_steps": 5}, "needs a temperature"),
        ({"steps": 5, "temperature_K": -1.0}, "temperature_K"),
    ],
)
def test_impossible_dynamics_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        run_nve(molecule("H2O"), EMT(), **arguments)


def test_constrained_atoms_are_refused_in_dynamics():
    water = molecule("H2O")
    water.set_constraint(FixAtoms([0]))
    with pytest.raises(UserError, match="constraints"):
        run_nve(water, EMT(), steps=5)


def test_impossible_relaxation_is_refused():
    with pytest.raises(UserError, match="BFGS or FIRE"):
        relax(molecule("H2O"), EMT(), optimiser="Newton")
    with pytest.raises(UserError, match="fmax"):
        relax(molecule("H2O"), EMT(), fmax=0.0)


def test_a_run_that_explodes_names_the_atom_and_what_to_do(calculator):
    water = molecule("H2O")
    water.set_momenta(np.full((3, 3), 1e308) * units.fs)
    with pytest.raises(UserError, match="shorter time step"), np.errstate(all="ignore"):
        run_nve(water, calculator, steps=50, temperature_K=None, time_step_fs=1e6)
