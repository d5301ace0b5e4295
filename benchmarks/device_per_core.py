"""Does it pay to make every core of a processor a device of its own?

    python -m benchmarks.device_per_core             # ethanol, the paper's network, batch 10, Muon
    python -m benchmarks.device_per_core --tiny      # does it run?

Training steps of the same frames in the same order, by processes that take turns: one device that
has all cores, as JAX has it; one device that has one core; and as many virtual devices as there are
cores, with one core each, which share every step (docs/scale.md). While one works, the others wait
for a line. Told is the median over turns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np

STEPS = 20  # of a turn
CORES = (
    sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())
)
VIRTUAL = f"--xla_force_host_platform_device_count={len(CORES)}"
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"  # of each device
# devices, cores, XLA's flags
WAYS = {
    "one device, all cores": (1, len(CORES), ""),
    "one device, one core": (1, 1, ""),
    "one device per core": (len(CORES), len(CORES), f"{VIRTUAL} {ONE_THREAD}"),
    "the same, threads as they come": (len(CORES), len(CORES), VIRTUAL),
}


def work(way: str, options: argparse.Namespace) -> None:
    """One of the processes: it says how long compiling took, then runs a turn for every line."""
    devices, cores, _ = WAYS[way]
    if hasattr(os, "sched_setaffinity"):  # before JAX counts the cores
        os.sched_setaffinity(0, CORES[-cores:])
    import jax

    from so3krates_lite.config import So3kratesConfig
    from so3krates_lite.datasets import load
    from so3krates_lite.energies import initialise
    from so3krates_lite.runtime.settings import hardware
    from so3krates_lite.training import TrainConfig
    from so3krates_lite.training.data import Targets, TrainingSet
    from so3krates_lite.training.devices import mesh_of, on_all
    from so3krates_lite.training.loop import Hyper, _epoch
    from so3krates_lite.training.state import start_state

    tiny = {"features": 12, "layers": 1, "degrees": (1, 2), "heads": 2}
    model = So3kratesConfig(variant="paper", **(tiny if options.tiny else {}))
    settings = TrainConfig(batch_size=options.batch)
    frames = load("ethanol-gfn2")[: STEPS * options.batch]
    mesh = mesh_of(devices, options.batch)
    targets = Targets(model, np.zeros(100), 1.0, np.dtype("float32"))
    data = TrainingSet(frames, targets, options.batch, mesh)
    order = np.random.default_rng(0).permutation(len(frames)).reshape(STEPS, -1)
    chosen, buckets = data.choose(order), data.buckets
    first = initialise(jax.random.key(0), data.example, model)
    state = on_all(start_state(first, settings.optimiser), mesh)
    hyper = Hyper.of(settings)
    rates = np.full(STEPS, 1e-3, np.float32)

    begin, told = time.perf_counter(), {}
    while True:
        state, losses, _ = _epoch(state, buckets, chosen, rates, hyper, model, None, mesh=mesh)
        losses = np.asarray(losses)
        ms = 1e3 * (time.perf_counter() - begin) / STEPS
        told |= {"ms": ms, "loss": float(losses[-1]), "hardware": hardware()}
        print(json.dumps(told), flush=True)
        if not sys.stdin.readline():
            return
        begin = time.perf_counter()


def start(way: str) -> subprocess.Popen:
    flags = f"{os.environ.get('XLA_FLAGS', '')} {WAYS[way][2]}".strip()
    command = [sys.executable, "-m", "benchmarks.device_per_core", *sys.argv[1:], "--way", way]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, "XLA_FLAGS": flags}, **pipes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--tiny", action="store_true", help="a toy network")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        return work(options.way, options)
    workers, first = {}, {}
    for way in WAYS:  # one after the other: compiling takes all cores
        workers[way] = start(way)
        first[way] = json.loads(workers[way].stdout.readline())
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(options.turns):
        for way, worker in workers.items():
            worker.stdin.write("\n")
            worker.stdin.flush()
            times[way].append(json.loads(worker.stdout.readline())["ms"])
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    print(f"Ethanol, batch {options.batch}, Muon; {len(CORES)} cores; {first[way]['hardware']}\n")
    print("| | step / ms | fastest / ms | loss of step 20 |\n| --- | --- | --- | --- |")
    for way, ms in times.items():
        loss = first[way]["loss"]
        print(f"| {way} | {np.median(ms):.1f} | {min(ms):.1f} | {loss:.6f} |")


if __name__ == "__main__":
    main()
