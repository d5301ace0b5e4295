"""A model with physical terms is used like any other: switched, relaxed, simulated, trained on."""

from __future__ import annotations

import numpy as np
import pytest
from small import PHYSICS, molecule, small_config, small_potential

from so3krates_lite.explorer import importance
from so3krates_lite.explorer.app import Explorer
from so3krates_lite.interpret.switching import switch_off
from so3krates_lite.simulate.calculator import So3kratesCalculator
from so3krates_lite.simulate.dynamics import run_nve

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = small_config((1, 2), "so3lr", **PHYSICS)
FRAME = molecule(5, seed=3).replace(total_charge=np.array([1.0]), spin_multiplicity=np.array([2]))


def test_attention_is_switched_off_and_the_physical_terms_stay():
    """Without any attention every atom keeps its element's features: what is left is pairwise."""
    potential = small_potential(CONFIG)
    effect = switch_off(potential, FRAME)
    assert np.abs(effect.forces).max() > 1e-6
    record = potential.attention(FRAME)
    assert record.blocks == ("feature", "geometric") and record.cutoff_kind == "polynomial"
    np.testing.assert_allclose(record.charges, potential.properties(FRAME).charges, atol=1e-12)
    assert record.charges.sum() == pytest.approx(1, abs=1e-12)


def test_the_explorer_answers_on_it():
    potential = small_potential(CONFIG)
    explorer = Explorer(potential.attention(FRAME), potential, FRAME)
    found = importance.pairs_tested(potential, FRAME, explorer.record, explorer.state)
    assert found.text
    assert "charge" in explorer.controls["colour"].options


def test_energy_is_conserved_in_dynamics():
    """How far it strays falls with the square of the step, as where forces are its slope."""
    atoms = FRAME.to_atoms()[0]
    calculator = So3kratesCalculator(small_potential(CONFIG), total_charge=1, spin_multiplicity=2)
    strays = []
    for step in (0.1, 0.05):
        settings = {"steps": round(4 / step), "time_step_fs": step, "temperature_K": 30.0}
        found = run_nve(atoms, calculator, **settings, every=1)
        total = found.frames.energy + found.kinetic_energy
        strays.append(np.ptp(total))
    assert strays[1] < 0.35 * strays[0]
