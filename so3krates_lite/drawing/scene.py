"""What every picture of a molecule with its attention needs, however it is drawn.

A :class:`Scene` holds one frame, centred and with the view from which least is hidden: atoms, the
bonds found by covalent radii, and the path of one tube per directed pair. None of it depends on a
layer or head, so a picture of another one changes only which tubes are drawn
(:func:`chosen_pairs`), how thick (:func:`tube_width`) and in which colour. The turning figure
(`molecule3d`) and the still one (`stills`) both start here, so they agree with each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from so3krates_lite.drawing.tubes import Tubes, attention_tubes, unit
from so3krates_lite.errors import UserError
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.blocks import BLOCKS
from so3krates_lite.record.wording import atom_labels
from so3krates_lite.structures.frames import Frames

# near the usual colours, tuned to stand on white and on black and apart from the attention's
ELEMENT_COLOUR = {
    1: "#f1f3f5",
    6: "#646b75",
    7: "#4457c7",
    8: "#d3303f",
    9: "#5fb870",
    11: "#9a5fd0",
    15: "#c9701f",
    16: "#d9c22e",
    17: "#3fa34d",
    47: "#b8bec6",
}
WIDEST = 0.12  # Å, radius of a tube at the end of the scale
CHOICES = ("all", "receiver", "sender")


def element_colour(number: int) -> str:
    """Hex colour of an element."""
    if number in ELEMENT_COLOUR:
        return ELEMENT_COLOUR[number]
    from ase.data.colors import jmol_colors

    return "#" + "".join(f"{round(255 * float(c)):02x}" for c in jmol_colors[number])


def label_colour(number: int) -> str:
    """Black or white, whichever reads better on the element's colour."""
    rgb = [int(element_colour(number)[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    return "#20262d" if np.dot(rgb, [0.299, 0.587, 0.114]) > 0.55 else "#ffffff"


def atom_radius(number: int) -> float:
    """Drawn radius in Å: between the elements as their covalent radii, but nearer to each other."""
    from ase.data import covalent_radii

    return 0.15 + 0.3 * float(covalent_radii[number])


def find_bonds(
    numbers: Int[np.ndarray, "atoms"], positions: Float[np.ndarray, "atoms 3"], slack: float = 1.2
) -> Int[np.ndarray, "bonds 2"]:
    """Pairs i < j nearer than ``slack`` times the sum of their covalent radii. Å."""
    from ase.data import covalent_radii

    radii = covalent_radii[np.asarray(numbers)]
    i, j = np.triu_indices(len(radii), k=1)
    near = np.linalg.norm(positions[i] - positions[j], axis=-1) < slack * (radii[i] + radii[j])
    return np.stack([i[near], j[near]], axis=1)


@dataclass(frozen=True)
class Scene:
    """One frame, ready to be drawn: centred positions (Å), bonds, tubes and the best view."""

    numbers: Int[np.ndarray, "atoms"]
    labels: list[str]
    positions: Float[np.ndarray, "atoms 3"]
    bonds: Int[np.ndarray, "bonds 2"]
    pairs: Int[np.ndarray, "pairs"]
    receiver: Int[np.ndarray, "pairs"]
    sender: Int[np.ndarray, "pairs"]
    tubes: Tubes
    view: Float[np.ndarray, "3 3"]  # rows: to the right, up, towards the eye
    half: float  # Å, half the edge of the cube that holds everything


def best_view(positions: Float[np.ndarray, "atoms 3"]) -> Float[np.ndarray, "3 3"]:
    """Along the direction in which the molecule is thinnest, a little from above.

    Rows lead to the right, up, and towards the eye.
    """
    right, up, _ = np.linalg.svd(positions - positions.mean(0), full_matrices=True)[2]
    out = unit(np.cross(right, up) + 0.38 * up + 0.18 * right)
    right = unit(np.cross(up, out))
    return np.stack([right, np.cross(out, right), out])


def neighbourhood(block: str) -> str:
    """Which list of pairs a block works on: all but the spherical one share one."""
    return "spherical" if BLOCKS[block].listed == "spherical" else "local"


def scene(source: AttentionRecord | Frames, frame: int = 0, block: str | None = None) -> Scene:
    """Gather what a picture of one frame needs; padding atoms are left out.

    The pairs are those of the ``block``'s list. Frames know of no attention: their scene has no
    pairs and no tubes.
    """
    real = np.flatnonzero(source.numbers[frame] > 0)
    numbers = source.numbers[frame][real]
    positions = np.asarray(source.positions[frame][real], dtype=float)
    pairs = receiver = sender = np.zeros(0, dtype=int)
    vector = np.zeros((0, 3))
    if isinstance(source, AttentionRecord):
        pairs, listed = source.pairs(frame, block), source.neighbours(block)
        place = np.zeros(source.numbers.shape[1], dtype=int)
        place[real] = np.arange(len(real))
        receiver, sender = place[listed.receiver[pairs]], place[listed.sender[pairs]]
        vector = listed.vector[pairs]
    view = best_view(positions)
    seen = positions @ view.T
    positions = positions - (seen.min(0) + seen.max(0)) / 2 @ view
    tubes = attention_tubes(positions[receiver], vector, positions.mean(0))
    half = 1.04 * (np.linalg.norm(positions, axis=1).max(initial=0.5) + 0.55)
    labels = atom_labels(source.numbers[frame])
    bonds = find_bonds(numbers, positions)
    return Scene(
        numbers, labels, positions, bonds, pairs, receiver, sender, tubes, view, float(half)
    )


def is_large(values: Float[np.ndarray, " pairs"], limit: float, threshold: float) -> np.ndarray:
    """Whether to draw a value: never where it is zero, which a threshold of zero would let pass."""
    return (np.abs(values) >= threshold * limit) & (values != 0)


def chosen_pairs(
    picture: Scene,
    values: Float[np.ndarray, "pairs"],
    limit: float,
    threshold: float = 0.05,
    atom: int | None = None,
    role: str = "receiver",
) -> np.ndarray:
    """Which pairs are drawn: those of ``atom`` (all if None) above ``threshold`` · ``limit``.

    With ``role='receiver'`` the atom asks (what it attends to), with ``'sender'`` it answers.
    """
    if role not in CHOICES[1:]:
        raise UserError(f"Unknown role '{role}': choose 'receiver' or 'sender'.")
    if atom is not None and not 0 <= atom < len(picture.numbers):
        raise UserError(f"Atom {atom} does not exist: the frame has {len(picture.numbers)} atoms.")
    keep = is_large(values, limit, threshold)
    return keep if atom is None else keep & (getattr(picture, role) == atom)


def tube_width(values: np.ndarray, limit: float) -> np.ndarray:
    """Radius in Å: cross-section, not radius, is proportional to the size."""
    return WIDEST * np.sqrt(np.minimum(np.abs(values) / limit, 1.0))
