"""What the benchmark compares computes the same numbers."""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from structures import deviation, molecule, random_parameters, small_config, stack

from so3krates_lite.graph import make_batch
from so3krates_lite.potential import energy_and_forces
from so3krates_lite.training import TrainConfig
from so3krates_lite.training.objective import Labelled, Weights, loss_and_gradient

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
straightforward = importlib.import_module("benchmarks.straightforward")

pytestmark = pytest.mark.usefixtures("quick_compilation")


def case(layers: int):
    """A configuration, random parameters, and molecules of different size: one of a single atom."""
    config = small_config((1, 2), layers=layers)
    frames = stack(molecule(6, seed=1), molecule(1, seed=2), molecule(3, seed=3))
    batch = make_batch(frames, config.cutoff, dtype=np.float64)
    assert batch.pair_mask.any() and not batch.pair_mask.all()
    return config, random_parameters(config), batch


def test_the_straightforward_version_gives_the_package_s_energies_and_forces():
    config, params, batch = case(layers=2)
    with jax.enable_x64(True):
        expected = jax.jit(partial(energy_and_forces, config=config))(params, batch)
        plain = jax.jit(partial(straightforward.energy_and_forces, config=config))
        found = plain(params, straightforward.directed(batch))
    for ours, theirs in zip(expected, found, strict=True):
        assert deviation(theirs, ours) < 1e-10
    assert np.abs(expected[1]).max() > 1e-2


def test_the_straightforward_version_trains_by_the_same_gradient():
    config, params, batch = case(layers=1)
    settings = TrainConfig()
    rng = np.random.default_rng(0)
    energy, forces = rng.normal(size=len(batch)), rng.normal(size=batch.positions.shape)
    labelled = Labelled(batch, energy, forces, np.ones(len(batch)))
    weights = Weights(settings.energy_weight, settings.forces_weight)
    plain = partial(straightforward.loss, config=config, settings=settings)
    with jax.enable_x64(True):
        clever = jax.jit(loss_and_gradient, static_argnames="config")
        expected = clever(params, labelled, config=config, weights=weights)
        targets = straightforward.Targets(energy, forces)
        found = jax.jit(jax.value_and_grad(plain))(params, straightforward.directed(batch), targets)
    for ours, theirs in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        assert deviation(theirs, ours) < 1e-10
