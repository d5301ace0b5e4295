"""The checks of lesson 7: right answers pass, plausible wrong ones are told why."""

from __future__ import annotations

import numpy as np
import pytest
from answers import wrong

from so3krates_lite import lessons
from so3krates_lite.lessons.training import draw_ladder

NUMBERS = (lessons.check_work_slope, lessons.check_padded_loss, lessons.check_frames_needed)


@pytest.mark.parametrize("check", NUMBERS)
def test_any_other_number_is_told_the_right_one(check):
    for answer in (0.0, -4.2, np.nan, np.inf):
        wrong(check(lambda *given, answer=answer: answer))


# -- the work test --------------------------------------------------------------------------------


def steps_of(E, F, R):
    middle = (F[1:] + F[:-1]) / 2
    return -(middle * np.diff(R, axis=0)).sum((1, 2)), np.diff(E)


def slope_of(force, E, R):
    work, change = -(force * np.diff(R, axis=0)).sum((1, 2)), np.diff(E)
    return (work @ change) / (work @ work)


def work_slope(E, F, R):
    work, change = steps_of(E, F, R)
    return (work @ change) / (work @ work)


def test_work_slope_right():
    assert lessons.check_work_slope(work_slope).passed
    feedback = lessons.check_work_slope(
        lambda E, F, R: np.linalg.lstsq(steps_of(E, F, R)[0][:, None], np.diff(E), rcond=None)[0][0]
    )
    assert feedback.passed and "23." in feedback.text


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda E, F, R: -work_slope(E, F, R), "sign"),
        (lambda E, F, R: slope_of(F[:-1], E, R), "beginning"),
        (lambda E, F, R: slope_of(F[1:], E, R), "end of each step"),
        (lambda E, F, R: slope_of(F[1:] + F[:-1], E, R), "half of it"),
        (lambda E, F, R: slope_of((F[1:] + F[:-1]) / 4, E, R), "twice"),
        (lambda E, F, R: 1 / work_slope(E, F, R), "work against the energy"),
        (lambda E, F, R: work_slope(E, F, R) / np.corrcoef(*steps_of(E, F, R))[0, 1], "slope is"),
        (lambda E, F, R: np.mean(np.divide(*steps_of(E, F, R)[::-1])), "ratios"),
        (lambda E, F, R: np.median(np.divide(*steps_of(E, F, R)[::-1])), "least squares"),
        (lambda E, F, R: np.polyfit(*steps_of(E, F, R), 1)[0], "intercept"),
        (lambda E, F, R: (E[-1] - E[0]) / steps_of(E, F, R)[0].sum(), "two ends"),
        (lambda E, F, R: 1.0, "slope is"),
    ],
)
def test_work_slope_wrong(answer, word):
    wrong(lessons.check_work_slope(answer), word)


def test_work_slope_names_a_fit_the_wrong_way_round():
    def turned(E, F, R):
        work, change = steps_of(E, F, R)
        return (work @ change) / (change @ change)

    wrong(lessons.check_work_slope(turned), "other way round")


# -- whole walkers --------------------------------------------------------------------------------


def whole_walkers(group, n_test, seed):
    chosen = np.random.default_rng(seed).choice(np.unique(group), n_test, replace=False)
    held = np.isin(group, chosen)
    return np.flatnonzero(~held), np.flatnonzero(held)


def by_frames(group, n_test, seed):
    order = np.random.default_rng(seed).permutation(len(group))
    return order[12:], order[:12]


def few_frames(group, n_test, seed):
    order = np.random.default_rng(seed).permutation(len(group))
    return order[n_test:], order[:n_test]


def labels_only(group, n_test, seed):
    order = np.random.default_rng(seed).permutation(np.unique(group))
    return order[n_test:], order[:n_test]


def first_walkers(group, n_test, seed):
    held = np.isin(group, np.unique(group)[:n_test])
    return np.flatnonzero(~held), np.flatnonzero(held)


def unseeded(group, n_test, seed):
    return whole_walkers(group, n_test, None)


def masks(group, n_test, seed):
    held = np.isin(group, np.unique(group)[:n_test])
    return ~held, held


def as_tuples(group, n_test, seed):
    held = np.isin(group, np.unique(group)[:n_test])
    return np.where(~held), np.where(held)


def one_more(group, n_test, seed):
    return whole_walkers(group, n_test + 1, seed)


def frames_lost(group, n_test, seed):
    train, test = whole_walkers(group, n_test, seed)
    return train[1:], test


def test_whole_walkers_right():
    assert lessons.check_whole_walkers(whole_walkers).passed

    def shuffled(group, n_test, seed):
        train, test = whole_walkers(group, n_test, seed)
        rng = np.random.default_rng(seed)
        return list(rng.permutation(train)), list(rng.permutation(test))

    assert lessons.check_whole_walkers(shuffled).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (by_frames, "has frames in both parts"),
        (few_frames, "whole walkers"),
        (labels_only, "the numbers of their frames"),
        (first_walkers, "at random"),
        (masks, "np.flatnonzero"),
        (as_tuples, "as np.where gives it"),
        (one_more, "were asked for"),
        (frames_lost, "exactly one part"),
        (lambda g, n, s: whole_walkers(g, n, s)[::-1], "swapped"),
        (lambda g, n, s: (np.arange(len(g)), np.arange(0)), "empty"),
        (lambda g, n, s: (np.arange(1, len(g) + 1), np.arange(3)), "count from 0"),
        (lambda g, n, s: np.arange(5), "no pair"),
    ],
)
def test_whole_walkers_wrong(answer, word):
    wrong(lessons.check_whole_walkers(answer), word)


def test_whole_walkers_must_use_the_seed():
    wrong(lessons.check_whole_walkers(unseeded), "seed")


# -- the loss -------------------------------------------------------------------------------------


def padded_loss(E, F, E_ref, F_ref, mask, w_E, w_F):
    return w_E * np.mean((E - E_ref) ** 2) + w_F * np.mean((F - F_ref)[mask] ** 2)


def with_forces(forces, energy=lambda d: np.mean(d**2)):
    """A loss whose force part is ``forces(squared errors, mask)``."""

    def answer(E, F, E_ref, F_ref, mask, w_E, w_F):
        return w_E * energy(E - E_ref) + w_F * forces((F - F_ref) ** 2, mask)

    return answer


def test_padded_loss_right():
    assert lessons.check_padded_loss(padded_loss).passed
    where = with_forces(lambda s, m: np.where(m[..., None], s, 0).sum() / (3 * m.sum()))
    assert lessons.check_padded_loss(where).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (with_forces(lambda s, m: s.mean()), "padding counts"),
        (with_forces(lambda s, m: (s * m[..., None]).mean()), "still divide"),
        (with_forces(lambda s, m: (s * m[..., None]).sum() / m.sum()), "three components"),
        (with_forces(lambda s, m: s[m].sum()), "summed the force errors"),
        (
            with_forces(lambda s, m: np.mean([a[b].mean() for a, b in zip(s, m, strict=True)])),
            "within each frame",
        ),
        (
            with_forces(lambda s, m: np.sqrt(s[m].mean()), lambda d: np.sqrt(np.mean(d**2))),
            "root",
        ),
        (
            with_forces(lambda s, m: np.sqrt(s[m]).mean(), lambda d: np.abs(d).mean()),
            "absolute",
        ),
        (with_forces(lambda s, m: s[m].mean(), lambda d: (d**2).sum()), "summed the energy"),
        (
            with_forces(lambda s, m: s[m].mean(), lambda d: np.mean((d / [5, 3, 2]) ** 2)),
            "number of atoms",
        ),
        (lambda E, F, G, H, m, a, b: padded_loss(E, F, G, H, m, b, a), "swapped"),
        (lambda E, F, G, H, m, a, b: padded_loss(E, F, G, H, m, 1, 1), "weights"),
        (lambda *given: 0.0, "yours is 0.0000"),
    ],
)
def test_padded_loss_wrong(answer, word):
    wrong(lessons.check_padded_loss(answer), word)


# -- the power law --------------------------------------------------------------------------------


def line(sizes, errors):
    return np.polyfit(np.log(sizes), np.log(errors), 1)


def frames_needed(sizes, errors, target):
    slope, start = line(sizes, errors)
    return np.exp((np.log(target) - start) / slope)


def from_last(slope):
    return lambda s, e, t: s[-1] * (t / e[-1]) ** (1 / slope(np.log(s), np.log(e)))


def test_frames_needed_right():
    assert lessons.check_frames_needed(frames_needed).passed
    assert lessons.check_frames_needed(lambda *given: int(np.ceil(frames_needed(*given)))).passed

    def tens(sizes, errors, target):
        slope, start = np.polyfit(np.log10(sizes), np.log10(errors), 1)
        return 10 ** ((np.log10(target) - start) / slope)

    assert lessons.check_frames_needed(tens).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda s, e, t: np.polyval(np.polyfit(e, s, 1), t), "says"),
        (lambda s, e, t: (t - np.polyfit(s, e, 1)[1]) / np.polyfit(s, e, 1)[0], "straight line"),
        (
            lambda s, e, t: (
                (np.log(t) - np.polyfit(s, np.log(e), 1)[1]) / np.polyfit(s, np.log(e), 1)[0]
            ),
            "exponential",
        ),
        (
            lambda s, e, t: np.exp(
                (t - np.polyfit(np.log(s), e, 1)[1]) / np.polyfit(np.log(s), e, 1)[0]
            ),
            "sizes only",
        ),
        (
            lambda s, e, t: np.exp(np.polyval(np.polyfit(np.log(e), np.log(s), 1), np.log(t))),
            "against N",
        ),
        (from_last(lambda x, y: (y[-1] - y[0]) / (x[-1] - x[0])), "first and the last"),
        (from_last(lambda x, y: (y[-1] - y[-2]) / (x[-1] - x[-2])), "last two"),
        (from_last(lambda x, y: np.polyfit(x, y, 1)[0]), "through the last point"),
        (lambda *given: np.log(frames_needed(*given)), "exponential"),
        (lambda *given: 10 ** np.log(frames_needed(*given)), "mixed logarithms"),
        (lambda *given: 1 / frames_needed(*given), "sign is lost"),
        (lambda s, e, t: np.exp(np.polyval(line(s, e), np.log(t))), "N = target"),
    ],
)
def test_frames_needed_wrong(answer, word):
    wrong(lessons.check_frames_needed(answer), word)


def test_the_ladder_shows_every_model_where_its_error_is():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    draw_ladder(ax, {"nothing": 16.0, "mine": 1.5, "paper": 0.096}, ours="mine")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["nothing", "mine", "paper"]
    assert [point.get_xdata()[0] for point in ax.lines] == [16.0, 1.5, 0.096]
    assert ax.lines[1].get_color() != ax.lines[0].get_color() == ax.lines[2].get_color()
    assert ax.get_xscale() == "log" and ax.yaxis_inverted()
