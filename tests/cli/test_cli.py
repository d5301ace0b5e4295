"""The command line: it does what it says, and a user's mistake ends in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small import PHYSICS, quickly, small_config, small_potential

from so3krates_lite.cli import build_parser, main
from so3krates_lite.cli.options import documented
from so3krates_lite.datasets import load
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.training import TrainConfig

NITROGEN = str(Path(__file__).parents[1] / "reference" / "nitrogen.xyz")
TINY = "--features 12 --layers 2 --heads 2 --degrees 1 2 --batch-size 8 --epochs 2".split()


def run(*arguments, capsys) -> tuple[int, str, str]:
    status = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def molecules(tmp_path_factory):
    from ase.io import write

    path = tmp_path_factory.mktemp("data") / "molecules.xyz"
    write(path, load("ethanol-gfn2")[:3].replace(energy=None, forces=None).to_atoms())
    return path


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    sizes = "--limit 64 --train 40 --valid 16".split()
    with quickly():
        assert main(["train", "ethanol-gfn2", "--folder", str(folder), *sizes, *TINY]) == 0
    return folder


def test_train_leaves_a_complete_run_folder(run_folder):
    names = {path.name for path in run_folder.iterdir()}
    assert names == {
        "best.safetensors",
        "config.json",
        "metrics.csv",
        "split.npz",
        "state.safetensors",
    }


REACHED = {
    "--spherical-radius 1 --charge-embedding --long-cutoff 8": {
        "spherical_radius": 1.0,
        "charge_embedding": True,
        "long_cutoff": 8.0,
    },
    "--spherical-radius 1.5 --spin-embedding --sphc-start smooth": {
        "spherical_radius": 1.5,
        "spin_embedding": True,
        "sphc_start": "smooth",
    },
    "--layers 3": {"layers": 3},
    "--variant so3lr --physics dispersion repulsion --long-cutoff 9": {
        "variant": "so3lr",
        "physics": ("repulsion", "dispersion"),
        "long_cutoff": 9.0,
    },
}


@pytest.mark.parametrize("options", REACHED)
def test_options_of_train_reach_the_model(options, monkeypatch):
    from so3krates_lite import training
    from so3krates_lite.config import So3kratesConfig

    class Reached(Exception):
        pass

    def stop(frames, split, *, model, **_):
        raise Reached(model)

    monkeypatch.setattr(training, "train", stop)
    with pytest.raises(Reached) as stopped:
        main(["train", "ethanol-gfn2", "--folder", "not-made", *options.split()])
    assert stopped.value.args == (So3kratesConfig(**REACHED[options]),)


def test_evaluate_judges_the_run_s_own_test_frames(run_folder, capsys, tmp_path):
    out = tmp_path / "errors.json"
    status, text, _ = run(
        "evaluate", run_folder, "ethanol-gfn2", "--limit", 64, "--json", out, capsys=capsys
    )
    assert status == 0
    assert "force MAE" in text and "kcal/mol/Å" in text
    assert json.loads(out.read_text())["frames"] == 64 - 40 - 16


def test_evaluate_bundled_model_on_its_own_test_frames(capsys):
    status, text, _ = run(
        "evaluate", "ethanol-gfn2", "ethanol-gfn2", "--unit", "meV", capsys=capsys
    )
    assert status == 0
    assert "800" in text and "meV/Å" in text


def test_evaluate_knows_the_frames_of_a_bundled_model_under_any_name(capsys, tmp_path):
    report = tmp_path / "errors.json"
    asked = ("evaluate", "ethanol-gfn2-geomatt", "ethanol-gfn2", "--json", report)
    assert run(*asked, capsys=capsys)[0] == 0
    assert json.loads(report.read_text())["frames"] == 800
    assert run(*asked, "--set", "valid", capsys=capsys)[0] == 0
    assert json.loads(report.read_text())["frames"] == 200
    status, _, told = run(*asked, "--limit", "12", capsys=capsys)  # most of them it was trained on
    assert status == 2 and "there are only 12 frames: it belongs to other data" in told
    assert "--set all" in told
    assert run(*asked, "--limit", "12", "--set", "all", capsys=capsys)[0] == 0
    assert json.loads(report.read_text())["frames"] == 12
    # a command without these options does not advise them
    status, _, told = run("faithfulness", *asked[1:3], "--limit", "12", capsys=capsys)
    assert status == 2 and "there are only 12 frames" in told and "--set" not in told


@pytest.mark.parametrize("ending", ["extxyz", "npz"])
def test_predicted_structures_can_be_read_again(molecules, tmp_path, capsys, ending):
    out = tmp_path / f"predicted.{ending}"
    assert run("predict", "ethanol-gfn2", molecules, "--out", out, capsys=capsys)[0] == 0
    reference, predicted = load("ethanol-gfn2")[:3], load(out)
    assert np.abs(predicted.forces - reference.forces).max() < 0.5
    np.testing.assert_allclose(predicted.energy, reference.energy, atol=0.1)
    np.testing.assert_allclose(predicted.positions, reference.positions, atol=1e-6)


@pytest.fixture(scope="module")
def charged_model(tmp_path_factory):
    """A tiny model with all that SO3LR has, and a molecule that it can be used on."""
    from ase.build import molecule as of_ase
    from ase.io import write

    place = tmp_path_factory.mktemp("charged")
    small_potential(small_config((1, 2), "so3lr", **PHYSICS)).save(place / "model.safetensors")
    water, box = of_ase("H2O"), of_ase("H2O")
    box.set_cell([6.0, 7.0, 8.0])
    box.pbc = True
    write(place / "water.xyz", water)
    write(place / "box.extxyz", box)
    return place


@pytest.mark.parametrize("ending", ["extxyz", "npz"])
def test_predict_writes_charges_dipole_and_energies_by_term(
    charged_model, tmp_path, capsys, ending
):
    out = tmp_path / f"out.{ending}"
    where = charged_model / "model.safetensors", charged_model / "water.xyz"
    status, text, _ = run("predict", *where, "--charge", 1, "--out", out, capsys=capsys)
    assert status == 0 and "so3krates_charges" in text
    if ending == "npz":
        with np.load(out) as file:
            found = {name: file[name][0] for name in file.files if name.startswith("so3krates_")}
        assert load(str(out), check=False).total_charge[0] == 1
    else:
        from ase.io import read

        image = read(out)
        found = {k: v for k, v in (image.info | image.arrays).items() if k.startswith("so3krates_")}
    assert found["so3krates_charges"].sum() == pytest.approx(1, abs=1e-5)
    terms = ("network", "repulsion", "electrostatics", "dispersion")
    total = sum(float(found[f"so3krates_energy_{name}"]) for name in terms)
    assert total == pytest.approx(float(found["so3krates_energy"]), rel=1e-5)
    assert np.shape(found["so3krates_dipole"]) == (3,)


def test_a_cell_asks_for_a_long_cutoff_and_is_served_with_one(charged_model, tmp_path, capsys):
    where = charged_model / "model.safetensors", charged_model / "box.extxyz"
    out = tmp_path / "box.extxyz"
    status, _, told = run("predict", *where, "--out", out, capsys=capsys)
    assert status == 2 and "--long-cutoff 12" in told and not out.exists()
    options = ("--long-cutoff", 7, "--stress", "--out", out)
    assert run("predict", *where, *options, capsys=capsys)[0] == 0
    assert run("predict", *where, *options, "--ewald", capsys=capsys)[0] == 0
    assert run("evaluate", *where, "--long-cutoff", 7, capsys=capsys)[0] == 2  # it has no labels
    status, _, told = run("predict", *where, "--long-cutoff", "far", "--out", out, capsys=capsys)
    assert status == 2 and "far is not a length above 0" in told


def test_a_remark_is_one_line(tmp_path, capsys):
    from ase.io import write

    atoms = load("ethanol-gfn2")[0].to_atoms()[0]
    atoms.info["charge"] = 1
    write(tmp_path / "ion.xyz", atoms)
    out = tmp_path / "out.xyz"
    status, _, text = run(
        "predict", "ethanol-gfn2", tmp_path / "ion.xyz", "--out", out, capsys=capsys
    )
    assert status == 0
    assert text.startswith(
        "so3krates-lite: This potential does not read the total_charge, so that 1 "
    )
    assert text.count("\n") == 1


def test_attention_as_numbers_and_as_a_page(molecules, tmp_path, capsys):
    numbers, page = tmp_path / "record.npz", tmp_path / "attention.html"
    assert run("attention", "ethanol-gfn2", molecules, "--out", numbers, capsys=capsys)[0] == 0
    assert len(AttentionRecord.load(numbers)) == 3
    assert run("attention", "ethanol-gfn2", molecules, "--out", page, capsys=capsys)[0] == 0
    assert "<html" in page.read_text()[:500]


def test_what_is_not_read_is_told_in_one_line_and_can_be_named(tmp_path, capsys):
    from ase.io import write

    images = [image.copy() for image in load("ethanol-gfn2")[:3].to_atoms()]
    for k, image in enumerate(images):
        image.info |= {"b3lyp_energy": -300.0 - k}
        image.arrays["b3lyp_f"] = np.full((9, 3), 0.5)
    del images[1].info["charge"]
    path = tmp_path / "odd.extxyz"
    write(path, images)
    status, out, err = run("data", "info", path, capsys=capsys)
    assert status == 0 and "eV" not in out
    assert err.startswith(f"so3krates-lite: {path}: no energy: none under a usual name")
    assert "no total_charge: 1 of 3 structures have none: 1" in err and err.count("\n") == 1
    keys = ["--energy-key", "b3lyp_energy", "--forces-key", "b3lyp_f"]
    status, out, err = run("data", "info", f"{path}@1:", *keys, capsys=capsys)
    assert "frames: 2 of 9" in out and "energy: -301.500 eV" in out
    status, out, err = run("data", "info", f"{path}@0", *keys, capsys=capsys)
    assert status == 0 and err == ""


def test_data_list_and_info_name_what_is_bundled(capsys):
    status, text, _ = run("data", "list", capsys=capsys)
    assert status == 0 and "md17-ethanol" in text and "so3lr" in text
    status, text, _ = run("data", "info", "ethanol-gfn2", capsys=capsys)
    assert status == 0
    assert "GFN2-xTB" in text and "2000" in text


MISTAKES = {
    "unknown model": (["evaluate", "nonsense", "ethanol-gfn2"], "nonsense"),
    "missing model file": (["evaluate", "no/such.safetensors", "ethanol-gfn2"], "no/such"),
    "unknown data": (["evaluate", "ethanol-gfn2", "ethanl-gfn2"], "ethanol-gfn2"),
    "missing data file": (["predict", "ethanol-gfn2", "none.xyz", "--out", "x.xyz"], "none.xyz"),
    "unknown unit": (["evaluate", "ethanol-gfn2", "ethanol-gfn2", "--unit", "cal"], "cal"),
    "unknown set": (["evaluate", "ethanol-gfn2", "ethanol-gfn2", "--set", "tst"], "--set"),
    "stress of a molecule": (
        ["predict", "ethanol-gfn2", "ethanol-gfn2", "--limit", "1", "--stress", "--out", "x.npz"],
        "stress",
    ),
    "ending of attention": (
        ["attention", "ethanol-gfn2", "ethanol-gfn2", "--out", "x.png"],
        ".html, .npz or .zarr",
    ),
    "unknown strategy": (
        ["train", "ethanol-gfn2", "--folder", "x", "--strategy", "odd"],
        "--strategy",
    ),
    "features that do not divide": (
        ["train", "ethanol-gfn2", "--folder", "x", "--features", "13"],
        "features",
    ),
    "too few frames": (
        ["train", "ethanol-gfn2", "--folder", "x", "--limit", "10"],
        "frames",
    ),
    "resume of nothing": (["train", "ethanol-gfn2", "--folder", "x", "--resume"], "x"),
    "resume with settings": (
        ["train", "ethanol-gfn2", "--folder", "x", "--resume", "--epochs", "3"],
        "--epochs",
    ),
    "start with settings": (
        ["train", "ethanol-gfn2", "--folder", "x", "--start", "ethanol-gfn2", "--layers", "1"],
        "--layers",
    ),
    "untrained element": (
        ["predict", "ethanol-gfn2", NITROGEN, "--out", "x.xyz"],
        "trained on H, C, O",
    ),
    "long cutoff of a model that sees no further": (
        ["predict", "ethanol-gfn2", NITROGEN, "--long-cutoff", "9", "--out", "x.xyz"],
        "sees no further than its cutoff",
    ),
    "fetch of what is bundled": (["data", "fetch", "ethanol-gfn2"], "bundled|comes with"),
    "generate over a file": (
        ["data", "generate", "ethanol-gfn2", "--out", __file__],
        "exists already",
    ),
    "demo of no time": (["demo", "--minutes", "0"], "--minutes"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_ends_in_one_sentence_and_leaves_nothing(mistake, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments, expected = MISTAKES[mistake]
    status, _, text = run(*arguments, capsys=capsys)
    assert status == 2
    assert text.startswith("so3krates-lite: ")
    assert "Traceback" not in text
    assert len(text.strip().splitlines()) == 1
    assert any(part in text for part in expected.split("|"))
    assert list(tmp_path.iterdir()) == []


def test_every_command_explains_itself(capsys):
    commands = [["train"], ["evaluate"], ["predict"], ["attention"], ["demo"]]
    commands += [["serve"], ["export"]]
    commands += [["data", action] for action in ("list", "info", "fetch", "generate")]
    commands += [["experiment", name] for name in ("cumulenes", "charge-transfer", "ag3")]
    for command in commands:
        with pytest.raises(SystemExit) as stopped:
            build_parser().parse_args([*command, "--help"])
        assert stopped.value.code == 0
        assert len(capsys.readouterr().out) > 100


def test_help_of_a_setting_is_what_its_docstring_says():
    texts = documented(TrainConfig)
    assert texts["learning_rate"] == (
        "of Muon's matrices, or of Adam, at its highest [1e-3 for Adam, for Muon 1e-2, or "
        "2.4 / (features times layers) for a So3krates where that is less]"
    )
    assert "(a linear rise over the first 2 %%, then down to 1 %% over epochs)" in texts["schedule"]
    assert texts["train_only"].endswith("[all]")


def test_package_and_help_of_commands_load_nothing_heavy():
    import subprocess
    import sys

    heavy = {"jax", "ase", "plotly", "scipy"}
    code = (
        "import sys, so3krates_lite, so3krates_lite.cli as cli; cli.build_parser();"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
