"""Where data lie on this machine: in the package, under SO3KRATES_DATA, or in the cache."""

from __future__ import annotations

import os
from pathlib import Path

from so3krates_lite.datasets.registry import REGISTRY, DatasetCard
from so3krates_lite.errors import UserError


def card(name: str) -> DatasetCard:
    """The card of a registered data set; `UserError` with near matches otherwise."""
    if name not in REGISTRY:
        raise unknown(name)
    return REGISTRY[name]


def unknown(name: str) -> UserError:
    """The error for a name that is neither registered nor a file."""
    from difflib import get_close_matches

    near = get_close_matches(name, REGISTRY, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "`so3krates-lite data list` shows all"
    return UserError(f"no data set or file is called {name!r}: {hint}")


def bundled_path(file: str) -> Path:
    """Where a file of the top-level folder data/ lies, in an installed package or in a clone.

    Raises:
        UserError: it is in neither place.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "_data", package.parent / "data"):
        if (folder / file).is_file():
            return folder / file
    raise UserError(
        f"the bundled file {file} is missing from this installation: install so3krates-lite anew, "
        f"or make bundled data with `so3krates-lite data generate`"
    )


def cache_folder() -> Path:
    """Where downloads are kept: SO3KRATES_CACHE, else the user's cache folder."""
    chosen = os.environ.get("SO3KRATES_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("so3krates-lite")


def data_folder() -> Path | None:
    """The folder named by SO3KRATES_DATA, or None.

    Raises:
        UserError: the variable names something that is not a folder.
    """
    chosen = os.environ.get("SO3KRATES_DATA")
    if not chosen:
        return None
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise UserError(f"SO3KRATES_DATA names {chosen!r}, which is not a folder")
    return folder


def locate(name: str) -> tuple[Path, ...]:
    """Files on this machine that hold a registered data set; empty if there are none.

    Looked for in this order: bundled with the package; under SO3KRATES_DATA; in the cache of
    downloads. All files of a data set must come from one place.
    """
    known = card(name)
    if known.bundled:
        return (bundled_path(known.local_names[0]),)
    folder = data_folder()
    if folder is not None:
        for local in known.local_names:
            if (folder / local).is_file():
                return (folder / local,)
    for place in (folder, cache_folder() / name):
        if place is None or not known.files:
            continue
        found = tuple(place / file.name for file in known.files)
        if all(path.is_file() for path in found):
            return found
    return ()
