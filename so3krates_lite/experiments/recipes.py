"""Which recipe teaches a network best: settings varied, judged by validation frames alone.

Every combination of the values that are asked for is trained on the same frames, from the same
seeds, and judged by the frames that chose its weights; test frames are never looked at. Wall times
stand beside the errors, because a recipe that takes smaller batches takes longer over as many
epochs.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets.splits import Split
from so3krates_lite.errors import UserError, require
from so3krates_lite.experiments.train_alike import Trained, save_results, train_models
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig
from so3krates_lite.training.evaluation import evaluate
from so3krates_lite.training.progress import Progress
from so3krates_lite.training.run import RunFolder
from so3krates_lite.units import convert

# small enough for minutes, and alike to the paper's network in what it needs
MODEL = So3kratesConfig(features=60, layers=3)
SETTINGS = TrainConfig(epochs=60, batch_size=10, schedule="cosine")
STORED = "recipes.json"
_OWN = ("seed", "members", "max_minutes")  # of a run, not of a recipe
# settings whose default is None or that are no simple value, and what a kind of value is called
_KINDS = {"learning_rate": float, "spherical_radius": float, "degrees": tuple, "train_only": None}
_NEEDED = {
    int: "a whole number is",
    float: "a number is",
    str: "a word is",
    tuple: "whole numbers with commas between them, such as 1,2, are",
}


@dataclass(frozen=True)
class RecipeResult:
    """One recipe over its seeds: errors (eV, eV/Å) on validation frames by the weights it chose.

    ``recipe`` is what was varied; ``training_loss`` that of each seed's last epoch.
    """

    recipe: Mapping[str, Any]
    energy_mae: tuple[float, ...]
    force_mae: tuple[float, ...]
    training_loss: tuple[float, ...]
    steps: int
    minutes: float  # wall time of a run, the mean of the seeds, compilation included

    @property
    def mean_force_mae(self) -> float:
        return float(np.mean(self.force_mae))

    def row(self) -> dict[str, float | str]:
        """A line of a table: means, and the forces of each seed where there are several."""
        force = [convert(mae, "eV", "kcal/mol") for mae in self.force_mae]
        energy = convert(float(np.mean(self.energy_mae)), "eV", "kcal/mol")
        each = {"of each seed": " ".join(f"{mae:.3f}" for mae in force)} if len(force) > 1 else {}
        return {
            **_words(self.recipe),
            "force MAE (kcal/mol/Å)": round(float(np.mean(force)), 3),
            **each,
            "energy MAE (kcal/mol)": round(energy, 3),
            "training loss": f"{np.mean(self.training_loss):.1e}",
            "steps": self.steps,
            "training (min)": round(self.minutes, 1),
        }


def setting_of(name: str, text: str) -> Any:
    """The value of a setting of `TrainConfig` or `So3kratesConfig` that ``text`` states.

    Raises:
        UserError: no setting that a study varies has this name, or the text is no value of its kind
    """
    kinds = {
        field.name: _KINDS.get(field.name, type(field.default))
        for field in (*fields(TrainConfig), *fields(So3kratesConfig))
    }
    known = sorted(k for k, kind in kinds.items() if kind in _NEEDED and k not in _OWN)
    require(name in known, "a setting to vary", name, f"one of {', '.join(known)}")
    kind = kinds[name]
    try:
        return kind(map(int, text.split(","))) if kind is tuple else kind(text)
    except ValueError:
        raise UserError(f"{name} cannot be {text!r}: {_NEEDED[kind]} needed.") from None


def recipes(
    frames: Frames,
    split: Split,
    varied: Mapping[str, Sequence[Any]],
    *,
    model: So3kratesConfig = MODEL,
    settings: TrainConfig = SETTINGS,
    seeds: Sequence[int] = (0,),
    folder: Path,
    progress: Progress | None = None,
) -> list[RecipeResult]:
    """Train every combination of ``varied`` from every seed; the best on validation frames first.

    Args:
        frames: with energies and forces
        split: its test frames are left alone
        varied: values of settings of `TrainConfig` and `So3kratesConfig`, by their names
        model, settings: everything that is not varied
        seeds: of weights and of the order of frames
        folder: where runs and `recipes.json`, written anew after each recipe, are kept
    """
    require(bool(len(split.valid)), "valid", 0, "at least 1: they judge")
    combinations = [
        dict(zip(varied, values, strict=True)) for values in itertools.product(*varied.values())
    ]
    # all of them are read before the first is trained
    wanted = [(recipe, *_with(recipe, model, settings)) for recipe in combinations]
    results: list[RecipeResult] = []
    for recipe, network, how in wanted:
        name = " ".join(f"{key}={value}" for key, value in _words(recipe).items()) or "as it is"
        common = {"seeds": seeds, "folder": folder, "progress": progress}
        runs = train_models(frames, split, {name: network}, how, **common)
        results.append(_judged(recipe, runs, frames[split.valid]))
        results.sort(key=lambda result: result.mean_force_mae)
        facts = {
            "data": frames.info.get("name", "unnamed frames"),
            "training frames": len(split.train),
            "validation frames": len(split.valid),
            "seeds": list(seeds),
            "model": model.to_dict(),
            "training": settings.to_dict(),
        }
        save_results(folder / STORED, [result.row() for result in results], **facts)
    return results


def _with(
    recipe: Mapping[str, Any], model: So3kratesConfig, settings: TrainConfig
) -> tuple[So3kratesConfig, TrainConfig]:
    of_training = {field.name for field in fields(TrainConfig)}
    training = {name: value for name, value in recipe.items() if name in of_training}
    network = {name: value for name, value in recipe.items() if name not in of_training}
    return replace(model, **network), replace(settings, **training)


def _words(recipe: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        for name, value in recipe.items()
    }


def _judged(recipe: Mapping[str, Any], runs: Sequence[Trained], valid: Frames) -> RecipeResult:
    errors = [evaluate(run.potential, valid)[0] for run in runs]
    ends = [RunFolder(run.folder).read_metrics()[-1] for run in runs]
    return RecipeResult(
        recipe=dict(recipe),
        energy_mae=tuple(error.energy_mae for error in errors),
        force_mae=tuple(error.force_mae for error in errors),
        training_loss=tuple(end["train_loss"] for end in ends),
        steps=int(ends[0]["step"]),
        minutes=float(np.mean([run.minutes for run in runs])),
    )
