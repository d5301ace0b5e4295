"""Filters as polynomials: as near to the trained ones as stated, and a potential like any other."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from small import deviation, molecule, small_config, small_potential, stack

from so3krates_lite.config import GeomAttConfig
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.simulate.polynomial_filters import FILTERS, fit_filters, radial_filters

LOCAL = small_config()
ENDLESS = small_config(spherical_radius=1.0)
OF_2022 = small_config(radial_cutoff=True)
FRAMES = stack(molecule(5, seed=0, span=3.0), molecule(4, seed=1, span=3.0))

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.mark.parametrize("config", [LOCAL, ENDLESS], ids=["local", "endless"])
def test_many_polynomials_give_the_energies_and_forces_of_the_networks(config):
    potential = dataclasses.replace(
        small_potential(config), trained_elements=frozenset({1, 6, 7, 8})
    )
    fitted, fit = fit_filters(potential, 128)
    assert fitted.elements == {1, 6, 7, 8}
    assert fit.largest_error < 1e-8
    expected, found = potential.predict(FRAMES), fitted.predict(FRAMES)
    assert deviation(found.energy, expected.energy) < 1e-7
    assert deviation(found.forces, expected.forces) < 1e-6


def test_the_error_falls_with_every_polynomial_and_is_no_larger_than_stated():
    potential = small_potential(LOCAL)
    networks = potential.params["layers"]["geometric_filter"]["radial"]
    distance = np.random.default_rng(0).uniform(0, LOCAL.cutoff, 300)
    exact = radial_filters(networks, distance, LOCAL)
    last = np.inf
    for number in (8, 16, 32, 64):
        fitted, fit = fit_filters(potential, number)
        kernel = fitted.params["layers"]["geometric_filter"]["radial"]["kernel"]
        basis = np.cos(np.arange(number) * np.arccos(2 * np.exp(-distance) - 1)[:, None])
        found = np.einsum("dk,lkf->dlf", basis, kernel).reshape(len(distance), -1)
        # the stated error is that at 2001 distances, of which these are not
        assert np.abs(found - exact).max() < 1.05 * fit.largest_error
        assert fit.largest_error < last / 3
        last = fit.largest_error
    assert fit.root_mean_square > 0.1


def test_as_many_polynomials_are_taken_as_the_filters_need():
    potential = small_potential(LOCAL)
    fitted, fit = fit_filters(potential)
    number = fitted.config.filter_polynomials
    assert fit.largest_error < 1e-4 * fit.root_mean_square
    assert number in (32, 64, 128) and fit == fit_filters(potential, number)[1]

    def sharpened(factor: float) -> Potential:  # its first layer reads distances more sharply
        rough = jax.tree.map(np.array, potential.params)
        for name in FILTERS:
            rough["layers"][name]["radial"]["hidden"]["kernel"] *= factor
        return dataclasses.replace(potential, params=rough)

    rougher, fit = fit_filters(sharpened(30))
    assert rougher.config.filter_polynomials > number
    assert fit.largest_error < 1e-4 * fit.root_mean_square
    # of the last number that is tried the error is told, too, though it is large
    roughest, fit = fit_filters(sharpened(3000))
    assert roughest.config.filter_polynomials == 512
    assert fit.largest_error > 1e-4 * fit.root_mean_square
    assert f"{fit.largest_error:.1e}" in roughest.card["radial filters"]


@pytest.mark.parametrize("polynomials", [4, 32])
def test_forces_are_minus_the_slope_of_the_energy_however_poor_the_fit(polynomials):
    fitted, _ = fit_filters(small_potential(LOCAL), polynomials)
    step, along = 1e-4, np.random.default_rng(3).normal(size=FRAMES.positions.shape)
    along[FRAMES.numbers == 0] = 0

    def energy(scale: float) -> np.ndarray:
        return fitted.predict(FRAMES.replace(positions=FRAMES.positions + scale * along)).energy

    slope = (energy(step) - energy(-step)) / (2 * step)
    expected = -np.einsum("fai,fai->f", fitted.predict(FRAMES).forces, along)
    np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-7)


def test_the_code_of_2022_is_fitted_too_with_a_larger_error_for_its_kink():
    _, smooth = fit_filters(small_potential(LOCAL), 64)
    fitted, kinked = fit_filters(small_potential(OF_2022), 64)
    assert smooth.largest_error < kinked.largest_error < 1e-2
    expected = small_potential(OF_2022).predict(FRAMES).forces
    assert deviation(fitted.predict(FRAMES).forces, expected) < 0.1


def test_a_fitted_potential_is_saved_and_loaded_and_says_what_it_is(tmp_path):
    potential = small_potential(LOCAL, "float32")
    fitted, fit = fit_filters(potential, 64)
    assert fitted.dtype == np.float32 and fitted.config.filter_polynomials == 64
    fitted.save(tmp_path / "fitted.safetensors")
    loaded = Potential.load(tmp_path / "fitted.safetensors")
    assert loaded.config == fitted.config
    assert f"{fit.largest_error:.1e}" in loaded.card["radial filters"]
    np.testing.assert_array_equal(loaded.predict(FRAMES).forces, fitted.predict(FRAMES).forces)
    assert potential.config.filter_polynomials is None  # as it was


def test_what_has_no_trained_filters_is_refused():
    with pytest.raises(UserError, match="geomatt, which has no radial filters"):
        fit_filters(Potential(GeomAttConfig(), {}))
    fitted, _ = fit_filters(small_potential(LOCAL), 8)
    with pytest.raises(UserError, match="8 polynomials already"):
        fit_filters(fitted, 16)


@pytest.mark.parametrize("number", [1, 2.5, "64", True])
def test_an_impossible_number_is_named(number):
    with pytest.raises(UserError, match=r"polynomials = .* is not possible"):
        fit_filters(small_potential(LOCAL), number)


def test_the_setting_is_refused_where_it_is_impossible():
    with pytest.raises(UserError, match="filter_polynomials"):
        dataclasses.replace(LOCAL, filter_polynomials=0)
