"""Energy zero and unit: what is subtracted from the energies, and what they are divided by."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from so3krates_lite.datasets.on_disk import FramesOnDisk
from so3krates_lite.embedding import N_ELEMENTS
from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames

ALONE = 8.0  # Å between an atom and its images: no crystal of one atom per cell is so wide


def element_shift(
    frames: Frames | FramesOnDisk, mode: str, energy: Float[np.ndarray, "frames"] | None = None
) -> Float[np.ndarray, "elements"]:
    """Energy per atomic number (eV), fitted to the energies of the training frames.

    "element": least squares over the composition; where compositions do not tell the elements
    apart (one molecule only), the solution of smallest norm. "atom": the same for all elements
    that occur. "isolated": the energies of the frames, which are single atoms. Elements that do not
    occur keep zero. ``energy`` (eV) stands for the frames' own.
    """
    energy = frames.energy if energy is None else energy
    shift = np.zeros(N_ELEMENTS)
    if mode == "none":
        return shift
    if mode == "atom":
        shift[frames.elements] = energy.sum() / frames.n_atoms.sum()
        return shift
    elements = frames.elements
    if mode == "isolated":
        for z in elements.tolist():
            shift[z] = _energy_alone(frames, z, energy)
        return shift
    counts = frames.element_counts(elements).astype(float)
    shift[elements] = np.linalg.lstsq(counts, energy, rcond=None)[0]
    return shift


def isolated_atoms(frames: Frames | FramesOnDisk) -> Bool[np.ndarray, "frames"]:
    """Which frames are one atom alone, without a cell or in a wide one."""
    alone = frames.n_atoms == 1
    single = frames[alone]
    if single.is_periodic:
        inverse = np.linalg.pinv(single.cell)  # its columns are as long as planes are dense
        height = 1 / np.maximum(np.linalg.norm(inverse, axis=1), 1e-9)
        alone[alone] = (~single.pbc | (height > ALONE)).all(axis=1)
    return alone


def _energy_alone(frames: Frames, z: int, energy: Float[np.ndarray, "frames"]) -> float:
    """The energy of an element's single atom; of the neutral one, where charges are known."""
    chosen = frames.numbers[:, 0] == z
    if frames.total_charge is not None and (neutral := chosen & (frames.total_charge == 0)).any():
        chosen = neutral
    energy = energy[chosen]
    if np.ptp(energy) > 1e-3:
        raise UserError(
            f"The single atoms of atomic number {z} have energies from {energy.min():.3f} to "
            f"{energy.max():.3f} eV: leave the one that is to be the zero."
        )
    return float(energy.mean())


def energy_scale(
    frames: Frames | FramesOnDisk, mode: str, shift: Float[np.ndarray, "elements"]
) -> float:
    """eV per unit of network output: the standard deviation of all force components times 1 Å, or
    that of the energies less their shifts."""
    if mode == "none":
        return 1.0
    if mode == "energies":
        zero = frames.element_counts(frames.elements) @ shift[frames.elements]
        scale = float(np.std(frames.energy - zero))
        if not scale > 0:
            raise UserError(
                "All training energies are the same but for their shifts, so they give no scale: "
                'choose energy_scale="forces".'
            )
        return scale
    scale = frames.forces_std()
    if not scale > 0:
        raise UserError(
            "All training forces are zero, so they give the energy no scale: "
            'check the forces, or choose energy_scale="none".'
        )
    return scale
