"""What the scripts draw and say is the record's: this pair, this direction, this sign, this size.

Run in an engine with a stand-in for the browser, on a record whose numbers can be read in the code.
"""

from __future__ import annotations

import dataclasses
import json
import re
from itertools import pairwise, product

import numpy as np
import pytest
from javascript import Engine, Page, Plot, packed
from synthetic import TOLD, told_record

from so3krates_lite.drawing import look, scene, tubes
from so3krates_lite.explorer import drawing
from so3krates_lite.explorer.state import ViewState
from so3krates_lite.record import wording
from so3krates_lite.record.parts import QUANTITIES
from so3krates_lite.report import write

LABELS = ["O0", "H1", "C2"]
FRAME = 1  # the second: the first one's numbers are others
FACTOR = {  # of layer and channel, as `told_record` says
    "feature": [[1.0, -0.5, 0.2], [0.3, 2.0, -1.2]],
    "geometric": [[0.6, -0.8], [1.1, 0.0]],
    "spherical": [[0.5, -1.5], [0.25, 0.75]],
}
OF_QUANTITY = {"weighted": 1.0, "coefficient": 2.0, "contribution": 1 / 3}
VIEWS = {  # layer, channel and quantity of a block
    block: list(product(range(2), range(len(factors[0])), QUANTITIES))
    for block, factors in FACTOR.items()
}


def told(block: str, layer: int, channel: int, quantity: str, image: float = 0.3) -> np.ndarray:
    """The matrix by hand: rows ask, columns answer."""
    matrix = TOLD * FACTOR[block][layer][channel] * OF_QUANTITY[quantity]
    if block == "spherical":
        matrix = matrix * [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    else:
        matrix = matrix * [[1, 1, 1], [1, 1, 1 + image], [1, 1, 1]]
    return np.abs(matrix) if quantity == "contribution" else matrix


def end_of(block: str, quantity: str) -> float:
    """Largest size over layers, channels and frames."""
    views = [told(block, *view, image=0) for view in VIEWS[block] if view[2] == quantity]
    return float(np.abs(views).max())


def number(value: float, signed: bool) -> str:
    text = f"{abs(value):#.3g}".rstrip(".")
    return ("−" if value < 0 else "+" if signed else "") + text


@pytest.fixture(scope="module")
def record():
    return told_record()


# -- the report's page ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(record, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    return write.write_report(path, title="told", record=record, frame=FRAME)


@pytest.fixture
def page(written) -> Page:
    return Page(written)


def tubes_of(page: Page) -> np.ndarray:
    """Vertices of each drawn tube, (tubes, rings, sides, 3)."""
    mesh = page.figure("molecule")["data"][1]
    vertices = np.stack([mesh[axis] for axis in "xyz"], axis=-1)
    assert len(mesh["intensity"]) == len(vertices)
    return vertices.reshape(-1, tubes.RINGS, tubes.SIDES, 3)


def test_the_page_starts_where_its_largest_value_is(page):
    assert page.ask("document.body.dataset") == {"ready": "yes"}
    found = [page.of(name, "value") for name in ("block", "layer", "channel", "quantity", "atom")]
    assert found == ["feature", "1", "1", "weighted", "-1"]
    assert page.of("channel", "texts") == ["head 0", "head 1", "head 2"]
    assert page.of("layer", "texts") == ["layer 0", "layer 1"]
    assert page.of("atom", "texts") == ["all atoms", *LABELS]
    assert page.of("still", "hidden") and not page.of("figure-molecule", "hidden")
    assert not page.of("controls", "hidden")
    assert page.of("still", "hidden") and page.of("flat", "hidden")
    assert not page.of("figure-molecule", "hidden")


@pytest.mark.parametrize("block", FACTOR)
def test_rows_of_the_page_s_matrix_ask_and_columns_answer(page, block):
    page.choose(block=block)
    for layer, channel, quantity in VIEWS[block]:
        page.choose(layer=layer, channel=channel, quantity=quantity)
        figure, signed = page.figure("matrix"), quantity != "contribution"
        (heat,), layout, end = figure["data"], figure["layout"], end_of(block, quantity)
        np.testing.assert_allclose(heat["z"], told(block, layer, channel, quantity), rtol=2e-3)
        assert heat["x"] == heat["y"] == LABELS and layout["yaxis"]["autorange"] == "reversed"
        assert [heat["zmin"], heat["zmax"]] == pytest.approx([-end if signed else 0, end])
        scale = look.DIVERGING if signed else look.SEQUENTIAL
        assert heat["colorscale"] == [list(stop) for stop in scale]
        assert heat["colorbar"]["title"]["text"] == wording.AXIS[block][quantity]
        name = f"head {channel}" if block == "feature" else f"degree {channel + 1}"
        assert layout["title"]["text"] == f"{block} attention, layer {layer} · {name}"
        assert page.of("formula") == wording.FORMULA[block][quantity]
        key = page.ask("document.querySelectorAll('.key .signed').map((e) => e.hidden)")
        assert key == [not signed] * 2
        assert page.ask("document.querySelector('.key .size').hidden") == signed


@pytest.mark.parametrize("block", FACTOR)
def test_a_tube_s_radius_is_the_root_of_the_value_and_its_colour_the_sign(page, record, block):
    page.choose(block=block, threshold=0)
    picture = scene.scene(record, FRAME, block)
    for layer, channel, quantity in VIEWS[block][::2]:
        page.choose(layer=layer, channel=channel, quantity=quantity)
        values = record.select(block, layer, channel, quantity, FRAME)
        counted = values != 0
        drawn, values = tubes_of(page), values[counted]
        assert len(drawn) == len(values)
        # 0.12 Å at the end of the scale; a fourth of the value is half the radius
        width = 0.12 * np.sqrt(np.abs(values) / end_of(block, quantity))
        path, offset = picture.tubes.path[counted], picture.tubes.offset[counted]
        vertices = path[:, :, None] + width[:, None, None, None] * offset
        np.testing.assert_allclose(drawn, vertices, atol=2e-3)
        radius = np.linalg.norm(drawn - path[:, :, None], axis=-1).mean(axis=2)
        np.testing.assert_allclose(radius[:, 0], width, atol=1e-3)  # thick at who asks
        np.testing.assert_allclose(radius[:, -1], 0.22 * width, atol=1e-3)
        mesh = page.figure("molecule")["data"][1]
        kinds = np.reshape(mesh["intensity"], drawn.shape[:3])
        assert (kinds == kinds[:, :1, :1]).all() and [mesh["cmin"], mesh["cmax"]] == [0, 2]
        colours = [dict(mesh["colorscale"])[kind / 2] for kind in kinds[:, 0, 0]]
        signs = {-1: look.NEGATIVE, 1: look.POSITIVE}
        size = quantity == "contribution"
        assert colours == [look.MAGNITUDE if size else signs[s] for s in np.sign(values)]
        faces = np.stack([mesh[axis] for axis in "ijk"], axis=-1)
        own = np.arange(len(drawn))[:, None, None] * tubes.RINGS * tubes.SIDES
        np.testing.assert_array_equal(faces, (own + picture.tubes.faces).reshape(-1, 3))


@pytest.mark.parametrize("share", [0, 11, 12, 28, 50])
def test_tubes_and_sentence_leave_out_what_is_below_the_threshold(page, share):
    # of 1.8: 1.8, −0.8, 0.2, −0.1 and −0.03 (an image), −0.5, 1.2
    page.run(f"document.getElementById('threshold').value = {share}")
    page.fire("threshold", "input")
    sizes = np.array([1.8, 0.8, 0.2, 0.1, 0.03, 0.5, 1.2])
    shown = int((sizes >= share / 100 * 1.8).sum())
    assert len(tubes_of(page)) == shown and page.of("share") == f"{share} %"
    assert page.of("say") == (
        f"{shown} of 7 directed pairs drawn; the scale ends at 1.80 for every layer and channel of "
        "this block. Strongest: O0 attends to H1 with +1.80."
    )


@pytest.mark.parametrize(
    ("choices", "shown", "strongest"),
    [
        ({"block": "spherical", "layer": 0, "channel": 1}, 3, "C2 attends to H1 with −0.900"),
        ({"block": "geometric", "layer": 0, "channel": 0}, 7, "O0 attends to H1 with +0.540"),
        ({"block": "geometric", "layer": 1, "channel": 1}, 0, ""),  # zero is not drawn
        ({"quantity": "contribution"}, 7, "O0 attends to H1 with 0.600"),  # a size has no sign
        ({"quantity": "coefficient", "channel": 0}, 7, "O0 attends to H1 with +0.540"),
    ],
)
def test_the_page_s_sentence_is_of_what_is_shown(page, choices, shown, strongest):
    page.choose(threshold=0, **choices)
    pairs = 3 if choices.get("block") == "spherical" else 7
    assert len(tubes_of(page)) == shown
    assert page.of("say").startswith(f"{shown} of {pairs} directed pairs drawn; the scale ends at ")
    assert strongest in page.of("say")


@pytest.mark.parametrize("atom", range(3))
@pytest.mark.parametrize("role", ["receiver", "sender"])
def test_a_chosen_atom_shows_the_pairs_in_which_it_asks_or_answers(page, record, atom, role):
    page.choose(role=role, atom=atom, threshold=0, channel=2)
    picture = scene.scene(record, FRAME)
    mine = getattr(picture, role) == atom
    centre = tubes_of(page).mean(axis=2)
    np.testing.assert_allclose(centre, picture.tubes.path[mine], atol=3e-3)
    table = TOLD * -1.2
    row = table[atom] if role == "receiver" else table[:, atom]
    other = int(np.abs(row).argmax())
    one, two = (atom, other) if role == "receiver" else (other, atom)
    strongest = f"{LABELS[one]} attends to {LABELS[two]} with {number(row[other], True)}"
    assert page.of("say").startswith(f"{mine.sum()} of {mine.sum()} directed pairs drawn")
    assert page.of("say").endswith(f"Strongest: {strongest}.")
    (mark,) = page.figure("matrix")["layout"]["shapes"]
    box = [mark[name] for name in ("x0", "x1", "y0", "y1")]
    across = [-0.5, 2.5, atom - 0.5, atom + 0.5]
    assert box == (across if role == "receiver" else across[2:] + across[:2])
    index = record.pairs(FRAME)
    bright = {int(pair): bool(is_mine) for pair, is_mine in zip(index, mine, strict=True)}
    for trace in page.figure("distance")["data"]:
        if trace["mode"] == "markers" and trace["visible"]:
            found = [opacity > 0.5 for opacity in trace["marker"]["opacity"]]
            assert found == [bright[pair] for pair in trace["customdata"]]


@pytest.mark.parametrize(("role", "atom"), [("receiver", 2), ("sender", 1)])
@pytest.mark.parametrize("name", ["pointNumber", "pointIndex"])
def test_a_click_on_the_page_s_matrix_chooses_the_row_or_the_column(page, role, atom, name):
    page.choose(role=role)
    page.fire("figure-matrix", "plotly_click", points=[{name: [2, 1]}])
    assert page.of("atom", "value") == str(atom)
    assert "of 2 directed" in page.of("say") or "of 3 directed" in page.of("say")
    page.fire("figure-matrix", "plotly_click", points=[{name: [2, 1]}])
    assert page.of("atom", "value") == "-1" and "of 7 directed" in page.of("say")
    assert page.figure("matrix")["layout"]["shapes"] == []


def test_a_click_on_an_atom_chooses_it_and_a_drag_does_not(page):
    def point(name: str, down: tuple[int, int], up: tuple[int, int]) -> str:
        page.fire("figure-molecule", "plotly_hover", points=[{"text": name}])
        page.fire("figure-molecule", "pointerdown", clientX=down[0], clientY=down[1])
        page.fire("figure-molecule", "pointerup", clientX=up[0], clientY=up[1])
        return page.of("atom", "value")

    assert point("C2", (50, 60), (52, 61)) == "2"
    assert point("H1", (50, 60), (50, 90)) == "2"  # turned
    assert point("H1", (50, 60), (90, 60)) == "2"
    assert point("O0–H1: 1.025 Å", (50, 60), (50, 60)) == "2"  # a bond
    assert point("C2", (50, 60), (50, 60)) == "-1"
    page.fire("figure-molecule", "plotly_unhover")
    page.fire("figure-molecule", "pointerdown", clientX=5, clientY=5)
    page.fire("figure-molecule", "pointerup", clientX=5, clientY=5)
    assert page.of("atom", "value") == "-1"


@pytest.mark.parametrize("block", FACTOR)
def test_dots_of_the_page_are_its_pairs_at_their_distances(page, record, block):
    page.choose(block=block)
    pairs = record.neighbours(block)
    for layer, channel, quantity in VIEWS[block]:
        page.choose(layer=layer, channel=channel, quantity=quantity)
        figure, values = page.figure("distance"), record.select(block, layer, channel, quantity)
        seen = []
        for trace in figure["data"]:
            if trace["mode"] == "lines":
                assert trace["visible"] == (quantity == "weighted" and block != "spherical")
            elif trace["visible"]:
                assert trace["y"] == pytest.approx(values[trace["customdata"]], rel=2e-3)
                assert trace["x"] == pytest.approx(pairs.distance[trace["customdata"]])
                seen += trace["customdata"]
        assert sorted(seen) == record.pairs(FRAME, block).tolist()
        layout, end = figure["layout"], end_of(block, quantity)
        low = 0 if quantity == "contribution" else -1.06 * end
        assert layout["yaxis"]["range"] == pytest.approx([low, 1.06 * end])
        assert layout["xaxis"]["range"] == pytest.approx([0, 1.02 * 5])
        assert layout["yaxis"]["title"]["text"] == wording.AXIS[block][quantity]
        assert layout["title"] == page.figure("matrix")["layout"]["title"]


def test_the_page_s_envelope_is_the_largest_coefficient_times_the_cutoff(page):
    page.choose(layer=0, channel=1)
    upper, lower = page.figure("distance")["data"][:2]
    r, largest = np.array(upper["x"]), 2 * 0.9 * 0.5
    np.testing.assert_allclose(upper["y"], largest * (1 + np.cos(np.pi * r / 5)) / 2, atol=1e-4)
    np.testing.assert_allclose(lower["y"], -np.array(upper["y"]))


def test_another_block_of_fewer_channels_starts_at_its_first(page):
    page.choose(channel=2)
    page.choose(block="geometric")
    assert page.of("channel", "value") == "0" and page.of("channel", "texts")[1] == "degree 2"
    page.choose(channel=1)
    page.choose(block="feature")
    assert page.of("channel", "value") == "1" and page.of("channel", "texts")[1] == "head 1"
    np.testing.assert_allclose(page.figure("matrix")["data"][0]["z"][2], [-0.5, 1.2, 0])


def test_without_webgl_the_page_keeps_its_still_picture(written):
    page = Page(written, webgl=False)
    assert page.ask("document.body.dataset.ready") == "yes"
    assert not page.of("still", "hidden") and not page.of("flat", "hidden")
    assert page.of("figure-molecule", "hidden") and page.of("reset", "hidden")
    page.fire("figure-matrix", "plotly_click", points=[{"pointNumber": [1, 0]}])
    assert page.of("say").endswith("Strongest: H1 attends to O0 with +0.200.")


def test_the_page_s_molecule_turns_back(page):
    home = page.figure("molecule")["layout"]["scene"]["camera"]
    assert np.linalg.norm([home["eye"][axis] for axis in "xyz"]) > 0.4
    page.run("document.getElementById('figure-molecule').layout.scene.camera = null")
    page.fire("reset", "click")
    assert page.figure("molecule")["layout"]["scene"]["camera"] == home


def test_all_figures_of_a_page_are_drawn_and_follow_light_and_dark(record, tmp_path):
    line, rows = np.linspace(0, 1, 4), {"epoch": [1, 2], "valid_force_mae_eV_A": [2.0, 1.0]}
    parity = {"force": (line, line), "energy": (line, line)}
    whole = {"metrics": rows, "parity": parity, "record": record}
    page = Page(write.write_report(tmp_path / "all.html", title="all", **whole))
    names = ("curve", "force", "energy", "molecule", "matrix", "distance")
    light = {page.figure(name)["layout"]["font"]["color"] for name in names}
    page.run("screen.dark = true; for (const act of screen.darkened) act()")
    dark = {page.figure(name)["layout"]["font"]["color"] for name in names}
    assert len(light) == len(dark) == 1 and max(light) < max(dark)  # the lighter ink
    page.choose(atom=1)
    (mark,) = page.figure("matrix")["layout"]["shapes"]
    assert {mark["line"]["color"]} == dark


# -- the explorer's panels ------------------------------------------------------------------------

STATE = ViewState("feature", layer=1, channel=1, frame=FRAME)
MATRIX = np.array([[0, 1.8, -0.8], [0.2, 0, -0.13], [-0.5, 1.2, 0]])  # of that state, by hand
LEFT, TOP, CELL = 40, 30, 284 / 3  # of a matrix, px


def colour_of(text: str) -> np.ndarray:
    """Red, green, blue from 0 to 255, and opacity."""
    return np.array(re.findall(r"[\d.]+", text), float)


def same_colour(text: str, value: float, limit: float, signed: bool) -> bool:
    expected = np.array(look.rgba(value, limit, signed)) * [255, 255, 255, 1]
    return bool((np.abs(colour_of(text) - expected) <= [2, 2, 2, 0.01]).all())


@pytest.fixture(scope="module")
def matrix(record) -> Plot:
    return Plot(drawing.matrix_data(record, STATE))


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_cell_stands_in_the_row_of_who_asks_in_the_colour_of_its_value(record, quantity):
    state = dataclasses.replace(STATE, quantity=quantity)
    plot, expected = Plot(drawing.matrix_data(record, state)), told("feature", 1, 1, quantity)
    signed, end = quantity != "contribution", end_of("feature", quantity)
    cells = [rect for rect in plot.strokes("rect") if rect["h"] > 20]
    assert len(cells) == 6
    for cell in cells:
        i, j = round((cell["y"] - TOP) / CELL), round((cell["x"] - LEFT) / CELL)
        assert (cell["x"], cell["y"]) == pytest.approx((LEFT + j * CELL, TOP + i * CELL))
        assert cell["w"] == cell["h"] == pytest.approx(CELL - 1)
        assert same_colour(cell["fill"], expected[i, j], end, signed), (i, j)
        said = f"{LABELS[i]} attends to {LABELS[j]}: {number(expected[i, j], signed)}"
        assert plot.hover(cell["x"] + 5, cell["y"] + 5) == said


def test_a_colour_s_hue_is_the_sign():
    """Amber above zero, azure below: red outweighs blue, or blue red."""
    plot = Plot(drawing.matrix_data(told_record(), STATE))
    for cell in [rect for rect in plot.strokes("rect") if rect["h"] > 20]:
        i, j = round((cell["y"] - TOP) / CELL), round((cell["x"] - LEFT) / CELL)
        red, _, blue, _ = colour_of(cell["fill"])
        assert (red > blue) == (MATRIX[i, j] > 0)


def test_a_panel_s_matrix_names_rows_columns_and_scale(matrix):
    for k, name in enumerate(LABELS):
        row, column = (stroke for stroke in matrix.strokes("text") if stroke["text"] == name)
        if row["x"] > LEFT:
            row, column = column, row
        assert row["y"] == pytest.approx(TOP + (k + 0.5) * CELL) and row["align"] == "right"
        assert column["x"] == pytest.approx(LEFT + (k + 0.5) * CELL) and column["y"] > TOP + 284
    asks, answers = matrix.written("asks (receiver)"), matrix.written("answers (sender)")
    assert asks["x"] < LEFT and asks["turn"] == pytest.approx(-np.pi / 2)
    assert answers["y"] > TOP + 284 and not answers["turn"]
    assert matrix.written("feature attention, layer 1 · head 1")["font"].startswith("600 ")
    assert matrix.written(wording.AXIS["feature"]["weighted"])["turn"]
    bar = [rect for rect in matrix.strokes("rect") if rect["w"] == 12]
    assert same_colour(bar[0]["fill"], 1.8, 1.8, True)
    assert same_colour(bar[-1]["fill"], -1.8, 1.8, True)
    assert same_colour(bar[71]["fill"], 0.9, 1.8, True)
    marks = [matrix.written(text)["y"] for text in ("1.8", "0", "−1.8")]
    assert marks == pytest.approx([TOP, TOP + 142, TOP + 284])


def test_a_scale_of_sizes_begins_at_zero(record):
    state = dataclasses.replace(STATE, quantity="contribution")
    plot = Plot(drawing.matrix_data(record, state))
    marks = [plot.written(text)["y"] for text in ("0.6", "0.3", "0")]
    assert marks == pytest.approx([TOP, TOP + 142, TOP + 284])
    bar = [rect for rect in plot.strokes("rect") if rect["w"] == 12]
    assert [rect["y"] for rect in bar] == [TOP + k for k in range(284)]
    assert same_colour(bar[0]["fill"], 0.6, 0.6, False)
    assert same_colour(bar[142]["fill"], 0.3, 0.6, False)


@pytest.mark.parametrize(("receiver", "sender"), [(2, None), (None, 1), (0, 2)])
def test_the_chosen_row_and_column_are_framed(record, receiver, sender):
    data = drawing.matrix_data(record, STATE)
    plot = Plot(data | {"chosen": {"receiver": receiver, "sender": sender}})
    frames = [[box[k] for k in "xywh"] for box in plot.strokes("box") if box["width"] == 2]
    row = [] if receiver is None else [[LEFT, TOP + receiver * CELL, 284, CELL]]
    column = [] if sender is None else [[LEFT + sender * CELL, TOP, CELL, 284]]
    np.testing.assert_allclose(frames, row + column)


def test_nothing_is_drawn_beside_the_canvas(record):
    chosen = dataclasses.replace(STATE, atom=2, partner=0)
    plots = [
        Plot(drawing.matrix_data(record, chosen)),
        Plot(drawing.distance_data(record, STATE)),
        Plot(drawing.series_data(record, chosen)),
        Plot(drawing.overview_data(record, STATE)),
    ]
    for plot in plots:
        for stroke in plot.ask("canvas.pen.strokes"):
            for x, y in stroke.get("points") or [(stroke["x"], stroke["y"])]:
                x, y = x + stroke.get("w", 0), y + stroke.get("h", 0)
                assert 0 <= x <= 420 and 0 <= y <= 361, stroke
    for plot in plots[1:3]:
        turned = [each for each in plot.strokes("text") if each["turn"]]
        assert [each["text"] for each in turned] == [wording.AXIS["feature"]["weighted"]]
        assert turned[0]["turn"] == -np.pi / 2 and turned[0]["x"] < 20


def test_a_click_beside_the_matrix_chooses_the_atom_of_the_row_or_nothing(matrix):
    assert matrix.click(20, TOP + 1.5 * CELL) == {"atom": 1, "count": 1}
    assert matrix.hover(20, TOP + 1.5 * CELL) == "H1"
    assert matrix.click(20, TOP + 3)["atom"] == 0
    assert matrix.hover(LEFT + 3, TOP + 3) == "O0 attends to O0: 0"
    beside = [(LEFT + 10, TOP - 4), (LEFT + 10, TOP + 290), (LEFT + 290, TOP + 20), (20, 10)]
    for x, y in [*beside, (20, TOP + 290)]:
        assert matrix.click(x, y) is None and matrix.hover(x, y) == ""
    matrix.run("canvas.fire('mouseleave')")
    assert matrix.ask("tip.textContent") == ""


def test_a_matrix_of_many_atoms_is_one_picture_of_the_same_cells():
    rng = np.random.default_rng(1)
    values = rng.uniform(-1, 1, (50, 50)).astype(np.float32)
    values[3, 40], values[40, 3] = 0.0, 0.75
    data = {"kind": "matrix", "title": "", "labels": [f"H{k}" for k in range(50)], "unit": ""}
    data |= {"values": values, "chosen": {"receiver": 40, "sender": None}, "limit": 1.0}
    plot = Plot(data | {"signed": True, "scale": look.DIVERGING})
    (image,) = plot.strokes("image")
    assert [image[k] for k in "xywh"] == [LEFT, TOP, 284, 284] and image["size"] == 50
    assert image["smooth"] is False  # cells, not a blur
    pixels = np.reshape(image["pixels"], (50, 50, 4))
    assert (pixels[3, 40] == 0).all()
    for i, j in ((40, 3), (0, 49), (17, 5)):
        *rgb, alpha = look.rgba(float(values[i, j]), 1.0, True)
        np.testing.assert_allclose(pixels[i, j, :3] / 255, rgb, atol=0.02)
        assert pixels[i, j, 3] / 255 == pytest.approx(alpha, abs=0.02)
    cell = 284 / 50
    picked = plot.click(LEFT + 3.5 * cell, TOP + 40.5 * cell)
    assert (picked["receiver"], picked["sender"]) == (40, 3)
    assert plot.hover(LEFT + 3.5 * cell, TOP + 40.5 * cell) == "H40 attends to H3: +0.750"
    names = [stroke["text"] for stroke in plot.strokes("text") if stroke["text"].startswith("H")]
    # as many as there is room for: every third row, and every fifth column
    assert names[:4] == ["H0", "H0", "H3", "H5"]


# -- points, lines, small matrices ----------------------------------------------------------------


def marks_of(plot: Plot) -> tuple[dict[float, float], dict[float, float]]:
    """Numbers along the axes and up them, each with its place in px."""
    along, up = {}, {}
    for stroke in plot.strokes("text"):
        if re.fullmatch(r"[−\d.]+", stroke["text"]) and stroke["align"] != "left":
            value = float(stroke["text"].replace("−", "-"))
            if stroke["align"] == "center":
                along[value] = stroke["x"]
            else:
                up[value] = stroke["y"]
    return along, up


def place(plot: Plot, x: float, y: float) -> tuple[float, float]:
    """Where a point stands by the numbers that are written along the axes."""
    lines = (np.polyfit(list(marks), list(marks.values()), 1) for marks in marks_of(plot))
    return tuple(float(np.polyval(line, v)) for line, v in zip(lines, (x, y), strict=True))


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("block", ["feature", "spherical"])
def test_a_point_stands_at_its_distance_and_value_and_is_known_by_its_pair(record, block, quantity):
    state = dataclasses.replace(STATE, block=block, quantity=quantity, atom=2, role="sender")
    plot = Plot(drawing.distance_data(record, state))
    pairs, index = record.neighbours(block), record.pairs(FRAME, block)
    values = record.select(block, 1, 1, quantity, FRAME)
    small = [dot for dot in plot.strokes("dot") + plot.strokes("ring") if dot["r"] == 4]
    dots = [dot for dot in small if dot["x"] < 420 - 12 - 54 or dot["y"] > 90]  # not the legend
    assert len(dots) == len(index)
    signed = quantity != "contribution"
    for pair, value in zip(index, values, strict=True):
        i, j = int(pairs.receiver[pair]), int(pairs.sender[pair])
        x, y = place(plot, pairs.distance[pair], value)
        (dot,) = (d for d in dots if abs(d["x"] - x) < 0.5 and abs(d["y"] - y) < 0.5)
        assert dot["alpha"] == (0.9 if j == 2 else 0.1)
        kind = sorted(name[0] for name in (LABELS[i], LABELS[j]))
        assert (dot["what"] == "ring") == (LABELS[i][0] != kind[0])
        said = f"{LABELS[i]} attends to {LABELS[j]}: {number(value, signed)} at "
        assert plot.hover(x + 1, y) == f"{said}{pairs.distance[pair]:.4g}"
        picked = plot.click(x + 1, y - 1)
        assert (picked["receiver"], picked["sender"]) == (i, j)
        name = plot.written(" – ".join(kind))
        sample = next(d for d in small if d["y"] == name["y"] and d["x"] == name["x"] - 9)
        assert sample["fill"] == dot["fill" if dot["what"] == "dot" else "line"]
        assert sample["alpha"] == 1
    assert plot.click(70, 60) is None
    along, up = marks_of(plot)
    assert sorted(along) == [0, 1, 2, 3, 4, 5]
    if block == "feature":
        assert sorted(up) == {"weighted": [-1, 0, 1], "coefficient": [-2, 0, 2]}.get(
            quantity, [0, 0.2, 0.4, 0.6]
        )
    lines = [line for line in plot.strokes("line") if line["dash"]]
    assert len(lines) == (2 if quantity == "weighted" and block == "feature" else 0)
    for line, sign in zip(lines, (1, -1), strict=False):
        r = np.linspace(0, 5, 60)
        wave = sign * 3.6 * (1 + np.cos(np.pi * r / 5)) / 2
        ends = np.clip(wave, -1.06 * 1.8, 1.06 * 1.8)
        expected = [place(plot, *point) for point in zip(r, ends, strict=True)]
        np.testing.assert_allclose(line["points"], expected, atol=1)


def test_of_points_that_hide_each_other_the_bright_one_is_meant():
    data = drawing.points(
        np.array([2.0, 2.02, 4.0]),
        np.array([0.5, 0.5, 0.1]),
        np.array([0, 1, 2]),
        np.array([1, 2, 0]),
        bright=[False, True, True],
        **{"title": "", "labels": LABELS, "x_title": "", "x_end": 5.0, "limit": 1.0},
        **{"signed": False, "scale": look.SEQUENTIAL, "unit": ""},
    )
    plot = Plot(data)
    x, y = place(plot, 2.0, 0.5)
    assert plot.hover(x, y) == "H1 attends to C2: 0.500 at 2.02"
    x, y = place(plot, 4.0, 0.1)
    assert plot.hover(x + 8, y).startswith("C2 attends to O0") and plot.hover(x + 10, y) == ""
    alphas = [dot["alpha"] for dot in plot.strokes("dot")]
    assert alphas == [0.1, 0.9, 0.9]  # what is bright lies above


@pytest.mark.parametrize("quantity", ["weighted", "contribution"])
def test_lines_over_frames_are_the_pair_s_both_directions(record, quantity):
    state = dataclasses.replace(STATE, atom=2, partner=0, quantity=quantity)
    plot = Plot(drawing.series_data(record, state, np.array([30.0, 10.0]), "angle (°)"))
    sign, size = (-1, 1 / 3) if quantity == "contribution" else (1, 1)
    there, back = np.array([-0.35, -0.5]) * sign * size, np.array([-0.56, -0.8]) * sign * size
    for colour, values in zip(look.PALETTE, (there, back), strict=False):
        (line,) = (each for each in plot.strokes("line") if each["line"] == colour)
        expected = [place(plot, x, y) for x, y in zip((30, 10), values, strict=True)]
        np.testing.assert_allclose(line["points"], expected, atol=0.6)
        dots = [[dot["x"], dot["y"]] for dot in plot.strokes("dot") if dot["fill"] == colour]
        np.testing.assert_allclose(dots, expected, atol=0.6)
    for colour, name in zip(look.PALETTE, ("C2 attends to O0", "O0 attends to C2"), strict=False):
        (sample,) = (rect for rect in plot.strokes("rect") if rect["fill"] == colour)
        written = plot.written(name)
        assert abs(sample["y"] - written["y"]) < 4 and sample["x"] + sample["w"] < written["x"]
    along, up = marks_of(plot)
    assert sorted(along) == [10, 15, 20, 25, 30] and plot.written("angle (°)")
    assert (min(up) < 0) == (quantity == "weighted")
    frames = [each for each in plot.strokes("line") if each["line"] == "ink"]
    (mark,) = (each for each in frames if each["width"] == 1.5)
    assert mark["points"][0][0] == mark["points"][1][0] == pytest.approx(place(plot, 10, 0)[0])
    x = place(plot, 28, 0)[0]
    one, two = (number(values[0], quantity == "weighted") for values in (there, back))
    assert plot.hover(x, 100) == f"frame 0: C2 attends to O0: {one}; O0 attends to C2: {two}"
    assert plot.click(x, 100)["frame"] == 0 and plot.click(place(plot, 12, 0)[0], 40)["frame"] == 1


def test_the_overview_has_layers_down_and_channels_across(record):
    plot = Plot(drawing.overview_data(record, dataclasses.replace(STATE, channel=2)))
    images = plot.strokes("image")
    assert len(images) == 6
    bold = [box for box in plot.strokes("box") if box["width"] == 2.5]
    for image, (layer, channel) in zip(images, product(range(2), range(3)), strict=True):
        row, column = plot.written(f"layer {layer}"), plot.written(f"head {channel}")
        x, y = image["x"] + image["w"] / 2, image["y"] + image["h"] / 2
        assert (column["x"], row["y"]) == pytest.approx((x, y))
        assert row["x"] < images[0]["x"] and column["y"] < images[0]["y"]
        expected, end = told("feature", layer, channel, "weighted"), 1.8
        pixels = np.reshape(image["pixels"], (3, 3, 4))
        for i, j in product(range(3), range(3)):
            red, _, blue, alpha = pixels[i, j]
            assert (alpha == 0) == (i == j) and (i == j or (red > blue) == (expected[i, j] > 0))
            shade = look.rgba(float(expected[i, j]), end, True)[3]
            assert alpha / 255 == pytest.approx(shade, abs=0.03)
        assert plot.hover(x, y) == f"layer {layer} · head {channel}"
        picked = plot.click(x, y)
        assert (picked["layer"], picked["channel"]) == (layer, channel)
        if (layer, channel) == (1, 2):
            ((found),) = ([box[k] for k in "xywh"] for box in bold)
            assert found == [image[k] for k in "xywh"] and bold[0]["line"] == "ink"
    one, two, below = images[0], images[1], images[3]
    assert two["x"] > one["x"] + one["w"] and below["y"] > one["y"] + one["h"]
    (bar,) = {rect["x"] for rect in plot.strokes("rect") if rect["w"] == 12}
    assert bar > images[2]["x"] + images[2]["w"]
    x, y = one["x"] + 5, one["y"] + 5
    for beside in ((20, y), (x, 20), (bar + 5, y), (x, 355)):
        assert plot.click(*beside) is None and plot.hover(*beside) == ""


CURVES = {
    "kind": "curves",
    "title": "taken away",
    "x": [0, 50, 100],
    "lines": [
        {"name": "attention", "y": [0, 0.8, 1], "dash": []},
        {"name": "random", "y": [0, 0.4, 1], "dash": [2, 4]},
    ],
    "palette": list(look.PALETTE),
    "x_title": "share (%)",
    "x_end": 100.0,
    "limit": 1.0,
    "signed": False,
    "low_legend": True,
    "unit": "change",
}


def test_curves_are_told_apart_by_dashes_and_named():
    plot = Plot(CURVES)
    for n, line in enumerate(CURVES["lines"]):
        drawn = [
            each
            for each in plot.strokes("line")
            if each["line"] == look.PALETTE[n] and each["width"] == 2
        ]
        curve, sample = drawn
        assert curve["dash"] == sample["dash"] == line["dash"]
        expected = [place(plot, x, y) for x, y in zip(CURVES["x"], line["y"], strict=True)]
        np.testing.assert_allclose(curve["points"], expected, atol=0.6)
        written = plot.written(line["name"])
        assert sample["points"][0][1] == written["y"] and sample["points"][1][0] < written["x"]
    x = place(plot, 45, 0)[0]
    assert plot.hover(x, 100) == "50 %: attention 0.8; random 0.4"
    assert plot.click(x, 100) is None and plot.hover(10, 100) == ""


def test_bars_are_as_long_as_their_values_and_choose_what_they_stand_for():
    picks = [{"block": "feature", "layer": k, "channel": 2} for k in (1, 0, 3)]
    data = {
        "kind": "bars",
        "title": "cost",
        "names": ["feature 1", "feature 0", "feature 3"],
        "values": [40.0, 10.0, 5.0],
        "said": ["one", "two", "three"],
        "picks": picks,
        "chosen": 1,
        "limit": 40.0,
        "signed": False,
        "colour": look.MAGNITUDE,
        "unit": "meV/Å",
    }
    plot = Plot(data)
    bars = plot.strokes("rect")
    assert [bar["w"] / bars[0]["w"] for bar in bars] == pytest.approx([1, 0.25, 0.125])
    (mark,) = plot.strokes("box")
    assert mark["y"] < bars[1]["y"] and mark["y"] + mark["h"] > bars[1]["y"] + bars[1]["h"]
    for bar, name, value, pick in zip(bars, data["names"], ("40", "10", "5"), picks, strict=True):
        middle = bar["y"] + bar["h"] / 2
        assert plot.written(name)["y"] == pytest.approx(middle)
        assert plot.written(value)["x"] > bar["x"] + bar["w"]
        assert plot.click(bar["x"] + 1, middle).items() >= pick.items()
    assert plot.hover(200, bars[2]["y"] + 3) == "three"
    assert plot.click(200, 10) is None and plot.click(200, 340) is None


def test_a_pair_of_another_matrix_is_not_said_to_attend(record):
    data = drawing.matrix_data(record, STATE) | {"between": " asks "}
    plot, asked = Plot(data), Plot(drawing.matrix_data(record, STATE))
    assert asked.hover(100, 250).replace("attends to", "asks") == plot.hover(100, 250) != ""


def test_a_panel_draws_anew_what_it_is_told_and_says_whether_there_is_webgl(record):
    plot = Plot(drawing.matrix_data(record, STATE), webgl=False)
    assert plot.ask("model.values.webgl") == "no" and plot.ask("canvas.dataset.count") == 1
    assert plot.ask("canvas['aria-label']") == "feature attention, layer 1 · head 1"
    other = drawing.matrix_data(record, dataclasses.replace(STATE, layer=0))
    plot.run(f"model.tell('data', {packed(other)})")
    assert plot.ask("canvas.dataset.count") == 2 and plot.written(other["title"])
    plot.run("devicePixelRatio = 2; observers[0].act()")
    assert plot.ask("[canvas.width, canvas.height]") == [840, 720]
    assert plot.ask("canvas.pen.matrix") == [2, 0, 0, 2, 0, 0]
    plot.run("close(); model.tell('data', {})")
    assert plot.ask("canvas.dataset.count") == 3 and plot.ask("observers[0].what") is None
    assert Plot({}).strokes("text") == []
    assert Plot({}).ask("model.values.webgl") == "yes"


# -- the explorer's molecule ----------------------------------------------------------------------


@pytest.fixture
def molecule(record) -> Engine:
    engine = Engine()
    engine.load("molecule.js")
    engine.run("const view = new StageView('ANGLE (a graphics card)')")
    engine.run("const stage = { views: { one: Promise.resolve(view), bare: Promise.resolve({}) } }")
    data = packed(drawing.molecule_data(record, dataclasses.replace(STATE, threshold=0.0)))
    engine.run(f"const model = new Model({{ stage: 's', data: {data} }}, {{ s: stage }})")
    engine.run("exported.initialize({ model }); model.fire('change:data')")
    return engine


def parts(engine: Engine, what: str, name: str | None = None) -> list[dict]:
    found = engine.ask("view.components.at(-1).built")
    return [part for part in found if part["what"] == what and name in (None, part.get("name"))]


def test_the_molecule_s_tubes_run_from_who_asks_to_who_answers(molecule, record):
    data = drawing.molecule_data(record, dataclasses.replace(STATE, threshold=0.0))
    atoms = {part["name"]: part for part in parts(molecule, "sphere")}
    assert list(atoms) == LABELS
    for k, atom in enumerate(atoms.values()):
        assert atom["at"] == pytest.approx(data["places"][k])
        assert atom["colour"] == pytest.approx(data["colours"][k])
        assert atom["radius"] == pytest.approx(data["radii"][k])
    texts = parts(molecule, "text")
    assert [text["text"] for text in texts] == LABELS
    for k, text in enumerate(texts):
        assert text["at"] == pytest.approx(data["places"][k])
        assert text["colour"] == pytest.approx(data["inks"][k])
    table = MATRIX - np.array([[0, 0, 0], [0, 0, -0.03], [0, 0, 0]])
    for i, j in product(range(3), range(3)):
        if i == j or (i, j) == (1, 2):  # that one has an image
            continue
        name = f"{LABELS[i]} attends to {LABELS[j]}: {table[i, j]:+.3g}"
        pieces = parts(molecule, "cylinder", name)
        assert pieces[0]["from"] == pytest.approx(atoms[LABELS[i]]["at"], abs=1e-5)
        assert pieces[-1]["to"] == pytest.approx(atoms[LABELS[j]]["at"], abs=1e-5)
        assert all(a["to"] == b["from"] for a, b in pairwise(pieces))
        colour = look.POSITIVE if table[i, j] > 0 else look.NEGATIVE
        expected = look.parts_of_colour(colour)[:3]
        assert all(piece["colour"] == pytest.approx(expected) for piece in pieces)
        radii = [piece["radius"] for piece in pieces]
        widest = 0.12 * np.sqrt(abs(table[i, j]) / 1.8)
        rings = np.linspace(0, 1, len(pieces) + 1).round(1)[1:]
        assert radii == pytest.approx(widest * (1 - 0.78 * rings), rel=1e-5)
    far = parts(molecule, "cylinder", "H1 attends to C2: -0.03")
    assert np.linalg.norm(np.subtract(far[-1]["to"], atoms["C2"]["at"])) == pytest.approx(
        2.5, rel=1e-4
    )


def test_bonds_are_two_halves_that_meet(molecule, record):
    halves = parts(molecule, "cylinder", "bond")
    bonds = drawing.molecule_data(record, STATE)["bonds"]
    assert len(halves) == 2 * len(bonds) > 0
    atoms = {part["name"]: np.array(part["at"]) for part in parts(molecule, "sphere")}
    for (i, j), one, two in zip(bonds, halves[::2], halves[1::2], strict=True):
        a, b = atoms[LABELS[i]], atoms[LABELS[j]]
        assert one["from"] == pytest.approx(a) and two["from"] == pytest.approx(b)
        assert one["to"] == two["to"] == pytest.approx((a + b) / 2)


def test_a_click_on_a_ball_tells_its_atom_and_one_beside_nothing(molecule):
    molecule.run("view.clicks[0](null); view.clicks[0]({ cylinder: { name: 'bond' } })")
    assert molecule.ask("[view.touched, view.model.values]") == [0, {}]
    for count in (1, 2):
        molecule.run("view.clicks[0]({ sphere: { name: 'C2' } })")
        picked = {"sphere": "C2", "count": count}
        assert molecule.ask("[view.touched, view.model.values.picked]") == [count, picked]


def test_another_state_is_drawn_in_the_same_component(molecule, record):
    other = packed(drawing.molecule_data(record, dataclasses.replace(STATE, atom=1)))
    molecule.run(f"model.tell('data', {other})")
    assert molecule.ask("view.components.length") == 2  # what stays for good, and the molecule
    assert molecule.ask("view.clicks.length") == 1
    assert all(
        "H1 attends" in part["name"]
        for part in parts(molecule, "cylinder")
        if part["name"] != "bond"
    )
    assert molecule.ask("view.molecule.object === view.molecule.shape")
    kept = molecule.ask("view.components[0].built")  # too small to be seen
    sizes = [part.get("radius", 0) for part in kept]
    places = [part[end] for part in kept for end in ("at", "from", "to") if end in part]
    assert [part["what"] for part in kept] == ["sphere", "cylinder", "text"]
    assert max(sizes) < 1e-3 and np.abs(places).max() < 1e-3
    assert molecule.ask("view.stage.viewer.container.dataset.count") == 2
    molecule.run("model.fire('msg:custom')")
    assert molecule.ask("view.stage.viewer.container.dataset.count") == 3


@pytest.mark.parametrize(("renderer", "level"), [("SwiftShader", -1), ("a graphics card", None)])
def test_only_software_draws_once(renderer, level):
    engine = Engine()
    engine.load("molecule.js")
    engine.run(f"const view = new StageView('{renderer}'); setUp(view)")
    assert engine.ask("view.stage.parameters").get("sampleLevel") == level
    assert engine.ask("view.stage.removed") == ["clickPick-left"]


def test_the_molecule_fills_its_stage_until_it_is_turned(molecule):
    molecule.run("observers[0].act()")
    assert molecule.ask("[view.molecule.fitted, view.components[0].fitted]") == [True, None]
    assert molecule.ask("observers[0].what === view.stage.viewer.container")
    for touch in ("pointerdown", "wheel"):
        molecule.run("observers[0].observe('again')")
        molecule.run(f"view.stage.viewer.container.fire('{touch}')")
        assert molecule.ask("observers[0].what") is None


# -- many changes in one message ------------------------------------------------------------------


def test_changes_reach_their_widgets_in_order_with_their_bytes():
    engine = Engine()
    engine.load("together.js")
    engine.run(
        "const heard = [], widget = (name) => ({ set_state: (s) => heard.push([name, s]) });"
        "const model = new Model({}, { a: widget('a'), b: widget('b') });"
        "exported.initialize({ model })"
    )
    assert engine.ask("model.sent") == [{"ready": True}]
    updates = [
        {"model_id": "b", "state": {"data": {"kind": "x"}}, "buffer_paths": [["data", "v"], ["w"]]},
        {"model_id": "a", "state": {}, "buffer_paths": [["u"]]},
    ]
    engine.run(f"model.fire('msg:custom', {json.dumps(updates)}, [1, 2, 3])")
    engine.run(f"model.fire('msg:custom', {json.dumps([{**updates[1], 'state': {'n': 2}}])}, [4])")
    assert engine.ask("heard") == [
        ["b", {"data": {"kind": "x", "v": 1}, "w": 2}],
        ["a", {"u": 3}],
        ["a", {"n": 2, "u": 4}],
    ]
