"""What an implementation offers to be measured: set up, trace, run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np


class Implementation(ABC):
    """A model with its training data, made from frames (eV, Å), a configuration and a batch size.

    Making one draws parameters and moves the data to the device. What is traced is compiled by the
    caller, who hands the result back to `train` and `evaluate`.
    """

    steps_per_call = 1

    @abstractmethod
    def trace_training(self) -> jax.stages.Traced:
        """The program of a training step (or of several, see `train`)."""

    @abstractmethod
    def train(self, compiled: Any, steps: int) -> float:
        """Run ``steps`` full updates (a multiple of `steps_per_call`); the last one's loss."""

    @abstractmethod
    def trace_evaluation(self) -> jax.stages.Traced:
        """The program of the energy and forces of one batch."""

    @abstractmethod
    def evaluate(self, compiled: Any) -> Any:
        """Energy and forces of one batch; may return before they are ready."""

    @property
    @abstractmethod
    def parameters(self) -> Any:
        """The tree of trained values."""

    @staticmethod
    def orders(n_frames: int, batch_size: int) -> Iterator[np.ndarray]:
        """Frames of one step after another, in random order, without end."""
        rng = np.random.default_rng(0)
        while True:
            yield rng.choice(n_frames, batch_size, replace=n_frames < batch_size)
