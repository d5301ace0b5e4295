"""Which settings teach a network best: a grid of them, judged by validation frames alone.

Every combination of the values that are asked for is trained on the same frames, from the same
seeds. No test frame is drawn. The best of many on one set of validation frames is a little better
there than elsewhere, and each run's weights are chosen by its own loss, so with its own weights of
energies and forces. Wall times stand beside the errors, because recipes that take smaller batches
take longer over as many epochs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets.splits import Split, group_or_random_split
from so3krates_lite.errors import UserError, require
from so3krates_lite.experiments.md17 import Recipe
from so3krates_lite.experiments.train_alike import check_kept, save_results, train_models
from so3krates_lite.runtime.files import as_json
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig
from so3krates_lite.training.checks import TrainingDiverged
from so3krates_lite.training.evaluation import evaluate
from so3krates_lite.training.progress import Progress
from so3krates_lite.units import convert

# a network for minutes; everything that is not varied stays as it is here
BASE = Recipe(
    So3kratesConfig(features=60, layers=3),
    TrainConfig(epochs=60, batch_size=10, schedule="cosine"),
)
STORED = "recipes.json"


def whole_numbers(text: str) -> tuple[int, ...]:
    """Such as 1,2,3."""
    return tuple(map(int, text.split(",")))


def number_or_none(text: str) -> float | None:
    """A number, or the word none."""
    return None if text == "none" else float(text)


# how the values of a setting are written, and what to say where they are not
NUMBER, WHOLE, WORD = (float, "a number is"), (int, "a whole number is"), (str, "a word is")
OF_TRAINING: dict[str, tuple[Callable[[str], Any], str]] = {
    "optimiser": WORD,
    "learning_rate": NUMBER,
    "schedule": WORD,
    "epochs": WHOLE,
    "batch_size": WHOLE,
    "momentum": NUMBER,
    "weight_decay": NUMBER,
    "clip_norm": NUMBER,
    "ema_decay": NUMBER,
    "loss": WORD,
    "energy_weight": NUMBER,
    "forces_weight": NUMBER,
    "energy_scale": WORD,
}
OF_NETWORK: dict[str, tuple[Callable[[str], Any], str]] = {
    "variant": WORD,
    "features": WHOLE,
    "layers": WHOLE,
    "heads": WHOLE,
    "degrees": (whole_numbers, "whole numbers with commas between them, such as 1,2, are"),
    "cutoff": NUMBER,
    "radial_functions": WHOLE,
    "spherical_radius": (number_or_none, "a number, or none, is"),
}
VARIED = {**OF_TRAINING, **OF_NETWORK}


@dataclass(frozen=True)
class RecipeResult:
    """One combination: errors (eV, eV/Å) of each seed on validation frames, by the weights kept.

    ``varied`` is what tells it from others; ``training_loss`` that of the last epoch. A run that
    diverged has infinite ones, and null in the file.
    """

    varied: Mapping[str, Any]
    learning_rate: float  # at its highest
    seeds: tuple[int, ...]
    energy_mae: tuple[float, ...]
    force_mae: tuple[float, ...]
    training_loss: tuple[float, ...]
    steps: int  # of a whole run
    minutes: tuple[float, ...]  # wall time of each run, compilation included

    def row(self) -> dict[str, float | str]:
        """A line of a table: means over seeds, and the forces of each where there are several."""
        force = [convert(mae, "eV", "kcal/mol") for mae in self.force_mae]
        energy = convert(float(np.mean(self.energy_mae)), "eV", "kcal/mol")
        several = {"each seed's": " ".join(f"{mae:.3f}" for mae in force)} if force[1:] else {}
        return {
            **{name: _written(value) for name, value in self.varied.items()},
            **({} if "learning_rate" in self.varied else {"learning_rate": self.learning_rate}),
            "force MAE (kcal/mol/Å)": round(float(np.mean(force)), 3),
            **several,
            "energy MAE (kcal/mol)": round(energy, 3),
            "training loss": f"{np.mean(self.training_loss):.1e}",
            "steps": self.steps,
            "training (min)": round(float(np.mean(self.minutes)), 1),
        }


def values_of(name: str, texts: Sequence[str]) -> list[Any]:
    """The values that ``texts`` state of the setting ``name``, one of `VARIED`.

    Raises:
        UserError: there is no such setting, or a text is no value of its kind
    """
    setting = name.replace("-", "_")
    _check(setting, name)
    read, needed = VARIED[setting]
    values = []
    for text in texts:
        try:
            values.append(read(text))
        except ValueError:
            raise UserError(f"{name} cannot be {text!r}: {needed} needed.") from None
    return values


def _check(setting: str, as_written: str) -> None:
    known = setting in VARIED
    require(known, "setting to vary", as_written, f"one of {', '.join(VARIED)}")


def recipes(
    frames: Frames,
    varied: Mapping[str, Sequence[Any]],
    *,
    n_train: int,
    n_valid: int,
    folder: Path,
    base: Recipe = BASE,
    seeds: Sequence[int] = (0,),
    progress: Progress | None = None,
) -> list[RecipeResult]:
    """Train every combination of ``varied`` from every seed; the smallest mean force error first.

    Args:
        frames: with energies and forces
        varied: values of settings among `VARIED`
        n_train, n_valid: frames that teach and that judge, drawn once for all; no group in both
        folder: where runs are kept, and `recipes.json` with what this call compares, written anew
            after every combination
        base: everything that is not varied
        seeds: of weights and of the order of frames

    Raises:
        UserError: a setting is none of those, a value occurs twice or is impossible, or a run in
            the folder was made otherwise; nothing is trained then
    """
    for name, values in varied.items():
        _check(name, name)
        require(len(set(values)) == len(values) > 0, name, list(values), "values, each once")
    require(len(set(seeds)) == len(seeds) > 0, "seeds", list(seeds), "numbers, each once")
    require(n_valid > 0, "n_valid", n_valid, "at least 1 frame to judge by")
    names = sorted(varied)
    combinations = [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*(varied[name] for name in names))
    ]
    split = group_or_random_split(frames, n_train, n_valid, 0)
    for combination in combinations:
        recipe = _with(base, combination)
        size = recipe.settings.batch_size
        require(size <= n_train, "batch_size", size, f"at most the {n_train} training frames")
        check_kept(split, {_name(combination): recipe.model}, recipe.settings, seeds, folder)
    facts = {
        "data": frames.info.get("name", "unnamed frames"),
        "training frames": len(split.train),
        "validation frames": len(split.valid),
        "errors": "eV, eV/Å, on validation frames",
        "model": _without(base.model.to_dict(), names),
        "training": _without(base.settings.to_dict(), [*names, "seed", "learning_rate"]),
    }
    results: list[RecipeResult] = []
    for combination in combinations:
        results.append(_tried(frames, split, base, combination, seeds, folder, progress))
        results.sort(key=lambda result: float(np.mean(result.force_mae)))
        save_results(folder / STORED, [as_json(asdict(result)) for result in results], **facts)
    return results


def _with(base: Recipe, varied: Mapping[str, Any]) -> Recipe:
    training = {name: value for name, value in varied.items() if name in OF_TRAINING}
    network = {name: value for name, value in varied.items() if name in OF_NETWORK}
    return Recipe(replace(base.model, **network), replace(base.settings, **training))


def _tried(
    frames: Frames,
    split: Split,
    base: Recipe,
    varied: Mapping[str, Any],
    seeds: Sequence[int],
    folder: Path,
    progress: Progress | None,
) -> RecipeResult:
    """A combination trained from each seed; one that diverges does not end the study."""
    recipe, valid, errors, ends = _with(base, varied), frames[split.valid], [], []
    models = {_name(varied): recipe.model}
    for seed in seeds:
        common = {"seeds": (seed,), "folder": folder, "progress": progress}
        try:
            (run,) = train_models(frames, split, models, recipe.settings, **common)
        except TrainingDiverged:
            errors.append((np.inf, np.inf))
            ends.append({"train_loss": np.inf, "wall_s": np.inf})
            continue
        found, _ = evaluate(run.potential, valid)
        errors.append((found.energy_mae, found.force_mae))
        ends.append(run.kept.read_metrics()[-1])
    energy, force = zip(*errors, strict=True)
    settings = recipe.settings.for_model(recipe.model)
    return RecipeResult(
        varied=varied,
        learning_rate=settings.learning_rate,
        seeds=tuple(seeds),
        energy_mae=energy,
        force_mae=force,
        training_loss=tuple(end["train_loss"] for end in ends),
        steps=settings.epochs * (len(split.train) // settings.batch_size),
        minutes=tuple(end["wall_s"] / 60 for end in ends),
    )


def _name(varied: Mapping[str, Any]) -> str:
    return "-".join(f"{name}={_written(value)}" for name, value in varied.items()) or "as-it-is"


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()


def _without(values: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}
