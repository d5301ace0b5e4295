"""Mistakes at the command line: one sentence, exit status 2, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from so3krates_lite.cli import main
from so3krates_lite.datasets import load
from so3krates_lite.datasets.places import bundled_path

pytestmark = pytest.mark.usefixtures("quick_compilation")

MODEL = bundled_path("models/ethanol-gfn2.safetensors").read_bytes()
TINY = "--features 12 --layers 1 --heads 2 --degrees 1 2 --epochs 1".split()


def with_results(atoms, **results):
    atoms = atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files as users have them, good and bad."""
    folder = tmp_path_factory.mktemp("mistakes")
    images = load("ethanol-gfn2")[:4].to_atoms()
    first = images[0]
    write(folder / "good one Å.extxyz", images)
    write(folder / "bare.extxyz", [image.copy() for image in images])
    write(folder / "forces.extxyz", [with_results(a, forces=a.get_forces()) for a in images])
    bohr = first.copy()
    bohr.positions /= 0.529177
    write(folder / "bohr.extxyz", bohr)
    lost, twins = first.copy(), first.copy()
    lost.positions[2, 0] = np.nan
    twins.positions[1] = twins.positions[0]
    write(folder / "nan.extxyz", lost)
    write(folder / "twins.extxyz", twins)
    noise = np.random.default_rng(0).bytes(2000)
    for name, content in {
        "empty.xyz": b"",
        "noise.xyz": noise,
        "noise.npz": noise,
        "cut.npz": b"PK\x03\x04" + noise,
        "noise.db": b"SQLite format 3\0" + noise,
        "short.xyz": b"9\nethanol\nC 0 0 0\n",
        "input.data": b"begin\natom 0 0 0 C 0 0\nend\n",
        "empty.safetensors": b"",
        "noise.safetensors": noise,
        "cut.safetensors": MODEL[:5000],
        "newer.safetensors": MODEL.replace(b'"format_version":"1"', b'"format_version":"9"'),
        "odd.safetensors": MODEL.replace(b'"format_version":"1"', b'"format_version":"x"'),
        "header.safetensors": MODEL.replace(b'"header":"{', b'"header":"['),
    }.items():
        (folder / name).write_bytes(content)
    np.savez(folder / "words.npz", R=np.array(["a"]), z=[1], E=[0.0], F=[0.0])
    np.savez(folder / "other.npz", a=1)
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, quick_compilation):
    folder = tmp_path_factory.mktemp("runs") / "run"
    sizes = "--limit 24 --train 16 --valid 8".split()
    assert main(["train", "ethanol-gfn2", "--folder", str(folder), *sizes, *TINY]) == 0
    return folder


def the_sentence(arguments, capsys) -> str:
    """What is said about a mistake, after seeing that it is said as it should be."""
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    assert main([str(a) for a in arguments]) == 2
    out, text = capsys.readouterr()
    assert out == ""
    assert text.startswith("so3krates-lite: ")
    assert text.count("\n") == 1 and text.endswith("\n")
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before
    return text


ARGUMENTS = {
    "no command": ([], "COMMAND"),
    "unknown command": (["trian"], "trian"),
    "missing argument": (["train"], "--folder"),
    "unknown option": (["predict", "m", "d", "--out", "o.xyz", "--fast"], "--fast"),
    "a word for a number": (["train", "d", "--folder", "f", "--epochs", "ten"], "--epochs"),
    "a fraction of frames": (["data", "info", "d", "--limit", "1.5"], "--limit"),
    "no frames": (["data", "info", "d", "--limit", "0"], "--limit"),
    "negative seed": (
        ["train", "ethanol-gfn2", "--folder", "f", "--seed", "-1"],
        "seed",
    ),
    "endless learning rate": (
        ["train", "ethanol-gfn2", "--folder", "f", "--learning-rate", "inf"],
        "learning_rate",
    ),
    "a rate of nothing": (
        ["train", "ethanol-gfn2", "--folder", "f", "--learning-rate", "0"],
        "learning_rate",
    ),
    "unknown optimiser": (
        ["train", "ethanol-gfn2", "--folder", "f", "--optimiser", "sgd"],
        "('muon', 'adam')",
    ),
    "resume with another optimiser": (
        ["train", "ethanol-gfn2", "--folder", "f", "--resume", "--optimiser", "adam"],
        "--optimiser",
    ),
    "negative time": (
        ["train", "ethanol-gfn2", "--folder", "f", "--max-minutes", "-1"],
        "max_minutes",
    ),
    "resume with another split": (
        ["train", "ethanol-gfn2", "--folder", "f", "--resume", "--train", "30"],
        "--train",
    ),
    "negative seed of generated data": (
        ["data", "generate", "ethanol-gfn2", "--seed", "-1", "--out", "g.npz"],
        "--seed",
    ),
    "set without a split": (
        ["evaluate", "ethanol-gfn2", "good one Å.extxyz", "--set", "valid"],
        "--split",
    ),
    "revised labels of a file with one set": (
        ["data", "info", "good one Å.extxyz", "--labels", "revised"],
        "revised",
    ),
    "no experiment": (["experiment"], "EXPERIMENT"),
    "unknown experiment": (["experiment", "water"], "water"),
    "unknown loss": (
        ["experiment", "md17", "ethanol", "--loss", "huber", "--folder", "f"],
        "('mse', 'l2mae')",
    ),
    "no carbons": (["experiment", "cumulenes", "--carbons", "0"], "--carbons"),
    "length of chain that is not there": (
        ["experiment", "cumulenes", "--carbons", "16", "--folder", "f"],
        "3 to 15",
    ),
    "chains that are none": (
        ["experiment", "cumulenes", "good one Å.extxyz", "--folder", "f"],
        "no cumulene of 3 carbons",
    ),
    "passes where steps count": (
        ["experiment", "charge-transfer", "--epochs", "3", "--folder", "f"],
        "--steps",
    ),
    "more frames than there are": (
        ["experiment", "charge-transfer", "good one Å.extxyz", "--sizes", "9", "--folder", "f"],
        "the set has 4",
    ),
    "experiment in a file": (["experiment", "ag3", "--folder", "empty.xyz"], "empty.xyz is a file"),
    "long cutoff of a local model": (
        ["train", "ethanol-gfn2", "--folder", "f", "--long-cutoff", "8"],
        "long_cutoff",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("mistake", ARGUMENTS)
def test_wrong_argument_is_named(mistake, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    arguments, expected = ARGUMENTS[mistake]
    assert expected in the_sentence(arguments, capsys)


@pytest.mark.parametrize(
    "name",
    "empty.xyz noise.xyz noise.npz cut.npz noise.db short.xyz input.data words.npz other.npz "
    "nan.extxyz twins.extxyz bohr.extxyz .".split(),
)
def test_unreadable_data_are_named(name, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert name in the_sentence(["predict", "ethanol-gfn2", name, "--out", "new/o.xyz"], capsys)


@pytest.mark.parametrize("name", ["empty", "noise", "cut", "newer", "odd", "header"])
def test_unreadable_model_is_named(name, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    name = f"{name}.safetensors"
    arguments = ["predict", name, "good one Å.extxyz", "--out", "new/o.xyz"]
    assert name in the_sentence(arguments, capsys)


@pytest.mark.parametrize("out", [".", "empty.xyz/o.npz", "empty.xyz/o.xyz", "empty.xyz/a/o.html"])
@pytest.mark.parametrize("command", ["predict", "attention"])
def test_place_that_cannot_be_written_is_named_at_once(command, out, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    text = the_sentence([command, "no-model", "no-data", "--out", out], capsys)
    assert "--out" in text and out.split("/")[0] in text


def test_place_that_fails_while_writing_is_named(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    long = "x" * 250
    for out in (f"{long}.npz", f"{long}.xyz"):
        arguments = ["predict", "ethanol-gfn2", "good one Å.extxyz", "--out", out]
        assert long in the_sentence(arguments, capsys)


def test_folder_that_is_a_file_is_refused(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    for command in (["train", "ethanol-gfn2"], ["demo"]):
        assert "empty.xyz is a file" in the_sentence([*command, "--folder", "empty.xyz"], capsys)


def test_untrained_element_is_not_attended_to(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nitrogen = Path(__file__).parents[1] / "reference" / "nitrogen.xyz"
    arguments = ["attention", "ethanol-gfn2", nitrogen, "--out", "a.html"]
    assert "trained on H, C, O" in the_sentence(arguments, capsys)


def test_data_without_labels_train_and_judge_nothing(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert "neither" in the_sentence(["evaluate", "ethanol-gfn2", "bare.extxyz"], capsys)
    sizes = "--folder new --train 2 --valid 1".split()
    assert "energy" in the_sentence(["train", "forces.extxyz", *sizes, *TINY], capsys)


def test_missing_labels_leave_a_gap_in_the_table_and_in_the_json(folder, tmp_path, capsys):
    out = tmp_path / "new Å" / "errors.json"
    arguments = ["evaluate", "ethanol-gfn2", str(folder / "forces.extxyz"), "--json", str(out)]
    assert main(arguments) == 0
    assert "nan" not in capsys.readouterr().out
    errors = json.loads(out.read_text(), parse_constant=pytest.fail)
    assert errors["energy_mae"] is None and errors["force_mae"] > 0


def test_results_go_to_folders_that_did_not_exist(folder, tmp_path, capsys):
    data = str(folder / "good one Å.extxyz")
    for command, name in (
        ("predict", "o p.extxyz"),
        ("predict", "o.npz"),
        ("predict", "o.db"),
        ("attention", "a.npz"),
        ("attention", "a.html"),
    ):
        out = tmp_path / f"Å {name}" / name
        assert main([command, "ethanol-gfn2", data, "--limit", "1", "--out", str(out)]) == 0
        assert [path.name for path in out.parent.iterdir()] == [name]


def test_implausible_units_can_be_insisted_on(folder, capsys):
    assert main(["data", "info", str(folder / "bohr.extxyz"), "--no-check"]) == 0


BROKEN = {
    "config.json": [b"", b"[1]", b'{"format_version": 1}', b'{"format_version": 7}', b"\xff\xfe"],
    "split.npz": [None, b"", b"PK\x03\x04 cut"],
    "metrics.csv": [None, b"epoch\nx\n", b"\xff\xfe\x00"],
    "state.safetensors": [b"", MODEL],
    "best.safetensors": [None, MODEL[:300]],
}


@pytest.mark.parametrize(
    ("name", "content"), [(name, c) for name, every in BROKEN.items() for c in every]
)
def test_broken_run_folder_is_not_resumed(name, content, run_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run_folder, "run")
    if content is None:
        Path("run", name).unlink()
    else:
        Path("run", name).write_bytes(content)
    arguments = "train ethanol-gfn2 --folder run --resume --limit 24".split()
    assert f"run/{name}" in the_sentence(arguments, capsys)


def test_run_is_not_resumed_on_fewer_frames_nor_begun_twice(
    run_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run_folder, "run")
    train = "train ethanol-gfn2 --folder run".split()
    assert "only 10 frames" in the_sentence([*train, "--resume", "--limit", "10"], capsys)
    other = "train carbon-chains-gfn2 --folder run --resume".split()
    assert "other frames" in the_sentence(other, capsys)
    again = "--limit 24 --train 16 --valid 8".split()
    assert "--resume" in the_sentence([*train, *again, *TINY], capsys)


def test_run_without_test_frames_has_nothing_to_judge(run_folder, capsys):
    assert main(["evaluate", str(run_folder), "ethanol-gfn2"]) == 2
    assert "test has none" in capsys.readouterr().err


def cli(*arguments, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "so3krates_lite.cli", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def test_terminal_without_the_letter_Å_still_shows_all():
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = cli("data", "info", "ethanol-gfn2", **plain)
    assert result.returncode == 0 and result.stderr == ""
    assert "eV/?" in result.stdout


def test_data_folder_that_is_none_is_named(monkeypatch, capsys):
    monkeypatch.setenv("SO3KRATES_DATA", "/no/such folder")
    assert main(["data", "info", "md17-ethanol"]) == 2
    assert "SO3KRATES_DATA" in capsys.readouterr().err


@pytest.mark.parametrize("set_to", [None, "folder"])
def test_data_that_must_be_had_first_are_named(set_to, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("SO3KRATES_DATA", raising=False)
    monkeypatch.setenv("SO3KRATES_CACHE", str(folder))
    if set_to:
        monkeypatch.setenv("SO3KRATES_DATA", str(folder))
    text = the_sentence(["experiment", "ag3", "--folder", "f"], capsys)
    assert "ag3-charge-states" in text and "SO3KRATES_DATA" in text


def test_charge_that_the_frames_do_not_state_is_named(tmp_path, capsys):
    sizes = ["--folder", str(tmp_path / "f"), "--train", "8", "--valid", "4"]
    assert main(["train", "cumulenes-gfn2", *sizes, "--charge-embedding", *TINY]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and "total_charge" in text
