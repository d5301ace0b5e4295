"""Checks of lesson 11, a force field of the real world."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from so3krates_lite.lessons.feedback import (
    Attempt,
    Wrong,
    exercise,
    of_shape,
    one_number,
    refuse,
)
from so3krates_lite.lessons.points import all_distances
from so3krates_lite.physics.constants import COULOMB
from so3krates_lite.physics.electrostatics import SIGMA

DEBYE = 4.80320  # debye per e Å


def _ion() -> tuple[Float[np.ndarray, "5"], Float[np.ndarray, "5 3"]]:
    """Charges (e) that do not sum to zero, and places (Å) whose middle is not the origin."""
    rng = np.random.default_rng(11)
    return rng.normal(0.1, 0.4, 5), rng.normal(0.5, 1.5, (5, 3))


@exercise
def check_electrostatic_energy(electrostatic_energy: Attempt) -> str:
    """Lesson 11, exercise 1: ``electrostatic_energy(q, R)``, of all pairs, damped by erf, in eV."""
    q, R = _ion()
    i, j = np.triu_indices(len(q), k=1)
    d, qq = all_distances(R)[i, j], q[i] * q[j]
    erf = np.vectorize(math.erf)

    damped = erf(d / SIGMA)

    def total(damping: np.ndarray | float, power: float = 1) -> float:
        return float(COULOMB * (qq * damping / d**power).sum())

    value, right = one_number(electrostatic_energy(q, R)), total(damped)
    mistakes = {
        "each pair stands twice in your sum: take i < j, or half of it.": 2 * right,
        "half too much taken away: each pair counts once.": right / 2,
        "these are bare charges: multiply by erf(r/4).": total(1.0),
        "erf has the argument r/4, with no root of two.": total(erf(d / SIGMA / math.sqrt(2))),
        "erf has the argument r/4; yours is r.": total(erf(d)),
        "erfc is what damping takes away; erf is what stays.": total(1 - damped),
        "the constant k = 14.40 eV Å is missing.": right / COULOMB,
        "an energy falls as 1/r; 1/r² is a force.": total(damped, power=2),
        "charges have signs, and like ones repel: do not take sizes.": float(
            COULOMB * (np.abs(qq) * damped / d).sum()
        ),
    }
    if np.isclose(value, right, rtol=1e-4):
        return "each pair once, softened by erf where the network knows better."
    if np.isnan(value):
        raise Wrong("the result is NaN: an atom with itself, at r = 0, is no pair.")
    refuse(value, mistakes, rtol=1e-4)
    raise Wrong(f"on a small example {right:.4f} eV is expected, yours gives {value:.4f}.")


@exercise
def check_dipole_length(dipole_length: Attempt) -> str:
    """Lesson 11, exercise 2: ``dipole_length(q, R)`` of a neutral molecule, in debye."""
    q, R = _ion()
    q = q - q.mean()
    value = one_number(dipole_length(q, R))
    vector = q @ R
    right = DEBYE * float(np.linalg.norm(vector))
    if np.isclose(value, right, rtol=1e-4):
        return "charges times places, added up as vectors."
    mistakes = {
        "that is in e Å: 1 e Å is 4.8032 debye.": right / DEBYE,
        "you divided: the debye is the smaller unit, so the number must grow.": right / DEBYE**2,
        "add up the vectors first, then take the length.": DEBYE
        * float(np.linalg.norm(q[:, None] * R, axis=1).sum()),
        "charges have signs; do not take sizes.": DEBYE * float(np.linalg.norm(np.abs(q) @ R)),
        "a sum over atoms is asked for, not a mean.": right / len(q),
        "the length of a vector is the root of the summed squares.": (
            DEBYE * float(vector.sum()),
            DEBYE * float(np.abs(vector).sum()),
            DEBYE * float(vector @ vector),
        ),
    }
    refuse(value, mistakes, rtol=1e-4)
    raise Wrong(f"on a small example {right:.4f} D is expected, yours gives {value:.4f}.")


@exercise
def check_spread_missing(spread_missing: Attempt) -> str:
    """Lesson 11, exercise 3: ``spread_missing(q, Q)``, the charges that sum to Q."""
    q, _ = _ion()
    Q = -1.0
    value = of_shape(spread_missing(q, Q), q.shape, "one charge per atom")
    missing = Q - q.sum()
    part = missing / len(q)
    right = q + part
    if np.allclose(value, right, atol=1e-6):
        return "equal parts, to near and far alike."
    share = np.abs(q) / np.abs(q).sum()
    mistakes = {
        "each atom gets all that is missing: divide by their number.": q + missing,
        "the sign is turned round: missing is Q less what there is.": q - part,
        "the charges sum to 0, and not to Q.": q - q.mean(),
        "you spread Q itself; missing is only what the charges lack of it.": q + Q / len(q),
        "this is each atom's share; add it to what the atom has.": np.full(
            len(q), missing / len(q)
        ),
        "that stretches the charges; the missing charge comes in equal parts.": q * Q / q.sum(),
        "the parts are equal, and do not go by the size of the charges.": q + missing * share,
    }
    refuse(value, mistakes, atol=1e-6)
    if not np.isclose(value.sum(), Q):
        raise Wrong(f"your charges sum to {value.sum():.3f} e; {Q:g} e is expected.")
    raise Wrong("the sum is right, but the missing charge is not in equal parts.")
