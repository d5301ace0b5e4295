"""What the explorer's buttons ask: answers are what changing the network does, and are kept."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest
from small import molecule, small_config, small_potential, stack
from synthetic import told_record

from so3krates_lite.errors import UserError
from so3krates_lite.explorer import importance, numbers, questions
from so3krates_lite.explorer.app import Explorer
from so3krates_lite.explorer.state import ViewState, after_pick
from so3krates_lite.interpret.attribution import Attribution
from so3krates_lite.interpret.rankings import METHODS
from so3krates_lite.interpret.switching import effects_of_channels, switch_off
from so3krates_lite.record import wording

pytestmark = pytest.mark.usefixtures("quick_compilation")

LAYERS = 2


@pytest.fixture(scope="module")
def potential():
    return small_potential(small_config(layers=LAYERS))


@pytest.fixture(scope="module")
def frames():
    first = molecule(5, 3, span=3.0)
    shifts = np.random.default_rng(1).normal(scale=0.05, size=(2, *first.positions.shape))
    return stack(first, *(first.replace(positions=first.positions + shift) for shift in shifts))


@pytest.fixture(scope="module")
def record(potential, frames):
    return potential.attention(frames)


@pytest.fixture
def state() -> ViewState:
    return ViewState("feature", layer=1, channel=0, frame=1)


@pytest.fixture
def view(potential, frames, record) -> Explorer:
    return Explorer(record, potential, frames, title="five atoms")


def test_shares_of_all_layers_and_channels_sum_to_what_the_block_is_worth(
    potential, frames, record, state
):
    total = 0.0
    for layer in range(LAYERS):
        for channel in range(record.n_channels("feature")):
            each = dataclasses.replace(state, layer=layer, channel=channel)
            found = importance.scored(potential, frames[1], record, each, "integrated gradients")
            total += found.matrix.sum()
            assert np.abs(found.matrix).max() <= found.limit
    worth = -1e3 * switch_off(potential, frames[1], block="feature").energy[0]
    assert total == pytest.approx(worth, rel=1e-6)


def test_attribution_stands_beside_attention_with_a_scale_of_its_own(
    potential, frames, record, state
):
    answer = importance.attribution_tested(potential, frames[1], record, state)
    attention, shares = answer.plots
    np.testing.assert_allclose(
        attention["values"], record.matrix(1, "feature", 1, 0), rtol=1e-6, atol=1e-9
    )
    assert attention["limit"] == record.limit("feature") != shares["limit"]
    at = answer.table["receiver"], answer.table["sender"]
    np.testing.assert_allclose(shares["values"][at], answer.table["score"], rtol=1e-6)
    assert "completeness error" in answer.text and "NOT complete" not in answer.text
    best = np.abs(answer.table["score"]).argmax()
    assert answer.text.endswith(f", {answer.table['score'][best]:.3g}.")


def test_shares_that_are_not_complete_are_told_to_be_so():
    held = {"feature": np.full((1, 2, 2, 1), 0.5)}
    found = Attribution(held, held, change=1.75, points=254)
    told = importance._completeness(found, "feature")
    assert "sum to +2.0000 eV" in told and "+1.7500 eV" in told and "+2.5e+02 meV" in told
    assert "NOT complete" in told and "smaller than 2.5e+02 meV" in told


@pytest.mark.parametrize("method", METHODS)
def test_every_method_scores_the_listed_pairs_only(potential, frames, record, state, method):
    found = importance.scored(potential, frames[1], record, state, method)
    listed = record.matrix(1, "feature", 1, 0) != 0
    assert (found.matrix[~listed] == 0).all() and (found.matrix[listed] != 0).all()
    assert found.signed == (found.matrix.min() < 0) and found.unit
    if method.startswith("one by one"):
        pair = tuple(np.argwhere(listed)[3].tolist())
        effect = switch_off(potential, frames[1], block="feature", layer=1, channel=0, pairs=[pair])
        by_hand = -effect.energy[0] if "energy" in method else effect.force_size[0]
        assert found.matrix[pair] == pytest.approx(1e3 * by_hand, rel=1e-9)


def test_a_pair_s_effect_is_what_its_baseline_does(potential, frames, record, state):
    stand = questions.stand_in("frame", frames, shown=1, second=2)
    answer = importance.pairs_tested(
        potential, frames[1], record, state, "integrated gradients", stand
    )
    table, (plot,) = answer.table, answer.plots
    pair = int(table["receiver"][2]), int(table["sender"][2])
    by_hand = switch_off(
        potential,
        frames[1],
        block="feature",
        layer=1,
        channel=0,
        pairs=[pair],
        baseline=stand.baseline,
    )
    assert table["change_of_energy_eV"][2] == pytest.approx(by_hand.energy[0], rel=1e-9)
    assert table["change_of_forces_eV_per_A"][2] == pytest.approx(by_hand.force_size[0], rel=1e-9)
    n = len(table["receiver"])
    assert plot["open"] == [False] * n + [True] * n and plot["groups"][1] == "integrated gradients"
    assert "By integrated gradients: " in answer.text and table["instead"] == "taken from frame 2"


def test_the_curve_is_what_deleting_pairs_in_the_methods_order_does(
    potential, frames, record, state
):
    answer = importance.curve_tested(potential, frames[1], record, state, "contribution")
    away, back = answer.plots
    names = ["attention", "integrated gradients", "contribution", "distance", "random"]
    assert [line["name"] for line in away["lines"]] == names
    assert len({tuple(line["dash"]) for line in away["lines"]}) == len(names)
    one = record.frames(1)
    order = np.argsort(one.distance, kind="stable")
    half = order[: round(0.5 * len(order))]
    gone = list(zip(one.receiver[half].tolist(), one.sender[half].tolist(), strict=True))
    parts = switch_off(potential, frames[1], block="feature", pairs=gone).force_size[0]
    whole = switch_off(potential, frames[1], block="feature").force_size[0]
    line = next(line for line in away["lines"] if line["name"] == "distance")
    assert away["x"][5] == 50.0 and line["y"][5] == pytest.approx(parts / whole, rel=1e-3)
    table = answer.table
    rows = np.flatnonzero(table["method"] == "distance")
    area = np.trapezoid(table["deletion_forces"][rows], table["share_of_pairs"][rows])
    less = np.trapezoid(table["insertion_forces"][rows], table["share_of_pairs"][rows])
    assert f"distance {area:.2f}, gap {area - less:+.2f}" in answer.text
    assert back["lines"][0]["y"][0] == pytest.approx(1)


def test_heads_stand_in_the_order_of_what_they_cost(potential, frames, record, state):
    answer = importance.heads_tested(potential, frames[1], record, state)
    (plot,), table = answer.plots, answer.table
    cost = table["change_of_forces_eV_per_A"]
    assert (np.diff(cost) <= 0).all() and len(cost) == sum(
        LAYERS * record.n_channels(block) for block in record.blocks
    )
    for block in record.blocks:
        energy, forces = effects_of_channels(potential, frames[1], block=block)
        for n, pick in enumerate(plot["picks"]):
            if pick["block"] == block:
                at = pick["layer"], pick["channel"]
                assert cost[n] == pytest.approx(forces[at], rel=1e-9)
                assert table["change_of_energy_eV"][n] == pytest.approx(energy[at], rel=1e-9)
    shown = plot["picks"][plot["chosen"]]
    assert shown == {"block": "feature", "layer": 1, "channel": 0}
    assert f"number {plot['chosen'] + 1} (" in answer.text
    picked = plot["picks"][0]
    clicked = after_pick(state, picked | {"count": 1})
    assert {name: getattr(clicked, name) for name in picked} == picked


def test_all_features_of_a_second_frame_bring_its_energy(potential, frames, record, state):
    """After the last layer nothing but x is read: all of it from there is all that differs."""
    state = dataclasses.replace(state, block="geometric", layer=LAYERS - 1)
    answer = questions.patched(potential, frames, record, state, second=2, what="x")
    energy = potential.predict(frames).energy
    assert answer.table["change_of_energy_eV"] == pytest.approx(energy[2] - energy[1], abs=1e-9)
    assert answer.table["frames_apart_eV"] == pytest.approx(energy[2] - energy[1], abs=1e-9)
    assert answer.text.startswith("The features x of all atoms after layer 1, taken from frame 2")


@pytest.mark.parametrize(
    ("block", "what", "said"),
    [
        ("feature", "x", "features x of {} after layer 0, head 1"),
        ("geometric", "x", "features x of {} after layer 0, taken"),
        ("geometric", "chi", "SPHCs χ of {} after layer 0, degree 2"),
        ("feature", "chi", "SPHCs χ of {} after layer 0, taken"),
    ],
)
def test_heads_own_a_share_of_the_features_and_degrees_one_of_the_sphcs(
    potential, frames, record, block, what, said
):
    state = ViewState(block, layer=0, channel=1, atom=2)
    answer = questions.patched(potential, frames, record, state, 1, what)
    assert said.format(wording.atom_labels(record.numbers[0])[2]) in answer.text
    assert np.abs(answer.table["change_of_force_eV_per_A"]).max() > 0


def test_what_stands_in_is_refused_where_it_does_not_exist(frames, potential, record, state):
    for kind, second, told in (
        ("frame", 1, "second frame is the shown one, 1"),
        ("frame", 3, "second frame 3 does not exist: there are 3"),
        ("nothing", 0, "Unknown 'nothing'"),
    ):
        with pytest.raises(UserError, match=told):
            questions.stand_in(kind, frames, 1, second)
    with pytest.raises(UserError, match="several frames"):
        questions.stand_in("mean", frames[0], 0)
    with pytest.raises(UserError, match="no charges: choose x or chi"):
        questions.chosen_tested(potential, frames[1], record, state, what="charges")
    assert questions.stand_in("mean", frames, 0).said == "set to the mean over the 3 frames"


def test_amounts_are_told_in_a_unit_that_suits_them():
    told = [questions.amount(v, "/Å", sign=True) for v in (0.0123, -0.5, 1.5, -20)]
    assert told == ["+12.3 meV/Å", "-500 meV/Å", "+1.5 eV/Å", "-20 eV/Å"]


# -- the numbers ----------------------------------------------------------------------------------


TABLES = [
    {"table": "one", "frame": 3, "receiver": np.array([0, 2]), "score": np.array([0.25, -1e-17])},
    {"table": "two", "worth_eV": np.float64(1.5), "known": None, "rest": np.array([np.nan])},
]


def test_tables_are_written_number_by_number(tmp_path):
    with numbers.write_tables(tmp_path / "x.csv", TABLES).open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["table"] for line in lines] == ["one", "one", "two"]
    assert [float(line["score"]) for line in lines[:2]] == [0.25, -1e-17]
    assert lines[1]["frame"] == "3" and lines[2]["frame"] == "" and lines[2]["worth_eV"] == "1.5"
    read = json.loads(numbers.write_tables(tmp_path / "x.json", TABLES, "mine").read_text())
    assert read["title"] == "mine" and read["tables"][0]["receiver"] == [0, 2]
    assert read["tables"][1] == {"table": "two", "worth_eV": 1.5, "known": None, "rest": [None]}
    with np.load(numbers.write_tables(tmp_path / "x.npz", TABLES, "mine")) as arrays:
        np.testing.assert_array_equal(arrays["0.score"], TABLES[0]["score"])
        assert str(arrays["1.table"]) == "two" and str(arrays["title"]) == "mine"


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    with pytest.raises(UserError, match=r"x\.txt: the name should end in one of \.csv, "):
        numbers.write_tables(tmp_path / "x.txt", TABLES)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        numbers.write_tables(tmp_path / "file" / "x.csv", TABLES)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_attention_is_written_as_shown():
    record, state = told_record(), ViewState("feature", layer=1, channel=1, frame=1)
    table = numbers.attention_table(record, state)
    index = record.pairs(1)
    np.testing.assert_array_equal(table["weighted"], record.feature.weighted[1, index, 1])
    assert len(table["receiver"]) == 7  # an image stands apart
    assert (table["block"], table["channel"]) == ("feature", "head 1")


# -- the widgets ----------------------------------------------------------------------------------


def test_every_control_says_what_it_is(view):
    boxes = [*view.tests.controls.values(), *view.tests.children[1].children]
    buttons = [box for row in view.tests.children[1:3] for box in row.children]
    assert all(box.description for box in (*boxes, *buttons))
    assert {"method", "in its place", "second frame"} <= {box.description for box in boxes}


def test_an_answer_is_shown_kept_and_marked_along(view, tmp_path):
    view.state = dataclasses.replace(view.state, frame=1)
    view.tests.ask("attribution")
    first, second = view.tests.panels
    assert first.layout.display is None and second.layout.display is None
    assert "Frame 1, feature attention" in view.tests.answer.value
    second.picked = {"receiver": 3, "sender": 0, "count": 1}
    assert (view.state.atom, view.state.partner) == (3, 0)
    assert first.data["chosen"] == second.data["chosen"] == {"receiver": 3, "sender": 0}
    view.tests.ask("attribution")
    assert len(view.tests.found) == 1  # the same question
    view.tests.controls["instead"].value = "mean"
    view.tests.ask("heads")
    assert second.layout.display == "none" and first.data["kind"] == "bars"
    first.picked = first.data["picks"][0] | {"count": 2}
    assert first.data["chosen"] == 0 and view.state.block == first.data["picks"][0]["block"]
    view.tests.ask("matter")
    assert sum(first.data["bright"]) == 2  # of both methods, the chosen pair
    read = json.loads(view.export_numbers(tmp_path / "x.json").read_text())
    kinds = [table["table"] for table in read["tables"]]
    assert kinds == ["attention", "attribution", "heads", "one by one"]
    assert read["title"] == "five atoms"
    heads = read["tables"][2]
    assert heads["instead"] == "set to the mean over the 3 frames" and len(heads["layer"]) > 4


def test_the_export_button_writes_where_the_field_says_and_tells_where(view, tmp_path):
    view.tests.controls["file"].value = str(tmp_path / "mine.csv")
    buttons = [box for row in view.tests.children[1:3] for box in row.children]
    export = next(box for box in buttons if box.description == "Export")
    export.click()
    assert (tmp_path / "mine.csv").is_file()
    assert f"Written: {tmp_path / 'mine.csv'}" in view.tests.answer.value
    view.tests.controls["file"].value = str(tmp_path / "mine.doc")
    export.click()
    assert "mine.doc" in view._message.value


def test_it_asks_again_only_if_that_is_wished_for(view, monkeypatch):
    asked = []
    plain = view.tests.actions["heads"]
    view.tests.actions["heads"] = lambda: asked.append(view.state.frame) or plain()
    view.tests.ask("heads")
    view.state = dataclasses.replace(view.state, frame=1)
    assert asked == [0]
    view.tests.controls["follow"].value = True
    view.state = dataclasses.replace(view.state, frame=2)
    view.state = dataclasses.replace(view.state, atom=1)  # does not matter to heads
    assert asked == [0, 2]
    assert len(view.tests.found) == 2


def test_a_question_that_fails_says_why_and_not_that_it_computes(view):
    view.tests.controls["second"].value = 0
    buttons = {box.description: box for box in view.tests.children[2].children}
    buttons["Patch"].click()
    assert "second frame is the shown one, 0" in view._message.value
    assert view.tests.answer.value == ""


def test_a_record_alone_has_its_numbers_to_export(tmp_path):
    view = Explorer(told_record())
    assert not view.tests.actions
    assert view.export_numbers(tmp_path / "x.csv").read_text().count("attention,0,feature") == 7
