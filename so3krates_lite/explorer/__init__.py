"""The attention explorer: see what a model looks at, in 3D, and test whether it matters.

    >>> from so3krates_lite.explorer import explore
    >>> explore("ethanol-gfn2", "ethanol-gfn2")

`explore` opens linked views in a notebook; `diagnose` says what is installed and what is missing.
Drawing is in `drawing` and the choices in `state`: plain functions that know of no widget.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {"Explorer": "app", "ViewState": "state", "diagnose": "diagnosis", "explore": "app"}
__all__ = ["Explorer", "ViewState", "diagnose", "explore"]

if TYPE_CHECKING:
    from so3krates_lite.explorer.app import Explorer, explore
    from so3krates_lite.explorer.diagnosis import diagnose
    from so3krates_lite.explorer.state import ViewState


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
