"""Plausibility: does what was read look like eV and Å?

A wrong unit raises no error; the model simply learns, or fails to learn, something else. But nature
fixes the scale of three things, so a wrong unit shows:

* **Lengths.** The nearest neighbour of an atom sits at about the sum of their covalent radii.
  Lengths in bohr put it at 1.89 times that, lengths in nm at a tenth.
* **Forces.** At temperatures at which molecules hold together, force components scatter by about
  1 eV/Å; in kcal/mol/Å that reads 23.
* **Energies.** All-electron total energies lie within about one per cent of the sum over free
  atoms. And whatever their zero, energies must be the work of the forces: between two frames
  E₁ - E₀ ≈ -½ (F₁ + F₀)·(R₁ - R₀), the trapezium rule, exact on a parabola. The slope of the one
  against the other is 1, and the factor between two units if energies and forces differ in theirs.

Only a number that fits a known mistake is called one; unusual data pass.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from so3krates_lite.errors import UserError
from so3krates_lite.frames import Frames
from so3krates_lite.units import ENERGY_UNITS, LENGTH_UNITS

N_SAMPLED = 96
N_NEAR = 16  # atoms, itself included, among which an atom's neighbour is sought
FORCE_LIMIT = 8.0  # eV/Å, root mean square; thermal data have 0.3 to 3

# total energies of free atoms, Hartree, non-relativistic: Chakravorty, Gwaltney, Davidson, Parpia,
# Froese Fischer, Phys. Rev. A 47, 3649 (1993), rounded
_FREE_ATOM = np.array(
    (
        *(0, 0.5, 2.904, 7.478, 14.667, 24.654, 37.845, 54.589, 75.067, 99.734, 128.938),
        *(162.255, 200.053, 242.346, 289.359, 341.259, 398.110, 460.148, 527.540),
    )
)
_NOBLE = (2, 10, 18, 36, 54, 86)
_MISTAKEN = ("kcal/mol", "kJ/mol", "meV", "Hartree")
MIN_PAIRS = 20  # frames needed before energies are held against forces

# slope of energy differences against work that each mixture of units would give
_MISMATCHES = {
    "energies in kcal/mol and forces in eV/Å": 1 / ENERGY_UNITS["kcal/mol"],
    "energies in kJ/mol and forces in eV/Å": 1 / ENERGY_UNITS["kJ/mol"],
    "energies in meV and forces in eV/Å": 1e3,
    "energies in Hartree and forces in eV/Å": 1 / ENERGY_UNITS["Hartree"],
    "energies in eV and forces in kcal/mol/Å": ENERGY_UNITS["kcal/mol"],
    "energies in eV and forces in Hartree/Å": ENERGY_UNITS["Hartree"],
    "energies in eV and forces in Hartree/bohr": ENERGY_UNITS["Hartree"] / LENGTH_UNITS["bohr"],
}


def check_plausible(frames: Frames) -> None:
    """Test a set for signs of wrong units.

    Raises:
        UserError: positions, energies or forces look to be in a unit other than Å, eV and eV/Å;
            the sentence says which one it looks like, and how to state it; or two atoms are at
            the same place.
    """
    if len(frames) == 0:
        return
    chosen = np.unique(np.linspace(0, len(frames) - 1, N_SAMPLED).astype(int))
    sample = frames[chosen]
    _check_apart(sample, chosen)
    _check_lengths(sample)
    _check_forces(sample)
    _check_total_energies(sample)
    _check_work(sample)


def nearest_neighbour_ratio(frames: Frames) -> float | None:
    """Median over atoms of the distance to the nearest atom over the sum of covalent radii."""
    from ase.data import covalent_radii
    from scipy.spatial import cKDTree

    ratios = []
    for k in range(len(frames)):
        real = frames.mask[k] & ~np.isin(frames.numbers[k], _NOBLE)
        if real.sum() < 2:
            continue
        r, radius = frames.positions[k, real], covalent_radii[frames.numbers[k, real]]
        # the atom itself comes first; a large neighbour may touch before a nearer small one
        distance, near = cKDTree(r).query(r, k=range(2, min(len(r), N_NEAR) + 1))
        ratios.append((distance / (radius[:, None] + radius[near])).min(axis=1))
    return float(np.median(np.concatenate(ratios))) if ratios else None


def work_slope(frames: Frames) -> tuple[float, float] | None:
    """Energy differences against the work of the forces between similar frames.

    Each frame is paired with the most similar one of its composition and charge, after turning that
    onto it (Kabsch, Acta Cryst. A 32, 922, 1976).

    Returns:
        Slope through the origin and correlation, or None where fewer than `MIN_PAIRS` exist.
    """
    if frames.energy is None or frames.forces is None or frames.is_periodic:
        return None
    changes, works = [], []
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
    if sum(map(len, works)) < MIN_PAIRS:
        return None
    change, work = np.concatenate(changes), np.concatenate(works)
    norm = (work @ work) * (change @ change)
    if norm == 0:
        return None
    return float(change @ work / (work @ work)), float(change @ work / np.sqrt(norm))


# -- the four tests -------------------------------------------------------------------------------


def _check_apart(sample: Frames, frame: Int[np.ndarray, " frames"]) -> None:
    for k in range(len(sample)):
        places, count = np.unique(sample.positions[k, sample.mask[k]], axis=0, return_counts=True)
        if (count > 1).any():
            x, y, z = places[count > 1][0]
            raise UserError(
                f"frame {frame[k]} has {count.max()} atoms at one place, ({x:g}, {y:g}, {z:g}) Å: "
                f"remove the frame or mend its source"
            )


def _check_lengths(frames: Frames) -> None:
    ratio = nearest_neighbour_ratio(frames)
    if ratio is None or frames.is_periodic:  # a small cell's neighbours may be images
        return
    for unit, factor in LENGTH_UNITS.items():
        # in bohr, numbers are larger by 1/0.529 than they should be
        if unit != "Angstrom" and 0.75 < ratio * factor < 1.15 and not 0.7 < ratio < 1.45:
            raise UserError(
                f"positions look to be in {unit}, not Å (nearest atoms are {ratio:.2f} times the "
                f"sum of their covalent radii apart): state length_unit={unit!r}"
            )
    if 0.4 < ratio < 0.58:
        raise UserError(
            f"positions look to be in Å already but were converted from bohr (nearest atoms are "
            f"{ratio:.2f} times the sum of their covalent radii apart): state "
            f"length_unit='Angstrom'"
        )


def _check_forces(frames: Frames) -> None:
    if frames.forces is None:
        return
    rms = float(np.sqrt(np.mean(frames.forces[frames.mask] ** 2)))
    if rms < FORCE_LIMIT:
        return
    unit = "kcal/mol" if rms < 70 else "kJ/mol" if rms < 350 else "meV"
    raise UserError(
        f"forces look to be in {unit}/Å, not eV/Å (their root mean square is {rms:.1f}; thermal "
        f"molecules have about 1): state energy_unit={unit!r}, or remove frames with extreme "
        f"forces, or load with check=False"
    )


def _check_total_energies(frames: Frames) -> None:
    if frames.energy is None or frames.elements.max() >= len(_FREE_ATOM):
        return
    if frames.elements.max() == 1:  # hydrogen alone cannot tell all-electron energies
        return
    atoms = -ENERGY_UNITS["Hartree"] * _FREE_ATOM[frames.numbers].sum(axis=1)
    ratio = float(np.median(frames.energy / atoms))
    for unit in _MISTAKEN:
        if abs(ratio * ENERGY_UNITS[unit] - 1) < 0.02:
            raise UserError(
                f"energies look to be in {unit}, not eV (they are {ratio:.4g} times those of free "
                f"atoms in eV): state energy_unit={unit!r}"
            )
        if unit == "kcal/mol" and abs(ratio / ENERGY_UNITS[unit] - 1) < 0.02:
            raise UserError(
                f"energies look to be in eV already but were converted from {unit} (they are "
                f"{ratio:.4g} times those of free atoms): state energy_unit='eV'"
            )


def _check_work(frames: Frames) -> None:
    fit = work_slope(frames)
    if fit is None:
        return
    slope, correlation = fit
    if slope < -0.3 and correlation < -0.6:
        raise UserError(
            f"forces look to have the wrong sign (energy differences are {slope:.2f} times the "
            f"work against them): forces are minus the gradient of the energy"
        )
    # frames far apart bend the line: only a factor that no curvature explains is a unit's
    if correlation < 0.8 or 0.1 < slope < 8.0:
        return
    nearness = {text: abs(np.log(slope / factor)) for text, factor in _MISMATCHES.items()}
    fitting = sorted((text for text in nearness if nearness[text] < 0.8), key=nearness.get)
    guess = f"looks like {' or '.join(fitting[:3])}" if fitting else "no known pair of units fits"
    raise UserError(
        f"energies and forces are not in units that belong together: energy differences are "
        f"{slope:.3g} times the work of the forces instead of once ({guess}); state the units, or "
        f"load with check=False"
    )


# -- helpers --------------------------------------------------------------------------------------


def _alike(frames: Frames) -> list[Int[np.ndarray, " members"]]:
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
