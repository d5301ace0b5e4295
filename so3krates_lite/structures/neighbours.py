"""Which atoms are near each other, whatever the geometry.

Along a periodic direction every atom has images without end. The search first folds the atoms into
one cell, which changes no distance; then only the images around that cell can matter, and they are
written out as further atoms. What is left is a question about points in space, which a k-d tree
answers: it has no grid, so empty space costs nothing, be an atom ever so far away.

Two lattices look alike to an atom if their vectors are whole multiples of one another apart. A very
skew cell is replaced by the compact one of the same lattice, which has far fewer images in reach.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from so3krates_lite.errors import UserError

FARTHEST = 1e12  # Å, where float64 tells apart what is 0.0001 Å apart, and no longer a bond
SHORTEST = 1e-6  # Å, of anything periodic
SKEW = 100  # images of an atom in reach, from which a compacter cell is looked for
MOST_IMAGES, MOST_PAIRS = 3_000_000, 100_000_000

PairsOfAtoms = tuple[
    Int[np.ndarray, "pairs"], Int[np.ndarray, "pairs"], Float[np.ndarray, "pairs 3"]
]


def neighbour_pairs(
    positions: Float[np.ndarray, "atoms 3"],
    cutoff: float,
    cell: Float[np.ndarray, "3 3"] | None = None,
    pbc: Bool[np.ndarray, "3"] | None = None,
) -> PairsOfAtoms:
    """All undirected pairs closer than ``cutoff`` (Å): first atom, second atom, lattice offset (Å).

    In a periodic cell a pair is one of atom and image; an atom may pair with its own images. Cell
    vectors along which nothing is periodic do not matter.

    Raises:
        UserError: an atom is too far away for its coordinates to mean anything, periodic vectors
            are parallel or have no length, or there are too many pairs to list
    """
    R = np.asarray(positions, np.float64)
    size = np.abs(R).max(axis=1, initial=0)
    if len(lost := np.flatnonzero(~(size <= FARTHEST))):
        raise UserError(
            f"Atom {lost[0]} is {size[lost[0]]:.3g} Å from the origin, where coordinates no longer "
            f"tell how long a bond is: check the units, or how the structure came about."
        )
    closer = np.nextafter(cutoff, 0)
    periodic = cell is not None and pbc is not None and bool(np.any(pbc))
    if not periodic:
        first, second = _near(cKDTree(R), None, closer).T
        return _sorted(first, second, np.zeros((len(first), 3)))

    lattice, inverse = _compact(np.asarray(cell, np.float64)[np.asarray(pbc, bool)], cutoff)
    place = R @ inverse
    home = np.floor(place)
    place -= home
    margin = cutoff * np.linalg.norm(inverse, axis=0)
    images = len(R) * np.prod(1 + 2 * margin)
    # eight times: the images fill a box of some eight times the volume in which a pair is once
    if images > min(8 * _most(len(R), cutoff), MOST_IMAGES) + 30 * len(R):
        raise _too_dense(f"{images:.1e} images of atoms", cutoff)
    atom, shift = _images(place, margin)
    folded = R - home @ lattice
    tree = cKDTree(folded)
    inside = _near(tree, None, closer)
    across = _near(tree, cKDTree(folded[atom] + shift @ lattice), closer)
    first = np.concatenate([inside[:, 0], across[:, 0]])
    second = np.concatenate([inside[:, 1], atom[across[:, 1]]])
    step = np.zeros((len(first), len(lattice)))
    step[len(inside) :] = shift[across[:, 1]]
    return _sorted(first, second, (step + home[first] - home[second]) @ lattice)


def _near(tree: cKDTree, other: cKDTree | None, distance: float) -> Int[np.ndarray, "pairs 2"]:
    """Pairs of points that near: of two trees, or each pair of one tree once."""
    opposite = tree if other is None else other
    most = _most(tree.n, distance)
    if tree.n * opposite.n > most:  # it is possible, so count
        count = tree.count_neighbors(opposite, distance) // (2 if other is None else 1)
        if count > most:
            raise _too_dense(f"{count:.1e} pairs of atoms", distance)
    if other is None:
        return tree.query_pairs(distance, output_type="ndarray")
    found = tree.sparse_distance_matrix(other, distance, output_type="ndarray")
    return np.stack([found["i"], found["j"]], axis=1)


def _most(atoms: int, distance: float) -> float:
    """So many pairs are listed: beyond, every Å^3 holds an atom, five times what matter has."""
    return min(atoms * max(1000.0, 2 * distance**3), MOST_PAIRS)


def _too_dense(what: str, distance: float) -> UserError:
    return UserError(
        f"About {what} lie within {distance:.3g} Å: the structure is denser than any matter, so "
        f"check the units of positions and cell, and that no periodic cell vector is nearly "
        f"parallel to another or very short."
    )


def _sorted(first: np.ndarray, second: np.ndarray, offset: np.ndarray) -> PairsOfAtoms:
    order = np.lexsort((second, first))
    return first[order].astype(np.int32), second[order].astype(np.int32), offset[order]


def _images(
    place: Float[np.ndarray, "atoms periodic"], margin: Float[np.ndarray, "periodic"]
) -> tuple[Int[np.ndarray, "images"], Int[np.ndarray, "images periodic"]]:
    """Images that may be near an atom, one of each two that are opposite: the atom, and its shift.

    Args:
        place: of each atom in the cell, as shares of its vectors, from 0 to 1
        margin: how far around the cell images matter, in the same unit
    """
    low, high = place.min(axis=0) - margin, place.max(axis=0) + margin
    atom = np.arange(len(place))
    shift = np.zeros(place.shape, int)
    for axis in range(place.shape[1]):
        reach = int(margin[axis] + np.ptp(place[:, axis])) + 1
        steps = np.arange(-reach, reach + 1)
        there = place[atom, axis][:, None] + steps
        kept, step = np.nonzero((there >= low[axis]) & (there <= high[axis]))
        atom, shift = atom[kept], shift[kept]
        shift[:, axis] = steps[step]
    # the first shift that is not zero decides: of a pair seen from both ends, one is positive
    positive = np.sign(shift) @ np.array([4, 2, 1])[: shift.shape[1]] > 0
    return atom[positive], shift[positive]


def _compact(
    lattice: Float[np.ndarray, "periodic 3"], cutoff: float
) -> tuple[Float[np.ndarray, "periodic 3"], Float[np.ndarray, "3 periodic"]]:
    """Vectors of the same lattice with few images within ``cutoff``, and their inverse."""
    inverse = _inverse(lattice)
    if inverse is None or np.prod(1 + 2 * cutoff * np.linalg.norm(inverse, axis=0)) > SKEW:
        lattice = _shortened(lattice)
        inverse = _inverse(lattice)
    if inverse is None:
        raise UserError(
            "The cell's periodic vectors are parallel, or one has no length: give vectors that "
            "span the periodic directions, or set pbc to False along one."
        )
    return lattice, inverse


def _inverse(lattice: Float[np.ndarray, "periodic 3"]) -> Float[np.ndarray, "3 periodic"] | None:
    """Positions times this are shares of the vectors; None: they are parallel."""
    u, size, v = np.linalg.svd(lattice, full_matrices=False)
    if not (size[-1] > SHORTEST and size[-1] > 1e-12 * size[0]):
        return None
    return (v.T / size) @ u.T


def _shortened(lattice: Float[np.ndarray, "periodic 3"]) -> Float[np.ndarray, "periodic 3"]:
    """Each vector less whole multiples of the others, as long as that makes it shorter."""
    lattice = lattice.copy()
    shortened = len(lattice) > 1
    while shortened:
        shortened = False
        for k, vector in enumerate(lattice):
            others = np.delete(lattice, k, axis=0)
            shorter = vector - np.rint(vector @ np.linalg.pinv(others)) @ others
            if shorter @ shorter < (1 - 1e-9) * (vector @ vector):
                lattice[k], shortened = shorter, True
    return lattice
