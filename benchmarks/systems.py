"""Boxes of water of any size at one density, so that every atom has as many neighbours in each.

They are made for measuring, not for physics: rigid molecules in random places and orientations,
pushed apart until no two come too close.
"""

from __future__ import annotations

import numpy as np

from so3krates_lite.structures.frames import Frames

DENSITY = 0.0334  # molecules per Å^3, about 1 g/cm^3
OXYGENS_APART = 2.7  # Å
ATOMS_APART = 1.4  # Å, between atoms of different molecules
OH, ANGLE = 0.9572, np.deg2rad(104.52)  # Å; of a molecule in vacuum
MOLECULE = np.array(
    [[0, 0, 0], [OH, 0, 0], [OH * np.cos(ANGLE), OH * np.sin(ANGLE), 0]], dtype=np.float64
)


def water_box(molecules: int, seed: int = 0) -> Frames:
    """One periodic cubic frame of ``molecules`` (at least 16) times three atoms, in Å.

    Energy and forces are zeros, so that whatever needs labels takes the frame.
    """
    rng = np.random.default_rng(seed)
    edge = (molecules / DENSITY) ** (1 / 3)
    oxygens = spread(rng.uniform(0, edge, (molecules, 3)), edge)
    positions = oxygens[:, None] + turned(rng, molecules)
    while len(touching := crowded(positions, edge)):
        positions[touching] = oxygens[touching, None] + turned(rng, len(touching))
    return Frames(
        numbers=np.tile([8, 1, 1], molecules)[None],
        positions=positions.reshape(1, -1, 3),
        energy=np.zeros(1),
        forces=np.zeros((1, 3 * molecules, 3)),
        cell=np.eye(3)[None] * edge,
        pbc=np.ones((1, 3), bool),
        info={"name": f"water, {3 * molecules} atoms"},
    )


def spread(points: np.ndarray, edge: float) -> np.ndarray:
    """Push ``points`` of a periodic cube apart until all are `OXYGENS_APART` from one another."""
    from scipy.spatial import cKDTree

    for _ in range(1000):
        points = points % edge
        tree = cKDTree(points, boxsize=edge)
        # a little further than asked for, so that the last few find room
        first, second = tree.query_pairs(1.02 * OXYGENS_APART, output_type="ndarray").T
        vector = points[second] - points[first]
        vector -= edge * np.round(vector / edge)
        distance = np.linalg.norm(vector, axis=1, keepdims=True)
        if len(first) == 0 or distance.min() >= OXYGENS_APART:
            return points
        push = 0.5 * (1.02 * OXYGENS_APART - distance) * vector / np.maximum(distance, 1e-6)
        np.add.at(points, second, push)
        np.add.at(points, first, -push)
    raise RuntimeError("The molecules did not find room.")


def turned(rng: np.random.Generator, molecules: int) -> np.ndarray:
    """Molecules about their oxygen in random orientations, shape (molecules, 3, 3)."""
    from scipy.spatial.transform import Rotation

    rotations = Rotation.random(molecules, random_state=rng).as_matrix()
    return np.einsum("mij,aj->mai", rotations, MOLECULE)


def crowded(positions: np.ndarray, edge: float) -> np.ndarray:
    """Molecules with an atom closer than `ATOMS_APART` to one of another molecule."""
    from scipy.spatial import cKDTree

    tree = cKDTree(positions.reshape(-1, 3) % edge, boxsize=edge)
    pairs = tree.query_pairs(ATOMS_APART, output_type="ndarray") // 3
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]])
