"""Several models trained alike: same frames, same settings, same seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from so3krates_lite.config import ModelConfig
from so3krates_lite.datasets.splits import Split
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.runtime import files
from so3krates_lite.runtime.settings import hardware
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig, train
from so3krates_lite.training.evaluation import SetErrors
from so3krates_lite.training.progress import Progress
from so3krates_lite.training.run import RunFolder


@dataclass(frozen=True)
class Trained:
    """One model trained from one seed."""

    model: str
    seed: int
    potential: Potential
    folder: Path | None = None  # where the run is kept
    metrics: Sequence[Mapping[str, float]] = ()  # of each epoch that was trained

    @property
    def epochs(self) -> int:
        """How many were trained, which a limit of time may have made fewer than were asked for."""
        return len(self.metrics)

    @property
    def steps(self) -> int:
        """In all of these epochs."""
        return int(self.metrics[-1]["step"])

    @property
    def minutes(self) -> float:
        """Wall time of the training."""
        return self.potential.card["wall time / s"] / 60

    @property
    def kept(self) -> RunFolder:
        """What stands in its folder."""
        assert self.folder is not None, "the run was not kept"
        return RunFolder(self.folder)


def train_models(
    frames: Frames,
    split: Split,
    models: Mapping[str, ModelConfig],
    settings: TrainConfig,
    *,
    seeds: Sequence[int] = (0,),
    folder: Path | None = None,
    progress: Progress | None = None,
    start: Potential | None = None,
) -> list[Trained]:
    """Every model from every seed, on the same split; with ``start``, from its weights.

    With a ``folder`` each run is kept in it under its model's name and seed; what is there already
    is taken, or finished, instead of trained again.

    Raises:
        UserError: what is there was trained with another model, other settings, another split or
            from another potential
    """
    results = []
    for name, model in models.items():
        for seed in seeds:
            place = None if folder is None else _place(folder, name, seed)
            wanted = replace(settings, seed=seed).for_model(model)
            resume = place is not None and _is_kept(place, split, model, wanted, start)
            given = {} if resume else {"model": model, "settings": wanted, "start": start}
            result = train(frames, split, folder=place, resume=resume, progress=progress, **given)
            results.append(Trained(name, seed, result.potential, result.folder, result.metrics))
            # Each model is a program of its own, and a process may map only so much code.
            jax.clear_caches()
    return results


def check_kept(
    split: Split,
    models: Mapping[str, ModelConfig],
    settings: TrainConfig,
    seeds: Sequence[int],
    folder: Path,
) -> None:
    """Refuse what `train_models` would refuse of the same arguments, and train nothing."""
    for name, model in models.items():
        for seed in seeds:
            wanted = replace(settings, seed=seed).for_model(model)
            _is_kept(_place(folder, name, seed), split, model, wanted)


def _place(folder: Path, name: str, seed: int) -> Path:
    return folder / f"{name.replace(' ', '-')}-seed{seed}"


def _is_kept(
    place: Path,
    split: Split,
    model: ModelConfig,
    settings: TrainConfig,
    start: Potential | None = None,
) -> bool:
    """Whether the very run that is wanted stands in its folder; another one is refused."""
    run = RunFolder(place)
    if not (place / "config.json").is_file():
        return False
    kept_model, kept_settings, _ = run.configuration()
    kept_split = run.split()
    same_split = all(
        np.array_equal(getattr(kept_split, part), getattr(split, part))
        for part in ("train", "valid", "test")
    )
    for same, what in (
        (kept_model == model, "model"),
        (kept_settings == settings, "set of training settings"),
        (same_split, "split of the frames"),
        (_same(run.start(), start), "potential to begin from"),
    ):
        if not same:
            raise UserError(
                f"{place} keeps a run with another {what} than this one: "
                f"name another folder, or remove that run."
            )
    return True


def _same(one: Potential | None, other: Potential | None) -> bool:
    """Whether two potentials, or none, are one function, whatever is written on their cards."""
    if one is None or other is None:
        return one is other
    numbers, others = (
        jax.tree.leaves((p.params, p.element_shift, p.energy_scale)) for p in (one, other)
    )
    return one.config == other.config and all(map(np.array_equal, numbers, others))


def bundle(run: Trained, name: str, split: Split, errors: SetErrors, to: Path) -> None:
    """A finished run as a potential that can come with the package: weights, split, metrics.

    Args:
        run: one that is kept in a folder
        name: what it shall be called
        split: its frames, counted as in the whole set, and those that judged it
        errors: on the latter
        to: where ``name.safetensors``, ``name.split.npz`` and ``name.metrics.csv`` are written
    """
    card = {
        "name": name,
        **run.potential.card,
        "test frames": len(split.test),
        "energy MAE on test frames / meV": round(1e3 * errors.energy_mae, 3),
        "force MAE on test frames / meV/Å": round(1e3 * errors.force_mae, 3),
    }
    replace(run.potential, card=card).save(to / f"{name}.safetensors")
    split.save(to / f"{name}.split.npz")
    files.write_atomically(to / f"{name}.metrics.csv", (run.kept.path / "metrics.csv").read_bytes())


def save_results(path: Path, rows: Sequence[Mapping[str, Any]], **facts: Any) -> None:
    """Rows of results with what a reader must know of how they came about, as JSON."""
    content = {"hardware": hardware(), **facts, "results": list(rows)}
    files.write_atomically(path, json.dumps(content, indent=1).encode())
