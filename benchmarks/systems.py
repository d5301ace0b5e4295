"""Boxes of water of any size at one density, and chains of any length.

They are made for measuring, not for physics. In water, every atom has as many neighbours in a small
box as in a large one: rigid molecules in random places and orientations, pushed apart until no two
come too close. Chains are stretched ethers, their atoms a little out of place.
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

BOND, HALF_ANGLE = 1.5, np.deg2rad(56)  # Å; along a chain
CH, HALF_HCH = 1.09, np.deg2rad(54.75)
RATTLED = 0.05  # Å


def chain(heavy: int, oxygens: int) -> Frames:
    """One frame of CH3-CH2-(O-CH2-CH2-)…CH3, of ``heavy`` atoms that are not hydrogen.

    The third, sixth … of them is oxygen, ``oxygens`` in all. It has 3 heavy + 2 - 2 oxygens atoms.
    """
    numbers, positions = [], []
    step = BOND * np.array([np.sin(HALF_ANGLE), np.cos(HALF_ANGLE), 0])
    for k in range(heavy):
        side = (-1) ** k
        place = np.array([k * step[0], side * step[1] / 2, 0])
        is_oxygen = k % 3 == 2 and k // 3 < oxygens
        numbers.append(8 if is_oxygen else 6)
        positions.append(place)
        hydrogens = []
        if not is_oxygen:
            up, out = CH * np.cos(HALF_HCH), CH * np.sin(HALF_HCH)
            hydrogens = [[0, side * up, out], [0, side * up, -out]]
            for end, way in ((0, -1), (heavy - 1, 1)):
                if k == end:
                    hydrogens.append(CH / BOND * step * [way, -side, 0])
        numbers += [1] * len(hydrogens)
        positions += [place + hydrogen for hydrogen in hydrogens]
    return rattled(np.array(numbers), np.array(positions), f"ether, {len(numbers)} atoms")


def ethanol() -> Frames:
    """The molecule that ASE knows, of 9 atoms."""
    from ase.build import molecule

    atoms = molecule("CH3CH2OH")
    return rattled(atoms.numbers, atoms.positions, "ethanol, 9 atoms")


def rattled(numbers: np.ndarray, positions: np.ndarray, name: str) -> Frames:
    """A molecule with its atoms a little out of place, so that there are forces."""
    moves = np.random.default_rng(0).normal(0, RATTLED, positions.shape)
    return Frames(
        numbers=numbers[None],
        positions=positions[None] + moves,
        energy=np.zeros(1),
        forces=np.zeros((1, *positions.shape)),
        info={"name": name},
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
