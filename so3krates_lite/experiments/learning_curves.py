"""How the error falls with the number of training frames, and what the highest degree does to it.

A learning curve compares models fairly only if nothing but the frames differs. Here every model
takes the same number of steps of the same size, and is chosen and judged on the same frames; a
small training set is simply seen more often. Smaller sets are parts of the larger ones.

An "epoch" is the largest training set: a smaller one is repeated until it is as long. So all runs
of a model have one shape, are compiled once, and are validated equally often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets.splits import Split, group_or_random_split
from so3krates_lite.drawing.look import PALETTE, TEXT
from so3krates_lite.errors import require
from so3krates_lite.experiments.points import curve_of, read_points, write_points
from so3krates_lite.runtime.settings import hardware
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig, train
from so3krates_lite.training.evaluation import evaluate
from so3krates_lite.units import convert

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from so3krates_lite.potential import Potential
    from so3krates_lite.training.progress import Progress

# the paper's norm, with which the bundled curves were made
MODEL = So3kratesConfig(
    "paper", features=48, layers=2, radial_hidden=64, spherical_hidden=16, sphc_start="smooth"
)
SETTINGS = TrainConfig(optimiser="adam", batch_size=5, learning_rate=4e-3, schedule="cosine")
SIZES = (50, 100, 200, 400)
HIGHEST = (0, 1, 2, 3)
STEPS = 2000
N_VALID = 100
STORED = "learning_curves.csv"  # the bundled results


@dataclass(frozen=True)
class LearningPoint:
    """One run: how it was trained, and its errors (eV, eV/Å) on test and training frames."""

    data: str
    highest_degree: int
    train_frames: int
    seed: int  # of the split, of the frames' order and of the weights
    steps: int
    energy_mae: float
    force_mae: float
    train_force_mae: float
    minutes: float  # wall time of the training, compilation included

    def row(self) -> dict[str, float | str]:
        """A line of a table."""

        def kcal(eV: float) -> float:
            return round(convert(eV, "eV", "kcal/mol"), 3)

        return {
            "highest degree": self.highest_degree,
            "training frames": self.train_frames,
            "seed": self.seed,
            "energy MAE (kcal/mol)": kcal(self.energy_mae),
            "force MAE (kcal/mol/Å)": kcal(self.force_mae),
            "on training frames (kcal/mol/Å)": kcal(self.train_force_mae),
            "training (min)": round(self.minutes, 1),
        }


def degrees_up_to(highest: int) -> tuple[int, ...]:
    """The degrees 1 to ``highest``, as in the paper; (0,), which knows no direction, for 0."""
    return tuple(range(1, highest + 1)) or (0,)


def train_on_first(
    frames: Frames,
    split: Split,
    size: int,
    *,
    model: So3kratesConfig = MODEL,
    settings: TrainConfig = SETTINGS,
    steps: int = STEPS,
    progress: Progress | None = None,
) -> Potential:
    """A potential trained on ``split.train[:size]``, repeated to the length of ``split.train``."""
    require(0 < size <= len(split.train), "size", size, f"1 to {len(split.train)}")
    n, n_valid = len(split.train), len(split.valid)
    chosen = np.concatenate([np.resize(split.train[:size], n), split.valid])
    part = Split(np.arange(n), n + np.arange(n_valid), [], split.seed, split.strategy)
    epochs = max(round(steps / max(n // settings.batch_size, 1)), 1)
    result = train(
        frames[chosen],
        part,
        model=model,
        settings=replace(settings, epochs=epochs),
        progress=progress,
        card={"training frames": size},
    )
    return result.potential


def learning_curves(
    frames: Frames,
    *,
    sizes: Sequence[int] = SIZES,
    highest: Sequence[int] = HIGHEST,
    seeds: Sequence[int] = (0,),
    n_valid: int = N_VALID,
    n_test: int | None = None,
    model: So3kratesConfig = MODEL,
    settings: TrainConfig = SETTINGS,
    steps: int = STEPS,
    path: Path | None = None,
    progress: Progress | None = None,
) -> list[LearningPoint]:
    """Train a model for every size, highest degree and seed, and judge it on test frames.

    Args:
        frames: with energies and forces
        sizes: numbers of training frames
        highest: highest degrees; see `degrees_up_to`
        seeds: each seed has a split, an order of frames and weights of its own
        n_valid: frames that choose the weights, the same for every size and never trained on
        n_test: frames to judge by; None: all that remain
        model, settings: everything but degrees, epochs and seed
        steps: training steps of every run
        path: a CSV file that is written anew after every run; what it holds is not trained again
    """
    facts = _facts(model, settings, n_valid)
    points: list[LearningPoint] = []
    if path is not None and path.is_file():
        alike = {key: facts[key] for key in ("model", "training", "valid frames")}
        points, _ = read_points(path, LearningPoint, alike)
    name = frames.info.get("name", "unnamed frames")
    known = {(p.data, p.seed, p.highest_degree, p.train_frames, p.steps) for p in points}
    for seed in seeds:
        split = group_or_random_split(frames, max(sizes), n_valid, n_test, seed)
        for degree in highest:
            config = replace(model, degrees=degrees_up_to(degree))
            for size in sorted(sizes):
                if (name, seed, degree, size, steps) in known:
                    continue
                potential = train_on_first(
                    frames,
                    split,
                    size,
                    model=config,
                    settings=replace(settings, seed=seed),
                    steps=steps,
                    progress=progress,
                )
                test, _ = evaluate(potential, frames[split.test])
                seen, _ = evaluate(potential, frames[split.train[:size]])
                errors = (test.energy_mae, test.force_mae, seen.force_mae)
                minutes = potential.card["wall time / s"] / 60
                points.append(LearningPoint(name, degree, size, seed, steps, *errors, minutes))
                if path is not None:
                    write_points(path, points, {**facts, "test frames": len(split.test)})
    return points


def _facts(model: So3kratesConfig, settings: TrainConfig, n_valid: int) -> dict[str, Any]:
    """What a reader must know of how the numbers came about; degrees and seed stand in the rows."""
    network = {k: v for k, v in model.to_dict().items() if k != "degrees" and v is not None}
    training = settings.to_dict()
    for name in ("epochs", "seed", "max_minutes", "train_only", "refit_shift", "stop_patience"):
        del training[name]
    return {"hardware": hardware(), "model": network, "training": training, "valid frames": n_valid}


def stored_points(data: str = "ethanol-gfn2") -> tuple[list[LearningPoint], dict[str, Any]]:
    """The results that come with the package, those on ``data``, and what they were made with."""
    from so3krates_lite.datasets.places import bundled_path

    points, facts = read_points(bundled_path(STORED), LearningPoint)
    return [point for point in points if point.data == data], facts


# -- reading a curve ------------------------------------------------------------------------------


def curve(
    points: Sequence[LearningPoint], highest: int, quantity: str = "force_mae"
) -> tuple[np.ndarray, np.ndarray]:
    """Sizes, and the errors of every seed (sizes, seeds) in kcal/mol(/Å), of one highest degree."""
    chosen = [point for point in points if point.highest_degree == highest]
    return curve_of(chosen, "train_frames", quantity)


def draw_points(ax: Axes, points: Sequence[LearningPoint], quantity: str = "force_mae") -> None:
    """Error over training frames, both logarithmic: the mean of the seeds, and each seed a dot.

    One line for each highest degree, named at its end.
    """
    degrees = sorted({point.highest_degree for point in points})
    for highest in degrees:
        sizes, errors = curve(points, highest, quantity)
        style = {"color": PALETTE[highest % len(PALETTE)], "marker": "osD^v"[highest % 5]}
        mean = errors.mean(axis=1)
        ax.loglog(sizes, mean, markersize=5, **style)
        beside = {"textcoords": "offset points", "va": "center", "color": TEXT, "fontsize": 9}
        ax.annotate(f"degree {highest}", (sizes[-1], mean[-1]), (7, 0), **beside)
        if errors.shape[1] > 1:
            every = {"linestyle": "none", "markersize": 3, "alpha": 0.5}
            ax.loglog(np.repeat(sizes, errors.shape[1]), errors.ravel(), **style, **every)
    what, unit = ("energy", "kcal/mol") if "energy" in quantity else ("force", "kcal/mol/Å")
    where = "training" if quantity.startswith("train") else "test"
    ax.set(xlabel="training frames", ylabel=f"{what} MAE on {where} frames ({unit})")
    ticks = sorted({point.train_frames for point in points})
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    low, high = ax.get_ylim()
    steps = [m * 10.0**k for k in range(-4, 3) for m in (1, 1.5, 2, 3, 4, 5, 7)]
    shown = [tick for tick in steps if low <= tick <= high]
    ax.set_yticks(shown, [f"{tick:g}" for tick in shown])
    ax.set_xlim(0.9 * ticks[0], 1.9 * ticks[-1])  # room for the labels
