"""SO3LR by its authors' JAX code, from checkouts that SO3KRATES_SO3LR names (README.md).

so3lr's own calculator does no more than to make that of mlff with its weights. It does so with an
argument that a later mlff has; so mlff's is made here. Energy and forces of inputs made once are by
the compiled function which that calculator calls.
"""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module
from pathlib import Path
from unittest.mock import MagicMock

import jax
import numpy as np
from ase.calculators.calculator import Calculator

from benchmarks.so3lr.by_calculator import ByCalculator

sys.path[:0] = os.environ["SO3KRATES_SO3LR"].split(os.pathsep)
# imported there, but not for this
UNUSED = ("wandb", "sklearn", "sklearn.feature_extraction", "comms")
sys.modules.update({name: MagicMock() for name in UNUSED})

mlff = import_module("mlff.md.calculator_sparse")


class Original(ByCalculator):
    """mlff's sparse calculator with the defaults of so3lr, and the function it calls."""

    packages = ("jax", "flax", "numpy")

    @staticmethod
    def start_device() -> None:
        jax.devices()

    def start(self, settings: dict) -> Calculator:
        weights = [
            found
            for folder in os.environ["SO3KRATES_SO3LR"].split(os.pathsep)
            if (found := Path(folder) / "so3lr" / "params").is_dir()
        ]
        return mlff.mlffCalculatorSparse.create_from_ckpt_dir(
            weights[0],
            lr_cutoff=settings["long_cutoff"],
            dispersion_energy_cutoff_lr_damping=2.0,
            from_file=True,
            dtype=np.float32,
        )

    def make(self) -> None:
        calculator = self.atoms.calc
        self.system = mlff.atoms_to_system(self.atoms, dtype=np.float32)
        cell = None
        if self.atoms.pbc.any():
            cell = jax.numpy.array(self.atoms.cell.array.T, np.float32)
        begin = time.perf_counter()
        self.pairs, _ = mlff.neighbor_list(
            positions=self.system.R,
            cell=cell,
            cutoff=calculator.cutoff,
            skin=calculator.skin,
            capacity_multiplier=calculator.capacity_multiplier,
            buffer_size_multiplier=calculator.buffer_size_multiplier,
            lr_cutoff=calculator.lr_cutoff,
        )
        jax.block_until_ready(self.pairs)
        self.neighbours = time.perf_counter() - begin
        if self.pairs.overflow:
            raise RuntimeError("its list of neighbours overflows")

    def compute(self):
        found = jax.block_until_ready(self.atoms.calc.calculate_fn(self.system, self.pairs))
        return found["energy"], found["forces"]
