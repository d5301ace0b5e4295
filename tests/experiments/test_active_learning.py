"""Active learning: walks stop where members disagree, and rounds are kept, judged and drawn."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from small import random_parameters, small_config

from so3krates_lite.cli import main
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets import load
from so3krates_lite.datasets.reference import Topology
from so3krates_lite.ensemble import Ensemble, atomic_deviation
from so3krates_lite.errors import UserError
from so3krates_lite.experiments import active_learning as study
from so3krates_lite.experiments.points import read_points
from so3krates_lite.potential import Potential
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training.progress import Silent

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = small_config(sphc_start="smooth", layers=1)
# forces so weak that atoms fly straight on
ENSEMBLE = Ensemble.of(
    [Potential(CONFIG, random_parameters(CONFIG, k, np.float32), energy_scale=1e-3) for k in (0, 1)]
)
COLD = study.Exploration(temperature=1.0, steps=12)
POINT = study.ActivePoint("pool", 0, 20, 0.1, 0.2, 0.1, 0.2, 0.3, 0.9, 0.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def start():
    return load("ethanol-gfn2", limit=1).to_atoms()[0]


@pytest.fixture(scope="module")
def path_of_deviations(start):
    """Positions and deviations after each step of one walk, found without `walk`."""
    rng = np.random.default_rng(5)
    seen = []
    for atoms in study._dynamics(ENSEMBLE, start, COLD, rng):
        frame = Frames(atoms.numbers[None], atoms.positions[None].copy())
        deviation = atomic_deviation(ENSEMBLE.predict(frame).forces_std[0]).max()
        seen.append((frame.positions[0], float(deviation)))
    return seen


def walked(start, topology=None, until=None, **changes) -> study.Walk:
    topology = topology or Topology.of(start)
    exploration = replace(COLD, **changes)
    rng = np.random.default_rng(5)
    return study.walk(ENSEMBLE, start, topology, exploration, rng, until)


def test_a_walk_ends_where_members_first_disagree(start, path_of_deviations):
    deviations = [deviation for _, deviation in path_of_deviations]
    k = int(np.argmax(np.array(deviations) > sorted(deviations)[-4]))  # within the walk
    threshold = (deviations[k] + max([0.0, *deviations[:k]])) / 2
    found = walked(start, threshold=threshold)
    assert found.steps == k + 1 and found.intact
    np.testing.assert_array_equal(found.positions, path_of_deviations[k][0])


def test_a_walk_of_agreement_gives_its_least_certain_frame(start, path_of_deviations):
    found = walked(start, threshold=1e9)
    assert found.steps == 12 and found.intact
    k = int(np.argmax([deviation for _, deviation in path_of_deviations]))
    np.testing.assert_array_equal(found.positions, path_of_deviations[k][0])


def test_a_walk_to_a_drawn_time_asks_nobody(start, path_of_deviations):
    found = walked(start, until=7, threshold=1e-12)
    assert found.steps == 7
    np.testing.assert_array_equal(found.positions, path_of_deviations[6][0])


def test_a_walk_that_breaks_a_bond_gives_what_was_whole(start, path_of_deviations):
    whole = Topology.of(start)
    for until, expected in ((None, start.positions), (3, start.positions)):
        broken = replace(whole, longest=whole.longest * 0)
        found = walked(start, broken, until, threshold=1e9)
        assert not found.intact and found.steps == 0
        np.testing.assert_array_equal(found.positions, expected)


def test_an_exploration_that_cannot_be_is_refused():
    with pytest.raises(UserError, match=r"threshold = 0 is not possible"):
        study.Exploration(threshold=0)


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"labels": (20, 10)}, "give rising numbers"),
        ({"labels": (5, 10)}, "the first 10 or more"),
        ({"strategies": ("guess",)}, "strategy = 'guess' is not possible"),
        ({"settings": replace(study.SETTINGS, members=1)}, "members = 1 is not possible"),
    ],
)
def test_what_is_not_possible_is_told_before_the_work(tmp_path, changes, told):
    with pytest.raises(UserError, match=told):
        study.active_learning(load("ethanol-gfn2", limit=50), folder=tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_rounds_are_kept_and_not_made_again(tmp_path):
    pytest.importorskip("tblite", reason="tblite (extra: generate) is not installed")
    tiny = So3kratesConfig(
        features=12, layers=1, degrees=(1,), heads=2, radial_hidden=8, spherical_hidden=8
    )
    options = {
        "labels": (10, 12),
        "seeds": (0,),
        "n_test": 10,
        "n_hot": 4,
        "model": tiny,
        "settings": replace(study.SETTINGS, members=2),
        "steps": 4,
        "exploration": study.Exploration(steps=3),
        "folder": tmp_path,
        "progress": Silent(),
    }
    frames = load("ethanol-gfn2")
    points = study.active_learning(frames, **options)
    assert [(p.strategy, p.labels) for p in points] == [
        (strategy, n) for strategy in study.STRATEGIES for n in (10, 12)
    ]
    first = [asdict(p) for p in points if p.labels == 10]
    same = ("energy_mae", "force_mae", "hot_force_worst")
    assert len({tuple(p[name] for name in same) for p in first}) == 1  # one beginning for all
    for strategy in study.STRATEGIES:
        labelled = load(tmp_path / f"{strategy}-0" / "12.npz")
        assert len(labelled) == 12
        before = load(tmp_path / "pool-0" / "12.npz")[:10]
        np.testing.assert_array_equal(labelled[:10].positions, before.positions)
    # the labels are those of the method: the pool's frames, asked again
    again = study.label(frames.to_atoms()[0], 0, before.positions[:1])
    assert again[0][0] == pytest.approx(before.energy[0], abs=1e-5)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    read = study.active_learning(frames, **options)
    for one, other in zip(read, points, strict=True):
        assert one.strategy == other.strategy
        numbers = [list(asdict(p).values())[1:] for p in (one, other)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-4)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == times
    with pytest.raises(UserError, match="results of another setting of 'steps'"):
        study.active_learning(frames, **{**options, "steps": 8})


def test_a_curve_has_a_row_for_each_number_of_labels_and_a_column_for_each_seed():
    points = [replace(POINT, labels=n, seed=s) for s in (0, 1) for n in (40, 20)]
    labels, errors = study.curve(points, "pool")
    assert labels.tolist() == [20, 40] and errors.shape == (2, 2)
    assert errors == pytest.approx(0.2 * 23.0605, rel=1e-4)


def test_the_picture_has_a_line_for_each_strategy_and_a_dot_for_each_seed():
    points = [
        replace(POINT, strategy=strategy, labels=n, seed=s, force_mae=0.1 + 0.01 * s)
        for strategy in study.STRATEGIES
        for n in (20, 40)
        for s in (0, 1)
    ]
    drawn = study.figure(points)
    assert len(drawn.axes) == 3
    for ax in drawn.axes:
        assert len(ax.lines) == 6 and ax.get_xscale() == ax.get_yscale() == "log"
    assert [t.get_text() for t in drawn.axes[0].get_legend().texts] == list(study.STRATEGIES)


def test_what_is_bundled_is_complete_and_is_shown_without_the_extra(tmp_path, capsys):
    points, facts = study.stored_points()
    found = {(p.strategy, p.seed, p.labels) for p in points}
    assert found == {
        (s, seed, n) for s in study.STRATEGIES for seed in (0, 1, 2) for n in study.LABELS
    }
    assert facts["model"] == {k: v for k, v in study.MODEL.to_dict().items() if v is not None}
    assert facts["exploration"] == vars(study.Exploration()) and facts["steps"] == study.STEPS
    command = ["experiment", "active-learning", "--stored", "--folder", str(tmp_path)]
    assert main(command) == 0
    assert "disagreement" in capsys.readouterr().out
    assert (tmp_path / "active_learning.png").stat().st_size > 10_000


def test_a_file_that_holds_no_results_is_refused(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="holds no results that can be read"):
        read_points(path, study.ActivePoint)
