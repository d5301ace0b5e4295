"""Checks of lesson 1, molecules and symmetry."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from so3krates_lite.lessons.feedback import (
    Attempt,
    Wrong,
    exercise,
    of_shape,
    refuse,
    told,
    yes_or_no,
)
from so3krates_lite.lessons.points import all_distances
from so3krates_lite.units import convert


@exercise
def check_gradient_to_force(gradient_to_force: Attempt) -> str:
    """Lesson 1, exercise 1: ``gradient_to_force(gradient)``, Hartree/bohr in, eV/Å out."""
    gradient = np.random.default_rng(0).normal(0.0, 0.03, (4, 9, 3))
    value = of_shape(
        gradient_to_force(gradient), gradient.shape, "as many numbers as went in", "are expected"
    )
    hartree, bohr = convert(1.0, "Hartree", "eV"), convert(1.0, "bohr", "Angstrom")
    mistakes = {
        "the gradient came back as it was: turn its sign, and convert both units.": 1.0,
        "the sign is right; now the units, that of the energy and that of the length.": -1.0,
        "the unit is right, the sign is not: a force points downhill, -dE/dR.": hartree / bohr,
        "Hartree became eV, but per bohr is still per bohr: a bohr is 0.529 Å, so per Å the slope "
        "is nearly twice as large.": -hartree,
        "you multiplied "
        "by the length of a bohr in Å; it stands below the line, so divide.": -hartree * bohr,
        "the whole factor is upside down: a Hartree is 27.2 eV, so the numbers must grow.": -bohr
        / hartree,
        "a Hartree is 27.2 eV: multiply by it, divide by the bohr.": -1 / (hartree * bohr),
        "the length is converted, the energy is not: 1 Hartree is 27.2 eV.": -1 / bohr,
        "this is in kcal/mol/Å; the package's forces are in eV/Å.": -convert(
            1.0, "Hartree/bohr", "kcal/mol/Angstrom"
        ),
    }
    if np.allclose(value, -gradient * hartree / bohr, rtol=1e-3):
        return "sign turned, 51.42 eV/Å for each Hartree/bohr."
    refuse(value, {text: factor * gradient for text, factor in mistakes.items()}, rtol=1e-3)
    with told(after=" And a force points downhill: -dE/dR."):
        refuse(-value, {text: factor * gradient for text, factor in mistakes.items()}, rtol=1e-3)
    raise Wrong(
        f"a gradient of {gradient[0, 0, 0]:.5f} Hartree/bohr is a force of "
        f"{-gradient[0, 0, 0] * hartree / bohr:.4f} eV/Å, yours is {value[0, 0, 0]:.4f}."
    )


@exercise
def check_smoother_cutoff(smoother_cutoff: Attempt) -> str:
    """Lesson 1, exercise 2: ``smoother_cutoff(d, cutoff)`` with value, slope and curvature zero.

    Any function will do that falls from 1 at 0 to 0 at the cutoff, never rises, is 0 beyond, and
    whose first two derivatives vanish at the cutoff.
    """
    for cutoff in (5.0, 3.2):
        d = np.linspace(0, 1.6 * cutoff, 1601)
        near = cutoff * np.array([0.96, 0.98, 1.0])
        with told("" if cutoff == 5.0 else f"right for a cutoff of 5 Å, not for {cutoff} Å: "):
            what = "one number for each distance"
            _judge_cutoff(d, of_shape(smoother_cutoff(d, cutoff), d.shape, what), cutoff)
            _judge_border(of_shape(smoother_cutoff(near, cutoff), near.shape, what))
    return "value, slope and curvature reach zero together."


def _judge_cutoff(d: np.ndarray, value: np.ndarray, cutoff: float) -> None:
    inside = d < cutoff
    if not np.isfinite(value).all():
        at = d[~np.isfinite(value)][0]
        raise Wrong(f"at {at:.2f} Å your function gives no finite number.")
    if abs(value[0] - 1) > 1e-4:
        raise Wrong(f"at distance 0 it should be 1, yours is {value[0]:.3f}.")
    if np.abs(value[~inside]).max() > 1e-5:
        worst = d[~inside][np.abs(value[~inside]).argmax()]
        raise Wrong(
            f"beyond the cutoff it must stay 0; at {worst:.2f} Å yours is "
            f"{np.abs(value[~inside]).max():.3f}. np.where(d < cutoff, …, 0) ends it, and a t "
            "clipped to at most 1 does so, too."
        )
    step = np.abs(np.diff(value)).max()
    if step > 0.05:
        at = d[np.abs(np.diff(value)).argmax()]
        raise Wrong(
            f"it jumps by {step:.2f} at {at:.2f} Å: an atom that passes there is felt as a blow."
        )
    if np.diff(value).max() > 1e-5 or value.min() < -1e-5:
        at = d[np.diff(value).argmax()]
        raise Wrong(f"it should never rise on its way from 1 to 0; yours rises near {at:.2f} Å.")


def _judge_border(near: np.ndarray) -> None:
    """Judge the power p in (1 - d/cutoff)^p by which a function approaches its border."""
    if near[0] < 1e-7:
        return
    power = np.log2(near[0] / max(near[1], 1e-12))
    if power < 1.5:
        raise Wrong(
            "the slope does not vanish at the cutoff: the force of a pair would end in a jump. "
            "A straight line does that."
        )
    if power < 2.6:
        raise Wrong(
            "value and slope vanish at the cutoff, the curvature does not: it jumps, as that of "
            "the cosine cutoff does. Approach zero like (1 - d/cutoff)³ or faster."
        )


@exercise
def check_invariance_test(is_invariant: Attempt) -> str:
    """Lesson 1, exercise 3: ``is_invariant(energy, R, Z)``, a test of energies, is tested.

    It must say True of an energy that keeps all four symmetries, in float32 too, and False of each
    that breaks one of them.
    """
    rng = np.random.default_rng(3)
    R, Z = rng.normal(0.0, 1.3, (6, 3)), np.array([8, 6, 6, 1, 1, 1])
    for dtype in (np.float64, np.float32):
        calls: list[tuple[np.ndarray, np.ndarray]] = []

        def sound(R_new, Z_new, dtype=dtype, calls=calls):
            calls.append((np.array(R_new, float), np.array(Z_new)))
            return _sound_energy(R_new, Z_new, dtype)

        if not yes_or_no(is_invariant(sound, R, Z)):
            raise Wrong(_why_not(calls, R, Z))
    for text, energy in _suspects().items():
        if is_invariant(energy, R, Z):
            raise Wrong(text)
    return "it passed the sound energy and caught all seven broken ones."


def _sound_energy(R: np.ndarray, Z: np.ndarray, dtype: type) -> float:
    R = np.asarray(R, dtype)
    a, b = np.triu_indices(len(R), 1)
    terms = np.asarray(Z)[a] * np.asarray(Z)[b] * np.exp(-np.linalg.norm(R[a] - R[b], axis=-1))
    return float(terms.astype(dtype).sum(dtype=dtype))


def _why_not(calls: list, R: np.ndarray, Z: np.ndarray) -> str:
    spectrum = np.sort(all_distances(R), axis=None)
    for R_new, Z_new in calls:
        if R_new.shape != R.shape:
            return f"you passed positions of shape {R_new.shape}; {R.shape} came in."
        if np.isclose(_sound_energy(R_new, Z_new, np.float64), _sound_energy(R, Z, np.float64)):
            continue
        if np.allclose(np.sort(all_distances(R_new), axis=None), spectrum):
            return (
                "it says False of a sound energy: the atoms were put in another order without "
                "their elements. Z goes along with R."
            )
        return (
            "it says False of a sound energy: one of your moves changes distances between atoms, "
            "so it is no symmetry. Is the matrix of the rotation orthogonal, QᵀQ = 1, and does "
            "every atom move with it?"
        )
    return (
        "it says False of a sound energy, which stayed the same under all your moves, up to "
        "rounding: compare with np.isclose, not with ==, and look at what you return."
    )


def _suspects() -> dict[str, Callable]:
    """Energies that break one symmetry each, by the sentence for a test that misses it."""

    def middle(R):
        return R - R.mean(axis=0)

    def handed(R, Z):
        r = R[None] - R[:, None]
        d = all_distances(R) + np.eye(len(R))
        a, b, c = r / d[..., None] ** 2, r / d[..., None] ** 3, r / d[..., None] ** 4
        return float(np.einsum("ijx,xyz,iky,ilz->", a, _LEVI_CIVITA, b, c))

    def along(axis):
        return lambda R, Z: float(3 + (Z * middle(R)[:, axis] ** 2).sum())

    about_one = (
        "it passed an energy that knows one direction in space, {}: if you turned, then about "
        "that axis only, or by a special angle. Use a random rotation."
    )

    def placed(R, Z):
        return float((Z * np.linalg.norm(R, axis=-1)).sum())

    def listed(R, Z):
        return float((np.arange(1, len(R)) * np.diag(all_distances(R), 1)).sum())

    return {
        "it passed an energy that depends on where in space the molecule is: "
        "shift all atoms.": placed,
        **{about_one.format("xyz"[axis]): along(axis) for axis in range(3)},
        "it passed Σ x⁴ + y⁴ + z⁴, which changes under most rotations but not under quarter turns "
        "about the axes. Use a random rotation.": lambda R, Z: float((middle(R) ** 4).sum()),
        "it passed an energy that tells left from right: a rotation cannot find that out. Invert "
        "the molecule: send R to -R.": handed,
        "it passed an energy that depends on the order in which the atoms are listed: permute R "
        "and Z together, and not only the last two atoms.": listed,
    }


_LEVI_CIVITA = np.zeros((3, 3, 3))
_LEVI_CIVITA[[0, 1, 2], [1, 2, 0], [2, 0, 1]] = 1
_LEVI_CIVITA[[0, 2, 1], [2, 1, 0], [1, 0, 2]] = -1


@exercise
def check_neighbour_count(neighbour_count: Attempt) -> str:
    """Lesson 1, exercise 4: ``neighbour_count(first, second, mask, n)`` of one padded structure."""
    # no atom's count is the same under two of the mistakes; padded pairs say (0, 0), and one (2, 0)
    first = np.array([0, 0, 1, 1, 1, 2, 0, 0, 2])
    second = np.array([1, 3, 2, 3, 4, 4, 0, 0, 0])
    mask = np.array([True] * 6 + [False] * 3)
    n = 6
    value = of_shape(
        neighbour_count(first, second, mask, n),
        (n,),
        "one number per atom",
        "is expected, also for atoms without neighbours",
    )

    def count(*ends: np.ndarray) -> np.ndarray:
        return sum(np.bincount(end, minlength=n) for end in ends)

    def lost(chosen: np.ndarray) -> np.ndarray:
        out = np.zeros(n)
        out[first[chosen]] += 1
        out[second[chosen]] += 1
        return out

    right = count(first[mask], second[mask])
    mistakes = {
        "you counted the padded pairs, too: only mask == True is real.": count(first, second),
        "every pair stands in the list once but has two ends: count the second atoms, too.": count(
            first[mask]
        ),
        "every pair stands in the list once but has two ends: count the first atoms, too.": count(
            second[mask]
        ),
        "padded pairs are counted, and only the first end of each pair.": count(first),
        "you counted the padding; mask is True for pairs.": count(first[~mask], second[~mask]),
        "out[index] += 1 counts an atom once, however often it stands in the index: np.add.at(out, "
        "index, 1) or np.bincount add up.": (lost(mask), lost(np.ones(len(mask), bool))),
        "you halved the count; each of a pair's two atoms has the other, once.": right / 2,
        "each neighbour is counted twice: a pair gives each of its ends one.": 2 * right,
    }
    if np.array_equal(value, right):
        return "real pairs only, both ends, every atom."
    refuse(value, mistakes, rtol=0, atol=0)
    atom = int(np.flatnonzero(value != right)[0])
    raise Wrong(
        f"in a small example atom {atom} has {right[atom]} neighbours, yours counts "
        f"{value[atom]:g}."
    )
