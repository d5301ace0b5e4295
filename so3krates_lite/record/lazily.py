"""A stored record of a long trajectory, opened without being read and reduced piece by piece.

`open_attention` gives the dataset that `tables.to_xarray` would give, had it been made of all
frames at once, with Dask's arrays in place of numpy's. So everything of xarray can be asked of it,
and is computed where Dask computes: in threads of this process, or on a cluster, if there is a
`dask.distributed.Client`. Pairs of all frames stand in one list, which is why a map (who attends to
whom, averaged over frames) is a sum by atoms: `mean_maps` adds up each chunk by itself.

With a number for each frame, such as the bin of a dihedral, there are as many maps, and
`pairs_that_switch` says which pairs differ most between them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from so3krates_lite.errors import UserError
from so3krates_lite.record.analysis import Choice, combined
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.parts import QUANTITIES
from so3krates_lite.record.tables import from_xarray, imported
from so3krates_lite.record.trajectory import GROWING, missing_chunks

if TYPE_CHECKING:
    import xarray as xr


def open_attention(path: str | os.PathLike[str], *, check: bool = False) -> xr.Dataset:
    """The dataset of a record that `record_trajectory` has written, or has begun to.

    Args:
        path: of the store
        check: read every chunk, which says of a torn one

    Raises:
        UserError: there is no such store, or a chunk is missing or torn, which is named
    """
    zarr, xr, path = imported("zarr", "scale"), imported("xarray"), Path(path)
    imported("dask.array", "scale")
    if not (path / "zarr.json").is_file():
        raise UserError(f"{path} holds no attention: name a folder that record_trajectory made.")
    try:
        group = zarr.open_group(path, mode="r")
        attributes = group.attrs.asdict()
    except (KeyError, OSError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a zarr store ({error}).") from None
    pieces = attributes.get("pieces")
    if attributes.get("again"):
        raise UserError(
            f"Recording lost chunks of {path} anew was stopped: run record_trajectory with the "
            f"same model and frames again."
        )
    if not pieces:
        raise UserError(f"{path} holds no attention yet: run record_trajectory to its end.")
    if lost := list(missing_chunks(group, pieces, torn=check)):
        name, first, last, file = lost[0]
        what = "torn" if file.is_file() else "missing"
        more = f", and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise UserError(
            f"The chunk {file} is {what} ({name}, {first} to {last - 1}{more}): run "
            f"record_trajectory with the same model and frames again"
            f"{' and check=True' if check else ''}, which records only these anew."
        )
    data = xr.open_zarr(path, consolidated=False, chunks={})
    held = dict(zip(GROWING, pieces[-1], strict=True))
    data = data.isel({name: slice(held[name]) for name in GROWING if name in data.dims})
    for name in ("pieces", "again", "begun"):  # of the store, not of the record
        data.attrs.pop(name, None)
    data.attrs["store"] = str(path)
    return data


def record_of(data: xr.Dataset, start: int, stop: int) -> AttentionRecord:
    """The record of the frames from ``start`` to ``stop``, in memory."""
    chosen = {"frame": slice(start, stop)}
    for pair in ("pair", "far_pair"):
        if (name := f"{pair}_frame") in data:
            chosen[pair] = slice(*np.searchsorted(data[name].values, (start, stop)).tolist())
    part = data.isel(chosen).load().copy()
    for pair in chosen.keys() - {"frame"}:
        part[f"{pair}_frame"] = part[f"{pair}_frame"] - start
    return from_xarray(part)


def mean_maps(
    data: xr.Dataset,
    block: str | None = None,
    quantity: str = "weighted",
    *,
    layer: Choice = "sum",
    channel: Choice = "sum",
    kind: Int[np.ndarray, "frames"] | None = None,
) -> Float[np.ndarray, "kinds atoms atoms"]:
    """Who attends to whom, [receiver, sender], averaged over the frames of each kind.

    A frame in which a pair is not listed counts as 0. All frames have to hold the same atoms in the
    same order.

    Args:
        data: of `open_attention`
        block, quantity, layer, channel: as of `analysis.aggregate`
        kind: a number for each frame, from 0; negative: it is left out. None: all are of kind 0

    Raises:
        UserError: frames hold different atoms, or there is no such block or quantity
    """
    dask = imported("dask", "scale")
    blocks = data.attrs["blocks"].split()
    block = block or blocks[0]
    if block not in blocks or quantity not in QUANTITIES:
        raise UserError(
            f"There is no {quantity!r} of a block {block!r}: choose one of {', '.join(QUANTITIES)} "
            f"of {', '.join(blocks)}."
        )
    numbers = data["numbers"]
    if bool((numbers != numbers[0]).any()):
        raise UserError("Frames hold different atoms, which make no map: choose those of one kind.")
    frames, atoms = numbers.shape
    kind = np.zeros(frames, int) if kind is None else np.asarray(kind)
    if kind.shape != (frames,):
        raise UserError(f"kind has the shape {kind.shape}: expected a number for {frames} frames.")
    shape = int(kind.max(initial=0)) + 1, atoms, atoms
    pair = "far_pair" if block == "spherical" else "pair"
    names = [f"{pair}_frame", f"{pair}_receiver", f"{pair}_sender", f"{block}_{quantity}"]
    # along pairs the chunks of all are the same, and no other axis is cut
    parts = zip(*(data[name].data.to_delayed().ravel() for name in names), strict=True)
    of_frame, part_of = dask.delayed(kind), dask.delayed(_summed)
    sums = [part_of(*part, of_frame, shape, layer, channel) for part in parts]
    while len(sums) > 1:  # in a tree, so that no one waits for all
        sums = [dask.delayed(sum)(sums[k : k + 8]) for k in range(0, len(sums), 8)]
    try:
        (total,) = dask.compute(*sums) if sums else (np.zeros(shape),)
    except Exception as error:
        if isinstance(error, UserError):
            raise
        open_attention(data.attrs.get("store", ""), check=True)  # says it, where a chunk is torn
        raise
    return total / np.maximum(np.bincount(kind[kind >= 0], minlength=shape[0]), 1)[:, None, None]


def _summed(
    frame: np.ndarray,
    receiver: np.ndarray,
    sender: np.ndarray,
    values: np.ndarray,
    kind: np.ndarray,
    shape: tuple[int, int, int],
    layer: Choice,
    channel: Choice,
) -> np.ndarray:
    """The sums of one chunk of pairs."""
    each = combined(combined(values, channel, 2, "channel"), layer, 0, "layer")
    place, kept = kind[frame], kind[frame] >= 0
    total = np.zeros(shape)
    np.add.at(total, (place[kept], receiver[kept], sender[kept]), each[kept])
    return total


def pairs_that_switch(
    maps: Float[np.ndarray, "kinds atoms atoms"],
) -> dict[str, np.ndarray]:
    """Columns of a table with a row for each directed pair, those that differ most first.

    ``receiver``, ``sender``; ``least`` and ``most`` of the pair's attention over the maps, and of
    which ``kind`` each is: ``off`` and ``on``.
    """
    spread = np.ptp(maps, axis=0)
    order = np.argsort(-spread, axis=None, kind="stable")[: np.count_nonzero(spread)]
    receiver, sender = np.unravel_index(order, spread.shape)
    of_pair = maps[:, receiver, sender]
    return {
        "receiver": receiver,
        "sender": sender,
        "least": of_pair.min(axis=0),
        "most": of_pair.max(axis=0),
        "off": of_pair.argmin(axis=0),
        "on": of_pair.argmax(axis=0),
    }
