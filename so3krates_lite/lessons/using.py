"""Checks of lesson 12, using a force field."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from so3krates_lite.lessons.feedback import Attempt, Wrong, exercise, of_shape, one_number, refuse
from so3krates_lite.units import AMU_A2_FS2, BOLTZMANN, MODE_WAVENUMBER, WAVENUMBER


@exercise
def check_spring_wavenumber(spring_wavenumber: Attempt) -> str:
    """Lesson 12, exercise 1: ``spring_wavenumber(k, m_1, m_2)``, eV/Å² and amu to cm⁻¹."""
    k, one, other = 37.0, 1.7, 14.0
    mu = one * other / (one + other)
    value, right = one_number(spring_wavenumber(k, one, other)), MODE_WAVENUMBER * np.sqrt(k / mu)
    if np.isclose(value, right, rtol=1e-3):
        return "the lighter atom decides, for it moves most."
    mistakes = {
        "a frequency goes with the root of the force constant over the mass.": (
            MODE_WAVENUMBER * k / mu
        ),
        "that is the square; take the root.": MODE_WAVENUMBER**2 * k / mu,
        "two masses on one spring swing with the reduced mass m₁m₂/(m₁+m₂), not with their sum.": (
            MODE_WAVENUMBER * np.sqrt(k / (one + other))
        ),
        "the reduced mass is m₁m₂/(m₁+m₂); yours is its inverse.": MODE_WAVENUMBER
        * np.sqrt(k * mu),
        "the reduced mass is the product over the sum; half of the sum is a mean.": MODE_WAVENUMBER
        * np.sqrt(2 * k / (one + other)),
        "the factor of 521.47 cm⁻¹ holds the units and 2π; multiply by it.": (
            np.sqrt(k / mu),
            np.sqrt(k / mu) / (2 * np.pi),
        ),
        "521.47 cm⁻¹ holds the 2π already.": (
            right / (2 * np.pi),
            right * 2 * np.pi,
        ),
    }
    refuse(value, mistakes, rtol=1e-3)
    where = "for k = 37 eV/Å² between 1.7 and 14 amu"
    raise Wrong(f"{where} {right:.1f} cm⁻¹ is expected, not {value:.1f}.")


@exercise
def check_zero_point_energy(zero_point_energy: Attempt) -> str:
    """Lesson 12, exercise 2: ``zero_point_energy(wavenumbers)``, cm⁻¹ to eV."""
    wavenumbers = np.array([-310.0, 150.0, 1200.0, 3100.0])
    quanta = wavenumbers * WAVENUMBER
    value, right = one_number(zero_point_energy(wavenumbers)), quanta[1:].sum() / 2
    if np.isclose(value, right, rtol=1e-3):
        return "half a quantum of every mode that swings."
    mistakes = {
        "half a quantum of each mode, not a whole one.": 2 * right,
        "an imaginary mode, here given as negative, does not swing: leave it out.": (
            quanta.sum() / 2,
            np.abs(quanta).sum() / 2,
        ),
        "that is in cm⁻¹: one is 1.23984e-4 eV.": right / WAVENUMBER,
        "you divided by 1.23984e-4; a wave number times that is eV.": right / WAVENUMBER**2,
        "sum over the modes; yours is a mean.": (quanta[1:].mean() / 2, quanta.mean() / 2),
    }
    refuse(value, mistakes, rtol=1e-3)
    raise Wrong(f"of −310, 150, 1200, 3100 cm⁻¹ {right:.4f} eV is expected, not {value:.4f}.")


@exercise
def check_kinetic_temperature(kinetic_temperature: Attempt) -> str:
    """Lesson 12, exercise 3: ``kinetic_temperature(m, v, rigid)``, amu and Å/fs to K."""
    rng = np.random.default_rng(12)
    m, v = np.array([1.0, 12.0, 16.0, 1.0, 1.0]), rng.normal(0, 0.01, (5, 3))
    rigid, twice = 6, float((m[:, None] * v**2).sum() * AMU_A2_FS2)
    value = one_number(kinetic_temperature(m, v, rigid))
    right = twice / (BOLTZMANN * (3 * len(m) - rigid))
    if np.isclose(value, right, rtol=1e-3):
        return "twice the kinetic energy, shared among the motions that are free."
    mistakes = {
        "the whole is at rest: 3n − rigid motions share the energy, not 3n.": (
            twice / (BOLTZMANN * 3 * len(m))
        ),
        "3n motions less the rigid ones; n is the number of atoms.": twice
        / (BOLTZMANN * abs(len(m) - rigid)),
        "each motion has kT/2 of kinetic energy, so T is twice the energy over k.": right / 2,
        "the kinetic energy is m v²/2: your temperature is twice too high.": 2 * right,
        "amu (Å/fs)² are no eV: multiply by 103.64.": right / AMU_A2_FS2,
        "that is k T in eV: divide by k.": right * BOLTZMANN,
        "k is in eV/K: divide by it, do not multiply.": right * BOLTZMANN**2,
        "each atom has its own mass: put it on the first axis, as m[:, None].": float(
            m.mean() * (v**2).sum() * AMU_A2_FS2
        )
        / (BOLTZMANN * (3 * len(m) - rigid)),
    }
    refuse(value, mistakes, rtol=1e-3)
    raise Wrong(f"on a small example {right:.1f} K is expected, yours gives {value:.1f}.")


@exercise
def check_force_deviation(force_deviation: Attempt) -> str:
    """Lesson 12, exercise 4: ``force_deviation(F)``, (members, atoms, 3) to (atoms,)."""
    F = np.random.default_rng(4).normal(size=(4, 6, 3)) * np.arange(1, 7)[:, None]
    what = "one deviation per atom"
    value = of_shape(force_deviation(F), (6,), what)
    right = np.sqrt(F.var(axis=0, ddof=1).sum(axis=1))
    if np.allclose(value, right, rtol=1e-4):
        return "a length: it does not change when the molecule is turned."
    std = F.std(axis=0, ddof=1)
    mistakes: dict[str, Float[np.ndarray, "..."] | tuple] = {
        "of few members the sample's variance is meant: divide by K − 1 (ddof=1).": np.sqrt(
            F.var(axis=0).sum(axis=1)
        ),
        "that is the variance; take the root of the sum.": right**2,
        "add up variances, not deviations: your number changes when the molecule is turned.": (
            std.sum(axis=1),
            std.mean(axis=1),
            std.max(axis=1),
        ),
        "a sum over the three components is asked for, not a mean.": right / np.sqrt(3),
        "the length of the force deviates less than the force: directions count, too.": (
            np.linalg.norm(F, axis=2).std(axis=0, ddof=1)
        ),
        "the members are on the first axis; yours is the deviation over something else.": (
            np.linalg.norm(F.mean(axis=0), axis=1)
        ),
    }
    refuse(value, mistakes, rtol=1e-4)
    raise Wrong(f"for the first atom {right[0]:.3f} is expected, yours gives {value[0]:.3f}.")
