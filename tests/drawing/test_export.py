"""Exported figures hold what the figure holds, need nothing else, or are refused."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from synthetic import ethanol_record

from so3krates_lite.drawing import all_layers, error_curves, export, figures, side_by_side
from so3krates_lite.drawing.export import save_figure, still
from so3krates_lite.errors import UserError

matplotlib = pytest.importorskip("matplotlib", reason="pictures need matplotlib: the extra 'lab'")
matplotlib.use("agg")
RECORD = ethanol_record(frames=4, spherical=True)
METRICS = {"epoch": [1, 2, 3], "train_force_mae_eV_A": [3, 2, 1], "valid_energy_mae_eV": [2, 1, 1]}
RISING = np.linspace(0.0, 1.0, 50)
FIGURES = {
    "matrix": lambda: figures.attention_matrix(RECORD),
    "distance": lambda: figures.attention_against_distance(RECORD, 0),
    "nearness": lambda: figures.nearness_figure(RECORD),
    "learning": lambda: error_curves.learning_curve(METRICS),
    "parity": lambda: error_curves.parity(RISING, RISING**2),
    "overview": lambda: all_layers.overview(RECORD),
    "sphc": lambda: all_layers.attention_against_sphc_distance(RECORD, 0),
    "series": lambda: all_layers.series_figure(RECORD, [(0, 1), (2, None)]),
    "comparison": lambda: side_by_side.comparison(RECORD, RECORD, {}, {"channel": 1}),
    "paths": lambda: side_by_side.path_sum_figure(RECORD),
    "causal": lambda: side_by_side.causal_figure(RISING, RISING**2, RISING),
}


SOME = ("nearness", "learning", "overview")


def words(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)).strip()


@pytest.mark.parametrize("name", SOME)
def test_a_png_is_an_image_on_a_transparent_ground_with_something_on_it(name, tmp_path):
    path = save_figure(FIGURES[name](), tmp_path / "figure.png", scale=0.6)
    assert list(tmp_path.iterdir()) == [path]
    image = matplotlib.image.imread(io.BytesIO(path.read_bytes()), format="png")
    assert image.shape[2] == 4 and image[0, 0, 3] == 0 and image[..., 3].max() > 0.5


@pytest.mark.parametrize("name", list(FIGURES))
def test_an_svg_holds_every_title_label_and_sentence(name, tmp_path):
    figure = FIGURES[name]()
    path = save_figure(figure, tmp_path / "figure.svg")
    root = ElementTree.parse(path).getroot()
    found = " ".join(
        words("".join(node.itertext())) for node in root.iter() if node.tag.endswith("text")
    )
    layout = figure.to_plotly_json()["layout"]
    wanted = [layout.get("title", {}).get("text")]
    wanted += [note["text"] for note in layout.get("annotations", ())]
    axes = [part for name, part in layout.items() if re.match(r"[xy]axis\d*$", name)]
    wanted += [axis.get("title", {}).get("text") for axis in axes]
    for text in filter(None, wanted):
        for line in re.split(r"<br>", text):
            assert words(line) in found, line
    if len(figure.data) > 1 and figure.layout.showlegend is not False:
        for trace in figure.data:
            if trace.name and trace.showlegend is not False:
                assert trace.name in found


def test_the_same_figure_is_the_same_file(tmp_path):
    one, other = (
        save_figure(FIGURES["comparison"](), tmp_path / name).read_bytes()
        for name in ("a.svg", "b.svg")
    )
    assert one == other


def cells(ax) -> dict[tuple[int, int], tuple[float, ...]]:
    """Colour of each drawn cell by (row, column)."""
    (quads,) = ax.collections
    centres = [np.round(path.vertices[:4].mean(0)).astype(int) for path in quads.get_paths()]
    colours = quads.get_facecolor()
    return {(int(y), int(x)): tuple(c) for (x, y), c in zip(centres, colours, strict=True)}


def test_cells_have_the_colour_of_their_value_at_the_place_of_their_pair():
    from so3krates_lite.drawing.stills import diverging

    end, matrix = RECORD.limit(), RECORD.matrix()
    ax = still(figures.attention_matrix(RECORD)).axes[0]
    found, scale = cells(ax), diverging()
    seen = {(int(i), int(j)) for i, j in zip(*np.nonzero(np.abs(matrix) > end / 250), strict=True)}
    assert seen <= set(found) and all(matrix[pair] != 0 for pair in found)
    for (i, j), colour in found.items():
        expected = scale((matrix[i, j] + end) / (2 * end))
        np.testing.assert_allclose(colour, expected, atol=0.02)
    assert ax.yaxis_inverted() and not ax.xaxis_inverted()
    assert [text.get_text() for text in ax.get_yticklabels()][:3] == ["C0", "C1", "O2"]


def test_dots_and_lines_are_drawn_where_they_are():
    plotted = FIGURES["distance"]()
    ax = still(plotted).axes[0]
    dots = np.concatenate([np.asarray(group.get_offsets()) for group in ax.collections])
    marked = [trace for trace in plotted.data if trace.mode == "markers"]
    expected = np.concatenate([np.stack([trace.x, trace.y], 1) for trace in marked])
    np.testing.assert_allclose(dots, expected)
    curve = plotted.data[0]
    upper = next(line for line in ax.lines if len(line.get_xdata()) == len(curve.x))
    np.testing.assert_allclose(upper.get_ydata(), curve.y)
    assert ax.get_xlim() == plotted.layout.xaxis.range
    assert ax.get_ylim() == plotted.layout.yaxis.range


def test_open_and_full_markers_stay_apart():
    ax = still(FIGURES["distance"]()).axes[0]
    filled = [len(group.get_facecolor()) > 0 for group in ax.collections]
    names = [t.marker.symbol for t in FIGURES["distance"]().data if t.mode == "markers"]
    assert filled == [not name.endswith("-open") for name in names]
    assert True in filled and False in filled


def test_panels_lie_where_the_figure_has_them():
    plotted = FIGURES["overview"]()
    drawing = still(plotted)
    panels = [ax for ax in drawing.axes if ax.collections]
    assert len(panels) == len(plotted.data)
    for panel, ax in zip(plotted.data, panels, strict=True):
        box = ax.get_position(original=True)
        across = plotted.layout[f"xaxis{panel.xaxis[1:]}"].domain
        up = plotted.layout[f"yaxis{panel.yaxis[1:]}"].domain
        first = panels[0].get_position(original=True)
        if across[0] == 0:
            assert box.x0 == pytest.approx(first.x0)
        if up[1] == 1:
            assert box.y1 == pytest.approx(first.y1)
        assert (
            box.width / first.width == pytest.approx(1) == pytest.approx(box.height / first.height)
        )
    bars = [ax for ax in drawing.axes if ax.images]
    assert len(bars) == 1  # one scale for all panels
    assert bars[0].get_ylim() == (-RECORD.limit(), RECORD.limit())


def test_logarithms_and_shared_axes_survive():
    ax, below = still(FIGURES["learning"]()).axes
    assert ax.get_yscale() == below.get_yscale() == "log"
    assert ax.get_xlim() == below.get_xlim()


@pytest.mark.parametrize("name", SOME)
def test_a_page_needs_nothing_but_itself(name, tmp_path):
    figure = FIGURES[name]()
    text = save_figure(figure, tmp_path / "figure.html").read_text()
    head = text[: text.index("<body>")]
    assert "default-src 'none'" in head and "color-scheme" in head
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", text)
    assert "Plotly.newPlot" in text and len(text) > 1_000_000
    title = figure.layout.title.text
    assert (title or "figure").split(",")[0] in head.replace("&#x27;", "'")


@pytest.mark.parametrize("name", ["figure.pdf", "figure", "figure.json"])
def test_other_endings_are_refused(name, tmp_path):
    with pytest.raises(UserError, match=r"must end in one of \.html, \.png, \.svg"):
        save_figure(FIGURES["matrix"](), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_drawn_is_refused_rather_than_left_out(tmp_path):
    from so3krates_lite.drawing.molecule3d import molecule_figure

    with pytest.raises(
        UserError, match=r"'mesh3d' cannot be drawn without a browser: write \.html"
    ):
        save_figure(molecule_figure(RECORD, choose=None), tmp_path / "a.png")
    plotted = FIGURES["causal"]()
    plotted.add_shape(type="rect", x0=0, x1=1, y0=0, y1=1)
    with pytest.raises(UserError, match="shape of kind 'rect'"):
        save_figure(plotted, tmp_path / "a.png")
    scaleless = FIGURES["matrix"]()
    scaleless.data[0].zmin = None
    with pytest.raises(UserError, match="stated scale"):
        save_figure(scaleless, tmp_path / "a.svg")
    assert not list(tmp_path.iterdir())


def test_drawing_leaves_matplotlib_s_settings_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    save_figure(FIGURES["matrix"](), tmp_path / "a.png", scale=0.5)
    assert dict(matplotlib.rcParams) == before


def test_dollars_and_tags_stay_text():
    assert export._plain("a<br>b <b>&lt;c&gt;</b> $5") == "a\nb <c> \\$5"


def test_a_missing_matplotlib_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match="Pictures need matplotlib"):
        save_figure(FIGURES["matrix"](), tmp_path / "a.png")
