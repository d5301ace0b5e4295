"""Probes: they find what is there, nothing where nothing is, and are judged on unseen frames."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule as built
from scipy.spatial.transform import Rotation
from small import molecule, small_config, small_potential, stack

from so3krates_lite.errors import UserError
from so3krates_lite.interpret import probes
from so3krates_lite.interpret.baselines import states_of
from so3krates_lite.interpret.probes import chi_invariants, fitted, inputs_of, probe
from so3krates_lite.interpret.targets import (
    Target,
    angle_cosine,
    at_atom,
    bonds_of,
    dihedral_cosine,
    distance_between,
    named_targets,
)
from so3krates_lite.structures.frames import Frames

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = small_config(variant="smooth")


@pytest.fixture(scope="module")
def frames() -> Frames:
    return stack(*(molecule(5, seed, span=2.6) for seed in range(40)))


@pytest.fixture(scope="module")
def potential():
    return small_potential(CONFIG)


def test_targets_are_what_a_chemist_would_say():
    names = ("CH3CH2OH", "C6H6", "C2H2", "H2O")
    frames = Frames.concatenate([Frames.from_atoms(built(name)) for name in names])
    found = named_targets(frames)
    elements = frames.numbers
    neighbours = found["number of neighbours"].values
    assert set(neighbours[0][elements[0] == 6]) == {4} and set(neighbours[0][elements[0] == 8]) == {
        2
    }
    carbon = found["hybridisation of C"].values
    assert [set(carbon[k][elements[k] == 6]) for k in range(3)] == [{4}, {3}, {2}]
    assert np.isnan(carbon[3]).all()
    ring = found["in a ring"].values
    assert np.nansum(ring[1]) == 6 and np.nansum(ring[[0, 2, 3]]) == 0
    assert np.isnan(ring[1][elements[1] == 1]).all()
    angle = found["largest bond angle"].values
    oxygen = int(np.flatnonzero(elements[3] == 8)[0])
    hydrogens = np.flatnonzero(elements[3] == 1)
    water = built("H2O").get_angle(int(hydrogens[0]), oxygen, int(hydrogens[1]))
    assert angle[3, oxygen] == pytest.approx(water, rel=1e-9)
    assert np.nanmax(angle[2]) == pytest.approx(180, abs=0.1)
    assert "partial charge" not in found


def test_measures_of_one_atom_are_those_of_ase():
    atoms = built("CH3CH2OH")
    frames = Frames.from_atoms(atoms)
    R = frames.positions[0]
    angle = np.cos(np.radians(atoms.get_angle(0, 1, 2)))
    torsion = np.cos(np.radians(atoms.get_dihedral(1, 0, 2, 3)))
    assert angle_cosine(R, 0, 1, 2) == pytest.approx(angle, rel=1e-9)
    assert dihedral_cosine(R, 1, 0, 2, 3) == pytest.approx(torsion, rel=1e-9)
    target = at_atom(frames, 2, lambda R: distance_between(R, 0, 3))
    assert target.values[0, 2] == pytest.approx(atoms.get_distance(0, 3))
    assert np.isnan(np.delete(target.values[0], 2)).all()
    with pytest.raises(UserError, match="Atom 9 does not exist"):
        at_atom(frames, 9, lambda R: 0.0)


def test_what_is_read_of_chi_does_not_turn(potential, frames):
    turn = Rotation.random(rng=np.random.default_rng(2)).as_matrix()
    turned = frames.replace(positions=frames.positions @ turn.T)
    here, there = (inputs_of(potential, f) for f in (frames, turned))
    assert set(here) == {f"{kind} {n}" for kind in ("x", "l=1", "l=2") for n in range(3)}
    for name, values in here.items():
        np.testing.assert_allclose(there[name], values, rtol=1e-7, atol=1e-8)
    chi = [states_of(potential, f).chi for f in (frames, turned)]
    assert np.abs(chi[0] - chi[1]).max() > 0.1


def test_invariants_of_a_degree_are_those_listed():
    rng = np.random.default_rng(0)
    chi, bonded = rng.normal(size=(1, 3, 5)), np.array([[[0, 1, 1], [1, 0, 0], [1, 0, 0]]], float)
    c, mean = chi[0, 0], (chi[0, 1] + chi[0, 2]) / 2
    around = (np.linalg.norm(chi[0, 1]) + np.linalg.norm(chi[0, 2])) / 2
    expected = [np.linalg.norm(c), c @ c, c @ mean, np.linalg.norm(mean), around]
    np.testing.assert_allclose(chi_invariants(chi, bonded)[0, 0], expected, rtol=1e-12)


def thirds(n: int) -> list[np.ndarray]:
    part = np.arange(n) % 3
    return [part == k for k in range(3)]


def test_a_probe_is_ridge_regression(monkeypatch):
    """Against the normal equations, written out."""
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(90, 4)), rng.normal(size=90)
    y += X @ [1.0, -2.0, 0.0, 0.5]
    train, valid, test = thirds(90)
    monkeypatch.setattr(probes, "STRENGTHS", np.array([0.3]))
    found = fitted(X, y, [train, valid, test], False)
    Z = (X - X[train].mean(0)) / X[train].std(0)
    gram = Z[train].T @ Z[train] + 0.3 * train.sum() * np.eye(4)
    weight = np.linalg.solve(gram, Z[train].T @ (y[train] - y[train].mean()))
    missed = y[test] - (Z[test] @ weight + y[train].mean())
    expected = 1 - (missed**2).sum() / ((y[test] - y[test].mean()) ** 2).sum()
    assert found == pytest.approx(expected, rel=1e-10)


def test_what_was_learnt_by_heart_counts_for_nothing():
    rng = np.random.default_rng(2)
    noise = rng.normal(size=240)
    wide = rng.normal(size=(240, 200))  # more numbers than atoms: a perfect fit of anything
    assert fitted(wide, noise, thirds(240), False) < 0.1
    assert fitted(wide, (noise > 0).astype(float), thirds(240), True) < 0.25


def test_classes_are_scored_against_the_most_frequent_one():
    kinds = np.array([1.0, 6.0, 8.0])[np.random.default_rng(3).integers(0, 3, 120)]
    known = (kinds[:, None] == [1, 6, 8]).astype(float)
    assert fitted(known, kinds, thirds(120), True) == pytest.approx(1)
    only_first = (kinds == 1).astype(float)[:, None]
    test = thirds(120)[2]
    score = fitted(only_first, kinds, thirds(120), True)
    # it tells 1 from the rest, and of the rest the one that is more frequent where it was fitted
    train = thirds(120)[0]
    other = max((6.0, 8.0), key=lambda z: np.sum(kinds[train] == z))
    most = max((1.0, 6.0, 8.0), key=lambda z: np.sum(kinds[train] == z))
    right, guess = np.isin(kinds[test], [1, other]).mean(), (kinds[test] == most).mean()
    assert score == pytest.approx((right - guess) / (1 - guess))
    assert np.isnan(fitted(known, np.ones(120), thirds(120), True))


def test_frames_of_one_group_stay_together():
    group = np.repeat([7, 1, 3, 9, 4, 5], 4)
    part = probes._parts(group, np.random.default_rng(0))
    assert {len(set(part[group == name])) for name in group} == {1} and set(part) == {0, 1, 2}


def test_a_map_shows_where_something_lies_open(potential, frames):
    x = states_of(potential, frames).x[1]
    weight = np.random.default_rng(4).normal(size=x.shape[-1])
    targets = {
        "in x 1": Target(x @ weight),
        "element": Target(frames.numbers.astype(float), is_class=True),
        "nothing": Target(np.random.default_rng(5).normal(size=frames.numbers.shape)),
    }
    found = probe(potential, frames, targets)
    assert found.of("in x 1", "x 1") > 0.999 > found.of("in x 1", "l=2 1")
    assert found.of("element", "x 0") == pytest.approx(1)
    assert np.abs(found.score[2]).max() < 0.35
    assert found.atoms.tolist() == [200, 200, 200] and found.score.shape == (3, 9)
    heat = found.figure().data[0]
    assert list(heat.y) == list(found.targets) and list(heat.x) == list(found.places)
    with pytest.raises(UserError, match="no 'x 7' here"):
        found.of("element", "x 7")


def test_what_cannot_be_probed_is_said(potential, frames):
    with pytest.raises(UserError, match="'wrong' has the shape"):
        probe(potential, frames, {"wrong": Target(np.zeros((3, 5)))})
    with pytest.raises(UserError, match="3 are too few"):
        probe(potential, frames[:3], named_targets(frames[:3]))


def test_bonds_go_both_ways_and_not_to_padding(frames):
    wide = stack(frames[0], molecule(7, 1, span=3.0))
    bonded = bonds_of(wide)
    np.testing.assert_array_equal(bonded, bonded.swapaxes(1, 2))
    assert not bonded[0, 5:].any() and not bonded[:, np.arange(7), np.arange(7)].any()
