"""The checks and figures of lesson 1: right answers pass, plausible wrong ones are told why."""

from __future__ import annotations

import json

import numpy as np
import pytest
from answers import wrong

import so3krates_lite as s3
from so3krates_lite import lessons
from so3krates_lite.drawing import scene
from so3krates_lite.lessons import molecules_figures

FACTOR = 51.42206747632595  # eV/Å per Hartree/bohr
HARTREE, BOHR, KCAL = 27.211386245988, 0.529177210903, 23.0605


def test_gradient_to_force_passes():
    assert lessons.check_gradient_to_force(lambda g: -g * HARTREE / BOHR).passed
    assert lessons.check_gradient_to_force(lambda g: -51.422 * g).passed


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1.0, ["as it was", "sign"]),
        (-1.0, ["sign is right", "units"]),
        (FACTOR, ["downhill"]),
        (-HARTREE, ["per bohr is still per bohr"]),
        (HARTREE, ["per bohr is still per bohr", "downhill"]),
        (-HARTREE * BOHR, ["multiplied", "divide"]),
        (-1 / FACTOR, ["upside down"]),
        (-1 / BOHR, ["energy is not"]),
        (-FACTOR * KCAL, ["kcal/mol"]),
        (-3.0, ["is a force of"]),
    ],
)
def test_gradient_to_force_names_the_mistake(factor, words):
    wrong(lessons.check_gradient_to_force(lambda g: factor * g), *words)


def cosine(d, cutoff):
    return np.where(d < cutoff, 0.5 * (np.cos(np.pi * d / cutoff) + 1), 0)


def clipped(d, cutoff):
    return np.minimum(d / cutoff, 1)


@pytest.mark.parametrize(
    "answer",
    [
        lambda d, c: cosine(d, c) ** 2,
        lambda d, c: np.float32(cosine(np.float32(d), c) ** 2),
        lambda d, c: 1 - 10 * clipped(d, c) ** 3 + 15 * clipped(d, c) ** 4 - 6 * clipped(d, c) ** 5,
        lambda d, c: (1 - clipped(d, c)) ** 3,
        lambda d, c: (
            1 - 28 * clipped(d, c) ** 6 + 48 * clipped(d, c) ** 7 - 21 * clipped(d, c) ** 8
        ),
        lambda d, c: np.where(d < c, np.exp(-(d**2) / np.maximum(c**2 - d**2, 1e-9)), 0),
    ],
)
def test_any_smooth_enough_cutoff_passes(answer):
    assert lessons.check_smoother_cutoff(answer).passed


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (cosine, ["curvature"]),
        (lambda d, c: (1 - clipped(d, c)) ** 2, ["curvature"]),
        (lambda d, c: 1 - clipped(d, c), ["slope"]),
        (lambda d, c: 1 - clipped(d, c) ** 2, ["slope"]),
        (lambda d, c: np.where(d < c, 1.0, 0.0), ["jumps by 1.00"]),
        (lambda d, c: np.where(d < c, np.exp(-d / c), 0.0), ["jumps"]),
        (lambda d, c: (0.5 * (np.cos(np.pi * d / c) + 1)) ** 2, ["beyond the cutoff"]),
        (lambda d, c: 2 * cosine(d, c) ** 2, ["at distance 0"]),
        (lambda d, c: 0 * d, ["at distance 0"]),
        (lambda d, c: cosine(d, c) ** 2 * (1 + np.sin(3 * d)), ["never rise"]),
        (lambda d, c: cosine(d, 5.0) ** 2, ["not for 3.2 Å", "beyond the cutoff"]),
        (lambda d, c: np.where(d < c, d / 0 * np.nan, 0) if d[0] else d * np.nan, ["no finite"]),
        (lambda d, c: cosine(d, c)[:5], ["your function returned"]),
    ],
)
def test_a_cutoff_that_is_not_smooth_is_told_where(answer, words):
    wrong(lessons.check_smoother_cutoff(answer), *words)


def judge(
    shift=True,
    turn="random",
    mirror=True,
    order="both",
    compare=lambda a, b: np.isclose(a, b, rtol=1e-5),
):
    def is_invariant(energy, R, Z):
        rng = np.random.default_rng(5)
        Q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        Q = Q * np.sign(np.linalg.det(Q))
        if turn in ("x", "y", "z"):
            axis, a = "xyz".index(turn), 0.7
            Q = np.eye(3)
            u, v = (axis + 1) % 3, (axis + 2) % 3
            Q[u, u] = Q[v, v] = np.cos(a)
            Q[u, v], Q[v, u] = -np.sin(a), np.sin(a)
        if turn == "quarter":
            Q = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
        if turn == "skew":
            Q = rng.normal(size=(3, 3))
        p = np.array([3, 5, 1, 2, 4, 0])
        copies = [(R @ Q.T, Z)] if turn else []
        copies += [(R + 1.3, Z)] if shift else []
        copies += [(-R, Z)] if mirror else []
        copies += [(R[p], Z[p])] if order == "both" else []
        copies += [(R[p], Z)] if order == "R" else []
        copies += [(R[:-1], Z[:-1])] if order == "less" else []
        return all(compare(energy(*copy), energy(R, Z)) for copy in copies)

    return is_invariant


def test_a_complete_test_of_invariance_passes():
    assert lessons.check_invariance_test(judge()).passed
    assert lessons.check_invariance_test(lambda e, R, Z: bool(judge()(e, R, Z))).passed


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (judge(shift=False), ["where in space"]),
        (judge(turn=None), ["one direction in space, x"]),
        (judge(turn="x"), ["one direction in space, x", "that axis only"]),
        (judge(turn="y"), ["one direction in space, y"]),
        (judge(turn="z"), ["one direction in space, z"]),
        (judge(turn="quarter"), ["quarter"]),
        (judge(turn="skew"), ["no symmetry", "orthogonal"]),
        (judge(mirror=False), ["left from right"]),
        (judge(order=None), ["order"]),
        (judge(order="R"), ["without their elements"]),
        (judge(order="less"), ["shape (5, 3)"]),
        (judge(compare=lambda a, b: a == b), ["isclose"]),
        (lambda e, R, Z: True, ["where in space"]),
        (lambda e, R, Z: False, ["stayed the same"]),
        (lambda e, R, Z: "yes", ["True or False"]),
        (lambda e, R, Z: np.isclose(R, R), ["shape (6, 3)"]),
    ],
)
def test_a_test_of_invariance_with_a_hole_is_told_which(answer, words):
    wrong(lessons.check_invariance_test(answer), *words)


def test_exact_comparison_is_excused_by_no_luck_of_rounding():
    for seed in range(5):
        Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]

        def exact(energy, R, Z, Q=Q):
            return bool(energy(R @ Q.T, Z) == energy(R, Z))

        wrong(lessons.check_invariance_test(exact), "False of a sound energy")


def counted(*ends, n):
    return np.bincount(np.concatenate(ends), minlength=n)


def overwritten(f, s, m, n):
    out = np.zeros(n)
    out[f[m]] += 1
    out[s[m]] += 1
    return out


def test_neighbour_count_passes():
    def right(f, s, m, n):
        return counted(f[m], s[m], n=n)

    assert lessons.check_neighbour_count(right).passed


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda f, s, m, n: counted(f, s, n=n), ["padded"]),
        (lambda f, s, m, n: counted(f[m], n=n), ["two ends", "second"]),
        (lambda f, s, m, n: counted(s[m], n=n), ["two ends", "first"]),
        (lambda f, s, m, n: counted(f, n=n), ["padded", "first end"]),
        (lambda f, s, m, n: counted(f[~m], s[~m], n=n), ["mask is True"]),
        (overwritten, ["np.add.at"]),
        (lambda f, s, m, n: overwritten(f, s, m | True, n), ["np.add.at"]),
        (lambda f, s, m, n: 2 * counted(f[m], s[m], n=n), ["twice"]),
        (lambda f, s, m, n: counted(f[m], s[m], n=n) / 2, ["halved"]),
        (lambda f, s, m, n: np.bincount(np.concatenate([f[m], s[m]])), ["without neighbours"]),
        (lambda f, s, m, n: np.arange(n), ["in a small example atom 0 has 2"]),
    ],
)
def test_neighbour_count_names_the_mistake(answer, words):
    wrong(lessons.check_neighbour_count(answer), *words)


def test_figures_of_the_lesson_are_valid_json_and_follow_their_sliders():
    frames = s3.load("ethanol-gfn2")
    shown = molecules_figures.neighbour_figure(scene.scene(frames, 0), 0, (1.3, 1.8, 5))
    text = shown.to_json()
    assert "NaN" not in text and len(json.loads(text)["layout"]["sliders"][0]["steps"]) == 3
    titles = [step.args[1]["title.text"] for step in shown.layout.sliders[0].steps]
    assert titles[0] == "C0 has 2 neighbours within 1.3 Å" and "8 neighbours" in titles[2]
    rays, bonds, _ = shown.layout.sliders[0].steps[1].args[0]["x"]
    assert len(rays) == 3 * 4  # four neighbours: a start, an end and a gap each
    assert len(bonds) == 3 * 4  # of eight bonds those that no ray covers
    assert len(shown.data[0].x) == 3 * 2 and len(shown.data[1].x) == 3 * 6

    bars = molecules_figures.basis_slider([1.0, 4.9], 8, 5.0)
    raw, faded = bars.layout.sliders[0].steps[1].args[0]["y"]
    assert max(raw) > 0.9 and max(faded) < 0.01


def test_pair_kinds_are_named_carbon_first():
    numbers, pairs = np.array([1, 8, 6, 6]), np.array([[0, 0, 1, 2], [1, 2, 2, 3]])
    names, kind = molecules_figures.pair_kinds(numbers, *pairs)
    assert [names[k] for k in kind] == ["O–H", "C–H", "C–O", "C–C"]
