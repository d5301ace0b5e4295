"""Dynamics on the device is the dynamics of ASE, whatever the cell, the replicas and the lists."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms, units
from ase.constraints import FixAtoms
from jax_md import simulate
from small import PHYSICS, random_parameters, small_config, small_potential

from so3krates_lite.ensemble import Ensemble
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.runtime.settings import precision_context
from so3krates_lite.simulate import molecular_dynamics
from so3krates_lite.simulate.blocks import Run
from so3krates_lite.simulate.dynamics import run_nve
from so3krates_lite.simulate.integrators import Records
from so3krates_lite.simulate.molecular_dynamics import FLOAT64, run_md
from so3krates_lite.structures.frames import Frames
from so3krates_lite.units import BOLTZMANN

pytestmark = pytest.mark.usefixtures("quick_compilation")

MANY = 8  # replicas, of one shape in all tests
RNG = np.random.default_rng(7)
MOLECULE = Atoms("CHHO", [[0, 0, 0], [0.9, 0.6, 0], [-0.9, 0.6, 0.1], [0.1, -1.2, 0.2]])
# every vector shorter than the cutoff of 3 Å, and skew
CRYSTAL = Atoms(
    "CO",
    cell=1.785 * (np.ones((3, 3)) - np.eye(3)) @ (np.eye(3) + RNG.normal(size=(3, 3)) * 0.03),
    scaled_positions=[[0, 0, 0], [0.25, 0.26, 0.24]],
    pbc=True,
)


@pytest.fixture(scope="module")
def potential() -> Potential:
    """Forces of a few eV/Å, as molecules have them."""
    config = small_config(degrees=(1,), variant="smooth", layers=1)
    return dataclasses.replace(small_potential(config), energy_scale=0.3)


OTHER = random_parameters(small_config(degrees=(1,), variant="smooth", layers=1), seed=9)


@pytest.fixture
def runs_of_md(monkeypatch) -> list[Run]:
    """The runs that a test makes, to look inside."""
    runs = []
    monkeypatch.setattr(
        molecular_dynamics, "Run", lambda *given: runs.append(Run(*given)) or runs[-1]
    )
    return runs


def moving(atoms: Atoms, temperature_K: float = 600.0) -> Atoms:
    """The same with velocities."""
    atoms = atoms.copy()
    width = np.sqrt(atoms.get_masses()[:, None] * BOLTZMANN * temperature_K)
    atoms.set_momenta(width * np.random.default_rng(3).normal(size=(len(atoms), 3)))
    return atoms


@pytest.mark.parametrize("start", [MOLECULE, CRYSTAL], ids=["molecule", "crystal"])
def test_constant_energy_is_that_of_ase(potential, start, runs_of_md):
    # jax-md has its time step in float32
    time_step_fs = float(np.float32(0.5 * units.fs)) / units.fs
    settings = {"steps": 60, "temperature_K": None, "every": 20, "time_step_fs": time_step_fs}
    atoms = moving(start, 2000.0)
    (run,) = run_md(atoms, potential, skin=0.05, **settings)
    reference = run_nve(atoms, potential, **settings)
    assert runs_of_md[0].n_lists > 6  # one for each block, and more
    assert np.abs(run.frames.positions - reference.frames.positions).max() < 1e-10
    assert np.ptp(reference.frames.positions, axis=0).max() > 0.1
    for name in ("velocities", "kinetic_energy", "temperature", "time"):
        assert np.allclose(getattr(run, name), getattr(reference, name), rtol=1e-9, atol=1e-12)
    assert np.allclose(run.frames.energy, reference.frames.energy, rtol=0, atol=1e-9)
    assert np.allclose(run.atoms.get_velocities(), reference.atoms.get_velocities(), atol=1e-10)


def test_in_a_cell_that_breathes_lists_come_when_they_must(potential, runs_of_md):
    settings = {"ensemble": "npt", "steps": 60, "relaxation_fs": 5.0, "pressure": 0.05}
    settings["temperature_K"] = 2000.0
    seldom, often = (
        run_md(moving(CRYSTAL), potential, skin=skin, **settings)[0] for skin in (1.5, 0.02)
    )
    few, many = (run.n_lists for run in runs_of_md)
    assert many > few + 5
    assert np.abs(seldom.frames.positions - often.frames.positions).max() < 1e-9
    assert np.allclose(seldom.frames.cell, often.frames.cell, rtol=1e-10)
    volumes = np.linalg.det(seldom.frames.cell)
    assert np.ptp(volumes) > 0.01 * volumes[0]
    for run in (seldom, often):
        assert np.abs(potential.predict(run.frames).energy - run.frames.energy).max() < 1e-9


@pytest.mark.parametrize("thermostat", ["langevin", "nose-hoover"])
def test_a_replica_moves_as_if_it_were_alone(potential, thermostat):
    settings = {"ensemble": "nvt", "steps": 40, "thermostat": thermostat, "seed": 5}
    many = run_md(MOLECULE, potential, replicas=MANY, **settings)
    (alone,) = run_md(MOLECULE, potential, **settings)
    assert np.abs(many[0].frames.positions - alone.frames.positions).max() < 1e-11
    assert np.abs(many[1].frames.positions - alone.frames.positions).max() > 1e-3


def test_npt_keeps_its_invariant_to_second_order_in_the_time_step(potential):
    """Martyna, Tobias & Klein (1994): energy, work of the pressure, thermostat and barostat."""
    pressure, temperature = 0.02, 300.0
    big = moving(CRYSTAL, temperature)

    def energy(position, box, **_):
        frame = Frames.from_atoms([big]).replace(
            positions=np.asarray(position)[None], cell=np.asarray(box)[None]
        )
        return jnp.asarray(potential.predict(frame).energy[0])

    def strays(time_step_fs: float) -> float:
        found = []
        plan = molecular_dynamics.Plan("npt", 1, 10, 0.5, time_step_fs)
        settings = molecular_dynamics.md_settings(
            potential, temperature, pressure, time_step_fs, 0.01, 30.0
        )
        run = Run([big], potential, plan, settings, None, 0)
        with precision_context(FLOAT64):
            run.start()
            for _ in range(5):
                run.go_on(round(2 / time_step_fs))
                state, kT = jax.tree.map(lambda leaf: leaf[0], run.state), BOLTZMANN * temperature
                invariant = simulate.npt_nose_hoover_invariant(energy, state, pressure, kT)
                # jax-md counts three motions for every atom; three are those of the whole
                found.append(invariant - 3 * kT * state.thermostat.position[0])
        assert np.ptp(run.records().energy) > 100 * np.ptp(found)
        return float(np.ptp(found))

    assert strays(0.2) / strays(0.1) == pytest.approx(4, rel=0.35)


@pytest.mark.parametrize("thermostat", ["langevin", "nose-hoover"])
def test_a_thermostat_holds_its_temperature(potential, thermostat):
    """Of the motions that are free: with three for every atom, 4 atoms would be at 600 K."""
    settings = {"ensemble": "nvt", "temperature_K": 300.0, "thermostat": thermostat}
    runs = run_md(
        MOLECULE,
        potential,
        steps=5000,
        replicas=MANY,
        friction_per_fs=0.05,
        relaxation_fs=20.0,
        **settings,
    )
    later = np.concatenate([run.temperature[len(run.time) // 3 :] for run in runs])
    assert later.mean() == pytest.approx(300, rel=0.06)


def test_a_run_goes_on_from_its_checkpoint_with_the_same_numbers(potential, tmp_path):
    settings = {"ensemble": "npt", "checkpoint_every": 20, "skin": 0.1, "temperature_K": 2000.0}
    whole = run_md(CRYSTAL, potential, steps=60, **settings)
    for steps in (20, 60):
        part = run_md(
            CRYSTAL, potential, steps=steps, checkpoint=tmp_path / "run.safetensors", **settings
        )
    for one, other in zip(whole, part, strict=True):
        assert np.array_equal(one.frames.positions, other.frames.positions)
        assert np.array_equal(one.frames.energy, other.frames.energy)
        assert np.array_equal(one.atoms.get_momenta(), other.atoms.get_momenta())


def test_records_keep_their_times_over_a_stop_between_two_of_them(potential, tmp_path):
    file, settings = tmp_path / "run.safetensors", {"temperature_K": None, "every": 10}
    (whole,) = run_md(moving(MOLECULE), potential, steps=60, **settings)
    for steps in (25, 60):
        settings["checkpoint_every"] = 30
        (part,) = run_md(moving(MOLECULE), potential, steps=steps, checkpoint=file, **settings)
        assert part.time[-1] == steps // 10 * 10 * 0.5
    assert np.array_equal(whole.time, part.time)
    assert np.abs(whole.frames.positions - part.frames.positions).max() < 1e-9


def test_two_nuclei_in_one_place_end_a_replica_and_no_other():
    config = small_config(degrees=(1,), variant="so3lr", layers=1, **PHYSICS)
    physics = small_potential(config)
    plan = molecular_dynamics.Plan("nve", 10, 10, 0.5, 0.5)
    settings = molecular_dynamics.md_settings(physics, 300.0, 0.0, 0.5, 0.01, 50.0)
    run = Run([MOLECULE, MOLECULE], physics, plan, settings, 300.0, 0)
    run.parts = [Records(run.positions[None], run.momenta[None], np.zeros((1, 2)), run.cell[None])]
    run.positions = run.positions.copy()
    run.positions[1, 1] = run.positions[1, 0]
    with pytest.raises(UserError, match="nearer than two nuclei"):
        run._listed(0)  # the start is the user's
    listed = run._listed(30)
    assert run.alive.tolist() == [True, False] and run.died[1] == 30
    assert "atoms 0 and 1 are 0 Å apart" in run.causes[1]
    assert np.isfinite(listed.batch.local.vector).all()


def test_ends_of_replicas_are_starts_of_others(potential):
    first = run_md(MOLECULE, potential, steps=20, ensemble="nvt", replicas=MANY)
    second = run_md([run.atoms for run in first], potential, steps=10, temperature_K=None)
    assert len(second) == MANY
    for before, after in zip(first, second, strict=True):
        assert np.allclose(before.frames.positions[-1], after.frames.positions[0], atol=1e-12)
        assert np.allclose(before.velocities[-1], after.velocities[0], atol=1e-12)


def test_explosion_is_told_with_step_and_cause_and_spares_other_replicas(potential):
    hot = MOLECULE.copy()
    hot.set_momenta(np.zeros((4, 3)))
    wild = hot.copy()
    momenta = np.zeros((4, 3))
    momenta[3, 0] = 16.0 * 1.2 / units.fs  # 0.6 Å in a step
    wild.set_momenta(momenta)
    starts = [hot] * (MANY - 1) + [wild]
    with pytest.raises(UserError, match=r"In step 1 \(0.5 fs\) replica 7 explodes"):
        run_md(starts, potential, steps=20, temperature_K=None)
    runs = run_md(starts, potential, steps=20, temperature_K=None, allow_explosion=True)
    calm, lost = runs[0], runs[-1]
    (alone,) = run_md(hot, potential, steps=20, temperature_K=None)
    assert calm.exploded is None and len(calm.time) == 3
    assert np.abs(calm.frames.positions - alone.frames.positions).max() < 1e-11
    assert "explodes" in lost.exploded and len(lost.time) == 1


def test_single_precision_conserves_energy_as_double_does(potential):
    runs = [
        run_md(moving(MOLECULE), potential, steps=400, temperature_K=None, precision=precision)[0]
        for precision in ("float32", "float64")
    ]
    single, double = runs
    assert np.ptp(double.frames.energy) / 4 * 1e3 > 50 * double.largest_deviation
    assert single.largest_deviation < 1.2 * double.largest_deviation
    assert single.frames.positions.dtype == np.float64


def test_an_ensemble_moves_by_its_mean_force(potential):
    together = Ensemble.of([potential, dataclasses.replace(potential, params=OTHER)])
    settings = {"steps": 20, "temperature_K": None, "every": 10}
    (run,) = run_md(moving(MOLECULE), together, **settings)
    reference = run_nve(moving(MOLECULE), together, **settings)
    assert np.abs(run.frames.positions - reference.frames.positions).max() < 1e-7
    assert np.abs(run.frames.energy - together.predict(run.frames).energy).max() < 1e-10


def test_far_pairs_and_images_are_listed_too():
    """Dispersion over far pairs, electrostatics over images, against ASE's loop."""
    config = small_config(degrees=(1,), variant="so3lr", layers=1, **PHYSICS)
    potential = small_potential(config).with_long_cutoff(4.0, ewald=True)
    salt = moving(CRYSTAL, 2000.0)
    time_step_fs = float(np.float32(0.5 * units.fs)) / units.fs
    settings = {"steps": 20, "temperature_K": None, "every": 10, "time_step_fs": time_step_fs}
    (run,) = run_md(salt, potential, skin=0.1, **settings)
    reference = run_nve(salt, potential, **settings)
    assert np.abs(run.frames.positions - reference.frames.positions).max() < 1e-9


@pytest.mark.parametrize(
    "given, match",
    [
        ({"ensemble": "nph"}, "one of"),
        ({"thermostat": "andersen"}, "one of"),
        ({"ensemble": "npt"}, "periodic in three directions"),
        ({"ensemble": "nvt", "temperature_K": None}, "needs a temperature"),
        ({"pressure": 0.1}, "npt"),
        ({"steps": 0}, "steps = 0"),
        ({"time_step_fs": -1}, "time_step_fs"),
        ({"skin": 0}, "skin"),
        ({"replicas": 0}, "replicas = 0"),
    ],
)
def test_impossible_settings_are_named(potential, given, match):
    with pytest.raises(UserError, match=match):
        run_md(MOLECULE, potential, **{"steps": 10, **given})


def test_impossible_starts_are_named(potential, tmp_path):
    with pytest.raises(UserError, match="start 1 has other atoms"):
        run_md([MOLECULE, MOLECULE[:3]], potential, steps=10)
    with pytest.raises(UserError, match="replicas = 3, but there are 2 starts"):
        run_md([MOLECULE, MOLECULE], potential, steps=10, replicas=3)
    fixed = MOLECULE.copy()
    fixed.set_constraint(FixAtoms([0]))
    with pytest.raises(UserError, match="constraints"):
        run_md(fixed, potential, steps=10)
    file = tmp_path / "run.safetensors"
    run_md(MOLECULE, potential, steps=10, checkpoint=file)
    with pytest.raises(UserError, match="another run: seed was 0 and is 1 now"):
        run_md(MOLECULE, potential, steps=10, checkpoint=file, seed=1)
    other = dataclasses.replace(potential, params=OTHER)
    with pytest.raises(UserError, match="another run: potential and starts"):
        run_md(MOLECULE, other, steps=10, checkpoint=file)


def test_without_jax_md_it_says_what_to_install(potential, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "jax_md" else found(name)
    )
    with pytest.raises(UserError, match=r"needs jax-md.*so3krates-lite\[simulate\]"):
        run_md(MOLECULE, potential, steps=1)
