"""How an implementation in JAX is traced, compiled and run."""

from __future__ import annotations

import time
from abc import abstractmethod
from functools import cached_property
from importlib.metadata import version
from typing import Any

import jax

from benchmarks.implementation import Implementation


class JaxImplementation(Implementation):
    """What is traced is compiled here and handed back to `train` and `evaluate`."""

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

    @cached_property
    def programs(self) -> dict[str, Any]:
        """What `prepare` has compiled, by the kind of work."""
        return {}

    @staticmethod
    def start_device() -> None:
        jax.devices()

    @staticmethod
    def read(frames: str, settings: dict) -> tuple[Any, Any]:
        from so3krates_lite.config import So3kratesConfig
        from so3krates_lite.datasets import load

        return load(frames), So3kratesConfig.from_dict(settings)

    def trace(self, kind: str) -> jax.stages.Traced:
        """The program of a kind of work."""
        return self.trace_training() if kind == "training" else self.trace_evaluation()

    def prepare(self, kind: str) -> dict[str, float]:
        begin = time.perf_counter()
        lowered = self.trace(kind).lower()
        middle = time.perf_counter()
        self.programs[kind] = lowered.compile()
        return {"trace": middle - begin, "compile": time.perf_counter() - middle}

    def run(self, kind: str) -> int:
        if kind == "training":
            self.train(self.programs[kind], self.steps_per_call)
            return self.steps_per_call
        jax.block_until_ready(self.evaluate(self.programs[kind]))
        return 1

    def wait(self) -> None:
        jax.block_until_ready(self.parameters)

    def facts(self) -> dict[str, Any]:
        from so3krates_lite.model import count_parameters
        from so3krates_lite.runtime.settings import hardware

        device = jax.devices()[0]
        statistics = device.memory_stats() if device.platform != "cpu" else None
        names = ("jax", "jaxlib", "flax", "optax", "e3x", "numpy")
        return {
            "parameters": count_parameters(self.parameters),
            "platform": device.platform,
            "hardware": hardware(),
            "versions": {name: version(name) for name in names},
            **({"device memory": statistics["peak_bytes_in_use"] / 2**20} if statistics else {}),
        }
