"""Properties of the analysis: directed, blind to padding and order of atoms, sums that agree."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest
from synthetic import correlation_record, ethanol_record, permuted, thinned

from so3krates_lite.errors import UserError
from so3krates_lite.record import analysis
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.parts import QUANTITIES, BlockAttention


@pytest.fixture(scope="module", params=["local", "spherical", "correlation"])
def record(request) -> AttentionRecord:
    if request.param == "correlation":
        return correlation_record()
    return ethanol_record(frames=2, spherical=request.param == "spherical")


ORACLE = {
    "sum": sum,
    "mean": lambda v: sum(v) / len(v),
    "abs-mean": lambda v: sum(abs(x) for x in v) / len(v),
    "max-abs": lambda v: max(abs(x) for x in v),
    "norm": lambda v: sum(x * x for x in v) ** 0.5,
}


@pytest.mark.parametrize(("layer", "channel"), list(itertools.product([1, *ORACLE], [0, *ORACLE])))
def test_a_loop_over_pairs_gives_the_same_numbers(record, layer, channel):
    block = record.blocks[-1]
    values = record.attention(block).weighted
    pairs = record.neighbours(block)
    dense = np.zeros((len(record), 9, 9))
    for p in range(pairs.n_pairs):
        per_layer = []
        for l in range(record.n_layers):
            row = values[l, p].tolist()
            per_layer.append(row[channel] if isinstance(channel, int) else ORACLE[channel](row))
        one = per_layer[layer] if isinstance(layer, int) else ORACLE[layer](per_layer)
        dense[pairs.frame[p], pairs.receiver[p], pairs.sender[p]] += one
    ways = {"layer": layer, "channel": channel}
    np.testing.assert_allclose(analysis.matrix(record, block, **ways, frame=None), dense)
    np.testing.assert_allclose(analysis.matrix(record, block, **ways, frame=1), dense[1])
    for way, combine in ORACLE.items():
        found = analysis.matrix(record, block, **ways, frame=way)
        np.testing.assert_allclose(found, np.apply_along_axis(combine, 0, dense))
    np.testing.assert_allclose(analysis.received(record, block, **ways), dense.sum(2), atol=1e-12)
    np.testing.assert_allclose(analysis.sent(record, block, **ways), dense.sum(1), atol=1e-12)


def test_whole_numbers_pick_what_the_record_selects(record):
    for block, quantity in itertools.product(record.blocks, QUANTITIES):
        one = {"layer": -1, "channel": 2}
        found = analysis.aggregate(record, block, quantity, **one)
        np.testing.assert_array_equal(found, record.select(block, -1, 2, quantity))
        found = analysis.matrix(record, block, quantity, **one, frame=-1)
        np.testing.assert_array_equal(found, record.matrix(-1, block, -1, 2, quantity))


def test_axes_that_stay_are_in_the_record_s_order(record):
    layers, channels = record.n_layers, record.n_channels()
    whole = {"layer": None, "channel": None}
    assert analysis.aggregate(record, **whole).shape == (layers, record.n_pairs, channels)
    dense = analysis.matrix(record, **whole, frame=None)
    assert dense.shape == (layers, 2, 9, 9, channels)
    np.testing.assert_array_equal(dense[1, 0, ..., 2], record.matrix(0, None, 1, 2))
    assert analysis.sent(record, **whole).shape == (layers, 2, 9, channels)
    curve = analysis.series(record, 0, 2, **whole)
    np.testing.assert_array_equal(curve, dense[:, :, 0, 2])


def test_sums_over_senders_receivers_and_pairs_agree(record):
    for block, quantity in itertools.product(record.blocks, QUANTITIES):
        what = {"block": block, "quantity": quantity}
        values, pairs = analysis.aggregate(record, **what), record.neighbours(block)
        total = np.bincount(pairs.frame, values, minlength=2)
        np.testing.assert_allclose(analysis.sent(record, **what).sum(-1), total)
        np.testing.assert_allclose(analysis.received(record, **what).sum(-1), total)
        np.testing.assert_allclose(analysis.series(record, **what), total)
        parts = [analysis.series(record, receiver=i, **what) for i in range(9)]
        np.testing.assert_allclose(np.stack(parts, 1), analysis.received(record, **what))


def test_directions_are_not_mixed(record):
    there, back = analysis.series(record, 0, 2), analysis.series(record, 2, 0)
    dense = analysis.matrix(record, frame=None)
    np.testing.assert_array_equal(there, dense[:, 0, 2])
    np.testing.assert_array_equal(back, dense[:, 2, 0])
    assert not np.allclose(there, back)
    assert not np.allclose(analysis.sent(record), analysis.received(record))


def test_renaming_atoms_renames_the_results_and_changes_nothing_else(record):
    order = np.random.default_rng(2).permutation(9)
    other, at = permuted(record, order), np.ix_(order, order)
    for block in record.blocks:
        found, expected = (analysis.matrix(r, block, frame=1) for r in (other, record))
        np.testing.assert_allclose(found, expected[at])
        for per_atom in (analysis.sent, analysis.received):
            expected = per_atom(record, block, channel="norm")[:, order]
            np.testing.assert_allclose(per_atom(other, block, channel="norm"), expected)
        found, expected = (analysis.path_sum(r, 1, block) for r in (other, record))
        np.testing.assert_allclose(found, expected[at], atol=1e-12)
        found, expected = (analysis.limit(r, block) for r in (other, record))
        assert found == pytest.approx(expected)
        curve = analysis.series(other, int(np.argsort(order)[3]), block=block)
        np.testing.assert_allclose(curve, analysis.series(record, 3, block=block))
        if record.sphc is not None:
            found, expected = (np.sort(analysis.sphc_distances(r, block)) for r in (other, record))
            np.testing.assert_allclose(found, expected)
    where = np.argsort(order)
    angles = analysis.dihedral(other, *where[[3, 0, 2, 8]])
    np.testing.assert_allclose(angles, analysis.dihedral(record, 3, 0, 2, 8))


def test_padding_enters_nothing():
    bare, padded = ethanol_record(frames=2), ethanol_record(frames=2, padding=3)
    for function in (analysis.matrix, analysis.aggregate, analysis.path_sum, analysis.series):
        np.testing.assert_array_equal(function(padded), function(bare))
    whole = {"frame": "mean", "layer": None}
    np.testing.assert_array_equal(analysis.matrix(padded, **whole), analysis.matrix(bare, **whole))
    for per_atom in (analysis.sent, analysis.received):
        np.testing.assert_array_equal(per_atom(padded)[:, :9], per_atom(bare))
        assert (per_atom(padded)[:, 9:] == 0).all()
    assert analysis.limit(padded) == analysis.limit(bare)
    with pytest.raises(UserError, match="Atom 9 does not exist in every frame: choose 0 to 8"):
        analysis.series(padded, receiver=9)


def test_periodic_images_are_added_up():
    record = ethanol_record(frames=1)
    twice = thinned(record, np.r_[np.arange(record.n_pairs), 0])
    first = record.receiver[0], record.sender[0]
    assert analysis.matrix(twice)[first] == pytest.approx(2 * analysis.matrix(record)[first])
    assert analysis.series(twice, *first)[0] == pytest.approx(
        2 * analysis.series(record, *first)[0]
    )


def test_a_limit_is_the_same_for_every_layer_and_channel_chosen(record):
    ends = {
        analysis.limit(record, layer=layer, channel=channel)
        for layer in range(record.n_layers)
        for channel in range(record.n_channels())
    }
    assert ends == {record.limit()}
    summed = analysis.limit(record, layer="sum", channel="sum")
    assert summed == np.abs(analysis.aggregate(record)).max()
    per_layer = analysis.aggregate(record, layer=None, channel="sum")
    assert analysis.limit(record, layer=0, channel="sum") == np.abs(per_layer).max()


def test_a_pair_out_of_reach_counts_as_nothing_but_has_no_coefficient():
    whole = ethanol_record(frames=3)
    gone = (whole.frame == 1) & (whole.receiver == 0) & (whole.sender == 5)
    record = thinned(whole, np.flatnonzero(~gone))
    weighted = analysis.series(record, 0, 5)
    assert weighted[1] == 0 and (weighted[[0, 2]] != 0).all()
    coefficient = analysis.series(record, 0, 5, quantity="coefficient", layer=None)
    assert np.isnan(coefficient[:, 1]).all() and np.isfinite(coefficient[:, [0, 2]]).all()


def test_dihedral_is_that_of_ase_and_turns_round_in_the_mirror():
    from ase import Atoms

    record = ethanol_record(frames=4)
    for atoms in itertools.permutations((0, 1, 2, 8), 4):
        found = analysis.dihedral(record, *atoms)
        assert ((found > -180) & (found <= 180)).all()
        for angle, z, R in zip(found, record.numbers, record.positions, strict=True):
            expected = Atoms(z, R).get_dihedral(*atoms)
            assert abs((angle - expected + 180) % 360 - 180) < 1e-6
    flip = np.array([1.0, 1.0, -1.0])
    mirror = dataclasses.replace(
        record, positions=record.positions * flip, vector=record.vector * flip
    )
    np.testing.assert_allclose(
        analysis.dihedral(mirror, 3, 0, 2, 8), -analysis.dihedral(record, 3, 0, 2, 8)
    )


def test_a_dihedral_that_does_not_exist_is_no_number():
    record = ethanol_record(frames=1)
    line = record.positions.copy()
    line[0, :4] = np.arange(4)[:, None] * [1.0, 0.5, 0.2]
    vector = line[0, record.sender] - line[0, record.receiver]
    distance = np.linalg.norm(vector, axis=-1)
    straight = dataclasses.replace(record, positions=line, vector=vector, distance=distance)
    assert np.isnan(analysis.dihedral(straight, 0, 1, 2, 3)).all()
    assert np.isfinite(analysis.dihedral(straight, 0, 4, 5, 6)).all()
    with pytest.raises(UserError, match="four different atoms"):
        analysis.dihedral(record, 0, 1, 1, 2)


def test_sphc_distances_are_of_the_input_of_each_layer():
    record = ethanol_record(frames=2, spherical=True)
    X = analysis.sphc_distances(record, "feature")
    for layer, p in itertools.product(range(record.n_layers), range(0, record.n_pairs, 7)):
        chi = record.sphc[layer, record.frame[p]]
        gap = chi[record.sender[p]] - chi[record.receiver[p]]
        assert X[layer, p] == pytest.approx(np.sqrt((gap**2).sum()))
    np.testing.assert_allclose(X, analysis.sphc_distances(record, "spherical"))
    with pytest.raises(UserError, match="no SPHCs"):
        analysis.sphc_distances(correlation_record())


@pytest.mark.parametrize("block", ["feature", "spherical"])
def test_sphc_distances_of_a_layer_or_a_frame_are_part_of_all(block):
    record = ethanol_record(frames=3, spherical=True)
    whole, of_frame = analysis.sphc_distances(record, block), record.pairs(1, block)
    for layer in (0, -1):
        some = analysis.sphc_distances(record, block, layer=layer, frame=1)
        np.testing.assert_array_equal(some, whole[layer, of_frame])
    mean = analysis.sphc_distances(record, block, layer="mean")
    np.testing.assert_allclose(mean, whole.mean(0))
    with pytest.raises(UserError, match="layer 9"):
        analysis.sphc_distances(record, block, layer=9)


def test_sphc_distances_are_those_that_a_model_itself_went_by(quick_compilation):
    from so3krates_lite import load, load_potential

    frames = load("cumulenes-gfn2")[:2]
    record = load_potential("c9h4-spherical").attention(frames)
    far, n = record.spherical, record.numbers.shape[1]
    table = np.zeros((record.n_layers, 2, n, n))
    table[:, far.frame, far.receiver, far.sender] = far.sphc_distance
    both = table[:, record.frame, record.receiver, record.sender]
    np.testing.assert_allclose(analysis.sphc_distances(record), both, rtol=1e-4, atol=1e-5)


def every_path(A: np.ndarray, i: int, j: int) -> float:
    """Sum over all ways from j to i, one step or stay in each layer, but for staying throughout."""
    layers, n = len(A), A.shape[1]
    total = 0.0
    for between in itertools.product(range(n), repeat=layers - 1):
        stops = (j, *between, i)
        choices = [
            [1.0, A[l, to, at]] if to == at else [A[l, to, at]]
            for l, (at, to) in enumerate(itertools.pairwise(stops))
        ]
        total += sum(np.prod(steps) for steps in itertools.product(*choices))
    return total - (i == j)


def test_path_sum_counts_every_path_once():
    record = correlation_record(frames=1)
    A = analysis.matrix(record, layer=None, channel=None)
    expected = sum(every_path(A[..., k], 2, 7) for k in range(3))
    assert analysis.path_sum(record)[2, 7] == pytest.approx(expected)
    assert analysis.path_sum(record, channel=1)[4, 4] == pytest.approx(every_path(A[..., 1], 4, 4))
    local = ethanol_record(layers=3)
    A = analysis.matrix(local, layer=None, channel="sum")
    P = analysis.path_sum(local)
    for i, j in ((0, 0), (2, 5), (5, 2)):
        assert P[i, j] == pytest.approx(every_path(A, i, j))


def test_paths_run_from_sender_to_receiver_and_first_layers_come_first():
    record = ethanol_record(layers=2, heads=1)
    attention = np.zeros_like(record.feature.weighted)
    for layer, receiver, sender, value in ((0, 1, 0, 2.0), (1, 2, 1, -3.0)):
        attention[layer, (record.receiver == receiver) & (record.sender == sender)] = value
    block = BlockAttention(attention, attention, np.abs(attention))
    P = analysis.path_sum(dataclasses.replace(record, feature=block))
    assert P[1, 0] == 2 and P[2, 1] == -3
    assert P[2, 0] == -6  # 0 -> 1 in the first layer, 1 -> 2 in the second
    assert np.count_nonzero(P) == 3  # nothing runs back


def test_difference_of_a_view_with_itself_is_nothing_and_turns_its_sign(record):
    one, other = {"layer": 0, "channel": 1}, {"layer": 1, "frame": 1, "channel": "sum"}
    assert not analysis.difference(record, record, one, one).any()
    there = analysis.difference(record, record, one, other)
    np.testing.assert_array_equal(there, -analysis.difference(record, record, other, one))
    expected = analysis.matrix(record, layer=0, channel=1) - analysis.matrix(record, **other)
    np.testing.assert_array_equal(there, expected)


def test_two_architectures_are_compared_as_parts_of_their_largest():
    a, b = ethanol_record(frames=2), correlation_record(frames=2)
    plain = analysis.difference(a, b)
    np.testing.assert_array_equal(
        plain, a.matrix(0, "feature", 0, 0) - b.matrix(0, "correlation", 0, 0)
    )
    loud = dataclasses.replace(
        b, correlation=BlockAttention(*(100 * getattr(b.correlation, q) for q in QUANTITIES))
    )
    parts = analysis.difference(a, b, relative=True)
    np.testing.assert_allclose(parts, analysis.difference(a, loud, relative=True))
    expected = a.matrix() / a.limit() - b.matrix() / b.limit()
    np.testing.assert_allclose(parts, expected)


def test_difference_of_pairs_needs_the_same_list():
    a, b = ethanol_record(frames=2), ethanol_record(frames=2, seed=1)
    found = analysis.pair_difference(a, b, {"channel": "sum"}, {"channel": "sum"})
    expected = a.feature.weighted[0].sum(-1) - b.feature.weighted[0].sum(-1)
    np.testing.assert_allclose(found, expected)
    fewer = thinned(b, np.arange(100))
    with pytest.raises(UserError, match=r"other pairs \(144 and 100\)"):
        analysis.pair_difference(a, fewer)
    with pytest.raises(UserError, match=r"record\.frames"):
        analysis.pair_difference(a, b, {"frame": 1})


def test_molecules_that_do_not_fit_are_refused_in_a_sentence():
    record = ethanol_record(frames=2)
    other = permuted(record, np.array([2, 0, 1, *range(3, 9)]))
    with pytest.raises(UserError, match="not one molecule: atomic numbers"):
        analysis.difference(record, other)
    numbers = record.numbers.copy()
    numbers[1, 0] = 7
    mixed = dataclasses.replace(record, numbers=numbers)
    assert analysis.matrix(mixed, frame=None).shape == (2, 9, 9)
    with pytest.raises(UserError, match="Only frames of one molecule"):
        analysis.matrix(mixed, frame="mean")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: analysis.aggregate(r, layer="median"), "layer = 'median' is not known"),
        (lambda r: analysis.aggregate(r, channel=9), "channel 9 does not exist"),
        (lambda r: analysis.aggregate(r, quantity="alpha"), "Unknown quantity 'alpha'"),
        (lambda r: analysis.sent(r, "correlation"), "another model's record"),
        (lambda r: analysis.matrix(r, frame=5), "Frame 5 does not exist"),
        (lambda r: analysis.path_sum(r, channel=None), "choose a channel or combine"),
        (lambda r: analysis.difference(r, r, {"head": 1}), r"Unknown choice \['head'\]"),
        (lambda r: analysis.difference(r, r, {"layer": None}), "not None"),
    ],
)
def test_wrong_choices_are_named(call, message):
    with pytest.raises(UserError, match=message):
        call(ethanol_record(frames=2))


def test_nothing_heavy_is_imported_before_it_is_used():
    code = (
        "import sys\n"
        "from so3krates_lite.drawing import all_layers, export, side_by_side\n"
        "from so3krates_lite.record import analysis, tables\n"
        "heavy = ('jax', 'ase', 'plotly', 'scipy', 'pandas', 'xarray', 'matplotlib')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
