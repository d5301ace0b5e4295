"""Bundled potentials: what their cards state is what they do on frames kept from them."""

from __future__ import annotations

import csv
import importlib

import numpy as np
import pytest

from so3krates_lite.datasets import load
from so3krates_lite.datasets.bundled import bundled_potentials, bundled_split, split_of_model
from so3krates_lite.datasets.places import bundled_path, data_folder
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.training.evaluation import evaluate

OF_MD17 = [name for name in bundled_potentials() if name.startswith("md17-")]
SCRIPT = bundled_path("README.md").with_name("train_models.py")


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        yield importlib.import_module(SCRIPT.stem)


def check_errors(potential, frames):
    errors, _ = evaluate(potential, frames)
    card = potential.card
    assert len(frames) == card["test frames"]
    assert 1e3 * errors.force_mae == pytest.approx(
        card["force MAE on test frames / meV/Å"], rel=1e-3
    )
    assert 1e3 * errors.energy_mae == pytest.approx(
        card["energy MAE on test frames / meV"], rel=1e-2
    )


@pytest.mark.parametrize("name", OF_MD17)
def test_one_of_md17_is_of_the_paper_s_size_and_of_what_its_card_says(name):
    potential, split = Potential.load(name), bundled_split(name)
    assert potential.n_parameters < 720_000
    assert (potential.config.features, potential.config.layers) == (132, 6)
    assert (len(split.train), len(split.valid), len(split.test)) == (950, 50, 300)
    assert potential.card["name"] == name and potential.card["training frames"] == 950
    assert max(split.train.max(), split.valid.max()) < 1000 <= split.test.min()


@pytest.mark.skipif(data_folder() is None, reason="needs MD17 under SO3KRATES_DATA")
@pytest.mark.parametrize("name", OF_MD17)
def test_its_errors_on_official_test_frames_are_those_stated(name):
    potential, frames = Potential.load(name), load(name)
    split = bundled_split(name, frames, potential.card["fingerprint"])
    np.testing.assert_array_equal(frames[split.test].forces, load(name, part="test").forces)
    check_errors(potential, frames[split.test])


def test_all_others_are_made_by_the_script(script, monkeypatch, tmp_path, capsys):
    assert {*script.BUNDLED, *OF_MD17} == set(bundled_potentials())
    made = []
    monkeypatch.setattr(script, "make", lambda name, folder: made.append((name, folder)))
    for names in ([], ["c9h4-local"]):
        monkeypatch.setattr("sys.argv", ["train_models.py", *names, "--folder", str(tmp_path)])
        script.main()
    assert made == [(name, tmp_path) for name in (*script.BUNDLED, "c9h4-local")]
    monkeypatch.setattr("sys.argv", ["train_models.py", "methanol"])
    with pytest.raises(SystemExit):
        script.main()
    assert "no recipe of methanol: choose of ethanol-gfn2" in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in bundled_potentials() if name not in OF_MD17])
def test_one_of_the_bundled_data_is_what_the_script_makes(script, name):
    potential, wanted = Potential.load(name), script.BUNDLED[name]
    assert potential.config == wanted.model
    frames = load(wanted.data)
    split, made = bundled_split(name, frames, potential.card["fingerprint"]), wanted.split(frames)
    for part in ("train", "valid", "test"):
        np.testing.assert_array_equal(getattr(split, part), getattr(made, part))
    course = bundled_path(f"models/{name}.metrics.csv").read_text(encoding="utf-8").splitlines()
    assert int(list(csv.DictReader(course))[-1]["epoch"]) == wanted.settings.epochs
    check_errors(potential, frames[split.test])


def test_a_split_of_other_frames_is_refused():
    frames, fingerprint = (
        load("ethanol-gfn2"),
        Potential.load("ethanol-gfn2-geomatt").card["fingerprint"],
    )
    assert len(bundled_split("ethanol-gfn2", frames, fingerprint).train) == 1000
    moved = frames.replace(positions=frames.positions + 0.01)
    with pytest.raises(UserError, match="ethanol-gfn2 was trained on other frames than the 2000"):
        bundled_split("ethanol-gfn2", moved, fingerprint)
    with pytest.raises(UserError, match="only 100 frames"):
        bundled_split("ethanol-gfn2", frames[:100], fingerprint)


def test_a_model_s_own_frames_are_known_under_any_name():
    model, frames = "ethanol-gfn2-geomatt", load("ethanol-gfn2")
    card = Potential.load(model).card
    assert len(split_of_model(model, "ethanol-gfn2", frames, card).test) == 800
    assert len(split_of_model(model, "some.npz", frames, card).test) == 800
    assert split_of_model(model, "some.npz", frames[:100], card) is None
    assert split_of_model("runs/some folder", "ethanol-gfn2", frames, card) is None
    others = frames.replace(energy=frames.energy + 1)  # other labels
    for name in (model, "ethanol-gfn2"):
        with pytest.raises(UserError, match="trained on other frames"):
            split_of_model(name, "ethanol-gfn2", others, card)
