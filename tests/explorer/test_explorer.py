"""The explorer without a browser: states, drawings and callbacks are plain functions."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from small import molecule, random_parameters, small_config, small_potential
from synthetic import ethanol_record, told_record

from so3krates_lite.config import GeomAttConfig
from so3krates_lite.datasets import load
from so3krates_lite.ensemble import Ensemble
from so3krates_lite.errors import UserError
from so3krates_lite.explorer import app, diagnosis, drawing, panel, questions
from so3krates_lite.explorer.state import ViewState, after_pick
from so3krates_lite.potential import Potential
from so3krates_lite.record import wording

pytestmark = pytest.mark.usefixtures("quick_compilation")

MODELS = {
    "so3krates": small_config(layers=2),
    "spherical": small_config(layers=2, spherical_radius=3.0),
    "geomatt": GeomAttConfig(features=6, inner=8, layers=2, grid_spacing=0.2),
}


@pytest.fixture(scope="module")
def record():
    return ethanol_record(frames=3, padding=2, spherical=True)


@pytest.fixture
def state() -> ViewState:
    return ViewState("feature", layer=1, channel=2)


# -- the state ------------------------------------------------------------------------------------


def test_a_click_on_an_atom_chooses_it_and_a_second_one_shows_all(state):
    chosen = after_pick(state, {"atom": 3})
    assert (chosen.atom, chosen.partner) == (3, None)
    assert after_pick(chosen, {"atom": 3}).atom is None
    assert after_pick(chosen, {"atom": 4}).atom == 4


@pytest.mark.parametrize(("role", "atom", "partner"), [("receiver", 1, 5), ("sender", 5, 1)])
def test_a_click_on_a_pair_chooses_both_its_atoms(state, role, atom, partner):
    state = dataclasses.replace(state, role=role)
    chosen = after_pick(state, {"receiver": 1, "sender": 5})
    assert (chosen.atom, chosen.partner) == (atom, partner)
    again = after_pick(chosen, {"receiver": 1, "sender": 5})
    assert (again.atom, again.partner) == (None, None)


def test_clicks_on_the_overview_and_on_the_frames(state):
    assert after_pick(state, {"layer": 0, "channel": 3}).channel == 3
    assert after_pick(state, {"frame": 2}).frame == 2
    assert after_pick(state, {"count": 9}) == state


def test_a_state_survives_a_file_and_a_wrong_file_is_named(state, tmp_path):
    state = dataclasses.replace(state, atom=2, threshold=0.2)
    state.save(tmp_path / "view.json")
    assert ViewState.load(tmp_path / "view.json") == state
    (tmp_path / "other.json").write_text("[1, 2]")
    for name in ("none.json", "other.json"):
        with pytest.raises(UserError, match=name):
            ViewState.load(tmp_path / name)
    (tmp_path / "new.json").write_text(json.dumps({**state.to_dict(), "tone": 1}))
    with pytest.raises(UserError, match="tone"):
        ViewState.load(tmp_path / "new.json")


@pytest.mark.parametrize(
    "change",
    [
        {"block": "correlation"},
        {"quantity": "loudness"},
        {"frame": 3},
        {"atom": 9},
        {"role": "listener"},
        {"threshold": 1.5},
        {"limit": 0.0},
    ],
    ids=str,
)
def test_a_choice_that_does_not_exist_is_named(record, state, change):
    with pytest.raises(UserError, match=str(next(iter(change.values())))):
        dataclasses.replace(state, **change).checked(record)


def test_another_block_with_fewer_channels_starts_at_its_first(record, state):
    state = dataclasses.replace(state, channel=3, block="geometric")
    assert state.checked(record).channel == 0


# -- drawings -------------------------------------------------------------------------------------


def test_the_matrix_is_the_record_s_with_the_choice_marked(record, state):
    data = drawing.matrix_data(record, dataclasses.replace(state, atom=4, role="sender"))
    expected = record.matrix(0, "feature", 1, 2)
    np.testing.assert_allclose(data["values"], expected, rtol=1e-3, atol=1e-12)
    assert data["labels"] == wording.atom_labels(record.numbers[0])
    assert data["chosen"] == {"receiver": None, "sender": 4}


def test_one_scale_for_all_layers_channels_frames_unless_it_is_freed(record, state):
    ends = {
        drawing.matrix_data(record, dataclasses.replace(state, layer=a, channel=b, frame=c))[
            "limit"
        ]
        for a in range(2)
        for b in range(4)
        for c in range(3)
    }
    assert ends == {record.limit("feature", "weighted")}
    freed = dataclasses.replace(state, limit=0.3)
    for function in (drawing.matrix_data, drawing.distance_data, drawing.overview_data):
        assert function(record, freed)["limit"] == 0.3


@pytest.mark.parametrize("block", ["feature", "geometric", "spherical"])
def test_points_are_the_frame_s_directed_pairs(record, state, block):
    state = dataclasses.replace(state, block=block, frame=1)
    data = drawing.distance_data(record, state)
    index, pairs = record.pairs(1, block), record.neighbours(block)
    np.testing.assert_allclose(data["x"], pairs.distance[index], rtol=1e-3)
    np.testing.assert_allclose(data["y"], record.select(block, 1, 2, frame=1), rtol=1e-3, atol=1e-9)
    assert data["receiver"] == pairs.receiver[index].tolist()
    assert (data["envelope"] is not None) == (block != "spherical")
    bright = drawing.distance_data(record, dataclasses.replace(state, atom=2))["bright"]
    np.testing.assert_array_equal(bright, pairs.receiver[index] == 2)


def test_no_point_leaves_the_envelope(record, state):
    data = drawing.distance_data(record, state)
    end = np.interp(data["x"], data["envelope"]["x"], data["envelope"]["y"])
    assert (np.abs(data["y"]) <= end + 3e-3).all()


def test_sphc_distances_are_those_at_the_layer_s_input(record, state):
    data = drawing.distance_data(record, state, "sphc")
    index = record.pairs(0)
    chi = record.sphc[1, 0]
    expected = np.linalg.norm(chi[record.sender[index]] - chi[record.receiver[index]], axis=-1)
    np.testing.assert_allclose(data["x"], expected, rtol=1e-3)
    far = dataclasses.replace(state, block="spherical")
    data = drawing.distance_data(record, far, "sphc")
    index = record.pairs(0, "spherical")
    np.testing.assert_allclose(data["x"], record.spherical.sphc_distance[1, index], rtol=1e-3)


def test_series_of_a_pair_show_both_directions(record, state):
    data = drawing.series_data(record, dataclasses.replace(state, atom=1, partner=2))
    assert [line["name"] for line in data["lines"]] == ["C1 attends to O2", "O2 attends to C1"]
    for line, (i, j) in zip(data["lines"], ((1, 2), (2, 1)), strict=True):
        expected = [record.matrix(k, "feature", 1, 2)[i, j] for k in range(3)]
        np.testing.assert_allclose(line["y"], expected, rtol=1e-3)
    data = drawing.series_data(record, state, np.array([10.0, 20.0, 40.0]), "angle (°)")
    assert data["x"] == [10.0, 20.0, 40.0] and data["x_title"] == "angle (°)"


def test_of_many_kinds_of_pairs_the_strongest_have_a_colour_of_their_own(record, state):
    numbers = record.numbers.copy()
    numbers[:, :9] = [6, 7, 8, 1, 9, 15, 16, 17, 1]
    data = drawing.distance_data(dataclasses.replace(record, numbers=numbers), state)
    groups = data["groups"]
    assert len(groups) == len(data["palette"]) == 8 and groups[-1] == "others"
    size = np.abs(np.asarray(data["y"], float))
    of_group = [size[np.asarray(data["group"]) == k].max() for k in range(8)]
    assert min(of_group[:-1]) >= of_group[-1]
    plain = drawing.distance_data(record, state)["groups"]
    assert "others" not in plain and len(plain) < 8


def test_series_of_an_atom_are_what_it_receives_and_sends(record, state):
    received, sent = drawing.series_data(record, dataclasses.replace(state, atom=1))["lines"]
    matrix = record.matrix(2, "feature", 1, 2)
    assert received["y"][2] == pytest.approx(matrix[1].sum(), rel=1e-3)
    assert sent["y"][2] == pytest.approx(matrix[:, 1].sum(), rel=1e-3)


def test_colours_of_atoms_tell_sign_and_size_of_the_chosen_one_s_row(record, state):
    state = dataclasses.replace(state, atom=0)
    row = record.matrix(0, "feature", 1, 2)[0]
    colours = np.array(drawing.atom_colours(record, state))
    warm = colours[:, 0] - colours[:, 2]
    grey = drawing.GREY[0] - drawing.GREY[2]
    for k in range(1, 9):
        if abs(row[k]) > 0.01 * record.limit():
            assert (warm[k] > grey) == (row[k] > 0)
    strongest = np.abs(row[1:]).argmax() + 1
    assert np.abs(warm[1:] - grey).argmax() + 1 == strongest


def test_atoms_are_coloured_by_partial_charge_where_there_are_charges(record, state):
    by_charge = dataclasses.replace(state, colour="charge")
    assert by_charge.checked(record).colour == "element"  # this model has none
    charges = np.zeros(record.numbers.shape)
    charges[0, :9] = [-0.2, 0.1, -0.6, 0.05, 0.05, 0.05, 0.1, 0.05, 0.4]
    charged = dataclasses.replace(record, charges=charges)
    assert by_charge.checked(charged) == by_charge
    colours = np.array(drawing.atom_colours(charged, by_charge))
    warm = colours[:, 0] - colours[:, 2] - (drawing.GREY[0] - drawing.GREY[2])
    assert (np.sign(warm) == np.sign(charges[0, :9])).all()
    assert warm.argmin() == 2 and warm.argmax() == 8
    told = drawing.sentence(charged, by_charge)
    assert "from -0.60 e (O2, blue) to +0.40 e (H8, orange)" in told
    # a chosen atom's row comes first, and elements' colours stay where nothing else is asked for
    chosen = dataclasses.replace(by_charge, atom=0)
    assert drawing.atom_colours(charged, chosen) == drawing.atom_colours(
        record, dataclasses.replace(state, atom=0)
    )
    assert drawing.atom_colours(charged, state) == drawing.atom_colours(record, state)
    with pytest.raises(UserError, match="Unknown colour 'mass'"):
        dataclasses.replace(state, colour="mass").checked(record)
    assert app.Explorer(charged).controls["colour"].layout.display is None
    assert app.Explorer(record).controls["colour"].layout.display == "none"


def test_atoms_are_coloured_by_the_deviation_of_an_ensemble(record, state):
    by_deviation = dataclasses.replace(state, colour="deviation")
    assert by_deviation.checked(record).colour == "element"  # one network knows none
    std = np.zeros(record.numbers.shape)
    std[0, :9] = [0.1, 0.2, 0.05, 0.0, 0.3, 0.1, 0.1, 0.1, 0.15]
    uncertain = dataclasses.replace(record, forces_std=std)
    assert by_deviation.checked(uncertain) == by_deviation
    colours = np.array(drawing.atom_colours(uncertain, by_deviation))
    away = np.abs(colours - drawing.GREY).sum(axis=1)
    assert (np.argsort(away, kind="stable") == np.argsort(std[0, :9], kind="stable")).all()
    assert away[3] < 1e-12 and len(np.unique(away.round(12))) == len(np.unique(std))
    told = drawing.sentence(uncertain, by_deviation)
    assert "most for H4 with 0.3 eV/Å" in told
    choices = app.Explorer(uncertain).controls["colour"]
    assert choices.options == ("element", "deviation") and choices.layout.display is None


def test_the_explorer_of_an_ensemble_shows_a_member_and_asks_it():
    config = small_config(sphc_start="smooth")
    members = [Potential(config, random_parameters(config, seed)) for seed in (0, 1)]
    opened = app.explore(Ensemble.of(members), molecule(5, 0))
    expected = members[0].attention(molecule(5, 0))
    assert np.array_equal(opened.record.feature.coefficient, expected.feature.coefficient)
    std = np.linalg.norm(Ensemble.of(members).predict(molecule(5, 0)).forces_std, axis=-1)
    np.testing.assert_allclose(opened.record.forces_std, std, rtol=0, atol=1e-12)
    assert std.max() > 0
    assert type(opened.potential) is Potential
    assert opened.controls["colour"].options == ("element", "deviation")


def test_the_molecule_s_tubes_are_the_shown_pairs_by_name(record, state):
    data = drawing.molecule_data(record, state)
    assert data["labels"] == wording.atom_labels(record.numbers[0]) and data["written"]
    assert all(data[name].dtype == np.float32 for name in ("places", "radii", "colours", "paths"))
    keep = drawing.is_shown(record, state)
    assert len(data["tubes"]) == len(data["widths"]) == len(data["paths"]) == keep.sum()
    json.dumps({name: value for name, value in data.items() if not isinstance(value, np.ndarray)})
    alone = drawing.molecule_data(record, dataclasses.replace(state, atom=3, threshold=0.0))
    names = {name for name, _ in alone["tubes"]}
    assert len(names) == 8 and all(name.startswith("H3 attends to") for name in names)
    assert alone["radii"][3] == pytest.approx(1.18 * data["radii"][3])


def test_a_tube_runs_from_receiver_to_sender_and_tells_the_sign(record, state):
    data = drawing.molecule_data(record, dataclasses.replace(state, threshold=0.0))
    place = dict(zip(data["labels"], data["places"], strict=True))
    for (name, kind), path in zip(data["tubes"], data["paths"], strict=True):
        one, other = name.split(":")[0].split(" attends to ")
        np.testing.assert_allclose(path[0], place[one], atol=1e-5)
        np.testing.assert_allclose(path[-1], place[other], atol=1e-5)
        assert kind == (float(name.split(": ")[1]) > 0)
    sizes = dataclasses.replace(state, quantity="contribution")
    assert {kind for _, kind in drawing.molecule_data(record, sizes)["tubes"]} == {2}


def test_a_tube_s_cross_section_is_the_size(record, state):
    data = drawing.molecule_data(record, dataclasses.replace(state, threshold=0.0))
    size = np.array([abs(float(name.split(": ")[1])) for name, _ in data["tubes"]])
    large = size > 0.02
    ratio = data["widths"][large] ** 2 / size[large]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=0.05)
    assert data["taper"] == sorted(data["taper"], reverse=True)


def test_the_sentence_names_the_strongest_pair_and_the_scale(record, state):
    text = drawing.sentence(record, state)
    values, index = record.select("feature", 1, 2, frame=0), record.pairs(0)
    best = index[np.abs(values).argmax()]
    labels = wording.atom_labels(record.numbers[0])
    assert f"{labels[record.receiver[best]]} attends to {labels[record.sender[best]]}" in text
    assert "for every layer, channel and frame" in text
    assert "(freed)" in drawing.sentence(record, dataclasses.replace(state, limit=1.0))


def test_a_large_molecule_sends_few_points_and_keeps_the_chosen(record, state, monkeypatch):
    monkeypatch.setattr(drawing, "MOST_PAIRS", 20)
    data = drawing.distance_data(record, dataclasses.replace(state, atom=7))
    assert len(data["x"]) == 20 and sum(data["bright"]) == 8


# -- the app --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frames():
    return load("ethanol-gfn2")[:2]


@pytest.fixture(scope="module", params=MODELS)
def explorer(request, frames):
    return app.explore(small_potential(MODELS[request.param]), frames, title="x")


def test_all_views_are_drawn_without_complaint(explorer):
    assert explorer._message.value == ""
    for name, each in explorer.panels.items():
        assert each.data["kind"] in ("matrix", "points", "overview", "series"), name
    assert set(explorer.redraw_ms) == {"molecule", *explorer.panels}
    assert ("sphc" in explorer.panels) == (explorer.record.sphc is not None)


def test_a_click_in_one_view_changes_the_others(explorer):
    explorer.panels["matrix"].picked = {"receiver": 2, "sender": 0, "count": 1}
    assert (explorer.state.atom, explorer.state.partner) == (2, 0)
    assert explorer.controls["atom"].value == 2
    assert sum(explorer.panels["distance"].data["bright"]) == 1
    assert "O2 attends to C0" in explorer.panels["series"].data["lines"][0]["name"]
    explorer.molecule.widget.picked = {"sphere": "H5", "count": 1}
    assert (explorer.state.atom, explorer.state.partner) == (5, None)
    assert explorer.panels["matrix"].data["chosen"]["receiver"] == 5
    explorer.molecule.widget.picked = {"sphere": "H5", "count": 2}
    assert explorer.state.atom is None and explorer.controls["atom"].label == "all"
    explorer.controls["atom"].value = 4
    explorer.controls["atom"].label = "all"
    assert explorer.state.atom is None
    explorer.molecule.widget.picked = {"sphere": "H5", "count": 3}
    explorer.panels["overview"].picked = {"layer": 0, "channel": 1, "count": 2}
    assert (explorer.state.layer, explorer.controls["channel"].value) == (0, 1)
    explorer.panels["series"].picked = {"frame": 1, "count": 3}
    assert explorer.controls["frame"].value == explorer._play.value == 1
    explorer._play.value = 0
    assert explorer.controls["frame"].value == explorer.state.frame == 0
    explorer.controls["frame"].value = 1
    assert explorer._play.value == explorer.state.frame == 1


@pytest.mark.parametrize(("role", "atom", "partner"), [("receiver", 2, 0), ("sender", 0, 2)])
def test_a_click_on_a_cell_chooses_who_asks_and_who_answers(role, atom, partner):
    """From the pixel to the state, and back to the mark and the words."""
    from javascript import Plot

    left, top, cell = 40, 30, 284 / 3  # px
    explorer = app.explore(told_record())
    explorer.state = ViewState("feature", layer=1, channel=1, frame=1, role=role)
    plot = Plot(explorer.panels["matrix"].data)
    x, y = left + 0.3 * cell, top + 2.6 * cell  # third row, first column
    assert plot.hover(x, y) == "C2 attends to O0: −0.500"
    explorer.panels["matrix"].picked = plot.click(x, y)
    assert (explorer.state.atom, explorer.state.partner) == (atom, partner)
    assert "1 of 1 directed pairs" in explorer._said.value
    assert "Strongest: C2 attends to O0 with -0.5." in explorer._said.value
    (name, kind), *more = explorer.molecule.data["tubes"]
    assert name == "C2 attends to O0: -0.5" and kind == 0 and not more
    again = Plot(explorer.panels["matrix"].data)
    row, column = (box for box in again.strokes("box") if box["width"] == 2)
    assert [row[k] for k in "xywh"] == pytest.approx([left, top + 2 * cell, 284, cell])
    assert [column[k] for k in "xywh"] == pytest.approx([left, top, cell, 284])


def test_a_redraw_leaves_in_one_message_once_a_browser_takes_such(frames, monkeypatch):
    made = app.explore(small_potential(MODELS["so3krates"]), frames)
    alone, together = [], []
    monkeypatch.setattr(panel.Panel, "send_state", lambda self, key=None: alone.append(self))
    made.state = dataclasses.replace(made.state, frame=1)
    assert len(alone) == len(made.panels)
    made._together.send = lambda content, buffers=None: together.append((content, buffers))
    made._together.ready = True  # everything is drawn for it
    alone.clear(), together.clear()
    made.state = dataclasses.replace(made.state, frame=0)
    ((updates, buffers),) = together
    assert not alone
    states = {update["model_id"]: update["state"] for update in updates}
    for each in (made.molecule, *made.panels.values()):
        assert set(states[each.model_id]) == {"data"}
    assert states[made.controls["frame"].model_id] == {"value": 0}
    assert states[made._play.model_id] == {"value": 0}
    assert made._formula.model_id not in states  # it has not changed
    sent = [value for _, value in sorted(made.molecule.data.items()) if isinstance(value, bytes)]
    assert all(value in buffers for value in sent)
    made.panels["matrix"].data = {}
    assert alone == [made.panels["matrix"]]  # afterwards as before


def test_a_view_that_is_opened_later_is_drawn_without_a_redraw(explorer, monkeypatch):
    sent = []
    monkeypatch.setattr(explorer.molecule, "send", lambda content, buffers=None: sent.append(1))
    explorer.molecule.widget._handle_custom_msg({"type": "request_loaded", "data": True}, [])
    assert sent == [1]


def test_controls_change_the_state_and_the_scale_is_freed_on_demand(explorer):
    explorer.controls["quantity"].value = "contribution"
    assert explorer.panels["matrix"].data["signed"] is False
    explorer.controls["quantity"].value = "weighted"
    whole = explorer.panels["matrix"].data["limit"]
    explorer._freed.value = True
    assert explorer.panels["matrix"].data["limit"] < whole + 1e-12
    explorer._freed.value = False
    assert explorer.panels["matrix"].data["limit"] == whole


def test_tests_of_attention_answer_in_words(explorer):
    explorer.state = dataclasses.replace(explorer.state, atom=None, partner=None)
    assert "Spearman" in explorer.tests.ask("matter").text
    assert "The whole channel" in explorer.tests.ask("chosen").text
    explorer.state = dataclasses.replace(explorer.state, atom=1, partner=2)
    assert "That C1 attends to O2" in explorer.tests.ask("chosen").text
    assert "turned at random" in explorer.tests.ask("turn").text


def test_a_turned_molecule_keeps_its_attention_and_turns_its_sphcs(explorer, frames):
    found = questions.turned(explorer.potential, frames[0], seed=4)
    assert found.attention < 1e-10
    if found.sphc is not None:
        assert found.sphc < 1e-10 < 1e-2 < found.moved


def test_a_mistake_is_told_on_the_screen_and_not_raised(explorer):
    explorer.panels["matrix"].picked = {"receiver": 99, "sender": 0, "count": 7}
    assert "Atom 99 does not exist" in explorer._message.value
    explorer._guarded(lambda: 1 / 0)()
    assert "ZeroDivisionError" in explorer._message.value
    explorer.redraw()
    assert explorer._message.value == ""


def test_without_webgl_a_still_picture_is_shown_with_the_reason(frames):
    made = app.explore(small_potential(MODELS["so3krates"]), frames)
    made.panels["matrix"].webgl = "no"
    still, why = made._stage.children
    assert "<img" in still.value and "no WebGL" in why.value
    made.state = dataclasses.replace(made.state, layer=1, frame=1)
    assert "layer 1" in still.value


def test_two_explorers_are_linked_and_parted(frames):
    one, other = (app.explore(small_potential(MODELS["so3krates"]), frames) for _ in range(2))
    link = one.link_to(other)
    one.panels["matrix"].picked = {"receiver": 3, "sender": 1, "count": 1}
    assert other.state.atom == 3
    link.unlink()
    one.state = dataclasses.replace(one.state, atom=None, partner=None)
    assert other.state.atom == 3


def test_a_record_alone_can_be_explored_and_exported(record, tmp_path):
    made = app.explore(record)
    assert not made.tests.actions
    made.state = dataclasses.replace(made.state, frame=2)
    page = made.export(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "http://" not in page.split("<script>")[0] and len(page) > 1_000_000


def test_atoms_trajectories_files_and_names_are_taken(frames, tmp_path):
    potential = small_potential(MODELS["so3krates"])
    atoms = frames.to_atoms()
    assert len(app.explore(potential, atoms[0]).record) == 1
    assert len(app.explore(potential, atoms).record) == 2
    frames.replace(energy=None, forces=None)
    with pytest.raises(UserError, match="needs a structure"):
        app.explore(potential)
    with pytest.raises(UserError, match=r"along has shape \(3,\)"):
        app.explore(potential, frames, along=[1, 2, 3])


# -- diagnosis and command ------------------------------------------------------------------------


def test_diagnosis_names_versions_and_what_is_missing(monkeypatch):
    found = diagnosis.diagnose()
    assert {"nglview", "anywidget", "voila", "Python"} <= set(found.versions)
    assert not found.problems and "Nothing is missing" in str(found)

    def version(name):
        if name == "voila":
            raise diagnosis.PackageNotFoundError(name)
        return "4.0.1" if name == "nglview" else "1.0"

    monkeypatch.setattr(diagnosis, "version", version)
    problems = "\n".join(diagnosis.diagnose().problems)
    assert "voila is missing" in problems and "stays blank in JupyterLab" in problems


def test_the_app_listens_on_this_machine_only_behind_a_token(tmp_path):
    from so3krates_lite.cli import explore

    call = explore.serve_command(tmp_path / "x.ipynb", "secret", 8888)
    assert "--Voila.ip=127.0.0.1" in call and "--token=secret" in call and "--no-browser" in call
    page = explore.offline_template(tmp_path) / "voila" / "templates" / "offline" / "index.html.j2"
    assert "cdn" not in page.read_text(encoding="utf-8")


def test_a_mistake_of_the_command_is_one_sentence(capsys):
    from so3krates_lite.cli import main

    assert main(["explore", "no-such-model", "ethanol-gfn2"]) == 2
    assert "no-such-model" in capsys.readouterr().err
    assert main(["explore", "ethanol-gfn2", "no-such-data"]) == 2
    assert "no-such-data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("widget", "export"),
    [(panel.Panel, "render"), (panel.Molecule, "initialize"), (panel.Together, "initialize")],
)
def test_the_scripts_are_part_of_the_package(widget, export):
    text = str(widget._esm)
    assert f"export default {{ {export} }}" in text and "http" not in text
