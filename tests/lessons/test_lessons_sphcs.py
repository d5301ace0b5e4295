"""The checks and figures of lesson 3: right answers pass, plausible wrong ones are told why."""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import pytest
from answers import wrong

import so3krates_lite as s3
from so3krates_lite import lessons
from so3krates_lite.drawing import scene, stills
from so3krates_lite.lessons.sphcs_figures import draw_shape, shape_figure, two_distances_figure

C1 = np.sqrt(3 / (4 * np.pi))


def directions(r):
    return r / np.linalg.norm(r, axis=1, keepdims=True)


def first_degree(r, phi, order=(1, 2, 0)):
    return C1 * (phi @ directions(r) / phi.sum())[list(order)]


def test_first_degree_right():
    assert lessons.check_first_degree(first_degree).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda r, p: first_degree(r, p, (0, 1, 2)), "(x, y, z)"),
        (lambda r, p: first_degree(r, p, (2, 0, 1)), "(z, x, y)"),
        (lambda r, p: first_degree(r, p, (2, 1, 0)), "(z, y, x)"),
        (lambda r, p: first_degree(-r, p), "signs are turned"),
        (lambda r, p: first_degree(r, p) * p.sum(), "this is the sum"),
        (lambda r, p: first_degree(r, p) * p.sum() / len(p), "number of neighbours"),
        (lambda r, p: first_degree(r, p) / C1, "√(3/4π)"),
        (lambda r, p: C1 * (p @ r / p.sum())[[1, 2, 0]], "by its length"),
        (lambda r, p: first_degree(r, np.ones(len(r))), "weights are missing"),
        (
            lambda r, p: C1 * first_degree(r, p) / np.linalg.norm(first_degree(r, p)),
            "one-sided",
        ),
        (lambda r, p: first_degree(r, p) if len(r) > 1 else np.zeros(3), "single one"),
        (lambda r, p: np.zeros(3), "in a small example"),
        (lambda r, p: np.full(3, np.nan), "nan"),
        (lambda r, p: r, "shape (3,)"),
    ],
)
def test_first_degree_wrong(answer, word):
    wrong(lessons.check_first_degree(answer), word)


def legendre(l):
    return np.polynomial.legendre.Legendre.basis(l)


def squared(u, l, cosine=None):
    P = legendre(l)(u @ u.T if cosine is None else cosine)
    return (2 * l + 1) / (4 * np.pi) * P.sum() / len(u) ** 2


def without_self(u, l):
    P = legendre(l)(u @ u.T)[~np.eye(len(u), dtype=bool)]
    return np.sqrt((2 * l + 1) / (4 * np.pi) * P.sum()) / len(u)


def each_pair_once(u, l):
    P = legendre(l)(u @ u.T)[np.triu_indices(len(u), 1)]
    return np.sqrt((2 * l + 1) / (4 * np.pi) * P.sum()) / len(u)


def power(u, l):
    return np.sqrt((2 * l + 1) / 4 / np.pi * ((u @ u.T) ** l).sum()) / len(u)


def up_to_l(u, l):
    P = sum(legendre(k)(u @ u.T) for k in range(l + 1))
    return np.sqrt((2 * l + 1) / (4 * np.pi) * P.sum()) / len(u)


def test_length_from_angles_right():
    check = lessons.check_length_from_angles
    assert check(lambda u, l: np.sqrt(squared(u, l))).passed

    def by_mean(u, l):
        return np.sqrt((2 * l + 1) / (4 * np.pi) * np.mean(legendre(l)(u @ u.T)))

    assert check(by_mean).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda u, l: squared(u, l), "square root"),
        (lambda u, l: np.sqrt(squared(u, l)) * len(u), "the sum over neighbours"),
        (lambda u, l: np.sqrt(squared(u, l) * len(u)), "1/k²"),
        (lambda u, l: np.sqrt(squared(u, l) / (2 * l + 1)), "not 1/4π"),
        (lambda u, l: np.sqrt(squared(u, l) / (2 * l + 1) * 4 * np.pi), "(2l+1)/4π is missing"),
        (without_self, "you left out j = k"),
        (each_pair_once, "you met every pair once"),
        (power, "Legendre"),
        (up_to_l, "P_l alone"),
        (lambda u, l: 0.1, "in a small example"),
        (lambda u, l: np.nan, "nan"),
    ],
)
def test_length_from_angles_wrong(answer, word):
    wrong(lessons.check_length_from_angles(answer), word)


def safe_length(u):
    square = jnp.sum(u * u)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def outer_where_only(u):
    square = jnp.sum(u * u)
    return jnp.where(square > 0, jnp.sqrt(square), 0)


def test_safe_length_right():
    assert lessons.check_safe_length(safe_length).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (jnp.linalg.norm, "NaN"),
        (outer_where_only, "must not see the zero"),
        (lambda u: jnp.sqrt(jnp.sum(u * u) + 1e-12), "1e-06"),
        (lambda u: jnp.sqrt(jnp.sum(u * u) + 1e-4), "1e-02"),
        (lambda u: np.linalg.norm(u), "jnp instead of np"),
        (lambda u: jnp.sqrt(jnp.sum(u * u)) if u.any() else 0.0, "jnp.where"),
        (lambda u: jnp.sum(u * u), "square of the length"),
        (lambda u: jnp.abs(u).sum(), "sum of the sizes"),
        (lambda u: jnp.sum(u), "sum of the components"),
        (lambda u: 2 * safe_length(u), "yours is 2.6"),
        (lambda u: u, "one length"),
    ],
)
def test_safe_length_wrong(answer, word):
    wrong(lessons.check_safe_length(answer), word)


def apart(points):
    return np.linalg.norm(points[None] - points[:, None], axis=-1)


def twins(X, allowed):
    X = np.where(allowed, X, np.inf)
    return np.unravel_index(X.argmin(), X.shape)


def test_far_twins_right():
    assert lessons.check_far_twins(lambda chi, R, c: twins(apart(chi), apart(R) > c)).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda chi, R, c: (0, 0), "itself"),
        (lambda chi, R, c: twins(apart(chi), apart(R) >= 0), "itself"),
        (lambda chi, R, c: twins(apart(chi), apart(R) > 0), "far in space, too"),
        (lambda chi, R, c: twins(apart(chi), (apart(R) < c) & (apart(R) > 0)), "d > cutoff"),
        (lambda chi, R, c: twins(apart(R), apart(R) > c), "near in space"),
        (lambda chi, R, c: twins(-apart(chi), apart(R) > c), "most unlike"),
        (
            lambda chi, R, c: twins(
                apart(np.linalg.norm(chi, axis=1, keepdims=True)), apart(R) > c
            ),
            "lengths of χ",
        ),
        (
            lambda chi, R, c: twins(np.abs(apart(chi.sum(axis=1)[:, None])), apart(R) > c),
            "cancels",
        ),
        (lambda chi, R, c: twins(-chi @ chi.T, apart(R) > c), "scalar product"),
        (lambda chi, R, c: twins(apart(chi), apart(R) > c)[::-1], "smaller number first"),
        (lambda chi, R, c: (0, 1), "in an example"),
        (lambda chi, R, c: (0, 80), "does not exist"),
        (lambda chi, R, c: 7, "two numbers"),
    ],
)
def test_far_twins_wrong(answer, word):
    wrong(lessons.check_far_twins(answer), word)


def methane() -> scene.Scene:
    u = np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]) * 0.63
    positions = np.vstack([np.zeros(3), u])[None]
    return scene.scene(s3.Frames(numbers=np.array([[6, 1, 1, 1, 1]]), positions=positions))


@pytest.mark.parametrize("count", [1, 3])
def test_the_turning_shape_shows_one_step_at_a_time(count):
    picture, states = methane(), np.eye(3, 15)
    figure = shape_figure([picture] * count, 0, states, (1, 2, 3), list("abc"), 1.0)
    assert [trace.visible for trace in figure.data].count(False) == 2 * (1 if count == 1 else 3)
    for step in figure.layout.sliders[0].steps:
        assert len(step.args[0]["visible"]) == len(figure.data)
        assert sum(step.args[0]["visible"]) == 3  # sticks, balls and one shape
    assert len(json.dumps(figure.to_dict(), default=str)) < 1_000_000


def test_atoms_that_are_not_there_yet_are_faint():
    states, present = np.eye(3, 15), [2, 4, 5]
    figure = shape_figure([methane()], 0, states, (1, 2, 3), list("abc"), 1.0, "", present)
    for step, count in zip(figure.layout.sliders[0].steps, present, strict=True):
        seen = [
            trace
            for trace, visible in zip(figure.data, step.args[0]["visible"], strict=True)
            if visible
        ]
        balls = [t for t in seen if t.type == "mesh3d" and t.opacity is not None]
        atoms = {t.opacity: len(t.x) // 162 for t in balls}
        assert atoms == {1.0: count} | ({0.25: 5 - count} if count < 5 else {})
        bonds = {t.opacity: len(t.x) // 3 for t in seen if t.type == "scatter3d"}
        assert sum(bonds.values()) == 4 and bonds[1.0] == count - 1
    assert [trace.visible for trace in figure.data].count(True) == 3


def test_the_still_shape_reaches_as_far_as_the_function_that_it_shows():
    import matplotlib.pyplot as plt

    picture = methane()
    figure, ax = plt.subplots()
    before = len(ax.collections)
    chi = np.zeros(15)
    chi[0] = 2.0  # the harmonic along y
    draw_shape(ax, np.zeros(3), chi, (1, 2, 3), np.eye(3), scale=3.0)
    drawn = ax.collections[before:]
    assert 1 < len(drawn) <= 8
    heights = [path.vertices[:, 1].max() for mesh in drawn for path in mesh.get_paths()]
    assert np.isclose(max(heights), 3 * 2 * C1, rtol=0.01)
    draw_shape(ax, np.zeros(3), 0 * chi, (1, 2, 3), picture.view)  # nothing to draw
    assert len(ax.collections) == before + len(drawn)
    assert stills.image(figure).startswith(b"\x89PNG")


def test_pairs_are_named_in_the_plot_of_two_distances():
    kinds = {"one": np.array([True, False, True]), "other": np.array([False, True, False])}
    d, X = np.array([1.0, 4.0, 2.0]), np.array([0.2, 0.0, 0.1])
    figure = two_distances_figure(d, X, ["a", "b", "c"], 3.0, kinds)
    assert [(trace.name, list(trace.text)) for trace in figure.data] == [
        ("one", ["a", "c"]),
        ("other", ["b"]),
    ]
    assert figure.layout.shapes[0].x0 == 3.0
    low, high = figure.layout.yaxis.range
    assert low < 0 and high > 0.2  # dots at zero and at the top are whole
