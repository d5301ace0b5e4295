"""Switching attention off: it does what it says, to the coefficients that were named only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small import frame_of, molecule, small_config, small_potential, stack

from so3krates_lite.config import GeomAttConfig
from so3krates_lite.errors import UserError
from so3krates_lite.interpret import switching
from so3krates_lite.record import ranking
from so3krates_lite.structures.frames import Frames

pytestmark = pytest.mark.usefixtures("quick_compilation")

LOCAL = small_config(layers=2, cutoff=3.0)
MODELS = {
    "local": LOCAL,
    "spherical": replace(LOCAL, spherical_radius=3.0),
    "geomatt": GeomAttConfig(features=6, inner=8, layers=2, grid_end=2.0, grid_spacing=0.1),
}


@pytest.fixture(scope="module", params=MODELS)
def potential(request):
    return small_potential(MODELS[request.param])


@pytest.fixture(scope="module")
def frame() -> Frames:
    return molecule(5, 3, span=3.0)


def test_nothing_switched_off_changes_nothing(potential, frame):
    effect = switching.switch_off(potential, frame, pairs=[])
    assert abs(effect.energy[0]) < 1e-12 and np.abs(effect.forces).max() < 1e-12


def test_without_any_attention_atoms_do_not_feel_each_other():
    """The SPHC start still knows the neighbours; a GeomAtt without attention knows nothing."""
    frames = stack(*(molecule(4, seed, span=2.5) for seed in (1, 2)))
    numbers = np.repeat(frames.numbers[:1], 2, axis=0)
    frames = frames.replace(numbers=numbers)
    potential = small_potential(MODELS["geomatt"])
    energies = []
    for k in range(2):
        effect = switching.switch_off(potential, frames[k])
        found = potential.predict(frames[k])
        energies.append(found.energy[0] + effect.energy[0])
        np.testing.assert_allclose(found.forces + effect.forces, 0, atol=1e-12)
    assert energies[0] == pytest.approx(energies[1], rel=1e-12)


def test_forces_are_the_slope_of_the_energy_that_remains(potential, frame):
    pairs, step = [(0, 1), (2, 0)], 1e-4
    effect = switching.switch_off(potential, frame, pairs=pairs)
    forces = potential.predict(frame).forces + effect.forces
    for atom, axis in ((0, 0), (1, 2), (3, 1)):
        energies = []
        for sign in (1, -1):
            moved = frame.positions.copy()
            moved[0, atom, axis] += sign * step
            image = frame.replace(positions=moved)
            changed = switching.switch_off(potential, image, pairs=pairs)
            energies.append(potential.predict(image).energy[0] + changed.energy[0])
        slope = (energies[0] - energies[1]) / (2 * step)
        assert forces[0, atom, axis] == pytest.approx(-slope, rel=1e-6, abs=1e-6)


def test_a_pair_is_switched_off_in_one_direction_only(potential, frame):
    one = switching.switch_off(potential, frame, pairs=[(0, 1)]).energy[0]
    other = switching.switch_off(potential, frame, pairs=[(1, 0)]).energy[0]
    assert abs(one) > 1e-8 and abs(one - other) > 1e-8


def test_effects_follow_a_permutation_of_the_atoms(potential, frame):
    order = np.array([3, 0, 4, 1, 2])
    image = frame_of(frame.numbers[0][order], frame.positions[0][order])
    pairs = [(0, 2), (3, 1)]
    there = [(int(np.argsort(order)[i]), int(np.argsort(order)[j])) for i, j in pairs]
    before = switching.switch_off(potential, frame, pairs=pairs)
    after = switching.switch_off(potential, image, pairs=there)
    assert after.energy[0] == pytest.approx(before.energy[0], rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(after.forces[0], before.forces[0][order], atol=1e-9)


def test_one_by_one_gives_what_each_alone_gives(potential, frame):
    block = next(iter(switching.channels_of(potential.config)))
    found = switching.effects_of_pairs(potential, frame, block=block, layer=1, channel=0)
    listed = potential.attention(frame).neighbours(block)
    pairs = set(zip(listed.receiver.tolist(), listed.sender.tolist(), strict=True))
    assert set(zip(found.receiver.tolist(), found.sender.tolist(), strict=True)) == pairs
    for n in (0, len(found.receiver) // 2, -1):
        pair = [(int(found.receiver[n]), int(found.sender[n]))]
        alone = switching.switch_off(potential, frame, block=block, layer=1, channel=0, pairs=pair)
        assert found.effect.energy[n] == pytest.approx(alone.energy[0], rel=1e-9, abs=1e-13)
        np.testing.assert_allclose(found.effect.forces[n], alone.forces[0], atol=1e-12)


def test_a_pair_beyond_the_cutoff_has_no_effect():
    frame = frame_of([6, 1, 8], [[0, 0, 0], [1.1, 0, 0], [4.5, 0, 0]])
    potential = small_potential(MODELS["local"])
    effect = switching.switch_off(potential, frame, pairs=[(0, 2), (2, 0)])
    assert abs(effect.energy[0]) < 1e-13


def test_every_channel_of_every_layer_is_tested(potential, frame):
    for block, channels in switching.channels_of(potential.config).items():
        energy, force = switching.effects_of_channels(potential, frame, block=block)
        assert energy.shape == force.shape == (2, channels)
        alone = switching.switch_off(potential, frame, block=block, layer=1, channel=channels - 1)
        assert energy[1, -1] == pytest.approx(alone.energy[0], rel=1e-9, abs=1e-13)
        assert force[1, -1] == pytest.approx(alone.force_size[0], rel=1e-9, abs=1e-13)


def test_the_blocks_together_are_all_attention(potential, frame):
    """Of a model with one block, switching it off is switching all off."""
    blocks = switching.channels_of(potential.config)
    everything = switching.switch_off(potential, frame)
    if len(blocks) == 1:
        only = switching.switch_off(potential, frame, block=next(iter(blocks)))
        assert only.energy[0] == pytest.approx(everything.energy[0], rel=1e-12)
    else:
        only = switching.switch_off(potential, frame, block="feature")
        assert abs(only.energy[0] - everything.energy[0]) > 1e-9


def test_sensitivity_is_the_slope_of_forces(potential, frame):
    step, found = 1e-4, switching.sensitivity(potential, frame)
    np.testing.assert_allclose(found, found.T, rtol=1e-7, atol=1e-9)
    j, blocks = 1, np.zeros((5, 3, 3))
    for axis in range(3):
        forces = []
        for sign in (1, -1):
            moved = frame.positions.copy()
            moved[0, j, axis] += sign * step
            forces.append(potential.predict(frame.replace(positions=moved)).forces[0])
        blocks[:, :, axis] = (forces[0] - forces[1]) / (2 * step)
    expected = np.sqrt((blocks**2).sum((1, 2)))
    np.testing.assert_allclose(found[:, j], expected, rtol=1e-5, atol=1e-6)


def test_rank_correlation_knows_order_only():
    a = np.array([0.1, 0.5, 2.0, 9.0])
    assert ranking.rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert ranking.rank_correlation(a, -(a**3)) == pytest.approx(-1)
    with pytest.raises(UserError, match="both vary"):
        ranking.rank_correlation(a, np.ones(4))


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.9, "much as"), (0.5, "in part"), (0.1, "hardly"), (-0.8, "against each other")],
)
def test_the_verdict_says_what_may_be_concluded(value, words):
    text = ranking.verdict(value, 72)
    assert words in text and "72 directed pairs" in text and "inside this network" in text


def test_what_does_not_exist_is_named(potential, frame):
    with pytest.raises(UserError, match="no block 'text'"):
        switching.switch_off(potential, frame, block="text")
    with pytest.raises(UserError, match="layer 7 does not exist"):
        switching.switch_off(potential, frame, layer=7)
    with pytest.raises(UserError, match=r"pair \(0, 9\) does not exist"):
        switching.switch_off(potential, frame, pairs=[(0, 9)])
    with pytest.raises(UserError, match="One frame is needed"):
        switching.switch_off(potential, stack(frame, frame))
