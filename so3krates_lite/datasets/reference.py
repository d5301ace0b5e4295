"""The reference method GFN2-xTB, and the molecules it is asked about here.

A calculator, the minimum of each molecule, and its bonds: what the generation of data (`generate`)
stands on. Needs tblite and ASE; both are imported only when asked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from so3krates_lite.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms

METHOD = "GFN2-xTB"
LABEL_ACCURACY = 0.01  # tblite's factor on its convergence thresholds
MINIMUM_ACCURACY = 0.1  # the same, while looking for a minimum
BOND = 1.3  # pairs closer than this times the sum of covalent radii are bonded in the minimum
STRETCHED = 1.45  # a bond longer than this times its length in the minimum is broken
FORMED = 1.15  # an unbonded pair closer than this times the sum of covalent radii is a new bond


def reference_calculator(
    charge: int, accuracy: float = 1.0, electronic_temperature: float = 300.0
) -> Any:
    """An ASE calculator for GFN2-xTB, closed shell; the electronic temperature in K."""
    software_versions()
    # molecules this small gain nothing from threads, and on a busy machine lose a factor of ten;
    # the library reads this once, when it is first loaded
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from tblite.ase import TBLite

    return TBLite(
        method=METHOD,
        charge=charge,
        multiplicity=1,
        accuracy=accuracy,
        electronic_temperature=electronic_temperature,
        verbosity=0,
    )


def label(
    structure: Atoms,
    charge: int,
    positions: Sequence[np.ndarray] | Float[np.ndarray, "frames atoms 3"],
    electronic_temperature: float = 300.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies (eV), forces (eV/Å) and atomic charges (e) at given positions (Å)."""
    atoms = structure.copy()
    atoms.calc = reference_calculator(charge, LABEL_ACCURACY, electronic_temperature)
    energies, forces, charges = [], [], []
    for frame in positions:
        atoms.positions = np.asarray(frame, dtype=float)
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
        charges.append(atoms.get_charges())
    return np.array(energies), np.array(forces), np.array(charges)


def software_versions() -> str:
    """Versions of what makes the labels; fails in one sentence without tblite."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return ", ".join(f"{name} {version(name)}" for name in ("tblite", "ase", "numpy"))
    except PackageNotFoundError as error:
        raise UserError(
            "generating data needs tblite, which is not installed: "
            "pip install 'so3krates-lite[generate]'"
        ) from error


def starting_structure(name: str) -> tuple[Atoms, dict[str, str]]:
    """The GFN2-xTB minimum of a molecule (ASE atoms, Å), and remarks about it.

    Ethanol has MD17's order of atoms: C of CH2, C of CH3, O, two H of CH2, three of CH3, the
    hydroxyl's. The chains run from the first carbon to
    the tenth, then the hydrogens. In C10H3+ the extra proton is tried on each of the five distinct
    carbons; the lowest minimum is taken.
    """
    if name == "ethanol":
        from ase.build import molecule

        # ASE orders CH3, CH2, O, hydroxyl H, two H of CH2, three of CH3
        return relax(molecule("CH3CH2OH")[[1, 0, 2, 4, 5, 6, 7, 8, 3]], 0), {}
    if name == "C10H2":
        return relax(_polyyne(), 0), {}
    if name == "C10H3+":
        tried = {site: relax(_protonated(site), 1) for site in range(1, 6)}
        energies = {site: atoms.get_potential_energy() for site, atoms in tried.items()}
        best = min(energies, key=energies.__getitem__)
        text = ", ".join(
            f"C{site} {1e3 * (e - energies[best]):.0f}" for site, e in energies.items()
        )
        remark = f"lowest on C{best} (C1 = chain end); started from each site, in meV above: {text}"
        return tried[best], {"proton": remark}
    raise UserError(f"no starting structure is known for {name!r}")


def relax(atoms: Atoms, charge: int) -> Atoms:
    """Minimise the energy until no force exceeds 1 meV/Å."""
    from ase.optimize import BFGS

    atoms = atoms.copy()
    atoms.calc = reference_calculator(charge, MINIMUM_ACCURACY)
    if not BFGS(atoms, logfile=None).run(fmax=1e-3, steps=1000):
        raise UserError(f"{atoms.symbols} did not relax in 1000 steps")
    return atoms


def _polyyne() -> Atoms:
    """H-C≡C-C≡C-C≡C-C≡C-C≡C-H, slightly bent so that relaxation is free to leave the line."""
    from ase import Atoms

    height = np.concatenate([[0.0], np.cumsum([1.21, 1.34] * 4 + [1.21])])
    height = np.concatenate([height, [height[0] - 1.06, height[-1] + 1.06]])
    wave = 0.01 * np.stack([np.sin(np.arange(12)), np.cos(np.arange(12))], axis=1)
    return Atoms("C10H2", np.column_stack([wave, height]))


def _protonated(site: int) -> Atoms:
    """The chain with a proton beside carbon `site` (1 = the end)."""
    from ase import Atom

    atoms = _polyyne()
    offset = [1.0, 0.1, 0.0]
    if site == 1:  # two hydrogens share the end carbon
        atoms.positions[10] = atoms.positions[0] + [-0.93, 0.0, -0.54]
        offset = [0.93, 0.05, -0.54]
    atoms.append(Atom("H", atoms.positions[site - 1] + offset))
    return atoms


@dataclass(frozen=True)
class Topology:
    """Which atoms are bonded in the minimum, and what may never happen in a frame."""

    bonded: Bool[np.ndarray, "atoms atoms"]
    longest: Float[np.ndarray, "atoms atoms"]  # Å, for bonded pairs
    shortest: Float[np.ndarray, "atoms atoms"]  # Å, for unbonded pairs
    pairs: tuple[Int[np.ndarray, "pairs"], Int[np.ndarray, "pairs"]]

    @staticmethod
    def of(atoms: Atoms) -> Topology:
        """Bonds by covalent radii (Cordero et al., Dalton Trans. 2008, 2832)."""
        from ase.data import covalent_radii

        radii = covalent_radii[atoms.numbers]
        contact = radii[:, None] + radii[None, :]
        distance = atoms.get_all_distances()
        bonded = (distance < BOND * contact) & ~np.eye(len(atoms), dtype=bool)
        return Topology(
            bonded, STRETCHED * distance, FORMED * contact, np.triu_indices(len(atoms), 1)
        )

    def wrong(
        self, positions: Float[np.ndarray, "*frames atoms 3"]
    ) -> Bool[np.ndarray, "*frames pairs"]:
        """Which pairs are broken bonds or new ones."""
        i, j = self.pairs
        distance = np.linalg.norm(positions[..., i, :] - positions[..., j, :], axis=-1)
        broken = self.bonded[i, j] & (distance > self.longest[i, j])
        return broken | (~self.bonded[i, j] & (distance < self.shortest[i, j]))

    def intact(self, positions: Float[np.ndarray, "atoms 3"]) -> bool:
        """Whether every bond holds and no new one has formed."""
        return not self.wrong(positions).any()
