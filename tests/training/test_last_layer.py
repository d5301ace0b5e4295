"""The last layer's posterior against the textbook's formula, from energies and forces alone."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from small import PHYSICS, deviation, molecule, random_parameters, small_config, stack

from so3krates_lite.ensemble import Ensemble
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.training.last_layer import LastLayer

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = small_config(sphc_start="smooth")
POTENTIAL = Potential(CONFIG, random_parameters(CONFIG), np.arange(100.0), 0.5)
FRAMES = stack(*(molecule(4 + k % 2, k) for k in range(20)))
FOUND = POTENTIAL.predict(FRAMES)
RNG = np.random.default_rng(0)
LABELLED = FRAMES.replace(
    energy=FOUND.energy + RNG.normal(0, 0.2, FOUND.energy.shape),
    forces=FOUND.forces + RNG.normal(0, 0.3, FOUND.forces.shape) * FRAMES.mask[..., None],
)


def moved(k: int) -> Potential:
    """With the k-th weight of the last layer larger by one; the bias comes last."""
    params = jax.tree.map(np.array, POTENTIAL.params)
    last = params["energy_head"]["out"]
    (last["kernel"][:, 0] if k < CONFIG.features else last["bias"])[k % CONFIG.features] += 1.0
    return Potential(CONFIG, params, POTENTIAL.element_shift, POTENTIAL.energy_scale)


def test_deviations_are_those_of_a_linear_regression():
    # rows of the regression, by moving each weight: energies and forces are linear in them
    more = [moved(k).predict(FRAMES) for k in range(CONFIG.features + 1)]
    phi = np.array([one.energy - FOUND.energy for one in more]) / 0.5
    slope = np.array([one.forces - FOUND.forces for one in more]) / 0.5
    noise_energy = np.mean((LABELLED.energy - FOUND.energy) ** 2) / 0.5**2
    real = FRAMES.mask
    noise_forces = np.mean((LABELLED.forces - FOUND.forces)[real] ** 2) / 0.5**2
    last = POTENTIAL.params["energy_head"]["out"]
    weights = np.append(last["kernel"], last["bias"])
    precision = np.diag(np.full(len(weights), 1 / np.mean(weights**2)))
    for f in range(len(FRAMES)):
        precision += np.outer(phi[:, f], phi[:, f]) / noise_energy
        for a in np.flatnonzero(real[f]):
            for c in range(3):
                precision += np.outer(slope[:, f, a, c], slope[:, f, a, c]) / noise_forces
    covariance = np.linalg.inv(precision)
    energy_std = 0.5 * np.sqrt(np.einsum("vf,vw,wf->f", phi, covariance, phi))
    forces_std = 0.5 * np.sqrt(np.einsum("vfac,vw,wfac->fac", slope, covariance, slope))

    layer = LastLayer.fit(POTENTIAL, LABELLED)
    assert deviation(layer.covariance, covariance) < 1e-6
    found = layer.predict(FRAMES)
    assert deviation(found.energy_std, energy_std) < 1e-6
    assert deviation(found.forces_std, forces_std) < 1e-6
    assert np.array_equal(found.energy, FOUND.energy)
    cheap = layer.predict(FRAMES, forces_std=False)
    assert cheap.forces_std is None and deviation(cheap.energy_std, energy_std) < 1e-6


def test_more_frames_leave_less_open():
    # each twice, so that the noise is the same
    few, many = (LastLayer.fit(POTENTIAL, f) for f in (LABELLED, stack(LABELLED, LABELLED)))
    a, b = (layer.predict(FRAMES[:6], forces_std=False).energy_std for layer in (few, many))
    assert (b < a).all()


def test_what_it_cannot_be_fitted_to_is_told():
    with pytest.raises(UserError, match="takes one So3krates network: of an ensemble a member"):
        LastLayer.fit(Ensemble.of([POTENTIAL, POTENTIAL]), LABELLED)
    config = small_config(variant="so3lr", **PHYSICS)
    with pytest.raises(UserError, match="has physical terms"):
        LastLayer.fit(Potential(config, random_parameters(config)), LABELLED)
    with pytest.raises(UserError, match="needs the training frames' forces"):
        LastLayer.fit(POTENTIAL, LABELLED.replace(forces=None))
