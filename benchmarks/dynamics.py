"""Steps a second: ASE's loop with this package's calculator, and the package's on the device.

    python -m benchmarks.dynamics                       # ethanol at constant energy
    python -m benchmarks.dynamics --steps 500 --rounds 3 --replicas 1 16

All take turns, each compiled and warm, and the shortest time of each counts. The steps of all
replicas are counted. Beside the speed stands how far the total energy strays in a run of its own of
10 ps from the same start, per atom and for the first replica.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from so3krates_lite.datasets import load
from so3krates_lite.ensemble import load_potential
from so3krates_lite.runtime.settings import hardware
from so3krates_lite.simulate import fit_filters, relax, run_md, run_nve
from so3krates_lite.simulate.calculator import So3kratesCalculator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ethanol-gfn2")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--drift-steps", type=int, default=20_000)
    options = parser.parse_args()
    network = load_potential(options.model)
    quick, _ = fit_filters(network, 32)
    (atoms,) = load("ethanol-gfn2")[:1].to_atoms()
    atoms = relax(atoms, network).atoms
    atoms.calc = None

    contenders: dict[str, tuple[int, Callable[[int], list]]] = {}
    for precision in ("float64", "float32"):
        calculator = So3kratesCalculator(network, precision=precision)
        contenders[f"ASE, {precision}"] = (
            1,
            lambda steps, calc=calculator: [run_nve(atoms, calc, steps=steps)],
        )
    for precision, name, potential in (
        ("float64", "network", network),
        ("float32", "network", network),
        ("float32", "fitted filters", quick),
    ):
        for replicas in options.replicas:
            contenders[f"device, {precision}, {name}, {replicas} at once"] = (
                replicas,
                lambda steps, p=potential, d=precision, n=replicas: run_md(
                    atoms, p, steps=steps, replicas=n, precision=d
                ),
            )
    print(f"ethanol, {options.model}, constant energy, 0.5 fs; {hardware()}")
    best = dict.fromkeys(contenders, float("inf"))
    for round_ in range(options.rounds + 1):
        for name, (_, run) in contenders.items():
            begin = time.perf_counter()
            run(options.steps)
            if round_:  # the first one compiles
                best[name] = min(best[name], time.perf_counter() - begin)
    baseline = options.steps / best["ASE, float64"]
    for name, (replicas, run) in contenders.items():
        rate = options.steps * replicas / best[name]
        drift = ""
        if replicas == 1 and options.drift_steps:
            found = run(options.drift_steps)[0]
            drift = (
                f", drift {found.drift:+.4f}, strays {found.largest_deviation:.3f} meV/atom in "
                f"{found.time[-1] / 1e3:g} ps"
            )
        print(f"{name:50} {rate:7.0f} steps/s, {rate / baseline:4.1f} times ASE{drift}", flush=True)


if __name__ == "__main__":
    main()
