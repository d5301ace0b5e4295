"""Calibration: numbers made by hand, and deviations that are right by construction."""

from __future__ import annotations

import numpy as np
import pytest

from so3krates_lite.errors import UserError
from so3krates_lite.potential import Prediction
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training.calibration import (
    binned,
    calibrated,
    calibration,
    coverage,
    fitted_factor,
    ideal_factor,
)

ERROR, STD = np.array([0.5, -1.0, 3.0, -0.1]), np.array([1.0, 1.0, 2.0, 0.05])
NUMBERS = np.array([[8, 1, 0], [1, 1, 1]])


def frames_and_prediction(error, std):
    """Labels of zero: what is predicted is the error. Padding holds nonsense."""
    frames = Frames(
        numbers=NUMBERS,
        positions=np.arange(18.0).reshape(2, 3, 3) * (NUMBERS > 0)[..., None],
        energy=np.zeros(2),
        forces=np.zeros((2, 3, 3)),
    )
    forces, forces_std = np.full((2, 3, 3), 99.0), np.full((2, 3, 3), 1e-9)
    forces[frames.mask], forces_std[frames.mask] = error, std
    found = Prediction(np.array([1.0, -2.0]), forces)
    return frames, found.with_deviations(np.array([1.0, 1.0]), forces_std)


def test_coverage_counts_errors_within_so_many_deviations():
    assert coverage(ERROR, STD) == 0.5  # 0.5 and 1 sigma; not 1.5 and 2
    assert coverage(ERROR, STD, 1.6) == 0.75
    assert coverage(ERROR, STD, 2.0) == 1.0


def test_the_factor_is_the_root_mean_square_of_error_over_deviation():
    expected = np.sqrt((0.5**2 + 1 + 1.5**2 + 2**2) / 4)
    assert fitted_factor(ERROR, STD) == pytest.approx(expected, rel=1e-14)
    # what symmetry forbids says nothing
    with_nothing = np.append(ERROR, 0.0), np.append(STD, 0.0)
    assert fitted_factor(*with_nothing) == pytest.approx(expected, rel=1e-14)
    with pytest.raises(UserError, match="zero where errors are not"):
        fitted_factor(np.append(ERROR, 1.0), np.append(STD, 0.0))


@pytest.mark.parametrize("members", [6, 12])
def test_the_truth_as_one_more_member_gives_the_ideal_factor(members):
    values = np.random.default_rng(1).normal(size=(members + 1, 400_000))
    truth, drawn = values[0], values[1:]
    found = fitted_factor(drawn.mean(axis=0) - truth, drawn.std(axis=0, ddof=1))
    assert found == pytest.approx(ideal_factor(members), rel=0.01)
    assert ideal_factor(3) == np.inf


def test_bins_hold_equally_many_in_order_of_deviation():
    stated, found = binned(ERROR, STD, bins=2)
    np.testing.assert_allclose(stated, [np.sqrt((0.05**2 + 1) / 2), np.sqrt((1 + 4) / 2)])
    np.testing.assert_allclose(found, [np.sqrt((0.1**2 + 0.5**2) / 2), np.sqrt((1 + 9) / 2)])
    with pytest.raises(UserError, match="4 values are too few for 5 bins"):
        binned(ERROR, STD, bins=5)


def test_deviations_that_are_right_are_found_right():
    rng = np.random.default_rng(0)
    std = rng.uniform(0.5, 2.0, 200_000)
    error = std * rng.normal(size=std.size)
    assert coverage(error, std) == pytest.approx(0.6827, abs=0.004)
    assert coverage(error, std, 2) == pytest.approx(0.9545, abs=0.002)
    assert fitted_factor(error, std / 3) == pytest.approx(3, rel=0.01)
    stated, found = binned(error, std)
    np.testing.assert_allclose(found, stated, rtol=0.03)


def test_padding_counts_nowhere_and_atoms_are_ranked_by_length():
    error = np.arange(1.0, 16.0).reshape(5, 3)
    std = error[::-1]
    frames, prediction = frames_and_prediction(error, std)
    energy, forces = calibration(prediction, frames)
    assert forces.rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-14)
    assert forces.rms_std == pytest.approx(forces.rmse, rel=1e-14)
    assert forces.spearman == pytest.approx(-1.0)
    np.testing.assert_allclose(forces.size, np.sqrt((error**2).sum(axis=1)), rtol=1e-14)
    assert coverage(energy.error, energy.std) == 0.5
    assert energy.factor is None and energy.row()["factor"] == "-"
    assert energy.row()["Spearman"] == "-"  # of two frames


def test_factors_come_from_the_other_frames():
    frames, prediction = frames_and_prediction(np.ones((5, 3)), np.ones((5, 3)))
    other = frames_and_prediction(np.full((5, 3), 3.0), np.ones((5, 3)))[1]

    class Model:
        def predict(self, asked):
            return prediction if asked is frames else other

    _, forces = calibrated(Model(), frames, frames[[0, 1]])
    assert forces.factor == pytest.approx(3.0)
    assert forces.row("eV")["within 1 sigma (%)"] == "100.0"
    assert coverage(forces.error, forces.factor * forces.std, 0.3) == 0.0
    assert forces.row("eV")["RMS error"] == "1 eV/Å"


def test_one_network_alone_has_nothing_to_calibrate():
    frames, prediction = frames_and_prediction(np.ones((5, 3)), np.ones((5, 3)))
    alone = prediction.with_deviations(None, None)
    with pytest.raises(UserError, match="take an ensemble"):
        calibration(alone, frames)
