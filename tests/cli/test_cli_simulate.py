"""The commands that move atoms write what they say, and refuse in a sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.io import read, write

from so3krates_lite.cli import main
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.potential import Potential

WHERE = ("ethanol-gfn2", "ethanol-gfn2", "--limit", "1")


def run(*arguments: str, capsys) -> tuple[int, str, str]:
    status = main(list(arguments))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_vibrations_are_printed_and_written(tmp_path, capsys):
    out, path = tmp_path / "modes.json", tmp_path / "mode.extxyz"
    more = ("--out", str(out), "--path", str(path), "--mode", "-1")
    status, printed, _ = run("vibrations", *WHERE, *more, capsys=capsys)
    assert status == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    frequencies = found["frequencies / cm^-1"]
    assert len(frequencies) == 21 and 3400 < frequencies[-1] < 3700
    assert f"{frequencies[-1]:.1f}" in printed
    assert f"{found['zero-point energy / eV']:.4f} eV" in printed
    assert f"free energy {found['gas']['gibbs_energy']:.4f} eV" in printed
    images = read(path, ":")
    assert len(images) == 24
    assert np.ptp([a.positions for a in images], axis=0).max() > 0.3


def test_dynamics_is_written_with_times_and_velocities(tmp_path, capsys):
    out = tmp_path / "run.extxyz"
    more = ("--steps", "4", "--every", "1", "--replicas", "2", "--out", str(out))
    status, printed, _ = run("md", *WHERE, *more, capsys=capsys)
    assert status == 0 and "steps a second" in printed
    for k in (0, 1):
        images = read(tmp_path / f"run-{k}.extxyz", ":")
        assert [a.info["time_fs"] for a in images] == [0, 0.5, 1, 1.5, 2]
        speed = (images[2].positions - images[1].positions) / 0.5
        mean = (images[1].get_velocities() + images[2].get_velocities()) / 2
        assert np.abs(speed - mean * units.fs).max() < 0.1 * np.abs(speed).max()


def test_stability_is_a_table(tmp_path, capsys):
    out = tmp_path / "stability.json"
    more = ("--picoseconds", "0.1", "--temperatures", "300", "--replicas", "2", "--json", str(out))
    status, printed, _ = run("stability", *WHERE, *more, capsys=capsys)
    (row,) = json.loads(out.read_text())
    assert status == 0 and row["whole at the end"] == 2 and row["length (ps)"] == 0.1
    assert "whole at the end" in printed


@pytest.mark.parametrize(
    "arguments, match",
    [
        (("md", *WHERE, "--out", "run.txt"), "--out run.txt: end the name in"),
        (("md", *WHERE, "--out", "run.xyz", "--temperature", "-3"), "-3 is not a number above 0"),
        (("md", *WHERE, "--out", "run.extxyz", "--ensemble", "npt"), "periodic in three"),
        (("vibrations", *WHERE, "--mode", "21", "--path", "m.extxyz"), "Mode 21 does not exist"),
        (("stability", *WHERE, "--picoseconds", "0"), "0 is not a number above 0"),
    ],
)
def test_mistakes_are_told_in_a_sentence(arguments, match, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, told = run(*arguments, capsys=capsys)
    assert status == 2 and match in told and "Traceback" not in told
    assert not list(tmp_path.iterdir())


def test_explosion_leaves_what_was_recorded(tmp_path, capsys):
    config = So3kratesConfig(features=12, layers=1, heads=2, degrees=(1,), cutoff=2.5)
    Potential.random(config).save(tmp_path / "wild.safetensors")
    water = read_water(tmp_path)
    out = tmp_path / "run.extxyz"
    more = ("--out", str(out), "--steps", "100", "--temperature", "300", "--time-step", "40")
    status, _, told = run("md", str(tmp_path / "wild.safetensors"), water, *more, capsys=capsys)
    assert status == 2 and "explodes" in told and "recorded until then is written" in told
    assert len(read(out, ":")) >= 1


def read_water(folder) -> str:
    write(folder / "water.xyz", molecule("H2O"))
    return str(folder / "water.xyz")


def test_spectrum_of_a_run_that_was_written(tmp_path, capsys):
    run_file, out = tmp_path / "run.extxyz", tmp_path / "spectrum.csv"
    more = ("--ensemble", "nve", "--steps", "800", "--every", "4", "--out", str(run_file))
    assert run("md", *WHERE, *more, "--temperature", "600", capsys=capsys)[0] == 0
    more = ("--out", str(out), "--resolution", "80")
    status, printed, _ = run("spectrum", "ethanol-gfn2", str(run_file), *more, capsys=capsys)
    assert status == 0 and "201 structures 2 fs apart" in printed
    header, *lines = out.read_text(encoding="utf-8").splitlines()
    assert header.count(",") == 2 and "modes per cm⁻¹" in header
    x, power, harmonic = np.array([line.split(",") for line in lines], float).T
    assert np.trapezoid(power, x) == pytest.approx(21, rel=0.15)
    assert np.trapezoid(harmonic, x) == pytest.approx(21, rel=0.1)
    picture = tmp_path / "spectrum.png"
    more = ("--out", str(picture), "--resolution", "80", "--no-harmonic")
    assert run("spectrum", "ethanol-gfn2", str(run_file), *more, capsys=capsys)[0] == 0
    assert picture.stat().st_size > 5000


def test_what_holds_no_motion_gives_no_spectrum(tmp_path, capsys):
    where = ("spectrum", "ethanol-gfn2", read_water(tmp_path), "--out", str(tmp_path / "s.csv"))
    status, _, told = run(*where, capsys=capsys)
    assert status == 2 and "pass --time-step" in told
    status, _, told = run(*where, "--time-step", "1", capsys=capsys)
    assert status == 2 and "holds no velocities" in told
    assert not (tmp_path / "s.csv").exists()
