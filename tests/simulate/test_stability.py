"""A molecule is whole while its bonds are, and h(r) is a histogram of distances."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets.reference import Topology
from so3krates_lite.potential import Potential
from so3krates_lite.simulate.dynamics import Dynamics
from so3krates_lite.simulate.stability import (
    Stability,
    _end,
    distance_distribution,
    distribution_error,
    measure_stability,
)
from so3krates_lite.structures.frames import Frames

WATER = molecule("H2O")  # O, H, H


def run_of(positions: np.ndarray, exploded: str | None = None) -> Dynamics:
    """A run of water that goes through given positions, one each 10 fs, at 10, 20, … K."""
    n = len(positions)
    frames = Frames.from_atoms([WATER] * n).replace(positions=positions, energy=np.zeros(n))
    time, zeros = 10.0 * np.arange(n), np.zeros(n)
    temperature = 10.0 * np.arange(1, n + 1)
    return Dynamics(WATER, frames, time, zeros, temperature, np.zeros((n, 3, 3)), exploded)


def stretched(factors: list[float]) -> np.ndarray:
    """Water with its first O-H bond as long as so many times what it was."""
    R = np.tile(WATER.positions, (len(factors), 1, 1))
    R[:, 1] = R[:, 0] + np.array(factors)[:, None] * (WATER.positions[1] - WATER.positions[0])
    return R


def test_a_bond_breaks_where_it_is_longer_than_is_said():
    topology = Topology.of(WATER)
    whole, cause = _end(run_of(stretched([1.0, 1.4, 1.1])), topology, 20.0)
    assert (whole, cause) == (20.0, None)
    torn = run_of(stretched([1.0, 1.44, 1.46, 1.0]))
    assert _end(torn, topology, 30.0) == (20.0, "O0-H1 breaks (1.41 Å)")
    R = stretched([1.0, 1.0])
    R[1, 2] = R[1, 1] + [0.3, 0, 0]
    assert _end(run_of(R), topology, 10.0) == (10.0, "H1-H2 forms (0.30 Å)")
    assert _end(run_of(stretched([1.0]), "it went wrong"), topology, 50.0) == (0, "it went wrong")


def test_what_is_judged_is_whole_and_past_its_beginning():
    runs = [run_of(stretched([1.0] * 21)), run_of(stretched([1.0] * 10 + [1.5] * 11))]
    found = Stability(300.0, 200.0, np.array([200.0, 100.0]), (None, "broken"), runs)
    assert found.share_whole == 0.5
    # from 20 fs: 19 frames of the first, and of the second those to 100 fs
    assert len(found.frames) == 19 + 9
    expected = np.concatenate([10.0 * np.arange(3, 22), 10.0 * np.arange(3, 12)]).mean()
    assert found.mean_temperature_K == pytest.approx(expected)
    row = found.row()
    assert (row["whole at the end"], row["whole, mean (ps)"]) == (1, 0.15)


def test_distances_are_counted_per_pair_and_length():
    line = Atoms("H3", [[0, 0, 0], [1.0, 0, 0], [2.0, 0, 0]])
    h = distance_distribution(Frames.from_atoms([line]), np.array([0.0, 0.5, 1.5, 2.5]))
    assert h == pytest.approx([0, 2 / 3, 1 / 3])


def test_error_of_a_distribution_is_0_for_the_same_and_2_for_another():
    near, far = (Frames.from_atoms([Atoms("H2", [[0, 0, 0], [d, 0, 0]])]) for d in (0.75, 1.55))
    assert distribution_error(near, near) == 0
    assert distribution_error(near, far) == pytest.approx(2)


@pytest.fixture(scope="module")
def torn() -> Potential:
    """Random weights, with forces that no bond stands."""
    config = So3kratesConfig(features=12, layers=1, heads=2, degrees=(1,), cutoff=2.5)
    return dataclasses.replace(Potential.random(config), energy_scale=30.0)


def test_a_potential_that_knows_nothing_tears_a_molecule(torn):
    found = measure_stability(WATER, torn, temperature_K=300.0, picoseconds=0.2, replicas=2, seed=1)
    assert found.share_whole == 0 and (found.whole_fs < 200).all()
    assert all(cause is not None for cause in found.causes)
    again = measure_stability(WATER, torn, temperature_K=300.0, picoseconds=0.2, replicas=2, seed=1)
    assert np.array_equal(found.whole_fs, again.whole_fs)
