"""Parts of an energy by inclusion and exclusion: against sums written out."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from small import PHYSICS, frame_of, molecule, small_config, small_potential, stack

from so3krates_lite.errors import UserError
from so3krates_lite.interpret import expansion as module
from so3krates_lite.interpret.expansion import many_body
from so3krates_lite.structures.frames import Frames

pytestmark = pytest.mark.usefixtures("quick_compilation")

LOCAL = small_config(cutoff=2.4)


@pytest.fixture(scope="module")
def frame() -> Frames:
    return molecule(5, 3, span=3.0)


@pytest.fixture(scope="module")
def found(frame):
    return many_body(small_potential(LOCAL), frame)


def test_parts_are_the_alternating_sums_over_all_subsets(frame, found):
    potential = small_potential(LOCAL)
    sets = [s for n in range(1, 6) for s in combinations(range(5), n)]
    parts = [frame_of(frame.numbers[0, list(s)], frame.positions[0, list(s)]) for s in sets]
    every = stack(*parts)
    energy = dict(zip(sets, potential.predict(every).energy - potential.shift(every), strict=True))
    for atoms in ((3,), (0, 1), (2, 4), (0, 1, 2), (1, 2, 3, 4), (0, 1, 2, 3, 4)):
        expected = sum(
            (-1) ** (len(atoms) - n) * energy[subset]
            for n in range(1, len(atoms) + 1)
            for subset in combinations(atoms, n)
        )
        assert found.of(*atoms) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_all_parts_sum_to_the_energy(frame, found):
    potential = small_potential(LOCAL)
    whole = potential.predict(frame).energy[0] - potential.shift(frame)[0]
    assert found.total == pytest.approx(whole, rel=1e-12)
    assert found.by_order.sum() == pytest.approx(whole, rel=1e-12)
    assert np.bincount(found.order).tolist() == [0, 5, 10, 10, 5, 1]
    second = [found.of(*pair) for pair in combinations(range(5), 2)]
    assert found.by_order[1] == pytest.approx(sum(second), rel=1e-12)
    assert found.size_by_order[1] == pytest.approx(np.sqrt(np.mean(np.square(second))), rel=1e-12)


def test_small_parts_are_the_same_without_the_large_ones(frame, found):
    some = many_body(small_potential(LOCAL), frame, most=2)
    np.testing.assert_allclose(some.part, found.part[:15], rtol=1e-9, atol=1e-12)
    assert some.total == pytest.approx(found.total, rel=1e-12)


def test_a_sum_over_pairs_has_nothing_beyond_them(frame, monkeypatch):
    strength = np.random.default_rng(0).normal(size=(5, 5))

    def pairwise(potential, frame, members, batch_size):
        return np.einsum("si,ij,sj->s", members.astype(float), strength, members.astype(float))

    monkeypatch.setattr(module, "_energies", pairwise)
    found = many_body(small_potential(LOCAL), frame)
    assert abs(found.of(0, 3)) > 1e-3 and found.size_by_order[2:].max() < 1e-12
    assert found.of(0, 3) == pytest.approx(strength[0, 3] + strength[3, 0], rel=1e-12)


def test_atoms_that_do_not_see_each_other_share_no_part():
    """Two layers reach two cutoffs: atoms beyond that belong together in no part."""
    line = Frames(numbers=[[6, 1, 8]], positions=[[[0, 0, 0], [1.1, 0, 0], [9, 0, 0]]])
    found = many_body(small_potential(LOCAL), line)
    assert abs(found.of(0, 1)) > 1e-6
    assert max(abs(found.of(0, 2)), abs(found.of(1, 2)), abs(found.of(0, 1, 2))) < 1e-12


def test_a_model_that_reads_charge_takes_fragments_as_neutral(frame):
    found = many_body(small_potential(small_config(variant="so3lr", **PHYSICS)), frame, most=1)
    assert np.isfinite(found.part).all()


def test_what_cannot_be_done_is_said(frame, found):
    potential = small_potential(LOCAL)
    with pytest.raises(UserError, match="14 atoms have 16383 parts of up to 14 atoms"):
        many_body(potential, molecule(14, 0, span=6.0))
    with pytest.raises(UserError, match="most = 6 is not possible"):
        many_body(potential, frame, most=6)
    with pytest.raises(UserError, match="no part of the atoms 0, 9"):
        found.of(0, 9)
    box = frame.replace(cell=np.eye(3)[None] * 9, pbc=np.ones((1, 3), bool))
    with pytest.raises(UserError, match="periodic"):
        many_body(potential, box)
