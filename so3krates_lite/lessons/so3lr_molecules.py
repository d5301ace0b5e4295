"""Molecules of lesson 11, built from a handful of lengths and angles.

Each says its total charge and its spin, which SO3LR reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from so3krates_lite.structures.frames import Frames

if TYPE_CHECKING:
    from ase import Atoms

OH, HOH = 0.9572, 104.52  # Å and degrees, of a water molecule alone
FAR = 1e5  # Å
BACKBONE = (0, 1, 2, 3)  # the carbons of butane, as ASE numbers them
HYDROGEN_BOND = (12, 3)  # of alanine dipeptide: the hydrogen, the oxygen

_METHYLAMMONIUM = (
    "CNH6",
    [
        (0.084, 0.715, 0.0),
        (-0.010, -0.779, 0.0),
        (-0.923, 1.122, 0.0),
        (-0.508, -1.122, 0.823),
        (-0.508, -1.122, -0.823),
        (0.620, 1.025, 0.893),
        (0.620, 1.025, -0.893),
        (0.916, -1.211, 0.0),
    ],
)
# relaxed with SO3LR in the form with a hydrogen bond that closes a ring of seven
_DIPEPTIDE = (
    "CCNOCHCCHNOCHH9",
    [
        (-2.9426, 0.7556, 0.8261),
        (-1.4379, 0.8017, 0.7704),
        (-0.8293, -0.4047, 0.7639),
        (-0.8103, 1.8493, 0.7427),
        (0.6121, -0.5739, 0.7717),
        (-1.3937, -1.2349, 0.7278),
        (1.2013, -0.4664, -0.6437),
        (0.9841, -1.8939, 1.4089),
        (1.0123, 0.2543, 1.3603),
        (1.1514, 0.7769, -1.1508),
        (1.6773, -1.4280, -1.2187),
        (1.6092, 1.0768, -2.4823),
        (0.6565, 1.4743, -0.6100),
        (-3.2719, 0.3269, 1.7743),
        (-3.3306, 1.7661, 0.7357),
        (-3.3467, 0.1369, 0.0229),
        (0.6035, -2.7295, 0.8201),
        (2.0668, -1.9967, 1.4477),
        (0.5812, -1.9463, 2.4203),
        (0.8095, 0.9731, -3.2205),
        (1.9904, 2.0962, -2.5200),
        (2.4073, 0.3861, -2.7467),
    ],
)


def stated(atoms: Atoms, charge: int = 0, multiplicity: int = 1) -> Atoms:
    """A copy that says its total charge and its spin multiplicity."""
    copy = atoms.copy()
    copy.info = {"charge": charge, "spin_multiplicity": multiplicity}
    return copy


def molecule(name: str) -> Atoms:
    """A neutral molecule as ASE's collection "g2" has it."""
    from ase.build import molecule as of_collection

    return stated(of_collection(name))


def hydronium() -> Atoms:
    """H3O+, 0.98 Å and 112°."""
    from ase import Atoms

    side = 2 * 0.98 * np.sin(np.radians(112) / 2) / np.sqrt(3)  # of each H from the axis
    angle = np.radians([0, 120, 240])
    H = np.stack([side * np.cos(angle), side * np.sin(angle), np.full(3, -1.0)], axis=1)
    H[:, 2] *= np.sqrt(0.98**2 - side**2)
    return stated(Atoms("OH3", np.concatenate([np.zeros((1, 3)), H])), 1)


def ammonium() -> Atoms:
    """NH4+, a tetrahedron of 1.02 Å."""
    from ase import Atoms

    H = 1.02 * _tetrahedron()
    return stated(Atoms("NH4", np.concatenate([np.zeros((1, 3)), H])), 1)


def methylammonium(charge: int = 1) -> Atoms:
    """CH3NH3+, relaxed with SO3LR; uncharged at the same places it is a radical."""
    from ase import Atoms

    return stated(Atoms(*_METHYLAMMONIUM), charge, 1 if charge == 1 else 2)


def alanine_dipeptide() -> Atoms:
    """CH3-CO-NH-CH(CH3)-CO-NH-CH3, whose second NH is bound to the first CO (`HYDROGEN_BOND`)."""
    from ase import Atoms

    return stated(Atoms(*_DIPEPTIDE))


def water_dimers(distances: Sequence[float], *, turned: bool = False) -> Frames:
    """Two rigid waters with a straight hydrogen bond, at oxygen-oxygen distances in Å.

    The first gives its H1 to O3. ``turned``: the second shows its hydrogens instead, its oxygen
    staying where it is.
    """
    half, open_ = np.radians(HOH) / 2, np.radians(HOH)
    donor = OH * np.array([[0, 0, 0], [1, 0, 0], [np.cos(open_), 0, np.sin(open_)]])
    lean = np.radians(55)
    axis = np.array([np.cos(lean), 0, -np.sin(lean)])
    side = np.sin(half) * np.array([[0, 0, 0], [0, 1, 0], [0, -1, 0]])
    acceptor = OH * (np.array([[0], [1], [1]]) * np.cos(half) * axis + side)
    acceptor = -acceptor if turned else acceptor
    places = [np.concatenate([donor, acceptor + np.array([d, 0, 0])]) for d in distances]
    n = len(places)
    numbers = np.tile([8, 1, 1, 8, 1, 1], (n, 1))
    return Frames(numbers, np.array(places), total_charge=np.zeros(n), spin_multiplicity=np.ones(n))


def butane(angle: float) -> Atoms:
    """Butane with its carbons' dihedral angle held at so many degrees; 180 is stretched."""
    from ase.constraints import FixInternals

    atoms = molecule("trans-butane")
    d = atoms.get_all_distances()
    end = (d[2] < 1.2) | (d[3] < 1.7)
    end[list(BACKBONE[:2])] = False
    end[2] = True
    atoms.set_dihedral(*BACKBONE, angle, mask=end)
    atoms.set_constraint(FixInternals(dihedrals_deg=[[angle, list(BACKBONE)]]))
    return atoms


def ice(reach: float = 5.5, bond: float = 2.75) -> Atoms:
    """Water molecules of cubic ice around one, up to ``reach`` (Å) from its oxygen, which is first.

    Each gives two hydrogens and takes two; ``bond`` is the length from oxygen to oxygen in Å.
    """
    from ase import Atoms

    four = _tetrahedron()
    edge = 4 * bond / np.sqrt(3)
    corner = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    corner = corner[corner.sum(axis=1) % 2 == 0] * edge / 2
    oxygen = np.concatenate([corner, corner + bond * four[0]])
    given = np.repeat([four[:2], -four[2:]], len(corner), axis=0)  # by each of the two kinds
    waters = np.concatenate([oxygen[:, None], oxygen[:, None] + OH * given], axis=1)
    distance = np.linalg.norm(oxygen, axis=1)
    order = np.argsort(distance, kind="stable")
    chosen = waters[order[distance[order] <= reach]]
    return stated(Atoms("OHH" * len(chosen), chosen.reshape(-1, 3)))


def apart(one: Atoms, other: Atoms, distance: float = FAR) -> Atoms:
    """Both in one structure, the other moved by so many Å; charges add up."""
    moved = other.copy()
    moved.positions += [distance, 0, 0]
    return stated(one + moved, one.info["charge"] + other.info["charge"])


def _tetrahedron() -> Float[np.ndarray, "4 3"]:
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    return corners / np.sqrt(3)
