"""The checks under the exercises: right answers pass, plausible wrong ones are told why."""

from __future__ import annotations

import numpy as np
import pytest
from answers import wrong

from so3krates_lite import lessons, units

CHECKS = [getattr(lessons, name) for name in lessons.__all__ if name.startswith("check_")]
# their answer is a number, any number
NUMBERS = {
    lessons.check_charge_floor,
    lessons.check_dipole_length,
    lessons.check_electrostatic_energy,
    lessons.check_force_error,
    lessons.check_frames_needed,
    lessons.check_kinetic_temperature,
    lessons.check_length_from_angles,
    lessons.check_padded_loss,
    lessons.check_pairs_expected,
    lessons.check_quantum_over_classical,
    lessons.check_rank_correlation,
    lessons.check_safe_length,
    lessons.check_spring_wavenumber,
    lessons.check_waste,
    lessons.check_work_slope,
    lessons.check_zero_point_energy,
}


@pytest.mark.parametrize("check", CHECKS)
def test_an_untouched_exercise_says_so(check):
    assert repr(check(lambda *given: ...)) == "not attempted yet"
    wrong(check(lambda *given: None), "return")


@pytest.mark.parametrize("check", CHECKS)
def test_a_raising_answer_is_reported_and_not_raised(check):
    wrong(check(lambda *given: 1 / 0), "ZeroDivisionError")
    wrong(check(lambda: 1), "TypeError")


@pytest.mark.parametrize("check", CHECKS)
def test_an_answer_of_another_kind_is_refused_in_words(check):
    for answer in ("two", np.zeros((2, 2)), {}, [[1], [1, 2], []], np.zeros(1)):
        wrong(check(lambda *given, answer=answer: answer), "your function returned", "expected")
    if check not in NUMBERS:
        wrong(check(lambda *given: 2.5), "your function returned")


def to_kcal(value):
    return units.convert(value, "eV", "kcal/mol")


def test_force_error_right():
    assert lessons.check_force_error(lambda p, r: to_kcal(np.abs(p - r).mean())).passed
    assert lessons.check_force_error(lambda p, r: 23.06 * np.mean(np.abs(r - p))).passed


def test_an_answer_may_spoil_what_it_was_given():
    def spoiling(predicted, reference):
        predicted -= reference
        return to_kcal(np.abs(predicted).mean())

    assert lessons.check_force_error(spoiling).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda p, r: np.abs(p - r).mean(), "eV/Å"),
        (lambda p, r: np.abs(p - r).mean() / 23.06, "multiply"),
        (lambda p, r: to_kcal((p - r).mean()), "absolute"),
        (lambda p, r: to_kcal(np.sqrt(((p - r) ** 2).mean())), "root-mean-square"),
        (lambda p, r: to_kcal(np.linalg.norm(p - r, axis=-1).mean()), "length"),
        (lambda p, r: to_kcal(np.abs(p - r).sum()), "sum"),
        (lambda p, r: np.sqrt(((p - r) ** 2).mean()), "Then convert"),
        (lambda p, r: 7.0, "expected"),
        (lambda p, r: np.abs(p - r), "one number"),
        (lambda p, r: np.nan, "nan"),
    ],
)
def test_force_error_wrong(answer, word):
    wrong(lessons.check_force_error(answer), word)


def reflect(v, n):
    return v - 2 * (v @ n)[..., None] * n


def test_mirror_right():
    assert lessons.check_mirror(reflect).passed
    assert lessons.check_mirror(lambda v, n: v @ (np.eye(3) - 2 * np.outer(n, n))).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda v, n: v, "nothing has changed"),
        (lambda v, n: v - (v @ n)[..., None] * n, "flattened"),
        (lambda v, n: -v, "inversion"),
        (lambda v, n: -reflect(v, n), "rotation"),
        (lambda v, n: v - 2 * (v @ n)[..., None], "times n"),
        (lambda v, n: v * [-1, 1, 1], "elsewhere"),
        (lambda v, n: 2 * (v @ n)[..., None] * n, "subtract it"),
        (lambda v, n: (v @ n)[..., None] * n, "twice"),
        (lambda v, n: v + 2 * (v @ n)[..., None] * n, "you added"),
        (lambda v, n: v - 2 * v * n, "use @"),
        (lambda v, n: v - 2 * (v * n) * n, "use @"),
        (lambda v, n: 2 * v, "no reflection"),
        (lambda v, n: v @ n, "shape (4, 9)"),
    ],
)
def test_mirror_wrong(answer, word):
    wrong(lessons.check_mirror(answer), word)


def loudest(values, chosen, answer):
    return answer[np.where(chosen, values, -np.inf).argmax()]


def sizes(record):
    return np.abs(record.feature.weighted).sum(axis=(0, 2))


def test_listener_right():
    assert lessons.check_listener(
        lambda rec, atom: loudest(sizes(rec), rec.sender == atom, rec.receiver)
    ).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda rec, a: loudest(sizes(rec), rec.receiver == a, rec.sender), "speaks"),
        (lambda rec, a: a, "itself"),
        (
            lambda rec, a: loudest(
                rec.feature.weighted.sum(axis=(0, 2)), rec.sender == a, rec.receiver
            ),
            "signed",
        ),
        (
            lambda rec, a: loudest(
                np.abs(rec.feature.coefficient).sum(axis=(0, 2)), rec.sender == a, rec.receiver
            ),
            "before the cutoff",
        ),
        (
            lambda rec, a: loudest(
                np.abs(rec.feature.weighted[0]).sum(axis=-1), rec.sender == a, rec.receiver
            ),
            "first layer",
        ),
        (
            lambda rec, a: loudest(
                np.abs(rec.feature.weighted[-1]).sum(axis=-1), rec.sender == a, rec.receiver
            ),
            "last layer",
        ),
        (
            lambda rec, a: loudest(
                np.abs(rec.feature.weighted.sum(axis=(0, 2))), rec.sender == a, rec.receiver
            ),
            "not after",
        ),
        (
            lambda rec, a: loudest(
                np.abs(rec.feature.weighted).max(axis=(0, 2)), rec.sender == a, rec.receiver
            ),
            "largest number",
        ),
        (lambda rec, a: np.where(rec.sender == a, sizes(rec), 0).argmax(), "place of a pair"),
        (lambda rec, a: 0, "listens most"),
        (lambda rec, a: 0.5, "index"),
        (lambda rec, a: np.nan, "index"),
    ],
)
def test_listener_wrong(answer, word):
    wrong(lessons.check_listener(answer), word)


def test_feedback_is_safe_to_show_as_html():
    shown = lessons.Feedback(lessons.WRONG, "<script>")._repr_html_()
    assert "<script>" not in shown and "not yet" in shown


def longest_chain(cutoff, across=0.93, ends=2):
    seen = int((np.sqrt(cutoff**2 - across**2) - 0.55) / 1.28)
    return 1 + ends * seen + int(cutoff / 1.28)


def test_longest_chain_passes_and_its_mistakes_are_named():
    check = lessons.check_longest_chain
    assert check(longest_chain).passed
    wrong(check(lambda c: longest_chain(c, ends=1)), "one end only")
    wrong(check(lambda c: longest_chain(c, across=0)), "off the axis")
    wrong(check(lambda c: longest_chain(c) + 1), "one too many")
    wrong(check(lambda c: 1 + int((3 * c - 1.1) / 1.28)), "three cutoffs are the limit")
    wrong(check(lambda c: 7), "yours says 7")


def nearness(X, kappa, sign=1, own=False, axis=1, power=1):
    weight = np.exp(sign * X) * (1.0 if own else ~np.eye(len(X), dtype=bool))
    t = weight / weight.sum(axis=axis, keepdims=True) * len(X) / kappa**power
    t = np.clip(t, 0, 1)
    value = 1 - 28 * t**6 + 48 * t**7 - 21 * t**8
    return np.where(np.eye(len(X), dtype=bool), 0, value)


def test_nearness_passes_and_its_mistakes_are_named():
    check = lessons.check_nearness
    assert check(nearness).passed
    wrong(check(lambda X, k: nearness(X, k, sign=-1)), "softmax is of +X")
    wrong(check(lambda X, k: nearness(X, k, own=True)), "leave out j = i")
    wrong(check(lambda X, k: nearness(X, k, axis=0)), "each row")
    wrong(check(lambda X, k: nearness(X, k, power=-1)), "Divide by it")
    wrong(check(lambda X, k: nearness(X, k) + np.eye(len(X))), "diagonal")
    wrong(check(lambda X, k: 0.5 * nearness(X, k)), "yours is")


def test_charge_floor_passes_and_its_mistakes_are_named():
    check = lessons.check_charge_floor
    assert check(lambda a, b: np.sqrt(np.mean(((a - b) / 2) ** 2))).passed
    wrong(check(lambda a, b: np.sqrt(np.mean((a - b) ** 2))), "halfway")
    wrong(check(lambda a, b: np.abs(a - b).mean() / 2), "root-mean-square")
    wrong(check(lambda a, b: np.std(a - b) / 2), "mean gap")
    wrong(check(lambda a, b: 17.0), "yours gives 17")
