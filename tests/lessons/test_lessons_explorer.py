"""The checks of lesson 10: right answers pass, plausible wrong ones are told why."""

from __future__ import annotations

import numpy as np
import pytest
from answers import wrong
from scipy.stats import spearmanr

from so3krates_lite import lessons


def added(values, receiver, n):
    return np.bincount(receiver, values, minlength=n)


def test_listened_right():
    def by_loop(weighted, receiver, n):
        total = np.zeros(n)
        for size, i in zip(np.abs(weighted).sum(1), receiver, strict=True):
            total[i] += size
        return total

    assert lessons.check_listened(by_loop).passed
    assert lessons.check_listened(lambda w, i, n: added(np.abs(w).sum(1), i, n)).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda w, i, n: added(w.sum(1), i, n), "signs cancel"),
        (lambda w, i, n: added(np.abs(w.sum(1)), i, n), "after adding the heads"),
        (lambda w, i, n: np.bincount(i, np.abs(w).sum(1)), "the answer has 4 numbers"),
        (lambda w, i, n: added(np.abs(w).mean(1), i, n), "mean over heads"),
        (lambda w, i, n: np.abs(w), "one per atom, shape (4,), is expected"),
        (lambda w, i, n: "four", "str"),
        (lambda w, i, n: np.ones(n), "numbers are not"),
    ],
)
def test_listened_wrong(answer, word):
    wrong(lessons.check_listened(answer), word)


def ranks(values):
    return values.argsort().argsort()


def test_rank_correlation_right():
    check = lessons.check_rank_correlation
    assert check(lambda a, b: spearmanr(a, b).statistic).passed
    assert check(lambda a, b: np.corrcoef(ranks(a), ranks(b))[1, 0]).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda a, b: np.corrcoef(a, b)[0, 1], "Pearson"),
        (lambda a, b: np.corrcoef(a.argsort(), b.argsort())[0, 1], "apply it twice"),
        (lambda a, b: np.corrcoef(ranks(a), ranks(b)), "take [0, 1]"),
        (lambda a, b: np.cov(ranks(a), ranks(b))[0, 1], "divide the covariance"),
        (lambda a, b: ranks(a), "one number is expected"),
        (lambda a, b: 0.0, "numbers are not"),
    ],
)
def test_rank_correlation_wrong(answer, word):
    wrong(lessons.check_rank_correlation(answer), word)


def through(A, product):
    one = np.eye(A.shape[1])
    whole = one
    for layer in A:
        whole = product(one + layer, whole)
    return whole - one


def test_paths_right():
    check = lessons.check_paths
    assert check(lambda A: through(A, np.matmul)).passed
    first, second, third = 0, 1, 2

    def by_number_of_steps(A):
        pairs = A[second] @ A[first] + A[third] @ A[first] + A[third] @ A[second]
        return A.sum(0) + pairs + A[third] @ A[second] @ A[first]

    assert check(by_number_of_steps).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda A: through(A, np.matmul) + np.eye(4), "stays at home"),
        (lambda A: through(A[::-1], np.matmul), "turned round"),
        (lambda A: through(A[::-1], np.matmul) + np.eye(4), "1 is to be subtracted"),
        (lambda A: A[2] @ A[1] @ A[0], "add 1 to each"),
        (lambda A: A.sum(0), "adds layers"),
        (lambda A: np.prod(np.eye(4) + A, axis=0) - np.eye(4), "element by element"),
        (lambda A: A, "one per receiver and sender, shape (4, 4), is expected"),
        (lambda A: 0 * A[0], "numbers are not"),
    ],
)
def test_paths_wrong(answer, word):
    wrong(lessons.check_paths(answer), word)
