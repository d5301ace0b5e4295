"""Arrays on disk: files that are complete or absent, never half-written.

Weights and states of training are safetensors, which say in their header what they are. Data are
npz, which numpy alone reads: frames, splits, records of attention. Both carry a format version; a
file of another kind or version is refused in one sentence.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from so3krates_lite.errors import UserError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A neighbouring path of the same ending to write to; it takes ``path``'s place at the end.

    If anything goes wrong, what stood at ``path`` before stays and nothing else is left.

    Raises:
        UserError: the place cannot be written to
    """
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}): name a place that you may "
            "write to and that has room."
        ) from error


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    """A file beside ``path``, which is flushed to disk before it takes its place."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a neighbouring temporary file, flush it to disk, then rename it into place."""
    with _writing(path) as file:
        file.write(content)


def save_npz(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays to one compressed npz."""
    with _writing(path) as file:
        np.savez_compressed(file, **arrays)


def load_npz(path: Path, kind: str, version: int, remedy: str) -> dict[str, np.ndarray]:
    """Read what `save_npz` wrote, without its ``format_version``; pickled objects stay closed.

    Raises:
        UserError: the file is missing, damaged, or of another format version, against which
            ``remedy`` is told
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}: a {kind} is expected there.")
    try:
        # numpy leaves a damaged file open when it is given a path
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
        if "format_version" not in arrays:
            raise ValueError("it states no format_version")
        found = int(arrays.pop("format_version"))
    except Exception as error:  # zip, header and pickle troubles all mean the same here
        raise UserError(f"{path} cannot be read as a {kind}: {error}.") from None
    check_version(path, found, version, remedy)
    return arrays


def check_version(what: Path | str, found: int, reads: int, remedy: str = "") -> None:
    """Refuse another format than the one that is read; "" for a remedy: there is but one."""
    if found != reads:
        age = "an older" if found < reads else "a newer"
        raise UserError(
            f"{what} was written by {age} version of so3krates-lite (format {found}; this version "
            f"reads format {reads}): install the matching version{remedy and f' or {remedy}'}."
        )


def save_arrays(
    path: Path, kind: str, version: int, arrays: dict[str, np.ndarray], header: dict[str, Any]
) -> None:
    """Write ``arrays`` and a JSON-able ``header`` to one safetensors file."""
    from safetensors.numpy import save

    arrays = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    metadata = {
        "kind": kind,
        "format_version": str(version),
        "header": json.dumps(header, default=_plain),
    }
    write_atomically(Path(path), save(arrays, metadata))


def _plain(value: Any) -> Any:
    """numpy's numbers as Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a header holds plain values only, found {type(value).__name__}")


def as_json(value: Any) -> Any:
    """As JSON knows it: lists for arrays and tuples, null where there is no finite number."""
    if isinstance(value, dict):
        return {name: as_json(each) for name, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def kind_of(path: Path) -> str:
    """What a safetensors file says it holds; "" where it does not, or cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("kind", "")
    except (SafetensorError, OSError):
        return ""


def load_arrays(path: Path, kind: str, version: int) -> tuple[dict[str, np.ndarray], dict]:
    """Read what `save_arrays` wrote.

    Raises:
        UserError: the file is missing, damaged, of another kind, or of another format version
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no file {path}: a {kind} (.safetensors) is expected there.")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read as a {kind}: {error}.") from None
    found = metadata.get("kind", "a safetensors file of another program")
    if found != kind:
        raise UserError(f"{path} holds {found}, but a {kind} is expected.")
    try:
        found_version = int(metadata["format_version"])
        header = json.loads(metadata["header"])
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged: its header cannot be read ({error}).") from None
    check_version(path, found_version, version, "train again")
    return arrays, header
