"""The checks and figures of lesson 2: right answers pass, plausible wrong ones are told why."""

from __future__ import annotations

import json

import numpy as np
import pytest
from answers import wrong

from so3krates_lite import lessons
from so3krates_lite.harmonics import spherical_harmonics
from so3krates_lite.lessons import harmonics_figures as pictures
from so3krates_lite.lessons.harmonics import arrangements

FACTOR = np.sqrt(3 / (4 * np.pi))


def test_direction_passes():
    def by_length(Y):
        return Y[..., [2, 0, 1]] / np.linalg.norm(Y, axis=-1, keepdims=True)

    assert lessons.check_direction(lambda Y: Y[..., [2, 0, 1]] / FACTOR).passed
    assert lessons.check_direction(lambda Y: np.roll(Y, 1, axis=-1) / FACTOR).passed
    assert lessons.check_direction(by_length).passed


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda Y: Y / FACTOR, ["order y, z, x"]),
        (lambda Y: Y, ["order y, z, x", "divide by √(3/4π)"]),
        (lambda Y: Y[..., [2, 0, 1]], ["the length is not 1"]),
        (lambda Y: Y[..., [2, 0, 1]] * FACTOR, ["multiplied"]),
        (lambda Y: np.roll(Y, -1, axis=-1) / FACTOR, ["wrong way"]),
        (lambda Y: Y[..., [1, 0, 2]] / FACTOR, ["z and x"]),
        (lambda Y: Y[..., [0, 2, 1]] / FACTOR, ["x and y"]),
        (lambda Y: Y[..., [2, 1, 0]] / FACTOR, ["y and z"]),
        (lambda Y: -Y[..., [2, 0, 1]] / FACTOR, ["opposite"]),
        (lambda Y: 1.5 * Y, ["belong to the direction"]),
        (lambda Y: Y[..., 0], ["shape (4, 5)"]),
    ],
)
def test_direction_names_the_mistake(answer, words):
    wrong(lessons.check_direction(answer), *words)


def turned(l, alpha, speed=True, sign=1.0, middle=1.0):
    D = np.zeros((2 * l + 1, 2 * l + 1))
    for m in range(1, l + 1):
        a = m * alpha if speed else alpha
        D[l + m, l + m] = D[l - m, l - m] = np.cos(a)
        D[l + m, l - m], D[l - m, l + m] = -sign * np.sin(a), sign * np.sin(a)
    D[l, l] = middle
    return D


def test_turn_about_z_passes_and_is_what_the_harmonics_do():
    assert lessons.check_turn_about_z(turned).passed
    r = np.float32(np.random.default_rng(0).normal(size=(20, 3)))
    c, s = np.cos(0.4), np.sin(0.4)
    Q = np.float32([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    for l in (1, 2, 3):
        before, after = (np.asarray(spherical_harmonics(v, (l,))) for v in (r, r @ Q.T))
        assert np.allclose(after, before @ turned(l, 0.4).T, atol=1e-5)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda l, a: turned(l, a).T, ["the other way"]),
        (lambda l, a: turned(l, a)[::-1, ::-1], ["the other way", "rows"]),
        (lambda l, a: turned(l, a, speed=False), ["m times as fast"]),
        (lambda l, a: turned(l, a, speed=False).T, ["the other way"]),
        (lambda l, a: turned(l, a, middle=0), ["m = 0", "1"]),
        (lambda l, a: turned(l, a, middle=2), ["twice"]),
        (lambda l, a: np.diag(np.diag(turned(l, a))), ["only the cosines"]),
        (lambda l, a: np.eye(2 * l + 1), ["nothing turns"]),
        (lambda l, a: np.abs(turned(l, a)), ["signs are lost"]),
        (lambda l, a: turned(l, np.radians(a)), ["radians"]),
        (lambda l, a: 2 * turned(l, a), ["orthonormal"]),
        (lambda l, a: -np.eye(2 * l + 1), ["should hold"]),
        (lambda l, a: turned(1, a), ["2l + 1 = 5"]),
    ],
)
def test_turn_about_z_names_the_mistake(answer, words):
    wrong(lessons.check_turn_about_z(answer), *words)


def signs(degrees, rule):
    return np.array([rule(l, m) for l in degrees for m in range(-l, l + 1)], float)


def test_mirror_signs_pass_and_are_what_the_harmonics_do():
    def right(degrees):
        return signs(degrees, lambda l, m: (-1.0) ** (l + m))

    assert lessons.check_mirror_signs(right).passed
    r = np.float32(np.random.default_rng(0).normal(size=(20, 3)))
    here, there = (
        np.asarray(spherical_harmonics(v, (1, 2, 3))) for v in (r, r * np.float32([1, 1, -1]))
    )
    assert np.allclose(there, here * right((1, 2, 3)), atol=1e-6)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (lambda l, m: (-1.0) ** l, ["inversion"]),
        (lambda l, m: (-1.0) ** m, ["half turn"]),
        (lambda l, m: -((-1.0) ** (l + m)), ["Y_00"]),
        (lambda l, m: -1 if m == 0 else 1, ["only m = 0"]),
        (lambda l, m: -1 if m < 0 else 1, ["y to -y"]),
        (lambda l, m: (-1.0) ** (m + (m < 0)), ["x to -x"]),
        (lambda l, m: 1, ["no harmonic changes"]),
        (lambda l, m: l + m, ["only 1 and -1"]),
        (lambda l, m: -1 if m == l else 1, ["takes the sign"]),
    ],
)
def test_mirror_signs_name_the_mistake(rule, words):
    wrong(lessons.check_mirror_signs(lambda degrees: signs(degrees, rule)), *words)


def test_mirror_signs_must_fit_any_list_of_degrees():
    fixed = signs((1, 2, 3), lambda l, m: (-1.0) ** (l + m))
    wrong(lessons.check_mirror_signs(lambda degrees: fixed), "for degrees (0, 2)")


def lowest(r, Y, start=1, limit=1e-4, size=lambda y: np.linalg.norm(y.sum(axis=0))):
    return next((l for l in range(start, 9) if size(Y(r, (l,))) > limit), 9)


def test_lowest_degree_passes():
    assert lessons.check_lowest_degree(lambda r, Y: lowest(r, Y)).passed
    assert lessons.check_lowest_degree(
        lambda r, Y: lowest(r, Y, size=lambda y: np.abs(y.mean(axis=0)).max())
    ).passed


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda r, Y: lowest(r, Y, start=0), ["start at l = 1"]),
        (lambda r, Y: lowest(r, Y, size=lambda y: np.linalg.norm(y)), ["l = 1", "first"]),
        (lambda r, Y: lowest(r, Y, size=lambda y: np.linalg.norm(y, axis=1).sum()), ["l = 1"]),
        (lambda r, Y: lowest(r, Y, limit=0), ["yours says", "compare with 1e-4"]),
        (lambda r, Y: lowest(r, Y, limit=1e-9), ["yours says", "compare with 1e-4"]),
        (lambda r, Y: lowest(r, Y, limit=5), ["yours says"]),
        (lambda r, Y: lowest(r, Y, size=lambda y: abs(y.sum())), ["x - y", "take the length"]),
        (lambda r, Y: len(r), ["the first degree that sees the triangle is 2, yours says 3"]),
        (lambda r, Y: Y(r, (1,)), ["one whole number"]),
    ],
)
def test_lowest_degree_names_the_mistake(answer, words):
    wrong(lessons.check_lowest_degree(answer), *words)


def test_lowest_degree_knows_an_answer_that_holds_upright_only():
    shapes = [*arrangements().values(), np.array([[1.0, -1, 0]]) / np.sqrt(2)]
    right = [1, 2, 2, 3, 4, 4, 6, 1]

    def upright(r, Y):
        known = [np.array_equal(r, np.float32(shape)) for shape in shapes]
        return right[known.index(True)] if any(known) else 1

    wrong(lessons.check_lowest_degree(upright), "turned, it is 2 and yours says 1")


def test_the_view_is_a_rotation_and_arrangements_have_length_one():
    assert np.allclose(pictures.VIEW @ pictures.VIEW.T, np.eye(3))
    assert np.isclose(np.linalg.det(pictures.VIEW), 1)
    assert pictures.VIEW[1, 2] > 0.8  # z points up
    for directions in arrangements().values():
        assert np.allclose(np.linalg.norm(directions, axis=1), 1)


def test_the_sphere_follows_its_slider():
    c = np.eye(3)[[1, 2]]  # z, then x
    points = np.array([[[0.0, 0, 1]], [[1.0, 0, 0]]])
    for bars in (True, False):
        figure = pictures.sphere_figure(c, (1,), ["one", "two"], "step ", points, bars)
        text = figure.to_json()
        assert "NaN" not in text and json.loads(text)["frames"][1]["name"] == "1"
        steps = figure.layout.sliders[0].steps
        assert [step.args[0][0] for step in steps] == ["0", "1"]
        mesh, dots = figure.data[0], figure.frames[1].data[1]
        assert np.allclose(figure.frames[0].data[0].intensity, mesh.z, atol=2e-2)
        assert np.allclose(figure.frames[1].data[0].intensity, mesh.x, atol=2e-2)
        assert np.allclose([dots.x[0], dots.z[0]], [1.03, 0], atol=1e-6)
        assert len(figure.frames[0].data) == len(figure.frames[0].traces) == 2 + bars
        later = pictures.sphere_figure(c, (1,), ["one", "two"], "step ", points, bars, active=1)
        assert later.layout.sliders[0].active == 1
        assert np.allclose(later.data[0].intensity, figure.frames[1].data[0].intensity)
        assert np.allclose(later.data[2].x, figure.frames[1].data[1].x)


def test_the_still_sphere_is_amber_where_the_function_is_positive():
    import matplotlib.pyplot as plt

    figure, (ball, shape) = plt.subplots(1, 2)
    pictures.draw_sphere(ball, np.array([0.0, 1.0, 0.0]), (1,), points=np.eye(3))  # z
    image = np.asarray(ball.images[0].get_array())
    top, low = image[-20, image.shape[1] // 2], image[20, image.shape[1] // 2]
    assert top[0] > top[2] and low[2] > low[0]
    assert len(ball.lines) == 3  # x, y and z are all in view
    pictures.draw_lobes(shape, np.array([0.0, 1.0, 0.0]), (1,))
    assert len(shape.collections) == 1
    plt.close(figure)
