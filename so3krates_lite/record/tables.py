"""A record as tables: plain columns with numpy, data frames of pandas, datasets of xarray, netCDF.

What the record holds as arrays by layer, pair and channel, a table holds line by line, so that
everything that groups, filters or draws tables can be used on it. Two kinds are made here:

* summaries, as a dictionary of columns that ``pandas.DataFrame(...)`` takes as it is:
  `element_pair_table`, `attention_by_distance`, `binned`. They need only numpy;
* the whole record: `to_dataframe` has a line for each directed pair, layer and channel of a block,
  `to_xarray` all blocks with named axes, units and formulas. `from_dataframe` and `from_xarray`
  lead back. They need the extra ``analysis``, which is imported only there.

Units: Å for lengths; attention has none; a ``contribution`` is in the model's own unit.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Sequence
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from so3krates_lite.errors import UserError
from so3krates_lite.record.analysis import REDUCTIONS, Choice, aggregate, sphc_distances
from so3krates_lite.record.attention_record import FORMAT_VERSION, AttentionRecord
from so3krates_lite.record.blocks import BLOCKS
from so3krates_lite.record.parts import QUANTITIES, BlockAttention, SphericalAttention
from so3krates_lite.runtime.files import replacing

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_PAIRS = ("frame", "receiver", "sender", "distance", "vector")


def element_pair_table(
    record: AttentionRecord,
    block: str | None = None,
    quantity: str = "weighted",
    *,
    layer: Choice = "sum",
    channel: Choice = "sum",
) -> dict[str, np.ndarray]:
    """Who listens to whom, by element: columns of a table with one row per directed element pair.

    ``receiver`` and ``sender`` are atomic numbers; ``pairs``, ``sum``, ``mean``, ``abs_mean`` and
    ``std`` are over all pairs of these elements in all frames.
    """
    values = _one_each(aggregate(record, block, quantity, layer=layer, channel=channel))
    pairs = record.neighbours(block)
    elements = [record.numbers[pairs.frame, end] for end in (pairs.receiver, pairs.sender)]
    kinds, group = np.unique(np.stack(elements), axis=1, return_inverse=True)
    statistics = _statistics(values, group.reshape(-1), kinds.shape[1])
    return {"receiver": kinds[0], "sender": kinds[1], **statistics}


def attention_by_distance(
    record: AttentionRecord,
    block: str | None = None,
    quantity: str = "weighted",
    *,
    bins: int | ArrayLike = 20,
    layer: Choice = "sum",
    channel: Choice = "sum",
    space: str = "position",
) -> dict[str, np.ndarray]:
    """Attention of pairs in bins of their distance, over all frames: columns as of `binned`.

    Args:
        bins: edges, or how many of equal width up to the cutoff (the farthest pair without one).
        space: ``"position"``, distances in Å, or ``"sphc"``, where pairs are as far apart as
            their SPHCs at the input of ``layer``, which then is a whole number.
    """
    values = _one_each(aggregate(record, block, quantity, layer=layer, channel=channel))
    reach = None
    if space == "position":
        distance = record.neighbours(block).distance
        kind = BLOCKS[block or record.blocks[0]]
        local = kind.listed == "local"
        reach = record.cutoff if local else float(distance.max(initial=0.0))
    elif space == "sphc" and not isinstance(layer, str):
        distances = sphc_distances(record, block)
        distance, reach = distances[layer], float(distances.max(initial=0.0))
    else:
        raise UserError(
            f"space = '{space}' with layer = {layer!r} is not possible: choose 'position', or "
            "'sphc' with the number of one layer."
        )
    edges = np.linspace(0.0, reach or 1.0, bins + 1) if isinstance(bins, int) else bins
    return binned(distance, values, edges)


def binned(
    x: Float[np.ndarray, "any"], values: Float[np.ndarray, "any"], edges: ArrayLike
) -> dict[str, np.ndarray]:
    """``low``, ``high``, ``pairs`` (how many), ``sum``, ``mean``, ``abs_mean``, ``std`` by bin.

    An edge belongs to the bin above it, the last one to the last bin. What lies outside, or is NaN,
    is left out. Empty bins have NaN for a mean.
    """
    x, values, edges = (np.asarray(array, float) for array in (x, values, edges))
    if x.shape != values.shape or edges.ndim != 1 or len(edges) < 2 or (np.diff(edges) <= 0).any():
        raise UserError("Bins need one x for each value, and edges that rise.")
    group = np.searchsorted(edges, x, side="right") - 1
    group[x == edges[-1]] = len(edges) - 2
    keep = (group >= 0) & (group < len(edges) - 1) & np.isfinite(x) & np.isfinite(values)
    return {
        "low": edges[:-1],
        "high": edges[1:],
        **_statistics(values[keep], group[keep], len(edges) - 1),
    }


def _one_each(values: np.ndarray) -> Float[np.ndarray, "pairs"]:
    if values.ndim != 1:
        raise UserError(
            "One number per pair is needed here: give layer and channel a number or a way to "
            f"combine them ({', '.join(REDUCTIONS)}), not None."
        )
    return values


def _statistics(
    values: np.ndarray, group: Int[np.ndarray, "pairs"], groups: int
) -> dict[str, np.ndarray]:
    def total(weights: np.ndarray) -> np.ndarray:
        return np.bincount(group, weights, minlength=groups)

    count = np.bincount(group, minlength=groups)
    divisor = np.where(count > 0, count, np.nan)
    mean = total(values) / divisor
    spread = np.sqrt(total((values - mean[group]) ** 2) / divisor)
    sizes = total(np.abs(values)) / divisor
    return {"pairs": count, "sum": total(values), "mean": mean, "abs_mean": sizes, "std": spread}


def to_dataframe(record: AttentionRecord, block: str | None = None) -> pd.DataFrame:
    """A line for each directed pair, layer and channel of a block.

    Columns: ``frame``; ``pair``, the place in the block's list; ``receiver`` and ``sender``, with
    ``receiver_element`` and ``sender_element``; ``distance`` (Å); ``layer``; ``channel``, its name;
    ``sphc_distance`` at the input of the layer, if the model has SPHCs; ``nearness`` in the block
    "spherical"; ``coefficient``, ``weighted``, ``contribution``.

    Raises:
        UserError: pandas is missing, or the record has no such block.
    """
    pd = imported("pandas")
    from ase.data import chemical_symbols

    attention, pairs = record.attention(block), record.neighbours(block)
    shape = attention.coefficient.shape
    layer, pair, channel = (index.reshape(-1) for index in np.indices(shape))
    symbols, names = np.array(chemical_symbols), np.array(record.channel_names(block))
    columns = {"frame": pairs.frame[pair], "pair": pair}
    ends = {"receiver": pairs.receiver[pair], "sender": pairs.sender[pair]}
    columns |= ends
    for end, atom in ends.items():
        columns[f"{end}_element"] = symbols[record.numbers[columns["frame"], atom]]
    columns |= {"distance": pairs.distance[pair], "layer": layer, "channel": names[channel]}
    if record.sphc is not None:
        columns["sphc_distance"] = sphc_distances(record, block)[layer, pair]
    if block == "spherical":
        columns["nearness"] = record.spherical.nearness[layer, pair]
    columns |= {name: getattr(attention, name).reshape(-1) for name in QUANTITIES}
    return pd.DataFrame(columns)


def from_dataframe(
    table: pd.DataFrame, record: AttentionRecord, block: str | None = None
) -> AttentionRecord:
    """``record`` with a block's three quantities from a table as of `to_dataframe`, in any order.

    Only ``pair``, ``layer``, ``channel`` and the quantities are read, so a table may come from a
    file and hold columns of its own.

    Raises:
        UserError: a column is missing, or a pair, layer and channel does not stand there just once.
    """
    block = block or record.blocks[0]
    shape, names = record.attention(block).coefficient.shape, record.channel_names(block)
    if missing := [c for c in ("pair", "layer", "channel", *QUANTITIES) if c not in table]:
        raise UserError(f"The table lacks the column(s) {', '.join(missing)}: see to_dataframe.")
    channel = np.array([names.index(c) if c in names else -1 for c in table["channel"]], int)
    places = np.stack([table["layer"].to_numpy(int), table["pair"].to_numpy(int), channel])
    inside = (places >= 0).all() and (places < np.array(shape)[:, None]).all()
    flat = np.ravel_multi_index(tuple(places), shape) if inside else np.zeros(0, int)
    if not np.array_equal(np.sort(flat), np.arange(np.prod(shape))):
        raise UserError(
            f"The table has {len(table)} lines; expected is each of {shape[1]} pairs, {shape[0]} "
            f"layers and the channels {', '.join(names)} just once, as to_dataframe gives them."
        )
    order = np.argsort(flat)
    values = (table[name].to_numpy(float)[order].reshape(shape) for name in QUANTITIES)
    new = BlockAttention(*values)
    if block == "spherical":
        return dataclasses.replace(
            record, spherical=dataclasses.replace(record.spherical, attention=new)
        )
    return dataclasses.replace(record, **{block: new})


# what a record may hold of each atom, and its unit or meaning
_OF_ATOMS = {
    "charges": "partial charge, e",
    "forces_std": "deviation of the force over the members of an ensemble, eV/Å",
}


def _variables(
    record_blocks: Sequence[str], atoms: Collection[str] = ()
) -> dict[str, tuple[str, tuple[str, ...], str]]:
    """Name in a dataset: where it stands in a record, its dimensions, and its unit or meaning.

    ``atoms`` holds, perhaps among others, those of `_OF_ATOMS` that the record has.
    """
    table = {
        "numbers": ("numbers", ("frame", "atom"), "atomic number, 0 for padding"),
        "positions": ("positions", ("frame", "atom", "xyz"), "Å"),
    }
    for name, unit in _OF_ATOMS.items():
        if name in atoms:
            table[name] = (name, ("frame", "atom"), unit)
    if "feature" in record_blocks:
        dims = ("state", "frame", "atom", "component")
        table["sphc"] = ("sphc", dims, "SPHCs before the first layer and after each; no unit")
    units = ("frame", "atom that asks", "atom that answers", "Å", "Å, receiver to sender")
    for block in record_blocks:
        far = block == "spherical"
        pair, path = ("far_pair", "spherical.") if far else ("pair", "")
        for name, unit in zip(_PAIRS, units, strict=True):
            dims = (pair, "xyz") if name == "vector" else (pair,)
            table[f"{pair}_{name}"] = (path + name, dims, unit)
        kind = BLOCKS[block]
        dims, where = ("layer", pair, kind.channel), f"{path}attention" if far else block
        for name in QUANTITIES:
            table[f"{block}_{name}"] = (f"{where}.{name}", dims, kind.axis[name])
    if "spherical" in record_blocks:
        for name in ("sphc_distance", "nearness"):
            table[name] = (f"spherical.{name}", ("layer", "far_pair"), "no unit")
    return table


def to_xarray(record: AttentionRecord) -> xr.Dataset:
    """The whole record with named axes.

    Dimensions: ``frame``, ``atom``, ``xyz``, ``layer``, ``pair`` (``far_pair`` in the spherical
    block), ``head``, ``degree``, ``order``, ``state`` and ``component`` of the SPHCs. Variables are
    ``<block>_<quantity>``, ``pair_receiver``, ``pair_sender``, ``pair_distance`` …; each states its
    unit or formula as the attribute ``long_name``.
    """
    xr = imported("xarray")
    atoms = [name for name in _OF_ATOMS if getattr(record, name) is not None]
    table = _variables(record.blocks, atoms)
    data = {
        name: (dims, attrgetter(where)(record), {"long_name": unit})
        for name, (where, dims, unit) in table.items()
    }
    coordinates = {}
    for name in ("degree", "order"):
        if values := getattr(record, f"{name}s"):
            coordinates[name] = np.array(values)
    attributes = {
        "cutoff": record.cutoff,
        "cutoff_unit": "Å",
        "cutoff_kind": record.cutoff_kind,
        "blocks": " ".join(record.blocks),
        "format_version": FORMAT_VERSION,
    }
    return xr.Dataset(data, coordinates, attributes)


def from_xarray(dataset: xr.Dataset) -> AttentionRecord:
    """The inverse of `to_xarray`, every array as it was.

    Raises:
        UserError: the dataset is no record, has another version, or lacks a variable.
    """
    version = dataset.attrs.get("format_version")
    if version is None or "blocks" not in dataset.attrs or "cutoff" not in dataset.attrs:
        raise UserError("The dataset is no attention record: it was not made by to_xarray.")
    if int(version) != FORMAT_VERSION:
        raise UserError(
            f"The dataset has attention record version {int(version)}, this package reads "
            f"{FORMAT_VERSION}: compute the record again with this package."
        )
    blocks = dataset.attrs["blocks"].split()
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, (where, dims, _) in _variables(blocks, dataset).items():
        if name not in dataset:
            raise UserError(f"The dataset lacks the variable '{name}': it is not complete.")
        path, _, field = where.rpartition(".")
        parts.setdefault(path, {})[field] = dataset[name].transpose(*dims).values
    whole = parts.pop("")
    if far := parts.pop("spherical", None):
        attention = BlockAttention(**parts.pop("spherical.attention"))
        whole["spherical"] = SphericalAttention(**far, attention=attention)
    whole |= {block: BlockAttention(**part) for block, part in parts.items()}
    for name in ("degree", "order"):
        whole[f"{name}s"] = tuple(dataset[name].values.tolist()) if name in dataset.coords else ()
    whole["cutoff_kind"] = dataset.attrs.get("cutoff_kind", "cosine")
    return AttentionRecord(cutoff=float(dataset.attrs["cutoff"]), **whole)


def save_netcdf(record: AttentionRecord, path: str | os.PathLike) -> Path:
    """Write `to_xarray` as one netCDF file, complete or not at all. Returns the path.

    Raises:
        UserError: the record has no pairs, or xarray finds nothing that writes netCDF;
            :meth:`AttentionRecord.save` can either way.
    """
    path, dataset = Path(path), to_xarray(record)
    if 0 in dataset.sizes.values():  # read back, a length of 0 would mean one that may grow
        raise UserError("netCDF has no place for a record without pairs: write record.save(...).")
    try:
        with replacing(path) as part:
            dataset.to_netcdf(part)
    except (ImportError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"No netCDF file could be written ({error}): install scipy or netCDF4, or write the "
            "record with record.save(...)."
        ) from None
    return path


def load_netcdf(path: str | os.PathLike) -> AttentionRecord:
    """Read what `save_netcdf` wrote."""
    xr, path = imported("xarray"), Path(path)
    if not path.is_file():
        raise UserError(f"No attention record at '{path}': check the path.")
    try:
        with xr.open_dataset(path) as dataset:
            return from_xarray(dataset.load())
    except (ImportError, OSError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"'{path}' is not a readable netCDF file ({error}).") from None


def imported(name: str, extra: str = "analysis") -> ModuleType:
    """pandas, xarray or another package of an extra, where it is there."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise UserError(
            f"{package} is not installed: pip install 'so3krates-lite[{extra}]' brings it."
        ) from None
