"""The checks of lesson 6: right answers pass, plausible wrong ones are told why."""

from __future__ import annotations

import numpy as np
import pytest
from answers import wrong

import so3krates_lite as s3
from so3krates_lite import lessons
from so3krates_lite.lessons.model import parameter_parts


def triangle(l1, l2, l3):
    return abs(l1 - l2) <= l3 <= l1 + l2


def even(l1, l2, l3):
    return (l1 + l2 + l3) % 2 == 0


def test_couples_right():
    assert lessons.check_couples(lambda *l: triangle(*l) and even(*l)).passed
    assert lessons.check_couples(lambda a, b, c: c in range(abs(a - b), a + b + 1, 2)).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (triangle, "triangle rule is right"),
        (even, "close a triangle"),
        (lambda a, b, c: c <= a + b and even(a, b, c), "lower bound"),
        (lambda a, b, c: c >= abs(a - b) and even(a, b, c), "upper bound"),
        (lambda a, b, c: abs(a - b) < c < a + b and even(a, b, c), "both ends"),
        (lambda a, b, c: triangle(a, b, c) and not even(a, b, c), "odd sums"),
        (lambda a, b, c: triangle(a, b, c) and (a + b) % 2 == 0, "parity of l3"),
        (lambda a, b, c: True, "yours says True"),
        (lambda a, b, c: False, "yours says False"),
        (lambda a, b, c: 3, "True or False"),
    ],
)
def test_couples_wrong(answer, word):
    wrong(lessons.check_couples(answer), word)


def numerical_forces(energy, R, h, above=1.0, below=1.0, sign=-1, over=2.0, copy=True):
    F = np.zeros(R.shape)
    for a, c in np.ndindex(R.shape):
        up, down = (R.copy(), R.copy()) if copy else (R, R)
        up[a, c] += above * h
        high = energy(up)
        down[a, c] -= (below if copy else above + below) * h
        F[a, c] = sign * (high - energy(down)) / (over * h)
    return F


def test_numerical_forces_right():
    assert lessons.check_numerical_forces(numerical_forces).passed
    half = {"above": 0.5, "below": 0.5, "over": 1.0}
    assert lessons.check_numerical_forces(lambda *g: numerical_forces(*g, **half)).passed


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"sign": 1}, "downhill"),
        ({"below": 0, "over": 1}, "one-sided"),
        ({"above": 0, "over": 1}, "one-sided"),
        ({"over": 1}, "it is 2h"),
        ({"over": 4}, "4h"),
        ({"over": 100.0}, "divide by 2h"),
        ({"above": 0.5, "below": 0.5}, "h/2"),
        ({"copy": False}, "under your hands"),
        ({"sign": -3}, "yours is"),
    ],
)
def test_numerical_forces_wrong(change, word):
    wrong(lessons.check_numerical_forces(lambda *g: numerical_forces(*g, **change)), word)


def test_forces_that_are_right_but_move_the_atoms_are_refused():
    def careless(energy, R, h):
        F = numerical_forces(energy, R, h)
        R += 1
        return F

    wrong(lessons.check_numerical_forces(careless), "under your hands")


def count(F, layers, D, heads, K, radial, spherical, bias=1, **change):
    use = {"maps": 3, "directions": 2, "split": True, "by": D, "filters": 2, "c": D**3}
    use |= {"head": 1, "rows": 100, "times": layers} | change

    def dense(a, b):
        return a * b + bias * b

    def headwise(H):
        return (F * F // H if use["split"] else F * F) + bias * F

    one = dense(K, radial) + dense(radial, F) + dense(D, spherical) + dense(spherical, F)
    attention = use["maps"] * headwise(heads) + use["directions"] * headwise(use["by"])
    exchange = use["c"] + dense(F + D, 2 * F + 2 * D) + dense(D, F)
    head = use["head"] * (dense(F, F) + dense(F, 1))
    return use["rows"] * F + use["times"] * (use["filters"] * one + attention + exchange) + head


def test_count_right():
    assert lessons.check_count(count).passed


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"bias": 0}, "biases are missing"),
        ({"split": False}, "dense maps"),
        ({"directions": 3}, "no values"),
        ({"maps": 2}, "three maps"),
        ({"filters": 1}, "two filters"),
        ({"c": 0}, "self-mixing"),
        ({"head": 0}, "energy head is missing"),
        ({"rows": 0}, "embedding is missing"),
        ({"rows": 99}, "100 rows"),
        ({"times": 1}, "one layer"),
        ({"filters": 5}, "Its parts"),
    ],
)
def test_count_wrong(change, word):
    wrong(lessons.check_count(lambda *sizes: count(*sizes, **change)), word)


def test_count_tells_whose_heads_are_meant_and_what_exists_once():
    wrong(lessons.check_count(lambda *s: count(*s, by=s[3])), "one head per degree")
    wrong(lessons.check_count(lambda *s: s[1] * count(*s, times=1)), "not once per layer")


@pytest.mark.parametrize(
    "config",
    [
        s3.So3kratesConfig(),
        s3.So3kratesConfig(features=24, layers=2, degrees=(1, 2), heads=4, radial_functions=8),
    ],
)
def test_the_count_is_that_of_the_network(config):
    sizes = (config.features, config.layers, len(config.degrees), config.heads)
    widths = (config.radial_functions, config.radial_hidden, config.spherical_hidden)
    parts = parameter_parts(*sizes, *widths)
    assert sum(parts.values()) == s3.Potential.random(config).n_parameters


def test_the_sizes_that_lesson_6_quotes():
    assert sum(parameter_parts(132, 6, 3, 4, 32, 128, 32).values()) == 715_435
    assert s3.Potential.random(s3.So3kratesConfig(variant="v0.3")).n_parameters == 607_537
