"""What must not change, and what must turn along, when a molecule is moved, turned or mirrored."""

from __future__ import annotations

import e3x
import jax
import numpy as np
import pytest
from small import PHYSICS, deviation, frame_of, molecule, small_config, small_potential, stack

from so3krates_lite.record.attention_record import QUANTITIES
from so3krates_lite.structures.frames import Frames

pytestmark = pytest.mark.usefixtures("quick_compilation")

CASES = [
    *(("paper", degrees, {}) for degrees in ((0,), (1,), (2,), (1, 3), (0, 1, 2, 3, 4))),
    *(("v0.3", degrees, {}) for degrees in ((0, 1, 2, 3, 4), (1, 3))),
    ("paper", (1, 2), {"spherical_radius": 2.0, "charge_embedding": True}),
    ("so3lr", (1, 2, 3, 4), PHYSICS),
]
TOLERANCE = 1e-9
RNG = np.random.default_rng(0)
MOLECULES = stack(molecule(7, seed=1), molecule(4, seed=2)).replace(
    total_charge=np.array([1.0, -2.0])
)
ORDER = RNG.permutation(4)  # of the first four atoms of either molecule


def random_rotation() -> np.ndarray:
    q, r = np.linalg.qr(RNG.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


ROTATIONS = [random_rotation() for _ in range(2)]
MIRROR = np.diag([1.0, 1.0, -1.0])
OPERATIONS = {
    "rotation": ROTATIONS[0],
    "rotation and mirror": ROTATIONS[1] @ MIRROR,
    "inversion": -np.eye(3),
}


def moved(matrix=None, shift=0.0, order=None) -> Frames:
    """The molecules with r -> r @ matrix + shift, the first atoms in another order."""
    positions = MOLECULES.positions @ (np.eye(3) if matrix is None else matrix)
    index = np.arange(MOLECULES.max_atoms)
    if order is not None:
        index[: len(order)] = order
    positions = np.where(MOLECULES.mask[..., None], positions + shift, 0)
    return MOLECULES.replace(numbers=MOLECULES.numbers[:, index], positions=positions[:, index])


FRAMES = stack(
    MOLECULES,
    *(moved(matrix) for matrix in OPERATIONS.values()),
    moved(shift=np.array([3.0, -5.0, 11.0])),
    moved(order=ORDER),
)
PLACE = {name: 2 * (k + 1) for k, name in enumerate([*OPERATIONS, "translation", "permutation"])}


class Answers:
    """Everything the model says about the molecules and their images."""

    def __init__(self, variant: str, degrees: tuple[int, ...], more: dict) -> None:
        # a start other than zero, so that SPHCs take part from the first layer on
        start = "mean" if variant == "paper" else "smooth"
        potential = small_potential(small_config(degrees, variant, sphc_start=start, **more))
        self.degrees = degrees
        self.energy, self.forces, _ = potential.predict(FRAMES)
        self.record = potential.attention(FRAMES)

    def image(self, values: np.ndarray, name: str) -> np.ndarray:
        return values[..., PLACE[name] : PLACE[name] + 2, :, :]


def name_of(case) -> str:
    variant, degrees, more = case
    return "-".join([variant, str(degrees), *more])


@pytest.fixture(scope="module", params=CASES, ids=name_of)
def answers(request) -> Answers:
    return Answers(*request.param)


def wigner(matrix: np.ndarray, degrees: tuple[int, ...]) -> np.ndarray:
    """D with Y(r @ matrix) = Y(r) @ D, also for improper matrices."""
    sign = np.sign(np.linalg.det(matrix))
    with jax.enable_x64(True):
        full = np.asarray(e3x.so3.wigner_d(sign * matrix, max(degrees), cartesian_order=False))
    columns = np.concatenate([np.arange(l * l, (l + 1) ** 2) for l in degrees])
    degree = np.concatenate([[l] * (2 * l + 1) for l in degrees])
    return full[np.ix_(columns, columns)] * (sign**degree)[:, None]


@pytest.mark.parametrize("name", [*OPERATIONS, "translation", "permutation"])
def test_energy_does_not_change(answers, name):
    expected = answers.energy[:2]
    assert deviation(answers.energy[PLACE[name] : PLACE[name] + 2], expected) < TOLERANCE


@pytest.mark.parametrize("name", OPERATIONS)
def test_forces_turn_with_the_molecule(answers, name):
    expected = answers.forces[:2] @ OPERATIONS[name]
    assert deviation(answers.image(answers.forces, name), expected) < TOLERANCE


@pytest.mark.parametrize("name", OPERATIONS)
def test_sphcs_turn_by_wigner_matrices(answers, name):
    D = wigner(OPERATIONS[name], answers.degrees)
    expected = answers.record.sphc[:, :2] @ D
    assert deviation(answers.image(answers.record.sphc, name), expected) < TOLERANCE


@pytest.mark.parametrize("name", [*OPERATIONS, "translation"])
def test_attention_does_not_change(answers, name):
    for k in range(2):
        mine, image = answers.record.frames(k), answers.record.frames(PLACE[name] + k)
        for block in answers.record.blocks:
            found, expected = image.neighbours(block), mine.neighbours(block)
            np.testing.assert_array_equal(found.receiver, expected.receiver)
            np.testing.assert_array_equal(found.sender, expected.sender)
            for quantity in QUANTITIES:
                found, expected = (record._quantity(block, quantity) for record in (image, mine))
                assert deviation(found, expected) < TOLERANCE
        if (far := mine.spherical) is not None:
            assert (far.nearness > 0.01).any()
            assert deviation(image.spherical.nearness, far.nearness) < TOLERANCE
            assert deviation(image.spherical.sphc_distance, far.sphc_distance) < TOLERANCE


def test_forces_and_sphcs_do_not_change_with_translation(answers):
    forces = answers.image(answers.forces, "translation")
    assert deviation(forces, answers.forces[:2]) < TOLERANCE
    sphc = answers.image(answers.record.sphc, "translation")
    assert deviation(sphc, answers.record.sphc[:, :2]) < TOLERANCE


def test_forces_sum_to_zero_and_exert_no_torque(answers):
    size = np.abs(answers.forces).max()
    assert np.abs(answers.forces.sum(axis=1)).max() < TOLERANCE * size
    torque = np.cross(FRAMES.positions, answers.forces).sum(axis=1)
    assert np.abs(torque).max() < 100 * TOLERANCE * size


def test_another_order_of_atoms_reorders_everything(answers):
    index = np.arange(MOLECULES.max_atoms)
    index[: len(ORDER)] = ORDER
    forces = answers.image(answers.forces, "permutation")
    assert deviation(forces, answers.forces[:2][:, index]) < TOLERANCE
    sphc = answers.image(answers.record.sphc, "permutation")
    assert deviation(sphc, answers.record.sphc[:, :2][:, :, index]) < TOLERANCE
    for k, n in enumerate(MOLECULES.n_atoms):
        real = index[:n]
        for block in answers.record.blocks:
            for channel in range(answers.record.n_channels(block)):
                choice = (block, 1, channel, "coefficient")
                found = answers.record.matrix(PLACE["permutation"] + k, *choice)
                expected = answers.record.matrix(k, *choice)[np.ix_(real, real)]
                assert deviation(found, expected) < TOLERANCE


def test_forces_keep_the_symmetry_of_a_molecule():
    """Methane: equal atoms have equal SPHCs; what rounding leaves of a difference must not act."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.63
    methane = frame_of([6, 1, 1, 1, 1], np.concatenate([np.zeros((1, 3)), corners]))
    turned = methane.replace(positions=methane.positions @ ROTATIONS[0])
    frames = stack(methane, turned)
    _, forces, _ = small_potential(small_config((1, 2, 3))).predict(frames)
    assert deviation(forces[1], forces[0] @ ROTATIONS[0]) < TOLERANCE
    assert np.abs(forces[0, 0]).max() < TOLERANCE * np.abs(forces).max()
    size = (forces[0, 1:] * corners).sum(axis=1) / (corners[0] @ corners[0])
    assert deviation(forces[0, 1:], size[:, None] * corners) < TOLERANCE
    assert np.ptp(size) < TOLERANCE * abs(size[0])
