"""Pictures and tables of a record whose numbers can be read in the code: direction, sign, size.

Each expected value is written down or made of `synthetic.TOLD` (rows ask, columns answer), not
asked of the package.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from synthetic import TOLD, told_record

from so3krates_lite.drawing import (
    all_layers,
    figures,
    look,
    molecule3d,
    scene,
    stills,
    tubes,
)
from so3krates_lite.record import analysis, tables
from so3krates_lite.report import write

LABELS = ["O0", "H1", "C2"]
AZURE, AMBER, GREEN = "#1c86d8", "#ef8a17", "#009e73"  # negative, positive, a size
VIEW = {"frame": 1, "block": "feature", "layer": 1, "channel": 1}
MATRIX = np.array([[0, 1.8, -0.8], [0.2, 0, -0.13], [-0.5, 1.2, 0]])  # of that view
PAIRS = [(1, 2), (2, 0), (0, 1), (2, 1), (1, 0), (0, 2), (1, 2)]  # the last: an image
VALUES = np.array([-0.1, -0.5, 1.8, 1.2, 0.2, -0.8, -0.03])


@pytest.fixture(scope="module")
def record():
    return told_record()


@pytest.fixture(scope="module")
def picture(record):
    return scene.scene(record, 1)


# -- record and tables ----------------------------------------------------------------------------


def test_a_record_s_matrix_has_who_asks_in_rows(record):
    np.testing.assert_allclose(record.matrix(**VIEW), MATRIX)
    np.testing.assert_allclose(record.select("feature", 1, 1, frame=1), VALUES)
    np.testing.assert_allclose(record.matrix(0, "feature", 0, 2)[0], [0, 0.9 * 0.14, -0.4 * 0.14])
    one, _, other = analysis.matrix(record, "feature", layer=0, channel=None, frame=1).T
    np.testing.assert_allclose(one.T[0], TOLD[0])
    np.testing.assert_allclose(other.T[2], 0.2 * TOLD[2])


def test_what_an_atom_receives_is_its_row_and_what_it_sends_its_column(record):
    chosen = {"block": "feature", "layer": 1, "channel": 1}
    np.testing.assert_allclose(analysis.received(record, **chosen)[1], [1.0, 0.07, 0.7])
    np.testing.assert_allclose(analysis.sent(record, **chosen)[1], [-0.3, 3.0, -0.93])
    series = analysis.series(record, 2, 0, **chosen)
    np.testing.assert_allclose(series, [-0.35, -0.5])
    np.testing.assert_allclose(analysis.series(record, receiver=2, **chosen), [0.49, 0.7])


def test_tables_tell_who_asks_and_who_answers(record):
    columns = tables.element_pair_table(record, "feature", layer=1, channel=1)
    of = {
        (int(i), int(j)): total
        for i, j, total in zip(columns["receiver"], columns["sender"], columns["sum"], strict=True)
    }
    expected = {(8, 1): 1.8, (8, 6): -0.8, (1, 8): 0.2, (1, 6): -0.13, (6, 8): -0.5, (6, 1): 1.2}
    assert of == pytest.approx({pair: 1.7 * value for pair, value in expected.items()})
    pytest.importorskip("pandas", reason="data frames need the extra 'analysis'")
    table = tables.to_dataframe(record, "feature")
    chosen = table[(table.frame == 1) & (table.layer == 1) & (table.channel == "head 1")]
    assert list(zip(chosen.receiver, chosen.sender, strict=True)) == PAIRS
    np.testing.assert_allclose(chosen.weighted, VALUES)
    np.testing.assert_allclose(chosen.coefficient, 2 * VALUES)
    line = chosen[(chosen.receiver == 2) & (chosen.sender == 0)].iloc[0]
    assert (line.receiver_element, line.sender_element) == ("C", "O")
    assert line.distance == pytest.approx(np.sqrt(0.4**2 + 1.3**2 + 0.1**2))
    chi = record.sphc[1, 1]
    assert line.sphc_distance == pytest.approx(np.linalg.norm(chi[0] - chi[2]))
    turned = dataclasses.replace(record, numbers=np.array([[6, 1, 8], [8, 1, 6]]))
    table = tables.to_dataframe(turned, "feature")  # frames of their own elements
    of_pair = table[(table.receiver == 2) & (table.sender == 0)].drop_duplicates("frame")
    elements = zip(of_pair.receiver_element, of_pair.sender_element, strict=True)
    assert list(elements) == [("O", "C"), ("C", "O")]


# -- plotly's figures -----------------------------------------------------------------------------


def test_the_matrix_s_rows_ask_from_the_top_and_its_hover_says_so(record):
    figure = figures.attention_matrix(record, **VIEW)
    (heat,), layout = figure.data, figure.layout
    np.testing.assert_allclose(heat.z, MATRIX)
    assert list(heat.x) == list(heat.y) == LABELS and layout.yaxis.autorange == "reversed"
    assert layout.yaxis.title.text == "receiver: the atom that asks"
    assert layout.xaxis.title.text == "sender: the atom that answers"
    assert heat.hovertemplate.startswith("%{y} attends to %{x}: %{z")
    assert layout.title.text == "feature attention, layer 1 · head 1"
    assert (heat.zmin, heat.zmax) == (-1.8, 1.8)
    assert [list(stop) for stop in heat.colorscale] == look.DIVERGING
    panels = all_layers.overview(record, 1, "feature")
    (panel,) = (p for p in panels.data if p.meta == {"layer": 1, "channel": 1})
    np.testing.assert_allclose(panel.z, MATRIX)
    assert panel.hovertemplate.startswith("%{y} attends to %{x}: ")


def test_amber_is_above_zero_and_azure_below(record):
    assert (look.NEGATIVE, look.POSITIVE, look.MAGNITUDE) == (AZURE, AMBER, GREEN)
    for stop, text in look.DIVERGING:
        red, green, blue, _ = look.parts_of_colour(text)
        assert (red > blue) == (stop > 0.5) and green > 0
    style = Path(write.__file__).with_name("page.css").read_text("utf-8")
    for name, colour in (("plus", AMBER), ("minus", AZURE)):
        assert f"--{name}: {colour};" in style
        assert f".{name} {{ background: var(--{name}); }}" in style
    assert f".size i {{ background: {GREEN}; }}" in style


@pytest.mark.parametrize("quantity", ["weighted", "contribution"])
def test_dots_are_named_by_who_asks_and_who_answers(record, quantity):
    figure = figures.attention_against_distance(record, **VIEW, quantity=quantity)
    dots = [trace for trace in figure.data if trace.mode == "markers"]
    sizes = np.abs(VALUES) / 3 if quantity == "contribution" else VALUES
    told = {f"{LABELS[i]} attends to {LABELS[j]}" for i, j in PAIRS}
    assert {name for trace in dots for name in trace.text} == told
    for trace in dots:
        one, other = trace.name.split(" ← ")
        for x, y, name, pair in zip(trace.x, trace.y, trace.text, trace.customdata, strict=True):
            k = int(pair) - 7
            i, j = PAIRS[k]
            assert name == f"{LABELS[i]} attends to {LABELS[j]}"
            assert (one, other) == (LABELS[i][0], LABELS[j][0])
            assert y == pytest.approx(sizes[k]) and x == pytest.approx(record.distance[7 + k])
        assert trace.marker.symbol.endswith("-open") == (one > other)
        assert trace.hovertemplate.startswith("%{text}<br>%{x:.3f} Å: %{y:")
    end = 0.6 if quantity == "contribution" else 1.8
    low = 0 if quantity == "contribution" else -1.06 * end
    assert figure.layout.yaxis.range == pytest.approx((low, 1.06 * end))
    assert figure.layout.xaxis.title.text == "distance r (Å)"
    assert figure.layout.title.text == "feature attention, layer 1 · head 1"
    if quantity == "weighted":
        r = np.linspace(0, 5, 120)
        wave = 3.6 * (1 + np.cos(np.pi * r / 5)) / 2
        np.testing.assert_allclose([line.y for line in figure.data[:2]], [wave, -wave], atol=1e-6)


def test_two_distances_of_a_pair_stand_on_their_own_axes(record):
    far = record.spherical
    changed = dataclasses.replace(
        far,
        sphc_distance=np.arange(12.0).reshape(2, 6),
        nearness=np.arange(12.0).reshape(2, 6) / 12,
    )
    figure = figures.nearness_figure(dataclasses.replace(record, spherical=changed), 1, 1)
    (dots,) = figure.data
    assert list(dots.text) == ["C2 attends to H1", "H1 attends to O0", "O0 attends to C2"]
    assert list(dots.y) == [9, 10, 11]
    np.testing.assert_allclose(dots.marker.color, np.array([9, 10, 11]) / 12)
    assert dots.x[1] == pytest.approx(np.sqrt(1.05))
    assert "%{x:.2f} Å in space, %{y:.3f} in SPHC space" in dots.hovertemplate


def test_a_series_is_of_what_asks_and_of_what_answers(record):
    view = {"block": "feature", "layer": 1, "channel": 1}
    pair, gets, sends = (
        analysis.series(record, *ends, **view) for ends in ((2, 0), (2, None), (None, 0))
    )
    np.testing.assert_allclose(pair, [-0.35, -0.5])
    np.testing.assert_allclose(gets, [0.49, 0.7])
    np.testing.assert_allclose(sends, [-0.21, -0.3])


# -- molecules ------------------------------------------------------------------------------------


def test_a_scene_s_tubes_are_thick_at_the_atom_that_asks(picture):
    assert list(zip(picture.receiver, picture.sender, strict=True)) == PAIRS
    assert picture.labels == LABELS
    apart = np.linalg.norm(picture.positions[[0, 1]] - picture.positions[2], axis=-1)
    np.testing.assert_allclose(apart**2, [1.86, 1.4**2 + 1.2**2 + 0.3**2])  # the second frame
    for k, (i, j) in enumerate(PAIRS[:-1]):
        path = picture.tubes.path[k]
        np.testing.assert_allclose(path[[0, -1]], picture.positions[[i, j]], atol=1e-9)
    image = picture.tubes.path[-1, -1] - picture.positions[2]
    np.testing.assert_allclose(image, [0, 0, 2.5], atol=1e-9)
    round_ = np.linalg.norm(picture.tubes.offset, axis=-1)
    np.testing.assert_allclose(round_[:, 0], 1)
    np.testing.assert_allclose(round_[:, -1], 0.22)
    np.testing.assert_allclose(np.cross(*picture.view[:2]), picture.view[2], atol=1e-9)
    # each direction bows to its own side of the bond, and both away from the middle
    middle = picture.tubes.path[:, tubes.RINGS // 2]
    centre = picture.positions.mean(axis=0)
    for k, other in ((1, 5), (2, 4)):
        bond = picture.positions[list(PAIRS[k])].mean(axis=0)
        assert np.linalg.norm(middle[k] - middle[other]) > 0.2
        assert (middle[k] - bond) @ (bond - centre) > 0


def test_a_tube_is_seen_from_outside_and_a_loop_lies_on_its_atom_s_outer_side(picture):
    drawn = picture.tubes
    axis = np.repeat(np.arange(tubes.RINGS), tubes.SIDES)
    for k in range(len(PAIRS)):
        vertices = (drawn.path[k][:, None] + 0.05 * drawn.offset[k]).reshape(-1, 3)
        a, b, c = np.moveaxis(vertices[drawn.faces], 1, 0)
        outward = (a + b + c) / 3 - drawn.path[k][axis[drawn.faces[:, 0]]]
        assert ((np.cross(b - a, c - a) * outward).sum(axis=1) > 0).mean() > 0.95
    start = np.array([[1.0, 0.0, 0.0]])
    loop = tubes.attention_tubes(start, np.zeros((1, 3)), np.zeros(3)).path[0]
    np.testing.assert_allclose(loop[[0, -1]], start[[0, 0]], atol=1e-9)
    assert (loop[1:-1, 0] > 1.0).all()


def test_names_are_dark_on_light_atoms_and_light_on_dark_ones():
    assert scene.label_colour(1) == "#20262d" and scene.label_colour(6) == "#ffffff"


def test_a_pair_is_drawn_from_its_part_of_the_scale_on(picture):
    for share, number in ((0, 7), (0.05, 6), (0.06, 5), (0.27, 4), (0.44, 3), (0.7, 1), (1, 1)):
        assert scene.chosen_pairs(picture, VALUES, 1.8, share).sum() == number
    asks = scene.chosen_pairs(picture, VALUES, 1.8, 0.0, 2, "receiver")
    assert np.flatnonzero(asks).tolist() == [1, 3]
    answers = scene.chosen_pairs(picture, VALUES, 1.8, 0.0, 2, "sender")
    assert np.flatnonzero(answers).tolist() == [0, 5, 6]
    np.testing.assert_allclose(scene.tube_width(np.array([1.8, -0.45, 9]), 1.8), [0.12, 0.06, 0.12])


def test_padding_between_atoms_moves_no_tube():
    record = told_record()
    place = np.array([0, 2, 3])  # of each atom, with one for padding between
    numbers, positions = np.zeros((2, 4), int), np.zeros((2, 4, 3))
    numbers[:, place], positions[:, place] = record.numbers, record.positions
    far, sphc = record.spherical, np.zeros((3, 2, 4, 8))
    padded = dataclasses.replace(
        record,
        numbers=numbers,
        positions=positions,
        receiver=place[record.receiver],
        sender=place[record.sender],
        sphc=sphc,
        spherical=dataclasses.replace(far, receiver=place[far.receiver], sender=place[far.sender]),
    )
    one, other = scene.scene(record, 1), scene.scene(padded, 1)
    np.testing.assert_array_equal(other.receiver, one.receiver)
    np.testing.assert_allclose(other.tubes.path, one.tubes.path)
    assert other.labels == ["O0", "H2", "C3"]


@pytest.mark.parametrize("role", ["receiver", "sender"])
@pytest.mark.parametrize("quantity", ["weighted", "contribution"])
def test_the_turning_molecule_has_the_tubes_of_its_view(record, picture, role, quantity):
    more = {"atom": 2, "role": role, "threshold": 0.1, "quantity": quantity}
    figure = molecule3d.molecule_figure(record, **VIEW, **more, choose=None)
    mesh = figure.data[1]
    vertices = np.stack([mesh.x, mesh.y, mesh.z], axis=-1)
    drawn = vertices.reshape(-1, tubes.RINGS, tubes.SIDES, 3)
    shown = [1, 3] if role == "receiver" else [5]  # −0.1 and −0.03 are below a tenth of 1.8
    assert len(drawn) == len(shown)
    for tube, k in zip(drawn, shown, strict=True):
        np.testing.assert_allclose(tube.mean(axis=1), picture.tubes.path[k], atol=1e-6)
        radius = np.linalg.norm(tube[0] - tube[0].mean(axis=0), axis=-1)
        np.testing.assert_allclose(radius, 0.12 * np.sqrt(abs(VALUES[k]) / 1.8), rtol=1e-5)
    kinds = np.reshape(mesh.intensity, (len(shown), -1))
    colours = [dict(mesh.colorscale)[int(kind) / 2] for kind in kinds[:, 0]]
    signs = [AZURE if VALUES[k] < 0 else AMBER for k in shown]
    assert colours == ([GREEN] * len(shown) if quantity == "contribution" else signs)
    words = set(figure.data[0].text)
    assert {"O0", "H1", "C2", "O0–H1: 1.025 Å"} <= words
    for note, place, label in zip(
        figure.layout.scene.annotations, picture.positions, LABELS, strict=True
    ):
        assert note.text == f"<b>{label}</b>"
        np.testing.assert_allclose([note.x, note.y, note.z], place, atol=1e-3)


def test_a_menu_s_entry_shows_its_own_layer_and_channel(record):
    figure = molecule3d.molecule_figure(record, **VIEW, threshold=0.0, choose="channel")
    factors = [[1.0, -0.5, 0.2], [0.3, 2.0, -1.2]]
    for n, button in enumerate(figure.layout.updatemenus[0].buttons):
        layer, channel = divmod(n, 3)
        assert button.label == f"layer {layer} · head {channel}"
        mesh = figure.data[1 + n]
        vertices = np.stack([mesh.x, mesh.y, mesh.z], axis=-1)
        first = vertices.reshape(-1, tubes.RINGS, tubes.SIDES, 3)[:, 0]
        radius = np.linalg.norm(first - first.mean(axis=1, keepdims=True), axis=-1).mean(axis=1)
        sizes = np.abs(VALUES / 2 * factors[layer][channel])
        np.testing.assert_allclose(radius, 0.12 * np.sqrt(sizes / 1.8), rtol=1e-4)


@pytest.fixture
def ax():
    from matplotlib.figure import Figure

    return Figure().add_subplot()


def tube_of(ax, picture, k: int) -> tuple[np.ndarray, str]:
    """Corners of the one drawn tube's pieces, from its thick to its thin end, and its colour."""
    from matplotlib.colors import to_hex

    stills.draw_attention(ax, picture, VALUES, 1.8, np.arange(7) == k)
    layers = sorted(ax.collections, key=lambda layer: layer.get_zorder())
    (colour,) = {to_hex(rgba) for layer in layers for rgba in layer.get_facecolor()}
    pieces = np.array([path.vertices[:4] for layer in layers for path in layer.get_paths()])
    path = picture.tubes.path[k] @ picture.view.T
    from_the_back = np.argsort(path[:-1, 2] + path[1:, 2])
    return pieces[np.argsort(from_the_back)], colour


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_still_molecule_draws_the_tube_at_its_place_in_its_colour(picture, ax, k):
    pieces, colour = tube_of(ax, picture, k)
    assert colour == (AZURE if VALUES[k] < 0 else AMBER) and len(pieces) == tubes.RINGS - 1
    flat = picture.positions @ picture.view.T
    for atom, piece, corner, taper in ((0, pieces[0], 0, 1.0), (1, pieces[-1], 1, 0.22)):
        sides = piece[[corner, 3 - corner]]
        np.testing.assert_allclose(sides.mean(axis=0), flat[PAIRS[k][atom], :2], atol=1e-6)
        width = 2 * 1.6 * taper * 0.12 * np.sqrt(abs(VALUES[k]) / 1.8)
        assert np.linalg.norm(sides[0] - sides[1]) == pytest.approx(width, rel=1e-5)


def test_the_still_molecule_paints_what_is_near_last(picture, ax):
    stills.draw_molecule(ax, picture)
    flat = picture.positions @ picture.view.T
    radii = [scene.atom_radius(int(number)) for number in picture.numbers]
    balls = sorted(ax.collections, key=lambda ball: ball.get_zorder())
    for ball, atom in zip(balls, np.argsort(flat[:, 2] + radii), strict=True):
        box = ball.get_paths()[0].get_extents()
        np.testing.assert_allclose([box.x0 + box.x1, box.y0 + box.y1], 2 * flat[atom, :2])


def test_a_report_s_still_picture_is_of_its_frame_and_strongest_channel(record, picture, tmp_path):
    path = write.write_report(tmp_path / "r.html", title="t", record=record, frame=1)
    say = "Molecule of 3 atoms with the feature attention of layer 1, head 1"
    keep = np.array([False, True, True, True, True, True, False])  # from 8 % of 1.8 on
    still = stills.molecule_image(picture, VALUES, 1.8, keep, say)
    assert path.read_text("utf-8").count(still) == 1 and f'alt="{say}"' in still


# -- words ----------------------------------------------------------------------------------------


def test_the_report_s_words_say_which_end_asks(record, tmp_path):
    text = write.write_report(tmp_path / "r.html", title="t", record=record).read_text("utf-8")
    words = re.sub(r"\s+", " ", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))
    assert "the atom at its thick end attends to the atom at its thin end" in words
    assert '<option value="receiver">what it attends to</option>' in words
    assert '<option value="sender">who attends to it</option>' in words
    assert '<i class="plus"></i>positive: adds' in words
    assert '<i class="minus"></i>negative: subtracts' in words
    for quantity, name in write.QUANTITY_NAMES.items():
        assert f'<option value="{quantity}">{name}</option>' in words
