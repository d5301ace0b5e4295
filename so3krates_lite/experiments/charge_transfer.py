"""C10H2 and C10H3+: a proton at one end changes the charges at the other. Na8/9Cl8+ likewise.

The sets of Ko et al. (2021) test models for charge transfer. With their thousands of structures
published models reach the errors in `PUBLISHED`. With fewer, the question here is another one: on
the same training frames, how much do a spherical neighbourhood and the total charge as input bring,
and how does that change with the number of frames?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets.splits import Split, group_split, largest_group, random_split
from so3krates_lite.errors import UserError
from so3krates_lite.experiments.train_alike import save_results, train_models
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig
from so3krates_lite.training.evaluation import SetErrors, evaluate

if TYPE_CHECKING:
    from so3krates_lite.training.progress import Progress

MODEL = So3kratesConfig(features=48, layers=2, cutoff=3.0, radial_hidden=64)
MODELS: dict[str, So3kratesConfig] = {
    "local": MODEL,
    "spherical": replace(MODEL, spherical_radius=1.0),
    "local, charge": replace(MODEL, charge_embedding=True),
    "spherical, charge": replace(MODEL, spherical_radius=1.0, charge_embedding=True),
}
# An epoch is as many steps as there are batches: small sets get more epochs, to the same steps.
STEPS = 3000
SETTINGS = TrainConfig(
    optimiser="adam",
    batch_size=5,
    learning_rate=1e-3,
    schedule="cosine",
    energy_weight=0.1,
    forces_weight=0.9,
)

# Energy RMSE in meV/atom and force RMSE in meV/Å on the full sets. 2G to 4G: Ko, Finkler, Goedecker
# & Behler, Nat. Commun. 12, 398 (2021); SpookyNet: Unke et al., Nat. Commun. 12, 7273 (2021), whose
# Table 1 has all four; So3krates: Frank, Unke & Müller, NeurIPS 2022 (energies only).
PUBLISHED: dict[str, dict[str, tuple[float, float | None]]] = {
    "carbon-chains": {
        "2G-HDNNP": (1.619, 129.5),
        "3G-HDNNP": (2.045, 231.0),
        "4G-HDNNP": (1.194, 78.00),
        "SpookyNet": (0.364, 5.802),
        "So3krates": (0.113, None),
    },
    "nacl-clusters": {
        "2G-HDNNP": (1.692, 57.39),
        "3G-HDNNP": (2.042, 76.67),
        "4G-HDNNP": (0.481, 32.78),
        "SpookyNet": (0.135, 1.052),
        "So3krates": (0.455, None),
    },
}


@dataclass(frozen=True)
class Point:
    """One point of a learning curve: a model trained on so many frames, and its test errors."""

    model: str
    seed: int
    train_frames: int
    errors: SetErrors
    minutes: float

    def row(self) -> dict[str, float | str]:
        """A line of a table."""
        return {
            "model": self.model,
            "seed": self.seed,
            "training frames": self.train_frames,
            "test frames": self.errors.frames,
            "energy RMSE (meV/atom)": round(1e3 * self.errors.energy_rmse_per_atom, 3),
            "force RMSE (meV/Å)": round(1e3 * self.errors.force_rmse, 2),
            "training (min)": round(self.minutes, 1),
        }


def learning_curve(
    frames: Frames,
    sizes: Sequence[int],
    *,
    n_test: int,
    n_valid: int | None = None,
    models: Mapping[str, So3kratesConfig] = MODELS,
    settings: TrainConfig = SETTINGS,
    steps: int = STEPS,
    seeds: Sequence[int] = (0,),
    folder: Path | None = None,
    progress: Progress | None = None,
) -> list[Point]:
    """Every model trained on the first 'size' frames of one split, judged on one test set.

    Frames that share a group (a trajectory, a geometry) are on one side only of the split. Each
    seed has a split of its own, and weights of its own.

    Args:
        frames: with energies, forces and, for models that read it, the total charge
        sizes: numbers of training frames; the smaller sets are parts of the larger
        n_test: frames to judge by
        n_valid: frames to choose by; None: a tenth of the largest size, at least 4 and at least
            one whole group
        models, settings, seeds: what is trained, and how; epochs follow from ``steps``
        steps: training steps of every run
        folder: where runs and results are kept; None: nowhere
    """
    sizes = sorted(sizes)
    if n_valid is None:
        n_valid = max(sizes[-1] // 10, 4, largest_group(frames))
    points = []
    for seed in seeds:
        split = _split(frames, sizes[-1], n_valid, n_test, seed)
        for size in sizes:
            part = Split(split.train[:size], split.valid, split.test, seed, split.strategy)
            epochs = max(round(steps / max(size // settings.batch_size, 1)), 1)
            for run in train_models(
                frames,
                part,
                models,
                replace(settings, epochs=epochs),
                seeds=(seed,),
                folder=folder and folder / f"{size}-frames",
                progress=progress,
            ):
                errors, _ = evaluate(run.potential, frames[split.test], name=run.model)
                points.append(Point(run.model, seed, size, errors, run.minutes))
            if folder is not None:
                rows = [point.row() for point in points]
                save_results(folder / "learning_curve.json", rows, data=frames.info.get("name", ""))
    return points


def _split(frames: Frames, n_train: int, n_valid: int, n_test: int, seed: int) -> Split:
    needed = n_train + n_valid + n_test
    if needed > len(frames):
        raise UserError(
            f"{n_train} training, {n_valid} validation and {n_test} test frames are asked for, "
            f"but the set has {len(frames)}: ask for fewer."
        )
    shared = frames.group is not None and len(np.unique(frames.group)) < len(frames)
    divide = group_split if shared else random_split
    return divide(frames, n_train, n_valid, n_test, seed)
