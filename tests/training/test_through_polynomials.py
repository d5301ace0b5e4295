"""A step by way of polynomials: the gradient of the network itself, at a fraction of the price."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from small import molecule, small_config, small_potential, stack

from so3krates_lite.basis import decay_of
from so3krates_lite.config import GeomAttConfig, So3kratesConfig
from so3krates_lite.datasets import load
from so3krates_lite.datasets.splits import random_split
from so3krates_lite.errors import UserError
from so3krates_lite.filters import FILTERS, with_polynomials
from so3krates_lite.simulate.polynomial_filters import radial_filters
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.training import TrainConfig, train
from so3krates_lite.training.objective import (
    Labelled,
    Weights,
    loss_and_gradient,
    through_polynomials,
)
from so3krates_lite.training.progress import Silent

LOCAL = small_config()
ENDLESS = small_config(spherical_radius=1.0)
BERNSTEIN = small_config(variant="so3lr")
FRAMES = stack(molecule(5, seed=0, span=3.0), molecule(4, seed=1, span=3.0))
MODEL = So3kratesConfig(features=12, layers=1, degrees=(1, 2), heads=2, radial_hidden=16)
SETTINGS = TrainConfig(epochs=2, batch_size=8, precision="float64")

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.mark.parametrize("config", [LOCAL, BERNSTEIN], ids=["gaussians", "bernstein"])
def test_the_polynomials_are_those_that_numpy_interpolates(config):
    params, number = small_potential(config).params, 24
    decay = decay_of(config)
    with jax.enable_x64(True):
        found = with_polynomials(params, config, number)["layers"]
    for name in FILTERS:
        networks = params["layers"][name]["radial"]

        def filters(t, networks=networks):
            return radial_filters(networks, -np.log((t + 1) / 2) / decay, config)

        expected = np.polynomial.chebyshev.chebinterpolate(filters, number - 1)
        kernel = np.moveaxis(np.asarray(found[name]["radial"]["kernel"]), 1, 0)
        np.testing.assert_allclose(kernel.reshape(number, -1), expected, rtol=0, atol=1e-12)
        assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize("config", [LOCAL, ENDLESS, BERNSTEIN], ids=["local", "endless", "so3lr"])
def test_the_gradient_is_that_of_the_network(config):
    rng = np.random.default_rng(0)
    batch = make_batch(FRAMES, config, dtype=np.float64)
    shape = batch.numbers.shape
    target = Labelled(batch, rng.normal(size=2), rng.normal(size=(*shape, 3)), np.ones(2))
    params = small_potential(config).params

    @partial(jax.jit, static_argnums=1)
    def by(params, number):
        def of(params, config):
            return loss_and_gradient(params, target, config, Weights(0.1, 0.9))

        return through_polynomials(of, params, config, number)

    with jax.enable_x64(True):
        found = jax.device_get([by(params, number) for number in (None, 12, 128)])
    (loss, exact), (_, poor), (same, good) = found
    assert jax.tree.structure(good) == jax.tree.structure(params)

    def deviation(gradient):
        both = zip(jax.tree.leaves(gradient), jax.tree.leaves(exact), strict=True)
        return max(np.abs(a - b).max() for a, b in both)

    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(exact))
    assert deviation(good) < 1e-7 * largest < 1e-5 * largest < deviation(poor)
    assert abs(same - loss) < 1e-8 * abs(loss)


@pytest.fixture(scope="module")
def frames():
    return load("ethanol-gfn2")[:32]


@pytest.fixture(scope="module")
def split(frames):
    return random_split(frames, 16, 8, seed=3)


def run(frames, split, model=MODEL, settings=SETTINGS, **more):
    return train(frames, split, model=model, settings=settings, progress=Silent(), **more)


def test_training_keeps_the_network_and_its_numbers(frames, split, tmp_path):
    plain = run(frames, split)
    settings = replace(SETTINGS, filter_polynomials=128)
    quick = run(frames, split, settings=settings, folder=tmp_path)
    assert quick.potential.config == MODEL
    expected, found = plain.potential.predict(frames), quick.potential.predict(frames)
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=1e-7)
    # not to the digit: the steps went another way
    assert np.abs(found.forces - expected.forces).max() > 0
    resumed = train(frames, split, folder=tmp_path, resume=True, progress=Silent())
    np.testing.assert_array_equal(resumed.potential.predict(frames).forces, found.forces)


def test_members_take_the_same_way(frames, split):
    settings = replace(SETTINGS, filter_polynomials=64)
    together = run(frames, split, settings=replace(settings, members=2)).potential
    alone = run(frames, split, settings=replace(settings, seed=1)).potential
    expected, found = alone.predict(frames).forces, together.member(1).predict(frames).forces
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (GeomAttConfig(), "this geomatt has no radial filters that are networks"),
        (replace(MODEL, filter_polynomials=8), "no radial filters that are networks"),
        (replace(MODEL, radial_cutoff=True), "smooth at the cutoff"),
    ],
)
def test_a_model_without_such_filters_is_refused(frames, split, tmp_path, model, reason):
    settings = replace(SETTINGS, filter_polynomials=64)
    with pytest.raises(UserError, match=f"filter_polynomials = 64, but .*{reason}"):
        run(frames, split, model, settings, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [1, 0, 2.5, True, "64"])
def test_an_impossible_number_is_named(number):
    with pytest.raises(UserError, match=r"filter_polynomials = .* is not possible"):
        TrainConfig(filter_polynomials=number)
