"""Weights of another code become a record that every view takes."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pytest
from synthetic import ethanol_record

from so3krates_lite.errors import UserError
from so3krates_lite.record import AttentionRecord, from_arrays, record_from_arrays, tables
from so3krates_lite.report.write import write_report


def arrays(frames: int = 2, layers: int = 3, heads: int = 2) -> dict[str, np.ndarray]:
    """Dense weights of ethanol; atom 8 asks nobody."""
    of = ethanol_record(frames=frames)
    atoms = of.numbers.shape[1]
    weights = np.random.default_rng(2).normal(size=(frames, layers, heads, atoms, atoms))
    weights[:, :, :, 8] = 0
    weights[..., np.arange(atoms), np.arange(atoms)] = 0
    return {"numbers": of.numbers, "positions": of.positions, "weights": weights}


def test_every_weight_stands_where_it_was():
    given = arrays()
    record = record_from_arrays(**given)
    assert record.blocks == ("given",) and record.n_pairs == 2 * 8 * 8
    assert record.channel_names() == ["head 0", "head 1"] and record.n_layers == 3
    for frame, layer, head in np.ndindex(2, 3, 2):
        np.testing.assert_array_equal(
            record.matrix(frame, None, layer, head), given["weights"][frame, layer, head]
        )
        sizes = record.matrix(frame, None, layer, head, "contribution")
        np.testing.assert_array_equal(sizes, np.abs(given["weights"][frame, layer, head]))
    far = np.linalg.norm(given["positions"][1, 4] - given["positions"][1, 0])
    pair = np.flatnonzero((record.frame == 1) & (record.receiver == 0) & (record.sender == 4))
    assert record.distance[pair] == pytest.approx(far, rel=1e-12)


def test_a_list_of_pairs_says_the_same_as_matrices():
    given = arrays()
    dense = record_from_arrays(**given)
    pairs = np.column_stack([dense.frame, dense.receiver, dense.sender])
    values = given["weights"][pairs[:, 0], :, :, pairs[:, 1], pairs[:, 2]].transpose(1, 2, 0)
    listed = record_from_arrays(given["numbers"], given["positions"], values, pairs=pairs)
    for name in ("frame", "receiver", "sender", "distance", "vector"):
        np.testing.assert_array_equal(getattr(listed, name), getattr(dense, name))
    np.testing.assert_array_equal(listed.given.weighted, dense.given.weighted)


def test_periodic_images_and_own_quantities_are_kept():
    record = record_from_arrays(
        [3],
        [[0.0, 0.0, 0.0]],
        [[[0.2, -0.1]]],
        pairs=[(0, 0), (0, 0)],
        vectors=[[3.0, 0, 0], [0, 4.0, 0]],
        coefficients=[[[0.4, -0.3]]],
        contributions=[[[1.0, 2.0]]],
    )
    assert record.distance.tolist() == [3.0, 4.0]
    assert record.given.coefficient.ravel().tolist() == [0.4, -0.3]
    assert record.given.contribution.ravel().tolist() == [1.0, 2.0]
    assert record.matrix()[0, 0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"weights": np.zeros((3, 2, 9, 9))}, r"weights has shape \(3, 2, 9, 9\)"),
        ({"weights": np.zeros((2, 3, 2, 9, 8))}, "weights has shape .*9 atoms"),
        ({"weights": np.full((2, 3, 2, 9, 9), np.nan)}, "weights holds a value"),
        ({"positions": np.zeros((2, 8, 3))}, r"positions has shape \(2, 8, 3\)"),
        ({"coefficients": np.zeros((2, 3, 2, 9))}, "coefficients has shape"),
        ({"vectors": np.zeros((1, 3))}, "give pairs as well"),
        ({"pairs": [(0, 1)]}, "frame in front"),
        ({"pairs": [(0, 0, 1)]}, "weights has shape .*1 pairs"),
        ({"pairs": [(0.5, 0, 1)]}, "pairs has shape .*whole numbers"),
        ({"pairs": [(0, 0, 9)], "weights": np.zeros((1, 1, 1))}, r"= \(0, 0, 9\): counted from 0"),
        ({"weights": [[1.0], [2.0, 3.0]]}, "weights is no array of numbers"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(change, told):
    with pytest.raises(UserError, match=told):
        record_from_arrays(**arrays() | change)


def test_files_tables_and_pages_take_it(tmp_path):
    record = record_from_arrays(**arrays())
    again = AttentionRecord.load(record.save(tmp_path / "given.npz"))
    through = tables.from_xarray(tables.to_xarray(again)).frames([1, 0])
    np.testing.assert_array_equal(through.matrix(1, "given", 2, 1), record.matrix(0, None, 2, 1))
    table = tables.to_dataframe(record)
    assert set(table["channel"]) == {"head 0", "head 1"}
    page = write_report(tmp_path / "page.html", title="ours", record=record)
    assert "numbers come from another code" in page.read_text(encoding="utf-8")


def test_the_docstring_s_example_holds():
    assert doctest.testmod(from_arrays).attempted > 5
    assert doctest.testmod(from_arrays).failed == 0


def test_the_how_to_s_example_holds():
    page = Path(__file__).parents[2] / "docs" / "explorer.md"
    blocks = page.read_text(encoding="utf-8").split("```python\n")[1:]
    (code,) = (b.split("```")[0] for b in blocks if "record_from_arrays(" in b)
    made: dict = {}
    exec(code, made)
    assert made["view"].record.blocks == ("given",) and made["record"].n_pairs == 72
    assert not made["view"]._message.value
