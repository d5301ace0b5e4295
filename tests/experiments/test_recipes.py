"""A study of recipes: combinations are trained as they say, judged by validation frames, kept."""

from __future__ import annotations

import json

import numpy as np
import pytest

from so3krates_lite.cli import main
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets import load
from so3krates_lite.errors import UserError
from so3krates_lite.experiments import recipes as study
from so3krates_lite.experiments.learning_curves import divided
from so3krates_lite.potential import Potential
from so3krates_lite.training import TrainConfig
from so3krates_lite.training.progress import Silent
from so3krates_lite.training.run import RunFolder

pytestmark = pytest.mark.usefixtures("quick_compilation")

TINY = So3kratesConfig(
    features=12, layers=1, heads=2, radial_functions=8, radial_hidden=8, spherical_hidden=8
)
QUICK = TrainConfig(epochs=2, batch_size=5, schedule="cosine", ema_decay=0.0)
VARIED = {"learning_rate": [1e-6, 1e-2], "momentum": [0.9]}


@pytest.fixture(scope="module")
def ethanol():
    return load("ethanol-gfn2")


@pytest.fixture(scope="module")
def split(ethanol):
    return divided(ethanol, 20, 6, 0)


@pytest.fixture(scope="module")
def made(ethanol, split, tmp_path_factory, quick_compilation):
    folder = tmp_path_factory.mktemp("recipes")
    return folder, _study(ethanol, split, folder)


def _study(ethanol, split, folder, varied=VARIED, seeds=(0, 3)):
    common = {"model": TINY, "settings": QUICK, "seeds": seeds, "progress": Silent()}
    return study.recipes(ethanol, split, varied, folder=folder, **common)


def test_every_recipe_is_there_from_every_seed_and_the_best_stands_first(made):
    folder, results = made
    assert [result.recipe["learning_rate"] for result in results] == [1e-2, 1e-6]
    assert all(len(result.force_mae) == 2 and result.steps == 8 for result in results)
    assert results[0].mean_force_mae < results[1].mean_force_mae
    runs = sorted(place.name for place in folder.iterdir() if place.is_dir())
    assert runs == [
        f"learning_rate={rate}-momentum=0.9-seed{seed}" for rate in (0.01, 1e-06) for seed in (0, 3)
    ]
    _, settings, _ = RunFolder(folder / runs[1]).configuration()
    assert (settings.learning_rate, settings.momentum, settings.seed) == (1e-2, 0.9, 3)


def test_errors_are_those_of_the_kept_weights_on_validation_frames(made, ethanol, split):
    folder, (best, _) = made
    valid = ethanol[split.valid]
    for place, (seed, mae) in enumerate(zip((0, 3), best.force_mae, strict=True)):
        run = folder / f"learning_rate=0.01-momentum=0.9-seed{seed}"
        found = Potential.load(run).predict(valid)
        assert mae == pytest.approx(np.abs(found.forces - valid.forces).mean(), rel=1e-6)
        assert best.energy_mae[place] == pytest.approx(
            np.abs(found.energy - valid.energy).mean(), rel=1e-6
        )
        assert best.training_loss[place] == RunFolder(run).read_metrics()[-1]["train_loss"]


def test_no_test_frame_is_drawn_and_groups_stay_apart(ethanol, split):
    assert len(split.test) == 0
    assert not set(ethanol.group[split.train]) & set(ethanol.group[split.valid])


def test_what_is_kept_is_taken_and_the_table_says_what_it_is(made, ethanol, split):
    folder, results = made
    assert _study(ethanol, split, folder) == results
    kept = json.loads((folder / study.STORED).read_text())
    assert kept["results"] == [result.row() for result in results]
    assert kept["validation frames"] == 6 and kept["seeds"] == [0, 3]
    row = kept["results"][0]
    assert row["learning_rate"] == "0.01" and len(row["of each seed"].split()) == 2
    in_kcal = 23.0605 * results[0].mean_force_mae
    assert row["force MAE (kcal/mol/Å)"] == pytest.approx(in_kcal, abs=6e-4)


def test_settings_of_the_network_are_varied_too(ethanol, split, tmp_path):
    (result,) = _study(ethanol, split, tmp_path, {"degrees": [(1, 2)]}, seeds=(0,))
    assert result.row()["degrees"] == "1,2" and "of each seed" not in result.row()
    model, _, _ = RunFolder(tmp_path / "degrees=1,2-seed0").configuration()
    assert model.degrees == (1, 2) and model.features == TINY.features


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("batch_size", "5", 5),
        ("learning_rate", "3e-3", 3e-3),
        ("optimiser", "adam", "adam"),
        ("energy_weight", "1", 1.0),
        ("degrees", "1,2", (1, 2)),
        ("features", "24", 24),
    ],
)
def test_values_are_read_as_their_setting_has_them(name, text, value):
    read = study.setting_of(name, text)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rate", "1", r"setting to vary = 'rate'.*learning_rate"),
        ("seed", "1", "setting to vary = 'seed'"),
        ("batch_size", "2.5", "batch_size cannot be '2.5': a whole number is needed"),
        ("momentum", "high", "momentum cannot be 'high': a number is needed"),
        ("degrees", "1-2", "degrees cannot be '1-2': whole numbers with commas"),
    ],
)
def test_what_cannot_be_varied_is_refused(name, text, message):
    with pytest.raises(UserError, match=message):
        study.setting_of(name, text)


def test_an_impossible_value_is_refused_before_anything_is_trained(ethanol, split, tmp_path):
    with pytest.raises(UserError, match=r"momentum = 1\.5 is not possible"):
        _study(ethanol, split, tmp_path, {"momentum": [0.9, 1.5]})
    assert not list(tmp_path.iterdir())


def test_the_command_shows_and_keeps(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(study, "MODEL", TINY)
    monkeypatch.setattr(study, "SETTINGS", QUICK)
    command = ["experiment", "recipes", "--folder", str(tmp_path), "--train", "20", "--valid", "6"]
    assert main([*command, "--vary", "learning-rate", "1e-2", "--vary", "epochs", "2"]) == 0
    printed = capsys.readouterr().out
    assert "learning_rate" in printed and "recipes.json" in printed
    assert (tmp_path / "learning_rate=0.01-epochs=2-seed0" / "best.safetensors").is_file()


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        (["--vary", "momentum"], "--vary momentum has no value"),
        (["--vary", "momentum", "0", "--vary", "momentum", "0.5"], "momentum stands there twice"),
        (["--vary", "colour", "red"], "a setting to vary = 'colour'"),
    ],
)
def test_a_command_that_asks_for_nothing_is_refused(tmp_path, capsys, vary, message):
    assert main(["experiment", "recipes", "--folder", str(tmp_path), *vary]) != 0
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
