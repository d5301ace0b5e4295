"""Checks and a figure of lesson 7, training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from so3krates_lite.drawing.look import PALETTE, TEXT
from so3krates_lite.lessons.feedback import Attempt, Wrong, as_array, exercise, one_number, refuse
from so3krates_lite.units import KCAL_PER_MOL

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@exercise
def check_work_slope(work_slope: Attempt) -> str:
    """Lesson 7, exercise 1: ``work_slope(E, F, R)``, energy changes over work, along a trajectory.

    Least squares through the origin of E[t+1] - E[t] against -(F[t] + F[t+1])/2 . (R[t+1] - R[t]).
    The example is not quite harmonic, and its energies are in another unit than its forces.
    """
    rng = np.random.default_rng(7)
    steps, atoms = 30, 4
    R = np.cumsum(0.08 * rng.normal(size=(steps, atoms, 3)), axis=0)
    stiff = rng.uniform(1, 3, (atoms, 1))
    E = (0.5 * stiff * R**2 + 0.3 * R**3).sum((1, 2)) / KCAL_PER_MOL
    F = -(stiff * R + 0.9 * R**2)
    value = one_number(work_slope(E, F, R))
    dR, dE = np.diff(R, axis=0), np.diff(E)

    def slope(force: np.ndarray, dE: np.ndarray = dE) -> float:
        work = -(force * dR).sum((1, 2))
        return float((work * dE).sum() / (work * work).sum())

    middle = (F[1:] + F[:-1]) / 2
    right = slope(middle)
    work = -(middle * dR).sum((1, 2))
    mistakes = {
        "the sign is turned: forces point downhill, so the energy changes by minus F·ΔR.": -right,
        "you took the force at the beginning of each step; the mean of both ends is exact to one "
        "order more.": slope(F[:-1]),
        "you took the force at the end of each step: take the mean of both ends.": slope(F[1:]),
        "half of it: the mean of two forces is their sum divided by two, once.": right / 2,
        "twice as much: the mean of two forces is their sum divided by two.": right * 2,
        "this is the slope of the work against the energy; the energy change over the work is "
        "asked for.": 1 / right,
        "you fitted the work against the energy change; it is the other way round.": (
            work * dE
        ).sum()
        / (dE * dE).sum(),
        "the mean of the ratios is ruled by steps with hardly any work: fit the slope by least "
        "squares.": np.mean(dE / work),
        "fit the slope by least squares, Σ W ΔE / Σ W².": np.median(dE / work),
        "your line has an intercept; no work, no change: force it through the origin.": np.polyfit(
            work, dE, 1
        )[0],
        "this compares only the two ends of the trajectory: fit all steps.": (E[-1] - E[0])
        / work.sum(),
    }
    if np.isclose(value, right, rtol=1e-7):
        return (
            f"{right:.2f} here: these energies are in kcal/mol and these forces in eV/Å, "
            "which the slope tells without any label."
        )
    refuse(value, mistakes, rtol=1e-6)
    raise Wrong(f"in the example the slope is {right:.4f}, yours is {value:.4f}.")


@exercise
def check_whole_walkers(whole_walkers: Attempt) -> str:
    """Lesson 7, exercise 2: ``whole_walkers(group, n_test, seed)``, frame numbers (train, test).

    ``n_test`` walkers, drawn at random, are the test set with all their frames.
    """
    rng = np.random.default_rng(2)
    labels = np.array([3, 5, 8, 11, 12, 20])
    group = rng.permutation(np.repeat(labels, [4, 7, 5, 6, 3, 8]))
    asked = [(n_test, seed) for n_test in (1, 2) for seed in (0, 1, 2, 3)]
    drawn: list[list[frozenset]] = [[], []]
    for once in drawn:
        for n_test, seed in asked:
            once.append(_tested(whole_walkers(group, n_test, seed), group, n_test))
    if drawn[0] != drawn[1]:
        raise Wrong("called twice with the same seed your split differs: use the seed.")
    if len(set(drawn[0])) < 3:
        raise Wrong("every seed gives the same walkers: draw them at random, with the seed.")
    return "whole walkers on one side, every frame once, drawn by the seed."


def _tested(result: object, group: np.ndarray, n_test: int) -> frozenset:
    """The walkers of a split's test set."""
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong("your function returned no pair; two arrays, (train, test), are expected.")
    parts = []
    for name, part in zip(("train", "test"), result, strict=True):
        index = as_array(part)
        if isinstance(part, tuple) and len(part) == 1 and np.ndim(part[0]) == 1:
            raise Wrong(
                f"your {name} part is a tuple with an array in it, as np.where gives it; take "
                "np.flatnonzero."
            )
        if index is None or index.ndim != 1:
            raise Wrong(
                f"your function returned a {name} part that is no list of frame numbers; "
                "one-dimensional arrays are expected."
            )
        if np.asarray(part).dtype == bool:
            raise Wrong(
                f"your function returned a mask as {name} part; frame numbers are expected: "
                "np.flatnonzero gives them."
            )
        if len(index) == 0:
            raise Wrong(f"your {name} part is empty.")
        if (index % 1 != 0).any() or index.min() < 0 or index.max() >= len(group):
            raise Wrong(
                f"your {name} part names frames that are not there: they count from 0 to "
                f"{len(group) - 1}."
            )
        parts.append(index.astype(int))
    train, test = parts
    labels = np.unique(group)
    if set(np.concatenate(parts)) <= set(labels) and len(train) + len(test) == len(labels):
        raise Wrong(
            "these are the numbers of walkers; the numbers of their frames are asked for: "
            "np.flatnonzero(np.isin(group, chosen))."
        )
    if len(test) == n_test and n_test < (group == group[test[0]]).sum():
        raise Wrong(
            f"your test part has {n_test} frames; {n_test} whole walkers with all their "
            "frames are asked for."
        )
    shared = sorted({int(g) for g in group[train]} & {int(g) for g in group[test]})
    if shared:
        raise Wrong(f"walker {shared[0]} has frames in both parts: draw walkers, not frames.")
    if len(train) + len(test) != len(group) or len(np.unique(np.concatenate(parts))) != len(group):
        raise Wrong(
            f"{len(group)} frames went in, {len(train)} + {len(test)} came out: every frame "
            "belongs to exactly one part."
        )
    found = frozenset(int(g) for g in group[test])
    if len(found) == len(labels) - n_test != n_test:
        raise Wrong("the parts are swapped: train comes first.")
    if len(found) != n_test:
        raise Wrong(f"your test part holds {len(found)} walkers, {n_test} were asked for.")
    return found


@exercise
def check_padded_loss(padded_loss: Attempt) -> str:
    """Lesson 7, exercise 3: ``padded_loss(E, F, E_ref, F_ref, mask, w_E, w_F)``.

    w_E times the mean squared error of energies plus w_F times that of the force components of
    real atoms. ``mask`` (frames, atoms) is true for those; padding holds arbitrary numbers.
    """
    rng = np.random.default_rng(4)
    frames, atoms, w_E, w_F = 3, 5, 0.1, 0.9
    mask = np.arange(atoms) < np.array([[5], [3], [2]])
    E, E_ref = rng.normal(size=(2, frames))
    F, F_ref = rng.normal(size=(2, frames, atoms, 3))
    value = one_number(padded_loss(E, F, E_ref, F_ref, mask, w_E, w_F))
    dE, dF = E - E_ref, F - F_ref
    energy, square = np.mean(dE**2), dF**2
    real = square[mask]
    zeroed = np.where(mask[..., None], square, 0)
    per_frame = [square[k][mask[k]].mean() for k in range(frames)]

    def both(forces: float, energy: float = energy, w: tuple = (w_E, w_F)) -> float:
        return float(w[0] * energy + w[1] * forces)

    right = both(real.mean())
    mistakes = {
        "padding counts in your mean: its forces mean nothing.": both(square.mean()),
        "padding adds nothing to your sum, but you still divide by its components: large molecules "
        "would "
        "weigh less beside small ones. Divide by the number of real ones.": both(zeroed.mean()),
        "you divided by the number of atoms; each has three components.": both(
            zeroed.sum() / mask.sum()
        ),
        "you summed the force errors: take the mean over real components.": both(real.sum()),
        "you averaged within each frame first: an atom of a small molecule then weighs more. One "
        "mean over all real components is asked for.": both(float(np.mean(per_frame))),
        "you took the root of each mean; squares are what is added.": both(
            np.sqrt(real.mean()), np.sqrt(energy)
        ),
        "these are absolute errors: square them (large mistakes count more, and the slope is "
        "smooth at zero).": both(np.abs(dF[mask]).mean(), np.abs(dE).mean()),
        "you summed the energy errors: take their mean.": both(real.mean(), (dE**2).sum()),
        "you divided energies by the number of atoms: some codes do, this loss does not.": both(
            real.mean(), np.mean((dE / mask.sum(1)) ** 2)
        ),
        "the weights are swapped.": both(real.mean(), energy, (w_F, w_E)),
        "the weights w_E and w_F are missing.": both(real.mean(), energy, (1, 1)),
    }
    if np.isclose(value, right, rtol=1e-6):
        return "means over frames and over real components, each with its weight."
    refuse(value, mistakes, rtol=1e-6)
    raise Wrong(f"in a small example the loss is {right:.4f}, yours is {value:.4f}.")


@exercise
def check_frames_needed(frames_needed: Attempt) -> str:
    """Lesson 7, exercise 4: ``frames_needed(sizes, errors, target)`` by a power law.

    log(error) = log(a) - b log(N), fitted by least squares, solved for N.
    """
    sizes = np.array([50, 100, 200, 400])
    errors = np.array([2.1, 1.5, 0.98, 0.71])
    target = 0.3
    value = one_number(frames_needed(sizes, errors, target))
    x, y = np.log(sizes), np.log(errors)
    slope, start = np.polyfit(x, y, 1)
    right = float(np.exp((np.log(target) - start) / slope))
    line = np.polyfit(sizes, errors, 1)
    half = np.polyfit(sizes, y, 1)
    other = np.polyfit(x, errors, 1)
    ends = np.log(errors[-1] / errors[0]) / np.log(sizes[-1] / sizes[0])
    last = np.log(errors[-1] / errors[-2]) / np.log(sizes[-1] / sizes[-2])
    inverse = np.polyfit(y, x, 1)
    mistakes = {
        "you fitted a straight line to the errors themselves; such a line would cross zero. Take "
        "logarithms of both.": (target - line[1]) / line[0],
        "you took the logarithm of the errors only (an exponential): take that of the sizes.": (
            np.log(target) - half[1]
        )
        / half[0],
        "you took the logarithm of the sizes only: take that of the errors, too.": np.exp(
            (target - other[1]) / other[0]
        ),
        "you fitted log N against log error. The errors "
        "are what scatters: fit them against N.": np.exp(np.polyval(inverse, np.log(target))),
        "you used the first and the last point only: fit all of them.": sizes[-1]
        * (target / errors[-1]) ** (1 / ends),
        "you used the last two points only: fit all of them.": sizes[-1]
        * (target / errors[-1]) ** (1 / last),
        "the slope is right, but your line goes through the last point: the fit has a start of its "
        "own.": sizes[-1] * (target / errors[-1]) ** (1 / slope),
        "this is log N: take the exponential.": (np.log(target) - start) / slope,
        "you mixed logarithms: undo np.log by np.exp, np.log10 by 10**.": 10
        ** ((np.log(target) - start) / slope),
        "the sign is lost: more frames, smaller error, so the slope is negative.": np.exp(
            (np.log(target) - start) / -slope
        ),
        "this is the error that the law gives for N = target; solve it for N instead.": np.exp(
            slope * np.log(target) + start
        ),
    }
    if np.isclose(value, right, rtol=1e-3) or value == np.ceil(right):
        return f"{right:.0f} frames; an extrapolation, so a guess, not a promise."
    refuse(value, mistakes, rtol=1e-6)
    raise Wrong(f"for the example {right:.0f} frames are expected, your function says {value:.4g}.")


def draw_ladder(ax: Axes, errors: Mapping[str, float], ours: str = "") -> None:
    """Force errors of models on a logarithmic axis, one line each, ``ours`` in another colour."""
    names = list(errors)
    for place, name in enumerate(names):
        colour = PALETTE[4] if name == ours else PALETTE[0]
        ax.plot(errors[name], place, "o", color=colour, markersize=8)
        text = {"ha": "left", "va": "center", "color": TEXT, "fontsize": 9}
        ax.annotate(
            f"{errors[name]:.2g}", (errors[name], place), (8, 0), **text, textcoords="offset points"
        )
    ax.set_yticks(range(len(names)), names)
    ax.set(xscale="log", xlabel="force MAE (kcal/mol/Å)", ylim=(len(names) - 0.4, -0.6))
    low, high = min(errors.values()), max(errors.values())
    ticks = [t for t in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if low / 1.6 < t < high * 2]
    ax.set_xlim(low / 1.5, high * 2.2)
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
