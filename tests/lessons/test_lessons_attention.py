"""The checks of lesson 5: right answers pass, plausible wrong ones are told why."""

from __future__ import annotations

import json

import numpy as np
import pytest
from answers import wrong

import so3krates_lite as s3
from so3krates_lite import lessons
from so3krates_lite.drawing import scene
from so3krates_lite.lessons.attention import attention_slider, sphc_figure


def coefficient(q, w, k):
    return (q * w * k).sum(axis=-1) / np.sqrt(q.shape[-1])


def softmaxed(q, w, k):
    weight = np.exp(coefficient(q, w, k))
    return weight / weight.sum(axis=0)


def test_coefficient_right():
    assert lessons.check_coefficient(coefficient).passed
    einsum = "phf,phf,phf->ph"
    assert lessons.check_coefficient(
        lambda q, w, k: np.einsum(einsum, q, w, k) * q.shape[-1] ** -0.5
    ).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda q, w, k: q * w * k, "one number per feature"),
        (lambda q, w, k: q * w * k / np.sqrt(7), "the last axis"),
        (lambda q, w, k: (q * w * k).sum(axis=(1, 2)) / np.sqrt(7), "over the heads"),
        (lambda q, w, k: (q * w * k).sum(axis=(1, 2)) / np.sqrt(21), "over the heads"),
        (lambda q, w, k: (q * w * k).sum(axis=-1), "scale is missing"),
        (lambda q, w, k: (q * w * k).mean(axis=-1), "divided by f"),
        (lambda q, w, k: (q * w * k).sum(axis=-1) / np.sqrt(21), "√F"),
        (lambda q, w, k: (q * w * k).sum(axis=-1) * np.sqrt(7), "divide by it"),
        (lambda q, w, k: (q * k).sum(axis=-1) / np.sqrt(7), "filter is missing"),
        (lambda q, w, k: (q * k + w).sum(axis=-1) / np.sqrt(7), "filter multiplies"),
        (softmaxed, "softmax"),
        (lambda q, w, k: np.zeros(q.shape[:2]), "first coefficient"),
        (lambda q, w, k: np.full(q.shape[:2], np.nan), "nan"),
    ],
)
def test_coefficient_wrong(answer, word):
    wrong(lessons.check_coefficient(answer), word)


def softmax_weights(score, i, n, sign=1):
    weight = np.exp(sign * score - (sign * score).max())
    return weight / np.bincount(i, weight, n)[i]


def test_softmax_weights_right():
    assert lessons.check_softmax_weights(softmax_weights).passed

    def shifted_atom_by_atom(score, i, n):
        largest = np.full(n, -np.inf)
        np.maximum.at(largest, i, score)
        return softmax_weights(score - largest[i], i, n)

    assert lessons.check_softmax_weights(shifted_atom_by_atom).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda s, i, n: np.exp(s) / np.exp(s).sum(), "all your weights together"),
        (lambda s, i, n: softmax_weights(s, i, n, sign=-1), "sign is turned"),
        (lambda s, i, n: np.exp(s), "divide them"),
        (lambda s, i, n: s / np.bincount(i, s, n)[i], "exponential is missing"),
        (lambda s, i, n: np.exp(s) / np.bincount(i, np.exp(s), n)[i], "overflows"),
        (lambda s, i, n: np.exp(s) / np.bincount(i, minlength=n)[i], "number of neighbours"),
        (lambda s, i, n: softmax_weights(np.abs(s), i, n), "not of its size"),
        (lambda s, i, n: 0 * s, "sum to 0.000"),
    ],
)
def test_softmax_weights_wrong(answer, word):
    wrong(lessons.check_softmax_weights(answer), word)


def test_a_softmax_over_those_who_answer_is_named():
    j = np.array([1, 2, 4, 0, 2, 1, 0, 1, 2, 3])
    wrong(
        lessons.check_softmax_weights(lambda s, i, n: softmax_weights(s, j, n)),
        "who answers",
    )


def message(alpha, phi, Y, degrees, spread=np.repeat):
    return phi[:, None] * spread(alpha, [2 * l + 1 for l in degrees], axis=1) * Y


def tiled(alpha, phi, Y, degrees):
    return phi[:, None] * np.tile(alpha, 5)[:, : Y.shape[1]] * Y


def test_geometric_message_right():
    assert lessons.check_geometric_message(message).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (tiled, "np.repeat"),
        (lambda a, f, Y, d: message(a, 1 + 0 * f, Y, d), "cutoff φ is missing"),
        (lambda a, f, Y, d: message(a, f * f, Y, d), "twice"),
        (lambda a, f, Y, d: message(np.abs(a), f, Y, d), "sign"),
        (lambda a, f, Y, d: f[:, None] * a[:, :1] * Y, "first"),
        (lambda a, f, Y, d: f[:, None] * a.sum(1, keepdims=True) * Y, "over the degrees"),
        (lambda a, f, Y, d: message(a, f, 1 + 0 * Y, d), "harmonics are missing"),
        (lambda a, f, Y, d: message(a, f, Y, d).sum(0), "over the pairs"),
        (lambda a, f, Y, d: message(a, f, Y, (1, 2, 3)), "2l + 1"),
        (lambda a, f, Y, d: -message(a, f, Y, d), "component 0 belongs to degree 1"),
        (lambda a, f, Y, d: Y[:, :3], "shape (6, 3)"),
    ],
)
def test_geometric_message_wrong(answer, word):
    wrong(lessons.check_geometric_message(answer), word)


def both_ends(first, second, a_ij, a_ji, Y, degrees, n, parity=None, back=1, add=np.add.at):
    size = [2 * l + 1 for l in degrees]
    sign = np.repeat([(-1.0) ** l for l in degrees], size) if parity is None else parity
    out = np.zeros((n, sum(size)))
    add(out, first, np.repeat(a_ij, size, axis=1) * Y)
    add(out, second, back * np.repeat(a_ji, size, axis=1) * sign * Y)
    return out


def losing(out, index, rows):
    out[index] += rows


def test_both_ends_right():
    assert lessons.check_both_ends(both_ends).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda *g: both_ends(*g, parity=1.0), "opposite direction"),
        (lambda *g: both_ends(*g, parity=-1.0), "every degree"),
        (lambda *g: both_ends(*g, back=-1), "yours is the opposite"),
        (lambda f, s, a, b, *g: both_ends(f, s, b, a, *g), "swapped"),
        (lambda f, s, a, b, *g: both_ends(f, s, a, a, *g), "a_ij for both"),
        (lambda *g: both_ends(*g, back=0), "only the first"),
        (lambda f, s, a, b, *g: both_ends(f, s, 0 * a, b, *g), "only the second"),
        (lambda *g: both_ends(*g, add=losing), "np.add.at"),
        (lambda f, s, *g: both_ends(s, f, *g), "went to the second"),
        (lambda *g: 2 * both_ends(*g), "yours by"),
        (lambda *g: both_ends(*g, parity=-1.0, add=losing), "single pair of two atoms"),
    ],
)
def test_both_ends_wrong(answer, word):
    wrong(lessons.check_both_ends(answer), word)


def test_the_figures_have_a_step_for_each_state_and_for_each_channel():
    potential = s3.load_potential("ethanol-gfn2")
    record = potential.attention(s3.load("ethanol-gfn2")[:2])
    slider = attention_slider(record)
    steps = slider.layout.sliders[0].steps
    assert len(steps) == record.n_layers * record.n_channels("feature")
    assert all(len(step.args[0]["y"]) == len(slider.data) for step in steps)
    shown = np.concatenate([y for y in steps[5].args[0]["y"][2:]])
    expected = record.select("feature", 1, 1)
    assert np.allclose(np.sort(shown), np.sort(expected), atol=1e-3)

    states = record.sphc[:, 0, 2]
    figure = sphc_figure(
        scene.scene(record), 2, states, record.degrees, ["a", "b", "c", "d"], scale=2.0
    )
    surfaces = [trace for trace in figure.data if trace.type == "mesh3d"]
    assert [trace.visible for trace in surfaces] == [True, False, False, False]
    json.loads(figure.to_json())


@pytest.mark.parametrize("atom", [2, 6])
def test_the_shape_stands_in_the_whole_molecule(atom):
    record = s3.load_potential("ethanol-gfn2").attention(s3.load("ethanol-gfn2")[:1])
    picture, states = scene.scene(record), record.sphc[:, 0, atom]
    names = ["a", "b", "c", "d"]
    figure = sphc_figure(picture, atom, states, record.degrees, names, scale=9.0)
    low, high = figure.layout.scene.xaxis.range
    assert low == -high
    for trace in figure.data:  # plotly leaves out what lies beyond an axis
        for values in (trace.x, trace.y, trace.z):
            assert np.nanmax(np.abs(np.asarray(values, float))) < high
    tags = figure.layout.scene.annotations
    assert [tag.text for tag in tags] == [f"<b>{label}</b>" for label in picture.labels]
