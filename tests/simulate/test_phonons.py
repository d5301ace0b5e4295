"""The ten lines on phonons in docs/simulate.md are run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from small import small_config, small_potential

from so3krates_lite.structures.frames import Frames

pytestmark = pytest.mark.usefixtures("quick_compilation")

PAGE = Path(__file__).parents[2] / "docs" / "simulate.md"
THZ = 33.35641  # cm^-1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_at_gamma_phonons_are_the_modes_of_the_hessian():
    """At the zone's middle all cells move alike, which the Hessian of one cell describes."""
    pytest.importorskip("phonopy", reason="needs the extra [simulate]")
    (block,) = (
        b
        for b in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
        if "Phonopy" in b
    )
    rng = np.random.default_rng(7)
    cell = 1.785 * (np.ones((3, 3)) - np.eye(3)) @ (np.eye(3) + rng.normal(size=(3, 3)) * 0.03)
    places = [[0, 0, 0], [0.25, 0.26, 0.24]]
    names = {
        "crystal": Atoms("CO", cell=cell, scaled_positions=places, pbc=True),
        "potential": small_potential(small_config(degrees=(1,), variant="smooth", layers=1)),
        "Frames": Frames,
    }
    exec(block, names)
    names["phonons"].run_qpoints([[0, 0, 0]])
    found = np.sort(names["phonons"].get_qpoints_dict()["frequencies"][0]) * THZ
    crystal = names["crystal"]
    mass = np.repeat(crystal.get_masses(), 3)
    hessian = names["potential"].hessian(Frames.from_atoms([crystal])).reshape(6, 6)
    curvature = np.linalg.eigvalsh(hessian / np.sqrt(mass[:, None] * mass))
    expected = np.sign(curvature) * np.sqrt(np.abs(curvature)) * 521.4708
    moving = np.abs(expected) > 10
    assert moving.sum() == 3 and np.abs(found[~moving]).max() < 20
    assert found[moving] == pytest.approx(expected[moving], rel=2e-3)
