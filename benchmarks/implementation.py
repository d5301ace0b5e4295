"""What an implementation offers to be measured: read, set up, get ready, run.

Nothing here needs JAX or PyTorch; `with_jax.py` and `with_torch.py` say how each of them does it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

KINDS = ("training", "evaluation")


class Implementation(ABC):
    """A model with its training data, made from structures (eV, Å), settings and a batch size.

    Making one draws parameters, searches neighbours and moves the data to the device. There are two
    kinds of work: "training", full updates on new frames each step, and "evaluation", the energy
    and forces of one batch.
    """

    steps_per_call = 1
    neighbours = math.nan  # time (s) of the neighbour search, a part of the set-up

    @staticmethod
    @abstractmethod
    def start_device() -> None:
        """Wait until the framework has found its device."""

    @staticmethod
    @abstractmethod
    def read(frames: str, settings: dict) -> tuple[Any, Any]:
        """Structures from an npz file and settings in the form that the constructor takes."""

    @abstractmethod
    def prepare(self, kind: str) -> dict[str, float]:
        """Trace and compile, where the framework does; the time of each in seconds."""

    @abstractmethod
    def run(self, kind: str) -> int:
        """One call, until its results are there; how many steps or evaluations it was."""

    def settle(self, kind: str) -> None:  # noqa: B027  most have nothing to try
        """Try out, after the first call, what else than the network decides about the time."""

    @abstractmethod
    def wait(self) -> None:
        """Return when the device has nothing left to do."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Parameters, platform, hardware, versions and, off the CPU, the device's peak memory."""

    @staticmethod
    def orders(n_frames: int, batch_size: int) -> Iterator[np.ndarray]:
        """Frames of one step after another, in random order, without end."""
        rng = np.random.default_rng(0)
        while True:
            yield rng.choice(n_frames, batch_size, replace=n_frames < batch_size)
