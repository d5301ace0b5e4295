"""Errors of a set against numbers made by hand, and the remark where model and data differ."""

from __future__ import annotations

import json

import numpy as np
import pytest

from so3krates_lite.cli import main
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets import load, save_frames
from so3krates_lite.datasets.registry import REGISTRY
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential, Prediction
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training.evaluation import evaluate, format_table, paper_number

KCAL = 23.060548  # kcal/mol in an eV

# two waters, two hydroxyls (one written the other way round) and a hydrogen molecule; 0 is padding
NUMBERS = np.array([[8, 1, 1], [1, 8, 0], [8, 1, 1], [8, 1, 0], [1, 1, 0]])
ENERGY_ERRORS = np.array([6.0, -5.0, 4.0, 1.0, 2.0])
FORCE_ERRORS = np.zeros((5, 3, 3))
FORCE_ERRORS[0, 0] = 3.0, -4.0, 0.0
FORCE_ERRORS[1, 1] = 0.0, 0.0, -5.0


class Known(Potential):
    """Predicts what it is told, and something for padding atoms, too."""

    def predict(self, frames: Frames, **_) -> Prediction:
        forces = frames.forces + FORCE_ERRORS[: len(frames)] if frames.forces is not None else None
        padded = np.zeros(frames.positions.shape) if forces is None else forces
        padded = np.where(frames.mask[:, :, None], padded, 1e6)
        energy = 0.0 if frames.energy is None else frames.energy
        return Prediction(energy + ENERGY_ERRORS[: len(frames)], padded)


def known(theory: str | None = None) -> Known:
    return Known(So3kratesConfig(), {}, card={} if theory is None else {"level of theory": theory})


def frames_of(theory: str | None = None, name: str = "by hand", **changes) -> Frames:
    rng = np.random.default_rng(0)
    mask = NUMBERS[:, :, None] > 0
    info = {"name": name} if theory is None else {"name": name, "level_of_theory": theory}
    fields = {
        "energy": rng.normal(size=5),
        "forces": rng.normal(size=(5, 3, 3)) * mask,
        "info": info,
        **changes,
    }
    return Frames(NUMBERS, rng.normal(size=(5, 3, 3)) * mask, **fields)


def test_errors_of_frames_of_mixed_size_are_those_made_by_hand():
    errors, prediction = evaluate(known(), frames_of())
    assert (errors.name, errors.frames, errors.remark) == ("by hand", 5, "")
    assert errors.energy_mae == pytest.approx((6 + 5 + 4 + 1 + 2) / 5)
    assert errors.energy_rmse == pytest.approx(((36 + 25 + 16 + 1 + 4) / 5) ** 0.5)
    # 3, 2, 3, 2 and 2 atoms
    per_atom = (6 / 3) ** 2 + (5 / 2) ** 2 + (4 / 3) ** 2 + (1 / 2) ** 2 + (2 / 2) ** 2
    assert errors.energy_rmse_per_atom == pytest.approx((per_atom / 5) ** 0.5)
    # 12 atoms have 36 components; padding atoms, which are off by 1e6, have none
    assert errors.force_mae == pytest.approx((3 + 4 + 5) / 36)
    assert errors.force_rmse == pytest.approx(((9 + 16 + 25) / 36) ** 0.5)
    # waters are off by 5 ± 1, hydroxyls by -2 ± 3; a single hydrogen molecule tells nothing
    assert errors.energy_mae_less_offset == pytest.approx((1 + 1 + 3 + 3) / 4)
    assert errors.energy_rmse_less_offset == pytest.approx(((1 + 1 + 9 + 9) / 4) ** 0.5)
    assert prediction.energy.shape == (5,)


def test_a_row_holds_every_error_in_the_unit_of_its_heading():
    row = evaluate(known(), frames_of())[0].row()
    assert row == {
        "set": "by hand",
        "frames": 5,
        "energy MAE (kcal/mol)": pytest.approx(3.6 * KCAL, rel=1e-3),
        "energy RMSE (kcal/mol)": pytest.approx(16.4**0.5 * KCAL, rel=1e-3),
        "less offset: MAE (kcal/mol)": pytest.approx(2 * KCAL, rel=1e-3),
        "less offset: RMSE (kcal/mol)": pytest.approx(5**0.5 * KCAL, rel=1e-3),
        "force MAE (kcal/mol/Å)": pytest.approx(KCAL / 3, rel=1e-3),
        "force RMSE (kcal/mol/Å)": pytest.approx((50 / 36) ** 0.5 * KCAL, rel=1e-3),
        "paper": "-",
    }
    assert evaluate(known(), frames_of())[0].row("meV")["energy MAE (meV)"] == 3600
    heading, units, line, cells = format_table([row]).split("\n")
    assert heading.count("MAE") == heading.count("RMSE") == 3
    assert units.split() == ["kcal/mol"] * 4 + ["kcal/mol/Å"] * 2
    assert set(line) == {"-", " "} and cells.startswith("by hand")
    bare = format_table([{"set": "a", "frames": 12}, {"set": "bcd", "frames": 7}])
    assert bare == "set  frames\n---  ------\na        12\nbcd       7"


def test_what_a_set_does_not_hold_has_no_error():
    errors, _ = evaluate(known(), frames_of(forces=None))
    assert np.isnan([errors.force_mae, errors.force_rmse]).all() and errors.energy_mae == 3.6
    assert errors.row()["force MAE (kcal/mol/Å)"] == "-"
    errors, _ = evaluate(known(), frames_of(energy=None))
    energies = [v for k, v in vars(errors).items() if k.startswith("energy")]
    assert len(energies) == 5 and np.isnan(energies).all() and errors.remark == ""
    assert errors.force_mae == pytest.approx(1 / 3)
    errors, _ = evaluate(known(), frames_of()[[0, 1, 4]])  # each composition once
    assert np.isnan(errors.energy_mae_less_offset) and errors.energy_mae == 5.0
    with pytest.raises(UserError, match="the set has none"):
        evaluate(known(), frames_of()[[]])
    with pytest.raises(UserError, match="have neither"):
        evaluate(known(), frames_of(energy=None, forces=None))


def test_the_paper_s_number_stands_beside_the_set_that_it_is_of():
    errors, _ = evaluate(known(), frames_of(name="md17-toluene"))
    assert errors.row()["paper"] == "force MAE 0.073 kcal/mol/Å"
    assert paper_number("md17-benzene") == paper_number("no such set") == ""
    assert paper_number("qm7x") == "energy MAE 15.228 meV" and "qm7x" in REGISTRY


@pytest.mark.parametrize(
    ("model", "data", "differ"),
    [
        ("GFN2-xTB", "DFT, PBE", True),
        ("GFN2-xTB", "GFN2-xTB", False),
        ("GFN2-xTB, gas phase", "gfn2-xtb,  gas phase", False),
        ("GFN2-xTB; DFT, PBE", "DFT, PBE", False),  # trained on two sets
        ("DFT, PBE", "GFN2-xTB; DFT, PBE", True),
        ("not stated", "DFT, PBE", False),
        (None, "DFT, PBE", False),
        ("GFN2-xTB", None, False),
    ],
)
def test_another_level_of_theory_is_remarked(model, data, differ):
    remark = evaluate(known(model), frames_of(data))[0].remark
    assert bool(remark) == differ
    if differ:
        assert f"trained on {model}, but these data are {data}" in remark and "\n" not in remark


def test_another_zero_of_energy_is_remarked_whatever_is_stated():
    water = Frames(NUMBERS[[0, 2]], np.zeros((2, 3, 3)), energy=np.zeros(2))

    class Off(Potential):
        def predict(self, frames, **_):
            return Prediction(self.energy_scale + np.array([0.0, 0.2]), frames.positions)

    errors, _ = evaluate(Off(So3kratesConfig(), {}, energy_scale=4000.0), water)
    assert errors.energy_mae == pytest.approx(4000.1)
    assert errors.energy_mae_less_offset == pytest.approx(0.1)
    assert "off by 4000 eV on average" in errors.remark and "different zeros" in errors.remark
    # an eV, or ten times the scatter, whichever is more, may be the model's own error
    for offset, said in ((0.5, False), (0.85, False), (1.5, True)):
        errors, _ = evaluate(Off(So3kratesConfig(), {}, energy_scale=offset), water)
        assert errors.energy_mae == pytest.approx(offset + 0.1) and bool(errors.remark) == said


def test_the_command_says_that_model_and_data_differ(tmp_path, capsys):
    frames = load("ethanol-gfn2", limit=4)
    other = frames.replace(
        energy=frames.energy - 4000.0,
        info={**frames.info, "name": "other", "level_of_theory": "DFT, PBE"},
    )
    path = save_frames(other, tmp_path / "other.npz")
    report = tmp_path / "errors.json"
    asked = ["evaluate", "ethanol-gfn2", str(path), "--unit", "eV", "--json", str(report)]
    assert main([*asked, "--no-check"]) == 0
    *table, remark = capsys.readouterr().out.strip().split("\n")
    assert len(table) == 4
    assert remark.startswith("The model was trained on GFN2-xTB") and "data are DFT, PBE" in remark
    errors = json.loads(report.read_text())
    assert errors["energy_mae"] == pytest.approx(4000, abs=0.1)
    assert errors["energy_mae_less_offset"] < 0.02 and errors["remark"] == remark
