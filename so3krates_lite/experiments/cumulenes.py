"""Cumulenes: a barrier between the two ends of a chain.

In C_nH4 every carbon has two double bonds, and the planes of the two CH2 groups at the ends want to
stand across each other (n odd) or in one plane (n even). Turning one end costs up to 2 eV, at any
distance from the other: the double bonds between them transmit it.

A local model cannot see that, and layers do not help. Along a straight chain the harmonics of the
carbons point along the axis and know no angle about it; only atoms within the cutoff of a CH2
group's hydrogens have SPHCs that do, and what travels from layer to layer between atoms is
invariant. The angle between the ends first shows in the SPHC distance of two atoms, one that sees
this end and one that sees the other. So three steps of a cutoff each, from hydrogens to carbon,
from carbon to carbon, from carbon to hydrogens, are the furthest that an angle reaches, for any
number of layers; beyond, the energy is flat exactly. The spherical neighbourhood compares the ends
directly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets.cumulenes import CARBONS, dihedral_of, sampled, scan
from so3krates_lite.datasets.splits import random_split
from so3krates_lite.drawing.look import PALETTE, TEXT
from so3krates_lite.errors import UserError
from so3krates_lite.experiments.train_alike import save_results, train_models
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from so3krates_lite.training.progress import Progress

MODEL = So3kratesConfig(
    features=48,
    layers=3,
    cutoff=3.0,
    radial_hidden=64,
)
MODELS: dict[str, So3kratesConfig] = {
    "local": MODEL,
    "spherical": replace(MODEL, spherical_radius=1.0),
}
SETTINGS = TrainConfig(
    optimiser="adam",
    epochs=200,
    batch_size=10,
    learning_rate=2e-3,
    schedule="cosine",
    energy_weight=0.1,
    forces_weight=0.9,
)
N_VALID, N_TEST = 20, 40


@dataclass(frozen=True)
class Curve:
    """The energy of one chain over the angle between its ends, predicted and true.

    Args:
        carbons: n
        model, seed: which model predicts
        dihedral: degrees
        energy, reference: eV, both against the reference's minimum
        energy_mae, force_mae: on distorted chains that were not trained on, eV and eV/Å
        minutes: of training
    """

    carbons: int
    model: str
    seed: int
    dihedral: Float[np.ndarray, "angles"]
    energy: Float[np.ndarray, "angles"]
    reference: Float[np.ndarray, "angles"]
    energy_mae: float
    force_mae: float
    minutes: float

    @property
    def barrier(self) -> float:
        """Highest less lowest predicted energy, eV."""
        return float(np.ptp(self.energy))

    @property
    def reference_barrier(self) -> float:
        return float(np.ptp(self.reference))

    def error_at(self, dihedral: float) -> float:
        """Predicted less reference energy at an angle of the scan, eV."""
        k = int(np.argmin(np.abs(self.dihedral - dihedral)))
        return float(self.energy[k] - self.reference[k])

    def row(self) -> dict[str, float | str]:
        """A line of a table, energies in meV."""
        return {
            "carbons": self.carbons,
            "model": self.model,
            "seed": self.seed,
            "barrier (meV)": round(1e3 * self.barrier, 1),
            "reference (meV)": round(1e3 * self.reference_barrier, 1),
            "error at 0° (meV)": round(1e3 * self.error_at(0), 1),
            "error at 90° (meV)": round(1e3 * self.error_at(90), 1),
            "energy MAE (meV)": round(1e3 * self.energy_mae, 1),
            "force MAE (meV/Å)": round(1e3 * self.force_mae, 1),
            "training (min)": round(self.minutes, 1),
        }


def cumulene_curves(
    frames: Frames,
    *,
    carbons: Sequence[int] = CARBONS,
    models: Mapping[str, So3kratesConfig] = MODELS,
    settings: TrainConfig = SETTINGS,
    seeds: Sequence[int] = (0,),
    folder: Path | None = None,
    progress: Progress | None = None,
) -> list[Curve]:
    """For every length of chain, train every model on distorted chains and scan the angle.

    The scan's geometries are relaxed ones, which no model was trained on. A test set is one of
    distorted chains.

    Args:
        frames: the set "cumulenes-gfn2", or one made likewise
        carbons: lengths of the chain; each has models of its own
        models, settings, seeds: what is trained, and how
        folder: where runs and results are kept; None: nowhere
    """
    curves = []
    for n in carbons:
        chains, scanned = sampled(frames, n).trimmed(), scan(frames, n).trimmed()
        if len(chains) <= N_VALID + N_TEST:
            raise UserError(
                f"There are {len(chains)} sampled chains of {n} carbons, of which {N_VALID} "
                f"validate and {N_TEST} test: more than {N_VALID + N_TEST} are needed."
            )
        split = random_split(chains, len(chains) - N_VALID - N_TEST, N_VALID)
        unseen = chains[split.test]
        low = scanned.energy.min()
        for run in train_models(
            chains,
            split,
            models,
            settings,
            seeds=seeds,
            folder=folder and folder / f"C{n}H4",
            progress=progress,
        ):
            found = run.potential.predict(unseen)
            curves.append(
                Curve(
                    carbons=n,
                    model=run.model,
                    seed=run.seed,
                    dihedral=np.unwrap(dihedral_of(scanned), period=180),
                    energy=run.potential.predict(scanned).energy - low,
                    reference=scanned.energy - low,
                    energy_mae=float(np.abs(found.energy - unseen.energy).mean()),
                    force_mae=float(np.abs(found.forces - unseen.forces).mean()),
                    minutes=run.minutes,
                )
            )
        if folder is not None:
            save_curves(folder / "curves.json", curves, frames)
    return curves


def save_curves(path: Path, curves: Sequence[Curve], frames: Frames) -> None:
    """Tables and curves as JSON."""
    rows = [
        {
            **curve.row(),
            "dihedral": curve.dihedral.round(2).tolist(),
            "energy": curve.energy.round(5).tolist(),
            "reference energy": curve.reference.round(5).tolist(),
        }
        for curve in curves
    ]
    save_results(path, rows, data=frames.info.get("name", ""), units="degrees, eV")


def draw_curves(curves: Sequence[Curve]) -> Figure:
    """One panel per chain: the reference as a line, each model's energies over it (matplotlib)."""
    from matplotlib.figure import Figure

    lengths = sorted({curve.carbons for curve in curves})
    names = list(dict.fromkeys(curve.model for curve in curves))
    columns = min(len(lengths), 4)
    rows = -(-len(lengths) // columns)
    figure = Figure(figsize=(2.9 * columns, 2.3 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels[len(lengths) :]:
        panel.set_visible(False)
    for panel, n in zip(panels, lengths, strict=False):
        chosen = [curve for curve in curves if curve.carbons == n]
        reference = chosen[0]
        panel.plot(
            reference.dihedral, reference.reference, color=TEXT, linewidth=1.2, label="reference"
        )
        for curve in chosen:
            k = names.index(curve.model)
            label = curve.model if curve.seed == chosen[0].seed else None
            style = {"color": PALETTE[k], "marker": "os^D"[k % 4], "markersize": 3, "linewidth": 0}
            panel.plot(curve.dihedral, curve.energy, label=label, **style)
        panel.set_title(f"C$_{{{n}}}$H$_4$", fontsize=10)
        panel.set_xticks([0, 90, 180])
    for panel in panels[::columns]:
        panel.set_ylabel("energy (eV)")
    for panel in panels[max(len(lengths) - columns, 0) : len(lengths)]:
        panel.set_xlabel("angle between the ends (°)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return figure
