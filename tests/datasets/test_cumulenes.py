"""Cumulenes: the builder, the angle, the stored set, and where its labels come from."""

from __future__ import annotations

import numpy as np
import pytest

from so3krates_lite.datasets import load
from so3krates_lite.datasets.cumulenes import (
    ANGLES,
    CARBONS,
    ELECTRONIC_TEMPERATURE,
    SCANNED,
    CumuleneRecipe,
    cumulene,
    dihedral_of,
    relaxed_shape,
    sampled,
    scan,
)
from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames


@pytest.fixture(scope="module")
def bundled():
    return load("cumulenes-gfn2")


@pytest.fixture(scope="module")
def tblite():
    return pytest.importorskip("tblite", reason="tblite (extra: generate) is not installed")


def usual_shape(carbons: int) -> np.ndarray:
    """Equal bonds of 1.28 Å, the hydrogens where they are in ethylene."""
    heights = 1.28 * ((carbons - 1) / 2 - np.arange(carbons // 2))
    return np.append(heights, [0.93, 0.55])


def chains(carbons: int, angles) -> Frames:
    return Frames.from_atoms([cumulene(carbons, a, usual_shape(carbons)) for a in angles])


def apart(angle, other) -> float:
    """Largest distance between two lists of angles that repeat after 180 degrees."""
    return float(np.abs((np.subtract(angle, other) + 90) % 180 - 90).max())


# -- the builder and the angle ------------------------------------------------------------------


@pytest.mark.parametrize("carbons", [2, 3, 4, 9, 14])
def test_a_chain_is_built_with_the_angle_asked_for(carbons):
    asked = [0.0, 1.0, 45.0, 90.0, 133.7, 179.0, 180.0, 200.0, -30.0]
    frames = chains(carbons, asked)
    found = dihedral_of(frames)
    assert apart(found, asked) < 1e-6
    assert (found > -0.01).all() and (found < 180).all()
    along = frames.positions[0, :carbons]
    assert (along[:, :2] == 0).all()
    np.testing.assert_allclose(np.diff(along[:, 2]), 1.28, rtol=1e-12)
    assert (frames.numbers == [6] * carbons + [1] * 4).all()


def test_the_angle_is_that_of_the_molecule_wherever_it_lies():
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(0)
    for carbons in (3, 4):
        n, angles = carbons, rng.uniform(5, 175, 6)
        frames = chains(carbons, angles)
        frames = frames.replace(positions=frames.positions + rng.normal(0, 0.03, (6, n + 4, 3)))
        before = dihedral_of(frames)

        def angle(positions, frames=frames):
            return dihedral_of(frames.replace(positions=positions))

        turn = Rotation.random(random_state=1).as_matrix()
        R = frames.positions
        assert apart(angle(R @ turn.T + [3.0, -1.0, 7.0]), before) < 1e-9
        first, last = np.arange(n + 4), np.arange(n + 4)
        first[[n, n + 1]] = [n + 1, n]
        last[[n + 2, n + 3]] = [n + 3, n + 2]
        for order in (first, last, first[last]):
            assert apart(angle(R[:, order]), before) < 1e-9
        reverse = np.concatenate([np.arange(n)[::-1], [n + 2, n + 3, n, n + 1]])
        assert apart(angle(R[:, reverse]), before) < 1e-9
        assert apart(angle(R * [1, 1, -1]), 180 - before) < 1e-9
        assert apart(angle(-R), 180 - before) < 1e-9


NO_CUMULENES = {
    "ethanol": [6, 6, 8, 1, 1, 1, 1, 1, 1],
    "hydrogens first": [1, 1, 1, 1, 6, 6, 6],
    "a hydrogen less": [6, 6, 6, 1, 1, 1],
    "another element": [6, 6, 6, 1, 1, 1, 9],
    "methane, which has one end": [6, 1, 1, 1, 1],
}


@pytest.mark.parametrize("molecule", NO_CUMULENES)
def test_another_molecule_is_refused_by_its_number(molecule):
    numbers = NO_CUMULENES[molecule]
    positions = np.random.default_rng(0).normal(size=(1, len(numbers), 3))
    other = Frames(np.array([numbers]), positions)
    with pytest.raises(UserError, match=r"^Frame 1 is no cumulene: n carbons and then 4 hydrogens"):
        dihedral_of(Frames.concatenate([chains(3, [10.0]), other]))


# -- the stored set -----------------------------------------------------------------------------


def test_the_set_holds_every_chain_in_order(bundled):
    groups = [(n, SCANNED + n) for n in CARBONS]
    expected = np.repeat(np.array(groups).ravel(), [200, len(ANGLES)] * len(CARBONS))
    assert tuple(range(3, 16)) == CARBONS and len(ANGLES) == 25
    np.testing.assert_array_equal(bundled.group, expected)
    carbons = bundled.element_counts([6])[:, 0]
    np.testing.assert_array_equal(carbons, bundled.group % SCANNED)
    np.testing.assert_array_equal(bundled.n_atoms, carbons + 4)
    assert apart(dihedral_of(bundled)[bundled.group > SCANNED], np.tile(ANGLES, 13)) < 1e-5


@pytest.mark.parametrize("carbons", [3, 10, 15])
def test_frames_to_learn_from_and_to_look_at_are_told_apart(bundled, carbons):
    learn, look = sampled(bundled, carbons), scan(bundled, carbons)
    assert len(learn) == 200 and len(look) == len(ANGLES)
    angles = dihedral_of(learn)  # drawn evenly: every sixth of the range has its share
    assert (np.histogram(angles, np.linspace(0, 180, 7))[0] > 15).all()
    bent = learn.positions[:, 0] - learn.positions[:, 1]
    assert np.linalg.norm(bent[:, :2], axis=1).max() > 0.02
    assert np.abs(look.positions[:, :carbons, :2]).max() == 0
    assert np.abs(learn.forces.sum(axis=1)).max() < 1e-5


@pytest.mark.parametrize("choose", [sampled, scan])
def test_a_length_that_is_not_there_is_answered_with_those_that_are(bundled, choose):
    for frames in (bundled, bundled.replace(group=None)):
        with pytest.raises(UserError, match=r"no cumulene of 16 carbons.*cumulenes-gfn2.* 3 to 15"):
            choose(frames, 16)


def test_the_scan_is_a_curve_with_one_barrier_that_falls_with_length(bundled):
    """Odd chains are lowest at 90 degrees, even ones at 0 and 180."""
    barriers = []
    for n in CARBONS:
        energy = scan(bundled, n).energy
        np.testing.assert_allclose(energy, energy[::-1], atol=1e-9)
        half = energy[ANGLES <= 90]
        rising = np.diff(half) if n % 2 == 0 else -np.diff(half)
        assert (rising > 0).all()
        barriers.append(np.ptp(energy))
    # in eV, so that no other set passes for this one
    np.testing.assert_allclose(barriers[:3] + barriers[-1:], [2.28, 1.79, 1.37, 0.35], atol=0.01)
    assert (np.diff(barriers) < 0).all()
    assert (np.diff(barriers[::2]) < -0.08).all() and (np.diff(barriers[1::2]) < -0.08).all()


# -- the method behind it -----------------------------------------------------------------------


def test_forces_are_minus_the_slope_of_the_energy_where_two_states_cross(tblite, bundled):
    """Near the top of the barrier, where the electronic temperature mixes the two."""
    from so3krates_lite.datasets.reference import label

    frames = sampled(bundled, 4).trimmed()
    k = int(np.abs(dihedral_of(frames) - 90).argmin())
    R, atoms = frames.positions[k], cumulene(4, 0.0, usual_shape(4))
    components = ((0, 0), (2, 1), (3, 2), (4, 0), (7, 1))
    h, moved = 5e-4, []
    for atom, axis in components:
        for step in (h, -h):
            moved.append(R.copy())
            moved[-1][atom, axis] += step
    energy, _, _ = label(atoms, 0, [R, *moved], ELECTRONIC_TEMPERATURE)
    assert energy[0] == pytest.approx(frames.energy[k], abs=1e-5)  # other machines, other digits
    up, down = energy[1:].reshape(-1, 2).T
    stored = np.array([frames.forces[k][place] for place in components])
    assert np.abs(stored).max() > 0.5
    np.testing.assert_allclose(-(up - down) / (2 * h), stored, atol=1e-4)


@pytest.mark.parametrize("carbons", [3, 4])
def test_a_relaxed_shape_lies_in_a_minimum(tblite, carbons):
    from so3krates_lite.datasets.reference import label

    angle, h = 80.0, 1e-3
    shape = relaxed_shape(carbons, angle)
    moved = [shape + step * unit for unit in np.eye(len(shape)) for step in (h, -h)]
    positions = [cumulene(carbons, angle, s).positions for s in (shape, *moved)]
    atoms = cumulene(carbons, angle, shape)
    energy, _, _ = label(atoms, 0, positions, ELECTRONIC_TEMPERATURE)
    up, down = energy[1:].reshape(-1, 2).T
    assert (np.minimum(up, down) > energy[0]).all()
    assert np.abs((up - down) / (2 * h)).max() < 0.01  # eV/Å; bonds answer with 100 eV/Å^2


def test_the_recipe_repeats_itself_and_a_seed_changes_only_what_is_drawn(tblite, bundled):
    recipe = CumuleneRecipe(carbons=(3, 4))
    one, same, other = (recipe.make(2, seed, progress=False) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.group, np.repeat([3, 103, 4, 104], [2, 25, 2, 25]))
    for name in ("positions", "energy", "forces"):
        np.testing.assert_allclose(getattr(one, name), getattr(same, name), atol=1e-6)
    for n in (3, 4):
        assert np.abs(sampled(one, n).positions - sampled(other, n).positions).max() > 0.1
        np.testing.assert_allclose(scan(one, n).positions, scan(other, n).positions, atol=1e-6)
        np.testing.assert_allclose(scan(one, n).energy, scan(bundled, n).energy, atol=1e-3)
    assert one.info["seed"] == "1" and "tblite" in one.info["software"]
    assert "1000 K" in one.info["level_of_theory"]
