"""Ag3 with one electron more or less: the same geometry, two energies.

A model that sees positions only must give both charge states one energy. The best it can do is the
mean of the two, so its error has a floor: half their difference. A model that reads the total
charge has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets.splits import group_split
from so3krates_lite.errors import UserError
from so3krates_lite.experiments.train_alike import save_results, train_models
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig
from so3krates_lite.training.evaluation import SetErrors, evaluate

if TYPE_CHECKING:
    from so3krates_lite.training.progress import Progress

MODEL = So3kratesConfig(features=48, layers=2, cutoff=6.0, radial_hidden=64)
MODELS: dict[str, So3kratesConfig] = {
    "positions only": MODEL,
    "positions and charge": replace(MODEL, charge_embedding=True),
}
SETTINGS = TrainConfig(
    optimiser="adam",
    epochs=60,
    batch_size=20,
    learning_rate=2e-3,
    schedule="cosine",
    energy_weight=0.5,
    forces_weight=0.5,
)
N_TRAIN, N_VALID = 1400, 200


@dataclass(frozen=True)
class ChargeStates:
    """Errors of one model on frames of both charges, beside the floor of the charge-blind."""

    model: str
    seed: int
    errors: SetErrors
    floor: float  # eV
    minutes: float

    def row(self) -> dict[str, float | str]:
        """A line of a table."""
        return {
            "model": self.model,
            "seed": self.seed,
            "test frames": self.errors.frames,
            "energy RMSE (meV)": round(1e3 * self.errors.energy_rmse, 2),
            "force RMSE (meV/Å)": round(1e3 * self.errors.force_rmse, 2),
            "floor without charge (meV)": round(1e3 * self.floor, 1),
            "training (min)": round(self.minutes, 1),
        }


def charge_blind_floor(frames: Frames) -> float:
    """Lowest energy RMSE (eV) that a model without the charge can have on these frames.

    Frames of one group share a geometry; the best single energy for them is their mean.
    """
    if frames.group is None or frames.energy is None:
        raise UserError("The floor needs energies and a group that tells equal geometries.")
    _, index, count = np.unique(frames.group, return_inverse=True, return_counts=True)
    mean = np.bincount(index, frames.energy) / count
    return float(np.sqrt(np.mean((frames.energy - mean[index]) ** 2)))


def charge_states(
    frames: Frames,
    *,
    models: Mapping[str, So3kratesConfig] = MODELS,
    settings: TrainConfig = SETTINGS,
    seeds: Sequence[int] = (0,),
    folder: Path | None = None,
    progress: Progress | None = None,
) -> list[ChargeStates]:
    """Train with and without the charge as input; test geometries are new in either charge."""
    n_train = min(N_TRAIN, 7 * len(frames) // 10)
    n_valid = min(N_VALID, len(frames) // 10)
    results = []
    for seed in seeds:
        split = group_split(frames, n_train, n_valid, None, seed)
        unseen = frames[split.test]
        for run in train_models(
            frames, split, models, settings, seeds=(seed,), folder=folder, progress=progress
        ):
            errors, _ = evaluate(run.potential, unseen, name=run.model)
            floor = charge_blind_floor(unseen)
            results.append(ChargeStates(run.model, seed, errors, floor, run.minutes))
    if folder is not None:
        rows = [result.row() for result in results]
        save_results(folder / "charge_states.json", rows, data=frames.info.get("name", ""))
    return results
