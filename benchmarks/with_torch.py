"""How an implementation in PyTorch is set up, trained and run.

Its environment needs neither JAX nor this package installed: structures come by numpy alone, and so
does what is imported from the package beside us. Each peer says in `benchmarks/peers/` how its
network, graphs and outputs are made from its own package; the rest is the same for all. Neighbours
are searched and batches put together at the set-up, so a timed step holds nothing but the network,
the loss, its gradient and the update.
"""

from __future__ import annotations

import os
import platform
import time
from abc import abstractmethod
from importlib.metadata import version
from itertools import islice
from typing import Any

import numpy as np
import torch

from benchmarks.implementation import Implementation
from benchmarks.structures import Structure, read_structures
from so3krates_lite.runtime.settings import processor

N_BATCHES = 10
ENERGY_WEIGHT, FORCES_WEIGHT = 0.01, 0.99


class TorchImplementation(Implementation):
    """A peer. ``settings`` holds only "tiny": a small network that shows that everything runs."""

    packages: tuple[str, ...] = ()

    def __init__(self, structures: list[Structure], settings: dict, batch_size: int) -> None:
        torch.set_num_threads(os.cpu_count() or 1)
        torch.manual_seed(0)
        # TorchScript's profiling executor stops for up to two minutes in the first steps;
        # what it gains and costs stands in README.md
        torch._C._jit_set_profiling_mode(False)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.elements = sorted({int(number) for s in structures for number in s.numbers})
        self.start(settings["tiny"])
        begin = time.perf_counter()
        graphs = [self.graph(structure) for structure in structures]
        self.neighbours = time.perf_counter() - begin
        self.model = self.network(structures, graphs, settings["tiny"]).to(self.device)
        mean = float(np.mean([structure.energy for structure in structures]))
        self.batches = []
        for index in islice(self.orders(len(structures), batch_size), N_BATCHES):
            energy = np.array([structures[k].energy - mean for k in index], np.float32)
            forces = np.concatenate([structures[k].forces for k in index])
            targets = [torch.as_tensor(array, device=self.device) for array in (energy, forces)]
            self.batches.append((self.collate([graphs[k] for k in index]), *targets))
        self.step = 0
        self.kind = ""
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = self.optimiser_of(self.trained)

    def start(self, tiny: bool) -> None:
        """Whatever must happen before graphs are made."""

    @abstractmethod
    def graph(self, structure: Structure) -> Any:
        """The peer's own form of a structure with its neighbour list."""

    @abstractmethod
    def network(self, structures: list[Structure], graphs: list, tiny: bool) -> torch.nn.Module:
        """The peer's network at its published settings."""

    @abstractmethod
    def collate(self, graphs: list) -> dict[str, torch.Tensor]:
        """One batch of graphs on the device."""

    @abstractmethod
    def energy_and_forces(self, batch: dict, training: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Energies (graphs) and forces (atoms, 3) of ``batch``, which may be changed."""

    def optimiser_of(self, parameters: list) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=1e-3, amsgrad=True)

    @staticmethod
    def start_device() -> None:
        if torch.cuda.is_available():
            torch.cuda.init()

    @staticmethod
    def read(frames: str, settings: dict) -> tuple[Any, Any]:
        return read_structures(frames), settings

    def prepare(self, kind: str) -> dict[str, float]:
        return {}  # what is compiled is compiled in the first call

    def switch(self, kind: str) -> None:
        """Between training and evaluation, where no parameter needs a gradient."""
        if kind != self.kind:
            self.kind = kind
            self.model.train(kind == "training")
            for parameter in self.trained:
                parameter.requires_grad_(kind == "training")

    def run(self, kind: str) -> int:
        self.switch(kind)
        if kind == "training":
            batch, energy, forces = self.batches[self.step % len(self.batches)]
            self.step += 1
            self.optimiser.zero_grad(set_to_none=True)
            found_energy, found_forces = self.energy_and_forces(dict(batch), training=True)
            loss = ENERGY_WEIGHT * torch.mean((found_energy - energy) ** 2)
            loss = loss + FORCES_WEIGHT * torch.mean((found_forces - forces) ** 2)
            loss.backward()
            self.optimiser.step()
            float(loss)
        else:
            self.energy_and_forces(dict(self.batches[0][0]), training=False)
            self.wait()
        return 1

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def facts(self) -> dict[str, Any]:
        on_gpu = self.device.type == "cuda"
        name = torch.cuda.get_device_name() if on_gpu else processor()
        return {
            "parameters": sum(parameter.numel() for parameter in self.trained),
            "platform": "gpu" if on_gpu else "cpu",
            "hardware": f"{name}, {os.cpu_count()} CPU cores, Python {platform.python_version()}",
            "versions": {package: version(package) for package in ("torch", *self.packages)},
            **({"device memory": torch.cuda.max_memory_allocated() / 2**20} if on_gpu else {}),
        }
