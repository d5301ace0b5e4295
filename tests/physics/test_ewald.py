"""Electrostatics over all images of a cell, against a sum made by hand with another split."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy.special import erfc
from small import PHYSICS, frame_of, molecule, small_config, small_potential, stack

from so3krates_lite.errors import UserError
from so3krates_lite.physics.constants import COULOMB
from so3krates_lite.physics.electrostatics import SIGMA, ewald
from so3krates_lite.simulate.calculator import So3kratesCalculator
from so3krates_lite.structures.batching import make_batch

pytestmark = pytest.mark.usefixtures("quick_compilation")

CELL = np.array([[5.0, 0.3, 0.0], [-0.4, 6.0, 0.5], [0.2, 0.0, 7.0]])
R = np.array([[0.2, 0.1, 0.3], [1.2, 0.4, -0.2], [0.1, 1.3, 0.9], [2.9, 3.2, 3.1]])
FREE = small_potential(small_config((1, 2), "so3lr", **PHYSICS))
SUMMED = FREE.with_long_cutoff(6.0, ewald=True)


def boxed(positions=R, cell=CELL, numbers=(8, 1, 1, 6)):
    n = len(positions) // len(numbers)
    electrons = {"total_charge": np.zeros(1), "spin_multiplicity": np.ones(1, int)}
    pbc = np.ones((1, 3), bool)
    return frame_of(list(numbers) * n, positions, cell=cell[None], pbc=pbc, **electrons)


def by_hand(q: np.ndarray, cell: np.ndarray = CELL, positions: np.ndarray = R) -> float:
    """Sum over pairs and images of k q q erf(d / sigma) / d, an atom with itself left out, eV.

    As the whole Coulomb sum, split at another width (eta), less that of erfc(d / sigma) / d.
    """
    eta, images = 1.3, np.array(list(np.ndindex(15, 15, 15))) - 7
    shift = images @ cell
    short = 0.0
    for i in range(len(q)):
        for j in range(len(q)):
            d = np.linalg.norm(positions[j] - positions[i] + shift, axis=1)
            if i == j:
                d = d[d > 0]
            parts = erfc(d / eta) / d - erfc(d / SIGMA) / d
            short += q[i] * q[j] / 2 * parts.sum()
    n = images[(images != 0).any(axis=1)]
    k = 2 * np.pi * n @ np.linalg.inv(cell).T
    k2 = (k**2).sum(axis=1)
    structure = (q * np.exp(1j * k @ positions.T)).sum(axis=1)
    waves = np.exp(-k2 * eta**2 / 4) / k2 * np.abs(structure) ** 2
    long = 2 * np.pi / np.linalg.det(cell) * waves.sum()
    itself = (q**2).sum() / (eta * np.sqrt(np.pi))
    return COULOMB * (short + long - itself)


def test_the_energy_is_that_of_a_sum_with_another_split():
    q = np.array([-0.7, 0.4, 0.5, -0.2])
    batch = make_batch(boxed(), SUMMED.config, dtype=np.float64)
    images = batch.images
    with jax.enable_x64(True):
        moved = np.zeros((4, 3))
        found = jax.jit(ewald)(q, images.places[0], moved, batch.cell[0], images.waves[0])
    assert np.asarray(found).sum() == pytest.approx(by_hand(q), rel=1e-8)


@pytest.fixture(scope="module")
def answers():
    """The box, moved, strained, doubled and shifted, in one batch of one shape each."""
    potential, h = SUMMED, 1e-4
    images = [boxed()]
    for sign in (1, -1):
        for direction in np.eye(12).reshape(12, 4, 3)[:6]:
            images.append(boxed(R + sign * h * direction))
        for a, b in ((0, 0), (1, 2), (0, 1)):
            strain = np.eye(3)
            strain[a, b] += sign * h / 2
            strain[b, a] += sign * h / 2
            images.append(boxed(R @ strain, CELL @ strain))
    images.append(boxed(R + np.array([[1, 0, -2], [0, 3, 0], [0, 0, 0], [-1, 0, 0]]) @ CELL))
    one = potential.predict(stack(*images), stress=True)
    double = np.diag([2.0, 1, 1]) @ CELL
    two = potential.predict(boxed(np.concatenate([R, R + CELL[0]]), double), stress=True)
    return one, two, h


def test_forces_and_stress_are_slopes(answers):
    one, _, h = answers
    slopes = (one.energy[1:10] - one.energy[10:19]) / (2 * h)
    np.testing.assert_allclose(one.forces[0].ravel()[:6], -slopes[:6], rtol=1e-6, atol=1e-6)
    stress = [one.stress[0][c] for c in ((0, 0), (1, 2), (0, 1))]
    np.testing.assert_allclose(stress, slopes[6:] / np.linalg.det(CELL), rtol=1e-6, atol=1e-7)


def test_images_and_larger_cells_change_nothing(answers):
    one, two, _ = answers
    assert one.energy[19] == pytest.approx(one.energy[0], abs=1e-9)
    np.testing.assert_allclose(one.forces[19], one.forces[0], atol=1e-9)
    assert two.energy[0] == pytest.approx(2 * one.energy[0], rel=1e-9)
    np.testing.assert_allclose(two.forces[0, 4:], one.forces[0], atol=1e-8)
    np.testing.assert_allclose(two.stress[0], one.stress[0], atol=1e-9)


def test_in_a_wide_cell_a_molecule_is_free():
    frame = molecule(5, seed=1).replace(total_charge=np.zeros(1), spin_multiplicity=np.ones(1, int))
    free = FREE.properties(frame)
    differences = []
    for edge in (20.0, 30.0):
        box = frame.replace(cell=edge * np.eye(3)[None], pbc=np.ones((1, 3), bool))
        found = SUMMED.properties(box)
        differences.append(found.terms["electrostatics"][0] - free.terms["electrostatics"][0])
    dipole = np.linalg.norm(free.dipole)  # images of a dipole add -2 pi k p^2 / (3 V)
    expected = -2 * np.pi / 3 * COULOMB * dipole**2 / np.array([20.0, 30.0]) ** 3
    np.testing.assert_allclose(differences, expected, rtol=0.1)


def test_the_calculator_moves_atoms_from_where_they_were_listed():
    atoms = boxed().to_atoms()[0]
    atoms.calc = So3kratesCalculator(SUMMED, total_charge=0, spin_multiplicity=1)
    atoms.get_potential_energy()
    atoms.positions[3] += [0.05, -0.03, 0.04]
    kept = atoms.get_forces(), atoms.get_stress()
    assert atoms.calc.n_lists == 1
    atoms.calc.reset()
    np.testing.assert_allclose(kept[0], atoms.get_forces(), atol=1e-9)
    np.testing.assert_allclose(kept[1], atoms.get_stress(), atol=1e-10)


def test_what_has_no_cell_is_refused():
    with pytest.raises(UserError, match="frame 0 is not periodic in three directions"):
        SUMMED.predict(frame_of([8, 1], [[0.0, 0, 0], [1, 0, 0]]))
    with pytest.raises(UserError, match="ewald"):
        small_config(ewald=True)
    with pytest.raises(UserError, match="sees no further"):
        small_potential(small_config()).with_long_cutoff(None, ewald=True)
