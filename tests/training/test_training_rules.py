"""What a training run does, step by step, compared with the same done by hand."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import molecule, small_config, stack

from so3krates_lite.datasets.splits import Split
from so3krates_lite.energies import energy_and_forces
from so3krates_lite.potential import Potential
from so3krates_lite.runtime.settings import Compiled
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig, loop, train
from so3krates_lite.training.optimiser import schedule
from so3krates_lite.training.progress import Silent
from so3krates_lite.training.statistics import energy_scale

pytestmark = pytest.mark.usefixtures("quick_compilation")

MODEL = small_config(sphc_start="smooth", layers=1)
# the rules are the same for any optimiser; by hand they are followed with the paper's
ADAM = {"optimiser": "adam"} if hasattr(TrainConfig(), "optimiser") else {}
STILL = {"learning_rate": 1e-30, "schedule": "constant", "ema_decay": 0.0}  # no weight moves


def labelled(*sizes: int) -> Frames:
    """Molecules of these sizes, padded to the largest, with energies and forces made up."""
    rng = np.random.default_rng(0)
    frames = stack(*(molecule(size, seed=k) for k, size in enumerate(sizes)))
    forces = rng.normal(0.3, 1.5, frames.positions.shape) * frames.mask[..., None]
    energy = -20.0 * frames.n_atoms + rng.normal(size=len(frames))
    return frames.replace(energy=energy, forces=forces)


FRAMES = labelled(5, 3, 4, 5, 4, 5)  # the last two are for validation
ALIKE = labelled(*[4] * 7)


def split_of(n: int, valid: int) -> Split:
    part = np.split(np.arange(n), [n - valid])
    return Split(part[0], part[1], np.array([], int), seed=0, strategy="random")


def run(frames=FRAMES, start=None, n_valid=2, **settings):
    full_batch = {"epochs": 1, "batch_size": len(frames), "precision": "float64", **ADAM}
    settings = TrainConfig(**{**full_batch, **settings})
    more = {"model": MODEL, "settings": settings, "start": start, "progress": Silent()}
    return train(frames, split_of(len(frames), n_valid), **more)


def column(result, name: str) -> np.ndarray:
    return np.array([row[name] for row in result.metrics])


def flat(params: dict) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])


def weights_of(result) -> np.ndarray:
    return flat(result.potential.params)


def real_forces(frames: Frames) -> np.ndarray:
    """All force components of all atoms, without padding, gathered one molecule at a time."""
    parts = [frames.forces[k, :n].ravel() for k, n in enumerate(frames.n_atoms)]
    return np.concatenate(parts)


def cosine(step: int, total: int, peak: float) -> float:
    """A rise from a tenth over the first 2 %, then half a cosine down to a hundredth."""
    rise = max(total // 50, 1)
    if step < rise:
        return peak / 10 + (peak - peak / 10) * step / rise
    done = min((step - rise) / (total - rise), 1)
    return peak / 100 + (peak - peak / 100) * (1 + math.cos(math.pi * done)) / 2


def by_hand(settings: TrainConfig, rates: list[float]) -> tuple[list[np.ndarray], list[float]]:
    """After each full-batch step the running mean of the weights; and the losses before each."""
    training = FRAMES[:4]
    counts = training.element_counts().astype(float)
    shift = np.zeros(100)
    shift[training.elements] = np.linalg.pinv(counts) @ training.energy
    scale = np.std(real_forces(training))
    E = (training.energy - counts @ shift[training.elements]) / scale
    F = training.forces / scale
    batch = make_batch(training, MODEL, dtype=np.float64)
    sizes = training.n_atoms

    def loss(params):
        found_E, found_F = energy_and_forces(params, batch, MODEL)
        missed = jnp.concatenate([(found_F - F)[k, :n] for k, n in enumerate(sizes)])
        if settings.loss == "mse":
            mean_E, mean_F = ((found_E - E) ** 2).mean(), (missed**2).mean()
        else:
            mean_E = jnp.abs(found_E - E).mean()
            mean_F = jnp.linalg.norm(missed, axis=-1).mean()
        return settings.energy_weight * mean_E + settings.forces_weight * mean_F

    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, Potential.random(MODEL, 7, "float64").params)
        mean = params
        adam = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)
        state, means, losses = adam.init(params), [], []
        compiled = Compiled(jax.value_and_grad(loss), once=True)
        for step, rate in enumerate(rates):
            value, gradient = compiled(params)
            norm = math.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(gradient)))
            factor = min(1.0, settings.clip_norm / norm)
            gradient = jax.tree.map(lambda leaf, factor=factor: leaf * factor, gradient)
            direction, state = adam.update(gradient, state)
            params = jax.tree.map(lambda p, d, rate=rate: p - rate * d, params, direction)
            keep = min(settings.ema_decay, (1 + step) / (10 + step))
            mean = jax.tree.map(lambda m, p, k=keep: k * m + (1 - k) * p, mean, params)
            losses.append(float(value))
            means.append(flat(mean))
    return means, losses


@pytest.mark.parametrize("loss", ["mse", "l2mae"])
def test_a_run_is_what_its_settings_say(loss):
    """Energy zero and scale, loss, clipping, Adam, schedule and running mean, all at once."""
    chosen = {"epochs": 4, "schedule": "cosine", "learning_rate": 3e-3, "ema_decay": 0.15}
    chosen |= {"clip_norm": 0.5, "seed": 7, "energy_weight": 0.3, "forces_weight": 0.6}
    chosen["loss"] = loss
    result = run(**chosen)
    assert result.potential.dtype == np.float64  # as is asked for
    rates = [cosine(step, 4, 3e-3) for step in range(4)]
    np.testing.assert_allclose(column(result, "learning_rate"), rates, rtol=1e-6)
    assert column(result, "gradient_norm").max() > 0.5  # so that clipping mattered
    means, losses = by_hand(TrainConfig(**chosen, **ADAM), rates)
    np.testing.assert_allclose(column(result, "train_loss"), losses, rtol=1e-9)
    best = means[result.potential.card["epoch"] - 1]
    np.testing.assert_allclose(weights_of(result), best, rtol=0, atol=1e-9)


def test_gradients_longer_than_the_limit_are_cut_to_it():
    """Once every gradient is cut, a loss of a hundred times the size takes the same steps."""
    settings = {"epochs": 3, "learning_rate": 1e-3, "schedule": "constant", "ema_decay": 0.0}
    one = run(**settings, clip_norm=1e-3)
    other = run(**settings, clip_norm=1e-3, energy_weight=1.0, forces_weight=99.0)
    free = run(**settings, clip_norm=1e6)
    assert column(one, "gradient_norm").min() > 1e-3
    np.testing.assert_allclose(weights_of(other), weights_of(one), rtol=0, atol=1e-7)
    assert np.abs(weights_of(free) - weights_of(one)).max() > 1e-5


def test_each_epoch_has_an_order_of_its_own_and_takes_a_frame_once():
    """With four of five frames in a batch, an epoch's loss tells which one was left out."""
    frames, scale = ALIKE, 1.7
    shift = np.full(100, -20.0)
    start = Potential.random(MODEL, 0, "float64")
    start = dataclasses.replace(start, energy_scale=scale, element_shift=shift)
    training = frames[:5]
    found = start.predict(training)
    of_energy = ((found.energy - training.energy) / scale) ** 2
    of_forces = (((found.forces - training.forces) / scale) ** 2).mean(axis=(1, 2))
    each = 0.01 * of_energy + 0.99 * of_forces
    without = (each.sum() - each) / 4

    def left_out(seed: int) -> list[int]:
        result = run(frames, batch_size=4, epochs=16, seed=seed, start=start, **STILL)
        away = np.abs(column(result, "train_loss")[:, None] - without)
        np.testing.assert_allclose(away.min(axis=1), 0, atol=1e-9)
        return away.argmin(axis=1).tolist()

    one_by_one = run(frames, batch_size=1, start=start, **STILL)
    assert column(one_by_one, "train_loss")[0] == pytest.approx(each.mean(), rel=1e-9)
    assert len(set(left_out(0))) >= 4
    assert left_out(0) == left_out(0) != left_out(1)


def test_weights_that_are_kept_are_the_running_mean():
    """In the first step the mean goes nine tenths of the way, later a share 1 - decay of it."""
    settings = {"epochs": 1, "learning_rate": 1e-2, "schedule": "constant"}
    start = weights_of(run(**{**settings, "learning_rate": 1e-30}))
    raw = weights_of(run(**settings, ema_decay=0.0))
    for decay, way in ((0.999, 0.9), (0.05, 0.95)):
        kept = weights_of(run(**settings, ema_decay=decay))
        np.testing.assert_allclose(kept - start, way * (raw - start), rtol=0, atol=1e-10)
    assert np.abs(raw - start).max() > 1e-3


@pytest.mark.parametrize("at_once", [50, 2])
def test_errors_are_those_of_the_weights_that_are_kept(at_once, monkeypatch):
    """Whether the three frames fit into one batch, or the last one is filled up."""
    monkeypatch.setattr(loop, "VALIDATION_BATCH", at_once)
    frames = labelled(5, 3, 4, 5, 4, 5, 3)  # to train on, molecules as in `FRAMES`
    result = run(frames, n_valid=3, learning_rate=1e-2, schedule="constant", ema_decay=0.999)
    valid = frames[4:]
    found = result.potential.predict(valid, allow_unknown_elements=True)
    wrong = found.energy - valid.energy
    forces = real_forces(valid.replace(forces=found.forces - valid.forces))
    row = result.metrics[0]
    assert row["valid_energy_mae_eV"] == pytest.approx(np.abs(wrong).mean(), rel=1e-9)
    assert row["valid_energy_rmse_eV"] == pytest.approx(np.sqrt((wrong**2).mean()), rel=1e-9)
    assert row["valid_force_mae_eV_A"] == pytest.approx(np.abs(forces).mean(), rel=1e-9)
    assert row["valid_force_rmse_eV_A"] == pytest.approx(np.sqrt((forces**2).mean()), rel=1e-9)
    scale = result.potential.energy_scale
    loss = (0.01 * (wrong**2).mean() + 0.99 * (forces**2).mean()) / scale**2
    assert row["valid_loss"] == pytest.approx(loss, rel=1e-9)


def test_the_best_potential_is_kept_when_later_ones_are_worse():
    result = run(epochs=12, learning_rate=0.3, schedule="constant", ema_decay=0.0)
    losses = column(result, "valid_loss")
    best = int(np.argmin(losses))
    assert best < 11 and losses[-1] > losses[best]
    assert result.potential.card["epoch"] == best + 1
    shorter = run(epochs=best + 1, learning_rate=0.3, schedule="constant", ema_decay=0.0)
    np.testing.assert_array_equal(weights_of(shorter), weights_of(result))


def test_the_scale_is_that_of_forces_on_real_atoms():
    """Padding would pull the mean to zero and the width with it."""
    training = FRAMES[:4]
    expected = np.std(real_forces(training))
    assert abs(expected / np.std(training.forces) - 1) > 0.05
    assert run().potential.energy_scale == pytest.approx(expected, rel=1e-12)
    wider = stack(training, labelled(9))[:4]
    assert energy_scale(wider, "forces", np.zeros(100)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shift", ["element", "atom", "none"])
def test_the_scale_of_energies_is_their_spread_about_the_shifts(shift):
    training = FRAMES[:4]
    potential = run(energy_shift=shift, energy_scale="energies", **STILL).potential
    rest = []
    for k, size in enumerate(training.n_atoms):
        elements = training.numbers[k, :size]
        rest.append(training.energy[k] - sum(potential.element_shift[z] for z in elements))
    mean = sum(rest) / 4
    spread = math.sqrt(sum((value - mean) ** 2 for value in rest) / 4)
    assert potential.energy_scale == pytest.approx(spread, rel=1e-9)
    if shift == "none":
        assert not potential.element_shift.any()
    if shift == "atom":
        each = training.energy.sum() / sum(training.n_atoms)
        assert set(potential.element_shift) == {0.0, each}
    assert run(energy_scale="none", **STILL).potential.energy_scale == 1.0


def test_cosine_by_hand():
    rate = schedule(TrainConfig(schedule="cosine", epochs=20, learning_rate=1e-2), 50)
    # 1000 steps: 20 to rise in, and half-way of the rest at step 510
    by_hand = {0: 1e-3, 10: 5.5e-3, 20: 1e-2, 510: 5.05e-3, 1000: 1e-4, 2000: 1e-4}
    by_hand[265] = 1e-4 + 9.9e-3 * (1 + math.sqrt(0.5)) / 2
    for step, expected in by_hand.items():
        assert float(rate(step)) == pytest.approx(expected, rel=1e-5), step
        assert cosine(step, 1000, 1e-2) == pytest.approx(expected, rel=1e-9)


def test_exponential_and_constant_by_hand():
    rate = schedule(TrainConfig(schedule="exponential", learning_rate=1e-2), 50)
    by_hand = {0: 1e-2, 50_000: 1e-2 * math.sqrt(0.7), 100_000: 7e-3, 300_000: 3.43e-3}
    for step, expected in by_hand.items():
        assert float(rate(step)) == pytest.approx(expected, rel=1e-5), step
    for name in ("constant", "plateau"):
        rate = schedule(TrainConfig(schedule=name, learning_rate=1e-2), 50)
        assert [float(rate(step)) for step in (0, 1, 10**6)] == pytest.approx([1e-2] * 3)


def test_a_run_goes_along_its_schedule_step_by_step():
    """The rate is that of an epoch's last step; steps count on from epoch to epoch."""
    settings = {"epochs": 5, "batch_size": 1, "schedule": "cosine", "learning_rate": 1e-9}
    result = run(ALIKE, **settings)  # five steps an epoch, 25 in all
    assert column(result, "step").tolist() == [5, 10, 15, 20, 25]
    rates = column(result, "learning_rate")
    np.testing.assert_allclose(rates, [cosine(s, 25, 1e-9) for s in (4, 9, 14, 19, 24)], rtol=1e-5)


@pytest.mark.parametrize(("name", "halves"), [("plateau", True), ("constant", False)])
def test_the_rate_falls_after_as_many_bad_validations_as_its_patience(name, halves):
    settings = {**STILL, "epochs": 8, "schedule": name, "plateau_factor": 0.25}
    rates = column(run(**settings, plateau_patience=3), "learning_rate") / 1e-30
    # the first validation is the best there can be, the next three are no better, and so on
    expected = [1, 1, 1, 1, 0.25, 0.25, 0.25, 0.0625] if halves else [1] * 8
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_it_stops_after_as_many_bad_validations_as_it_is_told_to():
    stopped = run(**STILL, epochs=20, stop_patience=4)
    assert len(stopped.metrics) == 5
    # its weights are of the first epoch, its time is that of all five
    assert stopped.potential.card["epoch"] == 1
    wall = stopped.metrics[-1]["wall_s"]
    assert stopped.potential.card["wall time / s"] == pytest.approx(wall, abs=1e-3)
    assert len(run(**STILL, epochs=6, stop_patience=0).metrics) == 6
