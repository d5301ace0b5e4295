"""GeomAtt on MD17: each molecule alone, and attention learnt on one molecule used for another.

In a transfer everything but the head is taken over and stays as it is: elements' features, maps and
attention. Only how the moved features become an energy is learnt anew, and the energy zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from so3krates_lite.config import GeomAttConfig
from so3krates_lite.datasets import load
from so3krates_lite.datasets.splits import random_split
from so3krates_lite.experiments.train_alike import Trained, save_results, train_models
from so3krates_lite.potential import Potential
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig
from so3krates_lite.training.evaluation import SetErrors, evaluate
from so3krates_lite.training.progress import Progress
from so3krates_lite.units import convert

MODEL = GeomAttConfig()
SETTINGS = TrainConfig(
    optimiser="adam",
    epochs=400,
    batch_size=10,
    learning_rate=1e-3,
    schedule="cosine",
    energy_weight=0.05,
    forces_weight=0.95,
)
HEAD_ONLY = ("head",)

# MAE of energy (kcal/mol) and forces (kcal/mol/Å): Frank & Chmiela, arXiv:2106.02549 (2021), 1000
# training points, 2000 epochs
PUBLISHED: dict[str, tuple[float, float]] = {
    "aspirin": (0.89, 2.03),
    "benzene": (0.18, 0.41),
    "ethanol": (0.25, 0.98),
    "malonaldehyde": (0.32, 1.31),
    "naphthalene": (0.32, 0.81),
    "salicylic_acid": (0.35, 1.17),
    "toluene": (0.24, 0.80),
    "uracil": (0.27, 0.99),
}
PUBLISHED_TRANSFER: dict[tuple[str, str], tuple[float, float]] = {
    ("aspirin", "benzene"): (0.38, 1.45),
    ("aspirin", "toluene"): (0.80, 2.36),
    ("benzene", "naphthalene"): (1.16, 3.97),
    ("toluene", "benzene"): (0.21, 0.83),
}


@dataclass(frozen=True)
class MoleculeResult:
    """A model's errors on test frames of one molecule, beside the paper's."""

    molecule: str
    what: str
    errors: SetErrors
    epochs: int
    minutes: float
    published: tuple[float, float] | None

    def row(self) -> dict[str, float | str]:
        """A line of a table."""
        energy, force = self.published or ("-", "-")
        return {
            "molecule": self.molecule,
            "what": self.what,
            "energy MAE (kcal/mol)": round(convert(self.errors.energy_mae, "eV", "kcal/mol"), 3),
            "force MAE (kcal/mol/Å)": round(convert(self.errors.force_mae, "eV", "kcal/mol"), 3),
            "paper energy MAE (kcal/mol)": energy,
            "paper force MAE (kcal/mol/Å)": force,
            "epochs": self.epochs,
            "training (min)": round(self.minutes, 1),
        }


def md17(
    molecules: Sequence[str],
    *,
    n_train: int = 950,
    n_valid: int = 50,
    settings: TrainConfig = SETTINGS,
    model: GeomAttConfig = MODEL,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> list[MoleculeResult]:
    """One model for each molecule, trained and judged on the parts that MD17's authors divided.

    Args:
        molecules: names as in `PUBLISHED`
        n_train, n_valid: of the training part
        folder: where runs and results are kept; None: nowhere
    """
    results: list[MoleculeResult] = []
    for molecule in molecules:
        run = _trained(molecule, {"geomatt": model}, settings, n_train, n_valid, folder, progress)
        results.append(_judged(molecule, "on its own", run, settings, PUBLISHED.get(molecule)))
        _save(folder, "md17.json", results)
    return results


def transfer(
    source: Potential,
    source_name: str,
    molecules: Sequence[str],
    *,
    n_train: int = 950,
    n_valid: int = 50,
    settings: TrainConfig = SETTINGS,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> list[MoleculeResult]:
    """The attention of ``source`` with a new head for each molecule, and the same from scratch.

    Args:
        source: a trained GeomAtt
        source_name: the molecule that it was trained on, for the table
        molecules: to train the head for
    """
    results: list[MoleculeResult] = []
    for molecule in molecules:
        common = (n_train, n_valid, folder and folder / f"from-{source_name}", progress)
        name = f"attention of {source_name}"
        frozen = replace(settings, train_only=HEAD_ONLY, refit_shift=True)
        models = {"frozen": source.config}
        run = _trained(molecule, models, frozen, *common, start=source)
        known = PUBLISHED_TRANSFER.get((source_name, molecule))
        results.append(_judged(molecule, name, run, frozen, known))
        run = _trained(molecule, {"scratch": source.config}, settings, *common)
        results.append(_judged(molecule, "on its own", run, settings, PUBLISHED.get(molecule)))
        _save(folder, "transfer.json", results)
    return results


def _trained(
    molecule: str,
    models: dict[str, GeomAttConfig],
    settings: TrainConfig,
    n_train: int,
    n_valid: int,
    folder: Path | None,
    progress: Progress | None,
    start: Potential | None = None,
) -> Trained:
    frames = _part(molecule, "train")
    split = random_split(frames, n_train, n_valid, 0, settings.seed)
    place = None if folder is None else folder / molecule
    (run,) = train_models(
        frames, split, models, settings, folder=place, progress=progress, start=start
    )
    return run


def _part(molecule: str, part: str) -> Frames:
    return load(f"md17-{molecule}", part=part)


def _judged(
    molecule: str,
    what: str,
    run: Trained,
    settings: TrainConfig,
    published: tuple[float, float] | None,
) -> MoleculeResult:
    errors, _ = evaluate(run.potential, _part(molecule, "test"), name=molecule)
    return MoleculeResult(molecule, what, errors, settings.epochs, run.minutes, published)


def _save(folder: Path | None, name: str, results: list[MoleculeResult]) -> None:
    if folder is not None:
        save_results(folder / name, [result.row() for result in results], data="MD17")
