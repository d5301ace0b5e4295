"""Every number that the explorer has shown, as a file: csv, json or npz.

A table is a dictionary of columns; what is the same in all lines stands there once. Tables of
several kinds go into one file: in csv one below the other, with the union of their columns and
``table`` first; in json as a list; in npz as arrays ``0.receiver``, ``0.score``, ….
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from so3krates_lite.errors import UserError
from so3krates_lite.explorer.drawing import values_of
from so3krates_lite.explorer.questions import Table, about
from so3krates_lite.explorer.state import ViewState
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.runtime.files import as_json, save_npz, write_atomically

ENDINGS = (".csv", ".json", ".npz")


def attention_table(record: AttentionRecord, state: ViewState) -> Table:
    """The directed pairs of the shown frame, block, layer and channel; images apart."""
    pairs, index = record.neighbours(state.block), record.pairs(state.frame, state.block)
    return about("attention", record, state) | {
        "receiver": pairs.receiver[index],
        "sender": pairs.sender[index],
        "distance_A": pairs.distance[index],
        state.quantity: values_of(record, state),
    }


def key_of(table: Table) -> str:
    """What was asked: two tables with the same key are answers to the same question."""
    return json.dumps({k: v for k, v in table.items() if isinstance(v, str | int)})


def lines_of(table: Table) -> list[dict[str, Any]]:
    """The table line by line, plain values."""
    n = max((len(v) for v in table.values() if isinstance(v, np.ndarray)), default=1)
    columns = {
        name: v.tolist() if isinstance(v, np.ndarray) else [v] * n for name, v in table.items()
    }
    return [dict(zip(columns, line, strict=True)) for line in zip(*columns.values(), strict=True)]


def write_tables(path: str | Path, tables: Sequence[Table], title: str = "") -> Path:
    """Write tables to one file, complete or not at all; its ending says the kind. Gives the path.

    Raises:
        UserError: another ending, or a place that may not be written to
    """
    path = Path(path).expanduser().resolve()
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise UserError(f"{path.name}: the name should end in one of {', '.join(ENDINGS)}.")
    if ending == ".npz":
        arrays = {f"{n}.{k}": v for n, table in enumerate(tables) for k, v in table.items()}
        save_npz(path, {k: v for k, v in arrays.items() if v is not None} | {"title": title})
        return path
    if ending == ".json":
        content = as_json({"title": title, "tables": list(tables)})
        text = json.dumps(content, indent=1, allow_nan=False)
    else:
        names = list(dict.fromkeys(name for table in tables for name in table))
        file = io.StringIO()
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for table in tables:
            writer.writerows(lines_of(table))
        text = file.getvalue()
    write_atomically(path, text.encode())
    return path
