"""The study of deviations: both methods on both sets, kept, and judged as calibration says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets import load
from so3krates_lite.datasets.frames_file import save_frames
from so3krates_lite.datasets.splits import group_or_random_split
from so3krates_lite.ensemble import Ensemble
from so3krates_lite.experiments import uncertainty as study
from so3krates_lite.training.calibration import calibrated
from so3krates_lite.training.progress import Silent

pytestmark = pytest.mark.usefixtures("quick_compilation")

TINY = So3kratesConfig(
    features=12, layers=1, degrees=(1,), heads=2, radial_hidden=8, spherical_hidden=8
)


def test_both_methods_are_judged_on_both_sets_and_kept(tmp_path):
    frames = load("ethanol-gfn2")
    save_frames(frames[:8], tmp_path / "hot.npz")  # so that nothing has to be made
    options = {
        "n_train": 12,
        "n_valid": 8,
        "n_test": 8,
        "model": TINY,
        "settings": replace(study.SETTINGS, members=2),
        "steps": 4,
        "folder": tmp_path,
        "progress": Silent(),
    }
    found = study.uncertainty(frames, seeds=(1,), **options)
    rows = {(p.method, p.frames, p.quantity): p for p in found.points}
    assert set(rows) == {
        (method, name, quantity)
        for method in ("2 members", "last layer")
        for name in ("test", "hot")
        for quantity in ("energy", "forces")
    }
    split = group_or_random_split(frames, 12, 8, 8, 1)
    ensemble = Ensemble.load(tmp_path / "ensemble-1.safetensors")
    assert ensemble.card["seed"] == 2  # members 2 and 3: seed 0 has 0 and 1
    expected = calibrated(ensemble, frames[split.test], frames[split.valid])[1]
    row = rows["2 members", "test", "forces"]
    assert row.rmse == pytest.approx(expected.rmse, rel=1e-6)
    assert row.factor == pytest.approx(expected.factor, rel=1e-4)
    before = (tmp_path / "ensemble-1.safetensors").stat().st_mtime_ns
    again = study.uncertainty(frames, seeds=(1,), **options)
    assert (tmp_path / "ensemble-1.safetensors").stat().st_mtime_ns == before
    assert again.points[0].rmse == found.points[0].rmse
    drawn = study.figure(again)
    for ax in drawn.axes:
        assert [line.get_label() for line in ax.lines[1:]] == ["2 members", "last layer"]


def test_what_is_bundled_is_complete():
    points, facts = study.stored_points()
    assert len(points) == 3 * 2 * 2 * 2
    assert facts["model"] == {k: v for k, v in study.MODEL.to_dict().items() if v is not None}
    assert facts["steps"] == study.STEPS and facts["training frames"] == study.N_TRAIN
    for point in points:  # errors are normal to a factor, or nothing would be covered
        assert 0.5 < point.scaled_within_1 < 0.9 < 1.07 * point.scaled_within_2
        assert np.isfinite(point.spearman)
