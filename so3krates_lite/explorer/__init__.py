"""The attention explorer: see what a model looks at, in 3D, and test whether it matters.

    >>> from so3krates_lite.explorer import explore
    >>> explore("ethanol-gfn2", "ethanol-gfn2")

`explore` opens linked views in a notebook, `explore_two` two of them side by side; `diagnose` says
what is installed and what is missing. Drawing is in `drawing`, questions to the model are in
`questions` and `importance`, files in `numbers`, the choices in `state`: plain functions that know
of no widget.
"""

from so3krates_lite.runtime.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "Explorer": "app",
        "SideBySide": "beside",
        "ViewState": "state",
        "compare_records": "beside",
        "diagnose": "diagnosis",
        "explore": "app",
        "explore_two": "beside",
    },
)
