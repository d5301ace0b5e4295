"""Tables hold what the record holds, and lead back to it without loss."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from synthetic import (
    assert_identical,
    charged,
    correlation_record,
    ethanol_record,
    permuted,
    thinned,
    uncertain,
)

from so3krates_lite.errors import UserError
from so3krates_lite.record import analysis, tables
from so3krates_lite.record.parts import QUANTITIES

RECORDS = {
    "local": lambda: ethanol_record(frames=2, padding=2),
    "spherical": lambda: ethanol_record(frames=2, spherical=True),
    "charged": lambda: charged(ethanol_record(frames=2, padding=2)),
    "uncertain": lambda: uncertain(ethanol_record(frames=2, padding=2)),
    "correlation": correlation_record,
    "without pairs": lambda: thinned(ethanol_record(), np.zeros(0, int)),
}


@pytest.fixture(scope="module", params=list(RECORDS))
def record(request):
    return RECORDS[request.param]()


@pytest.fixture(scope="module")
def pd():
    return pytest.importorskip("pandas", reason="tables need pandas: the extra 'analysis'")


@pytest.fixture(scope="module")
def xr():
    return pytest.importorskip("xarray", reason="datasets need xarray: the extra 'analysis'")


def test_a_data_frame_has_each_number_of_the_record_once(record, pd):
    for block in record.blocks:
        table, pairs = tables.to_dataframe(record, block), record.neighbours(block)
        names = record.channel_names(block)
        assert len(table) == record.n_layers * pairs.n_pairs * len(names)
        for layer, (channel, name) in ((0, (0, names[0])), (1, (2, names[2]))):
            part = table[(table["layer"] == layer) & (table["channel"] == name)]
            for quantity in QUANTITIES:
                expected = record.select(block, layer, channel, quantity)
                np.testing.assert_array_equal(part[quantity], expected)
            for end in ("frame", "receiver", "sender", "distance"):
                np.testing.assert_array_equal(part[end], getattr(pairs, end))
            if record.sphc is not None:
                expected = analysis.sphc_distances(record, block)[layer]
                np.testing.assert_array_equal(part["sphc_distance"], expected)
            else:
                assert "sphc_distance" not in table
            if block == "spherical":
                expected = record.spherical.nearness[layer]
                np.testing.assert_array_equal(part["nearness"], expected)
        assert set(table["receiver_element"]) <= {"C", "H", "O"}  # no padding
        oxygen = table[table["receiver"] == 2]
        assert (oxygen["receiver_element"] == "O").all()


def test_a_shuffled_data_frame_leads_back(record, pd, tmp_path):
    for block in record.blocks:
        table = tables.to_dataframe(record, block).sample(frac=1.0, random_state=0)
        assert_identical(tables.from_dataframe(table, record, block), record)
        table.to_csv(tmp_path / "table.csv", index=False, float_format="%.17g")
        # as text, since pandas before 3 loses the last digit
        again = pd.read_csv(tmp_path / "table.csv", dtype=str)
        assert_identical(tables.from_dataframe(again, record, block), record)


def test_a_data_frame_changes_only_its_block(pd):
    record = ethanol_record(frames=2, spherical=True)
    for block in record.blocks:
        table = tables.to_dataframe(record, block)
        table["weighted"] *= 2
        new = tables.from_dataframe(table, record, block)
        for other in record.blocks:
            factor = 2 if other == block else 1
            np.testing.assert_array_equal(new.select(other), factor * record.select(other))


def test_an_incomplete_data_frame_is_refused(pd):
    record = ethanol_record()
    table = tables.to_dataframe(record)
    for wrong in (table.iloc[1:], pd.concat([table, table.iloc[:1]]), table.assign(channel="x")):
        with pytest.raises(UserError, match="just once"):
            tables.from_dataframe(wrong, record)
    with pytest.raises(UserError, match=r"lacks the column\(s\) pair, weighted"):
        tables.from_dataframe(table.drop(columns=["pair", "weighted"]), record)


def test_a_dataset_leads_back_bit_for_bit(record, xr):
    assert_identical(tables.from_xarray(tables.to_xarray(record)), record)
    turned = tables.to_xarray(record).transpose(..., "layer", "frame")
    assert_identical(tables.from_xarray(turned), record)


def test_a_netcdf_file_leads_back_bit_for_bit(record, xr, tmp_path):
    if record.n_pairs == 0:
        with pytest.raises(UserError, match="without pairs"):
            tables.save_netcdf(record, tmp_path / "record.nc")
        return
    path = tables.save_netcdf(record, tmp_path / "record.nc")
    assert list(tmp_path.iterdir()) == [path]
    assert_identical(tables.load_netcdf(path), record)


def test_a_dataset_names_axes_units_and_formulas(xr):
    record = ethanol_record(frames=2, spherical=True)
    data = tables.to_xarray(record)
    assert data["spherical_weighted"].dims == ("layer", "far_pair", "degree")
    assert data["sphc"].dims == ("state", "frame", "atom", "component")
    one = data["geometric_weighted"].isel(layer=1).sel(degree=3)
    np.testing.assert_array_equal(one, record.select("geometric", 1, 2))
    assert all(data[name].attrs["long_name"] for name in data.data_vars)
    assert data["pair_distance"].attrs["long_name"] == "Å"


def test_what_is_no_record_is_refused_in_a_sentence(xr, tmp_path):
    data = tables.to_xarray(ethanol_record())
    with pytest.raises(UserError, match="no attention record"):
        tables.from_xarray(data.drop_attrs())
    with pytest.raises(UserError, match="version 99"):
        tables.from_xarray(data.assign_attrs(format_version=99))
    with pytest.raises(UserError, match="lacks the variable 'feature_weighted'"):
        tables.from_xarray(data.drop_vars("feature_weighted"))
    with pytest.raises(UserError, match="No attention record at"):
        tables.load_netcdf(tmp_path / "absent.nc")
    (tmp_path / "junk.nc").write_bytes(b"junk")
    with pytest.raises(UserError, match="not a readable netCDF file"):
        tables.load_netcdf(tmp_path / "junk.nc")


@pytest.mark.parametrize(
    ("package", "call"), [("pandas", tables.to_dataframe), ("xarray", tables.to_xarray)]
)
def test_a_missing_package_is_named_with_what_brings_it(package, call, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"{package} is not installed.*lite\[analysis\]"):
        call(ethanol_record())


def test_without_a_netcdf_writer_the_record_s_own_file_is_named(xr, monkeypatch, tmp_path):
    def nothing_there(self, path):
        raise ValueError("cannot write NetCDF files")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", nothing_there)
    with pytest.raises(UserError, match=r"cannot write NetCDF files.*record\.save"):
        tables.save_netcdf(ethanol_record(), tmp_path / "a.nc")
    assert not list(tmp_path.iterdir())


def test_element_pairs_are_directed_and_complete(record):
    columns = tables.element_pair_table(record, layer=0, channel=1)
    values, pairs = record.select(layer=0, channel=1), record.neighbours()
    assert columns["pairs"].sum() == pairs.n_pairs
    assert columns["sum"].sum() == pytest.approx(values.sum())
    for row, (zi, zj) in enumerate(zip(columns["receiver"], columns["sender"], strict=True)):
        of_kind = [
            value
            for value, k, i, j in zip(
                values, pairs.frame, pairs.receiver, pairs.sender, strict=True
            )
            if (record.numbers[k, i], record.numbers[k, j]) == (zi, zj)
        ]
        assert columns["pairs"][row] == len(of_kind) > 0
        assert columns["mean"][row] == pytest.approx(np.mean(of_kind))
        assert columns["abs_mean"][row] == pytest.approx(np.mean(np.abs(of_kind)))
        assert columns["std"][row] == pytest.approx(np.std(of_kind))


def test_tables_do_not_know_the_order_of_atoms():
    record = ethanol_record(frames=2)
    other = permuted(record, np.random.default_rng(4).permutation(9))
    for table in (tables.element_pair_table, tables.attention_by_distance):
        for name, column in table(record).items():
            np.testing.assert_allclose(table(other)[name], column)


def test_every_pair_is_in_one_bin_of_distance(record):
    columns = tables.attention_by_distance(record, bins=7)
    assert columns["pairs"].sum() == record.n_pairs and len(columns["low"]) == 7
    assert columns["sum"].sum() == pytest.approx(analysis.aggregate(record).sum())
    if record.sphc is not None:
        near = tables.attention_by_distance(record, bins=5, layer=1, space="sphc")
        again = tables.attention_by_distance(record, bins=5, layer=0, space="sphc")
        assert near["pairs"].sum() == record.n_pairs
        np.testing.assert_array_equal(near["high"], again["high"])  # the same for all layers
    with pytest.raises(UserError, match="the number of one layer"):
        tables.attention_by_distance(record, space="sphc")
    with pytest.raises(UserError, match="not None"):
        tables.attention_by_distance(record, layer=None)


def test_bins_own_their_lower_edge_and_leave_out_what_is_outside():
    x = np.array([0.0, 1.0, 1.0, 2.0, 3.0, 4.5, np.nan])
    columns = tables.binned(x, np.array([1.0, 2.0, -4.0, 8.0, 16.0, 32.0, 64.0]), [0, 1, 2, 2.5, 3])
    np.testing.assert_array_equal(columns["pairs"], [1, 2, 1, 1])
    np.testing.assert_array_equal(columns["mean"], [1, -1, 8, 16])
    np.testing.assert_array_equal(columns["abs_mean"], [1, 3, 8, 16])
    empty = tables.binned(x, x, [10, 11])
    assert empty["pairs"][0] == 0 and np.isnan(empty["mean"][0])
    with pytest.raises(UserError, match="edges that rise"):
        tables.binned(x, x, [1, 1])
