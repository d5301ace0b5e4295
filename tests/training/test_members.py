"""Several networks in one program: each is trained as if it were alone."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from so3krates_lite.cli import main
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets import load
from so3krates_lite.datasets.splits import random_split
from so3krates_lite.ensemble import Ensemble, load_potential
from so3krates_lite.errors import UserError
from so3krates_lite.training import TrainConfig, train
from so3krates_lite.training.checks import TrainingDiverged
from so3krates_lite.training.progress import Silent

MODEL = So3kratesConfig(
    features=12,
    layers=1,
    degrees=(1, 2),
    heads=2,
    radial_functions=8,
    radial_hidden=8,
    spherical_hidden=8,
    sphc_start="smooth",
)
# so quick that validation gets worse at times, and then soon stops a member
SETTINGS = TrainConfig(
    epochs=8, batch_size=8, learning_rate=0.2, ema_decay=0.0, plateau_patience=1, stop_patience=2,
    weight_decay=0.0, members=3, seed=4, precision="float64",  # in which rounding stays small
)  # fmt: skip


@pytest.fixture(scope="module")
def frames():
    return load("ethanol-gfn2")[:64]


@pytest.fixture(scope="module")
def split(frames):
    return random_split(frames, 32, 16, seed=3)


@pytest.fixture(scope="module")
def together(frames, split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return run(frames, split, folder=folder)


def run(frames, split, settings=SETTINGS, **more):
    return train(frames, split, model=MODEL, settings=settings, **{"progress": Silent(), **more})


def test_each_member_is_what_its_seed_gives_alone(frames, split, together):
    assert isinstance(together.potential, Ensemble)
    ended = []
    for k in range(3):
        alone = run(frames, split, replace(SETTINGS, members=1, seed=4 + k))
        member, ended_here = together.potential.member(k), len(alone.metrics)
        ended.append(ended_here)
        assert together.potential.card["epoch"][k] == alone.potential.card["epoch"]
        for a, b in zip(
            jax.tree.leaves(member.params), jax.tree.leaves(alone.potential.params), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)
        losses = [row[f"valid_loss_{k}"] for row in together.metrics[:ended_here]]
        np.testing.assert_allclose(losses, [r["valid_loss"] for r in alone.metrics], rtol=1e-9)
    assert len(together.metrics) == max(ended)
    assert len(set(ended)) > 1  # one stopped before another, and its best was kept


def test_metrics_are_means_over_members(together):
    for row in together.metrics:
        mean = np.mean([row[f"valid_loss_{k}"] for k in range(3)])
        assert row["valid_loss"] == pytest.approx(mean, rel=1e-6)


class StopAfter(Silent):
    def update(self, row) -> None:
        if row["epoch"] == 2:
            raise KeyboardInterrupt


def test_an_interrupted_ensemble_resumes_to_the_same_numbers(frames, split, together, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(frames, split, folder=tmp_path, progress=StopAfter())
    again = train(frames, split, folder=tmp_path, resume=True, progress=Silent())
    timeless = [
        [[v for k, v in row.items() if not k.endswith("_s")] for row in result.metrics]
        for result in (again, together)
    ]
    assert timeless[0] == timeless[1]
    for found in (again.potential, load_potential(tmp_path)):
        assert found.card["epoch"] == together.potential.card["epoch"]
        for a, b in zip(
            jax.tree.leaves(found.params), jax.tree.leaves(together.potential.params), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_a_member_that_diverges_is_named(frames, split, together, tmp_path):
    broken = jax.tree.map(np.array, together.potential.params)
    broken["energy_head"]["out"]["kernel"][1] = np.nan
    start = replace(together.potential, params=broken)
    with pytest.raises(TrainingDiverged, match=r"The loss of member 1 \(seed 5\) became nan at"):
        run(frames, split, folder=tmp_path, start=start)
    assert not (tmp_path / "state.safetensors").exists()


def test_an_ensemble_begins_from_as_many_members(frames, split, together, tmp_path):
    with pytest.raises(UserError, match="members = 2, but the ensemble to begin from has 3"):
        run(frames, split, replace(SETTINGS, members=2), start=together.potential, folder=tmp_path)
    assert not list(tmp_path.iterdir())
    settings = replace(SETTINGS, learning_rate=1e-9, epochs=1)
    onward = run(frames, split, settings, start=together.potential).potential
    a, b = (one.predict(frames[:4]).forces_std for one in (onward, together.potential))
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * b.max())


def test_the_commands_train_judge_and_use_an_ensemble(tmp_path, capsys):
    folder, out = tmp_path / "run", tmp_path / "out.extxyz"
    small = "--features 12 --layers 1 --degrees 1 2 --heads 2 --epochs 1 --members 2".split()
    command = ["train", "ethanol-gfn2", "--limit", "60", "--train", "16", "--valid", "8"]
    assert main([*command, "--folder", str(folder), *small]) == 0
    assert main(["evaluate", str(folder), "ethanol-gfn2", "--limit", "60"]) == 0
    printed = capsys.readouterr().out
    assert "How far 2 members lie apart" in printed and "within 1 sigma" in printed
    assert main(["predict", str(folder), "ethanol-gfn2", "--limit", "2", "--out", str(out)]) == 0
    assert "so3krates_energy_std, so3krates_forces_std" in capsys.readouterr().out
    from ase.io import read

    expected = load_potential(folder).predict(load("ethanol-gfn2", limit=2))
    for k, atoms in enumerate(read(out, ":")):
        assert atoms.info["so3krates_energy_std"] == pytest.approx(expected.energy_std[k], rel=1e-6)
        found = atoms.arrays["so3krates_forces_std"]
        np.testing.assert_allclose(found, expected.forces_std[k], rtol=0, atol=1e-7)
