"""Potentials that others have published, as ours: fetched once, read without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from so3krates_lite import datasets
from so3krates_lite.datasets.bundled import PUBLISHED


def fetch(name: str, **options: Any) -> tuple[Path, ...]:
    """Get a data set or a published potential, once; what is there is kept.

    Args:
        name: a key of `REGISTRY`, or "so3lr"
        options: as of `datasets.fetch`: progress, timeout, force

    Returns:
        paths of the files, under SO3KRATES_CACHE or the user's cache folder

    Raises:
        UserError: as of `datasets.fetch`
    """
    if name not in PUBLISHED:
        return datasets.fetch(name, **options)
    from so3krates_lite.published import so3lr

    options.pop("timeout", None)
    return (so3lr.fetch(**options),)
