"""Do stated deviations know the errors? An ensemble beside the last layer of one of its members.

Both are trained on the same frames and judged on two sets that neither knows: other walks of the
training set's own dynamics, and hot ones, which go where no training frame has been. Factors are
fitted on validation frames of the first kind. What holds on the second shows whether deviations
grow where the network has to guess, which is what they are for.

Hot frames need the extra `generate`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets.places import bundled_path
from so3krates_lite.datasets.splits import group_or_random_split
from so3krates_lite.drawing.deviations import draw_deviations
from so3krates_lite.ensemble import Ensemble
from so3krates_lite.experiments.active_learning import Exploration, hot_frames, kept, network_facts
from so3krates_lite.experiments.points import read_points, write_points
from so3krates_lite.runtime.settings import hardware
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig, train
from so3krates_lite.training.calibration import Calibration, binned, calibration, coverage
from so3krates_lite.training.last_layer import LastLayer
from so3krates_lite.units import convert

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from so3krates_lite.training.progress import Progress

MODEL = So3kratesConfig(
    features=48, layers=2, radial_hidden=64, spherical_hidden=16, sphc_start="smooth"
)
SETTINGS = TrainConfig(batch_size=5, schedule="cosine", members=4)
STEPS = 2000
N_TRAIN, N_VALID = 200, 100
STORED = "uncertainty.csv"
BINS = 10


@dataclass(frozen=True)
class UncertaintyPoint:
    """How deviations of one quantity stand to errors (eV, eV/Å), by one method on one set."""

    method: str
    frames: str
    seed: int
    quantity: str
    rmse: float
    stated: float  # root mean square of the deviations
    spearman: float
    within_1: float  # fraction of errors within one deviation, and two
    within_2: float
    factor: float  # fitted on validation frames
    scaled_within_1: float
    scaled_within_2: float
    ms: float  # a frame takes so long, deviations included

    @classmethod
    def of(
        cls, found: Calibration, method: str, frames: str, seed: int, ms: float
    ) -> UncertaintyPoint:
        within = [coverage(found.error, found.std, width) for width in (1, 2)]
        scaled = [coverage(found.error, found.factor * found.std, width) for width in (1, 2)]
        numbers = (found.rmse, found.rms_std, found.spearman, *within, found.factor, *scaled)
        return cls(method, frames, seed, found.quantity, *numbers, ms)

    def row(self) -> dict[str, float | str]:
        """A line of a table."""
        return {
            "deviations": self.method,
            "frames": self.frames,
            "seed": self.seed,
            "of": self.quantity,
            "RMSE (kcal/mol, per Å)": round(convert(self.rmse, "eV", "kcal/mol"), 3),
            "stated (kcal/mol, per Å)": round(convert(self.stated, "eV", "kcal/mol"), 3),
            "Spearman": round(self.spearman, 2),
            "1 sigma (%)": round(100 * self.within_1, 1),
            "2 sigma (%)": round(100 * self.within_2, 1),
            "factor": round(self.factor, 2),
            "scaled: 1 sigma (%)": round(100 * self.scaled_within_1, 1),
            "scaled: 2 sigma (%)": round(100 * self.scaled_within_2, 1),
            "a frame (ms)": round(self.ms, 2),
        }


@dataclass(frozen=True)
class Study:
    """The points of a study, and the calibrations of its first seed by method and set."""

    points: list[UncertaintyPoint]
    calibrations: dict[tuple[str, str], list[Calibration]]


def uncertainty(
    frames: Frames,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    n_train: int = N_TRAIN,
    n_valid: int = N_VALID,
    n_test: int = 400,
    n_hot: int = 200,
    model: So3kratesConfig = MODEL,
    settings: TrainConfig = SETTINGS,
    steps: int = STEPS,
    folder: str | Path,
    progress: Progress | None = None,
) -> Study:
    """Train an ensemble from each seed and measure its deviations and those of a last layer.

    Args:
        frames: of ethanol, labelled by GFN2-xTB
        seeds: each has a split and members of its own
        n_train, n_valid, n_test, n_hot: frames that train, fit factors, and judge
        model, settings: of the members
        steps: training steps
        folder: where ensembles, hot frames and results are kept; an ensemble that is there is taken
    """
    folder, found, calibrations = Path(folder), [], {}
    hot = kept(folder / "hot.npz", lambda: hot_frames(Exploration(), n_hot))
    facts = {
        "hardware": hardware(),
        **network_facts(model, settings),
        "steps": steps,
        "training frames": n_train,
        "valid frames": n_valid,
        "test frames": n_test,
        "hot frames": len(hot),
    }
    for seed in seeds:
        split = group_or_random_split(frames, n_train, n_valid, n_test, seed)
        path = folder / f"ensemble-{seed}.safetensors"
        if not path.is_file():
            epochs = max(round(steps / (n_train // settings.batch_size)), 1)
            # no two seeds share a member
            own = replace(settings, epochs=epochs, seed=seed * settings.members)
            train(frames, split, model=model, settings=own, progress=progress).potential.save(path)
        ensemble = Ensemble.load(path)
        layer = LastLayer.fit(ensemble.member(0), frames[split.train])
        methods: dict[str, Any] = {f"{len(ensemble)} members": ensemble, "last layer": layer}
        sets = {"test": frames[split.test], "hot": hot}
        for method, model_of in methods.items():
            valid = frames[split.valid]
            fitted = calibration(model_of.predict(valid), valid)
            for name, judge in sets.items():
                model_of.predict(judge)  # compiles
                begin = time.perf_counter()
                prediction = model_of.predict(judge)
                ms = 1e3 * (time.perf_counter() - begin) / len(judge)
                both = calibration(prediction, judge, fitted)
                found += [UncertaintyPoint.of(one, method, name, seed, ms) for one in both]
                calibrations.setdefault((method, name), both)
        write_points(folder / STORED, found, facts)
    return Study(found, calibrations)


def stored_points() -> tuple[list[UncertaintyPoint], dict[str, Any]]:
    """The results that come with the package, and what they were made with."""
    return read_points(bundled_path(STORED), UncertaintyPoint)


def figure(study: Study) -> Figure:
    """Errors over deviations of force components, on either set, before any factor."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(8.4, 4.2), layout="constrained")
    titles = {"test": "frames of the set, 500 K", "hot": "hot frames"}
    for ax, (name, title) in zip(drawn.subplots(1, 2), titles.items(), strict=True):
        curves = {
            method: binned(one.error, one.std, BINS)
            for (method, of), both in study.calibrations.items()
            for one in both
            if of == name and one.quantity == "forces"
        }
        draw_deviations(ax, curves)
        ax.set_title(title, fontsize=10)
    return drawn
