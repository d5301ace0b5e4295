"""Structures read by numpy alone, for environments that lack JAX and this package's needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Structure:
    """One structure in eV and Å, without padding; no cell: a molecule."""

    numbers: np.ndarray
    positions: np.ndarray
    energy: float
    forces: np.ndarray
    cell: np.ndarray | None


def read_structures(path: str) -> list[Structure]:
    """All structures of a file that `so3krates_lite.datasets.save_frames` wrote."""
    with np.load(path) as content:
        fields = {name: content[name] for name in ("numbers", "positions", "energy", "forces")}
        cells = content.get("cell")
    if fields["numbers"].ndim == 1:
        n_frames = len(fields["positions"])
        fields["numbers"] = np.broadcast_to(fields["numbers"], (n_frames, *fields["numbers"].shape))
    structures = []
    for k, numbers in enumerate(fields["numbers"]):
        real = numbers > 0
        structures.append(
            Structure(
                numbers=numbers[real].astype(np.int64),
                positions=fields["positions"][k][real].astype(np.float64),
                energy=float(fields["energy"][k]),
                forces=fields["forces"][k][real].astype(np.float32),
                cell=None if cells is None else cells[k].astype(np.float64),
            )
        )
    return structures
