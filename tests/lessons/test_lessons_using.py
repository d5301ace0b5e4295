"""The checks of lesson 12."""

from __future__ import annotations

import numpy as np
import pytest
from answers import wrong
from ase import units

from so3krates_lite import lessons


def spring(k, m_1, m_2, *, mu=None, root=np.sqrt, factor=521.4708):
    mu = m_1 * m_2 / (m_1 + m_2) if mu is None else mu(m_1, m_2)
    return factor * root(k / mu)


def test_spring_wavenumber_right():
    check = lessons.check_spring_wavenumber
    assert check(spring).passed

    def from_scratch(k, m_1, m_2):
        mu = m_1 * m_2 / (m_1 + m_2) * units._amu
        return np.sqrt(k * units._e * 1e20 / mu) / (2 * np.pi * units._c * 100)

    assert check(from_scratch).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda *a: spring(*a, root=lambda x: x), "root of the force constant"),
        (lambda *a: spring(*a) ** 2, "that is the square"),
        (lambda *a: spring(*a, mu=lambda a, b: a + b), "not with their sum"),
        (lambda *a: spring(*a, mu=lambda a, b: (a + b) / (a * b)), "yours is its inverse"),
        (lambda *a: spring(*a, mu=lambda a, b: (a + b) / 2), "is a mean"),
        (lambda *a: spring(*a, factor=1), "multiply by it"),
        (lambda *a: spring(*a) / (2 * np.pi), "2π already"),
        (lambda *a: 1.0, "is expected, not 1.0"),
    ],
)
def test_spring_wavenumber_wrong(answer, word):
    wrong(lessons.check_spring_wavenumber(answer), word)


EV = 1.239842e-4


def test_zero_point_energy_right():
    assert lessons.check_zero_point_energy(lambda w: EV * w[w > 0].sum() / 2).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda w: EV * w[w > 0].sum(), "not a whole one"),
        (lambda w: EV * w.sum() / 2, "leave it out"),
        (lambda w: EV * abs(w).sum() / 2, "leave it out"),
        (lambda w: w[w > 0].sum() / 2, "that is in cm"),
        (lambda w: w[w > 0].sum() / 2 / EV, "you divided"),
        (lambda w: EV * w[w > 0].mean() / 2, "yours is a mean"),
        (lambda w: 1.0, "is expected, not 1.0"),
    ],
)
def test_zero_point_energy_wrong(answer, word):
    wrong(lessons.check_zero_point_energy(answer), word)


def temperature(m, v, rigid, *, unit=103.64270, k=8.617333e-5, freedom=None, half=1.0):
    freedom = 3 * len(m) - rigid if freedom is None else freedom(len(m), rigid)
    return half * unit * (m[:, None] * v**2).sum() / (k * freedom)


def test_kinetic_temperature_right():
    assert lessons.check_kinetic_temperature(temperature).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda *a: temperature(*a, freedom=lambda n, r: 3 * n), "not 3n"),
        (lambda *a: temperature(*a, freedom=lambda n, r: abs(n - r)), "n is the number of atoms"),
        (lambda *a: temperature(*a, half=0.5), "twice the energy"),
        (lambda *a: temperature(*a, half=2.0), "twice too high"),
        (lambda *a: temperature(*a, unit=1.0), "103.64"),
        (lambda *a: temperature(*a, k=1.0), "divide by k"),
        (lambda m, v, r: temperature(0 * m + m.mean(), v, r), "m[:, None]"),
        (lambda *a: 1.0, "is expected, yours gives 1.0"),
    ],
)
def test_kinetic_temperature_wrong(answer, word):
    wrong(lessons.check_kinetic_temperature(answer), word)


def deviation(F):
    return np.sqrt(((F - F.mean(axis=0)) ** 2).sum(axis=(0, 2)) / (len(F) - 1))


def test_force_deviation_right():
    assert lessons.check_force_deviation(deviation).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda F: np.linalg.norm(F.std(axis=0), axis=1), "ddof=1"),
        (lambda F: deviation(F) ** 2, "that is the variance"),
        (lambda F: F.std(axis=0, ddof=1).mean(axis=1), "add up variances"),
        (lambda F: deviation(F) / np.sqrt(3), "not a mean"),
        (lambda F: np.linalg.norm(F, axis=2).std(axis=0, ddof=1), "directions count"),
        (lambda F: F.std(axis=0), "one deviation per atom"),
        (lambda F: np.ones(6), "yours gives 1.000"),
    ],
)
def test_force_deviation_wrong(answer, word):
    wrong(lessons.check_force_deviation(answer), word)
