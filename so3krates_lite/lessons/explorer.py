"""Checks of lesson 10, the attention explorer."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from so3krates_lite.lessons.feedback import (
    Attempt,
    Wrong,
    exercise,
    of_shape,
    one_number,
    refuse,
    same,
)


def _compare(
    result: object,
    right: np.ndarray,
    what: str,
    mistakes: dict[str, ArrayLike],
) -> None:
    """Refuse a known mistake, a wrong shape, or what is not equal; ``what`` the numbers are."""
    if not same(result, right):
        refuse(result, mistakes)
        one_number(result) if right.ndim == 0 else of_shape(result, right.shape, what)
        raise Wrong("the shape is right, the numbers are not: look at the hint.")


@exercise
def check_listened(listened: Attempt) -> str:
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

    result = listened(weighted, receiver, n)
    right = added(np.abs(weighted).sum(1), receiver)
    mistakes = {
        "signs cancel: add up sizes, with np.abs.": added(weighted.sum(1), receiver),
        "you took the size after adding the heads, where they have cancelled already.": added(
            np.abs(weighted.sum(1)), receiver
        ),
        f"the last atom asks nobody and is missing: the answer has {n} numbers.": right[: n - 1],
        "you took the mean over heads; the sum is asked for.": added(
            np.abs(weighted).mean(1), receiver
        ),
    }
    _compare(result, right, "one per atom", mistakes)
    return "sizes first, then heads, then senders."


@exercise
def check_rank_correlation(rank_correlation: Attempt) -> str:
    """Lesson 10, exercise 2: ``rank_correlation(a, b)``, Spearman's, for lists without ties."""
    rng = np.random.default_rng(2)
    a = rng.normal(size=12)
    b = np.exp(a + 0.8 * rng.normal(size=12))
    result = rank_correlation(a, b)

    def ranks(values: np.ndarray) -> np.ndarray:
        return values.argsort().argsort()

    right = np.corrcoef(ranks(a), ranks(b))[0, 1]
    mistakes = {
        "that is Pearson's, "
        "of the values themselves: replace them by their ranks first.": np.corrcoef(a, b)[0, 1],
        "argsort says which element comes first, not the rank of each: "
        "apply it twice.": np.corrcoef(a.argsort(), b.argsort())[0, 1],
        "np.corrcoef gives a 2 × 2 matrix: take [0, 1].": np.corrcoef(ranks(a), ranks(b)),
        "divide the covariance by both standard deviations.": np.cov(ranks(a), ranks(b))[0, 1],
    }
    _compare(result, np.asarray(right), "", mistakes)
    return "only the order counts."


@exercise
def check_paths(paths: Attempt) -> str:
    """Lesson 10, exercise 3: ``paths(A)``, the signed sum over paths through all layers.

    A has shape (layers, atoms, atoms), [receiver, sender], first layer first.
    """
    A = np.random.default_rng(8).normal(size=(3, 4, 4))
    one = np.eye(4)
    result = paths(A)
    stay = [one + each for each in A]
    whole = stay[2] @ stay[1] @ stay[0]
    backwards = stay[0] @ stay[1] @ stay[2]
    mistakes = {
        "the path that stays at home in every layer is still in it: subtract 1.": whole,
        "the order is turned round: the last layer's receiver is the one that asks, so its matrix "
        "stands on the left.": backwards - one,
        "the last layer stands on the left, and the 1 is to be subtracted.": backwards,
        "an atom also keeps what it has: add 1 to each layer's matrix before you multiply.": A[2]
        @ A[1]
        @ A[0],
        "that adds layers; a path through two layers is a product.": A.sum(0),
        "* multiplies element by element; a chain of steps is a matrix product, @.": (one + A[2])
        * (one + A[1])
        * (one + A[0])
        - one,
    }
    _compare(result, whole - one, "one per receiver and sender", mistakes)
    return "and it stays a heuristic."
