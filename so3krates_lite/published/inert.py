"""Reading other people's pickles without running them.

A pickle is a program: it may name any function of any module and have it called. Here nothing is
imported and nothing called but what stands in this file: arrays are read by numpy, and an object of
any other class becomes a `Shell`, a name with contents. A pickle that asks for a function is
refused.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from so3krates_lite.errors import UserError

_STORAGES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "LongStorage": "<i8"}


class Shell:
    """An object whose class is not there: its class's name, and what it held."""

    def __new__(cls, *_: Any, **__: Any) -> Shell:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)

    def __getitem__(self, path: str) -> Any:
        """A parameter by the path of modules to it, as in ``"layers.0.weight"``."""
        found: Any = self
        for name in path.split("."):
            for held in ("_modules", "_parameters", "_buffers"):
                if name in getattr(found, held, {}):
                    found = getattr(found, held)[name]
                    break
            else:
                raise KeyError(path)
        return found


@dataclass(frozen=True)
class _Storage:
    values: np.ndarray


def _tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> np.ndarray:
    """What torch's `_rebuild_tensor_v2` makes; the numbers it names must be there."""
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if min((offset, *shape, *strides), default=0) < 0 or last >= len(storage.values):
        raise pickle.UnpicklingError("a tensor reaches beyond its numbers")
    size = storage.values.itemsize
    view = np.lib.stride_tricks.as_strided(
        storage.values[offset:], shape, [step * size for step in strides]
    )
    return np.array(view)


def _first(value: Any, *_: Any) -> Any:
    return value


class _Dtype:
    """A kind of numbers, such as "f4"; its byte order comes as state."""

    def __init__(self, kind: str, *_: Any) -> None:
        self.kind = kind

    def __setstate__(self, state: tuple) -> None:
        self.kind = state[1] + self.kind


class _Array:
    """Where a numpy array is put together: shape, kind and bytes come as state."""

    values = np.zeros(0)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, by_columns, data = state
        if not isinstance(data, bytes) or dtype.kind not in _STORAGES.values():
            raise pickle.UnpicklingError("it holds an array of something else than numbers")
        self.values = np.frombuffer(data, dtype.kind).reshape(shape, order="CF"[by_columns])


_CALLABLE: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("collections", "OrderedDict"): dict,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
}


class _Inert(pickle.Unpickler):
    """Gives out the functions above, names of storages, and shells for classes of ``packages``."""

    def __init__(
        self,
        stream: io.BytesIO,
        packages: tuple[str, ...],
        storage: Callable[[str, str, int], _Storage] | None = None,
    ) -> None:
        super().__init__(stream)
        self.packages, self.storage = packages, storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _CALLABLE:
            return _CALLABLE[module, name]
        if module == "torch" and name in ("float32", *_STORAGES):
            return _STORAGES.get(name, name)
        if self.packages and module.startswith(self.packages) and name[:1].isupper():
            return type(name, (Shell,), {})
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, key: Any) -> _Storage:
        kind, dtype, name, _, count = key
        if self.storage is None or kind != "storage" or dtype not in _STORAGES.values():
            raise pickle.UnpicklingError(f"it asks for a storage of kind {dtype}")
        return self.storage(str(name), dtype, int(count))


def _loading(path: Path, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # whatever a damaged or hostile file makes the machine do
        reason = str(error) or type(error).__name__
        raise UserError(
            f"{path} cannot be read as weights ({reason}): fetch it anew, and do not open such a "
            f"file with anything that runs what it contains."
        ) from error


def read_numpy(path: Path) -> dict[str, Any]:
    """A pickled tree of dictionaries of numpy arrays.

    Raises:
        UserError: the file is no such tree, is damaged, or asks for anything else
    """

    def values(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {str(name): values(part) for name, part in tree.items()}
        if not isinstance(tree, _Array):
            raise pickle.UnpicklingError(f"it holds a {type(tree).__name__}")
        return tree.values

    return _loading(path, lambda: values(_Inert(io.BytesIO(path.read_bytes()), ()).load()))


def read_torch(path: Path, packages: tuple[str, ...]) -> Shell:
    """The module that ``torch.save`` has written, its tensors as arrays, its classes as shells.

    Args:
        path: the file
        packages: modules whose classes may occur in it, by the beginning of their names

    Raises:
        UserError: the file is no such archive, is damaged, or asks for anything else
    """

    def load() -> Shell:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            (root,) = {name.split("/")[0] for name in names}
            order = f"{root}/byteorder"
            if order in names and archive.read(order) != b"little":
                raise pickle.UnpicklingError("its numbers are big-endian")

            def storage(name: str, dtype: str, count: int) -> _Storage:
                values = np.frombuffer(archive.read(f"{root}/data/{name}"), dtype)
                if len(values) != count:
                    raise pickle.UnpicklingError(f"data/{name} is cut short")
                return _Storage(values)

            stream = io.BytesIO(archive.read(f"{root}/data.pkl"))
            found = _Inert(stream, packages, storage).load()
        if not isinstance(found, Shell):
            raise pickle.UnpicklingError(f"it holds a {type(found).__name__}")
        return found

    return _loading(path, load)
