"""Checks of lesson 6, the So3krates layer and model."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from so3krates_lite.lessons.feedback import (
    Attempt,
    Wrong,
    exercise,
    of_shape,
    refuse,
    whole_number,
    yes_or_no,
)


@exercise
def check_couples(couples: Attempt) -> str:
    """Lesson 6, exercise 1: ``couples(l1, l2, l3)``, whether degrees l1 and l2 can make an l3.

    Both rules: |l1 - l2| <= l3 <= l1 + l2, and an even sum, as the integral of Y Y Y has it.
    """
    cases = [case for case in product(range(5), repeat=3) if case[0] != case[1]]
    answers = [yes_or_no(couples(*case)) for case in cases]

    def rule(test: Callable) -> list[bool]:
        return [bool(test(*case)) for case in cases]

    def triangle(l1, l2, l3):
        return abs(l1 - l2) <= l3 <= l1 + l2

    def even(l1, l2, l3):
        return (l1 + l2 + l3) % 2 == 0

    right = rule(lambda *l: triangle(*l) and even(*l))
    mistakes = {
        "the triangle rule is right; but the product of an even and an odd function is odd, so the "
        "sum of the three degrees must be even, too.": rule(triangle),
        "the parity is "
        "right; but three degrees must close a triangle, too: 1 and 2 cannot make 5.": rule(even),
        "there is a lower bound as well: 1 and 4 cannot make 1, since |l1 - l2| = 3.": rule(
            lambda l1, l2, l3: l3 <= l1 + l2 and even(l1, l2, l3)
        ),
        "there is an upper bound as well: 0 and 1 cannot make 3, since l1 + l2 = 1.": rule(
            lambda l1, l2, l3: l3 >= abs(l1 - l2) and even(l1, l2, l3)
        ),
        "both ends of the range count: 1 and 2 make 1 and 3.": rule(
            lambda l1, l2, l3: abs(l1 - l2) < l3 < l1 + l2 and even(l1, l2, l3)
        ),
        "you kept the odd sums; those change the sign of an invariant in the mirror.": rule(
            lambda *l: triangle(*l) and not even(*l)
        ),
        "the parity of l3 belongs to the rule: l1 + l2 + l3 must be even.": rule(
            lambda l1, l2, l3: triangle(l1, l2, l3) and (l1 + l2) % 2 == 0
        ),
    }
    if answers == right:
        return "triangle and parity."
    refuse(answers, mistakes, rtol=0, atol=0)
    k = next(k for k in range(len(cases)) if answers[k] != right[k])
    l1, l2, l3 = cases[k]
    can = "can" if right[k] else "cannot"
    raise Wrong(f"{l1} and {l2} {can} make {l3}; yours says {answers[k]}.")


@exercise
def check_numerical_forces(numerical_forces: Attempt) -> str:
    """Lesson 6, exercise 2: ``numerical_forces(energy, R, h)``, by central differences.

    F = -dE/dR, each component from the energies at R + h and R - h.
    """
    rng = np.random.default_rng(4)
    start, h = rng.normal(size=(4, 3)), 1e-2
    spring = rng.normal(size=(4, 3))

    def energy(R):
        R = np.asarray(R)
        gap = R[:, None] - R
        return float(np.sum(np.sin(spring * R)) + 0.1 * np.sum(np.sum(gap**2, axis=-1) ** 2))

    def shifted(R, a, c, by):
        R = R.copy()
        R[a, c] += by
        return R

    value = of_shape(numerical_forces(energy, start, h), start.shape, "one force per atom")
    spoilt = not np.array_equal(numerical_forces.given[1], start)

    def differences(above: float, below: float) -> np.ndarray:
        values = np.zeros_like(start)
        for a, c in np.ndindex(start.shape):
            upper, lower = (energy(shifted(start, a, c, by)) for by in (above, below))
            values[a, c] = upper - lower
        return values

    central = differences(h, -h)
    right = -central / (2 * h)
    mistakes = {
        "this is the gradient: a force pulls downhill, F = -dE/dR.": -right,
        "this is a one-sided difference, wrong by a term of order h: take R + h and R - h.": (
            -differences(h, 0) / h,
            -differences(0, -h) / h,
        ),
        "from R - h to R + h it is 2h: divide by that.": 2 * right,
        "from R - h to R + h it is 2h: you divided by 4h.": right / 2,
        "these are differences of energies: divide by 2h.": -central,
        "you moved by h/2 to each side: divide by h, or move by h.": -differences(h / 2, -h / 2)
        / (2 * h),
    }
    if np.allclose(value, right, rtol=1e-6, atol=1e-8):
        if spoilt:
            raise Wrong("right, but R has changed under your hands: move an atom of a copy.")
        return "both sides, the whole way between them, downhill."
    refuse(value, mistakes, rtol=1e-6, atol=1e-8)
    if spoilt:
        raise Wrong(
            "R has changed under your hands, and the atoms moved first stand in the wrong place "
            "for the later ones: move an atom of a copy, R.copy()."
        )
    if np.allclose(value, -differences(h / 2, -h / 2) / h, rtol=1e-6, atol=1e-8):
        return "a central difference of half the width is as good."
    a, c = np.argwhere(~np.isclose(value, right, rtol=1e-6))[0]
    raise Wrong(
        f"on a small example component {'xyz'[c]} of atom {a} is {right[a, c]:.5f}, "
        f"yours is {value[a, c]:.5f}."
    )


def parameter_parts(
    F: int, layers: int, D: int, heads: int, K: int, radial: int, spherical: int
) -> dict[str, int]:
    """Trained values of each part of variant "paper"; D is the number of degrees."""
    one_filter = (
        K * radial + radial + radial * F + F + D * spherical + spherical + spherical * F + F
    )
    return {
        "embedding": 100 * F,
        "filters": layers * 2 * one_filter,
        "feature attention": layers * 3 * (F * F // heads + F),
        "geometric attention": layers * 2 * (F * F // D + F),
        "exchange": layers * (D**3 + (F + D + 1) * (2 * F + 2 * D) + (D + 1) * F),
        "energy head": F * F + F + F + 1,
    }


@exercise
def check_count(count: Attempt) -> str:
    """Lesson 6, exercise 3: ``count(F, layers, D, heads, K, radial, spherical)``, the paper's."""
    cases = [(60, 3, 3, 4, 32, 128, 32), (12, 1, 2, 3, 8, 5, 7), (24, 2, 4, 2, 16, 9, 6)]
    answers = [whole_number(count(*case)) for case in cases]

    def totals(change: Callable) -> list[int]:
        return [sum(parameter_parts(*case).values()) + change(*case) for case in cases]

    def biases(F, layers, D, heads, K, radial, spherical):
        per_filter = radial + spherical + 2 * F
        return layers * (2 * per_filter + 5 * F + 2 * F + 2 * D + F) + F + 1

    right = totals(lambda *case: 0)
    mistakes = {
        "the biases are missing: every linear map has one per output.": totals(
            lambda *case: -biases(*case)
        ),
        "in the feature attention each head sees its own features "
        "only: H blocks of (F/H)².": totals(lambda F, L, D, H, *_: L * (3 * (F * F - F * F // H))),
        "you counted dense maps for q, k and v: with H heads there are H blocks of (F/H)².": totals(
            lambda F, L, D, H, *_: L * (3 * (F * F - F * F // H) + 2 * (F * F - F * F // D))
        ),
        "the geometric attention has no values: its neighbours send harmonics.": totals(
            lambda F, L, D, H, *_: L * (F * F // D + F)
        ),
        "the feature attention has three maps, q, k and v.": totals(
            lambda F, L, D, H, *_: -L * (F * F // H + F)
        ),
        "the geometric attention has one head per degree, not H.": totals(
            lambda F, L, D, H, *_: 2 * L * (F * F // H - F * F // D)
        ),
        "there are two filters per layer, one for each attention.": totals(
            lambda *case: -parameter_parts(*case)["filters"] // 2
        ),
        "the coefficients c of the self-mixing are missing, D³ per layer.": totals(
            lambda F, L, D, *_: -L * D**3
        ),
        "the energy head is missing.": totals(lambda *case: -parameter_parts(*case)["energy head"]),
        "the embedding is missing: 100 rows, one per atomic number from 0 to 99.": totals(
            lambda *case: -parameter_parts(*case)["embedding"]
        ),
        "the table of the embedding has 100 rows, 0 for padding among them.": totals(
            lambda F, *_: -F
        ),
        "this is one layer: layers have weights of their own, multiply by their number.": [
            sum(v // (1 if k in ("embedding", "energy head") else case[1]) for k, v in p.items())
            for case, p in ((case, parameter_parts(*case)) for case in cases)
        ],
        "embedding and energy head exist once, not once per layer.": totals(
            lambda F, L, *_: (L - 1) * (100 * F + F * F + F + F + 1)
        ),
    }
    if answers == right:
        return f"{right[0]:,} for the bundled model."
    refuse(answers, mistakes, rtol=0, atol=0)
    parts = parameter_parts(*cases[0])
    shown = ", ".join(f"{name} {value:,}" for name, value in parts.items())
    raise Wrong(
        f"the bundled model has {right[0]:,}, yours says {answers[0]:,}. Its parts: {shown}."
    )
