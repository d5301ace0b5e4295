"""What stands beside a molecule in a batch is of no consequence; odd molecules are no trouble."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from small import ELEMENTS, deviation, frame_of, molecule, small_config, small_potential, stack

from so3krates_lite.errors import UserError
from so3krates_lite.structures.batching import (
    CapacityError,
    PairLists,
    make_batch,
    neighbour_pairs,
    round_up,
)
from so3krates_lite.structures.buckets import bucketed_batches, buckets, padded
from so3krates_lite.structures.frames import Frames

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = small_config()
LARGE, SMALL = molecule(7, seed=1), molecule(4, seed=2)
FAR = np.array([100.0, 0.0, 0.0])
APART = frame_of(
    np.concatenate([LARGE.numbers[0], SMALL.numbers[0]]),
    np.concatenate([LARGE.positions[0], SMALL.positions[0] + FAR]),
)
H, C = frame_of([1], [[0, 0, 0]]), frame_of([6], [[1, 2, 3]])
ISOLATED = frame_of([1, 6, 1], [[0, 0, 0], [50, 0, 0], [0, 70, 0]])
# a pair on one spot, alone and beside a third atom
COINCIDENT = frame_of([6, 6], [[1, 1, 1], [1, 1, 1]])
COINCIDENT_BESIDE = frame_of([8, 6, 1], [[0.3, 0, 0], [0.3, 0, 0], [0.4, 1.1, 0.2]])
NAMES = ("large", "small", "apart", "H", "C", "isolated", "coincident", "coincident beside")
FRAMES = stack(LARGE, SMALL, APART, H, C, ISOLATED, COINCIDENT, COINCIDENT_BESIDE)
K = {name: k for k, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def potential():
    return small_potential(CONFIG)


@pytest.fixture(scope="module")
def mixed(potential):
    """All of `FRAMES` in one batch."""
    return potential.predict(FRAMES)


def test_a_molecule_alone_and_in_a_mixed_batch_are_the_same(potential, mixed):
    for frame, name in ((LARGE, "large"), (SMALL, "small")):
        alone = potential.predict(frame)
        n = frame.max_atoms
        assert deviation(alone.energy, mixed.energy[[K[name]]]) < 1e-12
        assert deviation(alone.forces[0], mixed.forces[K[name], :n]) < 1e-12
        assert not mixed.forces[K[name], n:].any()


def test_attention_of_a_molecule_alone_and_in_a_mixed_batch_is_the_same(potential):
    alone = potential.attention(SMALL)
    mixed = potential.attention(FRAMES).frames(K["small"])
    np.testing.assert_array_equal(alone.sender, mixed.sender)
    assert deviation(mixed.sphc[:, :, :4], alone.sphc) < 1e-12
    assert not mixed.sphc[:, :, 4:].any()
    for block in ("feature", "geometric"):
        for quantity in ("coefficient", "weighted", "contribution"):
            found = getattr(getattr(mixed, block), quantity)
            assert deviation(found, getattr(getattr(alone, block), quantity)) < 1e-12


def test_more_room_for_atoms_and_pairs_changes_nothing(potential, mixed):
    n, p = FRAMES.max_atoms, make_batch(FRAMES, CONFIG).local.room
    roomy = make_batch(FRAMES, CONFIG, atoms=n + 5, pairs=p + 30, dtype=np.float64)
    assert roomy.displacement.shape[1] == n + 5 and roomy.local.room == p + 30
    energy, forces = potential.predict_batch(roomy)
    assert deviation(energy, mixed.energy) < 1e-12
    assert deviation(forces[:, :n], mixed.forces) < 1e-12
    assert not forces[:, n:].any()


def test_columns_of_padding_in_the_frames_change_nothing(potential, mixed):
    wide = Frames(
        np.pad(FRAMES.numbers, ((0, 0), (0, 3))), np.pad(FRAMES.positions, ((0, 0), (0, 3), (0, 0)))
    )
    found = potential.predict(wide)
    np.testing.assert_array_equal(found.energy, mixed.energy)
    assert found.forces.shape == wide.positions.shape
    np.testing.assert_array_equal(found.forces[:, :-3], mixed.forces)


def test_two_molecules_far_apart_are_the_sum_of_both(mixed):
    both = mixed.energy[K["large"]] + mixed.energy[K["small"]]
    assert mixed.energy[K["apart"]] == pytest.approx(both, rel=1e-12)
    parts = mixed.forces[K["large"], :7], mixed.forces[K["small"], :4]
    assert deviation(mixed.forces[K["apart"]], np.concatenate(parts)) < 1e-12


def test_the_order_of_frames_is_the_order_of_answers(potential, mixed):
    order = np.random.default_rng(0).permutation(len(FRAMES))
    shuffled = potential.predict(FRAMES[order])
    assert deviation(shuffled.energy, mixed.energy[order]) < 1e-12
    assert deviation(shuffled.forces, mixed.forces[order]) < 1e-12


def test_a_small_batch_size_with_a_remainder_gives_the_same(potential, mixed):
    found = potential.predict(FRAMES, batch_size=3)
    assert deviation(found.energy, mixed.energy) < 1e-12
    assert deviation(found.forces, mixed.forces) < 1e-12


def test_isolated_atoms_have_no_force_and_the_sum_of_their_energies(mixed):
    expected = 2 * mixed.energy[K["H"]] + mixed.energy[K["C"]]
    assert mixed.energy[K["isolated"]] == pytest.approx(expected, rel=1e-12)
    for name in ("H", "C", "isolated"):
        assert not mixed.forces[K[name]].any()


def test_one_atom_has_a_record_without_pairs(potential):
    record = potential.attention(FRAMES).frames(K["H"])
    assert len(record.receiver) == 0 and record.matrix().shape == (1, 1)
    assert not record.sphc.any()


def test_coincident_atoms_have_finite_energies_and_forces(mixed):
    for name in ("coincident", "coincident beside"):
        assert np.isfinite(mixed.energy[K[name]])
        assert np.isfinite(mixed.forces[K[name]]).all()
    # no direction is preferred between two equal atoms on one spot
    np.testing.assert_allclose(mixed.forces[K["coincident"]], 0, atol=1e-12)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_variant_without_norms_takes_coincident_atoms_too(precision):
    config = small_config(variant="v0.3", sphc_start="sum")
    energy, forces, _ = small_potential(config, precision).predict(FRAMES)
    assert np.isfinite(energy).all() and np.isfinite(forces).all()


def test_an_unknown_element_is_named():
    with pytest.raises(UserError, match="atomic number 118"):
        frame_of([1, 118], [[0, 0, 0], [1, 0, 0]])


def test_a_position_that_is_not_a_number_is_named():
    with pytest.raises(UserError, match="positions of frame 0, atom 1 is not a finite number"):
        frame_of([1, 1], [[0, 0, 0], [np.nan, 0, 0]])


def test_an_empty_set_is_refused_in_a_sentence(potential):
    for ask in (potential.predict, potential.attention):
        with pytest.raises(UserError, match="no structure in the set"):
            ask(FRAMES[[]])


def test_too_little_room_is_named_with_what_is_needed():
    with pytest.raises(CapacityError, match="11 atoms, but the batch was made for 8"):
        make_batch(FRAMES, CONFIG, atoms=8)
    with pytest.raises(CapacityError, match="pairs=") as error:
        make_batch(FRAMES, CONFIG, pairs=2)
    needed = int(str(error.value).split("pairs=")[1].split()[0])
    assert make_batch(FRAMES, CONFIG, pairs=needed).local.mask.sum(axis=1).max() == needed


def test_sizes_round_up_to_few_steps():
    sizes = {round_up(n) for n in range(1, 1000)}
    assert all(n <= round_up(n) <= max(8, 1.25 * n + 1) for n in range(1, 1000))
    assert len(sizes) < 30


@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 1, 0), (0, 0, 1), (0, 0, 0)])
def test_neighbour_pairs_are_those_of_a_brute_force_search(pbc):
    """Each undirected pair of atom and image once, also in a cell smaller than the cutoff."""
    rng = np.random.default_rng(4)
    cell = np.diag([2.4, 2.9, 3.3]) + rng.normal(size=(3, 3)) * 0.3
    positions = rng.uniform(0, 1, (3, 3)) @ cell
    cutoff, pbc = 4.0, np.array(pbc, bool)
    expected = []
    reach = [range(-4, 5) if periodic else (0,) for periodic in pbc]
    for shift in ((a, b, c) for a in reach[0] for b in reach[1] for c in reach[2]):
        for i in range(3):
            for j in range(3):
                d = np.linalg.norm(positions[j] + np.array(shift) @ cell - positions[i])
                if d < cutoff and not (i == j and not any(shift)):
                    expected.append((min(i, j), max(i, j), round(d, 9)))
    first, second, offset = neighbour_pairs(positions, cutoff, cell, pbc)
    d = np.linalg.norm(positions[second] + offset - positions[first], axis=1).round(9)
    ends = np.minimum(first, second), np.maximum(first, second)
    found = sorted(zip(ends[0].tolist(), ends[1].tolist(), d.tolist(), strict=True))
    assert sorted(found * 2) == sorted(expected)


# -- buckets ---------------------------------------------------------------------------------

# a molecule among many small ones, and a crystal whose few atoms have many pairs
DENSE = frame_of([6, 8], [[0, 0, 0], [1, 1, 1.1]], cell=np.eye(3)[None] * 2.2)
UNLIKE = stack(*(molecule(2, seed=k, span=1.5) for k in range(6)), molecule(12, seed=7, span=4))
UNLIKE = stack(UNLIKE, *(molecule(2, seed=k, span=1.5) for k in range(8, 14)), DENSE)


@pytest.mark.parametrize("frames", [FRAMES, UNLIKE], ids=["mixed", "unlike"])
def test_buckets_hold_each_structure_once_and_little_padding(frames):
    lists = PairLists.of(frames, CONFIG)
    batches = bucketed_batches(frames, CONFIG, dtype=np.float64)
    assert sorted(np.concatenate([index for index, _ in batches])) == list(range(len(frames)))
    places = 0
    for index, batch in batches:
        assert (np.diff(index) > 0).all()  # in their order
        n = frames.n_atoms[index]
        np.testing.assert_array_equal(batch.atom_mask.sum(axis=1), n)
        np.testing.assert_array_equal(batch.local.mask.sum(axis=1), lists.numbers[index, 0])
        places += batch.numbers.size + batch.local.mask.size
    needed = frames.n_atoms.sum() + lists.numbers.sum()
    # SPARE times that of a ladder whose rungs are a quarter, at least two places, apart
    assert places <= 1.5 * (1.25 * needed + 2 * len(frames))
    whole = make_batch(frames, CONFIG)
    assert places < 0.7 * (whole.numbers.size + whole.local.mask.size)


def test_structures_of_like_size_share_one_bucket():
    sizes = np.array([[9, 36], [9, 33], [9, 30], [9, 36]])
    assert [group.tolist() for group in buckets(sizes)] == [[0, 1, 2, 3]]
    one = stack(*(molecule(5, seed=k) for k in range(3)))
    (index, batch), *rest = bucketed_batches(one, CONFIG)
    assert index.tolist() == [0, 1, 2] and not rest
    jax.tree.map(np.testing.assert_array_equal, batch, make_batch(one, CONFIG))


def test_a_large_structure_among_two_hundred_small_ones_costs_no_more_than_itself():
    sizes = np.array([[2, 1]] * 100 + [[64, 700]] + [[2, 1]] * 100)
    small, large = buckets(sizes)
    assert large.tolist() == [100] and len(small) == 200
    assert padded(sizes[small]) + padded(sizes[large]) == sizes.sum()
    assert padded(sizes) > 100 * sizes.sum()  # in one shape


def test_sizes_of_any_kind_make_few_buckets():
    rng = np.random.default_rng(0)
    for _ in range(50):
        atoms = rng.integers(1, 10 ** rng.uniform(0.5, 4), rng.integers(1, 300))
        sizes = np.column_stack([atoms, atoms * rng.integers(0, 30, len(atoms))])
        groups = buckets(sizes)
        assert len(groups) <= 8
        assert sorted(np.concatenate(groups)) == list(range(len(sizes)))


def test_structures_of_unlike_size_are_as_in_one_shape(potential):
    """Energies, forces and stress of buckets against one batch for all, in their order."""
    cells = UNLIKE.replace(
        cell=np.where(UNLIKE.pbc[:, :1, None], UNLIKE.cell, 50 * np.eye(3)),
        pbc=np.ones((len(UNLIKE), 3), bool),
    )
    assert len(bucketed_batches(cells, CONFIG)) > 1
    batch = make_batch(cells, CONFIG, dtype=np.float64)
    energy, forces, stress = potential.predict_batch(batch, stress=True)
    found = potential.predict(cells, stress=True)
    assert deviation(found.energy, energy + potential.shift(cells)) < 1e-12
    assert deviation(found.forces, forces) < 1e-12
    assert deviation(found.stress, stress) < 1e-12
    assert len(np.unique(found.energy.round(9))) > 10  # order would be noticed
    with pytest.raises(UserError, match="frame 0 has none"):
        potential.predict(UNLIKE, stress=True)


@pytest.mark.parametrize("long_cutoff", [None, 6.0])
def test_a_record_of_unlike_sizes_is_that_of_each_alone(long_cutoff, potential):
    if long_cutoff:
        far = small_config(spherical_radius=2.0, long_cutoff=long_cutoff)
        potential = small_potential(far)
    chosen = UNLIKE[[0, 6, 1, 13]]
    record = potential.attention(chosen)
    assert record.numbers.shape == chosen.numbers.shape
    np.testing.assert_array_equal(record.positions, chosen.positions)
    assert (np.diff(record.frame) >= 0).all()
    for k in range(len(chosen)):
        alone, part = potential.attention(chosen[k]), record.frames(k)
        n = int(chosen.n_atoms[k])
        assert deviation(part.sphc[:, :, :n], alone.sphc[:, :, :n]) < 1e-12
        assert not part.sphc[:, :, n:].any()
        lists = [(part, alone)]
        if long_cutoff:
            lists.append((part.spherical, alone.spherical))
            for name in ("sphc_distance", "nearness"):
                found, expected = (getattr(one, name) for one in lists[1])
                assert deviation(found, expected) < 1e-12
        for found, expected in lists:
            np.testing.assert_array_equal(found.receiver, expected.receiver)
            np.testing.assert_array_equal(found.sender, expected.sender)
            assert deviation(found.vector, expected.vector) < 1e-12
        for block in record.blocks:
            for quantity in ("coefficient", "weighted", "contribution"):
                found = getattr(part.attention(block), quantity)
                assert deviation(found, getattr(alone.attention(block), quantity)) < 1e-12


def test_unlike_sizes_compile_once_for_each_bucket():
    from so3krates_lite import potential as module

    potential = small_potential(small_config())
    potential.predict(UNLIKE)
    before = module._energy_and_forces._cache_size()
    for order in (np.arange(len(UNLIKE))[::-1], [0, 6, 1, 13, 2, 3, 4, 5, 7, 8, 9]):
        potential.predict(UNLIKE[order])
    assert module._energy_and_forces._cache_size() == before


def test_elements_of_the_test_structures_differ():
    assert set(np.unique(FRAMES.numbers)) - {0} <= set(ELEMENTS)
    assert len(FRAMES.elements) >= 3


def test_sets_of_any_length_share_few_compilations():
    from so3krates_lite import potential as module

    potential = small_potential(small_config())
    frames = stack(*(molecule(5, seed=k) for k in range(9)))
    whole = potential.predict(frames)
    before = module._energy_and_forces._cache_size()
    for n in range(1, 10):
        part = potential.predict(frames[:n])
        assert len(part.energy) == n
        np.testing.assert_allclose(part.forces, whole.forces[:n], atol=1e-12)
    assert module._energy_and_forces._cache_size() - before < 7
