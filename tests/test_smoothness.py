"""Where symmetry lets a degree of the SPHCs vanish, a length is a cone, and a rounded one is not.

At the carbon of methane the degrees 1 and 2 of chi are zero, in a cubic crystal 1, 2 and 3 are.
The paper's norm makes the energy a cone there; with a smooth length it is as smooth as elsewhere.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from small import frame_of, small_config, small_potential, stack

from so3krates_lite.harmonics import degree_norms, smooth_degree_norms
from so3krates_lite.safe import ROUNDED, smooth_sqrt

pytestmark = pytest.mark.usefixtures("quick_compilation")

CORNERS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
METHANE = np.concatenate([np.zeros((1, 3)), 1.09 * CORNERS])
AXES = np.eye(3)
STEPS = (0.02, 0.01, 0.002)  # Å
FCC = 1.7 * (np.ones((3, 3)) - np.eye(3))  # one atom, its twelve neighbours at 2.4 Å
SHEARS = (0.02, 0.01, 0.002)
TINY = 1e-6  # Å


def methane(displacement=(0, 0, 0)):
    """The carbon moved by ``displacement`` (Å)."""
    positions = METHANE.copy()
    positions[0] += displacement
    return frame_of([6, 1, 1, 1, 1], positions)


def potential(variant: str):
    config = small_config((1, 2, 3), variant, sphc_start="smooth" if variant == "paper" else None)
    return small_potential(config)


@lru_cache
def forces_on_the_carbon(variant: str) -> tuple[np.ndarray, np.ndarray]:
    """In eV/Å, moved by each of `STEPS` along each axis back and forth; and by `TINY` along x."""
    images = [methane(s * h * axis) for h in STEPS for axis in AXES for s in (-1, 1)]
    images += [methane(s * TINY * AXES[0]) for s in (-1, 1)]
    forces = potential(variant).predict(stack(*images)).forces[:, 0]
    return forces[:-2].reshape(len(STEPS), 3, 2, 3), forces[-2:]


def frequencies(variant: str) -> np.ndarray:
    """The carbon's three frequencies (cm^-1) against fixed hydrogens, for each size of a step.

    The threefold mode of a central force constant k and the carbon's mass; of a k below zero, the
    imaginary part, as a negative number.
    """
    k = [
        np.linalg.eigvalsh(-(found[:, 1] - found[:, 0]) / (2 * h))
        for found, h in zip(forces_on_the_carbon(variant)[0], STEPS, strict=True)
    ]
    # sqrt(1 eV/Å^2 / 12.011 u) / (2 pi c) is 150.4 cm^-1
    return 150.4 * np.sign(k) * np.sqrt(np.abs(k))


def test_methane_s_frequencies_do_not_depend_on_the_step():
    found = frequencies("smooth")
    assert np.abs(found).min() > 10
    assert np.ptp(found, axis=0).max() < 0.01 * np.abs(found).max()
    # what depends on it falls with its square
    assert np.abs(found[1] - found[2]).max() < 0.3 * np.abs(found[0] - found[2]).max()


def test_with_the_paper_s_norm_methane_s_frequencies_have_no_limit():
    """The cone: a force constant of a constant force over the step."""
    found = np.abs(frequencies("paper"))
    np.testing.assert_allclose(found[2] / found[1], np.sqrt(STEPS[1] / STEPS[2]), rtol=0.1)


def test_one_sided_derivatives_agree():
    """A tiny step to either side, along x, forces are minus the one-sided slopes."""
    left, right = forces_on_the_carbon("smooth")[1][:, 0]
    assert abs(left - right) < 1e-4
    left, right = forces_on_the_carbon("paper")[1][:, 0]
    assert abs(left - right) > 0.1 and abs(left + right) < 1e-3 * abs(left)


def sheared(size: float):
    strain = np.eye(3)
    strain[0, 1] = strain[1, 0] = size / 2
    return frame_of([6], [[0, 0, 0]], cell=(FCC @ strain)[None], pbc=np.ones((1, 3), bool))


def moduli(variant: str) -> np.ndarray:
    """Energy of a shear over half its square (eV), for each size: of a crystal, a constant."""
    energy = potential(variant).predict(stack(sheared(0), *map(sheared, SHEARS))).energy
    return (energy[1:] - energy[0]) / (np.square(SHEARS) / 2)


def test_shear_of_a_cubic_crystal_is_elastic():
    found = moduli("smooth")
    assert np.abs(found).min() > 0.1
    assert np.ptp(found) < 0.05 * np.abs(found).max()


def test_with_the_paper_s_norm_shear_costs_energy_in_proportion():
    found = moduli("paper")
    np.testing.assert_allclose(found[2] / found[1], SHEARS[1] / SHEARS[2], rtol=0.2)


def test_a_smooth_length_is_the_length_less_its_tip():
    degrees = (1, 2)
    chi = np.array([[0, 0, 0, 3.0, 0, 0, 0, 4.0], [1e-3, 0, 0, 0, 0, 0, 0, 0]], np.float32)
    length = np.asarray(degree_norms(chi, degrees))
    found = np.asarray(smooth_degree_norms(chi, degrees))
    np.testing.assert_allclose(found[0], [0, np.sqrt(25 + ROUNDED**2) - ROUNDED], rtol=1e-6)
    np.testing.assert_allclose(found[1], [1e-6 / (2 * ROUNDED), 0], rtol=1e-4)
    assert (found <= length).all()


def test_a_smooth_length_loses_no_digit_near_zero():
    square = np.array(1e-10, np.float32)
    assert float(smooth_sqrt(square)) == pytest.approx(1e-10 / (2 * ROUNDED), rel=1e-6)
