"""The command that tests attention: it prints the table, writes what it is asked, and says no."""

from __future__ import annotations

import json

import pytest
from small import small_config, small_potential

from so3krates_lite.cli import main
from so3krates_lite.datasets import load

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    small_potential(small_config(), "float32").save(path)
    return str(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from ase.io import write

    path = tmp_path_factory.mktemp("data") / "molecules.xyz"
    write(path, load("ethanol-gfn2")[:3].replace(energy=None, forces=None).to_atoms())
    return str(path)


def test_it_prints_the_table_and_writes_figure_and_numbers(model, data, tmp_path, capsys):
    page, numbers = tmp_path / "curves.html", tmp_path / "numbers.json"
    options = ["--frames", "2", "--answer", "energy", "--baseline", "mean", "--others", model]
    assert (
        main(["faithfulness", model, data, *options, "--out", str(page), "--json", str(numbers)])
        == 0
    )
    told = capsys.readouterr().out
    found = json.loads(numbers.read_text())
    assert "attention" in told and "baseline 'mean'" in told and "eV when all" in told
    assert found["baseline"] == "mean" and len(found["n_pairs"]) == 2
    assert f"{found['stability']['seeds'][0]:.3f}" == "1.000"
    assert "plotly" in page.read_text()


def test_mistakes_end_in_a_sentence(model, data, tmp_path, capsys):
    for arguments, words in (
        (["--out", str(tmp_path / "curves.txt")], "should end in one of .html"),
        (["--block", "spherical"], "no block 'spherical'"),
        (["--frames", "0"], "not a positive whole number"),
    ):
        assert main(["faithfulness", model, data, *arguments]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "curves.txt").exists()
