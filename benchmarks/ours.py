"""The package itself: its epoch on the device, its energies and forces."""

from __future__ import annotations

import time

import jax
import numpy as np

from benchmarks.with_jax import JaxImplementation
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.energies import initialise
from so3krates_lite.potential import _energy_and_forces
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig
from so3krates_lite.training.config import Optimiser
from so3krates_lite.training.data import Chosen
from so3krates_lite.training.loop import Hyper, _epoch
from so3krates_lite.training.objective import Labelled
from so3krates_lite.training.state import start_state


class Ours(JaxImplementation):
    """So3krates-lite. A call of the epoch's program runs several steps of a small batch."""

    def __init__(
        self,
        frames: Frames,
        config: So3kratesConfig,
        batch_size: int,
        optimiser: Optimiser = "adam",
    ) -> None:
        settings = TrainConfig(optimiser=optimiser, batch_size=batch_size).for_model(config)
        self.config = config
        self.steps_per_call = 5 if batch_size <= 10 else 1
        begin = time.perf_counter()
        batch = make_batch(frames, config)
        self.neighbours = time.perf_counter() - begin
        self.initial = initialise(jax.random.key(0), batch[:1], config)
        self.state = start_state(self.initial, optimiser)
        energy = (frames.energy - frames.energy.mean()).astype(np.float32)
        weight = np.ones(len(frames), np.float32)
        labelled = Labelled(batch, energy, frames.forces.astype(np.float32), weight)
        self.data = jax.device_put(labelled)
        self.hyper = Hyper.of(settings)
        self.rates = np.full(self.steps_per_call, settings.learning_rate, np.float32)
        self.order = self.orders(len(frames), batch_size)

    def steps(self) -> tuple:
        order = np.stack([next(self.order) for _ in range(self.steps_per_call)])
        chosen = Chosen(order[:, None], np.full(len(order), order.shape[1]))
        return self.state, (self.data,), (chosen,), self.rates, self.hyper

    def trace_training(self):
        return _epoch.trace(*self.steps(), config=self.config, trained=None)

    def train(self, compiled, steps: int) -> float:
        for _ in range(steps // self.steps_per_call):
            self.state, losses, _ = compiled(*self.steps())
        return float(losses[-1])

    def trace_evaluation(self):
        self.batch = self.data[next(self.order)].batch
        return _energy_and_forces.trace(self.initial, self.batch, config=self.config)

    def evaluate(self, compiled):
        return compiled(self.initial, self.batch)

    @property
    def parameters(self) -> jax.Array:
        return self.state.weights
