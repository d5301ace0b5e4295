"""Is a stated deviation as large as the error? Measured on frames with labels.

A deviation sigma promises how often: if errors are normally distributed, 68.3 % of them are below
one sigma and 95.4 % below two (`coverage`). It promises which, too: where sigma is large, errors
should be (`binned`, and the rank correlation of both). The two are independent. Deviations that
are all too small by one factor order the frames as well as right ones do, and that factor can be
fitted (`fitted_factor`) on frames that neither trained nor judge, the validation frames.

Two things make the factor of an ensemble larger than 1. Members have the same form and saw the same
frames, so their spread leaves out what they have in common. And a deviation over few members is
itself uncertain: where it happens to be small, error over deviation is large. Errors over the
deviations of four members have the long tails of Student's distribution with three degrees of
freedom, so that one factor cannot set both one sigma and two right; `ideal_factor` is what it would
be if nothing else were amiss.

Sources: Lakshminarayanan et al., NeurIPS 2017; Levi et al., Sensors 22, 5540 (2022), for the factor
and the bins; Imbalzano et al., J. Chem. Phys. 154, 074102 (2021), for ensembles of potentials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from so3krates_lite.errors import UserError
from so3krates_lite.potential import Prediction
from so3krates_lite.record.ranking import rank_correlation
from so3krates_lite.structures.frames import Frames
from so3krates_lite.units import convert

Values = Float[np.ndarray, "values"]


@runtime_checkable
class Predicts(Protocol):
    """What states deviations: an `Ensemble`, or a `LastLayer`."""

    def predict(self, frames: Frames) -> Prediction: ...


def coverage(error: Values, std: Values, width: float = 1.0) -> float:
    """The fraction of errors that are no larger than ``width`` standard deviations."""
    return float(np.mean(np.abs(error) <= width * std))


def fitted_factor(error: Values, std: Values) -> float:
    """By what deviations should be multiplied: the root mean square of error over deviation.

    The factor under which normally distributed errors are most probable; 1 where deviations are
    right, above 1 where they are too small. Where both are zero nothing is said, as of a force that
    symmetry forbids.
    """
    said = (std > 0) | (error != 0)
    if not said.any() or not (std[said] > 0).all():
        raise UserError(
            "Some deviations are zero where errors are not: no factor makes them right."
        )
    return float(np.sqrt(np.mean((error[said] / std[said]) ** 2)))


def ideal_factor(members: int) -> float:
    """What `fitted_factor` tends to where the truth is like one more member: normal, and drawn from
    the same distribution as all of them.

    The variance of (truth - mean) over s, sqrt((1 + 1/K) (K - 1) / (K - 3)); infinite to 3 members.
    """
    K = members
    return math.sqrt((1 + 1 / K) * (K - 1) / (K - 3)) if K > 3 else math.inf


def binned(
    error: Values, std: Values, bins: int = 10
) -> tuple[Float[np.ndarray, "bins"], Float[np.ndarray, "bins"]]:
    """Root mean squares of deviation and of error, in bins of equally many values by deviation."""
    if len(std) < bins:
        raise UserError(f"{len(std)} values are too few for {bins} bins: ask for fewer bins.")
    parts = np.array_split(np.argsort(std, kind="stable"), bins)
    stated, found = ([np.sqrt(np.mean(a[part] ** 2)) for part in parts] for a in (std, error))
    return np.array(stated), np.array(found)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Errors of one quantity and the deviations stated for them, in eV or eV/Å.

    Args:
        quantity: "energy" or "forces"
        error, std: of each structure, or of each component of a force
        size, size_std: what is ranked, where a direction should not matter: of each structure, or
            of each atom the lengths of both
        factor: what deviations are multiplied by, fitted elsewhere; None: nowhere
    """

    quantity: str
    error: Values
    std: Values
    size: Float[np.ndarray, "ranked"]
    size_std: Float[np.ndarray, "ranked"]
    factor: float | None = None

    @property
    def rmse(self) -> float:
        return float(np.sqrt(np.mean(self.error**2)))

    @property
    def rms_std(self) -> float:
        """Root mean square of the deviations: the error that they promise."""
        return float(np.sqrt(np.mean(self.std**2)))

    @property
    def spearman(self) -> float:
        """Rank correlation of the sizes of error and deviation; NaN where there is no order."""
        if len(self.size) < 3 or np.ptp(self.size) == 0 or np.ptp(self.size_std) == 0:
            return math.nan
        return rank_correlation(self.size, self.size_std)

    def row(self, unit: str = "kcal/mol") -> dict[str, str | float]:
        """A line of a table; "-" where no factor was fitted."""
        per = "/Å" if self.quantity == "forces" else ""

        def value(eV: float) -> str:
            return f"{convert(eV, 'eV', unit):.3g} {unit}{per}"

        def percent(width: float, factor: float | None) -> str:
            if factor is None:
                return "-"
            return f"{100 * coverage(self.error, factor * self.std, width):.1f}"

        return {
            "deviation of": self.quantity,
            "RMS error": value(self.rmse),
            "stated": value(self.rms_std),
            "Spearman": "-" if math.isnan(self.spearman) else f"{self.spearman:.2f}",
            "within 1 sigma (%)": percent(1, 1),
            "within 2 sigma (%)": percent(2, 1),
            "factor": "-" if self.factor is None else f"{self.factor:.2f}",
            "with it: 1 sigma (%)": percent(1, self.factor),
            "with it: 2 sigma (%)": percent(2, self.factor),
        }


def calibration(
    prediction: Prediction, frames: Frames, fitted_on: list[Calibration] | None = None
) -> list[Calibration]:
    """How deviations stand to errors, of energies and forces, as far as both are known.

    Args:
        prediction: with deviations
        frames: what it is of, with labels
        fitted_on: the same of other frames, from which the factors are fitted; None: no factors

    Raises:
        UserError: the prediction states no deviations, or the frames have no labels
    """
    factors = {c.quantity: fitted_factor(c.error, c.std) for c in fitted_on or ()}
    found = []
    if frames.energy is not None and prediction.energy_std is not None:
        error, std = prediction.energy - frames.energy, prediction.energy_std
        found.append(Calibration("energy", error, std, np.abs(error), std, factors.get("energy")))
    if frames.forces is not None and prediction.forces_std is not None:
        error = (prediction.forces - frames.forces)[frames.mask]
        std = prediction.forces_std[frames.mask]
        lengths = (np.linalg.norm(a, axis=-1) for a in (error, std))
        found.append(
            Calibration("forces", error.ravel(), std.ravel(), *lengths, factors.get("forces"))
        )
    if not found:
        raise UserError(
            "Calibration needs deviations and labels of the same quantity: take an ensemble, and "
            "frames with energies or forces."
        )
    return found


def calibrated(model: Predicts, frames: Frames, valid: Frames | None = None) -> list[Calibration]:
    """The same of a model on test ``frames``, with factors fitted on those of ``valid``."""
    fitted = None if valid is None else calibration(model.predict(valid), valid)
    return calibration(model.predict(frames), frames, fitted)
