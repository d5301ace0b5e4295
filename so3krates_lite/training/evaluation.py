"""How good is a potential on a set: mean absolute and root-mean-square errors, in stated units.

Energies have no zero of their own: each level of theory, and each fit, has another. A model that is
off by the same 4000 eV for every frame of a molecule gives right forces, barriers and dynamics.
Beside the plain errors of energies stand those "less offset": after the mean error of each
composition has been taken away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from so3krates_lite.datasets.registry import REGISTRY
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential, Prediction
from so3krates_lite.structures.frames import Frames
from so3krates_lite.units import convert


@dataclass(frozen=True)
class SetErrors:
    """Errors on one set: energies in eV per structure, forces in eV/Å over all components.

    NaN stands where the set has no such labels. Errors less offset are over the frames whose
    composition occurs more than once; NaN where none does.
    """

    name: str
    frames: int
    energy_mae: float
    energy_rmse: float
    energy_rmse_per_atom: float
    energy_mae_less_offset: float
    energy_rmse_less_offset: float
    force_mae: float
    force_rmse: float
    paper: str = ""
    remark: str = ""  # a sentence, where model and data seem to differ in level of theory

    def row(self, unit: str = "kcal/mol") -> dict[str, str | float]:
        """A line of a table, energies in ``unit``."""

        def value(eV: float) -> str | float:
            return float(f"{convert(eV, 'eV', unit):.4g}") if np.isfinite(eV) else "-"

        return {
            "set": self.name,
            "frames": self.frames,
            f"energy MAE ({unit})": value(self.energy_mae),
            f"energy RMSE ({unit})": value(self.energy_rmse),
            f"less offset: MAE ({unit})": value(self.energy_mae_less_offset),
            f"less offset: RMSE ({unit})": value(self.energy_rmse_less_offset),
            f"force MAE ({unit}/Å)": value(self.force_mae),
            f"force RMSE ({unit}/Å)": value(self.force_rmse),
            "paper": self.paper or "-",
        }


def evaluate(
    potential: Potential, frames: Frames, *, name: str | None = None, batch_size: int = 64
) -> tuple[SetErrors, Prediction]:
    """Errors of ``potential`` on labelled ``frames``, and the predictions they come from.

    A mean over components leaves padding out; the paper's number stands beside it where the set
    is one that the paper reports. Where model and data seem to differ in level of theory, the
    errors carry a remark.
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
    relative, offset = (nothing, nothing) if frames.energy is None else _less_offset(energy, frames)
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
        energy_mae_less_offset=float(np.abs(relative).mean()),
        energy_rmse_less_offset=rmse(relative),
        force_mae=float(np.abs(forces).mean()),
        force_rmse=rmse(forces),
        paper=paper_number(known),
        remark=_remark(potential, frames, offset, rmse(relative)),
    )
    return errors, prediction


def _less_offset(
    error: Float[np.ndarray, "frames"], frames: Frames
) -> tuple[Float[np.ndarray, "kept"], Float[np.ndarray, "frames"]]:
    """Errors less the mean of their composition, where that has more frames than one; the means."""
    kind = frames.composition
    count = np.bincount(kind)
    mean = (np.bincount(kind, error) / count)[kind]
    several = count[kind] > 1
    return (error - mean)[several] if several.any() else np.full(1, np.nan), mean


def _remark(
    potential: Potential, frames: Frames, offset: Float[np.ndarray, "frames"], rmse: float
) -> str:
    """That model and data differ, if their levels of theory or the energies themselves say so."""
    advice = "compare forces and energies less offset"
    theories = (potential.card.get("level of theory"), frames.info.get("level_of_theory"))
    model, data = ("" if t in (None, "not stated") else str(t) for t in theories)
    if model and data and not _parts(data) <= _parts(model):
        return (
            f"The model was trained on {model}, but these data are {data}: energies of different "
            f"levels of theory have different zeros, so {advice}."
        )
    mean = float(np.abs(offset).mean())
    if np.isfinite(rmse) and mean > max(1.0, 10 * rmse):
        return (
            f"Energies are off by {mean:.4g} eV on average, the same for all frames of a "
            f"composition: model and data seem to have different zeros of energy, so {advice}."
        )
    return ""


def _parts(theories: str) -> set[str]:
    """The levels of theory of one or several joined sets, without what spelling may change."""
    return {"".join(text.lower().split()) for text in theories.split(";")}


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
