"""How long a molecule stays whole: what errors on a test set do not tell.

Test frames lie where the training frames lie. A simulation goes where the potential sends it, and
one wrong slope at the edge of what was learnt is enough to tear a bond, after which nothing that
the potential says means anything. So a force field is judged by running it: how long every bond
holds, and whether what is sampled until then is what the reference samples.

Fu et al., "Forces are not enough", Trans. Mach. Learn. Res. (2023): stability, and the distribution
h(r) of distances.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from so3krates_lite.datasets.reference import Topology
from so3krates_lite.potential import Potential
from so3krates_lite.simulate.dynamics import Dynamics, require_positive
from so3krates_lite.simulate.molecular_dynamics import run_md
from so3krates_lite.structures.frames import Frames

if TYPE_CHECKING:
    from ase import Atoms

RECORD_FS = 10.0


@dataclass(frozen=True, eq=False)
class Stability:
    """What became of a molecule at a temperature.

    Args:
        temperature_K: of the thermostat
        total_fs: how long each replica would have run
        whole_fs: how long each stayed whole
        causes: what ended it, of each; None: nothing did
        runs: what each replica did
    """

    temperature_K: float
    total_fs: float
    whole_fs: Float[np.ndarray, "replicas"]
    causes: tuple[str | None, ...]
    runs: list[Dynamics]

    @property
    def share_whole(self) -> float:
        """Of all replicas, those that stayed whole to the end."""
        return float(np.mean([cause is None for cause in self.causes]))

    def _judged(self) -> Iterator[tuple[Dynamics, Bool[np.ndarray, "records"]]]:
        """Each run, and which of its records count: whole, and past the first tenth."""
        for run, whole in zip(self.runs, self.whole_fs, strict=True):
            yield run, (run.time >= self.total_fs / 10) & (run.time <= whole)

    @property
    def frames(self) -> Frames:
        """All structures of all replicas as long as they were whole, the first tenth of the run
        left out."""
        parts = [run.frames[counts] for run, counts in self._judged()]
        return Frames.concatenate([part for part in parts if len(part)] or [self.runs[0].frames])

    @property
    def mean_temperature_K(self) -> float:
        """Of what moved, over the same structures; NaN where nothing lasted so long."""
        together = np.concatenate([run.temperature[counts] for run, counts in self._judged()])
        return float(together.mean()) if len(together) else float("nan")

    def row(self, reference: Frames | None = None) -> dict[str, float | str]:
        """A line of a table; with a reference, how far the distances sampled are from its own."""
        row: dict[str, float | str] = {
            "temperature (K)": self.temperature_K,
            "replicas": len(self.runs),
            "length (ps)": self.total_fs / 1e3,
            "whole at the end": sum(cause is None for cause in self.causes),
            "whole, mean (ps)": round(float(self.whole_fs.mean()) / 1e3, 2),
            "temperature found (K)": round(self.mean_temperature_K, 1),
        }
        if reference is not None:
            halves = distribution_error(reference[::2], reference[1::2])
            row["h(r) error"] = round(distribution_error(self.frames, reference), 3)
            row["of two halves of the reference"] = round(halves, 3)
        return row


def measure_stability(
    atoms: Atoms,
    potential: Potential | str | PathLike,
    *,
    temperature_K: float,
    picoseconds: float,
    replicas: int = 8,
    time_step_fs: float = 0.5,
    seed: int = 0,
    precision: str = "float32",
) -> Stability:
    """Run a molecule with a Langevin thermostat and see how long it stays whole.

    A bond is broken where it is 1.45 times as long as in ``atoms``, and made where two others come
    nearer than 1.15 times the sum of their covalent radii; an explosion ends a replica, too. Both
    are looked for every 10 fs.

    Args:
        atoms: the molecule, best at its minimum, whose bonds are those that are to hold
        potential: a `Potential`, or its file or name
        temperature_K, picoseconds, replicas, time_step_fs, seed, precision: of the dynamics
    """
    require_positive(picoseconds=picoseconds, time_step_fs=time_step_fs)
    steps = round(1000 * picoseconds / time_step_fs)
    runs = run_md(
        atoms,
        potential,
        steps=steps,
        ensemble="nvt",
        temperature_K=temperature_K,
        time_step_fs=time_step_fs,
        replicas=replicas,
        every=max(round(RECORD_FS / time_step_fs), 1),
        seed=seed,
        precision=precision,
        allow_explosion=True,
    )
    topology = Topology.of(atoms)
    ends = [_end(run, topology, steps * time_step_fs) for run in runs]
    whole_fs, causes = zip(*ends, strict=True)
    return Stability(temperature_K, steps * time_step_fs, np.array(whole_fs), causes, runs)


def _end(run: Dynamics, topology: Topology, total_fs: float) -> tuple[float, str | None]:
    """How long a replica was whole, and what ended that."""
    wrong = topology.wrong(run.frames.positions)
    bad = np.flatnonzero(wrong.any(axis=1))
    if not len(bad):
        if run.exploded:
            return float(run.time[-1]), run.exploded
        return total_fs, None
    first = int(bad[0])
    pair = int(np.argmax(wrong[first]))
    i, j = (int(ends[pair]) for ends in topology.pairs)
    distance = np.linalg.norm(run.frames.positions[first, i] - run.frames.positions[first, j])
    names = f"{run.atoms.symbols[i]}{i}-{run.atoms.symbols[j]}{j}"
    what = "breaks" if topology.bonded[i, j] else "forms"
    return float(run.time[first]), f"{names} {what} ({distance:.2f} Å)"


def distance_distribution(
    frames: Frames, grid: Float[np.ndarray, "edges"]
) -> Float[np.ndarray, "bins"]:
    """h(r): how the distances between all pairs of atoms of a molecule are distributed, per Å.

    Its integral is 1. ``grid`` are the edges of its bins in Å; what lies outside is not counted.
    """
    i, j = np.triu_indices(frames.numbers.shape[1], 1)
    R = frames.positions
    distance = np.linalg.norm(R[:, i] - R[:, j], axis=-1)
    real = (frames.numbers[:, i] > 0) & (frames.numbers[:, j] > 0)
    counts, _ = np.histogram(distance[real], grid)
    return counts / (real.sum() * np.diff(grid))


def distribution_error(frames: Frames, reference: Frames, width: float = 0.02) -> float:
    """Integral of |h(r) - h_ref(r)| over r: 0 for equal distributions, 2 for separate ones.

    Two finite samples of one distribution differ, too: compare with two halves of the reference.
    """
    require_positive(width=width)
    both = (frames, reference)
    farthest = max(float(np.ptp(one.positions, axis=1).max()) for one in both)
    grid = np.arange(0.0, np.sqrt(3) * farthest + width, width)
    h, h_ref = (distance_distribution(one, grid) for one in both)
    return float(np.abs(h - h_ref).sum() * width)
