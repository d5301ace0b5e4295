"""Still pictures: they stand for the interactive ones, and weigh little."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from synthetic import ethanol_record

from so3krates_lite.drawing import figures, scene, stills
from so3krates_lite.structures.frames import Frames

matplotlib.use("agg")
WIDGET = "application/vnd.jupyter.widget-view+json"
PLOTLY = "application/vnd.plotly.v1+json"


@pytest.fixture
def axes():
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


@pytest.fixture(scope="module")
def record():
    return ethanol_record(frames=2)


class Widget:
    def _repr_mimebundle_(self):
        return {WIDGET: {"model_id": "0"}, "text/plain": "?"}


@pytest.fixture
def displayed(monkeypatch):
    """Every bundle that a cell displays."""
    shown: list[dict] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    return shown


def test_a_still_stands_above_the_live_figure(axes, record, displayed):
    axes.plot([0, 1])
    stills.show(axes.figure, figures.attention_matrix(record))
    still, live = displayed
    assert set(still) == {"image/png", "text/plain"} and set(live) == {PLOTLY, "text/plain"}
    assert "run the cell" in live["text/plain"]
    assert not live[PLOTLY]["config"]["displaylogo"]


def test_a_still_that_shows_nothing_more_gives_way_to_the_live_figure(axes, record, displayed):
    stills.show(axes.figure, figures.attention_matrix(record), instead=True)
    (both,) = displayed
    assert set(both) == {PLOTLY, "image/svg+xml", "text/plain"}
    assert both["image/svg+xml"].lstrip().startswith("<?xml")


def test_a_widget_keeps_its_own_form(axes, displayed):
    stills.show(axes.figure, Widget())
    still, live = displayed
    assert WIDGET in live and "run the cell" in live["text/plain"] and "image/png" in still
    stills.show(axes.figure, Widget(), instead=True)
    assert {WIDGET, "image/png"} <= set(displayed[-1])


def test_a_still_alone_is_one_output(axes, displayed):
    stills.show(axes.figure)
    assert [set(bundle) for bundle in displayed] == [{"image/png", "text/plain"}]


def test_an_svg_is_the_same_each_time(axes):
    axes.plot([0, 1], label="line")
    axes.legend()
    assert stills.image(axes.figure, "svg") == stills.image(axes.figure, "svg")


def test_a_molecule_is_seen_from_where_the_view_says(axes, record):
    picture = scene.scene(record)
    places = stills.draw_molecule(axes, picture, np.eye(3))
    np.testing.assert_allclose(places, picture.positions)
    assert [text.get_text() for text in axes.texts] == picture.labels
    values = record.select(frame=0)
    before = len(axes.collections)
    stills.draw_attention(axes, picture, values, 1.0, np.zeros(len(values), bool))
    assert len(axes.collections) == before
    stills.draw_attention(axes, picture, values, 1.0, np.ones(len(values), bool))
    assert len(axes.collections) > before


def test_frames_need_no_attention_to_be_drawn(record):
    frames = Frames(numbers=record.numbers, positions=record.positions)
    bare, full = scene.scene(frames, -1), scene.scene(record, 1)
    np.testing.assert_allclose(bare.positions, full.positions)
    np.testing.assert_array_equal(bare.bonds, full.bonds)


def test_the_shape_of_an_arrow_points_along_it(axes):
    stills.draw_sphc(axes, np.zeros(2), np.array([0.0, 0.0, 1.0]), (1,), np.eye(3))  # (y, z, x)
    positive, negative = (patch.get_xy() for patch in axes.patches)
    assert positive[:, 0].min() > -1e-6 and negative[:, 0].max() < 1e-6
    assert positive[:, 0].max() == pytest.approx(np.sqrt(3 / (4 * np.pi)), rel=1e-3)
