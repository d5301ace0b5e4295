"""Interventions: what is put in place of coefficients and features is there, and only there."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small import PHYSICS, molecule, small_config, small_potential, stack

from so3krates_lite.config import GeomAttConfig
from so3krates_lite.energies import network
from so3krates_lite.errors import UserError
from so3krates_lite.interpret.baselines import Baseline, coefficients, laid_upon, states_of
from so3krates_lite.interpret.interventions import Place, as_places, intervene, shapes_of
from so3krates_lite.interpret.interventions import _switches as switches_of
from so3krates_lite.runtime.settings import precision_context
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import pair_vectors

pytestmark = pytest.mark.usefixtures("quick_compilation")

LOCAL = small_config(cutoff=2.4)
MODELS = {
    "local": LOCAL,
    "spherical": replace(LOCAL, spherical_radius=3.0),
    "geomatt": GeomAttConfig(features=6, inner=8, layers=2, grid_end=2.0, grid_spacing=0.1),
}


def moved(frame: Frames, seed: int, by: float = 0.25) -> Frames:
    shift = np.random.default_rng(seed).normal(0, by, frame.positions.shape)
    return frame.replace(positions=frame.positions + shift)


@pytest.fixture(scope="module", params=MODELS)
def potential(request):
    return small_potential(MODELS[request.param])


@pytest.fixture(scope="module")
def frame() -> Frames:
    return molecule(5, 3, span=3.0)


@pytest.fixture(scope="module")
def donors(frame) -> Frames:
    return stack(*(moved(frame, seed) for seed in range(4)))


def test_what_was_set_is_what_the_network_attends_with(frame, donors):
    """Read back from the record of attention that the changed network itself leaves."""
    potential = small_potential(LOCAL)
    config, batch = potential.config, make_batch(frame, LOCAL, dtype=np.float64)
    wanted = Baseline("mean", donors).values(potential, frame)
    case = as_places(Place("geometric", layer=1, channel=0, pairs=[(0, 2), (4, 1)]), config)
    shapes = shapes_of(config, 5, states=False)
    with precision_context(np.dtype(np.float64)):
        model, vectors = network(config), pair_vectors(batch, config)
        held = switches_of([(0, case)], 1, shapes, wanted, config, np.dtype(np.float64))
        records = []
        for variables in ({}, {"switches": model.switches(held)}):
            variables = {"params": potential.params, **variables}
            applied = jax.jit(partial(model.apply, mutable=["attention"]))
            _, left = applied(variables, batch, vectors)
            records.append(left["attention"]["layers"])
    before, after = (np.array(record["geometric"].coefficient) for record in records)
    first, second = batch.local.first[0], batch.local.second[0]
    for pair, value in (((0, 2), 0), ((1, 4), 1)):  # (4, 1) is the way to the second atom
        at = int(np.flatnonzero((first == pair[0]) & (second == pair[1]))[0])
        receiver, sender = pair[::-1] if value else pair
        expected = wanted["geometric"][0, 1, receiver, sender, 0]
        np.testing.assert_allclose(after[1, value, at, 0], expected, rtol=1e-12)
        after[1, value, at, 0] = before[1, value, at, 0]
    np.testing.assert_array_equal(after[0], before[0])
    # what comes after the first layer's change is the same: coefficients of layer 1 read layer 0's
    np.testing.assert_allclose(after, before, rtol=1e-12)


def test_a_patch_from_the_frame_itself_changes_no_energy(potential, frame):
    """Forces it does change, where the value no longer follows the atoms."""
    cases = [Place(), Place("x", layer=1), Place("x", atoms=[2])]
    if "chi" in shapes_of(potential.config, 5, states=True):
        cases += [Place("chi"), [Place("chi", channel=1), Place("feature", layer=0)]]
    effect = intervene(potential, frame, cases, Baseline("patch", frame))
    assert np.abs(effect.energy).max() < 1e-11 and effect.force_size.min() > 1e-6


def test_the_last_features_of_another_structure_give_its_energy(potential, frame, donors):
    """Atom by atom, and in all; since nothing but they goes into the energy."""
    other = donors[1]
    last = potential.config.layers
    cases = [Place("x", layer=last)] + [Place("x", layer=last, atoms=[i]) for i in range(5)]
    effect = intervene(potential, frame, cases, Baseline("patch", other))
    batches = [make_batch(one, potential.config, dtype=np.float64) for one in (frame, other)]
    here, there = (potential.atomic_energies(batch)[0] for batch in batches)
    np.testing.assert_allclose(effect.energy[0], (there - here).sum(), rtol=1e-10)
    np.testing.assert_allclose(effect.energy[1:], there - here, rtol=1e-10)


def test_patched_charges_are_those_of_the_other_structure(frame, donors):
    config = small_config(variant="so3lr", **PHYSICS)
    potential, last = small_potential(config), config.layers
    effect = intervene(potential, frame, [Place("x", layer=last)], Baseline("patch", donors[2]))
    here, there = (potential.properties(one).charges[0] for one in (frame, donors[2]))
    np.testing.assert_allclose(effect.charges[0], there - here, rtol=1e-9, atol=1e-12)
    assert intervene(small_potential(LOCAL), frame, [Place()]).charges is None


def test_forces_are_the_slope_of_the_patched_energy(frame, donors):
    """A patched value stays where it is while the atoms move."""
    potential, patch, step = small_potential(LOCAL), Baseline("patch", donors[0]), 1e-4
    case = [Place("feature", layer=1), Place("x", layer=1, atoms=[0, 3])]
    found = intervene(potential, frame, [case], patch)
    forces = potential.predict(frame).forces[0] + found.forces[0]
    for atom, axis in ((0, 0), (2, 1)):
        energies = []
        for sign in (1, -1):
            positions = frame.positions.copy()
            positions[0, atom, axis] += sign * step
            image = frame.replace(positions=positions)
            change = intervene(potential, image, [case], patch).energy[0]
            energies.append(potential.predict(image).energy[0] + change)
        slope = (energies[0] - energies[1]) / (2 * step)
        assert forces[atom, axis] == pytest.approx(-slope, rel=1e-6, abs=1e-6)


def test_a_donor_may_stand_anywhere_in_any_orientation(frame, donors):
    potential, other = small_potential(LOCAL), donors[1]
    turn = Rotation.random(rng=np.random.default_rng(5)).as_matrix()
    turned = other.replace(positions=other.positions @ turn.T + [3.0, -1.0, 2.0])
    cases = [Place("chi", layer=1), Place("chi", layer=0, channel=0, atoms=[1]), Place("feature")]
    here, there = (
        intervene(potential, frame, cases, Baseline("patch", d)) for d in (other, turned)
    )
    assert np.abs(here.energy).min() > 1e-6
    np.testing.assert_allclose(here.energy, there.energy, rtol=1e-8)
    np.testing.assert_allclose(here.forces, there.forces, atol=1e-8)


def test_a_linear_molecule_is_laid_upon_itself():
    line = np.array([[0, 0, 0], [1.2, 0, 0], [2.4, 0, 0]])
    frame, turned = (Frames([[8, 6, 8]], R[None]) for R in (line, line[:, [2, 0, 1]] + 4.0))
    np.testing.assert_allclose(laid_upon(turned, frame).positions[0], line, atol=1e-9)


def test_means_are_taken_over_the_frames_that_list_a_pair(potential, frame, donors):
    record = potential.attention(donors)
    found = Baseline("mean", donors).values(potential, frame, states=True)
    for block in record.blocks:
        pairs = record.neighbours(block)
        unlisted = 0
        for i, j in ((0, 1), (2, 0), (3, 4), (1, 3)):
            here = (pairs.receiver == i) & (pairs.sender == j)
            unlisted += int(here.sum() < len(donors))
            for layer, channel in ((0, 0), (1, 1)):
                values = record.select(block, layer, channel, "coefficient")[here]
                expected = values.mean() if len(values) else 0
                assert found[block][0, layer, i, j, channel] == pytest.approx(expected, rel=1e-12)
        assert unlisted or block != "feature"  # or the test would prove less than it says
    np.testing.assert_allclose(
        found["x"][0], states_of(potential, donors).x.mean(axis=1), rtol=1e-10, atol=1e-13
    )


def test_drawn_values_of_a_pair_come_from_one_frame_that_lists_it(potential, frame, donors):
    every = coefficients(potential.attention(donors))
    baseline = Baseline("resampled", donors, draws=6, seed=3)
    found, several = baseline.values(potential, frame), 0
    for block, drawn in found.items():
        for i, j in ((0, 1), (3, 4), (2, 1)):
            source = []
            for draw in drawn:
                match = [
                    k for k in range(4) if np.array_equal(every[block][k, :, i, j], draw[:, i, j])
                ]
                source.append(match[0] if match else None)
            if np.isnan(every[block][:, 0, i, j, 0]).all():
                assert not drawn[:, :, i, j].any()
            else:
                assert None not in source
                several += len(set(source)) > 1
    assert several
    again = Baseline("resampled", donors, draws=6, seed=3).values(potential, frame)
    np.testing.assert_array_equal(again[block], found[block])


def test_every_case_meets_every_draw(frame, donors):
    potential, cases = small_potential(LOCAL), [Place("feature"), Place("geometric", layer=0)]
    baseline = Baseline("resampled", donors, draws=3, seed=1)
    together = intervene(potential, frame, cases, baseline).energy.reshape(2, 3)
    values = baseline.values(potential, frame)
    one = Baseline("patch", frame)
    for draw in range(3):
        held = {name: v[draw][None] for name, v in values.items()}
        object.__setattr__(one, "values", lambda *_, held=held, **__: held)
        alone = intervene(potential, frame, cases[:1], one).energy[0]
        assert together[0, draw] == pytest.approx(alone, rel=1e-12)
    assert len(set(np.round(together[0], 9))) > 1


def test_many_cases_are_what_each_is_alone(frame):
    potential, rng = small_potential(LOCAL), np.random.default_rng(0)
    cases = [Place("feature", pairs=np.argwhere(rng.random((5, 5)) < 0.4)) for _ in range(70)]
    together = intervene(potential, frame, cases)
    for k in (0, 31, 32, 69):
        alone = intervene(potential, frame, [cases[k]])
        assert together.energy[k] == pytest.approx(alone.energy[0], rel=1e-12)
        np.testing.assert_allclose(together.forces[k], alone.forces[0], atol=1e-12)


def test_atoms_and_shares_say_where(frame):
    potential = small_potential(LOCAL)
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j and 2 in (i, j)]
    cases = [Place("feature", atoms=[2]), Place("feature", pairs=pairs)]
    cases += [[Place("x", 1, 0), Place("x", 1, 1)], Place("x", 1), Place("x", 1, 0)]
    cases += [[Place("chi", 1, 0), Place("chi", 1, -1)], Place("chi", 1)]
    e = intervene(potential, frame, cases).energy
    assert e[0] == pytest.approx(e[1], rel=1e-12)
    assert e[2] == pytest.approx(e[3], rel=1e-12) and abs(e[4] - e[3]) > 1e-8
    assert e[5] == pytest.approx(e[6], rel=1e-12)


def test_what_cannot_be_done_is_said(frame, donors):
    potential = small_potential(LOCAL)
    tries = [
        ("no block 'text'.*or its features x and chi", Place("text"), Baseline()),
        ("belong to atoms", Place("x", pairs=[(0, 1)]), Baseline()),
        ("layer 3 does not exist: the model has 3", Place("chi", layer=3), Baseline()),
        (r"pair \(0, 9\) does not exist", Place(pairs=[(0, 9)]), Baseline()),
        ("Atom 7 does not exist", Place("x", atoms=[7]), Baseline()),
        ("same atoms in the same order", Place(), Baseline("mean", molecule(4, 1))),
    ]
    for words, place, baseline in tries:
        with pytest.raises(UserError, match=words):
            intervene(potential, frame, [place], baseline)
    with pytest.raises(UserError, match="no block 'chi'"):
        intervene(small_potential(MODELS["geomatt"]), frame, [Place("chi")])
    with pytest.raises(UserError, match="takes values from frames"):
        Baseline("mean")
    with pytest.raises(UserError, match="one frame, and 4 were given"):
        Baseline("patch", donors)
    with pytest.raises(UserError, match=r"kind = 'noise' is not possible"):
        Baseline("noise", donors)


def test_images_of_a_pair_have_one_coefficient_each():
    frame = Frames(
        numbers=[[6, 8]], positions=[[[0, 0, 0], [1.2, 0, 0]]], cell=np.eye(3)[None] * 3.0
    )
    potential = small_potential(LOCAL)
    assert abs(intervene(potential, frame, [Place("feature", pairs=[(0, 1)])]).energy[0]) > 1e-8
    with pytest.raises(UserError, match="several periodic images"):
        intervene(potential, frame, [Place()], Baseline("mean", frame))
