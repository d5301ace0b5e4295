"""Integrated gradients: they sum to the change, and each is the integral that it claims to be."""

from __future__ import annotations

import numpy as np
import pytest
from small import molecule, small_potential, stack
from test_interventions import LOCAL, MODELS, moved

from so3krates_lite.errors import UserError
from so3krates_lite.interpret import attribution
from so3krates_lite.interpret.attribution import integrated_gradients
from so3krates_lite.interpret.baselines import Baseline
from so3krates_lite.interpret.interventions import Place, intervene

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def frame():
    return molecule(5, 3, span=3.0)


@pytest.mark.parametrize("name", MODELS)
def test_shares_sum_to_the_change(name, frame):
    potential = small_potential(MODELS[name])
    block = potential.config.blocks[0]
    for baseline in (Baseline(), Baseline("mean", stack(moved(frame, 1), moved(frame, 2)))):
        for chosen in (None, block):
            found = integrated_gradients(potential, frame, block=chosen, baseline=baseline)
            gone = intervene(potential, frame, [Place(chosen)], baseline)
            assert found.change == pytest.approx(-gone.energy[0], rel=1e-9, abs=1e-12)
            total = sum(v.sum() for v in found.shares.values())
            assert found.error == pytest.approx(total - found.change, abs=1e-12)
            assert found.is_complete and abs(found.error) <= 1e-3 * max(abs(found.change), 1)
            assert set(found.shares) == ({block} if chosen else set(potential.config.blocks))


def test_a_share_is_the_integral_of_its_slope_along_the_way(frame):
    """By finite differences of the gate of one place, while all others are opened together."""
    potential, step = small_potential(LOCAL), 1e-4
    baseline = Baseline("patch", moved(frame, 7))
    point, weight = np.polynomial.legendre.leggauss(30)
    where = {"layer": 1, "channel": 1, "pairs": [(0, 2)]}
    cases = []
    for t in (point + 1) / 2:
        for gate in (t + step, t - step):
            cases.append([Place(gate=t), Place("geometric", gate=gate, **where)])
    energy = intervene(potential, frame, cases, baseline).energy.reshape(-1, 2)
    expected = weight / 2 @ ((energy[:, 0] - energy[:, 1]) / (2 * step))
    found = integrated_gradients(potential, frame, baseline=baseline)
    assert found.points == 30
    assert found.shares["geometric"][1, 0, 2, 1] == pytest.approx(expected, rel=1e-6)


def test_gradient_times_attention_is_the_slope_as_trained(frame):
    potential, step = small_potential(LOCAL), 1e-5
    found = integrated_gradients(potential, frame, block="feature")
    where = {"layer": 0, "channel": 1, "pairs": [(2, 0)]}
    cases = [Place("feature", gate=1 + sign * step, **where) for sign in (1, -1)]
    more, less = intervene(potential, frame, cases).energy
    assert found.slopes["feature"][0, 2, 0, 1] == pytest.approx(
        (more - less) / (2 * step), rel=1e-6
    )


def test_pairs_beyond_the_cutoff_have_no_share(frame):
    potential = small_potential(LOCAL)
    listed = potential.attention(frame)
    near = np.zeros((5, 5), bool)
    near[listed.receiver, listed.sender] = True
    shares = integrated_gradients(potential, frame).of_pairs()
    assert near.any() and not near.all()
    assert (shares[~near] == 0).all() and (shares[near] != 0).all()


def test_an_integral_that_is_not_found_is_told(frame, monkeypatch, caplog):
    potential = small_potential(MODELS["spherical"])
    monkeypatch.setattr(attribution, "TOLERANCE", 1e-16)
    monkeypatch.setattr(attribution, "MOST_POINTS", 7)
    found = integrated_gradients(potential, frame, points=3)
    assert found.points == 7 and not found.is_complete
    assert "with 7 points the integral is not found" in caplog.text


def test_what_cannot_be_done_is_said(frame):
    potential = small_potential(LOCAL)
    with pytest.raises(UserError, match="no block 'spherical'"):
        integrated_gradients(potential, frame, block="spherical")
    drawn = Baseline("resampled", stack(frame, moved(frame, 1)))
    with pytest.raises(UserError, match="draws=1"):
        integrated_gradients(potential, frame, baseline=drawn)
    with pytest.raises(UserError, match="No shares of 'geometric'"):
        integrated_gradients(potential, frame, block="feature").of_pairs("geometric")
