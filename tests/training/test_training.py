"""Training: it learns, it repeats, it resumes to the same numbers, and it says why it stopped."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict
from optax.contrib import MuonDimensionNumbers
from optax.contrib import muon as optax_muon

from so3krates_lite.cli import main
from so3krates_lite.config import GeomAttConfig, So3kratesConfig
from so3krates_lite.datasets import load
from so3krates_lite.datasets.splits import Split, random_split
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.runtime import files
from so3krates_lite.runtime.settings import Compiled
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig, loop, train
from so3krates_lite.training.checks import TrainingDiverged
from so3krates_lite.training.muon import orthogonalised
from so3krates_lite.training.progress import NotebookProgress, Silent, TerminalProgress
from so3krates_lite.training.run import STATE_KIND, STATE_VERSION, RunFolder
from so3krates_lite.training.state import BLOCK, State, params_of, start_state
from so3krates_lite.training.statistics import element_shift, isolated_atoms

MODEL = So3kratesConfig(
    features=12,
    layers=2,
    degrees=(1, 2),
    heads=2,
    radial_functions=16,
    radial_hidden=16,
    spherical_hidden=8,
    sphc_start="smooth",
)
# as a whole, as an epoch has it, and not operation by operation
moved = Compiled(State.moved, once=True)
SETTINGS = TrainConfig(epochs=4, batch_size=8, energy_shift="atom", learning_rate=3e-3)


@pytest.fixture(scope="module")
def frames():
    return load("ethanol-gfn2")[:64]


@pytest.fixture(scope="module")
def split(frames):
    return random_split(frames, 40, 16, seed=3)


def run(frames, split, folder=None, *, settings=SETTINGS, **more):
    return train(
        frames, split, model=MODEL, settings=settings, folder=folder, progress=Silent(), **more
    )


def with_settings(**changes) -> TrainConfig:
    return TrainConfig.from_dict({**SETTINGS.to_dict(), **changes})


def without_time(metrics):
    return [{k: v for k, v in row.items() if k not in ("wall_s", "trained_s")} for row in metrics]


def leaves(potential: Potential) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(potential.params)]


@pytest.fixture(scope="module")
def uninterrupted(frames, split, tmp_path_factory):
    return run(frames, split, tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture(scope="module")
def long_run(frames, split):
    return run(frames, split, settings=with_settings(epochs=40))


def test_training_lowers_the_validation_error(long_run):
    metrics = long_run.metrics
    assert metrics[-1]["valid_force_mae_eV_A"] < 0.6 * metrics[0]["valid_force_mae_eV_A"]


def test_same_seed_gives_the_same_numbers(frames, split, uninterrupted):
    again = run(frames, split)
    assert without_time(again.metrics) == without_time(uninterrupted.metrics)
    for a, b in zip(leaves(again.potential), leaves(uninterrupted.potential), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_seed_gives_other_numbers(frames, split, uninterrupted):
    other = run(frames, split, settings=with_settings(seed=1, epochs=1))
    assert other.metrics[0]["valid_loss"] != uninterrupted.metrics[0]["valid_loss"]


def test_one_vector_is_moved_as_its_leaves_are():
    """Against optax, leaf by leaf: clipping, Adam, the step, the running mean."""
    rng = np.random.default_rng(0)
    shapes = {"a": (3, 5), "b": {"c": (7,), "d": (2, 3, 4)}}
    draw = partial(jax.tree.map, lambda shape: rng.normal(size=shape), shapes)
    draw = partial(draw, is_leaf=lambda shape: isinstance(shape, tuple))
    with jax.enable_x64(True):
        params, rate, decay = draw(), 1e-2, 0.9
        mean = params
        state = start_state(jax.tree.map(jnp.asarray, params))
        for clip_norm in (1.0, 100.0, 1.0):
            chain = optax.chain(optax.clip_by_global_norm(clip_norm), optax.scale_by_adam())
            adam = chain.init(params) if state.step == 0 else adam
            gradient = draw()
            direction, adam = chain.update(gradient, adam)
            params = jax.tree.map(lambda p, d: p - rate * d, params, direction)
            kept = min(decay, (1 + int(state.step)) / (10 + int(state.step)))
            mean = jax.tree.map(lambda m, p, kept=kept: kept * m + (1 - kept) * p, mean, params)
            state, norm = moved(state, gradient, jnp.asarray(rate), clip_norm, 0.3, 0.9, decay)
            assert norm == pytest.approx(float(optax.tree.norm(gradient)), rel=1e-13)
        for expected, found in ((params, params_of(state, False)), (mean, params_of(state, True))):
            jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12), found, expected)
    assert state.weights.shape == (BLOCK,) and not state.weights[46:].any()


def small_network(rng) -> dict:
    """Every kind of leaf: kernels with and without axes of layers and heads, and what is none."""
    shapes = {
        "embedding": (6, 5),
        "head": {"hidden": {"kernel": (5, 5), "bias": (5,)}, "out": {"kernel": (5, 1)}},
        "layers": {
            "query": {"kernel": (2, 3, 4, 4), "bias": (2, 3, 4)},
            "radial": {"kernel": (2, 5, 7), "bias": (2, 7)},
            "selfmix": {"c": (2, 3, 3, 3)},
            "value": {"kernel": (2, 3, 4, 4)},
            "wide": {"centre_kernel": (7, 5)},
        },
    }
    shape = partial(jax.tree.map, is_leaf=lambda leaf: isinstance(leaf, tuple))
    return shape(lambda leaf: jnp.asarray(rng.normal(size=leaf)), shapes)


def one_by_one(tree: dict) -> list:
    """Single matrices by Muon, one leaf each; then all else, which is Adam's."""
    flat = flatten_dict(tree, sep="/")
    kernels = [
        leaf.reshape(-1, *leaf.shape[-2:])
        for name, leaf in flat.items()
        if name.endswith("kernel") and "out" not in name
    ]
    others = [leaf for name, leaf in flat.items() if "kernel" not in name or "out" in name]
    return [[matrix for stack in kernels for matrix in stack], others]


def test_each_matrix_of_a_stack_is_moved_on_its_own():
    """Muon over one vector against optax, head by head and layer by layer."""
    if "consistent_rms" not in inspect.signature(optax_muon).parameters:
        pytest.skip("the Muon of this optax has steps of another length")
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        params, rate, decay = small_network(rng), 1e-2, 0.9
        state = start_state(params, "muon")
        ours, mean = one_by_one(params), one_by_one(params)
        kinds = [[MuonDimensionNumbers() for _ in ours[0]], [None for _ in ours[1]]]
        for step, clip_norm in enumerate((1.0, 100.0, 1.0, 1.0)):
            muon = optax_muon(
                rate,
                adam_learning_rate=0.3 * rate,
                muon_weight_dimension_numbers=kinds,
                consistent_rms=0.2,
                weight_decay=0.3,
                beta=0.9,
            )
            chain = optax.chain(optax.clip_by_global_norm(clip_norm), muon)
            theirs = chain.init(ours) if step == 0 else theirs
            gradient = small_network(rng)
            update, theirs = jax.jit(chain.update)(one_by_one(gradient), theirs, ours)
            ours = optax.apply_updates(ours, update)
            kept = min(decay, (1 + step) / (10 + step))
            mean = jax.tree.map(lambda m, p, kept=kept: kept * m + (1 - kept) * p, mean, ours)
            state, norm = moved(state, gradient, jnp.asarray(rate), clip_norm, 0.3, 0.9, decay)
            assert norm == pytest.approx(float(optax.tree.norm(gradient)), rel=1e-13)
        for expected, found in ((ours, params_of(state, False)), (mean, params_of(state, True))):
            close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)
            jax.tree.map(close, one_by_one(found), expected)
    assert state.layout.matrices == ((1, 5, 5), (12, 4, 4), (2, 5, 7), (1, 7, 5))
    assert (
        state.weights.shape == (2 * BLOCK,) and not state.weights[25 + 192 + 70 + 35 : BLOCK].any()
    )


def test_orthogonalised_matrix_keeps_its_directions_and_evens_out_their_lengths():
    rng = np.random.default_rng(2)
    for shape in ((3, 8, 12), (3, 12, 8)):
        x = rng.normal(size=shape).astype(np.float32)
        x[1] = 0.0
        found = np.asarray(orthogonalised(jnp.asarray(x)))
        assert not found[1].any()
        for k in (0, 2):
            U, _, Vt = np.linalg.svd(x[k], full_matrices=False)
            inner = U.T @ found[k] @ Vt.T
            assert np.abs(inner - np.diag(np.diag(inner))).max() < 1e-4
            assert np.diag(inner).min() > 0.6 and np.diag(inner).max() < 1.3
        np.testing.assert_allclose(orthogonalised(100 * jnp.asarray(x)), found, atol=1e-4)


def test_parts_that_are_not_trained_stay_and_cost_muon_nothing():
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        params, gradient = small_network(rng), small_network(rng)
        gradient["layers"] = jax.tree.map(jnp.zeros_like, gradient["layers"])
        state = start_state(params, "muon", ("embedding", "head"))
        assert state.layout.matrices == ((1, 5, 5),)
        for _ in range(2):
            state, _ = moved(state, gradient, jnp.asarray(0.1), 1.0, 0.3, 0.9, 0.9)
        for mean in (False, True):
            found = params_of(state, mean)
            jax.tree.map(np.testing.assert_array_equal, found["layers"], params["layers"])
            kernels = (tree["head"]["hidden"]["kernel"] for tree in (found, params))
            assert not np.isclose(*kernels).any()


def test_training_stops_when_its_time_is_up_and_a_resumed_run_stays_as_it_ended(
    frames, split, tmp_path
):
    settings = with_settings(max_minutes=1e-9, epochs=9)
    ended = run(frames, split, settings=settings, folder=tmp_path / "run")
    assert len(ended.metrics) == 2
    resumed = train(frames, split, folder=tmp_path / "run", resume=True, progress=Silent())
    assert resumed.metrics == ended.metrics


def test_test_frames_have_no_influence(frames, split, uninterrupted):
    forces = frames.forces.copy()
    energy = frames.energy.copy()
    forces[split.test] *= -7
    energy[split.test] += 1e3
    spoilt = run(frames.replace(forces=forces, energy=energy), split)
    assert without_time(spoilt.metrics) == without_time(uninterrupted.metrics)


class StopAfter(Silent):
    """Raises in the middle of a run, as an interrupted session does."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def update(self, row) -> None:
        if row["epoch"] == self.epoch:
            raise KeyboardInterrupt


def interrupt(frames, split, folder, *, after: int, **more) -> None:
    """Begin a run and stop it once so many epochs are done."""
    with pytest.raises(KeyboardInterrupt):
        train(frames, split, folder=folder, progress=StopAfter(after), **more)


def test_resumed_run_gives_the_numbers_of_an_uninterrupted_one(
    frames, split, uninterrupted, tmp_path
):
    interrupt(frames, split, tmp_path / "run", after=2, model=MODEL, settings=SETTINGS)
    assert len(RunFolder(tmp_path / "run").read_metrics()) == 2
    resumed = train(frames, split, folder=tmp_path / "run", resume=True, progress=Silent())
    assert without_time(resumed.metrics) == without_time(uninterrupted.metrics)
    for a, b in zip(leaves(resumed.potential), leaves(uninterrupted.potential), strict=True):
        np.testing.assert_array_equal(a, b)


def test_run_from_before_optimisers_had_names_resumes_as_adam(frames, split, tmp_path):
    settings = with_settings(optimiser="adam")
    whole = run(frames, split, settings=settings)
    interrupt(frames, split, tmp_path / "run", after=2, model=MODEL, settings=settings)
    folder = RunFolder(tmp_path / "run")
    config = json.loads((folder.path / "config.json").read_text())
    del config["training"]["optimiser"]
    (folder.path / "config.json").write_text(json.dumps(config))
    arrays, counters = files.load_arrays(folder.state, STATE_KIND, STATE_VERSION)
    del counters["optimiser"]
    files.save_arrays(folder.state, STATE_KIND, STATE_VERSION, arrays, counters)
    assert folder.configuration()[1] == settings
    resumed = train(frames, split, folder=folder.path, resume=True, progress=Silent())
    assert without_time(resumed.metrics) == without_time(whole.metrics)
    for a, b in zip(leaves(resumed.potential), leaves(whole.potential), strict=True):
        np.testing.assert_array_equal(a, b)


def test_state_of_another_optimiser_is_refused_and_left_alone(
    frames, split, uninterrupted, tmp_path
):
    shutil.copytree(uninterrupted.folder, tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"muon"', '"adam"'))
    before = {path.name: path.read_bytes() for path in config.parent.iterdir()}
    with pytest.raises(UserError, match=r"a run by muon, but .*config\.json says adam: put muon"):
        train(frames, split, folder=config.parent, resume=True, progress=Silent())
    assert {path.name: path.read_bytes() for path in config.parent.iterdir()} == before


def test_killed_run_resumes_to_the_same_numbers(frames, split, long_run, tmp_path):
    folder, settings = RunFolder(tmp_path / "killed"), with_settings(epochs=40)
    folder.create(MODEL, settings, split, {}, None)
    resume = ["train", "ethanol-gfn2", "--folder", str(folder.path), "--resume", "--limit", "64"]
    process = subprocess.Popen(
        [sys.executable, "-m", "so3krates_lite.cli", *resume],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(20_000):
        if folder.state.exists() or process.poll() is not None:
            break
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    _, counters = files.load_arrays(folder.state, STATE_KIND, STATE_VERSION)
    assert 1 <= counters["epoch"] < 40
    kept = folder.read_metrics()[: counters["epoch"]]
    assert main(resume) == 0
    assert folder.read_metrics()[: len(kept)] == kept  # with their times: it went on from there
    assert without_time(folder.read_metrics()) == without_time(long_run.metrics)
    for a, b in zip(leaves(Potential.load(folder.best)), leaves(long_run.potential), strict=True):
        np.testing.assert_array_equal(a, b)


def test_metrics_beyond_the_saved_state_are_dropped(frames, split, uninterrupted, tmp_path):
    interrupt(frames, split, tmp_path / "run", after=3, model=MODEL, settings=SETTINGS)
    folder = RunFolder(tmp_path / "run")
    # as if the machine had failed between writing the metrics and writing the state
    folder.write_metrics([*folder.read_metrics(), {**folder.read_metrics()[-1], "epoch": 4.0}])
    resumed = train(frames, split, folder=tmp_path / "run", resume=True, progress=Silent())
    assert without_time(resumed.metrics) == without_time(uninterrupted.metrics)


def test_best_potential_is_that_of_the_lowest_validation_loss(frames, split, uninterrupted):
    best = min(uninterrupted.metrics, key=lambda row: row["valid_loss"])
    errors = uninterrupted.potential.predict(frames[split.valid])
    mae = np.abs(errors.forces - frames.forces[split.valid]).mean()
    np.testing.assert_allclose(mae, best["valid_force_mae_eV_A"], rtol=1e-4)
    energy = np.abs(errors.energy - frames.energy[split.valid]).mean()
    np.testing.assert_allclose(energy, best["valid_energy_mae_eV"], rtol=1e-3)


def test_divergence_names_the_step_and_keeps_the_checkpoint(frames, split, tmp_path):
    settings = with_settings(learning_rate=1e30, schedule="constant", ema_decay=0.0)
    with pytest.raises(TrainingDiverged, match=r"at step \d+ \(epoch \d+\)") as caught:
        run(frames, split, tmp_path / "run", settings=settings)
    assert "learning rate" in str(caught.value) or "check the energies" in str(caught.value)


def test_plateau_lowers_the_learning_rate_and_patience_ends_the_run(frames, split):
    settings = with_settings(
        epochs=30, learning_rate=1e-12, plateau_patience=2, stop_patience=8, ema_decay=0.0
    )
    metrics = run(frames, split, settings=settings).metrics
    assert metrics[-1]["learning_rate"] < metrics[0]["learning_rate"]
    assert len(metrics) < 30


def test_cosine_schedule_rises_then_falls(frames, split):
    rates = [
        row["learning_rate"]
        for row in run(frames, split, settings=with_settings(schedule="cosine")).metrics
    ]
    assert rates[-1] < 0.2 * max(rates)


def test_training_starts_from_given_weights(frames, split, uninterrupted):
    settings = with_settings(epochs=1, learning_rate=1e-9)
    more = run(frames, split, settings=settings, start=uninterrupted.potential)
    before = min(row["valid_loss"] for row in uninterrupted.metrics)
    np.testing.assert_allclose(more.metrics[0]["valid_loss"], before, rtol=1e-3)


def test_run_from_given_weights_resumes_to_the_same_numbers(frames, split, uninterrupted, tmp_path):
    # other energies than the start's own training set has: its energy zero must be kept
    start = dataclasses.replace(
        uninterrupted.potential, element_shift=uninterrupted.potential.element_shift * 1.0001
    )
    whole = run(frames, split, settings=with_settings(epochs=3), start=start)
    settings = with_settings(epochs=3)
    interrupt(frames, split, tmp_path / "run", after=1, settings=settings, start=start)
    resumed = train(frames, split, folder=tmp_path / "run", resume=True, progress=Silent())
    assert without_time(resumed.metrics) == without_time(whole.metrics)


def test_every_potential_states_the_elements_of_its_training_data(frames, split, tmp_path):
    """Also where no energy zero tells them, and where a run is resumed or begins from another."""
    settings = with_settings(epochs=1, energy_shift="none")
    frames, folder = frames.replace(energy=frames.energy - frames.energy.mean()), tmp_path / "run"
    run(frames, split, folder, settings=settings)
    assert Potential.load(folder).elements == {1, 6, 8}
    # the best of an earlier version states none, and may stay the best of a resumed run
    silent = dataclasses.replace(Potential.load(folder), trained_elements=None)
    silent.save(folder / "best.safetensors")
    resumed = train(frames, split, folder=folder, resume=True, progress=Silent())
    assert resumed.potential.elements == Potential.load(folder).elements == {1, 6, 8}
    start = dataclasses.replace(silent, trained_elements=frozenset({1, 6, 7, 8}))

    def elements(start, **changes):
        last = with_settings(epochs=1, energy_shift="none", **changes)
        return run(frames, split, settings=last, start=start).potential.elements

    # the energy zero of the start holds on for all its elements; a new one knows only the new
    assert elements(start) == {1, 6, 7, 8}
    assert elements(start, refit_shift=True) == {1, 6, 8}
    assert elements(silent) == {1, 6, 8}


def test_energies_of_another_zero_than_the_start_s_are_refused(frames, split):
    start = run(frames, split, settings=with_settings(epochs=1)).potential
    other = frames.replace(energy=frames.energy + 500)
    with pytest.raises(UserError, match=r"55\.\d eV per atom away .*--refit-shift"):
        run(other, split, settings=with_settings(epochs=1), start=start)


@pytest.mark.usefixtures("unchecked")  # the stand-in returns nothing
def test_without_a_model_it_is_the_paper_s(frames, split, monkeypatch):
    asked = []
    monkeypatch.setattr(loop, "_train", lambda frames, split, model, *rest: asked.append(model))
    train(frames, split, settings=SETTINGS, progress=Silent())
    assert asked == [So3kratesConfig()]


def test_element_shifts_recover_energies_that_are_sums_over_elements():
    numbers = np.array([[6, 1, 1, 0], [6, 6, 1, 0], [8, 1, 1, 0], [6, 8, 1, 1]])
    truth = np.zeros(100)
    truth[[1, 6, 8]] = -13.0, -1030.0, -2040.0
    positions = np.arange(48.0).reshape(4, 4, 3) * (numbers > 0)[..., None]
    energy = truth[numbers].sum(axis=1)
    mixed = Frames(numbers=numbers, positions=positions, energy=energy)
    np.testing.assert_allclose(element_shift(mixed, "element"), truth, atol=1e-8)
    atom = element_shift(mixed, "atom")
    np.testing.assert_allclose(atom[[1, 6, 8]], energy.sum() / (numbers > 0).sum())
    assert np.count_nonzero(atom) == 3


def atom_alone(z: int, energy: float, **more) -> Frames:
    return Frames([[z]], np.zeros((1, 1, 3)), energy=[energy], forces=np.zeros((1, 1, 3)), **more)


def test_which_atoms_are_alone():
    from ase.build import bulk

    wide, narrow = ({"cell": [length * np.eye(3)]} for length in (20.0, 5.0))
    kinds = [atom_alone(6, 0.0), atom_alone(6, 0.0, **wide), atom_alone(6, 0.0, **narrow)]
    slab = atom_alone(6, 0.0, cell=[np.diag([3.0, 3.0, 0.0])], pbc=[[True, True, False]])
    copper = Frames.from_atoms([bulk("Cu"), bulk("Cu", cubic=True)])
    assert isolated_atoms(Frames.concatenate([*kinds, slab])).tolist() == [True, True, False, False]
    assert not isolated_atoms(copper).any()


def test_energies_of_isolated_atoms_are_the_zero_and_no_data(frames, split, tmp_path):
    energies = {1: -10.5, 6: -50.25, 8: -100.75, 7: -70.0}
    molecules = frames.replace(total_charge=None, spin_multiplicity=None)
    molecules = molecules.replace(partial_charges=None, group=None)
    together = [atom_alone(z, e) for z, e in energies.items()] + [molecules]
    mixed = Frames.concatenate(together)
    # the molecules of the other tests, whose programs serve here, and atoms in every part
    train, valid = (4 + part for part in (split.train, split.valid))
    split = Split(np.r_[3, train], np.r_[2, valid], np.r_[0, 1], seed=0, strategy="random")
    settings = with_settings(epochs=1, energy_shift="isolated")
    result = run(mixed, split, tmp_path / "run", settings=settings)
    shift = result.potential.element_shift
    assert shift[[1, 6, 8]].tolist() == [-10.5, -50.25, -100.75] and np.count_nonzero(shift) == 3
    kept = RunFolder(tmp_path / "run").split()
    assert kept.train.tolist() == train.tolist() and kept.valid.tolist() == valid.tolist()
    assert len(kept.test) == 0 and result.potential.card["training frames"] == 40
    fitted = run(mixed, kept, settings=with_settings(epochs=1, energy_shift="element"))
    assert abs(fitted.potential.element_shift[1] + 10.5) > 0.1
    without = Frames.concatenate(together[2:])
    with pytest.raises(UserError, match=r"needs the energy of a single atom .* none of H, C: add"):
        run(without, Split(np.arange(4, 20), np.arange(20, 24), [], 0, ""), settings=settings)
    double = Frames.concatenate([*together, atom_alone(1, -9.0)])
    with pytest.raises(UserError, match=r"from -10\.500 to -9\.000 eV"):
        run(double, split, settings=settings)


def test_of_an_element_s_atoms_the_neutral_one_counts():
    charges = [{"total_charge": [q]} for q in (1.0, 0.0)]
    both = Frames.concatenate(
        [atom_alone(8, -90.0, **charges[0]), atom_alone(8, -100.0, **charges[1])]
    )
    assert element_shift(both, "isolated")[8] == -100.0


def test_taken_folder_is_refused_and_left_alone(frames, split, uninterrupted):
    before = (uninterrupted.folder / "metrics.csv").read_text()
    with pytest.raises(UserError, match="already holds a training run"):
        run(frames, split, uninterrupted.folder)
    assert (uninterrupted.folder / "metrics.csv").read_text() == before


def test_resuming_nothing_says_so(frames, split, tmp_path):
    with pytest.raises(UserError, match="holds no training run"):
        train(frames, split, folder=tmp_path / "none", resume=True)


@pytest.mark.parametrize("shorter", [False, True])
def test_state_of_another_configuration_is_refused(frames, split, uninterrupted, tmp_path, shorter):
    shutil.copytree(uninterrupted.folder, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    state = {"weights": np.zeros(3)}
    if shorter:  # as many arrays, but those of a smaller network
        arrays, _ = files.load_arrays(folder.state, STATE_KIND, STATE_VERSION)
        state = [arrays[name][:3] if arrays[name].ndim else arrays[name] for name in sorted(arrays)]
    folder.save_state(state, {"epoch": 1})
    with pytest.raises(UserError, match="does not fit"):
        train(frames, split, folder=tmp_path / "run", resume=True, progress=Silent())


def test_missing_labels_are_named(frames, split):
    with pytest.raises(UserError, match="needs forces"):
        run(frames.replace(forces=None), split)


def test_split_of_other_data_is_refused(frames):
    foreign = Split(np.arange(5), np.array([900]), np.array([], int), seed=0, strategy="random")
    with pytest.raises(UserError, match="900"):
        run(frames, foreign)


@pytest.mark.parametrize(
    "setting",
    [
        {"epochs": 0},
        {"epochs": 1e3},
        {"batch_size": 10.0},
        {"members": True},
        {"stop_patience": -1},
        {"ema_decay": 1.0},
        {"momentum": 1.0},
        {"momentum": -0.1},
        {"schedule": "steep"},
        {"loss": "l1"},
        {"precision": "float16"},
        {"optimiser": "sgd"},
        {"optimiser": None},
        {"learning_rate": 0.0},
        {"learning_rate": -1e-3, "optimiser": "adam"},
        {"learning_rate": float("nan")},
    ],
)
def test_impossible_setting_is_named(setting):
    with pytest.raises(UserError, match=next(iter(setting))):
        TrainConfig(**setting)


def test_each_optimiser_has_a_rate_of_its_own():
    def rate(model, **settings):
        return TrainConfig(**settings).for_model(model).learning_rate

    assert TrainConfig().optimiser == "muon"
    assert rate(MODEL) == rate(GeomAttConfig()) == 1e-2
    # the paper's network, whose layers have 792 features in all
    assert rate(So3kratesConfig()) == 3e-3
    assert rate(So3kratesConfig(), optimiser="adam") == 1e-3
    assert rate(So3kratesConfig(), learning_rate=2e-3) == 2e-3
    assert TrainConfig.from_dict(TrainConfig().to_dict()) == TrainConfig()
    of_old = {**TrainConfig().to_dict(), "filter_polynomials": 64}  # steps went by fitted filters
    assert TrainConfig.from_dict(of_old) == TrainConfig()


def test_unknown_setting_is_named():
    with pytest.raises(UserError, match="learning_rat"):
        TrainConfig.from_dict({"learning_rat": 1.0})


def test_terminal_progress_shows_errors_with_units(frames, split, capsys):
    train(
        frames,
        split,
        model=MODEL,
        settings=with_settings(epochs=1),
        progress=TerminalProgress(),
    )
    assert "kcal/mol/Å" in capsys.readouterr().err


def test_notebook_progress_draws_a_picture_of_the_curve(frames, split, monkeypatch):
    pytest.importorskip("matplotlib", reason="the live curve is drawn by matplotlib")
    display = pytest.importorskip("IPython.display", reason="notebooks need IPython")
    shown = []

    class Handle:
        update = staticmethod(shown.append)

    monkeypatch.setattr(display, "display", lambda *_, **__: Handle())
    train(
        frames,
        split,
        model=MODEL,
        settings=with_settings(epochs=2),
        progress=NotebookProgress(),
    )
    assert shown and all(picture.data.startswith(b"\x89PNG") for picture in shown)
