"""Path integrals of one water by i-PI, with two clients: its quantum kinetic energy.

    python -m benchmarks.path_integrals                 # SO3LR, 16 beads, a few minutes

What it should be is known nearly: the molecule's own vibrations as oscillators of as many beads,
its turning and moving as classical. A classical molecule has kT/2 for each of nine coordinates.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import units
from ase.build import molecule
from ase.io import write

from so3krates_lite.engines import write_ipi_input
from so3krates_lite.runtime.settings import hardware
from so3krates_lite.simulate import vibrations

SERVE = "from so3krates_lite.cli import main; raise SystemExit(main())"


def kinetic_energy(quanta: np.ndarray, kT: float, beads: int) -> float:
    """Of oscillators whose quanta hbar omega are given, by the centroid virial of so many beads:
    kT/2 sum_k omega^2 / (omega_k^2 + omega^2), omega_k = 2 P kT/hbar sin(pi k/P)."""
    ring = 2 * beads * kT * np.sin(np.pi * np.arange(beads) / beads)
    return kT / 2 * (quanta**2 / (ring[:, None] ** 2 + quanta**2)).sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="so3lr")
    parser.add_argument("--beads", type=int, default=16)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--temperature", type=float, default=300.0)
    parser.add_argument("--clients", type=int, default=2)
    options = parser.parse_args()
    kT = units.kB * options.temperature

    found = vibrations(molecule("H2O"), options.model)
    for beads in (1, options.beads, 1000):
        harmonic = kinetic_energy(found.energies, kT, beads) + 6 * kT / 2
        print(f"harmonic, {beads} beads: {1e3 * harmonic:.0f} meV", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        name = Path(folder).name
        write(Path(folder, "water.xyz"), found.atoms)
        settings = {"beads": options.beads, "steps": options.steps, "time_step_fs": 0.5}
        write_ipi_input(
            found.atoms, folder, unix=name, temperature_K=options.temperature, every=1, **settings
        )
        begin = time.perf_counter()
        i_pi = Path(sysconfig.get_path("scripts"), "i-pi")
        command = [sys.executable, "-c", SERVE, "serve", options.model, "water.xyz", "--unix", name]
        clients = [subprocess.Popen(command, cwd=folder) for _ in range(options.clients)]
        subprocess.run([i_pi, "input.xml"], cwd=folder, stdout=subprocess.DEVNULL, check=True)
        for client in clients:
            assert client.wait() == 0
        seconds = time.perf_counter() - begin
        kinetic = np.loadtxt(Path(folder, "run.out"))[:, 4]
    later = kinetic[len(kinetic) // 5 :]
    blocks = np.array([block.mean() for block in np.array_split(later, 8)])
    error = blocks.std(ddof=1) / np.sqrt(len(blocks))
    print(
        f"{options.beads} beads, {options.clients} clients: {1e3 * later.mean():.0f} ± "
        f"{1e3 * error:.0f} meV, {options.steps / seconds:.1f} steps a second on {hardware()}"
    )


if __name__ == "__main__":
    main()
