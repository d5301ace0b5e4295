"""The whole forward pass against an independent one in NumPy (tests/numpy_oracle.py)."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from numpy_oracle import Oracle
from structures import deviation, molecule, small_config, small_potential, stack

from so3krates_lite.graph import make_batch
from so3krates_lite.potential import energy

pytestmark = pytest.mark.usefixtures("quick_compilation")

# (variant, start, degrees, radial_cutoff): all starts of both variants, degrees up to 3
CASES = [
    ("paper", "mean", (1, 2, 3), True),
    ("paper", "smooth", (1, 2, 3), False),
    ("paper", "zero", (2, 3), False),
    ("paper", "sum", (1, 3), True),
    ("v0.3", "mean", (0, 1, 2), True),
    ("v0.3", "smooth", (3,), False),
    ("v0.3", "zero", (0, 1, 2, 3), False),
    ("v0.3", "sum", (1, 2, 3), False),
]
FRAMES = stack(*(molecule(n, seed=n) for n in (6, 1, 4, 2)))


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request):
    """The potential of a case and the oracle's view of every molecule."""
    variant, start, degrees, radial_cutoff = request.param
    config = small_config(
        degrees,
        variant,
        sphc_start=start,
        sphc_normalization=1.7,
        radial_cutoff=radial_cutoff,
    )
    potential = small_potential(config)
    oracles = [
        Oracle(config, potential.params, FRAMES.numbers[k, :n], FRAMES.positions[k, :n])
        for k, n in enumerate(FRAMES.n_atoms)
    ]
    return potential, oracles


def test_energy_is_the_oracle_s(case):
    potential, oracles = case
    expected = [oracle.energy for oracle in oracles]
    batch = make_batch(FRAMES, potential.config.cutoff, dtype=np.float64)
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


def test_sphcs_after_every_layer_are_the_oracle_s(case):
    potential, oracles = case
    record = potential.attention(FRAMES)
    for k, oracle in enumerate(oracles):
        expected = np.array(oracle.sphc)
        found = record.sphc[:, k, : expected.shape[1]]
        np.testing.assert_allclose(found, expected, atol=1e-10 * max(np.abs(expected).max(), 1))
