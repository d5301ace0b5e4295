"""Checks of lesson 2, spherical harmonics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from so3krates_lite.drawing.tubes import icosphere, unit
from so3krates_lite.harmonics import columns_of_degrees, spherical_harmonics
from so3krates_lite.lessons.feedback import (
    Attempt,
    Wrong,
    exercise,
    of_shape,
    refuse,
    whole_number,
)


def values_at(r: np.ndarray, degrees: Sequence[int]) -> np.ndarray:
    """The harmonics of all degrees in the directions r, (…, 3) to (…, m_tot), as float64."""
    return np.asarray(spherical_harmonics(np.asarray(r, np.float32), tuple(degrees)), float)


_ROWS, _TOP = 16, 8


@lru_cache
def _compiled() -> Callable:
    import jax

    return jax.jit(lambda r: spherical_harmonics(r, tuple(range(_TOP + 1))))


def _few_values(r: np.ndarray, degrees: Sequence[int]) -> np.ndarray:
    """The same values as `values_at`, compiled once for any number of directions and any degree."""
    r = np.asarray(r, np.float32)
    if r.ndim != 2 or len(r) > _ROWS or max(degrees) > _TOP:
        return values_at(r, degrees)
    padded = np.ones((_ROWS, 3), np.float32)
    padded[: len(r)] = r
    columns = columns_of_degrees(tuple(degrees))
    return np.asarray(_compiled()(padded), float)[: len(r), columns]


@exercise
def check_direction(direction: Attempt) -> str:
    """Lesson 2, exercise 1: ``direction(Y_1)``, (…, 3) harmonics of degree 1 to (x, y, z)."""
    r = unit(np.random.default_rng(0).normal(size=(4, 5, 3)))
    Y_1 = values_at(r, (1,))
    value = of_shape(direction(Y_1), r.shape, "one direction for each set of three harmonics")
    if np.allclose(value, r, atol=1e-5):
        return "put in order, and divided by √(3/4π)."
    factor = np.sqrt(3 / (4 * np.pi))
    sizes = [
        (1.0, ""),
        (factor, "the length is not 1: divide by √(3/4π)."),
        (factor**2, "you multiplied by √(3/4π); divide by it."),
        (1 / np.sqrt(4 * np.pi / 3) * np.sqrt(3), "the length is not 1: the factor is √(3/4π)."),
    ]
    orders = [
        ([0, 1, 2], ""),
        ([1, 2, 0], "the components are still in the order y, z, x of m = -1, 0, 1."),
        ([2, 0, 1], "you rolled the wrong way: your first component is z, x should be."),
        ([2, 1, 0], "z and x have changed places."),
        ([0, 2, 1], "y and z have changed places."),
        ([1, 0, 2], "x and y have changed places."),
    ]
    for size, about_size in sizes:
        for order, about_order in orders:
            if np.allclose(value, size * r[..., order], atol=1e-5):
                text = " ".join(part for part in (about_order, about_size) if part)
                raise Wrong(text[0].lower() + text[1:])
    if np.allclose(value, -r, atol=1e-5):
        raise Wrong("this is the opposite direction; harmonics of degree 1 keep signs.")
    raise Wrong(
        f"the harmonics {np.round(Y_1[0, 0], 3).tolist()} belong to the direction "
        f"{np.round(r[0, 0], 3).tolist()}, yours is {np.round(value[0, 0], 3).tolist()}."
    )


def _turn_about_z(l: int, alpha: float) -> np.ndarray:
    m = np.arange(-l, l + 1)
    D = np.diag(np.cos(m * alpha))
    # row -m gains sin(m alpha) of column m, row m loses it: m = 0 stays as it is
    return D - np.sin(m * alpha)[:, None] * np.eye(2 * l + 1)[::-1]


@exercise
def check_turn_about_z(turn_about_z: Attempt) -> str:
    """Lesson 2, exercise 2: ``turn_about_z(l, alpha)``, the Wigner matrix of a turn about z."""
    for l, alpha in ((1, 0.4), (2, 0.7), (3, -1.1), (5, 2.0), (0, 0.3)):
        size = 2 * l + 1
        what = f"for l = {l}, 2l + 1 = {size} rows and columns"
        value = of_shape(turn_about_z(l, alpha), (size, size), what, "are expected")
        right = _turn_about_z(l, alpha)
        if np.allclose(value, right, atol=1e-5):
            continue
        m = np.arange(-l, l + 1)
        same = (
            np.eye(size) * np.cos(alpha) - np.sin(alpha) * np.sign(m)[:, None] * np.eye(size)[::-1]
        )
        same[l, l] = 1
        hole = right.copy()
        hole[l, l] = 0
        double = right.copy()
        double[l, l] = 2
        mistakes = {
            "your matrix turns the other way. Y_1 must go to cos(α) Y_1 - sin(α) Y_-1: check the "
            "sign of the sine, and that the rows run from m = -l to l.": right.T,
            "every pair turns by the same angle α in your matrix; the pair (-m, m) goes round m "
            "times as fast, by m α.": same,
            "the middle, m = 0, must stay: put a 1 there.": hole,
            "the middle, m = 0, got its cosine twice: it should be 1.": double,
            "only the cosines are there: a turn mixes m with -m.": np.diag(np.diag(right)),
            "nothing turns.": np.eye(size),
            "the signs are lost: one of the two sines is negative.": right * np.sign(right),
        }
        refuse(value, mistakes, atol=1e-5)
        if np.allclose(value, _turn_about_z(l, np.radians(alpha)), atol=1e-5):
            raise Wrong("α is in radians already.")
        if not np.allclose(value @ value.T, np.eye(size), atol=1e-5):
            raise Wrong(
                f"for l = {l} the rows of your matrix are not orthonormal: a rotation keeps "
                "lengths, so D Dᵀ must be the unit matrix."
            )
        row, column = np.argwhere(~np.isclose(value, right, atol=1e-5))[0]
        raise Wrong(
            f"for l = {l} and α = {alpha}, row m = {row - l} and column m = {column - l} should "
            f"hold {right[row, column]:.4f}, yours holds {value[row, column]:.4f}."
        )
    return "each pair (-m, m) turns by m α, and m = 0 stands still."


@exercise
def check_mirror_signs(mirror_signs: Attempt) -> str:
    """Lesson 2, exercise 3: ``mirror_signs(degrees)``, what z → -z does to each harmonic."""
    for degrees in ((1, 2, 3), (0, 2), (4,)):
        l = np.concatenate([np.full(2 * d + 1, d) for d in degrees])
        m = np.concatenate([np.arange(-d, d + 1) for d in degrees])
        what = f"for degrees {degrees}, one sign for each of the {len(l)} components"
        value = of_shape(mirror_signs(degrees), l.shape, what)
        right = (-1.0) ** (l + m)
        if np.allclose(value, right):
            continue
        along_y = np.where(m < 0, -1.0, 1.0)
        mistakes = {
            "this is the inversion, r to -r: all three coordinates change their sign. Here only z "
            "does.": (-1.0) ** l,
            "this is a half turn about z, x and y to -x and -y; the mirror turns z round. What "
            "takes the one to the other is the inversion, (-1)^l.": (-1.0) ** m,
            "all signs are turned: Y_00, which is constant, must keep its own.": -right,
            "only m = 0 changes in yours; xz and yz contain z, too.": np.where(m == 0, -1.0, 1.0),
            "this is the mirror y to -y: it turns the harmonics with m < 0 round.": along_y,
            "this is the mirror x to -x.": along_y * (-1.0) ** m,
            "no harmonic changes in yours; that with l = 1, m = 0 is z itself.": np.abs(right),
        }
        refuse(value, mistakes)
        if not np.allclose(np.abs(value), 1):
            raise Wrong("every harmonic keeps or turns its sign: only 1 and -1 occur.")
        k = int(np.flatnonzero(value != right)[0])
        raise Wrong(
            f"for degrees {degrees}, the harmonic l = {l[k]}, m = {m[k]} takes the sign "
            f"{right[k]:+.0f}, yours {value[k]:+.0f}."
        )
    return "(-1)^(l+m): the inversion, and half a turn about z."


def arrangements() -> dict[str, Float[np.ndarray, "_neighbours 3"]]:
    """Directions of length one from an atom to its neighbours, for the regular arrangements."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    angle = 2 * np.pi * np.arange(3) / 3
    return {
        "one": np.array([[0.0, 0, 1]]),
        "line": np.array([[0.0, 0, 1], [0, 0, -1]]),
        "triangle": np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1),
        "tetrahedron": unit(corners[corners.prod(axis=1) > 0]),
        "octahedron": np.concatenate([np.eye(3), -np.eye(3)]),
        "cube": unit(corners),
        "icosahedron": icosphere(0)[0],
    }


@exercise
def check_lowest_degree(lowest_degree: Attempt) -> str:
    """Lesson 2, exercise 4: ``lowest_degree(directions, harmonics)``, the first l > 0 that sees.

    It is the lowest l at which the harmonics, summed over the directions, have a length above zero.
    """
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
    aside = unit(np.array([[1.0, -1, 0]]))  # its components of degree 1 sum to zero
    shapes = [*arrangements().items(), ("single neighbour along x - y", aside)]
    right = [1, 2, 2, 3, 4, 4, 6, 1]
    turned = [(f"{name}, turned", r @ turn.T) for name, r in shapes]
    answers = [
        whole_number(lowest_degree(np.float32(r), _few_values), "a degree, one whole number,")
        for _, r in shapes + turned
    ]
    straight, tilted = answers[: len(shapes)], answers[len(shapes) :]
    if straight == tilted == right:
        return "the length of the sum, degree by degree, with room for rounding."
    if set(answers) == {0}:
        raise Wrong("degree 0 is the same for all directions, so it sees nothing: start at l = 1.")
    if set(answers) == {1}:
        raise Wrong(
            "yours sees every arrangement at l = 1. Sum the harmonics over the neighbours first, "
            "then take the length: lengths of single neighbours cannot cancel. And after the sum, "
            "compare with a small number, not with 0."
        )
    if straight == right:
        k = next(k for k in range(len(right)) if tilted[k] != right[k])
        raise Wrong(
            f"right for upright arrangements, but for the {turned[k][0]}, it is {right[k]} and "
            f"yours says {tilted[k]}. Turning mixes the components of a degree, so only the length "
            "of all 2l + 1 says that a degree is empty; and what is 0 upright is a rounding error "
            "when turned."
        )
    k = next(k for k in range(len(right)) if straight[k] != right[k])
    also = ""
    if k == len(right) - 1:
        also = " Components of either sign cancel: take the length."
    elif straight[k] < right[k]:
        also = " Rounding leaves about 10⁻⁶ of what should be zero: compare with 1e-4, not with 0."
    raise Wrong(
        f"the first degree that sees the {shapes[k][0]} is {right[k]}, "
        f"yours says {straight[k]}.{also}"
    )
