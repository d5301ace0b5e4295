"""Several networks in one program: side by side (`jax.vmap`) or one after another (`jax.lax.map`).

    python -m benchmarks.members                        # 4 members of 32 features, ethanol
    python -m benchmarks.members --features 60 --members 8

measures a training step of all members (Muon, five structures) and their energies and forces, the
shortest of several repetitions. What the package takes is told in `training.loop` and `ensemble`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets import load
from so3krates_lite.energies import energy_and_forces, initialise
from so3krates_lite.runtime.settings import Compiled, hardware
from so3krates_lite.training.config import TrainConfig
from so3krates_lite.training.data import Targets, TrainingSet
from so3krates_lite.training.loop import Hyper, _epoch
from so3krates_lite.training.state import start_state

STEPS = 20


def one_by_one(function: Callable) -> Callable:
    """As `jax.vmap`, in a loop."""
    return lambda stacked: jax.lax.map(function, stacked)


def shortest(call: Callable, repetitions: int) -> float:
    """Milliseconds, after a first call that compiles."""
    call()
    times = []
    for _ in range(repetitions):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return 1e3 * min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("members", 4), ("features", 32), ("layers", 2), ("batch", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    degrees = (1, 2, 3) if options.features % 3 == 0 else (1, 2)
    sizes = {"features": options.features, "layers": options.layers, "degrees": degrees}
    model = So3kratesConfig(**sizes, radial_hidden=64, spherical_hidden=16)
    frames = load("ethanol-gfn2")[: STEPS * options.batch]
    targets = Targets(model, np.zeros(100), 1.0, np.dtype(np.float32))
    data = TrainingSet(frames, targets, options.batch)
    members = range(options.members)
    params = [initialise(jax.random.key(k), data.example, model) for k in members]
    orders = [np.random.default_rng(k).permutation(len(frames)) for k in members]
    chosen = [data.choose(order.reshape(STEPS, -1)) for order in orders]
    inputs = jax.tree.map(
        lambda *a: jnp.stack(a),
        *[(start_state(p, "muon"), c) for p, c in zip(params, chosen, strict=True)],
    )
    hyper, rates = Hyper.of(TrainConfig()), np.full(STEPS, 1e-3, np.float32)

    def epoch(one):
        state, frames_of_step = one
        return _epoch.function(state, data.buckets, frames_of_step, rates, hyper, model, None)

    print(f"{options.members} members, {sizes}, batch {options.batch}, Muon; {hardware()}")
    for name, mapped in (("vmap", jax.vmap), ("lax.map", one_by_one)):
        program = Compiled(mapped(epoch))
        ms = shortest(lambda run=program: jax.block_until_ready(run(inputs)), 5) / STEPS
        print(f"{name:>8}: a training step of all {ms:.1f} ms")
        for n in (1, 20):
            batch = data.buckets[0].batch[np.arange(n)]
            forces = mapped(lambda p, batch=batch: energy_and_forces(p, batch, model))
            program, stacked = Compiled(forces), jax.tree.map(lambda *a: jnp.stack(a), *params)
            ms = shortest(lambda run=program, p=stacked: jax.block_until_ready(run(p)), 40)
            print(f"{name:>8}: energies and forces of {n} by all {ms:.2f} ms")


if __name__ == "__main__":
    main()
