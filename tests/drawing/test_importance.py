"""Figures of what matters: they show the numbers that they were given."""

from __future__ import annotations

import numpy as np
import pytest

from so3krates_lite.drawing import importance
from so3krates_lite.errors import UserError


def test_lines_are_means_over_frames_and_bands_are_one_deviation_wide():
    rng = np.random.default_rng(0)
    fraction = np.linspace(0, 1, 5)
    gone = {name: rng.random((3, 5)) for name in ("attention", "distance", "random")}
    back = {name: rng.random((3, 5)) for name in gone}
    figure = importance.deletion_curves(fraction, gone, back, answer="energy")
    lines = [t for t in figure.data if t.fill is None]
    assert [t.name for t in lines if t.xaxis == "x"] == list(gone)
    for axis, curves in (("x", gone), ("x2", back)):
        for trace in (t for t in lines if t.xaxis == axis):
            np.testing.assert_allclose(trace.y, curves[trace.name].mean(axis=0))
        bands = [t for t in figure.data if t.fill == "toself" and t.xaxis == axis]
        assert [t.legendgroup for t in bands] == ["attention", "random"]
        top, low = np.array(bands[0].y)[:5], np.array(bands[0].y)[5:][::-1]
        np.testing.assert_allclose(top - low, 2 * curves["attention"].std(axis=0))
    assert "energy" in figure.layout.yaxis.title.text


def test_sizes_of_parts_stand_over_their_orders():
    figure = importance.many_body_bars({"a": np.array([1.0, 0.5, 0.1]), "b": np.array([2.0, 0.2])})
    assert [t.name for t in figure.data] == ["a", "b"] and figure.layout.yaxis.type == "log"
    np.testing.assert_array_equal(figure.data[1].x, [1, 2])
    np.testing.assert_array_equal(figure.data[0].y, [1.0, 0.5, 0.1])
    with pytest.raises(UserError, match="at least one model"):
        importance.many_body_bars({})


def test_a_probe_worse_than_guessing_is_drawn_as_nothing_and_told_as_it_is():
    scores = np.array([[0.9, -0.5], [np.nan, 0.4]])
    heat = importance.probe_map(scores, ["ring", "angle"], ["x 0", "l=1 0"]).data[0]
    np.testing.assert_array_equal(heat.z, [[0.9, 0], [np.nan, 0.4]])
    assert heat.text[0][1] == "-0.50" and heat.text[1][0] == ""


def test_every_atom_of_a_map_stands_once_under_its_kind():
    places = np.random.default_rng(1).random((6, 2))
    kinds, names = list("CHCHOC"), [f"atom {k}" for k in range(6)]
    figure = importance.sphc_map(places, kinds, names, shares=[0.6, 0.2])
    shown = {name: t.name for t in figure.data for name in t.text}
    assert shown == dict(zip(names, kinds, strict=True))
    carbon = next(t for t in figure.data if t.name == "C")
    np.testing.assert_array_equal(carbon.x, places[[0, 2, 5], 0])
    assert "60%" in figure.layout.xaxis.title.text


def test_pairs_of_one_element_are_told_from_others():
    figure = importance.near_and_far(
        np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3]), list("abc"), same=[True, False, True]
    )
    same = next(t for t in figure.data if t.name == "same element")
    assert list(same.text) == ["a", "c"] and list(same.x) == [1.0, 3.0]
