"""An ensemble predicts the mean of its members and how far they lie apart, as one potential."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as named
from small import PHYSICS, deviation, molecule, random_parameters, small_config, stack

from so3krates_lite.ensemble import Ensemble, atomic_deviation, load_potential
from so3krates_lite.errors import UserError
from so3krates_lite.interpret.switching import switch_off
from so3krates_lite.potential import Potential
from so3krates_lite.simulate.calculator import So3kratesCalculator
from so3krates_lite.simulate.dynamics import run_nve
from so3krates_lite.simulate.polynomial_filters import fit_filters
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = small_config(sphc_start="smooth")
OTHER = small_config(degrees=(1,))
SHIFT = np.arange(100.0)
MEMBERS = [
    Potential(CONFIG, random_parameters(CONFIG, seed), SHIFT, 0.5, {"data": "none"})
    for seed in range(3)
]
ENSEMBLE = Ensemble.of(MEMBERS)
FRAMES = stack(molecule(5, 0), molecule(7, 1), molecule(5, 2))


def test_prediction_is_the_mean_and_the_sample_deviation_of_members():
    found, alone = ENSEMBLE.predict(FRAMES), [one.predict(FRAMES) for one in MEMBERS]
    for name in ("energy", "forces"):
        values = np.array([getattr(one, name) for one in alone])
        mean = values.sum(axis=0) / 3
        std = np.sqrt(((values - mean) ** 2).sum(axis=0) / 2)
        assert deviation(getattr(found, name), mean) < 1e-12
        assert deviation(getattr(found, f"{name}_std"), std) < 1e-10
    assert (found.forces_std[0, 5:] == 0).all()  # padding
    assert alone[0].energy_std is None and alone[0].forces_std is None


def test_atomic_energies_and_physical_terms_are_means():
    batch = make_batch(FRAMES, CONFIG, dtype=np.dtype(float))
    mean = np.mean([one.atomic_energies(batch) for one in MEMBERS], axis=0)
    assert deviation(ENSEMBLE.atomic_energies(batch), mean) < 1e-12
    config = small_config(variant="so3lr", **PHYSICS)
    members = [Potential(config, random_parameters(config, seed)) for seed in range(2)]
    water = Frames.from_atoms(named("H2O")).replace(
        total_charge=np.zeros(1), spin_multiplicity=np.ones(1, int)
    )
    found, alone = Ensemble.of(members).properties(water), [m.properties(water) for m in members]
    assert deviation(found.charges, np.mean([a.charges for a in alone], axis=0)) < 1e-12
    assert deviation(found.dipole, np.mean([a.dipole for a in alone], axis=0)) < 1e-10


def test_one_file_holds_all_and_is_told_from_that_of_one_network(tmp_path):
    path = tmp_path / "several.safetensors"
    ENSEMBLE.save(path)
    MEMBERS[0].save(tmp_path / "one.safetensors")
    again = load_potential(path)
    assert isinstance(again, Ensemble) and len(again) == 3
    assert again.config == CONFIG and again.card == {"data": "none"}
    assert again.n_parameters == 3 * MEMBERS[0].n_parameters
    a, b = ENSEMBLE.predict(FRAMES), again.predict(FRAMES)
    assert np.array_equal(a.energy, b.energy) and np.array_equal(a.forces_std, b.forces_std)
    assert type(load_potential(tmp_path / "one.safetensors")) is Potential
    with pytest.raises(UserError, match=r"holds so3krates-lite ensemble, but a .* potential is"):
        Potential.load(path)


def test_members_are_the_potentials_that_went_in():
    for k, one in enumerate(MEMBERS):
        found = ENSEMBLE.member(k)
        assert type(found) is Potential and found.energy_scale == 0.5
        assert np.array_equal(found.predict(FRAMES).forces, one.predict(FRAMES).forces)
    with pytest.raises(UserError, match=r"member = 3 is not possible: expected 0 to 2"):
        ENSEMBLE.member(3)


@pytest.mark.parametrize(
    "other, what",
    [
        (Potential(OTHER, random_parameters(OTHER), SHIFT, 0.5), "configuration"),
        (Potential(CONFIG, MEMBERS[0].params, SHIFT + 1, 0.5), "energy zero"),
        (Potential(CONFIG, MEMBERS[0].params, SHIFT, 0.25), "energy scale"),
        (MEMBERS[0].astype("float32"), "precision"),
    ],
)
def test_networks_that_were_not_trained_alike_are_refused(other, what):
    with pytest.raises(UserError, match=f"Members 0 and 1 differ in their {what}"):
        Ensemble.of([MEMBERS[0], other])


def test_calculator_gives_means_and_deviations_and_moves_atoms():
    atoms = Atoms(FRAMES.numbers[1], FRAMES.positions[1])
    atoms.calc = So3kratesCalculator(ENSEMBLE)
    expected = ENSEMBLE.predict(FRAMES)
    assert atoms.get_potential_energy() == pytest.approx(expected.energy[1], rel=1e-12)
    assert deviation(atoms.get_forces(), expected.forces[1]) < 1e-9
    assert deviation(atoms.calc.get_property("forces_std", atoms), expected.forces_std[1]) < 1e-8
    std = atoms.calc.get_property("energy_std", atoms)
    assert isinstance(std, float) and std == pytest.approx(expected.energy_std[1], rel=1e-9)
    one = So3kratesCalculator(MEMBERS[0])
    assert "energy_std" not in one.implemented_properties
    moved = run_nve(atoms, ENSEMBLE, steps=20, time_step_fs=0.05, temperature_K=10.0, every=1)
    # the mean force is the derivative of the mean energy
    assert moved.largest_deviation < 0.02 * np.ptp(moved.kinetic_energy) * 1e3


def test_attention_is_that_of_a_member_beside_the_deviation_of_all():
    record = ENSEMBLE.attention(FRAMES, member=2)
    alone = MEMBERS[2].attention(FRAMES)
    assert np.array_equal(record.feature.coefficient, alone.feature.coefficient)
    expected = np.sqrt((ENSEMBLE.predict(FRAMES).forces_std ** 2).sum(axis=-1))
    assert deviation(record.forces_std, expected) < 1e-12
    assert alone.forces_std is None
    assert deviation(record.frames(1).forces_std[0], expected[1]) < 1e-12


def test_deviation_of_an_atom_does_not_turn_with_the_molecule():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = FRAMES.replace(positions=FRAMES.positions @ turn)
    a, b = (atomic_deviation(ENSEMBLE.predict(f).forces_std) for f in (FRAMES, turned))
    assert deviation(b, a) < 1e-9


def test_what_looks_into_one_network_asks_for_a_member():
    with pytest.raises(UserError, match=r"take one of them, such as ensemble\.member\(0\)"):
        switch_off(ENSEMBLE, FRAMES[0])
    with pytest.raises(UserError, match="fit_filters takes one network"):
        fit_filters(ENSEMBLE)


def test_second_derivatives_are_those_of_the_mean_energy():
    each = [ENSEMBLE.member(k).hessian(FRAMES[0]) for k in range(len(ENSEMBLE))]
    found = ENSEMBLE.hessian(FRAMES[0])
    assert np.abs(found - np.mean(each, axis=0)).max() < 1e-5 * np.abs(found).max()


def test_random_members_are_those_of_their_seeds():
    found = Ensemble.random(CONFIG, seed=4, members=2)
    for k in range(2):
        one = Potential.random(CONFIG, seed=4 + k)
        assert np.array_equal(found.member(k).predict(FRAMES).energy, one.predict(FRAMES).energy)


def test_a_path_that_holds_nothing_is_told(tmp_path: Path):
    with pytest.raises(UserError, match="There is no file"):
        load_potential(tmp_path / "nothing.safetensors")
