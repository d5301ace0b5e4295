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
from so3krates_lite.experiments.md17 import Recipe
from so3krates_lite.potential import Potential
from so3krates_lite.training import TrainConfig
from so3krates_lite.training.progress import Silent
from so3krates_lite.training.run import RunFolder

pytestmark = pytest.mark.usefixtures("quick_compilation")

TINY = Recipe(
    So3kratesConfig(
        features=12, layers=1, heads=2, radial_functions=8, radial_hidden=8, spherical_hidden=8
    ),
    TrainConfig(epochs=2, batch_size=5, schedule="cosine", ema_decay=0.0),
)
VARIED = {"momentum": [0.9], "learning_rate": [1e-6, 1e-2]}
SIZES = ["--train", "20", "--valid", "6"]


@pytest.fixture(scope="module")
def ethanol():
    return load("ethanol-gfn2")


@pytest.fixture(scope="module")
def made(ethanol, tmp_path_factory, quick_compilation):
    folder = tmp_path_factory.mktemp("recipes")
    return folder, _study(ethanol, folder)


def _study(ethanol, folder, varied=VARIED, seeds=(0, 3), **other):
    asked = {"n_train": 20, "n_valid": 6, "base": TINY, "seeds": seeds, "progress": Silent()}
    return study.recipes(ethanol, varied, folder=folder, **{**asked, **other})


def test_every_recipe_is_there_from_every_seed_and_the_best_stands_first(made):
    folder, results = made
    assert [result.varied["learning_rate"] for result in results] == [1e-2, 1e-6]
    assert [result.learning_rate for result in results] == [1e-2, 1e-6]
    assert all(result.seeds == (0, 3) and result.steps == 8 for result in results)
    assert np.mean(results[0].force_mae) < np.mean(results[1].force_mae)
    runs = sorted(place.name for place in folder.iterdir() if place.is_dir())
    assert runs == [
        f"learning_rate={rate}-momentum=0.9-seed{seed}" for rate in (0.01, 1e-06) for seed in (0, 3)
    ]
    _, settings, _ = RunFolder(folder / runs[1]).configuration()
    assert (settings.learning_rate, settings.momentum, settings.seed) == (1e-2, 0.9, 3)


def test_errors_are_those_of_the_kept_weights_on_validation_frames(made, ethanol):
    folder, (best, _) = made
    for place, seed in enumerate(best.seeds):
        run = RunFolder(folder / f"learning_rate=0.01-momentum=0.9-seed{seed}")
        split, metrics = run.split(), run.read_metrics()
        assert (len(split.train), len(split.valid), len(split.test)) == (20, 6, 0)
        assert not set(ethanol.group[split.train]) & set(ethanol.group[split.valid])
        valid = ethanol[split.valid]
        found = Potential.load(run.path).predict(valid)
        for name in ("force", "energy"):
            plural = "forces" if name == "force" else name
            error = np.abs(getattr(found, plural) - getattr(valid, plural)).mean()
            assert getattr(best, f"{name}_mae")[place] == pytest.approx(error, rel=1e-6)
        assert best.training_loss[place] == metrics[-1]["train_loss"]
        assert best.minutes[place] == metrics[-1]["wall_s"] / 60


def test_what_is_kept_is_taken_whatever_the_order_and_the_file_holds_all_numbers(made, ethanol):
    folder, results = made
    assert _study(ethanol, folder, dict(reversed(VARIED.items()))) == results
    kept = json.loads((folder / study.STORED).read_text())
    assert [tuple(row["force_mae"]) for row in kept["results"]] == [r.force_mae for r in results]
    assert kept["results"][0]["varied"] == {"learning_rate": 0.01, "momentum": 0.9}
    assert kept["validation frames"] == 6 and kept["training"]["batch_size"] == 5
    assert not {"momentum", "learning_rate", "seed"} & set(kept["training"])
    row, best = results[0].row(), results[0]
    assert row["learning_rate"] == "0.01" and len(row["each seed's"].split()) == 2
    for name, mae in (
        ("force MAE (kcal/mol/Å)", best.force_mae),
        ("energy MAE (kcal/mol)", best.energy_mae),
    ):
        assert row[name] == pytest.approx(23.0605 * np.mean(mae), abs=6e-4)


def test_a_run_of_other_frames_is_refused_before_anything_is_trained(made, ethanol):
    folder, _ = made
    before = sorted(folder.iterdir())
    with pytest.raises(UserError, match="another split of the frames"):
        _study(ethanol, folder, {**VARIED, "learning_rate": [1e-5, 1e-2]}, n_train=15)
    assert sorted(folder.iterdir()) == before


def test_settings_of_the_network_are_varied_too(ethanol, tmp_path):
    varied = {"degrees": [(1, 2)], "spherical_radius": [None]}
    (result,) = _study(ethanol, tmp_path, varied, seeds=(0,))
    row = result.row()
    assert row["degrees"] == "1,2" and row["spherical_radius"] == "none"
    assert row["learning_rate"] == 1e-2 and "each seed's" not in row
    model, _, _ = RunFolder(tmp_path / "degrees=1,2-spherical_radius=none-seed0").configuration()
    assert model.degrees == (1, 2) and model.features == 12


def test_a_recipe_that_diverges_stands_last_and_ends_nothing(ethanol, tmp_path, monkeypatch):
    taught = study.train_models

    def diverging(frames, split, models, settings, **common):
        if settings.learning_rate > 1:
            raise study.TrainingDiverged("The loss is nan.")
        return taught(frames, split, models, settings, **common)

    monkeypatch.setattr(study, "train_models", diverging)
    good, bad = _study(ethanol, tmp_path, {"learning_rate": [9.0, 1e-2]}, seeds=(0,))
    assert good.learning_rate == 1e-2 and np.isfinite(good.force_mae[0])
    assert bad.force_mae == (np.inf,) and bad.row()["force MAE (kcal/mol/Å)"] == np.inf
    kept = json.loads((tmp_path / study.STORED).read_text(), parse_constant=pytest.fail)
    assert kept["results"][1]["force_mae"] == [None]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("batch-size", "5", 5),
        ("learning_rate", "3e-3", 3e-3),
        ("optimiser", "adam", "adam"),
        ("energy_weight", "1", 1.0),
        ("degrees", "1,2", (1, 2)),
        ("spherical-radius", "none", None),
        ("spherical-radius", "1.5", 1.5),
    ],
)
def test_values_are_read_as_their_setting_has_them(name, text, value):
    (read,) = study.values_of(name, [text])
    assert read == value and type(read) is type(value)


def test_every_setting_that_may_be_varied_is_one_with_such_values():
    of_training, of_network = TrainConfig().to_dict(), So3kratesConfig().to_dict()
    assert set(study.OF_TRAINING) < set(of_training) and set(study.OF_NETWORK) < set(of_network)
    for name in study.VARIED:
        value = {**of_training, **of_network}[name]
        if value is not None:
            written = study._written(tuple(value) if isinstance(value, list) else value)
            (read,) = study.values_of(name, [written])
            assert read == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rate", "1", r"setting to vary = 'rate'.*learning_rate"),
        ("seed", "1", "setting to vary = 'seed'"),
        ("batch-size", "2.5", "batch-size cannot be '2.5': a whole number is needed"),
        ("momentum", "high", "momentum cannot be 'high': a number is needed"),
        ("degrees", "1,,2", "degrees cannot be '1,,2': whole numbers with commas"),
        ("spherical-radius", "all", "cannot be 'all': a number, or none, is needed"),
    ],
)
def test_what_is_no_value_is_refused(name, text, message):
    with pytest.raises(UserError, match=message):
        study.values_of(name, [text])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"varied": {"momentum": [0.9, 1.5]}}, r"momentum = 1\.5 is not possible"),
        ({"varied": {"momentum": [0.9, 0.9]}}, "values, each once"),
        ({"varied": {"momentum": []}}, "values, each once"),
        ({"varied": {"colour": ["red"]}}, "setting to vary = 'colour'"),
        ({"varied": {"optimiser": ["muon", "sgd"]}}, "optimiser = 'sgd'"),
        ({"varied": {"batch_size": [5, 30]}}, "batch_size = 30.*the 20 training frames"),
        ({"varied": {"epochs": [1]}, "seeds": (1, 1)}, "seeds = .*each once"),
        ({"varied": {"epochs": [1]}, "n_valid": 0}, "n_valid = 0"),
    ],
)
def test_what_is_impossible_is_refused_before_anything_is_trained(
    ethanol, tmp_path, asked, message
):
    with pytest.raises(UserError, match=message):
        _study(ethanol, tmp_path, **asked)
    assert not list(tmp_path.iterdir())


def test_the_command_shows_and_keeps(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(study, "BASE", TINY)
    command = ["experiment", "recipes", "--folder", str(tmp_path), *SIZES, "--seeds", "0", "3"]
    assert main([*command, "--vary", "learning-rate", "1e-6", "1e-2"]) == 0
    printed = capsys.readouterr().out.splitlines()
    lines = [line.split()[0] for line in printed if line[:1].isdigit()]
    assert lines == ["0.01", "1e-06"]
    for run in (f"learning_rate={rate}-seed{seed}" for rate in lines for seed in (0, 3)):
        split = RunFolder(tmp_path / run).split()
        assert (len(split.train), len(split.valid), len(split.test)) == (20, 6, 0)


def test_help_names_every_setting_that_may_be_varied(capsys):
    with pytest.raises(SystemExit):
        main(["experiment", "recipes", "--help"])
    told = "".join(capsys.readouterr().out.split())  # names may be broken over lines
    assert [name for name in study.VARIED if name.replace("_", "-") not in told] == []


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        (["--vary", "momentum"], "--vary momentum has no value"),
        (["--vary", "momentum", "0", "--vary", "momentum", "0.5"], "momentum stands there twice"),
        (["--vary", "momentum", "0.9", "0.90"], "values, each once"),
        (["--vary", "colour", "red"], "setting to vary = 'colour'"),
        (["--vary", "epochs", "0"], "epochs = 0 is not possible"),
    ],
)
def test_a_command_that_asks_for_what_is_not_possible_is_refused(tmp_path, capsys, vary, message):
    assert main(["experiment", "recipes", "--folder", str(tmp_path), *SIZES, *vary]) != 0
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
