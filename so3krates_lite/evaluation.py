"""How good is a potential on a set: mean absolute and root-mean-square errors, in stated units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from so3krates_lite.datasets.registry import REGISTRY
from so3krates_lite.errors import UserError
from so3krates_lite.frames import Frames
from so3krates_lite.potential import Potential, Prediction
from so3krates_lite.units import convert


@dataclass(frozen=True)
class SetErrors:
    """Errors on one set: energies in eV per structure, forces in eV/Å over all components.

    NaN stands where the set has no such labels.
    """

    name: str
    frames: int
    energy_mae: float
    energy_rmse: float
    energy_rmse_per_atom: float
    force_mae: float
    force_rmse: float
    paper: str = ""

    def row(self, unit: str = "kcal/mol") -> dict[str, str | float]:
        """A line of a table, energies in ``unit``."""

        def value(eV: float) -> str | float:
            return float(f"{convert(eV, 'eV', unit):.4g}") if np.isfinite(eV) else "-"

        return {
            "set": self.name,
            "frames": self.frames,
            f"energy MAE ({unit})": value(self.energy_mae),
            f"energy RMSE ({unit})": value(self.energy_rmse),
            f"force MAE ({unit}/Å)": value(self.force_mae),
            f"force RMSE ({unit}/Å)": value(self.force_rmse),
            "paper": self.paper or "-",
        }


def evaluate(
    potential: Potential, frames: Frames, *, name: str | None = None, batch_size: int = 64
) -> tuple[SetErrors, Prediction]:
    """Errors of ``potential`` on labelled ``frames``, and the predictions they come from.

    A mean over components leaves padding out; the paper's number stands beside it where the set
    is one that the paper reports.
    """
    if len(frames) == 0:
        raise UserError(f"Evaluation needs frames, but {name or 'the set'} has none.")
    if frames.energy is None and frames.forces is None:
        why = frames.lacking("energy") or frames.lacking("forces")
        raise UserError(f"Evaluation needs energies or forces, but the frames have neither{why}.")
    prediction = potential.predict(frames, batch_size=batch_size)
    nothing = np.full(1, np.nan)
    energy = nothing if frames.energy is None else prediction.energy - frames.energy
    per_atom = energy / (1 if frames.energy is None else frames.n_atoms)
    forces = nothing
    if frames.forces is not None:
        forces = (prediction.forces - frames.forces)[frames.mask]

    def rmse(error: np.ndarray) -> float:
        return float(np.sqrt(np.mean(error**2)))

    known = frames.info.get("name", "")
    errors = SetErrors(
        name=name or known or "frames",
        frames=len(frames),
        energy_mae=float(np.abs(energy).mean()),
        energy_rmse=rmse(energy),
        energy_rmse_per_atom=rmse(per_atom),
        force_mae=float(np.abs(forces).mean()),
        force_rmse=rmse(forces),
        paper=paper_number(known),
    )
    return errors, prediction


def paper_number(dataset: str) -> str:
    """What the So3krates paper reports for a registered set, in words; empty where it does not."""
    if dataset not in REGISTRY:
        return ""
    return "; ".join(
        f"{number.quantity} {number.value:g} {number.unit}" for number in REGISTRY[dataset].numbers
    )


def format_table(rows: Sequence[Mapping[str, str | float]]) -> str:
    """Rows of equal keys as aligned text: words to the left, numbers to the right.

    The unit in a heading, "energy MAE (meV)", goes on a line of its own.
    """
    columns = []
    units = any("(" in name for name in rows[0])
    for name in rows[0]:
        cells = [row[name] for row in rows]
        words = any(isinstance(cell, str) for cell in cells)
        quantity, _, unit = name.partition(" (")
        texts = [quantity, *([unit.removesuffix(")")] if units else []), *map(str, cells)]
        width = max(map(len, texts))
        texts.insert(1 + units, "-" * width)
        columns.append([t.ljust(width) if words else t.rjust(width) for t in texts])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))
