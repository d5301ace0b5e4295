"""MD17: each molecule alone beside the papers' numbers, and attention learnt on one for another.

Frames, labels and parts are those that MD17's authors divided: training and validation frames are
drawn from the training part, and the test part is looked at once.

In a transfer everything but the head is taken over and stays as it is: elements' features, maps and
attention. Only how the moved features become an energy is learnt anew, and the energy zero. Fine
tuning begins from a trained potential, such as SO3LR, and moves all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from so3krates_lite.config import GeomAttConfig, ModelConfig, So3kratesConfig
from so3krates_lite.datasets import load
from so3krates_lite.datasets.registry import REGISTRY
from so3krates_lite.datasets.splits import random_split
from so3krates_lite.errors import require
from so3krates_lite.experiments.train_alike import Trained, bundle, save_results, train_models
from so3krates_lite.potential import Potential
from so3krates_lite.published.so3lr import CONFIG as SO3LR
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig
from so3krates_lite.training.evaluation import SetErrors, evaluate
from so3krates_lite.training.progress import Progress
from so3krates_lite.units import convert


@dataclass(frozen=True)
class Recipe:
    """A network, and how it is trained here."""

    model: ModelConfig
    settings: TrainConfig


RECIPES = {
    "so3krates": Recipe(
        So3kratesConfig(),
        # many small steps of a low rate generalise better, see docs/results.md
        TrainConfig(
            epochs=240,
            batch_size=2,
            learning_rate=1.2e-3,
            momentum=0.98,
            schedule="cosine",
        ),
    ),
    "geomatt": Recipe(
        GeomAttConfig(),
        TrainConfig(epochs=120, batch_size=10, momentum=0.98, schedule="cosine"),
    ),
    # the form, size and physical terms of SO3LR, from nothing
    "so3lr": Recipe(SO3LR, TrainConfig(epochs=450, batch_size=10, schedule="cosine")),
}
FINE_TUNING = TrainConfig(
    epochs=200,
    batch_size=10,
    schedule="cosine",
    learning_rate=1e-3,
    weight_decay=0.0,
    refit_shift=True,
)
HEAD_ONLY = ("head",)

# of So3krates's paper, kcal/mol; its force errors stand on the cards of the data sets
_SO3KRATES_ENERGY = {
    "aspirin": 0.139,
    "ethanol": 0.052,
    "malonaldehyde": 0.077,
    "naphthalene": 0.115,
    "salicylic_acid": 0.106,
    "toluene": 0.095,
    "uracil": 0.103,
}
# MAE of energy (kcal/mol) and forces (kcal/mol/Å) with 1000 training frames and original labels.
# So3krates: Frank, Unke & Müller, NeurIPS 2022; GeomAtt: Frank & Chmiela, arXiv:2106.02549 (2021),
# 2000 epochs
PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {
    "so3krates": {
        molecule: (energy, REGISTRY[f"md17-{molecule}"].numbers[0].value)
        for molecule, energy in _SO3KRATES_ENERGY.items()
    },
    "geomatt": {
        "aspirin": (0.89, 2.03),
        "benzene": (0.18, 0.41),
        "ethanol": (0.25, 0.98),
        "malonaldehyde": (0.32, 1.31),
        "naphthalene": (0.32, 0.81),
        "salicylic_acid": (0.35, 1.17),
        "toluene": (0.24, 0.80),
        "uracil": (0.27, 0.99),
    },
}
# force MAE (kcal/mol/Å) of others with original labels, as tables of later papers quote them
PEERS: dict[str, dict[str, float]] = {
    "NequIP": {
        "aspirin": 0.184,
        "ethanol": 0.071,
        "malonaldehyde": 0.129,
        "naphthalene": 0.039,
        "salicylic_acid": 0.090,
        "toluene": 0.046,
        "uracil": 0.076,
    },
    "PaiNN": {
        "aspirin": 0.371,
        "ethanol": 0.230,
        "malonaldehyde": 0.319,
        "naphthalene": 0.083,
        "salicylic_acid": 0.209,
        "toluene": 0.102,
        "uracil": 0.140,
    },
}
# with revised labels, by the number of training frames, in meV/Å as MACE's paper quotes them
# (Batatia et al., NeurIPS 2022, arXiv:2206.07697)
REVISED_PEERS: dict[int, dict[str, dict[str, float]]] = {
    950: {"MACE": {"ethanol": 2.1}, "NequIP": {"ethanol": 2.8}, "Allegro": {"ethanol": 2.1}},
    50: {"MACE": {"ethanol": 32.6}, "NequIP": {"ethanol": 40.2}},
}
PUBLISHED_TRANSFER: dict[tuple[str, str], tuple[float, float]] = {
    ("aspirin", "benzene"): (0.38, 1.45),
    ("aspirin", "toluene"): (0.80, 2.36),
    ("benzene", "naphthalene"): (1.16, 3.97),
    ("toluene", "benzene"): (0.21, 0.83),
}


@dataclass(frozen=True)
class MoleculeResult:
    """A model's errors on test frames of one molecule, beside the paper's and others'.

    ``labels`` are "original" or "revised"; the paper's numbers are of the original ones. ``epochs``
    and ``steps`` are those that were trained; ``peers`` hold force MAE in kcal/mol/Å, "-" where a
    method has no number.
    """

    molecule: str
    what: str
    errors: SetErrors
    seed: int
    epochs: int
    steps: int
    minutes: float
    published: tuple[float, float] | None
    peers: Mapping[str, float | str] = field(default_factory=dict)
    labels: str = "original"

    def row(self) -> dict[str, float | str]:
        """A line of a table."""
        energy, force = self.published or ("-", "-")
        return {
            "molecule": self.molecule,
            "what": self.what,
            "labels": self.labels,
            "seed": self.seed,
            "energy MAE (kcal/mol)": round(convert(self.errors.energy_mae, "eV", "kcal/mol"), 3),
            "force MAE (kcal/mol/Å)": round(convert(self.errors.force_mae, "eV", "kcal/mol"), 3),
            "paper energy MAE (kcal/mol)": energy,
            "paper force MAE (kcal/mol/Å)": force,
            **{f"{name} force MAE": error for name, error in self.peers.items()},
            "epochs": self.epochs,
            "steps": self.steps,
            "training (min)": round(self.minutes, 1),
        }


def md17(
    molecules: Sequence[str],
    architecture: str = "so3krates",
    *,
    labels: str = "original",
    n_train: int = 950,
    n_valid: int = 50,
    seeds: Sequence[int] = (0,),
    recipe: Recipe | None = None,
    start: Potential | None = None,
    folder: Path | None = None,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> list[MoleculeResult]:
    """One model for each molecule and seed, trained and judged on the parts of MD17's authors.

    Args:
        molecules: names as in `PUBLISHED`
        architecture: "so3krates", "geomatt" or "so3lr", a key of `RECIPES`
        labels: "original", or "revised" where the data hold both
        n_train, n_valid: of the training part
        seeds: of the frames that are drawn, their order and the initial weights
        recipe: model and settings; None: those of `RECIPES`
        start: begin from this potential, whose model it then is; None: from nothing
        folder: where runs and results are kept; None: nowhere
        keep: where the potential of the first seed is written beside (`train_alike.bundle`);
            needs a folder
    """
    known = tuple(RECIPES)
    require(architecture in known, "architecture", architecture, f"one of {known}")
    require(keep is None or folder is not None, "folder", folder, "a folder of runs to keep from")
    recipe = recipe or RECIPES[architecture]
    published = PUBLISHED.get(architecture, {}) if labels == "original" else {}
    what = "on its own" if start is None else f"from {start.card.get('name', 'a potential')}"
    name = f"{architecture}-{labels}" + ("" if start is None else "-tuned")
    peers = peers_of(labels, n_train) if architecture == "so3krates" else {}
    results: list[MoleculeResult] = []
    for molecule in molecules:
        data = _parts(molecule, labels)
        of_peers = {name: of.get(molecule, "-") for name, of in peers.items()}
        beside = {"published": published.get(molecule), "peers": of_peers, "labels": labels}
        for seed in seeds:
            settings = replace(recipe.settings, seed=seed)
            models = {name: start.config if start else recipe.model}
            common = (n_train, n_valid, folder, progress)
            run = _trained(molecule, data, models, settings, *common, start=start)
            results.append(_judged(molecule, data, what, run, **beside))
            _save(folder, "md17.json", results)
            if keep is not None and seed == seeds[0]:
                taught = run.kept.split()
                whole = replace(
                    taught,
                    test=len(data["train"]) + np.arange(len(data["test"])),
                    strategy=f"{taught.strategy} of the training part",
                )
                kept_as = _name_of(molecule, architecture, labels, start)
                bundle(run, kept_as, whole, results[-1].errors, keep)
    return results


def peers_of(labels: str, n_train: int) -> Mapping[str, Mapping[str, float]]:
    """Others' force MAE (kcal/mol/Å) for these labels, of each method and molecule."""
    if labels == "original":
        return PEERS
    return {
        method: {name: round(convert(mae, "meV", "kcal/mol"), 3) for name, mae in of.items()}
        for method, of in REVISED_PEERS.get(n_train, {}).items()
    }


def _name_of(molecule: str, architecture: str, labels: str, start: Potential | None) -> str:
    """What a potential is kept as: md17-ethanol, or md17-ethanol-geomatt, -revised, -tuned."""
    kinds = (architecture, labels, "" if start is None else "tuned")
    usual = ("so3krates", "original", "")
    unusual = [kind for kind, plain in zip(kinds, usual, strict=True) if kind != plain]
    return "-".join(["md17", molecule, *unusual])


def transfer(
    source: Potential,
    source_name: str,
    molecules: Sequence[str],
    *,
    n_train: int = 950,
    n_valid: int = 50,
    settings: TrainConfig = RECIPES["geomatt"].settings,
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
        data = _parts(molecule)
        common = (n_train, n_valid, folder and folder / f"from-{source_name}", progress)
        name = f"attention of {source_name}"
        frozen = replace(settings, train_only=HEAD_ONLY, refit_shift=True)
        models = {"frozen": source.config}
        run = _trained(molecule, data, models, frozen, *common, start=source)
        known = PUBLISHED_TRANSFER.get((source_name, molecule))
        results.append(_judged(molecule, data, name, run, known))
        run = _trained(molecule, data, {"scratch": source.config}, settings, *common)
        published = PUBLISHED["geomatt"].get(molecule)
        results.append(_judged(molecule, data, "on its own", run, published))
        _save(folder, "transfer.json", results)
    return results


def _trained(
    molecule: str,
    data: dict[str, Frames],
    models: dict[str, ModelConfig],
    settings: TrainConfig,
    n_train: int,
    n_valid: int,
    folder: Path | None,
    progress: Progress | None,
    start: Potential | None = None,
) -> Trained:
    split = random_split(data["train"], n_train, n_valid, 0, settings.seed)
    place = None if folder is None else folder / molecule
    (run,) = train_models(
        data["train"],
        split,
        models,
        settings,
        seeds=(settings.seed,),
        folder=place,
        progress=progress,
        start=start,
    )
    return run


def _parts(molecule: str, labels: str = "original") -> dict[str, Frames]:
    # the files of the revised set hold both kinds of labels, and the authors' division
    return {part: load(f"rmd17-{molecule}", part=part, labels=labels) for part in ("train", "test")}


def _judged(
    molecule: str,
    data: dict[str, Frames],
    what: str,
    run: Trained,
    published: tuple[float, float] | None,
    **more: Any,
) -> MoleculeResult:
    errors, _ = evaluate(run.potential, data["test"], name=molecule)
    return MoleculeResult(
        molecule=molecule,
        what=what,
        errors=errors,
        seed=run.seed,
        epochs=run.epochs,
        steps=run.steps,
        minutes=run.minutes,
        published=published,
        **more,
    )


def _save(folder: Path | None, name: str, results: list[MoleculeResult]) -> None:
    if folder is not None:
        save_results(folder / name, [result.row() for result in results], data="MD17")
