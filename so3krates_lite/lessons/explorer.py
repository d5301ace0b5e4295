"""Checks of lesson 10, the attention explorer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from so3krates_lite.lessons.feedback import (
    RIGHT,
    WRONG,
    Feedback,
    attempt,
    known_mistake,
    of_shape,
    one_number,
    same,
)


def _compared(
    result: object,
    right: np.ndarray,
    what: str,
    mistakes: list[tuple[ArrayLike, str]],
    praise: str,
) -> Feedback:
    """Right, a known mistake, a wrong shape, or simply not equal; ``what`` the numbers are."""
    if same(result, right):
        return Feedback(RIGHT, praise)
    if named := known_mistake(result, mistakes):
        return named
    value = one_number(result) if right.ndim == 0 else of_shape(result, right.shape, what)
    if isinstance(value, Feedback):
        return value
    return Feedback(WRONG, "the shape is right, the numbers are not: look at the hint.")


def check_listened(listened: Callable) -> Feedback:
    """Lesson 10, exercise 1: ``listened(weighted, receiver, n)``, how much each atom receives.

    The sizes of one layer's attention, shape (pairs, heads), added up for each of n receivers.
    """
    rng = np.random.default_rng(5)
    n, heads = 4, 3
    receiver, sender = np.nonzero(~np.eye(n, dtype=bool))
    # the last atom asks nobody, and still has its place in the answer
    keep = receiver != n - 1
    receiver, sender = receiver[keep], sender[keep]
    weighted = rng.normal(size=(len(receiver), heads))

    def added(values: np.ndarray, index: np.ndarray) -> np.ndarray:
        return np.bincount(index, values, minlength=n)

    result, trouble = attempt(listened, weighted, receiver, n)
    if trouble:
        return trouble
    right = added(np.abs(weighted).sum(1), receiver)
    short = right[: n - 1]
    mistakes = [
        (added(weighted.sum(1), receiver), "signs cancel: add up sizes, with np.abs."),
        (
            added(np.abs(weighted.sum(1)), receiver),
            "you took the size after adding the heads, where they have cancelled already.",
        ),
        (short, f"the last atom asks nobody and is missing: the answer has {n} numbers."),
        (
            added(np.abs(weighted).mean(1), receiver),
            "you took the mean over heads; the sum is asked for.",
        ),
    ]
    return _compared(
        result, right, "one per atom", mistakes, "sizes first, then heads, then senders."
    )


def check_rank_correlation(rank_correlation: Callable) -> Feedback:
    """Lesson 10, exercise 2: ``rank_correlation(a, b)``, Spearman's, for lists without ties."""
    rng = np.random.default_rng(2)
    a = rng.normal(size=12)
    b = np.exp(a + 0.8 * rng.normal(size=12))
    result, trouble = attempt(rank_correlation, a, b)
    if trouble:
        return trouble

    def ranks(values: np.ndarray) -> np.ndarray:
        return values.argsort().argsort()

    right = np.corrcoef(ranks(a), ranks(b))[0, 1]
    mistakes = [
        (
            np.corrcoef(a, b)[0, 1],
            "that is Pearson's, of the values themselves: replace them by their ranks first.",
        ),
        (
            np.corrcoef(a.argsort(), b.argsort())[0, 1],
            "argsort says which element comes first, not the rank of each: apply it twice.",
        ),
        (np.corrcoef(ranks(a), ranks(b)), "np.corrcoef gives a 2 × 2 matrix: take [0, 1]."),
        (np.cov(ranks(a), ranks(b))[0, 1], "divide the covariance by both standard deviations."),
    ]
    return _compared(result, np.asarray(right), "", mistakes, "only the order counts.")


def check_paths(paths: Callable) -> Feedback:
    """Lesson 10, exercise 3: ``paths(A)``, the signed sum over paths through all layers.

    A has shape (layers, atoms, atoms), [receiver, sender], first layer first.
    """
    A = np.random.default_rng(8).normal(size=(3, 4, 4))
    one = np.eye(4)
    result, trouble = attempt(paths, A)
    if trouble:
        return trouble
    stay = [one + each for each in A]
    whole = stay[2] @ stay[1] @ stay[0]
    backwards = stay[0] @ stay[1] @ stay[2]
    mistakes = [
        (whole, "the path that stays at home in every layer is still in it: subtract 1."),
        (
            backwards - one,
            "the order is turned round: the last layer's receiver is the one that asks, so its "
            "matrix stands on the left.",
        ),
        (backwards, "the last layer stands on the left, and the 1 is to be subtracted."),
        (
            A[2] @ A[1] @ A[0],
            "an atom also keeps what it has: add 1 to each layer's matrix before you multiply.",
        ),
        (A.sum(0), "that adds layers; a path through two layers is a product."),
        (
            (one + A[2]) * (one + A[1]) * (one + A[0]) - one,
            "* multiplies element by element; a chain of steps is a matrix product, @.",
        ),
    ]
    return _compared(
        result, whole - one, "one per receiver and sender", mistakes, "and it stays a heuristic."
    )
