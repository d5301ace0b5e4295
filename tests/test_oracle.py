"""The whole forward pass against an independent one in NumPy (tests/numpy_oracle.py)."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from numpy_oracle import Oracle
from small import deviation, molecule, small_config, small_potential, stack

from so3krates_lite.energies import energy
from so3krates_lite.structures.batching import make_batch

pytestmark = pytest.mark.usefixtures("quick_compilation")

# (variant, start, degrees, radial_cutoff, more): all starts, all variants, degrees up to 3
CASES = [
    ("paper", "mean", (1, 2, 3), True, {}),
    ("paper", "smooth", (1, 2, 3), False, {}),
    ("paper", "zero", (2, 3), False, {}),
    ("paper", "sum", (1, 3), True, {}),
    ("v0.3", "mean", (0, 1, 2), True, {}),
    ("v0.3", "smooth", (3,), False, {}),
    ("v0.3", "zero", (0, 1, 2, 3), False, {}),
    ("v0.3", "sum", (1, 2, 3), False, {}),
    ("paper", "mean", (1, 2), True, {"spherical_radius": 1.0}),
    ("v0.3", "smooth", (1, 2), False, {"spherical_radius": 2.5, "long_cutoff": 4.0}),
    ("smooth", "smooth", (1, 2), False, {"charge_embedding": True, "spin_embedding": True}),
    ("smooth", "smooth", (1, 2), False, {"spherical_radius": 1.5}),
]
FRAMES = stack(*(molecule(n, seed=n) for n in (6, 1, 4, 2))).replace(
    total_charge=np.array([-1.0, 2.0, 0.0, 1.0]), spin_multiplicity=np.array([1, 2, 3, 2])
)


@pytest.fixture(scope="module", params=CASES, ids=lambda c: "-".join([c[0], c[1], *c[4]]))
def case(request):
    """The potential of a case and the oracle's view of every molecule."""
    variant, start, degrees, radial_cutoff, more = request.param
    config = small_config(
        degrees,
        variant,
        sphc_start=start,
        sphc_normalization=1.7,
        radial_cutoff=radial_cutoff,
        **more,
    )
    potential = small_potential(config)
    oracles = [
        Oracle(
            config,
            potential.params,
            FRAMES.numbers[k, :n],
            FRAMES.positions[k, :n],
            FRAMES.total_charge[k],
            FRAMES.spin_multiplicity[k],
        )
        for k, n in enumerate(FRAMES.n_atoms)
    ]
    return potential, oracles


def test_energy_is_the_oracle_s(case):
    potential, oracles = case
    expected = [oracle.energy for oracle in oracles]
    batch = make_batch(FRAMES, potential.config, dtype=np.float64)
    with jax.enable_x64(True):
        # without forces: compiling those is most of the time, and other tests have them
        found = jax.jit(energy, static_argnames="config")(potential.params, batch, potential.config)
    assert deviation(found, expected) < 1e-10
    assert np.ptp(expected) > 1e-2


def test_attention_of_every_layer_is_the_oracle_s(case):
    potential, oracles = case
    record = potential.attention(FRAMES)
    for k, oracle in enumerate(oracles):
        mine = record.frames(k)
        pairs = list(zip(mine.receiver.tolist(), mine.sender.tolist(), strict=True))
        assert pairs == oracle.pairs
        if not pairs:
            continue
        phi = np.array([oracle.phi[pair] for pair in pairs])[:, None]
        for block in ("feature", "geometric"):
            found = getattr(mine, block)
            coefficient = np.array(oracle.coefficient[block])
            assert deviation(found.coefficient, coefficient) < 1e-10
            assert deviation(found.weighted, coefficient * phi) < 1e-10
            assert deviation(found.contribution, oracle.contribution[block]) < 1e-10


def test_the_spherical_neighbourhood_of_every_layer_is_the_oracle_s(case):
    potential, oracles = case
    record = potential.attention(FRAMES)
    if not potential.config.is_nonlocal:
        assert record.spherical is None
        return
    nearness = record.spherical.nearness
    assert (nearness == 0).any() and (nearness > 0.1).any()
    for k, oracle in enumerate(oracles):
        mine = record.frames(k).spherical
        pairs = list(zip(mine.receiver.tolist(), mine.sender.tolist(), strict=True))
        assert pairs == oracle.far_pairs
        if not pairs:
            continue
        assert deviation(mine.sphc_distance, oracle.sphc_distance) < 1e-10
        # measured by the full weight of 1: of two atoms alone all weights may be zero
        np.testing.assert_allclose(mine.nearness, oracle.nearness, rtol=0, atol=1e-10)
        coefficient = np.array(oracle.coefficient["spherical"])
        weighted = coefficient * np.array(oracle.nearness)[..., None]
        contribution = oracle.contribution["spherical"]
        assert deviation(mine.attention.coefficient, coefficient) < 1e-10
        scale = np.abs(coefficient).max()
        found = mine.attention
        np.testing.assert_allclose(found.weighted, weighted, rtol=0, atol=1e-10 * scale)
        np.testing.assert_allclose(found.contribution, contribution, rtol=0, atol=1e-10 * scale)


def test_sphcs_after_every_layer_are_the_oracle_s(case):
    potential, oracles = case
    record = potential.attention(FRAMES)
    for k, oracle in enumerate(oracles):
        expected = np.array(oracle.sphc)
        found = record.sphc[:, k, : expected.shape[1]]
        np.testing.assert_allclose(found, expected, atol=1e-10 * max(np.abs(expected).max(), 1))
