"""What an atom's features may know: things that one can name, read from the structure alone.

Bonds are pairs nearer than 1.3 times the sum of their covalent radii. Each target has one value per
atom, nan where it does not apply: hybridisation is asked of carbon only, a largest angle of atoms
with two bonds or more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from so3krates_lite.datasets.reference import BOND
from so3krates_lite.drawing.scene import find_bonds
from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames


@dataclass(frozen=True, eq=False)
class Target:
    """Something to be known of atoms.

    Args:
        values: one per atom, nan where it does not apply or is not known
        is_class: values are names of classes, not amounts
    """

    values: Float[np.ndarray, "frames atoms"]
    is_class: bool = False


def named_targets(frames: Frames) -> dict[str, Target]:
    """Element, hybridisation of carbon, neighbours, ring, largest angle; charge where stated."""
    bonded = bonds_of(frames)
    number = bonded.sum(axis=2)
    atoms, carbon = frames.mask, frames.numbers == 6

    def where(condition: np.ndarray, values: np.ndarray) -> Float[np.ndarray, "frames atoms"]:
        return np.where(condition, values, np.nan).astype(float)

    found = {
        "element": Target(where(atoms, frames.numbers), is_class=True),
        "hybridisation of C": Target(where(carbon & (number > 1), number), is_class=True),
        "number of neighbours": Target(where(atoms, number)),
        "in a ring": Target(where(atoms & (number > 1), _rings(bonded)), is_class=True),
        "largest bond angle": Target(_largest_angle(frames, bonded)),
    }
    if frames.partial_charges is not None:
        found["partial charge"] = Target(where(atoms, frames.partial_charges))
    return found


def at_atom(
    frames: Frames, atom: int, value: Callable[[Float[np.ndarray, "atoms 3"]], float]
) -> Target:
    """A target that is asked of one atom, from the positions of each frame.

    >>> at_atom(frames, 1, lambda R: dihedral_cosine(R, 0, 1, 2, 3))
    """
    if not 0 <= atom < frames.max_atoms or not frames.mask[:, atom].all():
        raise UserError(f"Atom {atom} does not exist in every frame.")
    values = np.full(frames.numbers.shape, np.nan)
    values[:, atom] = [value(R) for R in frames.positions]
    return Target(values)


def dihedral_cosine(R: Float[np.ndarray, "atoms 3"], i: int, j: int, k: int, l: int) -> float:
    """Cosine of the torsion i-j-k-l: 1 where i and l lie on one side, -1 across.

    Of a torsion and its mirror image the cosines are equal, as everything is that a model without
    pseudoscalars can know.
    """
    a, b, c = R[j] - R[i], R[k] - R[j], R[l] - R[k]
    one, other = np.cross(a, b), np.cross(b, c)
    size = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one @ other / size) if size > 1e-9 else np.nan


def distance_between(R: Float[np.ndarray, "atoms 3"], i: int, j: int) -> float:
    """Å."""
    return float(np.linalg.norm(R[j] - R[i]))


def angle_cosine(R: Float[np.ndarray, "atoms 3"], i: int, j: int, k: int) -> float:
    """Cosine of the angle i-j-k at j."""
    a, b = R[i] - R[j], R[k] - R[j]
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def bonds_of(frames: Frames) -> Bool[np.ndarray, "frames atoms atoms"]:
    """Which atoms are bonded, both ways; without periodic images."""
    bonded = np.zeros((*frames.numbers.shape, frames.max_atoms), bool)
    for k, (numbers, R) in enumerate(zip(frames.numbers, frames.positions, strict=True)):
        n = int(frames.n_atoms[k])
        first, second = np.array(find_bonds(numbers[:n], R[:n], BOND), int).reshape(-1, 2).T
        bonded[k, first, second] = bonded[k, second, first] = True
    return bonded


def _rings(bonded: Bool[np.ndarray, "frames atoms atoms"]) -> Bool[np.ndarray, "frames atoms"]:
    """Whether an atom has a bond without which both its ends are still connected."""
    from scipy.sparse.csgraph import connected_components

    found = np.zeros(bonded.shape[:2], bool)
    for k, graph in enumerate(bonded):
        for i, j in np.argwhere(np.triu(graph)):
            cut = graph.copy()
            cut[i, j] = cut[j, i] = False
            part = connected_components(cut, directed=False)[1]
            if part[i] == part[j]:
                found[k, [i, j]] = True
    return found


def _largest_angle(
    frames: Frames, bonded: Bool[np.ndarray, "frames atoms atoms"]
) -> Float[np.ndarray, "frames atoms"]:
    """Degrees; nan for atoms with fewer than two bonds."""
    found = np.full(frames.numbers.shape, np.nan)
    for k, atom in np.argwhere(bonded.sum(axis=2) > 1):
        arms = frames.positions[k, bonded[k, atom]] - frames.positions[k, atom]
        arms /= np.linalg.norm(arms, axis=1, keepdims=True)
        found[k, atom] = np.degrees(np.arccos(np.clip((arms @ arms.T).min(), -1, 1)))
    return found
