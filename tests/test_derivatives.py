"""Forces and stress are derivatives of the energy, and the energy is smooth where it should be."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import PHYSICS, deviation, frame_of, molecule, small_config, small_potential, stack

from so3krates_lite.energies import energy_and_forces
from so3krates_lite.errors import UserError
from so3krates_lite.runtime.settings import Compiled
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig
from so3krates_lite.training.objective import (
    Labelled,
    Weights,
    errors,
    loss_and_gradient,
    loss_of,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")

STEP = 1e-4
# five-point rule: error of order STEP^4
RULE = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}


def slope(values: np.ndarray) -> np.ndarray:
    """Derivative from energies at -2, -1, 1, 2 steps (first axis)."""
    return np.tensordot(list(RULE.values()), values, axes=1) / STEP


@pytest.mark.parametrize("variant", ["paper", "v0.3", "so3lr"])
def test_forces_are_minus_the_slope_of_the_energy(variant):
    frame = molecule(5, seed=3)
    potential = small_potential(
        small_config(variant=variant, **(PHYSICS if variant == "so3lr" else {}))
    )
    images = [
        frame.replace(positions=frame.positions + step * STEP * direction.reshape(1, 5, 3))
        for step in RULE
        for direction in np.eye(15)
    ]
    energies, forces, _ = potential.predict(stack(frame, *images))
    expected = -slope(energies[1:].reshape(4, 5, 3))
    assert deviation(forces[0], expected) < 1e-8


# -- periodic cells --------------------------------------------------------------------------

RNG = np.random.default_rng(5)
# a strained, rattled diamond cell: two atoms, every vector shorter than the cutoff of 3 Å
CELL = 1.785 * (np.ones((3, 3)) - np.eye(3)) @ (np.eye(3) + RNG.normal(size=(3, 3)) * 0.03)
SITES = np.array([[0.0, 0.0, 0.0], [0.25, 0.25, 0.25]]) @ CELL + RNG.normal(size=(2, 3)) * 0.05
VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def crystal(cell=CELL, positions=SITES, numbers=(6, 8)) -> Frames:
    return frame_of(numbers, positions, cell=cell[None], pbc=np.ones((1, 3), bool))


def strained(component: tuple[int, int], size: float) -> Frames:
    strain = np.zeros((3, 3))
    strain[component] += size / 2
    strain[component[::-1]] += size / 2
    return crystal(CELL @ (np.eye(3) + strain), SITES @ (np.eye(3) + strain))


@pytest.fixture(scope="module", params=["paper", "v0.3", "so3lr"])
def solid(request):
    """Energy, forces and stress of every crystal that the tests below ask for, in one batch."""
    more = {"long_cutoff": 4.9, **PHYSICS} if request.param == "so3lr" else {}
    potential = small_potential(small_config(variant=request.param, **more))
    doubled = np.diag([2.0, 1.0, 1.0]) @ CELL
    tripled = np.diag([1.0, 1.0, 3.0]) @ CELL
    shifted = SITES + np.array([[1, -2, 0], [0, 0, 3]]) @ CELL
    crystals = {
        "cell": crystal(),
        "shifted": crystal(positions=shifted),
        "doubled": crystal(doubled, np.concatenate([SITES, SITES + CELL[0]]), (6, 8) * 2),
        "tripled": crystal(
            tripled, np.concatenate([SITES + k * CELL[2] for k in range(3)]), (6, 8) * 3
        ),
    }
    for step in RULE:
        for k, component in enumerate(VOIGT):
            crystals[f"strain {step} {k}"] = strained(component, step * STEP)
        for k, direction in enumerate(np.eye(6)):
            moved = SITES + step * STEP * direction.reshape(2, 3)
            crystals[f"move {step} {k}"] = crystal(positions=moved)
    place = {name: k for k, name in enumerate(crystals)}
    return place, potential.predict(stack(*crystals.values()), stress=True)


def test_atoms_of_the_small_cell_see_their_own_images():
    pairs = make_batch(crystal(), CONFIG).local
    assert (pairs.first == pairs.second)[pairs.mask].any()


def test_stress_is_the_slope_of_the_energy_with_strain(solid):
    place, found = solid
    energies = [[found.energy[place[f"strain {s} {k}"]] for k in range(6)] for s in RULE]
    volume = abs(np.linalg.det(CELL))
    expected = slope(np.array(energies)) / volume
    stress = found.stress[place["cell"]]
    assert deviation([stress[c] for c in VOIGT], expected) < 1e-8
    assert deviation(stress, stress.T) < 1e-12


def test_forces_in_a_cell_are_minus_the_slope_of_the_energy(solid):
    place, found = solid
    energies = [[found.energy[place[f"move {s} {k}"]] for k in range(6)] for s in RULE]
    expected = -slope(np.array(energies)).reshape(2, 3)
    assert deviation(found.forces[place["cell"], :2], expected) < 1e-8


def test_atoms_moved_by_lattice_vectors_change_nothing(solid):
    place, found = solid
    cell, shifted = place["cell"], place["shifted"]
    assert deviation(found.energy[shifted], found.energy[cell]) < 1e-11
    assert deviation(found.forces[shifted], found.forces[cell]) < 1e-11
    assert deviation(found.stress[shifted], found.stress[cell]) < 1e-11


@pytest.mark.parametrize(("name", "n"), [("doubled", 2), ("tripled", 3)])
def test_energy_and_stress_of_a_supercell_are_those_of_n_cells(solid, name, n):
    place, found = solid
    cell, large = place["cell"], place[name]
    assert deviation(found.energy[large], n * found.energy[cell]) < 1e-11
    assert deviation(found.stress[large], found.stress[cell]) < 1e-11


@pytest.mark.parametrize(("name", "n"), [("doubled", 2), ("tripled", 3)])
def test_forces_in_a_supercell_are_those_in_the_cell(solid, name, n):
    """Atoms that were images are equal atoms now: their SPHCs differ by rounding alone."""
    place, found = solid
    expected = np.tile(found.forces[place["cell"], :2], (n, 1))
    assert deviation(found.forces[place[name], : 2 * n], expected) < 1e-11


def test_stress_of_a_molecule_is_refused():
    with pytest.raises(UserError, match="volume"):
        small_potential(small_config()).predict(molecule(5, seed=3), stress=True)


# -- smoothness at the cutoff ----------------------------------------------------------------


def jumps(start: str, others: bool) -> tuple[np.ndarray, np.ndarray]:
    """How much energy and force differ at ± delta around the cutoff, for delta = 1e-3, 1e-4, 1e-5.

    Two atoms part along x; with ``others`` both keep a third neighbour.
    """
    deltas = [1e-3, 1e-4, 1e-5]
    frames = []
    for delta in deltas:
        for side in (-delta, delta):
            positions = [[0, 0, 0], [3.0 + side, 0, 0], [1.5, 1.1, 0.3]]
            if not others:
                positions[2] = [50, 50, 50]
            frames.append(frame_of([6, 8, 1], positions))
    potential = small_potential(small_config(sphc_start=start))
    energies, forces, _ = potential.predict(stack(*frames))
    energies, forces = energies.reshape(3, 2), forces.reshape(3, 2, 9)
    return np.abs(np.diff(energies, axis=1))[:, 0], np.abs(np.diff(forces, axis=1)).max(axis=(1, 2))


@pytest.mark.parametrize(
    ("start", "others"),
    [("smooth", False), ("zero", False), ("smooth", True), ("zero", True), ("mean", True)],
)
def test_energy_and_force_are_continuous_at_the_cutoff(start, others):
    energy, force = jumps(start, others)
    # C1: both differences vanish with delta, the force's at least in proportion to it
    assert (energy[1:] < 0.2 * energy[:-1] + 1e-12).all() and energy[-1] < 1e-4
    assert (force[1:] < 0.2 * force[:-1] + 1e-10).all() and force[-1] < 1e-3


def test_the_mean_start_jumps_when_the_last_neighbour_leaves():
    energy, _ = jumps("mean", others=False)
    assert energy.min() > 1e-3
    assert np.ptp(energy) < 0.05 * energy.max()


# -- gradient of the loss --------------------------------------------------------------------

FRAMES = stack(molecule(5, seed=3), molecule(3, seed=4), frame_of([1], [[0, 0, 0]]))
COINCIDENT = stack(
    frame_of([8, 6, 1, 1, 6], [[0.3, 0, 0]] * 2 + [[0.4, 1.1, 0.2], [2, 2, 2], [0.5, 0.1, 1.2]]),
    frame_of([6, 6], [[1, 1, 1], [1, 1, 1]]),
    frame_of([1], [[0, 0, 0]]),
)
CONFIG = small_config()
# the last are of no loss that the settings know, but every mean takes part
WEIGHTS = {
    "mse": Weights.of(TrainConfig(loss="mse")),
    "l2mae": Weights.of(TrainConfig(loss="l2mae")),
    "all": Weights(0.1, 0.4, 0.2, 0.3),
}
LENGTHS = TrainConfig(loss="l2mae", energy_weight=0.25, forces_weight=0.5)


def labelled(frames: Frames, dtype=np.float64) -> Labelled:
    rng = np.random.default_rng(6)
    batch = make_batch(frames, CONFIG, atoms=5, pairs=10, dtype=dtype)
    n, atoms = batch.numbers.shape
    forces = rng.normal(size=(n, atoms, 3)).astype(dtype)  # on padding too: it must not count
    weight = np.ones(n, dtype)
    weight[-1] = 0
    return Labelled(batch, rng.normal(size=n).astype(dtype), forces, weight)


@partial(Compiled, once=True)
def quick_gradient(params: dict, target: Labelled, weights: Weights) -> tuple[jax.Array, dict]:
    """CONFIG is the only one used here; closing over it keeps one compilation."""
    return loss_and_gradient(params, target, CONFIG, weights)


@partial(Compiled, once=True)
@jax.value_and_grad
def plain_loss(params: dict, target: Labelled, weights: Weights) -> jax.Array:
    """The weighted mean error, written out, and its gradient."""
    E, F = energy_and_forces(params, target.batch, CONFIG)
    real = (target.batch.numbers > 0) & (target.weight > 0)[:, None]
    real = real.astype(F.dtype)
    square_E = jnp.sum(target.weight * (E - target.energy) ** 2) / jnp.sum(target.weight)
    absolute_E = jnp.sum(target.weight * jnp.abs(E - target.energy)) / jnp.sum(target.weight)
    square_F = jnp.sum(real[..., None] * (F - target.forces) ** 2) / (3 * jnp.sum(real))
    length_F = jnp.sum(real * jnp.linalg.norm(F - target.forces, axis=-1)) / jnp.sum(real)
    means = jnp.stack([square_E, square_F, absolute_E, length_F])
    return jnp.dot(jnp.stack(weights), means)


@pytest.mark.parametrize("loss", WEIGHTS)
def test_the_quick_gradient_of_the_loss_is_the_plain_one(loss):
    with jax.enable_x64(True):
        params, target = small_potential(CONFIG).params, labelled(FRAMES)
        value, gradient = quick_gradient(params, target, WEIGHTS[loss])
        expected_value, expected = plain_loss(params, target, WEIGHTS[loss])
        value, gradient, expected_value, expected = jax.device_get(
            (value, gradient, expected_value, expected)
        )
    assert deviation(value, expected_value) < 1e-12
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
    assert largest > 1e-3
    for mine, plain in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
        assert np.abs(mine - plain).max() < 1e-10 * largest


def test_coincident_atoms_leave_the_gradient_of_the_loss_finite():
    with jax.enable_x64(True):
        params, target = small_potential(CONFIG).params, labelled(COINCIDENT)
        value, gradient = quick_gradient(params, target, WEIGHTS["all"])
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_forces_without_an_error_have_no_slope():
    with jax.enable_x64(True):
        target = labelled(FRAMES)

        def loss(forces):
            return loss_of(errors(target.energy, forces, target), WEIGHTS["all"])

        slope = jax.grad(loss)(target.forces)
    np.testing.assert_array_equal(slope, np.zeros_like(slope))


def test_padding_and_fillers_do_not_count_in_the_errors():
    target = labelled(FRAMES)
    with jax.enable_x64(True):
        sums = errors(target.energy + 2.0, target.forces - 0.5, target)
        loss = float(loss_of(sums, Weights(1.0, 2.0)))
        of_lengths = float(loss_of(sums, Weights.of(LENGTHS)))
    assert float(sums.graphs) == 2 and float(sums.components) == 3 * (5 + 3)
    assert float(sums.energy_square) == pytest.approx(2 * 4.0)
    assert float(sums.energy_absolute) == pytest.approx(2 * 2.0)
    assert float(sums.forces_square) == pytest.approx(24 * 0.25)
    assert float(sums.forces_absolute) == pytest.approx(24 * 0.5)
    assert float(sums.forces_length) == pytest.approx((5 + 3) * 0.75**0.5)
    assert loss == pytest.approx(4.0 + 2 * 0.25)
    assert of_lengths == pytest.approx(0.25 * 2.0 + 0.5 * 0.75**0.5)


@pytest.mark.parametrize("variant", ["paper", "v0.3"])
def test_float32_agrees_with_float64_to_five_digits(variant):
    config = small_config(variant=variant)
    exact = small_potential(config).predict(FRAMES)
    rough = small_potential(config, "float32").predict(FRAMES)
    assert deviation(rough.energy, exact.energy) < 1e-5
    assert deviation(rough.forces, exact.forces) < 1e-5
    assert not np.array_equal(rough.energy, exact.energy)
