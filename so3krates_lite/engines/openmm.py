"""OpenMM moves atoms by the forces of an ASE calculator, through its bridge openmmml.

OpenMM's integrators, barostats, biases and reporters then work on our energies. Positions go to the
calculator and forces come back in every step: what is gained is what OpenMM can do, not speed.
OpenMM counts in nm, kJ/mol and ps; the bridge converts.

Source: Eastman et al., J. Phys. Chem. B 128, 109 (2024).
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.simulate.calculator import So3kratesCalculator

if TYPE_CHECKING:
    from ase import Atoms


def openmm_system(
    atoms: Atoms, potential: Potential | str | PathLike, **settings: Any
) -> tuple[Any, Any, Any]:
    """What OpenMM's ``Simulation`` is made of: a topology without bonds, the system of atoms with
    the potential's forces, and positions in nm.

    Args:
        atoms: with the charge and spin in ``info`` that the potential reads, if it does; a cell has
            its first vector along x and its second in the xy plane, as OpenMM wants it
        potential: a `Potential` or `Ensemble`, its file, or the name of one
        settings: as of `So3kratesCalculator`

    Raises:
        UserError: openmm or openmmml is not installed, or the cell is not of that form
    """
    try:
        from openmm import app, unit
        from openmmml import MLPotential
    except ImportError as error:
        raise UserError(
            f"OpenMM or its bridge is missing ({error}): pip install 'so3krates-lite[engines]'."
        ) from None
    topology = app.Topology()
    residue = topology.addResidue("ALL", topology.addChain())
    for symbol in atoms.symbols:
        topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)
    if atoms.pbc.any():
        topology.setPeriodicBoxVectors(_checked(atoms) * unit.angstrom)
    copy = atoms.copy()
    copy.calc = So3kratesCalculator(potential, **settings)
    copy.get_potential_energy()  # what cannot be computed is told here, not within OpenMM
    system = MLPotential("ase").createSystem(topology, aseAtoms=copy)
    return topology, system, atoms.positions * 0.1 * unit.nanometer


def _checked(atoms: Atoms) -> np.ndarray:
    """The cell (Å), if OpenMM takes it: periodic all over, lower triangular, and reduced."""
    cell = atoms.cell.array
    half = np.abs(np.diag(cell)) / 2 + 1e-9
    reduced = abs(cell[1, 0]) <= half[0] and abs(cell[2, 0]) <= half[0]
    reduced = reduced and abs(cell[2, 1]) <= half[1] and (np.diag(cell) > 0).all()
    if not atoms.pbc.all() or np.abs(np.triu(cell, 1)).max() > 1e-9 or not reduced:
        raise UserError(
            "OpenMM takes cells that are periodic along all three vectors, the first along x, the "
            "second in the xy plane, each leaning by no more than half of the others: turn the "
            "structure by atoms.cell.standard_form(), or by ase.build.niggli_reduce(atoms) first."
        )
    return cell
