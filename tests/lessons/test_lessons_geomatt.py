"""The checks of lesson 9: right answers pass, plausible wrong ones are told why."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
from answers import wrong

import so3krates_lite as s3
from so3krates_lite import lessons
from so3krates_lite.drawing.scene import scene
from so3krates_lite.experiments.shapes import SHAPES
from so3krates_lite.lessons.geomatt_figures import (
    draw_chains,
    draw_shapes,
    matrix_slider,
    overlap_figure,
    shapes_figure,
)
from so3krates_lite.structures.frames import Frames


def chained(*factors):
    chain = factors[0]
    for g in factors[1:]:
        chain = np.einsum("ilf,ljf->ijf", chain, g)
    return chain


def without_diagonal(g):
    return g * ~np.eye(len(g), dtype=bool)[..., None]


def test_order_three_right():
    check = lessons.check_order_three
    assert check(lambda g, h, s: s * chained(g, h).sum(-1)).passed
    assert check(lambda g, h, s: s * np.einsum("ilf,jlf->ij", g, h)).passed
    assert check(lambda g, h, s: s * sum(g[..., f] @ h[..., f] for f in range(3))).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda g, h, s: s * chained(g, h), "sum over f"),
        (lambda g, h, s: chained(g, h).sum(-1), "spacing Δ"),
        (lambda g, h, s: s * s * chained(g, h).sum(-1), "once"),
        (lambda g, h, s: s * chained(h, g).sum(-1), "wrong order"),
        (lambda g, h, s: s * (g * h).sum(-1), "pair by pair"),
        (lambda g, h, s: s * (g.sum(-1) @ h.sum(-1)), "before multiplying"),
        (lambda g, h, s: s * np.einsum("ilf,mjf->ij", g, h), "same l"),
        (lambda g, h, s: s * chained(g, g).sum(-1), "g for both"),
        (lambda g, h, s: s * chained(h, h).sum(-1), "g2 for both"),
        (lambda g, h, s: s * chained(g, h).sum(-1) / len(g), "mean over l"),
        (lambda g, h, s: s * chained(g, h).mean(-1), "mean over f"),
        (
            lambda g, h, s: s * chained(without_diagonal(g), without_diagonal(h)).sum(-1),
            "all atoms",
        ),
        (lambda g, h, s: np.zeros(g.shape[:2]), "yours is 0.0000"),
    ],
)
def test_order_three_wrong(answer, word):
    wrong(lessons.check_order_three(answer), word)


def without(factors, spacing, atom, at=None):
    others = np.arange(len(factors[0])) != atom
    chain = factors[0]
    for m, g in enumerate(factors[1:]):
        left_out = at is None or m == at or m == at + len(factors) - 1
        chain = np.einsum("ilf,l,ljf->ijf", chain, others if left_out else others | True, g)
    return spacing * chain.sum(axis=-1)


def cleared(factors, atom, axis):
    keep = np.arange(len(factors[0])) != atom
    return [g * (keep[:, None, None] if axis == 0 else keep[:, None]) for g in factors]


def test_without_right():
    assert lessons.check_without(without).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda F, s, a: s * chained(*F).sum(-1), "nothing has changed"),
        (lambda F, s, a: s * chained(*F).sum(-1) - without(F, s, a), "chains through the atom"),
        (lambda F, s, a: without(F, 1, a), "spacing Δ"),
        (
            lambda F, s, a: without(cleared(cleared(F, a, 0), a, 1), s, a),
            "begin and end at the atom",
        ),
        (lambda F, s, a: without(cleared(F, a, 0), s, a), "begin at the atom"),
        (lambda F, s, a: without(cleared(F, a, 1), s, a), "end at the atom"),
        (lambda F, s, a: without(F, s, a, at=0), "first place only"),
        (lambda F, s, a: without(F, s, a, at=-1), "last place only"),
        (lambda F, s, a: without(F[::-1], s, a), "reverse"),
        (lambda F, s, a: without([np.delete(np.delete(g, a, 0), a, 1) for g in F], s, 99), "gone"),
        (lambda F, s, a: without(F[:2], s, a), "right for 2 factors; but for 3 factors"),
        (
            lambda F, s, a: without(F, s, a) if len(F) > 1 else F[1],
            "1 factor: your function raised",
        ),
        (lambda F, s, a: np.zeros(F[0].shape[:2]), "yours is 0.0000"),
    ],
)
def test_without_wrong(answer, word):
    wrong(lessons.check_without(answer), word)


def test_a_sum_over_components_before_the_product_is_named():
    def early(factors, spacing, atom):
        keep = np.arange(len(factors[0])) != atom
        chain = factors[0].sum(-1)
        for g in factors[1:]:
            chain = (chain * keep) @ g.sum(-1)
        return spacing * chain

    wrong(lessons.check_without(early), "sum over f comes last")


def grown(d, order):
    found = [((), 0)]
    for _ in range(order - 1):
        found = [((*seen, d[end, j]), j) for seen, end in found for j in range(len(d))]
    return [seen for seen, _ in found]


def same_chains(d, other, order):
    return sorted(grown(d.round(6), order)) == sorted(grown(other.round(6), order))


def columns(d, order):
    return [sorted(column) for column in zip(*grown(d.round(6), order), strict=True)]


def test_same_chains_right():
    assert lessons.check_same_chains(same_chains).passed
    assert lessons.check_same_chains(lambda *given: np.bool_(same_chains(*given))).passed
    assert lessons.check_same_chains(lambda *given: int(same_chains(*given))).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda d, o, k: grown(d.round(6), k) == grown(o.round(6), k), "sort the chains"),
        (lambda d, o, k: np.allclose(d, o), "sort the chains"),
        (lambda d, o, k: sorted(grown(d, k)) == sorted(grown(o, k)), "round"),
        (lambda d, o, k: set(grown(d.round(6), k)) == set(grown(o.round(6), k)), "not a set"),
        (lambda d, o, k: np.allclose(np.sort(d.ravel()), np.sort(o.ravel())), "begin at atom 0"),
        (lambda d, o, k: columns(d, k) == columns(o, k), "keep the two distances"),
        (lambda d, o, k: same_chains(d, o, k + 1), "at order 2 a chain is one distance"),
        (lambda d, o, k: same_chains(d, o, 2), "at order 3 a chain has two distances"),
        (lambda d, o, k: same_chains(d, o, min(k, 3)), "at order 4 a chain has three"),
        (lambda d, o, k: False, "as itself"),
    ],
)
def test_same_chains_wrong(answer, word):
    wrong(lessons.check_same_chains(answer), word)


def test_reach_right():
    assert lessons.check_reach(lambda layers, order: layers * (order - 1)).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda n, k: n * k, "k atoms"),
        (lambda n, k: n * (k - 1) + 1, "one distance less"),
        (lambda n, k: k - 1, "one layer"),
        (lambda n, k: n + k - 2, "whole chain"),
        (lambda n, k: n, "order 2 only"),
        (lambda n, k: (k - 1) ** n, "do not multiply"),
        (lambda n, k: 7, "one layer of order 2 reaches one distance, yours says 7"),
        (lambda n, k: n * (k - 1) / 2, "0.5; one whole number"),
    ],
)
def test_reach_wrong(answer, word):
    wrong(lessons.check_reach(answer), word)


# -- figures --------------------------------------------------------------------------------------


def test_the_slider_shows_one_distance_at_a_time():
    grid, distances = np.linspace(0, 2, 21), np.linspace(0, 3, 7)
    learned = np.stack([np.sin(distances), np.cos(distances), distances])
    figure = overlap_figure(grid, 20.0, distances, learned, every=2)
    (slider,) = figure.layout.sliders
    assert len(slider.steps) == 4
    changes, moving = slider.steps[2].args
    shown = [n for n, visible in zip(moving, changes["visible"], strict=True) if visible]
    density, dots = (figure.data[n] for n in shown)
    assert grid[np.argmax(density.y)] == pytest.approx(distances[4])
    np.testing.assert_allclose(dots.x, distances[4])
    np.testing.assert_allclose(dots.y, learned[:, 4])
    begun = [trace for n, trace in enumerate(figure.data) if n in moving and trace.visible]
    np.testing.assert_allclose(begun[1].x, distances[2 * slider.active])
    assert len(json.dumps(figure.to_plotly_json(), default=str)) < 200_000


def test_the_matrix_slider_has_every_layer_and_order_on_one_scale():
    record = s3.load_potential("ethanol-gfn2-geomatt").attention(s3.load("ethanol-gfn2")[:2])
    figure = matrix_slider(record, frame=1)
    (slider,) = figure.layout.sliders
    assert len(slider.steps) == record.n_layers * record.n_channels("correlation") == 9
    data, title = slider.steps[4].args
    np.testing.assert_allclose(data["z"][0], record.matrix(1, "correlation", 1, 1), atol=1e-4)
    assert "layer 1 · order 3" in title["title.text"]
    largest = max(np.abs(step.args[0]["z"]).max() for step in slider.steps)
    assert figure.data[0].zmax == pytest.approx(largest, abs=1e-4)


@pytest.mark.parametrize("which", ["A", "B"])
def test_shapes_are_drawn_as_they_are(which):
    figure = shapes_figure(which)
    atoms = [trace for trace in figure.data if trace.mode == "markers"]
    for trace, positions in zip(atoms, SHAPES[which], strict=True):
        np.testing.assert_allclose(np.stack([trace.x, trace.y, trace.z], 1), positions, atol=1e-6)
        assert trace.text[0] == "i"
    still, panels = plt.subplots(1, 2)
    draw_shapes(panels, which)
    assert all(ax.texts[0].get_text() == "i" for ax in panels)
    plt.close(still)


def test_chains_are_as_wide_as_they_count_and_coloured_by_sign():
    frames = Frames(np.array([[8, 1, 1]]), np.array([[[0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]]]))
    still, ax = plt.subplots()
    draw_chains(ax, scene(frames), 0, 1, np.array([0.1, -0.4, 0.2]))
    paths = [line for line in ax.lines if len(line.get_xdata()) == 60]
    assert len(paths) == 5  # three chains, and loops of those over either end
    widths = sorted({round(line.get_linewidth(), 6) for line in paths})
    np.testing.assert_allclose(np.square(widths), np.array([0.1, 0.2, 0.4]) / 0.4 * 81, rtol=1e-5)
    assert len({line.get_color() for line in paths}) == 2
    plt.close(still)
