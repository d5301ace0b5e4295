"""Water of 99 to 99,999 atoms: time per atom, and memory per device where several share it.

    python -m benchmarks.large_systems                                # all of it
    python -m benchmarks.large_systems --no-run                       # memory only
    python -m benchmarks.large_systems --atoms 999 --devices 1 2 --tiny   # does it run?

Periodic boxes of one density (`systems.water_box`), the default network with random weights in
float32. Each row is a process of its own, with so many virtual devices. Memory is what the compiler
says that each device needs (``memory_analysis``): inputs, results and what lies between. How far
forces deviate from those of the first number of devices is told in units of the largest. Processor
time is that of all cores together, and tells of cost where other work keeps them busy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HEADER = (
    "atoms",
    "devices",
    "energy and forces / s",
    "per atom / µs",
    "processor time per atom / µs",
    "neighbour search / s",
    "cut / s",
    "trace and compile / s",
    "memory per device / MiB",
    "atoms sent per device",
    "deviation of forces",
)


def work(options: argparse.Namespace) -> None:
    """One row, as a line of JSON; forces go into a file."""
    import jax

    from benchmarks.systems import water_box
    from so3krates_lite.config import So3kratesConfig
    from so3krates_lite.potential import Potential
    from so3krates_lite.runtime.devices import row_of
    from so3krates_lite.runtime.settings import hardware
    from so3krates_lite.structures.batching import make_batch
    from so3krates_lite.structures.sharing import share_out

    (atoms,), (devices,) = options.atoms, options.devices
    tiny = {"features": 12, "layers": 1, "degrees": (1, 2), "heads": 2}
    potential = Potential.random(So3kratesConfig(**(tiny if options.tiny else {})))
    config, frame = potential.config, water_box(atoms // 3)
    row = {"atoms": 3 * (atoms // 3), "devices": devices, "hardware": hardware()}

    begin = time.perf_counter()
    batch, shares = make_batch(frame, config), None
    row["neighbour search / s"] = time.perf_counter() - begin
    if mesh := row_of(devices):
        begin = time.perf_counter()
        shares = share_out(batch, frame, mesh)
        row["cut / s"] = time.perf_counter() - begin
        batch = shares.batch
        row["atoms sent per device"] = int(batch.local.sent[0].size)

    begin = time.perf_counter()
    inputs = potential.device_params, batch
    program = potential.program(False, batch.mesh).lower(*inputs, config).compile()
    row["trace and compile / s"] = time.perf_counter() - begin
    memory = program.memory_analysis()
    kinds = "argument", "output", "temp"
    size = sum(getattr(memory, f"{kind}_size_in_bytes") for kind in kinds)
    row["memory per device / MiB"] = size / 2**20

    if not options.no_run:
        times, spent = [], time.process_time()
        while not times or sum(times) < 5 > len(times):
            begin = time.perf_counter()
            values = jax.block_until_ready(program(*inputs))
            times.append(time.perf_counter() - begin)
        spent = (time.process_time() - spent) / len(times)
        row["processor time per atom / µs"] = 1e6 * spent / row["atoms"]
        row["energy and forces / s"] = float(np.median(times))
        row["per atom / µs"] = 1e6 * row["energy and forces / s"] / row["atoms"]
        found = dict(zip(("energy", "forces"), map(np.asarray, values), strict=True))
        np.save(options.forces, (found if shares is None else shares.whole(found))["forces"])
    print(json.dumps(row))


def measured(atoms: int, devices: int, forces: Path) -> dict:
    """A row, by a process of its own."""
    many = f"--xla_force_host_platform_device_count={devices}" if devices > 1 else ""
    environment = {**os.environ, "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {many}".strip()}
    command = [sys.executable, "-m", "benchmarks.large_systems", *sys.argv[1:]]
    command += ["--atoms", str(atoms), "--devices", str(devices), "--forces", str(forces)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def plain(cell: float | str) -> str:
    """Three digits of what was measured."""
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:.0f}" if cell >= 1000 else f"{cell:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, nargs="+", default=[99, 999, 9999, 99999])
    parser.add_argument(
        "--devices", type=int, nargs="+", default=[1, 2, 4], help="of all but the largest the first"
    )
    parser.add_argument("--no-run", action="store_true", help="compile only")
    parser.add_argument("--tiny", action="store_true", help="a toy network")
    parser.add_argument("--forces", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.forces:
        return work(options)
    print("| " + " | ".join(HEADER) + " |\n" + "| --- " * len(HEADER) + "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for atoms in options.atoms:
            largest, first = atoms == options.atoms[-1], None
            for devices in options.devices if largest else options.devices[:1]:
                path = Path(folder) / f"{devices}.npy"
                row = measured(atoms, devices, path)
                if path.exists():
                    forces = np.load(path)
                    first = forces if first is None else first
                    deviation = np.abs(forces - first).max() / np.abs(first).max()
                    row["deviation of forces"] = f"{deviation:.1e}"
                cells = [row.get(name, "–") for name in HEADER]
                cells = [plain(cell) for cell in cells]
                print("| " + " | ".join(cells) + " |", flush=True)
    print(f"\n{row['hardware']}")


if __name__ == "__main__":
    main()
