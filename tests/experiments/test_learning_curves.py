"""Learning curves: fair splits, one shape for all sizes, results that are kept and can be read."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from so3krates_lite.cli import main
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets import group_or_random_split, load
from so3krates_lite.errors import UserError
from so3krates_lite.experiments import learning_curves as lc
from so3krates_lite.experiments.points import read_points
from so3krates_lite.training.progress import Silent

pytestmark = pytest.mark.usefixtures("quick_compilation")

TINY = So3kratesConfig(
    features=12, layers=1, heads=2, radial_functions=8, radial_hidden=8, spherical_hidden=8
)
SMALL = {"n_valid": 4, "n_test": 10, "model": TINY, "progress": Silent()}


@pytest.fixture(scope="module")
def ethanol():
    return load("ethanol-gfn2")


@pytest.fixture(scope="module")
def made(ethanol, tmp_path_factory, quick_compilation):
    path = tmp_path_factory.mktemp("curves") / "new" / "points.csv"
    points = lc.learning_curves(ethanol, sizes=(20, 5), highest=(0, 2), steps=8, path=path, **SMALL)
    return points, path


def test_degrees_are_the_papers_and_zero_knows_no_direction():
    assert [lc.degrees_up_to(l) for l in lc.HIGHEST] == [(0,), (1,), (1, 2), (1, 2, 3)]


def test_every_run_is_there_with_errors_and_settings(made):
    points, _ = made
    assert [(p.highest_degree, p.train_frames) for p in points] == [
        (0, 5),
        (0, 20),
        (2, 5),
        (2, 20),
    ]
    for point in points:
        assert point.data == "ethanol-gfn2" and point.seed == 0 and point.steps == 8
        assert 0 < point.force_mae < 5 and point.energy_mae > 0 and point.minutes > 0
        assert point.row()["force MAE (kcal/mol/Å)"] == pytest.approx(23.06 * point.force_mae, 1e-3)


def test_a_small_set_is_repeated_and_nothing_else_is_seen(ethanol):
    """Five frames, repeated, train like the same five frames written down four times."""
    split = group_or_random_split(ethanol, 20, 4, 10)
    settings = replace(lc.SETTINGS, seed=3)
    model = replace(TINY, degrees=lc.degrees_up_to(2))  # of the curves, compiled already
    options = {"model": model, "settings": settings, "steps": 8, "progress": Silent()}
    potential = lc.train_on_first(ethanol, split, 5, **options)
    assert potential.card["training frames"] == 5
    assert potential.card["epoch"] <= 2  # 8 steps are two epochs of 20 frames, of five each
    others = np.setdiff1d(np.arange(len(ethanol)), np.concatenate([split.train[:5], split.valid]))
    changed = ethanol.energy.copy()
    changed[others] += 7.0
    again = lc.train_on_first(ethanol.replace(energy=changed), split, 5, **options)
    frames = ethanol[split.test]
    assert np.array_equal(potential.predict(frames).energy, again.predict(frames).energy)
    with pytest.raises(UserError, match="size"):
        lc.train_on_first(ethanol, split, 21, **options)


def test_results_are_kept_and_not_made_again(made, ethanol):
    points, path = made
    read, facts = read_points(path, lc.LearningPoint)
    for one, other in zip(points, read, strict=True):
        assert one.data == other.data
        numbers = [{k: v for k, v in asdict(p).items() if k != "data"} for p in (one, other)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-4)
    assert facts["model"]["features"] == 12 and facts["test frames"] == 10
    assert facts["valid frames"] == 4 and "CPU" in facts["hardware"]
    again = lc.learning_curves(ethanol, sizes=(20, 5), highest=(0, 2), steps=8, path=path, **SMALL)
    assert again == read


def test_results_of_other_settings_are_refused(made, ethanol):
    _, path = made
    other = {**SMALL, "model": replace(TINY, features=24)}
    with pytest.raises(UserError, match="another setting of 'model'"):
        lc.learning_curves(ethanol, sizes=(5,), highest=(0,), steps=8, path=path, **other)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "# model: {\n", "data,seed\nx,one\n"])
def test_a_file_that_holds_no_curves_is_refused(tmp_path, text):
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(UserError, match="holds no results"):
        read_points(path, lc.LearningPoint)


def test_what_is_bundled_is_complete_and_says_how_it_came_about():
    points, facts = lc.stored_points()
    assert all(point.data == "ethanol-gfn2" for point in points)
    grid = {(p.highest_degree, p.train_frames) for p in points if p.steps == lc.STEPS}
    assert grid == {(degree, size) for degree in lc.HIGHEST for size in lc.SIZES}
    model, unchanged = lc.MODEL.to_dict(), So3kratesConfig().to_dict()
    assert facts["model"] == {name: model[name] for name in facts["model"]}
    # settings that have come since are at their defaults
    for name in set(model) - set(facts["model"]) - {"degrees"}:
        assert model[name] == unchanged[name]
    assert facts["training"]["batch_size"] == lc.SETTINGS.batch_size
    assert {"hardware", "machine", "valid frames", "test frames"} <= set(facts)
    assert lc.stored_points("another set")[0] == []


def test_a_curve_has_a_row_for_each_size_and_a_column_for_each_seed():
    point = lc.LearningPoint("x", 1, 50, 0, 8, 0.1, 0.2, 0.15, 1.0)
    points = [replace(point, train_frames=n, seed=s) for s in (0, 1) for n in (100, 50)]
    sizes, errors = lc.curve(points, 1)
    assert sizes.tolist() == [50, 100] and errors.shape == (2, 2)
    assert errors == pytest.approx(0.2 * 23.0605, rel=1e-4)


def test_the_picture_has_a_line_for_each_degree_and_a_dot_for_each_seed():
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    point = lc.LearningPoint("x", 1, 50, 0, 8, 0.1, 0.2, 0.15, 1.0)
    points = [
        replace(point, highest_degree=d, train_frames=n, seed=s, force_mae=0.1 + 0.01 * (s + d))
        for d in (0, 3)
        for n in (50, 100)
        for s in (0, 1)
    ]
    ax = Figure().subplots()
    lc.draw_points(ax, points)
    assert [text.get_text() for text in ax.texts] == ["degree 0", "degree 3"]
    assert len(ax.lines) == 4 and ax.get_xscale() == ax.get_yscale() == "log"
    assert "kcal/mol/Å" in ax.get_ylabel()


def test_the_command_trains_and_keeps(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(lc, "MODEL", TINY)
    monkeypatch.setattr(lc, "N_VALID", 4)
    command = ["experiment", "learning-curves", "--folder", str(tmp_path), "--sizes", "20"]
    assert main([*command, "--highest", "2", "--steps", "2", "--test", "10"]) == 0
    printed = capsys.readouterr().out
    assert "force MAE" in printed and "learning_curves.csv" in printed
    points, _ = read_points(tmp_path / "learning_curves.csv", lc.LearningPoint)
    assert [(p.highest_degree, p.train_frames) for p in points] == [(2, 20)]
