"""The ASE calculator: exact with its kept neighbour list, and compiled no more than needed."""

from __future__ import annotations

import dataclasses
import logging

import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.io import write
from small import small_potential

from so3krates_lite import potential as potential_module
from so3krates_lite.config import GeomAttConfig, So3kratesConfig
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.simulate.calculator import So3kratesCalculator
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames

pytestmark = pytest.mark.usefixtures("quick_compilation")

CUTOFF = 2.5


@pytest.fixture(scope="module")
def potential(quick_compilation) -> Potential:
    """Untrained, trained on H, C and O as far as its shifts tell."""
    config = So3kratesConfig(features=12, layers=2, heads=2, cutoff=CUTOFF)
    shift = np.zeros(100)
    shift[[1, 6, 8]] = -13.6, -1030.0, -2040.0
    random = Potential.random(config, precision="float64")
    return dataclasses.replace(random, element_shift=shift, energy_scale=2.0)


@pytest.fixture(scope="module")
def calculator(potential) -> So3kratesCalculator:
    return So3kratesCalculator(potential)


@pytest.fixture
def ethanol() -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.fixture
def water() -> Atoms:
    """Small enough that every pair is within the cutoff: any list has the same three pairs."""
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.fixture
def crystal() -> Atoms:
    """Two atoms in a small skewed cell: each sees images of itself and of the other."""
    atoms = bulk("CO", "rocksalt", a=3.4)
    atoms.rattle(0.05, seed=2)
    atoms.set_cell(atoms.cell.array + 0.1 * np.arange(9).reshape(3, 3) % 0.4, scale_atoms=True)
    return atoms


def fresh(potential: Potential, atoms: Atoms, room: int) -> tuple[np.ndarray, ...]:
    """The network's energy and forces with a list made for these positions and the cutoff alone."""
    frames = Frames.from_atoms(atoms.copy())
    batch = make_batch(frames, potential.config, pairs=room, dtype=np.float64)
    return potential.predict_batch(batch, stress=frames.is_periodic)


def room_of(calculator: So3kratesCalculator) -> int:
    return calculator._batch.local.room


def compilations() -> int:
    return potential_module._energy_and_forces._cache_size()


def test_calculator_equals_predict(potential, calculator, water):
    expected = potential.predict(Frames.from_atoms(water))
    water.calc = calculator
    assert water.get_potential_energy() == pytest.approx(expected.energy[0], rel=1e-14)
    assert water.get_potential_energy(force_consistent=True) == water.get_potential_energy()
    np.testing.assert_allclose(water.get_forces(), expected.forces[0], rtol=0, atol=1e-12)


def test_calculator_equals_a_fresh_list_in_a_crystal(potential, calculator, crystal):
    crystal.calc = calculator
    forces, stress = crystal.get_forces(), crystal.get_stress(voigt=False)
    energy, expected, expected_stress = fresh(potential, crystal, room_of(calculator))
    shift = potential.shift(Frames.from_atoms(crystal))[0]
    assert crystal.get_potential_energy() == pytest.approx(energy[0] + shift, rel=1e-14)
    np.testing.assert_allclose(forces, expected[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(stress, expected_stress[0], rtol=0, atol=1e-12)


def test_skin_list_equals_a_fresh_list_along_a_trajectory(potential, calculator, ethanol):
    ethanol.calc = calculator
    ethanol.get_forces()
    lists, rng = calculator.n_lists, np.random.default_rng(0)
    for _ in range(60):
        ethanol.positions += rng.normal(0.0, 0.01, ethanol.positions.shape)
        forces = ethanol.get_forces()
        energy, expected = fresh(potential, ethanol, room_of(calculator))
        assert calculator.results["energy"] == pytest.approx(energy[0] + calculator._shift, 1e-14)
        np.testing.assert_allclose(forces, expected[0], rtol=0, atol=1e-12)
    assert 2 <= calculator.n_lists - lists <= 30  # it was made anew, but seldom


def test_skin_list_equals_a_fresh_list_where_atoms_leave_the_cell(potential, calculator, crystal):
    crystal.calc = calculator
    rng = np.random.default_rng(0)
    step = np.array([0.06, 0.04, 0.05])
    lists = calculator.n_lists
    for _ in range(40):
        crystal.positions += step + rng.normal(0.0, 0.01, crystal.positions.shape)
        forces = crystal.get_forces()
        _, expected, _ = fresh(potential, crystal, room_of(calculator))
        np.testing.assert_allclose(forces, expected[0], rtol=0, atol=1e-12)
    assert np.abs(crystal.get_scaled_positions(wrap=False)).max() > 1
    assert calculator.n_lists - lists < 40


def test_folding_atoms_back_into_the_cell_changes_nothing(calculator, crystal):
    crystal.positions += [2.0, 1.0, 3.0]
    crystal.calc = calculator
    energy, forces, lists = crystal.get_potential_energy(), crystal.get_forces(), calculator.n_lists
    crystal.wrap()
    assert crystal.get_potential_energy() == pytest.approx(energy, rel=1e-14)
    np.testing.assert_allclose(crystal.get_forces(), forces, rtol=0, atol=1e-12)
    assert calculator.n_lists == lists + 1


def test_a_list_of_all_pairs_serves_however_far_the_atoms_move(potential, calculator, water):
    calculator.get_forces(water)
    lists = calculator.n_lists
    for stretch in (1.5, 0.7, 3.0):
        stretched = water.copy()
        stretched.positions *= stretch
        expected = fresh(potential, stretched, room=3)[1][0]
        np.testing.assert_allclose(calculator.get_forces(stretched), expected, rtol=0, atol=1e-12)
    assert calculator.n_lists == lists


def test_pairs_beyond_the_cutoff_contribute_exactly_zero(potential, ethanol):
    frames = Frames.from_atoms(ethanol)
    wide = make_batch(frames, potential.config, skin=1.0, pairs=36, dtype=np.float64)
    ends = [frames.positions[0][index[0]] for index in (wide.local.first, wide.local.second)]
    within = np.linalg.norm(ends[0] - ends[1], axis=-1)[None] < CUTOFF
    masked = wide.replace(local=wide.local.replace(mask=wide.local.mask & within))
    assert masked.local.mask.sum() < wide.local.mask.sum()
    for with_them, without in zip(
        potential.predict_batch(wide), potential.predict_batch(masked), strict=True
    ):
        assert np.array_equal(with_them, without)


def test_compiles_anew_only_when_the_room_for_pairs_runs_out(potential, ethanol, caplog):
    calculator = So3kratesCalculator(potential)
    usual, dense = ethanol.positions.copy(), 0.5 * ethanol.positions
    ethanol.calc = calculator
    with caplog.at_level(logging.INFO, logger="so3krates_lite.simulate.calculator"):
        ethanol.get_forces()
        small, before = room_of(calculator), compilations()
        ethanol.positions = usual + 0.2
        ethanol.get_forces()
        assert (compilations(), caplog.messages) == (before, [])
        ethanol.positions = dense
        ethanol.get_forces()
        large, after = room_of(calculator), compilations()
        for positions in (usual, dense, usual):
            ethanol.positions = positions
            ethanol.get_forces()
    assert small < large == 36  # never more room than a molecule has pairs
    assert before <= after <= before + 1  # another test may have met this shape
    assert compilations() == after
    assert len(caplog.messages) == 1
    assert "compiles anew" in caplog.messages[0] and "36" in caplog.messages[0]


def test_one_calculator_serves_structures_of_different_size(potential, calculator, ethanol, water):
    expected = {len(a): So3kratesCalculator(potential).get_forces(a) for a in (ethanol, water)}
    before = compilations()
    for atoms in (ethanol, water, ethanol, water):
        np.testing.assert_allclose(
            calculator.get_forces(atoms), expected[len(atoms)], rtol=0, atol=1e-12
        )
    assert compilations() == before


def test_another_element_at_the_same_place_is_noticed(potential, calculator, ethanol):
    calculator.get_potential_energy(ethanol)
    ethanol.numbers[0] = 8
    expected = So3kratesCalculator(potential).get_potential_energy(ethanol)
    assert calculator.get_potential_energy(ethanol) == pytest.approx(expected, rel=1e-14)


def test_forces_are_the_derivative_of_the_energy(calculator, ethanol):
    ethanol.calc = calculator
    numerical = calculate_numerical_forces(ethanol, eps=1e-4)
    np.testing.assert_allclose(ethanol.get_forces(), numerical, rtol=0, atol=1e-6)


def test_stress_is_the_derivative_by_strain_over_volume_in_ase_order(calculator, crystal):
    crystal.calc = calculator
    numerical = calculate_numerical_stress(crystal, eps=1e-5)
    stress = crystal.get_stress()
    np.testing.assert_allclose(stress, numerical, rtol=0, atol=1e-6)
    assert len(np.unique(np.round(np.abs(stress), 5))) == 6  # no two could be mistaken


def test_a_molecule_has_no_stress(calculator, ethanol):
    ethanol.calc = calculator
    with pytest.raises(PropertyNotImplementedError, match="periodic"):
        ethanol.get_stress()
    assert np.isfinite(ethanol.get_potential_energy())


def check_energies_of_atoms(calculator: So3kratesCalculator, atoms: Atoms) -> np.ndarray:
    """They sum to the total, and go with the atoms into another order."""
    energies = calculator.get_potential_energies(atoms)
    assert energies.shape == (len(atoms),)
    assert energies.sum() == pytest.approx(calculator.get_potential_energy(atoms), rel=1e-14)
    order = np.random.default_rng(0).permutation(len(atoms))
    reordered = calculator.get_potential_energies(atoms[order])
    np.testing.assert_allclose(reordered, energies[order], rtol=1e-12)
    return energies


def test_energies_of_atoms_are_shares_of_the_total(potential, calculator, ethanol, crystal):
    for atoms in (ethanol, crystal):
        energies = check_energies_of_atoms(calculator, atoms)
        own = energies - potential.element_shift[atoms.numbers]
        assert np.abs(own).max() < 13  # the element's energy is that of the atom's own element
        assert np.ptp(own) > 1e-3


def test_an_atom_s_energy_knows_nothing_of_atoms_far_away(calculator, ethanol, water):
    alone = [calculator.get_potential_energies(atoms) for atoms in (ethanol, water)]
    away = water.copy()
    away.positions += 30.0
    both = calculator.get_potential_energies(ethanol + away)
    np.testing.assert_allclose(both, np.concatenate(alone), rtol=1e-12)


def test_energies_of_atoms_are_those_of_geomatt_too(water):
    config = GeomAttConfig(features=6, inner=8, layers=2, grid_end=2.0, grid_spacing=0.1)
    shift = np.linspace(-1.0, -2.0, 100)
    potential = dataclasses.replace(small_potential(config), element_shift=shift)
    check_energies_of_atoms(So3kratesCalculator(potential), water)


def test_energies_of_atoms_are_computed_when_asked_for_only(calculator, water):
    water.calc = calculator
    water.get_forces()
    assert "energies" not in calculator.results  # which ASE would write into every file


def test_float32_keeps_the_digits_of_the_element_energies(potential, calculator, water):
    single = So3kratesCalculator(potential, precision="float32")
    for _ in range(2):
        # one step of float32 at the total energy of -2070 eV is 2.4e-4
        energy = calculator.get_potential_energy(water)
        assert single.get_potential_energy(water) == pytest.approx(energy, abs=2e-5)
        forces = calculator.get_forces(water)
        np.testing.assert_allclose(single.get_forces(water), forces, rtol=0, atol=1e-4)
        water.rattle(0.01, seed=3)
    assert single.results["forces"].dtype == np.float64
    assert jnp.ones(1).dtype == np.float32  # float64 inside a calculator stays inside


@pytest.mark.parametrize("distance", [100.0, 1e4, 1e6])
def test_float32_forces_are_right_far_from_the_origin_while_the_list_is_kept(
    potential, calculator, ethanol, distance
):
    """Against float64 of the same structure at the origin, in a trajectory that drifts."""
    single = So3kratesCalculator(potential, precision="float32")
    rng, drift = np.random.default_rng(0), np.zeros(3)
    for _ in range(6):
        ethanol.positions += rng.normal(0.0, 0.005, ethanol.positions.shape)
        drift += 0.01
        exact = calculator.get_forces(ethanol)
        usual = np.abs(
            So3kratesCalculator(potential, precision="float32").get_forces(ethanol) - exact
        )
        far = ethanol.copy()
        far.positions += distance + drift
        assert np.abs(single.get_forces(far) - exact).max() < usual.max() + 5e-6
    assert single.n_lists < 6


def test_float32_forces_are_right_where_a_molecule_with_all_pairs_flies_off(
    potential, calculator, water
):
    single = So3kratesCalculator(potential, precision="float32")
    for _ in range(4):
        exact = calculator.get_forces(water)
        flying = water.copy()
        flying.positions += 1e3 * (single.n_lists + 1) + 0.2
        assert np.abs(single.get_forces(flying) - exact).max() < 5e-6
    assert single.n_lists == 4


def test_float32_forces_are_right_in_an_unwrapped_trajectory(potential, calculator, crystal):
    single = So3kratesCalculator(potential, precision="float32")
    rng = np.random.default_rng(0)
    steps = rng.integers(-3000, 3000, (len(crystal), 3)) @ crystal.cell.array
    for _ in range(6):
        crystal.positions += rng.normal(0.0, 0.005, crystal.positions.shape)
        exact = calculator.get_forces(crystal)
        usual = np.abs(
            So3kratesCalculator(potential, precision="float32").get_forces(crystal) - exact
        )
        away = crystal.copy()
        away.positions += steps
        assert np.abs(single.get_forces(away) - exact).max() < usual.max() + 5e-6
    assert single.n_lists < 6


@pytest.mark.parametrize("third", [(0, 0, 0), (3.4, 0, 0), (0, 0, 1e-9), (0, 0, 40)])
def test_a_slab_with_a_far_atom_has_an_energy_whatever_its_third_vector(
    potential, calculator, third
):
    slab = Atoms("CO", [[0, 0, 0], [1.5, 0.2, 0.3]], cell=[[3.4, 0, 0], [0, 3.3, 0], third])
    slab.pbc = True, True, False
    expected = calculator.get_potential_energy(slab)
    lone = Atoms("H", cell=slab.cell, pbc=slab.pbc)
    expected += calculator.get_potential_energy(lone)
    slab.append("H")
    for far in (1e3, 1e5):
        slab.positions[-1] = [0, 0, far]
        assert calculator.get_potential_energy(slab) == pytest.approx(expected, rel=1e-12)


def test_a_lone_atom_has_no_forces(calculator, potential):
    atom = Atoms("O", positions=[[1.0, 2.0, 3.0]])
    atom.calc = calculator
    assert np.array_equal(atom.get_forces(), np.zeros((1, 3)))


def test_calculator_reads_a_saved_potential(potential, calculator, ethanol, tmp_path):
    potential.save(tmp_path / "small.safetensors")
    loaded = So3kratesCalculator(tmp_path / "small.safetensors")
    assert loaded.get_potential_energy(ethanol) == calculator.get_potential_energy(ethanol)


def test_results_can_be_written_by_ase(calculator, ethanol, tmp_path):
    from ase.io import read

    ethanol.calc = calculator
    forces = ethanol.get_forces()
    write(tmp_path / "ethanol.traj", ethanol)
    assert np.array_equal(read(tmp_path / "ethanol.traj").get_forces(), forces)


def test_unknown_element_is_refused_by_name(potential, ethanol):
    ethanol.numbers[0] = 14
    with pytest.raises(UserError, match=r"holds Si, .* trained on H, C, O only"):
        So3kratesCalculator(potential).get_potential_energy(ethanol)
    permissive = So3kratesCalculator(potential, allow_unknown_elements=True)
    assert np.isfinite(permissive.get_potential_energy(ethanol))
    silent = dataclasses.replace(potential, element_shift=np.zeros(100))
    assert np.isfinite(So3kratesCalculator(silent).get_potential_energy(ethanol))


def test_a_lost_position_is_named_and_the_calculator_goes_on(calculator, ethanol, water):
    for atoms in (ethanol, water):
        energy = calculator.get_potential_energy(atoms)
        broken = atoms.copy()
        broken.positions[2, 1] = np.nan
        with pytest.raises(UserError, match=r"position of atom 2 .* shorter time step"):
            calculator.get_potential_energy(broken)
        assert calculator.get_potential_energy(atoms) == energy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"skin": -0.1}, "skin"),
        ({"skin": np.nan}, "skin"),
        ({"precision": "float16"}, "float32 or float64"),
    ],
)
def test_impossible_arguments_are_refused(potential, arguments, message):
    with pytest.raises(UserError, match=message):
        So3kratesCalculator(potential, **arguments)


def test_a_missing_model_is_refused_by_name():
    with pytest.raises(UserError, match="no-such-model"):
        So3kratesCalculator("no-such-model")


def test_no_atoms_are_refused(calculator):
    with pytest.raises(UserError, match="no atoms"):
        calculator.get_potential_energy(Atoms())
