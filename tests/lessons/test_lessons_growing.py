"""The checks of lesson 13."""

from __future__ import annotations

import numpy as np
import pytest
from answers import wrong

from so3krates_lite import lessons
from so3krates_lite.lessons.growing import places_of_two, quantum_share


def test_waste_right():
    assert lessons.check_waste(lambda s: 1 - s.sum() / (len(s) * s.max())).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda s: s.mean() / s.max(), "the rest is asked for"),
        (lambda s: len(s) * s.max() - s.sum(), "a number of places"),
        (lambda s: len(s) * s.max() / s.sum() - 1, "the filled ones"),
        (lambda s: 100 * (1 - s.mean() / s.max()), "per cent"),
        (lambda s: 1 - s.sum() / (len(s) * s[0]), "not of its first"),
        (lambda s: 0.5, "0.283 is expected"),
    ],
)
def test_waste_wrong(answer, word):
    wrong(lessons.check_waste(answer), word)


def best_edge(sizes, choose=min):
    return choose(np.unique(sizes), key=lambda edge: places_of_two(sizes, edge))


def test_places_of_two_by_hand():
    sizes = np.array([3, 5, 4, 9])
    assert places_of_two(sizes, 5) == 3 * 5 + 9
    assert places_of_two(sizes, 9) == 4 * 9


def test_best_edge_right():
    assert lessons.check_best_edge(best_edge).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda s: np.unique(s)[list(np.unique(s)).index(best_edge(s)) + 1], "of the larger"),
        (lambda s: s.max(), "one bucket, not two"),
        (lambda s: places_of_two(s, best_edge(s)), "how many places"),
        (lambda s: int(s.mean()), "try every size"),
        (lambda s: s.min(), "makes"),
        (lambda s: s, "the largest size of the smaller bucket is expected"),
    ],
)
def test_best_edge_wrong(answer, word):
    wrong(lessons.check_best_edge(answer), word)


def pairs(n, density, cutoff):
    return n * density * 4 / 3 * np.pi * cutoff**3 / 2


def test_pairs_expected_right():
    assert lessons.check_pairs_expected(pairs).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda *a: 2 * pairs(*a), "both ends"),
        (lambda n, d, c: pairs(2, d, c), "of one atom"),
        (lambda n, d, c: pairs(1, d, c), "how many pairs do n atoms make"),
        (lambda n, d, c: n * d * 4 * np.pi * c**2 / 2, "surface"),
        (lambda n, d, c: n * d * np.pi * c**3 / 2, "4π/3"),
        (lambda n, d, c: n * (n - 1) / 2, "does not meet all"),
        (lambda n, d, c: 12.0, "15268 pairs are expected"),
    ],
)
def test_pairs_expected_wrong(answer, word):
    wrong(lessons.check_pairs_expected(answer), word)


def test_joined_right():
    assert lessons.check_joined(lambda m, c: c @ m / c.sum()).passed
    assert lessons.check_joined(lambda m, c: np.average(m, axis=0, weights=c)).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda m, c: m.mean(axis=0), "weigh them"),
        (lambda m, c: c @ m, "divide by how many"),
        (lambda m, c: c @ m / len(c), "number of devices"),
        (lambda m, c: m.sum(axis=0), "sum of means"),
        (lambda m, c: np.average(m, axis=0, weights=1 / c), "not less"),
        (lambda m, c: m[0], "the first number should be"),
        (lambda m, c: m, "shape (5,)"),
    ],
)
def test_joined_wrong(answer, word):
    wrong(lessons.check_joined(answer), word)


def ring(P, u, square=lambda P, k: (2 * P * np.sin(np.pi * k / P)) ** 2, first=0):
    k = np.arange(first, P)
    return np.sum(u**2 / (u**2 + square(P, k)))


def test_the_ring_has_the_oscillators_limits():
    u = 5.0
    assert quantum_share(1, u) == 1
    assert np.isclose(quantum_share(400, u), u / 2 / np.tanh(u / 2), rtol=1e-4)


def test_quantum_over_classical_right():
    assert lessons.check_quantum_over_classical(ring).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda P, u: ring(P, u) / P, "not their mean"),
        (lambda P, u: ring(P, u, first=1), "begins with k = 0"),
        (lambda P, u: ring(P, u, lambda P, k: (P * np.sin(np.pi * k / P)) ** 2), "the 2 and the P"),
        (lambda P, u: ring(P, u, lambda P, k: 4 * P**2 * np.sin(np.pi * k / P)), "squared, too"),
        (
            lambda P, u: ring(P, u, lambda P, k: (2 * P * np.sin(2 * np.pi * k / P)) ** 2),
            "not a whole one",
        ),
        (lambda P, u: u / 2 / np.tanh(u / 2), "infinitely many"),
        (lambda P, u: ring(P, u) / u**2, "one copy gives 1"),
        (lambda P, u: 3.0, "for 1 copy and u = 4 1.0000 is expected"),
    ],
)
def test_quantum_over_classical_wrong(answer, word):
    wrong(lessons.check_quantum_over_classical(answer), word)
