"""Two explorers side by side: what they differ by, and that they follow each other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic import TOLD, correlation_record, ethanol_record, told_record

from so3krates_lite.cli.explore import app_notebook
from so3krates_lite.errors import UserError
from so3krates_lite.explorer.app import Explorer
from so3krates_lite.explorer.beside import SideBySide, compare_records, explore_two
from so3krates_lite.explorer.state import ViewState, followed
from so3krates_lite.record import AttentionRecord
from so3krates_lite.record.parts import BlockAttention


def scaled(record: AttentionRecord, factor: float) -> AttentionRecord:
    """The record with all feature attention times a factor."""
    held = record.feature
    new = BlockAttention(
        factor * held.coefficient, factor * held.weighted, abs(factor) * held.contribution
    )
    return dataclasses.replace(record, feature=new)


STATE = ViewState("feature", layer=0, channel=0, frame=1)
# of the last frame, with the image of (1, 2)
WHOLE = TOLD * np.where(np.arange(9).reshape(3, 3) == 5, 1.3, 1.0)


def test_the_difference_is_one_less_the_other_on_the_larger_scale():
    one, other = told_record(), scaled(told_record(), -0.5)
    data, text = compare_records(one, other, STATE, names=("before", "after"))
    np.testing.assert_allclose(data["values"], 1.5 * WHOLE, rtol=1e-6)
    assert data["limit"] == one.limit("feature") and data["signed"]
    assert data["title"] == "before − after: feature attention, layer 0 · head 0"
    there = WHOLE[WHOLE != 0]
    assert f"over 6 pairs: root mean square {np.sqrt(np.mean((1.5 * there) ** 2)):.3g}" in text
    assert "largest where O0 asks H1, +1.35" in text and "order by +1.00" in text
    back, _ = compare_records(other, one, STATE)
    np.testing.assert_allclose(back["values"], -data["values"])
    assert back["limit"] == data["limit"]


def test_parts_of_the_largest_size_compare_what_has_no_scale_in_common():
    one, other = told_record(), scaled(told_record(), 7.0)
    data, text = compare_records(one, other, STATE, shared=False)
    np.testing.assert_allclose(data["values"], 0, atol=1e-7)
    assert data["limit"] == 1.0 and "part of its own largest size" in text


def test_other_choices_are_named_on_both_sides():
    layer = dataclasses.replace(STATE, layer=1)
    data, text = compare_records(told_record(), told_record(), STATE, layer)
    np.testing.assert_allclose(data["values"], 0.7 * WHOLE, rtol=1e-6)
    assert "A shows feature attention, layer 0 · head 0; B, feature attention, layer 1" in text


def test_two_molecules_have_no_difference():
    with pytest.raises(UserError, match="not one molecule"):
        compare_records(told_record(), ethanol_record(), dataclasses.replace(STATE, frame=0))
    both = explore_two(ethanol_record(), told_record())
    assert both.difference.layout.display == "none" and "not one molecule" in both._said.value
    both.one.state = dataclasses.replace(both.one.state, atom=8)
    assert both.other.state.atom is None  # it has three


def test_a_view_follows_as_far_as_its_record_goes():
    record, own = correlation_record(frames=2), ViewState("correlation", layer=2, channel=1)
    state = ViewState("geometric", layer=0, frame=1, atom=3, partner=4, role="sender", limit=2.0)
    found = followed(state, own, record)
    assert (found.block, found.layer, found.channel, found.limit) == ("correlation", 2, 1, None)
    assert (found.frame, found.atom, found.partner, found.role) == (1, 3, 4, "sender")
    far = followed(dataclasses.replace(state, frame=7, atom=None, partner=None), own, record)
    assert far.frame == 0
    same = ViewState("feature", layer=1, channel=2, limit=0.4)
    assert followed(same, STATE, ethanol_record()) == same


def test_both_follow_each_other_until_they_are_parted():
    both = explore_two(told_record(), scaled(told_record(), 0.5), names=("one", "two"))
    both.other.panels["matrix"].picked = {"receiver": 2, "sender": 0, "count": 1}
    assert (both.one.state.atom, both.one.state.partner) == (2, 0)
    assert both.difference.data["chosen"] == {"receiver": 2, "sender": 0}
    both.difference.picked = {"receiver": 0, "sender": 1, "count": 1}
    assert both.one.state.atom == both.other.state.atom == 0
    both.linked.value = False
    both.one.controls["frame"].value = 1
    assert (both.one.state.frame, both.other.state.frame) == (1, 0)
    both.linked.value = True  # the second follows the first
    assert both.other.state.frame == 1
    assert not both.one._message.value and not both.other._message.value


def test_they_begin_where_the_stronger_of_the_two_is_strongest():
    weak, strong = scaled(told_record(), 0.1), told_record()
    for both in (explore_two(weak, strong), explore_two(strong, weak)):
        assert both.one.state == both.other.state
        assert (both.one.state.layer, both.one.state.channel) == (1, 1)
    faint = scaled(ethanol_record(seed=1), 1e-3)
    where = Explorer(ethanol_record()).state
    both = explore_two(faint, ethanol_record())
    assert (both.one.state.layer, both.one.state.channel) == (where.layer, where.channel)


def test_one_scale_serves_both_until_each_has_its_own():
    one, other = told_record(), scaled(told_record(), 3.0)
    both = SideBySide(Explorer(one), Explorer(other))
    for block in ("feature", "geometric"):
        both.one.controls["block"].value = block
        ends = {view.panels["matrix"].data["limit"] for view in (both.one, both.other)}
        assert ends == {other.limit(block)} and both.other.state.block == block
    both.one.controls["block"].value = "feature"
    both.shared.value = False
    assert both.one.panels["matrix"].data["limit"] == one.limit("feature")
    assert both.other.panels["matrix"].data["limit"] == other.limit("feature")
    assert both.difference.data["limit"] == 1.0


def test_two_architectures_have_scales_of_their_own():
    both = explore_two(ethanol_record(frames=2), correlation_record(frames=2))
    assert both.shared.disabled and not both.shared.value
    assert "correlation attention" in both._said.value
    before = both.other.state
    both.one.controls["layer"].value = 1 - both.one.state.layer
    both.one.controls["atom"].value = 3
    assert both.other.state == dataclasses.replace(before, atom=3)


def test_the_command_opens_two_beside_each_other(capsys):
    from so3krates_lite.cli import main

    (cell,) = app_notebook(["a.safetensors", "b.safetensors"], "f.npz", ["a", "b"])["cells"]
    assert cell["source"].splitlines()[1] == (
        "explore_two(*['a.safetensors', 'b.safetensors'], 'f.npz', names=('a', 'b'))"
    )
    compile(cell["source"], "cell", "exec")
    assert main(["explore", "ethanol-gfn2", "ethanol-gfn2", "--beside", "no-such-model"]) == 2
    assert "no-such-model" in capsys.readouterr().err
