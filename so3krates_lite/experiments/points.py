"""Results as a CSV file: a row for every point, headed by a comment line for each fact."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from so3krates_lite.errors import UserError
from so3krates_lite.runtime.files import write_atomically
from so3krates_lite.units import convert

Point = TypeVar("Point")
KINDS = {"int": int, "float": float, "str": str}


def write_points(path: Path, points: Sequence[Any], facts: dict[str, Any]) -> None:
    """Write dataclasses of numbers and words, all of one kind, and what they were made with."""
    text = io.StringIO()
    for name, value in facts.items():
        text.write(f"# {name}: {json.dumps(value, ensure_ascii=False)}\n")
    writer = csv.DictWriter(text, [f.name for f in fields(points[0])], lineterminator="\n")
    writer.writeheader()
    for point in points:
        numbers = asdict(point)
        digits = {k: float(f"{v:.5g}") for k, v in numbers.items() if isinstance(v, float)}
        writer.writerow({**numbers, **digits})
    write_atomically(path, text.getvalue().encode())


def curve_of(points: Sequence[Any], along: str, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """The values of the field ``along``, rising, and at each the ``quantity`` of every seed,
    (values, seeds), in kcal/mol(/Å)."""
    places = sorted({getattr(point, along) for point in points})
    errors = [
        [convert(getattr(p, quantity), "eV", "kcal/mol") for p in points if getattr(p, along) == n]
        for n in places
    ]
    return np.array(places), np.array(errors)


def read_points(
    path: Path, kind: type[Point], wanted: dict[str, Any] | None = None
) -> tuple[list[Point], dict[str, Any]]:
    """The points and the facts of a file that `write_points` wrote.

    Raises:
        UserError: the file is none of those, or was made with another model or other settings than
            the facts ``wanted``
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        head = [line[2:].split(": ", 1) for line in lines if line.startswith("# ")]
        facts = {name: json.loads(value) for name, value in head}
        rows = csv.DictReader(line for line in lines if not line.startswith("#"))
        kinds = {f.name: KINDS[str(f.type)] for f in fields(kind)}  # type: ignore[arg-type]
        if rows.fieldnames != list(kinds):
            raise ValueError(f"its columns are not {', '.join(kinds)}")
        points = [kind(**{name: kinds[name](value) for name, value in row.items()}) for row in rows]
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"{path} holds no results that can be read ({error}).") from None
    # a file from before there was a choice is Adam's, of the paper's norm and one network's
    before = {
        "model": {"sphc_invariant": "norm"},
        "training": {"optimiser": "adam", "members": 1},
    }
    made = {**facts, **{name: {**old, **facts.get(name, {})} for name, old in before.items()}}
    for name, value in (wanted or {}).items():
        if made.get(name) != value:
            raise UserError(
                f"{path} holds results of another setting of {name!r} than this one: "
                f"name another folder, or remove that file."
            )
    return points, facts
