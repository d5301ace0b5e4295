"""What structures, energies and forces say of their own scale, whatever their units claim.

Three measurements for the tests of plausibility: how far neighbours are apart, how stiff bonds to
hydrogen are, and whether energies are the work of the forces.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from so3krates_lite.structures.frames import Frames

N_NEAR = 16  # atoms, itself included, among which an atom's neighbour is sought
MIN_SPREAD = 0.015  # Å; molecules at rest have bonds of different length that bear no force
MIN_PAIRS = 20  # frames needed before energies are held against forces by themselves
_NOBLE = (2, 10, 18, 36, 54, 86)


def nearest_neighbour_ratio(frames: Frames) -> float | None:
    """Median over atoms of the distance to the nearest atom over the sum of covalent radii."""
    ratios = [ratio for *_, ratio in _neighbours(frames)]
    return float(np.median(np.concatenate(ratios))) if ratios else None


class Bonds(NamedTuple):
    """What vibrating bonds to hydrogen show of the forces."""

    stiffness: float  # eV, force constant times length squared
    kT: float  # eV, force constant times mean square displacement


def bonds_to_hydrogen(frames: Frames) -> Bonds | None:
    """A line through force against length of all bonds to hydrogen, each sort about its own mean.

    Returns:
        None where there are few such bonds, or they hardly differ in length, or forces do not
        follow the length: molecules at rest, rigid bonds
    """
    if frames.forces is None:
        return None
    sorts: dict[int, list[np.ndarray]] = {}
    for k, real, near, ratio in _neighbours(frames):
        z, r, f = frames.numbers[k, real], frames.positions[k, real], frames.forces[k, real]
        (h,) = np.nonzero((z == 1) & (ratio < 1.25))
        bond = r[h] - r[near[h]]
        length = np.linalg.norm(bond, axis=1)
        along = np.einsum("bi,bi->b", f[h], bond) / length
        for other in np.unique(z[near[h]]):
            chosen = z[near[h]] == other
            sorts.setdefault(int(other), []).append(np.stack([length, along])[:, chosen])
    both = [np.concatenate(parts, axis=1) for parts in sorts.values()]
    freedom = sum(part.shape[1] - 1 for part in both)
    if freedom < 5:
        return None
    mean_length = np.concatenate(both, axis=1)[0].mean()
    centred = np.concatenate([part - part.mean(axis=1, keepdims=True) for part in both], axis=1)
    (square, product), (_, force_square) = centred @ centred.T / freedom
    if square < MIN_SPREAD**2 or product**2 < 0.8**2 * square * force_square:
        return None
    return Bonds(float(-product / square * mean_length**2), float(-product))


def energy_per_work(frames: Frames, bonds: Bonds | None) -> float | None:
    """How many times too large energies are for the forces; None where nothing tells.

    A correlation of energy differences with work is proof by itself. Without one, frames being few
    or far apart, their sizes are compared; forces of molecules at rest do no work, so this takes
    vibrating bonds, and the scatter of the energies has to say the same.
    """
    change, work = _changes_and_work(frames)
    if len(work) < 2 or not work.any():
        return None
    ratio = float(np.median(np.abs(change)) / max(np.median(np.abs(work)), 1e-12))
    slope, correlation = _line(work, change)
    # the line must not be that of a few outliers, such as other electronic states
    if len(work) >= MIN_PAIRS and abs(correlation) > 0.8 and 0.3 * ratio < abs(slope) < 3 * ratio:
        return slope
    if bonds is None:
        return 1.0 if len(work) >= 4 and 0.2 < ratio < 5 else None
    scatter = _energy_scatter(frames) / abs(bonds.kT)
    if len(work) >= 6 and ((ratio > 3 and scatter > 6) or (ratio < 0.15 and scatter < 0.1)):
        return scatter
    return 1.0 if 0.1 < scatter < 6 or 0.2 < ratio < 5 else None


# -- helpers --------------------------------------------------------------------------------------


def _neighbours(frames: Frames) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Of each frame with atoms to bond: its number, those atoms, the neighbour of each among them
    and its distance over the sum of covalent radii."""
    from ase.data import covalent_radii
    from scipy.spatial import cKDTree

    for k in range(len(frames)):
        (real,) = np.nonzero(frames.mask[k] & ~np.isin(frames.numbers[k], _NOBLE))
        if len(real) < 2:
            continue
        r, radius = frames.positions[k, real], covalent_radii[frames.numbers[k, real]]
        # the atom itself comes first; a large neighbour may touch before a nearer small one
        distance, near = cKDTree(r).query(r, k=range(2, min(len(r), N_NEAR) + 1))
        ratio = distance / (radius[:, None] + radius[near])
        best = ratio.argmin(axis=1)[:, None]
        take = np.take_along_axis
        yield k, real, take(near, best, 1)[:, 0], take(ratio, best, 1)[:, 0]


def _changes_and_work(
    frames: Frames,
) -> tuple[Float[np.ndarray, "pairs"], Float[np.ndarray, "pairs"]]:
    """Energy differences, and the work of the forces, between similar frames.

    Each frame is paired with the most similar one of its composition and charge, after turning that
    onto it (Kabsch, Acta Cryst. A 32, 922, 1976).
    """
    if frames.energy is None or frames.forces is None or frames.is_periodic:
        return np.zeros(0), np.zeros(0)
    changes, works = [np.zeros(0)], [np.zeros(0)]
    for members in _alike(frames):
        if len(members) < 2:
            continue
        real = frames.mask[members[0]]
        r, f = frames.positions[members][:, real], frames.forces[members][:, real]
        r = r - r.mean(axis=1, keepdims=True)
        turn = _rotations(r)
        # [a, b]: frame b turned onto frame a
        turned = np.einsum("bni,abij->abnj", r, turn)
        step = r[:, None] - turned
        size = np.einsum("abni,abni->ab", step, step)
        np.fill_diagonal(size, np.inf)
        b = size.argmin(axis=1)
        a = np.arange(len(members))
        force = f + np.einsum("ani,aij->anj", f[b], turn[a, b])
        works.append(-0.5 * np.einsum("ani,ani->a", force, step[a, b]))
        changes.append(frames.energy[members] - frames.energy[members][b])
    return np.concatenate(changes), np.concatenate(works)


def _line(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> tuple[float, float]:
    """Slope of y over x through the origin, and their correlation; x is not all zero."""
    product, squares = x @ y, (x @ x) * (y @ y)
    return float(product / (x @ x)), float(product / np.sqrt(squares)) if squares else 0.0


def _energy_scatter(frames: Frames) -> float:
    """Standard deviation of the energies of like frames, over what kT = 1 would give."""
    square, expected = 0.0, 0.0
    for members in _alike(frames):
        energy = frames.energy[members]
        square += ((energy - energy.mean()) ** 2).sum()
        vibrations = max(3 * frames.n_atoms[members[0]] - 6, 1)
        expected += (len(members) - 1) * vibrations / 2
    return float(np.sqrt(square / expected))


def _alike(frames: Frames) -> list[Int[np.ndarray, "_members"]]:
    """Frames of the same atoms in the same order, the same charge and spin."""
    key = frames.numbers.astype(float)
    for extra in (frames.total_charge, frames.spin_multiplicity):
        if extra is not None:
            key = np.column_stack([key, extra])
    kind = np.unique(key, axis=0, return_inverse=True)[1].reshape(-1)
    return [np.flatnonzero(kind == k) for k in range(kind.max() + 1)]


def _rotations(
    centred: Float[np.ndarray, "frames atoms 3"],
) -> Float[np.ndarray, "frames frames 3 3"]:
    """[a, b]: the proper rotation Q for which r_b Q is closest to r_a (row vectors)."""
    u, _, v = np.linalg.svd(np.einsum("bni,anj->abij", centred, centred))
    u[..., -1] *= np.sign(np.linalg.det(u @ v))[..., None]
    return u @ v
