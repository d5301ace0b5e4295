"""SO3LR as this package computes it."""

from __future__ import annotations

import time

import jax

import so3krates_lite as s3
from benchmarks.so3lr.by_calculator import ByCalculator
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.potential import Potential
from so3krates_lite.published.so3lr import CONFIG
from so3krates_lite.simulate.calculator import So3kratesCalculator
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames

TINY = {"features": 16, "layers": 1, "heads": 2, "degrees": (1, 2)}


def potential_of(settings: dict) -> Potential:
    """The published one; if "tiny", a small one of its form with random weights."""
    if not settings.get("tiny"):
        return s3.load_potential("so3lr", long_cutoff=settings["long_cutoff"])
    form = {name: getattr(CONFIG, name) for name in ("variant", "cutoff", "physics")}
    electrons = {"charge_embedding": True, "spin_embedding": True}
    config = So3kratesConfig(**form, **electrons, **TINY)
    return Potential.random(config).with_long_cutoff(settings["long_cutoff"])


class Ours(ByCalculator):
    """`Potential.predict_batch` of a batch made once, and the calculator."""

    packages = ("jax", "numpy")

    @staticmethod
    def start_device() -> None:
        jax.devices()

    def start(self, settings: dict) -> So3kratesCalculator:
        return So3kratesCalculator(potential_of(settings), precision="float32")

    def make(self) -> None:
        self.potential = self.atoms.calc.potential
        begin = time.perf_counter()
        self.batch = make_batch(Frames.from_atoms([self.atoms.copy()]), self.potential.config)
        self.neighbours = time.perf_counter() - begin

    def compute(self):
        return self.potential.predict_batch(self.batch)
