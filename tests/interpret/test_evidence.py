"""The test of attention: its curves are what deleting does, and it can say no."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr
from small import frame_of, molecule, small_potential, stack
from test_interventions import LOCAL, moved

from so3krates_lite.errors import UserError
from so3krates_lite.interpret import rankings
from so3krates_lite.interpret.baselines import Baseline
from so3krates_lite.interpret.evidence import STABLE, Faithfulness, faithfulness
from so3krates_lite.interpret.switching import effects_of_pairs, switch_off
from so3krates_lite.structures.frames import Frames

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def frames() -> Frames:
    first = molecule(5, 3, span=3.0)
    return stack(first, moved(first, 1, by=0.05))


@pytest.fixture(scope="module")
def potential():
    return small_potential(LOCAL)


@pytest.fixture(scope="module")
def found(potential, frames) -> Faithfulness:
    return faithfulness(potential, frames, steps=4, top=3, others=[potential])


def row(found: Faithfulness, method: str) -> int:
    return found.methods.index(method)


def test_curves_go_from_nothing_to_all_and_back(found):
    for answer in ("energy", "forces"):
        np.testing.assert_allclose(found.deletion[answer][..., 0], 0, atol=1e-12)
        np.testing.assert_allclose(found.deletion[answer][..., -1], 1, rtol=1e-9)
        np.testing.assert_allclose(found.insertion[answer][..., 0], 1, rtol=1e-9)
        np.testing.assert_allclose(found.insertion[answer][..., -1], 0, atol=1e-12)


def test_a_point_of_a_curve_is_what_deleting_those_pairs_does(found, potential, frames):
    """Nearest pairs first, half of them, by hand."""
    frame = frames[1]
    listed = potential.attention(frame)
    order = np.argsort(listed.distance, kind="stable")
    half = round(0.5 * len(order))
    gone = [(int(listed.receiver[n]), int(listed.sender[n])) for n in order[:half]]
    rest = [(int(listed.receiver[n]), int(listed.sender[n])) for n in order[half:]]
    everything = switch_off(potential, frame, block="feature")
    at = row(found, "distance"), 1, 2
    for pairs, curves in ((gone, found.deletion), (rest, found.insertion)):
        effect = switch_off(potential, frame, block="feature", pairs=pairs)
        share = abs(effect.energy[0] / everything.energy[0])
        assert curves["energy"][at] == pytest.approx(share, rel=1e-9)
        share = effect.force_size[0] / everything.force_size[0]
        assert curves["forces"][at] == pytest.approx(share, rel=1e-9)
    assert found.whole["energy"][1] == pytest.approx(abs(everything.energy[0]), rel=1e-9)


def test_agreement_with_effects_is_spearmans(found, potential, frames):
    record = potential.attention(frames[0])
    alone = effects_of_pairs(potential, frames[0], block="feature")
    size = np.sqrt((record.feature.weighted**2).sum(axis=(0, 2)))
    expected = spearmanr(size, alone.effect.force_size).statistic
    assert found.order["forces"][row(found, "attention"), 0] == pytest.approx(expected, rel=1e-9)
    sign = np.sign(record.feature.weighted.sum(axis=(0, 2))) == np.sign(-alone.effect.energy)
    assert found.signs[row(found, "attention"), 0] == pytest.approx(sign.mean())
    best = [set(np.argsort(-v)[:3].tolist()) for v in (size, alone.effect.force_size)]
    overlap = len(best[0] & best[1]) / 3
    assert found.top["forces"][row(found, "attention"), 0] == pytest.approx(overlap)


def test_partial_correlation_is_that_of_the_residuals():
    rng = np.random.default_rng(1)
    third = rng.random(60)
    a, b = third + 0.1 * rng.random(60), third + 0.1 * rng.random(60)
    assert rankings.agreement_of_order(a, b) > 0.9
    ranks = [spearmanr(*both).statistic for both in ((a, b), (a, third), (b, third))]
    ab, ac, bc = ranks
    expected = (ab - ac * bc) / np.sqrt((1 - ac**2) * (1 - bc**2))
    assert rankings.agreement_of_order(a, b, third) == pytest.approx(expected, rel=1e-10)
    assert np.isnan(rankings.agreement_of_order(a, np.ones(60)))
    assert np.isnan(rankings.agreement_of_order(a, third, third))


def test_orders_are_stable_where_they_must_be(found):
    """An invariant network's do not turn with the molecule; a network agrees with itself."""
    known = [row(found, m) for m in found.methods if m != "random"]
    for name in ("rotations", "seeds"):
        assert found.stability[name][known] == pytest.approx(1, abs=1e-6)
    assert found.stability["untrained"][row(found, "distance")] == pytest.approx(1)
    assert found.stability["untrained"][row(found, "attention")] < 0.99
    assert set(found.stability) == set(STABLE)


def test_the_table_holds_what_was_measured(found):
    rows = found.rows("energy")
    assert [r["method"] for r in rows] == list(found.methods)
    curve = found.deletion["energy"][0]
    area = ((curve[:, 1:] + curve[:, :-1]) / 2 * 0.25).sum(axis=1)
    assert rows[0]["deletion"] == pytest.approx(area.mean(), rel=1e-12)
    back = found.insertion["energy"][0]
    gap = area - ((back[:, 1:] + back[:, :-1]) / 2 * 0.25).sum(axis=1)
    assert rows[0]["gap"] == pytest.approx(gap.mean(), rel=1e-10)
    assert rows[0]["±"] == pytest.approx(gap.std(), rel=1e-8)
    text = found.table("energy")
    assert f"{area.mean():.3f}" in text.splitlines()[1] and "2 frames are too few" in text
    with pytest.raises(UserError, match="answer = 'charges' is not known"):
        found.rows("charges")


def test_it_can_say_no(found):
    """Of curves made by hand: attention like a random order, better than that, better than both."""
    frames = 8

    def many(part):
        """Four times the two frames that were measured."""
        if isinstance(part, dict):
            return {name: many(v) for name, v in part.items()}
        return np.repeat(part, frames // 2, axis=0 if part.ndim == 1 else 1)

    names = ("insertion", "order", "beyond", "top", "signs", "incomplete", "whole", "n_pairs")
    wide = {name: many(getattr(found, name)) for name in names}
    level = {"attention": 0.5, "random": 0.5, "distance": 0.7}
    told = []
    for attention in (0.45, 0.6, 0.8, 0.7):
        heights = [{**level, "attention": attention}.get(m, 0.5) for m in found.methods]
        curves = np.broadcast_to(np.array(heights)[:, None, None], (len(heights), frames, 5))
        wide["insertion"] = {"forces": np.full_like(curves, 0.5)}
        made = replace(found, **wide, deletion={"forces": curves})
        told.append(made.verdict())
    assert "in 0 of 8 frames" in told[0] and "do not read it as importance" in told[0]
    assert "distance does so better" in told[1]
    assert "not surely better than distance" in told[3]
    assert "beyond what distance says" in told[2] and "in 8 of 8 frames" in told[2]


def test_frames_of_several_molecules_are_measured_side_by_side(potential, frames):
    mixed = stack(frames[0], molecule(4, 2, span=2.5))
    found = faithfulness(potential, mixed, steps=2, stability=False)
    assert np.isnan(found.stability["frames"]).all()
    assert found.deletion["forces"].shape == (len(found.methods), 2, 3)
    np.testing.assert_allclose(found.deletion["forces"][..., -1], 1, rtol=1e-9)


def test_what_cannot_be_done_is_said(potential, frames):
    with pytest.raises(UserError, match="no block 'spherical'"):
        faithfulness(potential, frames, block="spherical")
    with pytest.raises(UserError, match="draws=1"):
        faithfulness(potential, frames, baseline=Baseline("resampled", frames))
    with pytest.raises(UserError, match="steps = 0"):
        faithfulness(potential, frames, steps=0)
    apart = frame_of([6, 8], [[0, 0, 0], [9, 0, 0]])
    with pytest.raises(UserError, match="Frame 0 has no pair in the feature block"):
        faithfulness(potential, apart)
    with pytest.raises(UserError, match="same atoms in the same order"):
        faithfulness(potential, stack(frames, apart), baseline=Baseline("mean", frames))
    with pytest.raises(UserError, match="no structure"):
        faithfulness(potential, frames[[]])
