"""Properties of the attention record: directed, signed, complete, and safe to read back."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from synthetic import assert_identical, ethanol_record

from so3krates_lite.errors import UserError
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.blocks import BLOCKS
from so3krates_lite.record.parts import QUANTITIES, BlockAttention, SphericalAttention


def changed(record: AttentionRecord, **fields) -> AttentionRecord:
    return dataclasses.replace(record, **fields)


@pytest.fixture(scope="module", params=[False, True], ids=["local", "spherical"])
def record(request) -> AttentionRecord:
    return ethanol_record(frames=3, spherical=request.param)


@pytest.fixture(scope="module")
def local() -> AttentionRecord:
    return ethanol_record(frames=3)


@pytest.fixture(scope="module")
def nonlocal_() -> AttentionRecord:
    """Its spherical block lists fewer pairs than the others, in another order."""
    whole = ethanol_record(frames=3, spherical=True)
    far, keep = whole.spherical, np.random.default_rng(1).permutation(whole.n_pairs)[:150]
    names = ("frame", "receiver", "sender", "distance", "vector")
    per_layer = ("sphc_distance", "nearness")
    part = SphericalAttention(
        **{name: getattr(far, name)[keep] for name in names},
        **{name: getattr(far, name)[:, keep] for name in per_layer},
        attention=BlockAttention(*(getattr(far.attention, q)[:, keep] for q in QUANTITIES)),
    )
    return changed(whole, spherical=part)


def test_matrix_holds_exactly_the_record_s_values(record):
    for block in record.blocks:
        pairs, index = record.neighbours(block), record.pairs(1, block)
        for quantity in QUANTITIES:
            matrix = record.matrix(1, block, 1, 0, quantity)
            values = record.select(block, 1, 0, quantity, frame=1)
            np.testing.assert_array_equal(
                matrix[pairs.receiver[index], pairs.sender[index]], values
            )
            assert np.count_nonzero(matrix) == np.count_nonzero(values)
            assert (np.diag(matrix) == 0).all()


def test_directed_pairs_stay_directed(record):
    matrix = record.matrix(0)
    receiver, sender = int(record.receiver[0]), int(record.sender[0])
    assert matrix[receiver, sender] == record.select(frame=0)[0]
    assert not np.allclose(matrix, matrix.T)


def test_matrix_adds_up_periodic_images():
    record = ethanol_record(frames=1)
    shift = np.array([0.0, 0.0, 9.0])
    image = record.vector[0] + shift
    twice = {
        name: np.concatenate([getattr(record, name), getattr(record, name)[:1]])
        for name in ("frame", "receiver", "sender")
    }
    blocks = {
        block: BlockAttention(
            *(
                np.concatenate([a := getattr(getattr(record, block), q), a[:, :1]], axis=1)
                for q in QUANTITIES
            )
        )
        for block in record.blocks
    }
    periodic = changed(
        record,
        **twice,
        **blocks,
        vector=np.vstack([record.vector, image]),
        distance=np.append(record.distance, np.linalg.norm(image)),
    )
    where = record.receiver[0], record.sender[0]
    assert periodic.matrix(0)[where] == pytest.approx(2 * record.matrix(0)[where])


def test_padding_atoms_never_reach_the_matrix():
    record = ethanol_record(frames=2, padding=3)
    assert record.numbers.shape == (2, 12)
    assert record.matrix(1).shape == (9, 9)
    assert record.n_atoms(1) == 9


def test_saved_record_reads_back_bit_for_bit(record, tmp_path):
    path = record.save(tmp_path / "attention.npz")
    again = AttentionRecord.load(path)
    assert list(tmp_path.iterdir()) == [path]
    assert again.blocks == record.blocks
    assert_identical(again, record)
    assert again.degrees == record.degrees and isinstance(again.cutoff, float)


def test_failed_save_leaves_the_old_file_and_no_scrap(record, tmp_path, monkeypatch):
    path = record.save(tmp_path / "attention.npz")
    before = path.read_bytes()

    def full_disk(handle, **arrays):
        handle.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(UserError, match="No space"):
        record.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_load_says_in_one_sentence_what_is_wrong(record, tmp_path):
    with pytest.raises(UserError, match=r"There is no file .*absent\.npz"):
        AttentionRecord.load(tmp_path / "absent.npz")
    junk = tmp_path / "junk.npz"
    junk.write_bytes(b"not a zip file")
    with pytest.raises(UserError, match="cannot be read as a record"):
        AttentionRecord.load(junk)
    other = tmp_path / "other.npz"
    np.savez(other, a=np.zeros(2))
    with pytest.raises(UserError, match=r"cannot be read as a record.*format_version"):
        AttentionRecord.load(other)
    path = record.save(tmp_path / "record.npz")
    with np.load(path) as archive:
        data = dict(archive)
    np.savez(other, **{**data, "format_version": np.int64(99)})
    with pytest.raises(UserError, match=r"format 99.*compute the record again"):
        AttentionRecord.load(other)
    del data["feature.weighted"]
    np.savez(other, **data)
    with pytest.raises(UserError, match=r"lacks feature\.weighted"):
        AttentionRecord.load(other)


def test_frames_subset_keeps_order_and_pairs(record):
    part = record.frames([2, 0])
    assert len(part) == 2
    np.testing.assert_array_equal(part.matrix(0), record.matrix(2))
    np.testing.assert_array_equal(part.matrix(1), record.matrix(0))
    np.testing.assert_array_equal(part.sphc[:, 0], record.sphc[:, 2])
    assert len(record.frames(-1)) == 1 and len(record.frames(slice(0, 2))) == 2
    assert len(record.frames([])) == 0


def test_limit_is_the_largest_size_over_layers_channels_and_frames(record):
    for block in record.blocks:
        layers, channels = range(record.n_layers), range(record.n_channels(block))
        values = [record.select(block, k, c) for k in layers for c in channels]
        assert record.limit(block) == np.abs(values).max()
        assert record.limit(block) >= record.frames(1).limit(block)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"positions": np.zeros((3, 9, 2))}, r"'positions' has shape \(3, 9, 2\)"),
        ({"receiver": np.full(3 * 72, 9)}, "'receiver' runs from 9 to 9"),
        ({"receiver": np.zeros(5, int)}, "'receiver' has shape"),
        ({"receiver": np.zeros(3 * 72)}, "'receiver' must hold integers"),
        ({"distance": np.full(3 * 72, 7.0)}, "has distance 7.0000 Å but a vector of length"),
        ({"degrees": (1, 2)}, "'sphc' has shape"),
        ({"cutoff": 0.0}, "'cutoff' is 0.0 Å"),
    ],
)
def test_fields_that_do_not_fit_are_named(record, fields, message):
    with pytest.raises(UserError, match=message):
        changed(record, **fields)


def test_values_that_are_not_finite_or_negative_norms_are_refused(record):
    good = record.feature
    bad = good.weighted.copy()
    bad[0, 5, 1] = np.nan
    with pytest.raises(UserError, match=r"'weighted' is not finite at index \(0, 5, 1\)"):
        BlockAttention(good.coefficient, bad, good.contribution)
    with pytest.raises(UserError, match="cannot be negative"):
        BlockAttention(good.coefficient, good.weighted, -good.contribution)
    with pytest.raises(UserError, match="'weighted' has shape"):
        BlockAttention(good.coefficient, good.weighted[1:], good.contribution)


def test_pairs_with_padding_atoms_are_refused():
    record = ethanol_record(frames=1, padding=1)
    receiver = record.receiver.copy()
    receiver[0] = 9
    with pytest.raises(UserError, match="'receiver' points to a padding atom"):
        changed(record, receiver=receiver)


def test_wrong_choices_name_what_exists(record):
    with pytest.raises(UserError, match="Unknown block 'heads'"):
        record.select("heads")
    with pytest.raises(UserError, match="Unknown quantity 'alpha'"):
        record.select(quantity="alpha")
    with pytest.raises(UserError, match="layer 7 does not exist"):
        record.select(layer=7)
    with pytest.raises(UserError, match="Frame 3 does not exist"):
        record.matrix(3)


def test_a_local_record_says_that_it_has_no_spherical_block(local):
    assert local.blocks == ("feature", "geometric") and local.spherical is None
    for ask in (local.matrix, local.limit, local.neighbours, local.n_channels):
        with pytest.raises(UserError, match=r"no spherical neighbourhood.*of feature, geometric"):
            ask(block="spherical")
    with pytest.raises(UserError, match="no spherical neighbourhood"):
        local.pairs(0, "spherical")


def test_a_spherical_block_has_a_list_of_pairs_of_its_own(nonlocal_):
    record = nonlocal_
    assert record.blocks == tuple(BLOCKS)[:3]
    assert record.neighbours("geometric") is record
    far = record.neighbours("spherical")
    assert far is record.spherical and far.n_pairs == 150 < record.n_pairs
    assert record.n_channels("spherical") == 3
    assert record.channel_names("spherical") == ["degree 1", "degree 2", "degree 3"]
    counted = [len(record.pairs(k, "spherical")) for k in range(3)]
    assert sum(counted) == 150 and [len(record.pairs(k)) for k in range(3)] == [72] * 3
    assert len(record.select("spherical")) == 150 and len(record.select("feature")) == 216
    for k in range(3):
        index = record.pairs(k, "spherical")
        assert (far.frame[index] == k).all()
        values = record.select("spherical", 1, 2, "coefficient", frame=k)
        expected = np.zeros((9, 9))
        expected[far.receiver[index], far.sender[index]] = values
        np.testing.assert_array_equal(record.matrix(k, "spherical", 1, 2, "coefficient"), expected)
        assert np.count_nonzero(expected) == counted[k]


def test_a_spherical_block_follows_its_frames(nonlocal_, tmp_path):
    part = nonlocal_.frames([2, 0])
    for k, whole in enumerate((2, 0)):
        for block in tuple(BLOCKS)[:3]:
            found, expected = part.matrix(k, block), nonlocal_.matrix(whole, block)
            np.testing.assert_array_equal(found, expected)
        index, old = part.pairs(k, "spherical"), nonlocal_.pairs(whole, "spherical")
        for name in ("sphc_distance", "nearness"):
            found, expected = getattr(part.spherical, name), getattr(nonlocal_.spherical, name)
            np.testing.assert_array_equal(found[:, index], expected[:, old])
    assert part.spherical.n_pairs == sum(len(nonlocal_.pairs(k, "spherical")) for k in (0, 2))
    assert len(nonlocal_.frames([]).select("spherical")) == 0
    assert_identical(AttentionRecord.load(part.save(tmp_path / "part.npz")), part)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sphc_distance": np.zeros((2, 5))}, r"'sphc_distance' has shape \(2, 5\)"),
        ({"nearness": np.full((2, 150), np.nan)}, "'nearness' is not finite"),
        ({"sender": np.full(150, 9)}, "'sender' runs from 9 to 9"),
        ({"attention": BlockAttention(*[np.zeros((2, 150, 4))] * 3)}, "'spherical' has shape"),
    ],
)
def test_fields_of_a_spherical_block_that_do_not_fit_are_named(nonlocal_, fields, message):
    with pytest.raises(UserError, match=message):
        changed(nonlocal_, spherical=dataclasses.replace(nonlocal_.spherical, **fields))


def test_a_frame_without_pairs_is_a_record_too():
    empty = BlockAttention(*(np.zeros((1, 0, 2)) for _ in QUANTITIES))
    geometric = BlockAttention(*(np.zeros((1, 0, 1)) for _ in QUANTITIES))
    none = np.zeros(0, dtype=int)
    record = AttentionRecord(
        numbers=np.array([[2]]),
        positions=np.zeros((1, 1, 3)),
        frame=none,
        receiver=none,
        sender=none,
        distance=np.zeros(0),
        vector=np.zeros((0, 3)),
        cutoff=5.0,
        degrees=(1,),
        feature=empty,
        geometric=geometric,
        sphc=np.zeros((2, 1, 1, 3)),
    )
    assert record.limit() == 0.0
    np.testing.assert_array_equal(record.matrix(), np.zeros((1, 1)))


def test_the_record_needs_no_heavy_library():
    code = (
        "import sys, so3krates_lite.record.attention_record as r\n"
        "print([m for m in ('jax', 'ase', 'plotly', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
