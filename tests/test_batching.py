"""What stands beside a molecule in a batch is of no consequence; odd molecules are no trouble."""

from __future__ import annotations

import numpy as np
import pytest
from structures import ELEMENTS, deviation, frame_of, molecule, small_config, small_potential, stack

from so3krates_lite.errors import UserError
from so3krates_lite.frames import Frames
from so3krates_lite.graph import CapacityError, make_batch, neighbour_pairs, round_up

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
    assert roomy.positions.shape[1] == n + 5 and roomy.local.room == p + 30
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
