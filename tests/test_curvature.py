"""Second derivatives are those of the forces, and the dipole's are those of the charges."""

from __future__ import annotations

import numpy as np
import pytest
from small import PHYSICS, deviation, frame_of, molecule, small_config, small_potential, stack

from so3krates_lite.config import GeomAttConfig
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential

pytestmark = pytest.mark.usefixtures("quick_compilation")

STEP = 1e-4
RULE = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}  # five points: error of order STEP^4

ATOMS = 5
FRAME = molecule(ATOMS, seed=3)
GEOMATT = GeomAttConfig(orders=(2, 3), features=8, inner=8, layers=1)
MODELS = {
    "paper": lambda: small_potential(small_config()),
    "so3lr": lambda: small_potential(small_config(variant="so3lr", **PHYSICS)),
    "geomatt": lambda: Potential.random(GEOMATT, precision="float64"),
}


def moved(direction: np.ndarray):
    """The molecule at the five points' places along a direction (atoms, 3)."""
    return [FRAME.replace(positions=FRAME.positions + k * STEP * direction[None]) for k in RULE]


def slope(values: np.ndarray) -> np.ndarray:
    return np.tensordot(list(RULE.values()), values, axes=1) / STEP


@pytest.fixture(scope="module", params=MODELS)
def of_model(request):
    """A potential, its Hessian, and that by finite differences of forces."""
    potential = MODELS[request.param]()
    images = [one for axis in np.eye(3 * ATOMS) for one in moved(axis.reshape(ATOMS, 3))]
    forces = potential.predict(stack(FRAME, *images)).forces[1:].reshape(-1, 4, ATOMS, 3)
    numeric = -np.stack([slope(column) for column in forces]).reshape(ATOMS, 3, ATOMS, 3)
    return potential, potential.hessian(FRAME), numeric


def test_hessian_is_minus_the_slope_of_the_forces(of_model):
    _, hessian, numeric = of_model
    assert deviation(hessian, numeric) < 1e-7


def test_hessian_is_symmetric_and_blind_to_translations(of_model):
    _, hessian, _ = of_model
    assert deviation(hessian, hessian.transpose(2, 3, 0, 1)) < 1e-12
    assert np.abs(hessian.sum(axis=2)).max() < 1e-11 * np.abs(hessian).max()


def test_product_with_a_direction_needs_no_hessian(of_model):
    potential, hessian, _ = of_model
    directions = np.random.default_rng(1).normal(size=(2, ATOMS, 3))
    expected = np.einsum("iajb,kjb->kia", hessian, directions)
    assert deviation(potential.hessian_product(FRAME, directions), expected) < 1e-12


def test_padding_changes_no_second_derivative():
    potential = MODELS["paper"]()
    padded = stack(FRAME, molecule(7, seed=4))[0]
    assert padded.numbers.shape[1] == 7
    assert deviation(potential.hessian(padded), potential.hessian(FRAME)) < 1e-12


def test_dipole_derivatives_are_slopes_of_the_dipole():
    potential = MODELS["so3lr"]()
    found = potential.dipole_derivatives(FRAME)
    direction = np.random.default_rng(2).normal(size=(ATOMS, 3))
    dipoles = potential.properties(stack(*moved(direction))).dipole
    assert deviation(np.einsum("ajb,jb->a", found, direction), slope(dipoles)) < 1e-8


def test_dipole_of_a_neutral_molecule_is_blind_to_translations():
    found = MODELS["so3lr"]().dipole_derivatives(FRAME)
    assert np.abs(found.sum(axis=1)).max() < 1e-12  # the total charge, times one


def test_what_has_no_second_derivatives_says_so():
    potential = MODELS["paper"]()
    with pytest.raises(UserError, match="2 were given"):
        potential.hessian(stack(FRAME, FRAME))
    with pytest.raises(UserError, match="no charges"):
        potential.dipole_derivatives(FRAME)
    crystal = frame_of([6], [[0.0, 0, 0]], cell=5 * np.eye(3)[None], pbc=np.ones((1, 3), bool))
    with pytest.raises(UserError, match="periodic"):
        MODELS["so3lr"]().dipole_derivatives(crystal)
