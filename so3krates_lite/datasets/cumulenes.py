"""Cumulenes, H2C=C=...=CH2: chains whose two ends feel each other's orientation.

Turning one CH2 group about the chain breaks a double bond that runs through all of it. The energy
over that angle is a curve with one barrier: for an odd number of carbons the two groups want to
stand across each other (90 degrees), for an even number in one plane (0 and 180). The barrier falls
with the length of the chain and never vanishes.

The set holds two kinds of frames for every chain of 3 to 15 carbons. *Sampled* frames, to learn
from: the angle is drawn evenly, the chain is relaxed at that angle, and then every atom is
displaced at random. *Scanned* frames, to look at: relaxed chains at angles 0, 7.5, ... 180 degrees.
`group` is n for sampled frames and 100 + n for scanned ones.

Where the barrier peaks two electronic states cross, and a closed-shell method has a cusp there. An
electronic temperature of 1000 K makes it a smooth top about ten degrees wide. It is what is learnt,
not a statement on real cumulenes, whose barrier needs more than one determinant.

Carbons stand first, along the chain, then the two hydrogens of the first end and of the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from so3krates_lite.datasets.reference import METHOD, label, reference_calculator, software_versions
from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames

if TYPE_CHECKING:
    from ase import Atoms

CARBONS = tuple(range(3, 16))
ANGLES = np.arange(0, 180.1, 7.5)  # degrees, of the scan
SCANNED = 100  # added to n in the group of scanned frames
DISPLACEMENT = (0.01, 0.05)  # Å, standard deviation, drawn evenly for each frame
ELECTRONIC_TEMPERATURE = 1000.0  # K


def sampled(frames: Frames, carbons: int) -> Frames:
    """The distorted chains of ``carbons`` carbons, at random angles."""
    return _chosen(frames, carbons, carbons)


def scan(frames: Frames, carbons: int) -> Frames:
    """The relaxed chains of ``carbons`` carbons, by rising angle."""
    return _chosen(frames, carbons, SCANNED + carbons)


def _chosen(frames: Frames, carbons: int, group: int) -> Frames:
    chosen = np.flatnonzero(frames.group == group) if frames.group is not None else []
    if len(chosen) == 0:
        raise UserError(
            f"These frames hold no cumulene of {carbons} carbons (group {group}): the set "
            f"cumulenes-gfn2 has those of {CARBONS[0]} to {CARBONS[-1]}."
        )
    return frames[chosen]


def dihedral_of(frames: Frames) -> Float[np.ndarray, "frames"]:
    """Angle between the planes of the two CH2 groups in degrees, from 0 to below 180.

    It is measured about the line from the first to the last carbon, from the line through the
    first end's hydrogens to that of the last end's; exchanging the two hydrogens of an end changes
    nothing.
    """
    angles = np.empty(len(frames))
    for k in range(len(frames)):
        numbers = frames.numbers[k][frames.mask[k]]
        n = int((numbers == 6).sum())
        if n < 2 or numbers.tolist() != [6] * n + [1] * 4:
            raise UserError(f"Frame {k} is no cumulene: n carbons and then 4 hydrogens are one.")
        R = frames.positions[k]
        axis = R[n - 1] - R[0]
        axis = axis / np.linalg.norm(axis)
        first, last = R[n + 1] - R[n], R[n + 3] - R[n + 2]
        first, last = (v - (v @ axis) * axis for v in (first, last))
        angle = np.degrees(np.arctan2(np.cross(first, last) @ axis, first @ last))
        angles[k] = (angle + 1e-3) % 180.0 - 1e-3  # rounding must not turn 0 into 180
    return angles


def cumulene(carbons: int, dihedral: float, shape: Float[np.ndarray, "parameters"]) -> Atoms:
    """A straight chain.

    Args:
        carbons: n
        dihedral: degrees
        shape: heights of the carbons above the chain's middle, from the end inwards (n // 2 of
            them), then distance of the hydrogens from the axis, and their height beyond the end (Å)
    """
    from ase import Atoms

    half = carbons // 2
    heights, (radius, beyond) = np.asarray(shape[:half]), shape[half:]
    z = np.concatenate([-heights, [0.0] * (carbons % 2), heights[::-1]])
    line = np.stack([0 * z, 0 * z, z], axis=1)
    ends = []
    for side, angle in ((-1, 0.0), (1, np.radians(dihedral))):
        out = radius * np.array([np.cos(angle), np.sin(angle), 0.0])
        tip = np.array([0.0, 0.0, side * (heights[0] + beyond)])
        ends += [tip + out, tip - out]
    return Atoms("C" * carbons + "H4", np.concatenate([line, ends]))


def relaxed_shape(
    carbons: int, dihedral: float, start: Float[np.ndarray, "parameters"] | None = None
) -> Float[np.ndarray, "parameters"]:
    """The `cumulene` shape of least energy at a fixed angle."""
    from scipy.optimize import minimize

    half = carbons // 2
    if start is None:
        start = np.append(1.28 * ((carbons - 1) / 2 - np.arange(half)), [0.93, 0.55])
    calculator = _calculator(0.1)
    step = 1e-3
    # how every atom moves with each parameter: the shape is linear in them
    at = [cumulene(carbons, dihedral, start + step * unit).positions for unit in np.eye(half + 2)]
    moves = (np.array(at) - cumulene(carbons, dihedral, start).positions) / step

    def energy_and_slope(shape: np.ndarray) -> tuple[float, np.ndarray]:
        atoms = cumulene(carbons, dihedral, shape)
        atoms.calc = calculator
        return atoms.get_potential_energy(), -np.einsum("pad,ad->p", moves, atoms.get_forces())

    found = minimize(energy_and_slope, start, jac=True, method="BFGS", options={"gtol": 2e-3})
    if np.abs(found.jac).max() > 1e-2:
        raise UserError(f"C{carbons}H4 at {dihedral:g} degrees did not relax: {found.message}")
    return found.x


@dataclass(frozen=True)
class CumuleneRecipe:
    """How the set is made, see `so3krates_lite.datasets.generate`."""

    name: str = "cumulenes-gfn2"
    title: str = "Cumulenes C3H4 to C15H4 at all angles between their ends"
    n_frames: int = 200
    seed: int = 2022
    carbons: Sequence[int] = CARBONS

    def make(self, n_frames: int | None, seed: int, progress: bool) -> Frames:
        """Sampled and scanned frames of every chain: about a minute."""
        from tqdm.auto import tqdm

        software = software_versions()
        wanted = self.n_frames if n_frames is None else n_frames
        sets = []
        for n in tqdm(self.carbons, desc="cumulenes", unit="chain", disable=not progress):
            rng = np.random.default_rng([seed, n])
            sets.extend(_frames_of(n, wanted, rng))
        info = {
            "name": self.name,
            "title": self.title,
            "level_of_theory": f"{METHOD}, closed shell, gas phase, electronic temperature "
            f"{ELECTRONIC_TEMPERATURE:g} K",
            "software": software,
            "sampling": f"angle drawn evenly from 0 to 180 degrees, chain relaxed at the angle, "
            f"then every coordinate displaced with a standard deviation drawn from "
            f"{DISPLACEMENT[0]} to {DISPLACEMENT[1]} Å",
            "seed": str(seed),
            "citation": "Method: Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 "
            "(2019); program: tblite; data: made by so3krates-lite",
            "licence": "CC0-1.0",
            "order": f"by length; group = n for sampled frames, {SCANNED} + n for the scan",
        }
        return Frames.concatenate(sets).replace(info=info)


def _frames_of(n: int, n_frames: int, rng: np.random.Generator) -> list[Frames]:
    """Sampled frames of one chain, and its scan."""
    quarter = ANGLES[ANGLES <= 90]
    shapes: list[np.ndarray] = []
    for angle in quarter:  # each from the one before: neighbours are alike
        shapes.append(relaxed_shape(n, angle, shapes[-1] if shapes else None))
    table = np.array(shapes).T

    def chain(angle: float) -> Atoms:
        # beyond 90 degrees the chain is its own mirror image
        folded = min(angle, 180 - angle)
        return cumulene(n, angle, np.array([np.interp(folded, quarter, row) for row in table]))

    positions = []
    for _ in range(n_frames):
        ideal = chain(rng.uniform(0, 180)).positions
        positions.append(ideal + rng.normal(0, rng.uniform(*DISPLACEMENT), ideal.shape))
    scanned = [chain(angle).positions for angle in ANGLES]
    return [
        _labelled(n, positions, group=n),
        _labelled(n, scanned, group=SCANNED + n),
    ]


def _labelled(n: int, positions: Sequence[np.ndarray], group: int) -> Frames:
    atoms = cumulene(n, 0.0, np.ones(n // 2 + 2))
    rounded = np.array(positions).reshape(-1, n + 4, 3).astype(np.float32)
    energy, forces, _ = label(atoms, 0, rounded, ELECTRONIC_TEMPERATURE)
    return Frames(
        numbers=np.tile(atoms.numbers, (len(rounded), 1)),
        positions=rounded,
        energy=energy,
        forces=forces,
        group=np.full(len(rounded), group),
    )


def _calculator(accuracy: float):
    return reference_calculator(0, accuracy, ELECTRONIC_TEMPERATURE)
