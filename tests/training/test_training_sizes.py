"""Training on structures of unlike size: buckets, and the numbers of a single shape."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from small import deviation, molecule, random_parameters, small_config, stack

from so3krates_lite.datasets.splits import Split
from so3krates_lite.runtime.settings import Compiled
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.training import TrainConfig, data, loop, train
from so3krates_lite.training.data import Targets, TrainingSet, bucketed_gradient, validation_chunks
from so3krates_lite.training.objective import Weights, loss_and_gradient
from so3krates_lite.training.progress import Silent

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = small_config((1,), layers=1)
SIZES = [2, 2, 2, 9, 2, 2, 2, 2, 2, 2, 2, 2, 9, 2]


def labelled(*frames):
    frames, rng = stack(*frames), np.random.default_rng(0)
    forces = rng.normal(size=frames.positions.shape) * frames.mask[..., None]
    return frames.replace(energy=rng.normal(size=len(frames)), forces=forces)


MIXED = labelled(*(molecule(n, seed=k, span=3.0) for k, n in enumerate(SIZES)))
SPLIT = Split(np.arange(10), np.arange(10, 14), np.array([], int), seed=0, strategy="random")
TARGETS = Targets(CONFIG, np.linspace(-1, 1, 100), 0.5, np.dtype(np.float64))
SETTINGS = TrainConfig(epochs=3, batch_size=4, learning_rate=1e-3, precision="float64")


def test_the_gradient_over_buckets_is_that_of_one_shape():
    params, weights, trained = random_parameters(CONFIG), Weights(0.1, 0.9), ("layers",)
    with jax.enable_x64(True):
        mixed = TrainingSet(MIXED, TARGETS, batch_size=5)
        assert [len(one.weight) for one in mixed.buckets] == [12, 2]
        gradient = Compiled(bucketed_gradient, once=True, static_argnums=(3, 5))
        whole = TARGETS.label(MIXED, make_batch(MIXED, CONFIG, dtype=np.float64))
        plain = Compiled(loss_and_gradient, once=True, static_argnums=(2, 4))
        # none, one and both of the large ones; filled passes and empty places
        for step in ([0, 1, 2, 4, 5], [3, 0, 7, 8, 9], [13, 12, 11, 3, 10]):
            chosen = jax.tree.map(lambda a: a[0], mixed.choose(np.array([step])))
            found = gradient(params, mixed.buckets, chosen, CONFIG, weights, trained)
            expected = plain(params, whole[np.array(step)], CONFIG, weights, trained)
            assert deviation(found[0], expected[0]) < 1e-10
            for a, b in zip(*map(jax.tree.leaves, (found[1], expected[1])), strict=True):
                assert deviation(a, b) < 1e-10 or not np.any(b)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 20])
def test_each_step_takes_the_frames_that_were_drawn(batch_size):
    with jax.enable_x64(True):
        mixed = TrainingSet(MIXED, TARGETS, batch_size)
    rng, size = np.random.default_rng(1), mixed.batch_size
    steps = len(MIXED) // size
    order = rng.permutation(len(MIXED))[: steps * size].reshape(steps, size)
    chosen = mixed.choose(order)
    energy = TARGETS.label(MIXED, make_batch(MIXED, CONFIG)).energy
    for step in range(steps):
        taken = []
        for part, one in zip(chosen, mixed.buckets, strict=True):
            index = part.index[step].reshape(-1)[: part.count[step]]
            taken.extend(np.asarray(one.energy)[index])
        assert sorted(taken) == sorted(energy[order[step]])


def test_a_pass_of_large_structures_holds_few_and_small_ones_do_not_pay_for_them():
    with jax.enable_x64(True):
        mixed = TrainingSet(MIXED, TARGETS, batch_size=5)
    small, large = mixed.choose(np.arange(10).reshape(2, 5))
    assert large.index.shape[2] == 1 and large.count.tolist() == [1, 0]
    rooms = [one.batch.numbers.shape[1] + one.batch.local.room for one in mixed.buckets]
    passes = [np.ceil(part.count / part.index.shape[2]).sum() for part in (small, large)]
    places = sum(
        n * part.index.shape[2] * room
        for n, part, room in zip(passes, (small, large), rooms, strict=True)
    )
    assert places < 0.5 * 10 * max(rooms)


def test_structures_of_one_size_are_drawn_and_computed_as_they_stand():
    alike = labelled(*(molecule(5, seed=k) for k in range(8)))
    with jax.enable_x64(True):
        one = TrainingSet(alike, TARGETS, batch_size=3)
    order = np.random.default_rng(0).permutation(8)[:6].reshape(2, 3)
    (chosen,) = one.choose(order)
    np.testing.assert_array_equal(chosen.index, order[:, None])
    whole = TARGETS.label(alike, make_batch(alike, CONFIG, dtype=np.float64))
    jax.tree.map(np.testing.assert_array_equal, one.buckets[0], whole)


def test_validation_counts_every_frame_once():
    with jax.enable_x64(True):
        chunks = validation_chunks(MIXED, TARGETS, chunk=5)
    assert [one.weight.shape for one in chunks] == [(3, 5), (1, 2)]
    chunks = jax.device_get(chunks)
    counted = np.concatenate([one.energy[one.weight > 0] for one in chunks])
    expected = TARGETS.label(MIXED, make_batch(MIXED, CONFIG)).energy
    np.testing.assert_array_equal(np.sort(counted), np.sort(expected))


class StopAfter(Silent):
    def update(self, row) -> None:
        if row["epoch"] == 1:
            raise KeyboardInterrupt


def run(**more):
    return train(MIXED, SPLIT, model=CONFIG, settings=SETTINGS, **{"progress": Silent(), **more})


def numbers(result):
    return [[v for k, v in row.items() if not k.endswith("_s")] for row in result.metrics]


def test_training_in_buckets_gives_the_numbers_of_one_shape_and_resumes(tmp_path, monkeypatch):
    before = loop._epoch._cache_size()
    mixed = run()
    assert loop._epoch._cache_size() == before + 1  # all buckets in one program
    with pytest.raises(KeyboardInterrupt):
        run(folder=tmp_path / "run", progress=StopAfter())
    resumed = train(MIXED, SPLIT, folder=tmp_path / "run", resume=True, progress=Silent())
    assert numbers(resumed) == numbers(mixed)

    def in_one(frames, config, **more):
        return [(np.arange(len(frames)), make_batch(frames, config, **more))]

    monkeypatch.setattr(data, "bucketed_batches", in_one)
    np.testing.assert_allclose(numbers(run()), numbers(mixed), rtol=1e-9)
