"""The search for neighbours: right for every geometry, or refused in a sentence."""

from __future__ import annotations

import subprocess
import sys
from itertools import product

import numpy as np
import pytest

from so3krates_lite.errors import UserError
from so3krates_lite.structures import neighbours
from so3krates_lite.structures.neighbours import neighbour_pairs

CUTOFF = 3.0
SLAB = np.array([True, True, False])


def every_pair(positions, cutoff, cell, pbc):
    """Directed pairs with their vectors, by trying all images: sorted rows (i, j, x, y, z)."""
    lattice = cell[pbc]
    shares = positions @ np.linalg.pinv(lattice) if pbc.any() else np.zeros((len(positions), 0))
    height = np.linalg.norm(np.linalg.pinv(lattice), axis=0) if pbc.any() else np.zeros(0)
    reach = np.ceil(cutoff * height + np.ptp(shares, axis=0)).astype(int)
    shifts = list(product(*(range(-n, n + 1) for n in reach)))
    shifts = np.array(shifts, int).reshape(len(shifts), len(reach))
    vector = positions[None, :, None] - positions[:, None, None] + shifts @ lattice
    i, j, s = np.nonzero(np.linalg.norm(vector, axis=-1) < cutoff)
    kept = (i != j) | shifts[s].any(axis=1)
    return rows(i[kept], j[kept], vector[i, j, s][kept])


def rows(i, j, vector):
    table = np.column_stack([i, j, vector.round(5) + 0.0])
    return table[np.lexsort(table.T[::-1])]


def both_ways(positions, cutoff, cell=None, pbc=None):
    """What `neighbour_pairs` finds, as `every_pair` writes it."""
    first, second, offset = neighbour_pairs(positions, cutoff, cell, pbc)
    vector = positions[second] + offset - positions[first]
    ends = np.concatenate([first, second]), np.concatenate([second, first])
    return rows(*ends, np.concatenate([vector, -vector]))


def random_structure(rng):
    """A few atoms, some far away, in a cell that is skew or left-handed more often than not."""
    pbc = rng.integers(0, 2, 3).astype(bool)
    cell = np.diag(rng.uniform(1.5, 5, 3)) + rng.normal(size=(3, 3))
    cell[1] += rng.integers(-5, 6) * cell[0]
    cell = cell[rng.permutation(3)]
    positions = rng.normal(size=(rng.integers(1, 7), 3)) * rng.choice([1.0, 4.0])
    positions[-1] += rng.choice([0, 1, -1], 3) * rng.choice([0.0, 15.0])
    return positions, cell, pbc


@pytest.mark.parametrize("seed", range(6))
def test_pairs_are_those_of_all_images(seed):
    rng, compared = np.random.default_rng(seed), 0
    while compared < 20:
        positions, cell, pbc = random_structure(rng)
        if pbc.any() and np.linalg.svd(cell[pbc], compute_uv=False)[-1] < 0.6:
            continue
        expected = every_pair(positions, CUTOFF, cell, pbc)
        unimportant = np.where(pbc[:, None], cell, rng.choice([0, 1e-9, 1e9]) * cell[::-1])
        for box in (cell, unimportant):
            np.testing.assert_allclose(both_ways(positions, CUTOFF, box, pbc), expected, atol=2e-5)
        compared += 1


def test_a_vector_along_which_nothing_repeats_does_not_matter():
    rng = np.random.default_rng(0)
    positions = rng.uniform(0, 4, (5, 3))
    cell = np.diag([4.0, 4.5, 20.0])
    expected = both_ways(positions, CUTOFF, cell, SLAB)
    for third in ([0, 0, 0], cell[0], cell[0] + cell[1], [0, 0, 1e-9], [np.nan, 0, 0]):
        box = np.array([cell[0], cell[1], third])
        np.testing.assert_array_equal(both_ways(positions, CUTOFF, box, SLAB), expected)


@pytest.mark.parametrize("far", [1e3, 1e5, 1e9, 9e11])
@pytest.mark.parametrize("pbc", [(0, 0, 0), (1, 0, 0), (1, 1, 0)])
def test_empty_space_costs_nothing(pbc, far, monkeypatch):
    """A structure with a far atom is searched among as many points as without it."""
    rng = np.random.default_rng(1)
    cell, pbc = np.diag([4.0, 4.5, 5.0]), np.array(pbc, bool)
    positions = rng.uniform(0, 4, (6, 3))
    away = positions.copy()
    away[-1, 2] += far
    points = []

    def counted(data):
        points.append(len(data))
        return tree(data)

    tree = neighbours.cKDTree
    monkeypatch.setattr(neighbours, "cKDTree", counted)
    expected = both_ways(positions[:-1], CUTOFF, cell, pbc)
    found = both_ways(away, CUTOFF, cell, pbc)
    assert sum(points) < 12 * 27
    kept = (found[:, :2] < 5).all(axis=1)
    np.testing.assert_allclose(found[kept], expected, atol=2e-5)
    assert (found[~kept, :2] == 5).all()  # its own images, if any


@pytest.mark.parametrize("shear", [0, 1, 1000, -100_000])
def test_a_sheared_cell_of_one_lattice_gives_the_same_pairs_from_as_few_images(shear, monkeypatch):
    rng = np.random.default_rng(2)
    cell = np.diag([4.0, 4.5, 5.0]) + rng.normal(0, 0.3, (3, 3))
    positions = rng.uniform(0, 4, (4, 3))
    expected = both_ways(positions, CUTOFF, cell, np.ones(3, bool))
    sheared = cell + shear * np.array([0 * cell[0], cell[0], cell[0] + 2 * cell[1]])
    counted = []
    images = neighbours._images

    def counting(*arguments):
        found = images(*arguments)
        counted.append(len(found[0]))
        return found

    monkeypatch.setattr(neighbours, "_images", counting)
    found = both_ways(positions, CUTOFF, sheared, np.ones(3, bool))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert counted[0] < 4 * neighbours.SKEW


def test_atoms_many_cells_away_have_the_pairs_of_their_images():
    rng = np.random.default_rng(3)
    cell = np.diag([4.0, 4.5, 5.0]) + rng.normal(0, 0.3, (3, 3))
    positions = rng.uniform(0, 4, (5, 3))
    expected = both_ways(positions, CUTOFF, cell, np.ones(3, bool))
    away = positions + rng.integers(-5000, 5000, (5, 3)) @ cell
    np.testing.assert_allclose(both_ways(away, CUTOFF, cell, np.ones(3, bool)), expected, atol=2e-5)


@pytest.mark.parametrize(
    ("cell", "pbc"),
    [
        ([[3, 0, 0], [6, 0, 0], [0, 0, 9]], (1, 1, 0)),
        ([[3, 1, 0], [-3, -1, 0], [0, 0, 9]], (1, 1, 1)),
        ([[3, 1, 0], [1, 2, 0], [4, 3, 0]], (1, 1, 1)),
        ([[3, 1, 0], [3, 1, 1e-9], [0, 3, 0]], (1, 1, 0)),
        ([[0, 0, 0], [6, 0, 0], [0, 0, 9]], (1, 0, 0)),
    ],
)
def test_periodic_vectors_without_volume_are_refused(cell, pbc):
    with pytest.raises(UserError, match="parallel, or one has no length"):
        neighbour_pairs(np.zeros((1, 3)), CUTOFF, np.array(cell, float), np.array(pbc, bool))


@pytest.mark.parametrize("short", [1e-3, 1e-5])
def test_more_images_than_can_be_meant_are_refused(short):
    with pytest.raises(UserError, match=r"images of atoms lie within 3 Å.* check the units"):
        neighbour_pairs(np.zeros((2, 3)), CUTOFF, np.diag([3, 3, short]), np.ones(3, bool))


def test_more_pairs_than_can_be_meant_are_refused():
    with pytest.raises(UserError, match=r"pairs of atoms lie within 3 Å"):
        neighbour_pairs(np.zeros((3000, 3)), CUTOFF)


@pytest.mark.parametrize("place", [1e13, -1e200, np.nan, np.inf])
def test_a_place_that_means_nothing_is_refused(place):
    with pytest.raises(UserError, match=r"Atom 1 is .* from the origin"):
        neighbour_pairs(np.array([[0, 0, 0], [0, place, 0]]), CUTOFF)


FUZZ = """
import warnings
import numpy as np
from so3krates_lite.errors import UserError
from so3krates_lite.structures.neighbours import neighbour_pairs

warnings.simplefilter("error")
rng, refused = np.random.default_rng(0), 0
for _ in range(400):
    n = int(rng.choice([1, 2, 3, 20]))
    positions = rng.normal(size=(n, 3)) * 10 ** rng.uniform(-3, 4)
    positions[rng.integers(n)] += rng.normal(size=3) * 10 ** rng.uniform(0, 14)
    cell = rng.normal(size=(3, 3)) * 10 ** rng.uniform(-2, 3, (3, 1))
    kind = rng.integers(4)
    if kind == 1:
        cell[1] = cell[0] * rng.choice([1, -2, 0.3, 0])
    if kind == 2:
        near = rng.normal(size=3) * 10 ** rng.uniform(-12, 1)
        cell[2] = cell[0] + cell[1] * rng.integers(-1000, 1000) + near
    if kind == 3:
        cell[rng.integers(3)] *= 10 ** rng.uniform(-9, 9)
    cutoff = rng.choice([0.5, 3, 5])
    try:
        first, second, offset = neighbour_pairs(positions, cutoff, cell, rng.integers(0, 2, 3) > 0)
    except UserError:
        refused += 1
        continue
    vector = positions[second] + offset - positions[first]
    rounding = 1e-14 * (np.abs(positions).max() + np.abs(offset).max(initial=0))
    assert (np.linalg.norm(vector, axis=1) < cutoff + rounding).all()
assert 40 < refused < 300, refused
"""


def test_no_geometry_ends_the_process():
    done = subprocess.run([sys.executable, "-c", FUZZ], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
