"""A record that grows on disk: equal to one made at once, whatever happens on the way."""

from __future__ import annotations

import errno
import warnings

import numpy as np
import pytest

from so3krates_lite.cli import main
from so3krates_lite.errors import UserError
from so3krates_lite.record import (
    AttentionRecord,
    mean_maps,
    open_attention,
    pairs_that_switch,
    record_from_arrays,
    record_of,
    record_trajectory,
)
from so3krates_lite.record.analysis import dihedral_angles
from so3krates_lite.record.tables import from_xarray, to_xarray
from so3krates_lite.structures.frames import Frames

pytest.importorskip("zarr")
pytest.importorskip("dask")
REACH = 2.0


class ByDistance:
    """Two layers of three heads that see pairs nearer than `REACH`: an oracle without a network."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.seen, self.fails_at = [], fails_at

    def attention(self, frames: Frames) -> AttentionRecord:
        self.seen.append(len(frames))
        if len(self.seen) == self.fails_at:
            raise KeyboardInterrupt
        r = np.linalg.norm(frames.positions[:, :, None] - frames.positions[:, None], axis=-1)
        real = frames.mask[:, :, None] & frames.mask[:, None]
        near = (r > 0) & (r < REACH) & real
        heads = np.arange(1, 7).reshape(2, 3, 1, 1) / 7
        weights = np.where(near[:, None, None], np.exp(-r)[:, None, None] * heads, 0.0)
        return record_from_arrays(frames.numbers, frames.positions, weights)


@pytest.fixture(scope="module")
def frames():
    """Four atoms in a chain; the last one turns around the bond in the middle."""
    angle = np.radians(np.linspace(0, 350, 23))
    positions = np.tile([[0.0, 1.0, 0.0], [0, 0, 0], [1.4, 0, 0], [0, 0, 0]], (23, 1, 1))
    positions[:, 3] = np.stack([np.full(23, 1.4), np.cos(angle), np.sin(angle)], axis=1)
    return Frames(np.tile([1, 8, 8, 1], (23, 1)), positions)


@pytest.fixture
def stored(frames, tmp_path):
    path = tmp_path / "attention.zarr"
    return record_trajectory(ByDistance(), frames, path, chunk=5, precision="float64")


def assert_equal(one: AttentionRecord, other: AttentionRecord) -> None:
    one, other = to_xarray(one), to_xarray(other)
    for name in one.variables:
        np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=name)


def test_the_store_is_the_record_that_is_made_at_once(frames, stored):
    import xarray as xr

    whole, data = ByDistance().attention(frames), open_attention(stored)
    assert whole.n_pairs % len(frames)  # so that pieces are of unlike length
    assert_equal(from_xarray(data), whole)
    assert all(variable.chunks for name, variable in data.items())  # nothing was read
    for name, variable in to_xarray(whole).items():
        assert data[name].dims == variable.dims and data[name].attrs == variable.attrs
    assert_equal(record_of(data, 7, 12), whole.frames(slice(7, 12)))
    # any program finds the same, without this package
    assert_equal(from_xarray(xr.open_zarr(stored, consolidated=False)), whole)


def test_what_is_stored_in_short_differs_by_rounding_only(frames, tmp_path):
    path = record_trajectory(ByDistance(), frames[:6], tmp_path / "short.zarr", chunk=4)
    data = open_attention(path)
    assert data["given_weighted"].dtype == np.float32
    expected = ByDistance().attention(frames[:6]).given.weighted
    np.testing.assert_allclose(data["given_weighted"], expected, rtol=1e-6)


def test_a_run_that_was_stopped_goes_on_where_it_stopped(frames, stored, tmp_path):
    path, again = tmp_path / "stopped.zarr", ByDistance()
    with pytest.raises(KeyboardInterrupt):
        record_trajectory(ByDistance(fails_at=4), frames, path, chunk=5, precision="float64")
    begun = open_attention(path)
    assert begun.sizes["frame"] == 15
    assert_equal(from_xarray(begun), ByDistance().attention(frames[:15]))
    record_trajectory(again, frames, path, chunk=5, precision="float64")
    assert again.seen == [5, 3]
    assert_equal(from_xarray(open_attention(path)), from_xarray(open_attention(stored)))


def test_a_trajectory_that_has_grown_is_recorded_from_its_old_end(frames, stored, tmp_path):
    path, more = tmp_path / "growing.zarr", ByDistance()
    record_trajectory(ByDistance(), frames[:12], path, chunk=5, precision="float64")
    record_trajectory(more, frames, path, chunk=5, precision="float64")
    assert more.seen == [5, 5, 1]
    assert_equal(from_xarray(open_attention(path)), from_xarray(open_attention(stored)))


def test_a_missing_chunk_is_named_and_recorded_anew(frames, stored):
    file, again = stored / "given_weighted" / "c" / "0" / "2" / "0", ByDistance()
    file.unlink()
    with pytest.raises(UserError, match=r"given_weighted/c/0/2/0 is missing .*record_trajectory"):
        open_attention(stored)
    with pytest.raises(KeyboardInterrupt):  # the chunk belongs to several pieces
        record_trajectory(ByDistance(fails_at=2), frames, stored, chunk=5, precision="float64")
    with pytest.raises(UserError, match="anew was stopped: run record_trajectory"):
        open_attention(stored)
    record_trajectory(again, frames, stored, chunk=5, precision="float64")
    assert sum(again.seen) < len(frames)
    assert_equal(from_xarray(open_attention(stored)), ByDistance().attention(frames))


def test_a_torn_chunk_is_named_and_recorded_anew(frames, stored):
    file, data = stored / "given_weighted" / "c" / "0" / "2" / "0", open_attention(stored)
    content = file.read_bytes()
    for torn in (content[:-9], content[:20] + b"\0" + content[21:]):
        file.write_bytes(torn)
        for reads in (lambda: open_attention(stored, check=True), lambda: mean_maps(data)):
            with pytest.raises(UserError, match=r"given_weighted/c/0/2/0 is torn .*check=True"):
                reads()
    record_trajectory(ByDistance(), frames, stored, chunk=5, precision="float64", check=True)
    assert_equal(from_xarray(open_attention(stored, check=True)), ByDistance().attention(frames))


def test_a_full_disk_loses_nothing(frames, stored, tmp_path, monkeypatch):
    from zarr.storage import LocalStore

    path, written, usual = tmp_path / "full.zarr", [], LocalStore.set

    async def full(self, key, value):
        written.append(key)
        if len(written) > 60:
            raise OSError(errno.ENOSPC, "No space left on device")
        return await usual(self, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "set", full)
        with pytest.raises(UserError, match=r"No space left on device.*what has been recorded"):
            record_trajectory(ByDistance(), frames, path, chunk=5, precision="float64")
    held = open_attention(path).sizes["frame"]
    assert 0 < held < len(frames)
    record_trajectory(again := ByDistance(), frames, path, chunk=5, precision="float64")
    assert sum(again.seen) == len(frames) - held
    assert_equal(from_xarray(open_attention(path)), from_xarray(open_attention(stored)))


def test_a_store_goes_on_only_as_it_was_begun(frames, stored, tmp_path):
    with pytest.raises(UserError, match=r"begun with another chunk \(5, not 6\)"):
        record_trajectory(ByDistance(), frames, stored, chunk=6, precision="float64")
    with pytest.raises(UserError, match="begun with another first frame"):
        record_trajectory(ByDistance(), frames[1:], stored, chunk=5, precision="float64")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="is there already, and no record"):
        record_trajectory(ByDistance(), frames, tmp_path / "folder")
    with pytest.raises(KeyboardInterrupt):
        record_trajectory(ByDistance(fails_at=1), frames, tmp_path / "none.zarr")
    assert not (tmp_path / "none.zarr").exists()
    with pytest.raises(UserError, match="chunk = 0"):
        record_trajectory(ByDistance(), frames, tmp_path / "none.zarr", chunk=0)
    with pytest.raises(UserError, match="holds no attention"):
        open_attention(tmp_path / "folder")


def reduced(data, frames):
    """Maps by the quarter of the turn that a frame is in."""
    angle = dihedral_angles(data["positions"].values)
    kind = ((angle % 360) // 90).astype(int)
    maps = mean_maps(data, layer=1, channel="sum", kind=kind)
    matrices = ByDistance().attention(frames)
    for k in range(4):
        each = [
            sum(matrices.matrix(frame=int(n), layer=1, channel=c) for c in range(3))
            for n in np.flatnonzero(kind == k)
        ]
        np.testing.assert_allclose(maps[k], np.mean(each, axis=0), atol=1e-12)
    return maps


def test_maps_are_means_of_matrices_and_show_what_switches_on(frames, stored):
    maps = reduced(open_attention(stored), frames)
    table = pairs_that_switch(maps)
    switching = table["most"] - table["least"] > 1e-9
    pairs = zip(table["receiver"][switching], table["sender"][switching], strict=True)
    assert {(int(i), int(j)) for i, j in pairs} == {
        (0, 3),
        (3, 0),
    }  # all others keep their distance
    # they see each other where they stand on one side
    assert {*table["on"][:2]} <= {0, 3} and {*table["off"][:2]} <= {1, 2}
    with pytest.raises(UserError, match="There is no 'weight' of a block 'given'"):
        mean_maps(open_attention(stored), quantity="weight")
    with pytest.raises(UserError, match="expected a number for 23 frames"):
        mean_maps(open_attention(stored), kind=np.zeros(3, int))


def test_frames_of_unlike_size_are_stored_and_make_no_map(frames, tmp_path):
    small = Frames(np.array([[1, 1]]), np.array([[[0, 0, 0], [0, 0, 0.7]]]))
    mixed = Frames.concatenate([small, frames[:4], small])
    path = record_trajectory(ByDistance(), mixed, tmp_path / "m.zarr", chunk=1, precision="float64")
    assert_equal(from_xarray(open_attention(path)), ByDistance().attention(mixed))
    with pytest.raises(UserError, match="different atoms"):
        mean_maps(open_attention(path))


def test_a_cluster_reduces_to_the_same(frames, stored):
    distributed = pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ports and event loops, which are distributed's own
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster),
        ):
            reduced(open_attention(stored), frames)


def test_the_command_records_a_file_and_goes_on(tmp_path, capsys):
    from so3krates_lite.datasets import load, write_frames
    from so3krates_lite.ensemble import load_potential

    ethanol, out = load("ethanol-gfn2")[:4], tmp_path / "out.zarr"
    file = write_frames(ethanol, tmp_path / "ethanol.extxyz")
    given = ["attention", "ethanol-gfn2", str(file), "--out", str(out), "--chunk", "2"]
    assert main(given) == 0
    assert main(given) == 0  # nothing is left to do
    assert "4 frames" in capsys.readouterr().out
    found = record_of(open_attention(out), 2, 4)
    expected = load_potential("ethanol-gfn2").attention(ethanol[2:])
    np.testing.assert_allclose(found.feature.weighted, expected.feature.weighted, atol=1e-5)
    other = [*given[:2], "ethanol-gfn2", *given[3:]]
    assert main([*other, "--limit", "5", "--chunk", "3"]) == 2
    assert "begun with another chunk" in capsys.readouterr().err
