"""What an order of GeomAtt costs: time and memory of energy and forces, by atoms and by width.

    python -m benchmarks.geomatt_cost

One structure of randomly placed atoms at the density of a liquid, one stream of three layers.
Memory is what the compiler plans for temporary arrays; beside it stands `GeomAttConfig.memory`,
by which too large structures are refused. Times are medians of interleaved rounds, and ratios to
order 2 of the same size are the figures to compare.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import jax
import numpy as np

from so3krates_lite.config import GeomAttConfig
from so3krates_lite.energies import energy_and_forces
from so3krates_lite.potential import Potential
from so3krates_lite.runtime.settings import compiler_options, hardware
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training.evaluation import format_table

ATOMS_PER_VOLUME = 0.1  # 1/Å^3, as in water


def liquid(atoms: int) -> Frames:
    """Atoms thrown at random into a cube; carbon, so that nothing depends on elements."""
    edge = (atoms / ATOMS_PER_VOLUME) ** (1 / 3)
    positions = np.random.default_rng(0).uniform(0, edge, (1, atoms, 3))
    return Frames(np.full((1, atoms), 6), positions)


def cost(atoms: int, order: int, inner: int, rounds: int) -> dict[str, float | str]:
    """A line of the table."""
    config = GeomAttConfig(orders=(order,), inner=inner)
    params = Potential.random(config).params
    batch = jax.device_put(make_batch(liquid(atoms), config))
    function = jax.jit(partial(energy_and_forces, config=config))
    compiled = function.lower(params, batch).compile(compiler_options=compiler_options())
    times = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        jax.block_until_ready(compiled(params, batch))
        times.append(time.perf_counter() - begin)
    return {
        "atoms": atoms,
        "inner": inner,
        "order": order,
        "energy and forces (ms)": round(1e3 * float(np.median(times[1:])), 2),
        "planned memory (MB)": round(compiled.memory_analysis().temp_size_in_bytes / 1e6, 1),
        "our estimate (MB)": round(config.memory(atoms) / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, nargs="+", default=[10, 20, 40, 80, 160])
    parser.add_argument("--orders", type=int, nargs="+", default=[2, 3, 4, 5])
    parser.add_argument("--inner", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    middle = options.atoms[len(options.atoms) // 2]
    cases = [(n, k, 128) for n in options.atoms for k in options.orders]
    cases += [(middle, k, f) for f in options.inner if f != 128 for k in options.orders]
    rows = [cost(n, k, f, options.rounds) for n, k, f in cases]
    print(format_table(rows))
    print(hardware())


if __name__ == "__main__":
    main()
