"""The original JAX implementation (mlff, branch main), run from a checkout of its own.

The checkout is named by the environment variable SO3KRATES_MLFF; benchmarks/README.md says what it
needs. Its building blocks are put together as its own training example does, with its own training
step, optimiser and loss. Its present form of the network is the one called "v0.3" here, so that is
the one to compare it with.
"""

from __future__ import annotations

import os
import sys
import time

import jax
import numpy as np

from benchmarks.with_jax import JaxImplementation
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.errors import UserError
from so3krates_lite.structures.batching import neighbour_pairs
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig

sys.path.insert(0, os.environ["SO3KRATES_MLFF"])

from mlff.nn import So3krates
from mlff.nn.stacknet import get_obs_and_force_fn
from mlff.properties import md17_property_keys as keys
from mlff.training import Optimizer, create_train_state, get_loss_fn
from mlff.training.run import train_step_fn


def inputs_of(frames: Frames, cutoff: float) -> dict[str, np.ndarray]:
    """The arrays the original takes; directed pairs, filled up with -1."""
    lists = []
    for k, numbers in enumerate(frames.numbers):
        box = (frames.cell[k], frames.pbc[k]) if frames.is_periodic else ()
        first, second, offset = neighbour_pairs(frames.positions[k][numbers > 0], cutoff, *box)
        indices = np.concatenate([first, second]), np.concatenate([second, first])
        lists.append((*indices, np.concatenate([offset, -offset])))
    room = max(len(i) for i, _, _ in lists)
    idx_i, idx_j = np.full((2, len(frames), room), -1, np.int32)
    offsets = np.zeros((len(frames), room, 3), np.float32)
    for k, (i, j, offset) in enumerate(lists):
        idx_i[k, : len(i)], idx_j[k, : len(j)], offsets[k, : len(i)] = i, j, offset
    # offsets are in Å already, so the cell that scales them is the identity
    cell = np.broadcast_to(np.eye(3, dtype=np.float32), (len(frames), 3, 3))
    periodic = {keys["unit_cell"]: cell, keys["cell_offset"]: offsets} if frames.is_periodic else {}
    return {
        **periodic,
        keys["atomic_position"]: frames.positions.astype(np.float32),
        keys["atomic_type"]: frames.numbers.astype(np.int32),
        keys["idx_i"]: idx_i,
        keys["idx_j"]: idx_j,
        keys["node_mask"]: frames.numbers > 0,
    }


class Original(JaxImplementation):
    """mlff's So3krates, with its Python loop over steps."""

    def __init__(self, frames: Frames, config: So3kratesConfig, batch_size: int) -> None:
        if config.variant != "v0.3" or config.sphc_start != "zero":
            raise UserError('The original on its main branch is variant "v0.3", start "zero".')
        settings = TrainConfig(optimiser="adam", batch_size=batch_size).for_model(config)
        degrees, F = list(config.degrees), config.features
        radial, spherical = [config.radial_hidden, F], [config.spherical_hidden, F]
        net = So3krates(
            F=F,
            n_layer=config.layers,
            prop_keys=keys,
            geometry_embed_kwargs={
                "degrees": degrees,
                "r_cut": config.cutoff,
                "n_rbf": config.radial_functions,
                "mic": frames.is_periodic,
            },
            so3krates_layer_kwargs={
                "n_heads": config.heads,
                "degrees": degrees,
                "fb_rad_filter_features": radial,
                "gb_rad_filter_features": radial,
                "fb_sph_filter_features": spherical,
                "gb_sph_filter_features": spherical,
            },
        )
        energy = (frames.energy - frames.energy.mean()).astype(np.float32)[:, None]
        targets = {keys["energy"]: energy, keys["force"]: frames.forces.astype(np.float32)}
        begin = time.perf_counter()
        inputs = inputs_of(frames, config.cutoff)
        self.neighbours = time.perf_counter() - begin
        self.data = jax.device_put((inputs, targets))
        first = jax.tree.map(lambda leaf: leaf[0], self.data[0])
        params = net.init(jax.random.PRNGKey(0), first)
        observables = jax.vmap(get_obs_and_force_fn(net), in_axes=(None, 0))
        weights = {"energy": settings.energy_weight, "force": settings.forces_weight}
        self.loss = get_loss_fn(obs_fn=observables, weights=weights, prop_keys=keys)
        self.state, _ = create_train_state(
            net,
            params,
            Optimizer(clip_by_global_norm=settings.clip_norm).get(settings.learning_rate),
            scheduled_lr_decay={"exponential": {"transition_steps": 100_000, "decay_factor": 0.7}},
        )
        self.order = self.orders(len(frames), batch_size)
        self.observables = jax.jit(observables)

    def batch(self):
        index = next(self.order)
        return jax.tree.map(lambda leaf: leaf[index, ...], self.data)

    def trace_training(self):
        return train_step_fn.trace(self.state, self.batch(), self.loss)

    def train(self, compiled, steps: int) -> float:
        for _ in range(steps):
            self.state, metrics, _ = compiled(self.state, self.batch())
            metrics = jax.device_get(metrics)
        return float(metrics["loss"])

    def trace_evaluation(self):
        self.inputs, _ = self.batch()
        return self.observables.trace(self.state.params, self.inputs)

    def evaluate(self, compiled):
        found = compiled(self.state.params, self.inputs)
        return found[keys["energy"]], found[keys["force"]]

    @property
    def parameters(self) -> dict:
        return self.state.params["params"]
