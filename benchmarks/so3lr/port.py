"""SO3LR by so3krates-torch."""

from __future__ import annotations

import os
import time

import torch
from so3krates_torch.calculator.so3 import SO3LRCalculator

from benchmarks.so3lr.by_calculator import ByCalculator


class Port(ByCalculator):
    """Its calculator for SO3LR, and the model in it called with inputs made once."""

    packages = ("so3krates-torch", "torch")

    @staticmethod
    def start_device() -> None:
        torch.set_num_threads(os.cpu_count() or 1)

    def start(self, settings: dict) -> SO3LRCalculator:
        calculator = SO3LRCalculator(
            r_max_lr=settings["long_cutoff"], default_dtype="float32", device="cpu"
        )
        # a constant for each atom, hundreds of eV, that the others leave out: float32 would have
        # no digits left to compare
        (self.model,) = calculator.models
        self.model.atomic_energy_output_block.energy_shifts.data.zero_()
        return calculator

    def settle(self, kind: str) -> None:
        """As many threads as serve best: on a small molecule, threads wait for one another."""
        times = {}
        for threads in {1, os.cpu_count() or 1}:
            torch.set_num_threads(threads)
            self.run(kind)
            begin = time.perf_counter()
            self.run(kind)
            times[threads] = time.perf_counter() - begin
        torch.set_num_threads(min(times, key=times.__getitem__))

    def facts(self):
        return super().facts() | {"threads": torch.get_num_threads()}

    def make(self) -> None:
        begin = time.perf_counter()
        self.batch = self.atoms.calc._atoms_to_batch(self.atoms)
        self.neighbours = time.perf_counter() - begin

    def compute(self):
        # the calculator copies, too: the model notes things in what it is given
        found = self.model(self.batch.clone().to_dict(), compute_stress=False)
        return found["energy"].detach(), found["forces"].detach()
