"""Checks of lesson 8, arbitrary length scales."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from so3krates_lite.lessons.feedback import (
    Attempt,
    Wrong,
    exercise,
    of_shape,
    one_number,
    refuse,
    whole_number,
)
from so3krates_lite.lessons.points import all_distances

# Å: between carbons; from the last carbon to its hydrogens, along the chain and across it
BOND, BEYOND, ACROSS = 1.28, 0.55, 0.93


@exercise
def check_longest_chain(longest_chain: Attempt) -> str:
    """Lesson 8, exercise 1: ``longest_chain(cutoff)``, most carbons a local model sees through.

    The last carbon that sees an end's hydrogens is number k from that end; the two such carbons,
    n - 1 - 2k bonds apart, must see each other.
    """
    cutoffs = [2.5, 3.0, 3.15, 4.0, 5.0, 6.0]

    def most(cutoff: float, across: float = ACROSS, beyond: float = BEYOND, ends: int = 2) -> int:
        k = int((np.sqrt(cutoff**2 - across**2) - beyond) / BOND)
        return 1 + ends * k + int(cutoff / BOND)

    answers = [whole_number(longest_chain(cutoff)) for cutoff in cutoffs]
    right = [most(cutoff) for cutoff in cutoffs]
    mistakes = {
        "you counted the carbons that see hydrogens at one end only; both ends have them.": [
            most(cutoff, ends=1) for cutoff in cutoffs
        ],
        "the carbons at the very ends need not see each other: others know the angle, too.": [
            most(cutoff, ends=0) for cutoff in cutoffs
        ],
        "the hydrogens stand 0.93 Å off the axis: the distance to a carbon is longer than along "
        "the chain.": [most(cutoff, across=0) for cutoff in cutoffs],
        "you measured from the last carbon; its hydrogens are what points across the chain.": [
            most(cutoff, across=0, beyond=0) for cutoff in cutoffs
        ],
        "three cutoffs are the limit for a chain without gaps; here atoms stand 1.28 Å apart, and "
        "each of the three steps must end on one.": [
            1 + int((3 * cutoff - 2 * BEYOND) / BOND) for cutoff in cutoffs
        ],
        "one too many: n carbons have n - 1 bonds between them.": [n + 1 for n in right],
        "one too few: n carbons have n - 1 bonds between them.": [n - 1 for n in right],
    }
    if answers == right:
        return "hydrogen to carbon, carbon to carbon, carbon to hydrogen."
    refuse(answers, mistakes, rtol=0, atol=0)
    k = next(k for k in range(len(cutoffs)) if answers[k] != right[k])
    raise Wrong(
        f"for a cutoff of {cutoffs[k]} Å the longest chain has {right[k]} carbons, "
        f"yours says {answers[k]}."
    )


@exercise
def check_nearness(nearness: Attempt) -> str:
    """Lesson 8, exercise 2: ``nearness(X, kappa)``, phi_chi of all pairs from SPHC distances.

    X has shape (n, n) with zeros on the diagonal, where the result is zero, too.
    """
    rng = np.random.default_rng(3)
    X = all_distances(rng.normal(size=(6, 4)))
    kappa = 1.5
    value = of_shape(nearness(X, kappa), X.shape, "one number per pair")
    off = ~np.eye(len(X), dtype=bool)

    def share(values: Float[np.ndarray, "n n"], counted: np.ndarray, axis: int = 1) -> np.ndarray:
        weight = np.exp(values) * counted
        return weight / weight.sum(axis=axis, keepdims=True)

    def falls(ratio: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
        t = np.clip(ratio, 0, 1)
        return (1 - 28 * t**6 + 48 * t**7 - 21 * t**8) * off

    n = len(X)
    t = ratio = share(X, off) * n / kappa
    right = falls(ratio)
    mistakes = {
        "you made near atoms large: the softmax is of +X, so that near ones are small.": falls(
            share(-X, off) * n / kappa
        ),
        "an atom itself stands in your softmax: leave out j = i.": falls(
            share(X, np.ones_like(X)) * n / kappa
        ),
        "you summed over the atoms that ask: each row, one asking atom, sums to one.": falls(
            share(X, off, axis=0) * n / kappa
        ),
        "the radius is kappa divided by the number of atoms, n, not by n - 1.": falls(
            share(X, off) * (n - 1) / kappa
        ),
        "the shares are compared with kappa/n: multiply by n before the polynomial.": falls(
            share(X, off) / kappa
        ),
        "kappa is the radius: a larger one takes more atoms in. Divide by it.": falls(
            share(X, off) * n * kappa
        ),
        "beyond the border the polynomial goes on; it must stay 0 there.": np.where(
            off, 1 - 28 * t**6 + 48 * t**7 - 21 * t**8, 0
        ),
        "these are the shares s; the polynomial of n s / kappa is asked for.": share(X, off),
    }
    if np.allclose(value, right, atol=1e-7):
        return "softmax over the others, compared with kappa/n, smooth border."
    if np.allclose(np.where(off, value, 0), right, atol=1e-7):
        raise Wrong("the diagonal must be 0: an atom is no neighbour of itself.")
    refuse(np.where(off, value, 0), mistakes)
    i, j = np.unravel_index(np.abs(np.where(off, value - right, 0)).argmax(), X.shape)
    raise Wrong(
        f"in a small example the nearness of atom {j} to atom {i} is {right[i, j]:.3f}, "
        f"yours is {value[i, j]:.3f}."
    )


@exercise
def check_charge_floor(charge_floor: Attempt) -> str:
    """Lesson 8, exercise 3: ``charge_floor(E_one, E_other)``, lowest RMSE without the charge.

    The same geometries in two charge states; a charge-blind model has one energy for both.
    """
    rng = np.random.default_rng(5)
    one = rng.normal(size=20)
    other = one + 1.0 + 0.5 * rng.normal(size=20)
    value = one_number(charge_floor(one, other))
    gap = other - one
    right = np.sqrt(np.mean((gap / 2) ** 2))
    if np.isclose(value, right):
        return "the mean of both energies misses each by half their difference."
    mistakes = {
        "the best energy lies halfway: each is missed by half the gap.": np.sqrt(np.mean(gap**2)),
        "this is the mean absolute error; the root-mean-square is asked.": np.abs(gap / 2).mean(),
        "gaps differ from geometry to geometry: square before you average.": gap.mean() / 2,
        "take the root of the mean square.": np.mean((gap / 2) ** 2),
        "a model cannot shift one charge state only: the mean gap counts, too.": np.std(gap / 2),
        "one geometry, one energy: without the charge it cannot be right for both.": 0.0,
    }
    refuse(value, mistakes)
    raise Wrong(f"on a small example {right:.4f} is expected, yours gives {value:.4f}.")
