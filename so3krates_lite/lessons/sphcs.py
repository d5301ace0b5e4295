"""Checks of lesson 3, spherical harmonic coordinates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from so3krates_lite.lessons.feedback import (
    RIGHT,
    WRONG,
    Feedback,
    as_array,
    attempt,
    known_mistake,
    of_shape,
)
from so3krates_lite.lessons.points import all_distances


def check_first_degree(first_degree: Callable) -> Feedback:
    """Lesson 3, exercise 1: ``first_degree(r, phi)``, the three components of degree 1 of one atom.

    r, (neighbours, 3), points to the neighbours; phi are their weights. The result is
    sqrt(3/4pi) sum_j phi_j (y, z, x)_j / |r_j| over sum_j phi_j.
    """
    rng = np.random.default_rng(0)
    r, phi = rng.normal(size=(4, 3)), rng.uniform(0.2, 0.9, 4)
    result, trouble = attempt(first_degree, r.copy(), phi.copy())
    if trouble:
        return trouble
    value = of_shape(result, (3,), "three components of one atom")
    if isinstance(value, Feedback):
        return value
    c, u, C = np.sqrt(3 / (4 * np.pi)), r / np.linalg.norm(r, axis=1, keepdims=True), phi.sum()
    xyz = phi @ u
    right = c * np.roll(xyz, -1) / C
    mistakes = [
        (c * xyz / C, "the order is (x, y, z); m = -1, 0, 1 is (y, z, x)."),
        (c * np.roll(xyz, 1) / C, "the order is (z, x, y); m = -1, 0, 1 is (y, z, x)."),
        (c * xyz[::-1] / C, "the order is (z, y, x); m = -1, 0, 1 is (y, z, x)."),
        (-right, "all signs are turned: r points from the atom to its neighbours, keep it so."),
        (c * np.roll(xyz, -1), "this is the sum; divide by the sum of the weights."),
        (
            c * np.roll(xyz, -1) / len(r),
            "you divided by the number of neighbours; divide by the sum of their weights.",
        ),
        (np.roll(xyz, -1) / C, "the factor √(3/4π) is missing: harmonics are normalised."),
        (
            c * np.roll(phi @ r, -1) / C,
            "divide each vector by its length: a harmonic knows the direction only.",
        ),
        (
            c * np.roll(u.mean(axis=0), -1),
            "the weights are missing: a far neighbour counts less.",
        ),
        (
            c * np.roll(xyz / np.linalg.norm(xyz), -1),
            "you made the result as long as one harmonic; its length says how one-sided the "
            "neighbours are, keep it.",
        ),
    ]
    if np.allclose(value, right, atol=1e-7):
        one, trouble = attempt(first_degree, r[:1].copy(), phi[:1].copy())
        alone = as_array(one)
        if trouble or alone is None or not np.allclose(alone, c * np.roll(u[0], -1)):
            return Feedback(WRONG, "right for four neighbours, but not for a single one.")
        return Feedback(RIGHT, "the mean of the directions, in the order y, z, x.")
    return known_mistake(value, mistakes) or Feedback(
        WRONG,
        f"in a small example {np.round(right, 4).tolist()} is right, "
        f"yours is {np.round(value, 4).tolist()}.",
    )


def check_length_from_angles(length_from_angles: Callable) -> Feedback:
    """Lesson 3, exercise 2: ``length_from_angles(u, l)``, N_l of the mean from angles alone.

    u, (neighbours, 3), are directions of length one with equal weights, k of them:
    N_l^2 = (2l+1)/(4 pi k^2) sum_jk P_l(u_j . u_k).
    """
    # more or less on one side, so that the sums of mistakes have roots, too
    u = np.random.default_rng(1).normal(size=(4, 3)) + np.array([2.5, 0, 0])
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    k, cosine = len(u), u @ u.T
    off = ~np.eye(k, dtype=bool)
    for l in (1, 2, 3):
        result, trouble = attempt(length_from_angles, u.copy(), l)
        if trouble:
            return trouble
        value = of_shape(result, (), "one number")
        if isinstance(value, Feedback):
            return value
        P = np.polynomial.legendre.Legendre.basis(l)(cosine)
        norm = (2 * l + 1) / (4 * np.pi)
        right = np.sqrt(norm * P.sum()) / k
        mistakes = [
            (right**2, "this is N²: take the square root."),
            (np.sqrt(norm * P.sum()), "this is the sum over neighbours; of the mean is asked."),
            (
                np.sqrt(norm * P.sum() / k),
                "a mean has 1/k in it, its square 1/k²: divide by k once more inside the root.",
            ),
            (
                np.sqrt(norm * P[off].sum()) / k,
                "you left out j = k: every neighbour makes an angle of 0 with itself.",
            ),
            (
                np.sqrt(norm * P[np.triu_indices(k, 1)].sum()) / k,
                "you met every pair once; the double sum meets it twice, and j = k too.",
            ),
            (np.sqrt(P.sum()) / k, "the factor (2l+1)/4π is missing."),
            (np.sqrt(P.sum() / (4 * np.pi)) / k, "the factor is (2l+1)/4π, not 1/4π."),
            (
                np.sqrt(norm * np.sum(cosine**l)) / k,
                "you took a power of the cosine; P_l is the Legendre polynomial.",
            ),
            (
                np.sqrt(norm * np.polynomial.legendre.legval(cosine, [1] * (l + 1)).sum()) / k,
                "you summed the polynomials up to l: P_l alone is asked for.",
            ),
        ]
        if np.allclose(value, right):
            continue
        return known_mistake(value, mistakes) or Feedback(
            WRONG, f"in a small example N_{l} is {right:.4f}, yours is {float(value):.4f}."
        )
    return Feedback(RIGHT, "a length of an SPHC vector is a sum over the angles of neighbours.")


def check_safe_length(safe_length: Callable) -> Feedback:
    """Lesson 3, exercise 3: ``safe_length(u)``, |u| by jax, with the derivative 0 at u = 0."""
    import jax
    import jax.numpy as jnp

    u = np.array([0.3, -0.4, 1.2], np.float32)
    result, trouble = attempt(safe_length, jnp.asarray(u))
    if trouble:
        return trouble
    value = of_shape(result, (), "one length")
    if isinstance(value, Feedback):
        return value
    mistakes = [
        (np.float64(1.69), "this is the square of the length: take its root."),
        (np.float64(1.9), "this is the sum of the sizes; Pythagoras wants squares."),
        (np.float64(1.1), "this is the sum of the components; Pythagoras wants squares."),
    ]
    if not np.isclose(value, 1.3, rtol=0, atol=2e-3):
        text = f"the length of {u.round(1).tolist()} is 1.3, yours is {float(value):.4f}."
        return known_mistake(value.round(5), mistakes) or Feedback(WRONG, text)
    zero, trouble = attempt(safe_length, jnp.zeros(3))
    if trouble:
        return trouble
    start = as_array(zero)
    slope, trouble = attempt(jax.jit(jax.grad(safe_length)), jnp.zeros(3))
    if trouble:
        if "Tracer" in trouble.text or "concret" in trouble.text:
            text = (
                "jax cannot look through your function: use jnp instead of np, and jnp.where "
                "instead of if."
            )
            return Feedback(WRONG, text)
        return trouble
    slope = as_array(slope)
    if np.isnan(slope).any():
        return Feedback(
            WRONG,
            "the length is right, but its gradient at zero is NaN. If you have one jnp.where, the "
            "infinite slope sits in the branch that was not chosen, and infinity times 0 is NaN: "
            "the root itself must not see the zero.",
        )
    if start is None or start != 0:
        return Feedback(
            WRONG,
            f"no NaN, but the zero vector has length {float(start):.0e} in yours: something added "
            "under the root changes every length. Choose with jnp.where instead.",
        )
    if slope.any():
        return Feedback(WRONG, f"the gradient at zero should be 0, yours is {slope.tolist()}.")
    slope, trouble = attempt(jax.grad(safe_length), jnp.asarray(u))
    if trouble:
        return trouble
    if not np.allclose(as_array(slope), u / 1.3, atol=1e-5):
        return Feedback(
            WRONG,
            "zero is safe, but away from it the gradient must be u/|u|, a unit vector; at "
            f"{u.round(1).tolist()} yours is {np.round(as_array(slope), 3).tolist()}.",
        )
    if not np.isclose(value, 1.3, rtol=0, atol=1e-6):
        return Feedback(WRONG, f"the length of a vector of length 1.3 is {float(value):.6f}.")
    return Feedback(RIGHT, "the root never sees the zero, so no infinity is made.")


def check_far_twins(far_twins: Callable) -> Feedback:
    """Lesson 3, exercise 4: ``far_twins(chi, R, cutoff)``, two atoms i < j, farther apart than
    cutoff, whose SPHC distance is smallest."""
    rng = np.random.default_rng(11)
    n, cutoff = 9, 4.0
    found = []
    for _ in range(40):
        R, chi = rng.normal(size=(n, 3)) * 3, rng.normal(size=(n, 15))
        chi *= rng.uniform(0.3, 1, (n, 1))
        result, trouble = attempt(far_twins, chi.copy(), R.copy(), cutoff)
        if trouble:
            return trouble
        value = as_array(result)
        if value is None or value.shape != (2,) or np.any(value % 1) or np.any(value < 0):
            text = f"your function returned {result!r}; two numbers of atoms are expected."
            return Feedback(WRONG, text)
        if value.max() >= n:
            text = f"atom {int(value.max())} does not exist: unravel the place, (i, j), with n = "
            return Feedback(WRONG, f"{text}{n} atoms.")
        found.append((all_distances(R), all_distances(chi), chi, tuple(int(v) for v in value)))

    def all_pairs(best: Callable) -> bool:
        return all(sorted(best(d, X, chi)) == sorted(pair) for d, X, chi, pair in found)

    def smallest(X: np.ndarray, allowed: np.ndarray) -> tuple[int, int]:
        X = np.where(allowed & ~np.eye(n, dtype=bool), X, np.inf)
        return tuple(int(k) for k in np.unravel_index(X.argmin(), X.shape))

    def right(d: np.ndarray, X: np.ndarray, chi: np.ndarray) -> tuple[int, int]:
        return smallest(X, d > cutoff)

    if all(i == j for *_, (i, j) in found):
        text = "you found an atom and itself, at distance 0: leave out i = j."
        return Feedback(WRONG, text)
    if all_pairs(right):
        if all(i < j for *_, (i, j) in found):
            return Feedback(RIGHT, "far in space, near in SPHC space.")
        return Feedback(WRONG, "the right pairs, but name the atom with the smaller number first.")
    lengths = "you compared the lengths of χ; two vectors of one length may point anywhere. "
    mistakes = [
        (lambda d, X, chi: smallest(X, d >= 0), "they must be far in space, too."),
        (lambda d, X, chi: smallest(X, d < cutoff), "far in space means d > cutoff."),
        (
            lambda d, X, chi: smallest(d, d > cutoff),
            "these are near in space; among far pairs, the nearest in SPHC space is asked for.",
        ),
        (
            lambda d, X, chi: smallest(-X, d > cutoff),
            "these are the most unlike; the smallest SPHC distance is asked for.",
        ),
        (
            lambda d, X, chi: smallest(
                all_distances(np.linalg.norm(chi, axis=1, keepdims=True)), d > cutoff
            ),
            lengths + "Take the length of the difference.",
        ),
        (
            lambda d, X, chi: smallest(np.abs((chi[None] - chi[:, None]).sum(-1)), d > cutoff),
            "a sum of differences cancels; take the root of the sum of their squares.",
        ),
        (
            lambda d, X, chi: smallest(-(chi @ chi.T), d > cutoff),
            "you took the largest scalar product; it grows with the lengths. Take |χⱼ − χᵢ|.",
        ),
    ]
    for best, text in mistakes:
        if all_pairs(best):
            return Feedback(WRONG, text)
    d, X, chi, pair = next(each for each in found if tuple(sorted(each[3])) != right(*each[:3]))
    best = right(d, X, chi)
    text = (
        f"in an example the atoms {best} are {d[best]:.1f} Å and X = {X[best]:.2f} "
        f"apart; yours, {pair}, {d[pair]:.1f} Å and {X[pair]:.2f}."
    )
    return Feedback(WRONG, text)
