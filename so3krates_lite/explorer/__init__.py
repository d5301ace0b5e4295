"""The attention explorer: see what a model looks at, in 3D, and test whether it matters.

    >>> from so3krates_lite.explorer import explore
    >>> explore("ethanol-gfn2", "ethanol-gfn2")

`explore` opens linked views in a notebook; `diagnose` says what is installed and what is missing.
Drawing is in `drawing` and the choices in `state`: plain functions that know of no widget.
"""

from so3krates_lite.runtime.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {"Explorer": "app", "ViewState": "state", "diagnose": "diagnosis", "explore": "app"},
)
