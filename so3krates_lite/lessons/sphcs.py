"""Checks of lesson 3, spherical harmonic coordinates."""

from __future__ import annotations

import numpy as np

from so3krates_lite.lessons.feedback import (
    Attempt,
    Wrong,
    as_array,
    exercise,
    of_shape,
    one_number,
    refuse,
    same,
    told,
)
from so3krates_lite.lessons.points import all_distances


@exercise
def check_first_degree(first_degree: Attempt) -> str:
    """Lesson 3, exercise 1: ``first_degree(r, phi)``, the three components of degree 1 of one atom.

    r, (neighbours, 3), points to the neighbours; phi are their weights. The result is
    sqrt(3/4pi) sum_j phi_j (y, z, x)_j / |r_j| over sum_j phi_j.
    """
    rng = np.random.default_rng(0)
    r, phi = rng.normal(size=(4, 3)), rng.uniform(0.2, 0.9, 4)
    value = of_shape(first_degree(r, phi), (3,), "three components of one atom")
    c, u, C = np.sqrt(3 / (4 * np.pi)), r / np.linalg.norm(r, axis=1, keepdims=True), phi.sum()
    xyz = phi @ u
    right = c * np.roll(xyz, -1) / C
    mistakes = {
        "the order is (x, y, z); m = -1, 0, 1 is (y, z, x).": c * xyz / C,
        "the order is (z, x, y); m = -1, 0, 1 is (y, z, x).": c * np.roll(xyz, 1) / C,
        "the order is (z, y, x); m = -1, 0, 1 is (y, z, x).": c * xyz[::-1] / C,
        "all signs are turned: r points from the atom to its neighbours, keep it so.": -right,
        "this is the sum; divide by the sum of the weights.": c * np.roll(xyz, -1),
        "you divided by the number of neighbours; divide by the sum of their weights.": c
        * np.roll(xyz, -1)
        / len(r),
        "the factor √(3/4π) is missing: harmonics are normalised.": np.roll(xyz, -1) / C,
        "divide each vector by its length: a harmonic knows the direction only.": c
        * np.roll(phi @ r, -1)
        / C,
        "the weights are missing: a far neighbour counts less.": c * np.roll(u.mean(axis=0), -1),
        "you made the result as long as one harmonic; its length says how one-sided the neighbours "
        "are, keep it.": c * np.roll(xyz / np.linalg.norm(xyz), -1),
    }
    if np.allclose(value, right, atol=1e-7):
        with told("right for four neighbours, but not for a single one: "):
            alone = first_degree(r[:1], phi[:1])
        if not same(alone, c * np.roll(u[0], -1)):
            raise Wrong("right for four neighbours, but not for a single one.")
        return "the mean of the directions, in the order y, z, x."
    refuse(value, mistakes)
    raise Wrong(
        f"in a small example {np.round(right, 4).tolist()} is right, "
        f"yours is {np.round(value, 4).tolist()}."
    )


@exercise
def check_length_from_angles(length_from_angles: Attempt) -> str:
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
        value = one_number(length_from_angles(u, l))
        P = np.polynomial.legendre.Legendre.basis(l)(cosine)
        norm = (2 * l + 1) / (4 * np.pi)
        right = np.sqrt(norm * P.sum()) / k
        mistakes = {
            "this is N²: take the square root.": right**2,
            "this is the sum over neighbours; of the mean is asked.": np.sqrt(norm * P.sum()),
            "a mean has 1/k in it, "
            "its square 1/k²: divide by k once more inside the root.": np.sqrt(norm * P.sum() / k),
            "you left out j = k: every neighbour makes an angle of 0 with itself.": np.sqrt(
                norm * P[off].sum()
            )
            / k,
            "you met every pair once; the double sum meets it twice, and j = k too.": np.sqrt(
                norm * P[np.triu_indices(k, 1)].sum()
            )
            / k,
            "the factor (2l+1)/4π is missing.": np.sqrt(P.sum()) / k,
            "the factor is (2l+1)/4π, not 1/4π.": np.sqrt(P.sum() / (4 * np.pi)) / k,
            "you took a power of the cosine; P_l is the Legendre polynomial.": np.sqrt(
                norm * np.sum(cosine**l)
            )
            / k,
            "you summed the polynomials up to l: P_l alone is asked for.": np.sqrt(
                norm * np.polynomial.legendre.legval(cosine, [1] * (l + 1)).sum()
            )
            / k,
        }
        if np.allclose(value, right):
            continue
        refuse(value, mistakes)
        raise Wrong(f"in a small example N_{l} is {right:.4f}, yours is {value:.4f}.")
    return "a length of an SPHC vector is a sum over the angles of neighbours."


@exercise
def check_safe_length(safe_length: Attempt) -> str:
    """Lesson 3, exercise 3: ``safe_length(u)``, |u| by jax, with the derivative 0 at u = 0."""
    import jax
    import jax.numpy as jnp

    u = np.array([0.3, -0.4, 1.2], np.float32)
    value = of_shape(safe_length(jnp.asarray(u)), (), "one length")
    mistakes = {
        "this is the square of the length: take its root.": np.float64(1.69),
        "this is the sum of the sizes; Pythagoras wants squares.": np.float64(1.9),
        "this is the sum of the components; Pythagoras wants squares.": np.float64(1.1),
    }
    if not np.isclose(value, 1.3, rtol=0, atol=2e-3):
        refuse(value.round(5), mistakes)
        raise Wrong(f"the length of {u.round(1).tolist()} is 1.3, yours is {float(value):.4f}.")
    start = as_array(safe_length(jnp.zeros(3)))
    try:
        slope = as_array(Attempt(jax.jit(jax.grad(safe_length)))(jnp.zeros(3)))
    except Wrong as wrong:
        if "Tracer" in str(wrong) or "concret" in str(wrong):
            raise Wrong(
                "jax cannot look through your function: use jnp instead of np, and jnp.where "
                "instead of if."
            ) from None
        raise
    if np.isnan(slope).any():
        raise Wrong(
            "the length is right, but its gradient at zero is NaN. If you have one jnp.where, the "
            "infinite slope sits in the branch that was not chosen, and infinity times 0 is NaN: "
            "the root itself must not see the zero."
        )
    if start is None or start != 0:
        raise Wrong(
            f"no NaN, but the zero vector has length {float(start):.0e} in yours: something added "
            "under the root changes every length. Choose with jnp.where instead."
        )
    if slope.any():
        raise Wrong(f"the gradient at zero should be 0, yours is {slope.tolist()}.")
    slope = as_array(Attempt(jax.grad(safe_length))(jnp.asarray(u)))
    if not np.allclose(slope, u / 1.3, atol=1e-5):
        raise Wrong(
            "zero is safe, but away from it the gradient must be u/|u|, a unit vector; at "
            f"{u.round(1).tolist()} yours is {np.round(slope, 3).tolist()}."
        )
    if not np.isclose(value, 1.3, rtol=0, atol=1e-6):
        raise Wrong(f"the length of a vector of length 1.3 is {float(value):.6f}.")
    return "the root never sees the zero, so no infinity is made."


@exercise
def check_far_twins(far_twins: Attempt) -> str:
    """Lesson 3, exercise 4: ``far_twins(chi, R, cutoff)``, two atoms i < j, farther apart than
    cutoff, whose SPHC distance is smallest."""
    rng = np.random.default_rng(11)
    tries, n, cutoff = 40, 9, 4.0
    R, chi = np.empty((tries, n, 3)), np.empty((tries, n, 15))
    pairs = np.empty((tries, 2), int)
    for k in range(tries):
        R[k], chi[k] = rng.normal(size=(n, 3)) * 3, rng.normal(size=(n, 15))
        chi[k] *= rng.uniform(0.3, 1, (n, 1))
        result = far_twins(chi[k], R[k], cutoff)
        value = as_array(result)
        if value is None or value.shape != (2,) or np.any(value % 1) or np.any(value < 0):
            raise Wrong(f"your function returned {result!r}; two numbers of atoms are expected.")
        if value.max() >= n:
            raise Wrong(
                f"atom {int(value.max())} does not exist: unravel the place, (i, j), with "
                f"n = {n} atoms."
            )
        pairs[k] = value
    if (pairs[:, 0] == pairs[:, 1]).all():
        raise Wrong("you found an atom and itself, at distance 0: leave out i = j.")
    d, X = all_distances(R), all_distances(chi)

    def smallest(values: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        values = np.where(allowed & ~np.eye(n, dtype=bool), values, np.inf)
        best = np.unravel_index(values.reshape(tries, -1).argmin(axis=1), (n, n))
        return np.sort(np.stack(best, axis=1))

    far, right = d > cutoff, smallest(X, d > cutoff)
    named = np.sort(pairs)
    if np.array_equal(named, right):
        if np.array_equal(pairs, right):
            return "far in space, near in SPHC space."
        raise Wrong("the right pairs, but name the atom with the smaller number first.")
    lengths = np.linalg.norm(chi, axis=-1, keepdims=True)
    mistakes = {
        "they must be far in space, too.": smallest(X, d >= 0),
        "far in space means d > cutoff.": smallest(X, d < cutoff),
        "these are near in space; among far pairs, the nearest in SPHC space is asked "
        "for.": smallest(d, far),
        "these are the most unlike; the smallest SPHC distance is asked for.": smallest(-X, far),
        "you compared the lengths of χ; two vectors of one length may point anywhere. Take the "
        "length of the difference.": smallest(all_distances(lengths), far),
        "a sum of differences cancels; take the root of the sum of their squares.": smallest(
            all_distances(chi.sum(axis=-1, keepdims=True)), far
        ),
        "you took the largest scalar product; it grows with the lengths. Take |χⱼ − χᵢ|.": smallest(
            -(chi @ chi.transpose(0, 2, 1)), far
        ),
    }
    refuse(named, mistakes, rtol=0, atol=0)
    k = int(np.flatnonzero((named != right).any(axis=1))[0])
    best, pair = ((k, *map(int, row)) for row in (right[k], pairs[k]))
    raise Wrong(
        f"in an example the atoms {best[1:]} are {d[best]:.1f} Å and X = {X[best]:.2f} "
        f"apart; yours, {pair[1:]}, {d[pair]:.1f} Å and {X[pair]:.2f}."
    )
