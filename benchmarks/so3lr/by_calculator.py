"""What the three implementations of SO3LR have in common: one structure, energies and forces.

Each is measured in two ways. "Made once": neighbours and all other inputs are made at the set-up,
and a call computes energy and forces of them. "Calculator": a call asks the implementation's ASE
calculator for forces at positions that have moved, as a simulation does.

Nothing here needs more than numpy and ASE, which all three environments have.
"""

from __future__ import annotations

import os
import platform
from abc import abstractmethod
from importlib.metadata import version
from typing import Any

import numpy as np
from ase import Atoms

from benchmarks.implementation import Implementation
from benchmarks.structures import read_structures
from so3krates_lite.runtime.settings import processor

SWING, STEP = 0.1, 0.1  # Å, and of a radian: up to 0.01 Å a call, as in 0.5 fs at room temperature


class ByCalculator(Implementation):
    """``settings``: "long_cutoff" in Å and whether it is the "calculator" that is measured."""

    packages: tuple[str, ...] = ()

    def __init__(self, atoms: Atoms, settings: dict, batch_size: int) -> None:
        self.atoms, self.is_calculator = atoms, settings["calculator"]
        self.atoms.calc = self.start(settings)
        self.positions, self.calls = atoms.positions.copy(), 0
        self.directions = np.random.default_rng(1).uniform(-1, 1, self.positions.shape)
        self.found: tuple[Any, Any] | None = None  # what the first call gave
        if not self.is_calculator:
            self.make()

    @abstractmethod
    def start(self, settings: dict) -> Any:
        """The ASE calculator; in float32."""

    @abstractmethod
    def make(self) -> None:
        """The inputs of `compute`."""

    @abstractmethod
    def compute(self) -> tuple[Any, Any]:
        """Energy and forces, when they are there."""

    @staticmethod
    def read(frames: str, settings: dict) -> tuple[Any, Any]:
        (structure,) = read_structures(frames)
        atoms = Atoms(structure.numbers, structure.positions)
        if structure.cell is not None:
            atoms.set_cell(structure.cell)
            atoms.set_pbc(True)
        atoms.info["charge"] = 0
        return atoms, settings

    def prepare(self, kind: str) -> dict[str, float]:
        return {}  # what is compiled is compiled in the first call

    def run(self, kind: str) -> int:
        if self.is_calculator:
            swing = SWING * np.sin(STEP * self.calls)
            self.atoms.positions = self.positions + swing * self.directions
            self.calls += 1
            forces = self.atoms.get_forces()
            found = self.atoms.calc.results["energy"], forces
        else:
            found = self.compute()
        if self.found is None:
            self.found = found
        return 1

    def wait(self) -> None:
        pass

    def facts(self) -> dict[str, Any]:
        found = {}
        if self.found is not None:
            energy, forces = (np.asarray(values, np.float64) for values in self.found)
            found = {
                "energy": float(energy.reshape(())),
                "forces": forces.reshape(-1, 3)[: len(self.atoms)].tolist(),
            }
        return {
            "platform": "cpu",
            "hardware": f"{processor()}, {os.cpu_count()} CPU cores",
            "versions": {
                "Python": platform.python_version(),
                **{package: version(package) for package in self.packages},
            },
            **found,
        }
