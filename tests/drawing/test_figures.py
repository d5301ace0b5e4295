"""Properties of the figures: one honest scale, directions kept, units on every axis."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from synthetic import ethanol_record

from so3krates_lite.drawing import (
    error_curves,
    figures,
    look,
    molecule3d,
    scene,
    tubes,
)
from so3krates_lite.errors import UserError
from so3krates_lite.record.blocks import BLOCKS
from so3krates_lite.record.parts import QUANTITIES
from so3krates_lite.units import convert


@pytest.fixture(scope="module")
def record():
    return ethanol_record(frames=3, spherical=True)


def axis_titles(figure) -> list[str]:
    names = [n for n in figure.to_plotly_json()["layout"] if n.startswith(("xaxis", "yaxis"))]
    return [figure.layout[name].title.text for name in names]


def test_spherical_block_is_drawn_with_its_own_pairs_and_without_a_cutoff_curve(record):
    figure = figures.attention_against_distance(record, 1, "spherical", 1, 2)
    drawn = np.concatenate([trace.customdata for trace in figure.data])
    assert sorted(drawn) == record.pairs(1, "spherical").tolist()
    assert all(trace.mode == "markers" for trace in figure.data)
    far = record.spherical
    values = record.select("spherical", 1, 2)
    for trace in figure.data:
        np.testing.assert_array_equal(trace.x, far.distance[trace.customdata])
        np.testing.assert_array_equal(trace.y, values[trace.customdata])
    assert figure.layout.xaxis.range[1] >= far.distance.max()
    picture = scene.scene(record, 1, "spherical")
    index = record.pairs(1, "spherical")
    np.testing.assert_array_equal(picture.receiver, far.receiver[index])
    np.testing.assert_array_equal(picture.sender, far.sender[index])
    molecule3d.molecule_figure(record, 1, "spherical", 0, 1)


def test_nearness_figure_shows_both_distances_of_every_pair_on_a_fixed_scale(record):
    figure = figures.nearness_figure(record, frame=2, layer=-1)
    dots, index = figure.data[0], record.pairs(2, "spherical")
    np.testing.assert_array_equal(dots.x, record.spherical.distance[index])
    np.testing.assert_array_equal(dots.y, record.spherical.sphc_distance[-1, index])
    np.testing.assert_array_equal(dots.marker.color, record.spherical.nearness[-1, index])
    assert (dots.marker.cmin, dots.marker.cmax) == (0, 1)
    assert figure.layout.shapes[0].x0 == record.cutoff
    assert all(axis_titles(figure))
    with pytest.raises(UserError, match="layer 9 does not exist"):
        figures.nearness_figure(record, layer=9)


def colours_of(mesh) -> set[str]:
    return {dict(mesh.colorscale)[(k - mesh.cmin) / mesh.cmax] for k in set(mesh.intensity)}


def test_signed_scale_is_centred_on_zero_and_the_same_everywhere(record):
    ends = set()
    for frame in range(len(record)):
        for layer in range(record.n_layers):
            for channel in range(record.n_channels()):
                heat = figures.attention_matrix(record, frame, "feature", layer, channel).data[0]
                assert heat.zmin == -heat.zmax
                ends.add(heat.zmax)
    assert ends == {record.limit("feature", "weighted")}
    scale = look.DIVERGING
    for (low, cold), (high, warm) in zip(scale, scale[::-1], strict=True):
        assert low + high == pytest.approx(1.0)
        assert cold.split(",")[-1] == warm.split(",")[-1]  # equally opaque


def test_sizes_without_sign_have_a_scale_from_zero(record):
    heat = figures.attention_matrix(record, quantity="contribution").data[0]
    assert heat.zmin == 0.0
    assert heat.zmax == record.limit("feature", "contribution")


def test_a_freed_scale_is_used_and_a_senseless_one_refused(record):
    assert figures.attention_matrix(record, limit=2.5).data[0].zmax == 2.5
    with pytest.raises(UserError, match="must be more than 0"):
        figures.attention_matrix(record, limit=-1.0)


def test_colours_are_read_in_each_way_they_are_written():
    assert look.parts_of_colour("#ff8000") == (1.0, 128 / 255, 0.0, 1.0)
    assert look.parts_of_colour("rgb(255, 128, 0)") == (1.0, 128 / 255, 0.0, 1.0)
    assert look.parts_of_colour("rgba(255,128,0,0.5)") == (1.0, 128 / 255, 0.0, 0.5)


@pytest.mark.parametrize("block", tuple(BLOCKS)[:3])
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_matrix_figure_holds_exactly_the_record_s_matrix(record, block, quantity):
    figure = figures.attention_matrix(record, 2, block, 1, 1, quantity)
    heat = figure.data[0]
    np.testing.assert_array_equal(heat.z, record.matrix(2, block, 1, 1, quantity))
    assert list(heat.x) == list(heat.y)
    assert list(heat.x)[:4] == ["C0", "C1", "O2", "H3"]
    assert all(axis_titles(figure))


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_distance_figure_draws_every_directed_pair_once(record, quantity):
    figure = figures.attention_against_distance(record, 1, quantity=quantity)
    dots = [trace for trace in figure.data if trace.mode == "markers"]
    drawn = np.concatenate([trace.customdata for trace in dots])
    assert sorted(drawn) == record.pairs(1).tolist()
    values = record.select(quantity=quantity)
    for trace in dots:
        np.testing.assert_array_equal(trace.y, values[trace.customdata])
        np.testing.assert_array_equal(trace.x, record.distance[trace.customdata])
    names = {trace.name for trace in dots}
    assert {"C ← H", "H ← C"} <= names  # the two directions are two groups
    assert (len(figure.data) > len(dots)) == (quantity == "weighted")
    assert any("(Å)" in title for title in axis_titles(figure))


def test_no_pair_leaves_the_envelope(record):
    r, phi = figures.cutoff_curve(record)
    assert phi[0] == 1.0 and phi[-1] == 0.0
    assert (np.diff(phi) <= 1e-12).all()
    true = 0.5 * (np.cos(np.pi * r / record.cutoff) + 1)
    near = (r > 0.95) & (r < 4.0)
    np.testing.assert_allclose(phi[near], true[near], atol=0.01)
    figure = figures.attention_against_distance(record, layer=1, channel=2)
    upper, lower = figure.data[:2]
    np.testing.assert_allclose(upper.y, -lower.y)
    for trace in figure.data[2:]:
        assert (np.abs(trace.y) <= np.interp(trace.x, upper.x, upper.y) + 2e-3).all()


def test_learning_curve_has_a_log_panel_per_quantity_with_its_unit():
    rows = [
        {"epoch": str(n), "valid_energy_mae_eV": f"{1 / n}", "valid_force_mae_eV_A": f"{2 / n}"}
        for n in range(1, 9)
    ]
    rows[3]["valid_energy_mae_eV"] = ""  # an empty cell is left out, not drawn as zero
    figure = error_curves.learning_curve(rows)
    assert {figure.layout.yaxis.type, figure.layout.yaxis2.type} == {"log"}
    titles = axis_titles(figure)
    assert "force MAE (eV/Å)" in titles and "energy MAE (eV)" in titles and "epoch" in titles
    assert sorted(len(trace.y) for trace in figure.data) == [7, 8]
    with pytest.raises(UserError, match="column 'epoch'"):
        error_curves.learning_curve([{"loss": 1.0}])
    with pytest.raises(UserError, match="No energy, force or loss"):
        error_curves.learning_curve({"epoch": [1.0], "colour": [2.0]})
    losses = error_curves.learning_curve({"epoch": [1, 2], "train_loss": [2.0, 1.0]})
    assert "loss (dimensionless)" in axis_titles(losses)


def test_parity_errors_use_all_points_and_the_chosen_unit():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(500, 9, 3))
    predicted = reference + rng.normal(0, 0.01, reference.shape)
    figure = error_curves.parity(reference, predicted, unit="kcal/mol", max_points=100)
    mae = convert(np.abs(predicted - reference).mean(), "eV", "kcal/mol")
    note = figure.layout.annotations[0].text
    assert f"MAE {mae:.3g} kcal/mol/Å" in note and "1 in 135 drawn" in note
    assert max(len(trace.x) for trace in figure.data) == 100
    assert all("kcal/mol/Å" in title for title in axis_titles(figure) if title)
    energy = error_curves.parity(np.full(3, -4000.0), np.full(3, -4000.1), quantity="energy")
    assert "MAE 0.1 eV" in energy.layout.annotations[0].text
    with pytest.raises(UserError, match="one shape"):
        error_curves.parity(reference, predicted[1:])
    with pytest.raises(UserError, match="Unknown unit"):
        error_curves.parity(reference, predicted, unit="furlong")


def test_two_directions_of_a_pair_are_two_tubes_on_two_sides(record):
    picture = scene.scene(record)
    middle = picture.tubes.path[:, tubes.RINGS // 2]
    for pair in range(len(picture.pairs)):
        same = (picture.receiver == picture.sender[pair]) & (
            picture.sender == picture.receiver[pair]
        )
        back = int(np.flatnonzero(same)[0])
        assert np.linalg.norm(middle[pair] - middle[back]) > 0.2
    start, end = picture.tubes.path[:, 0], picture.tubes.path[:, -1]
    np.testing.assert_allclose(start, picture.positions[picture.receiver], atol=1e-9)
    np.testing.assert_allclose(end, picture.positions[picture.sender], atol=1e-6)
    assert picture.tubes.taper[0] > 2 * picture.tubes.taper[-1]  # thick at the atom that asks


def test_chosen_atom_shows_its_own_pairs_and_direction_matters(record):
    picture = scene.scene(record)
    values = record.select(frame=0)
    limit = record.limit()
    asks = scene.chosen_pairs(picture, values, limit, 0.0, 2, "receiver")
    answers = scene.chosen_pairs(picture, values, limit, 0.0, 2, "sender")
    assert (picture.receiver[asks] == 2).all() and (picture.sender[answers] == 2).all()
    assert asks.sum() == answers.sum() == 8 and not (asks & answers).any()
    with pytest.raises(UserError, match="Atom 9 does not exist"):
        scene.chosen_pairs(picture, values, limit, 0.0, 9)


def test_small_attention_is_left_out_by_the_threshold(record):
    picture = scene.scene(record)
    values, limit = record.select(frame=0), record.limit()
    counts = [
        scene.chosen_pairs(picture, values, limit, share).sum() for share in (0, 0.1, 0.5, 1.01)
    ]
    assert counts == sorted(counts, reverse=True) and counts[-1] == 0
    empty = molecule3d.attention_mesh(picture, values, limit, np.zeros(len(values), dtype=bool))
    assert len(empty.x) == 0


def test_cross_section_is_proportional_to_size_and_colour_is_the_sign(record):
    area = scene.tube_width(np.array([0.1, -0.2, 0.4]), 0.4) ** 2
    np.testing.assert_allclose(area / area[0], [1, 2, 4])
    picture = scene.scene(record)
    values = record.select(frame=0)
    for sign, colour in ((-1, look.NEGATIVE), (1, look.POSITIVE)):
        mesh = molecule3d.attention_mesh(picture, values, record.limit(), np.sign(values) == sign)
        assert colours_of(mesh) == {colour}
    size = molecule3d.attention_mesh(picture, abs(values), 1.0, values != 0, signed=False)
    assert colours_of(size) == {look.MAGNITUDE}


def test_bonds_of_ethanol_are_found():
    record = ethanol_record(frames=1)
    assert len(scene.scene(record).bonds) == 8


def test_sphere_is_closed_round_and_faces_outward():
    vertices, faces = tubes.icosphere(2)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 1.0)
    edges = len({frozenset(e) for f in faces for e in zip(f, np.roll(f, 1), strict=True)})
    assert len(vertices) - edges + len(faces) == 2
    assert (np.linalg.det(vertices[faces]) > 0).all()


@pytest.mark.parametrize(("choose", "entries"), [("channel", 8), ("atom", 10)])
def test_menu_shows_one_state_at_a_time(record, choose, entries):
    figure = molecule3d.molecule_figure(record, layer=1, channel=2, choose=choose)
    buttons = figure.layout.updatemenus[0].buttons
    assert len(buttons) == entries == len(figure.data) - 1
    assert sum(bool(trace.visible) for trace in figure.data[1:]) == 1
    active = figure.layout.updatemenus[0].active
    assert figure.data[1 + active].visible
    for n, button in enumerate(buttons):
        assert button.args[0]["visible"] == [True] + [m == n for m in range(entries)]


def test_molecule_stays_in_a_fixed_cube(record):
    figure = molecule3d.molecule_figure(record, choose=None)
    half = scene.scene(record).half
    ranges = {tuple(figure.layout.scene[axis].range) for axis in ("xaxis", "yaxis", "zaxis")}
    assert ranges == {(-half, half)}
    assert np.abs(np.stack([figure.data[0].x, figure.data[0].y, figure.data[0].z])).max() < half


def seen(points, figure, aspect):
    """Where points stand in plotly's picture, right and up, as fractions of half its size."""
    camera, half = figure.layout.scene.camera, figure.layout.scene.xaxis.range[1]
    place = np.array([camera.eye.x, camera.eye.y, camera.eye.z])
    out = place / np.linalg.norm(place)
    right = np.cross([camera.up.x, camera.up.y, camera.up.z], out)
    right = right / np.linalg.norm(right)
    away = (place - points / (2 * half)) @ out
    flat = points @ np.stack([right, np.cross(out, right)], axis=1) / (2 * half)
    return flat / (away * np.tan(np.radians(22.5)))[:, None] / [aspect, 1]


def test_a_loop_stays_in_its_cube_and_in_the_picture():
    import so3krates_lite as s3

    record = s3.load_potential("ethanol-gfn2-geomatt").attention(s3.load("ethanol-gfn2")[:6])
    for frame in range(6):
        picture = scene.scene(record, frame)
        loops = picture.tubes.path[picture.receiver == picture.sender].reshape(-1, 3)
        assert len(loops) == 9 * tubes.RINGS
        figure = molecule3d.molecule_figure(record, frame, threshold=0.5, choose=None)
        assert np.abs(loops).max() < figure.layout.scene.xaxis.range[1] - 0.1
        assert np.abs(seen(loops, figure, aspect=1.5)).max() < 1


def test_one_atom_and_a_straight_molecule_can_be_drawn():
    import dataclasses

    record = ethanol_record(frames=1)
    line = np.zeros((1, 9, 3))
    line[0, :, 0] = np.arange(9) * 1.2
    vector = line[0, record.sender] - line[0, record.receiver]
    distance = np.linalg.norm(vector, axis=1)
    straight = dataclasses.replace(record, positions=line, vector=vector, distance=distance)
    tubes = scene.scene(straight).tubes
    assert np.isfinite(tubes.path).all() and np.isfinite(tubes.offset).all()
    figure = molecule3d.molecule_figure(straight, choose=None)
    assert np.isfinite(np.asarray(figure.data[1].x, dtype=float)).all()


def test_figures_are_transparent_and_import_plotly_only_when_drawn(record):
    for figure in (
        figures.attention_matrix(record),
        molecule3d.molecule_figure(record, choose=None),
    ):
        assert figure.layout.paper_bgcolor == "rgba(0,0,0,0)"
    code = (
        "import sys\n"
        "import so3krates_lite.drawing.figures, so3krates_lite.drawing.molecule3d\n"
        "import so3krates_lite.report.write\n"
        "print([m for m in ('jax', 'ase', 'plotly', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_curve_of_another_form_s_cutoff_is_that_form_s(record):
    other = dataclasses.replace(record, cutoff_kind="polynomial")
    r, phi = figures.cutoff_curve(other)
    t = r / record.cutoff
    np.testing.assert_allclose(phi, 1 - 10 * t**3 + 15 * t**4 - 6 * t**5, atol=1e-12)
    with pytest.raises(UserError, match="cutoff_kind"):
        dataclasses.replace(record, cutoff_kind="sharp")
