"""So3krates: equivariant attention for atoms, to learn from, to use and to take apart.

    >>> import so3krates_lite as s3
    >>> potential = s3.load_potential("ethanol-gfn2")
    >>> frames = s3.load("ethanol-gfn2")[:10]
    >>> potential.predict(frames).forces
    >>> potential.attention(frames).matrix(frame=0, block="feature", layer=0, channel=0)
    >>> s3.explore(potential, frames)

Everything is in eV, Å and e. Names are imported when they are first used, so that
``import so3krates_lite`` itself takes no time.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from so3krates_lite.runtime.faces import face

__version__ = "0.1.0"

_HOME = {
    "AttentionRecord": "record",
    "Ensemble": "ensemble",
    "Frames": "structures",
    "FramesOnDisk": "datasets",
    "GeomAtt": "geomatt",
    "GeomAttConfig": "config",
    "Potential": "potential",
    "REGISTRY": "datasets",
    "So3krates": "model",
    "So3kratesCalculator": "simulate",
    "So3kratesConfig": "config",
    "Split": "datasets",
    "TrainConfig": "training",
    "UserError": "errors",
    "evaluate": "training",
    "explore": "explorer",
    "fetch": "published",
    "fit_filters": "simulate",
    "load": "datasets",
    "load_potential": "ensemble",
    "open_attention": "record",
    "record_trajectory": "record",
    "relax": "simulate",
    "run_md": "simulate",
    "run_nve": "simulate",
    "train": "training",
    "vibrations": "simulate",
}
# modules that stood at the top, and lead to their rooms until the next release
_MOVED = {
    "analysis": "record.analysis",
    "causal": "interpret.switching",
    "curves": "drawing.error_curves",
    "figures": "drawing.figures",
    "frames": "structures.frames",
    "graph": "structures.graph",
    "scene": "drawing.scene",
    "stills": "drawing.stills",
    "tables": "record.tables",
}

__all__ = [
    "REGISTRY",
    "AttentionRecord",
    "Ensemble",
    "Frames",
    "FramesOnDisk",
    "GeomAtt",
    "GeomAttConfig",
    "Potential",
    "So3krates",
    "So3kratesCalculator",
    "So3kratesConfig",
    "Split",
    "TrainConfig",
    "UserError",
    "__version__",
    "evaluate",
    "explore",
    "fetch",
    "fit_filters",
    "load",
    "load_potential",
    "open_attention",
    "record_trajectory",
    "relax",
    "run_md",
    "run_nve",
    "train",
    "vibrations",
]

if TYPE_CHECKING:
    from so3krates_lite.config import GeomAttConfig, So3kratesConfig
    from so3krates_lite.datasets import REGISTRY, FramesOnDisk, Split, load
    from so3krates_lite.ensemble import Ensemble, load_potential
    from so3krates_lite.errors import UserError
    from so3krates_lite.explorer import explore
    from so3krates_lite.geomatt import GeomAtt
    from so3krates_lite.model import So3krates
    from so3krates_lite.potential import Potential
    from so3krates_lite.published import fetch
    from so3krates_lite.record.attention_record import AttentionRecord
    from so3krates_lite.record.lazily import open_attention
    from so3krates_lite.record.trajectory import record_trajectory
    from so3krates_lite.simulate.calculator import So3kratesCalculator
    from so3krates_lite.simulate.dynamics import relax, run_nve
    from so3krates_lite.simulate.modes import vibrations
    from so3krates_lite.simulate.molecular_dynamics import run_md
    from so3krates_lite.simulate.polynomial_filters import fit_filters
    from so3krates_lite.structures.frames import Frames
    from so3krates_lite.training import TrainConfig, train
    from so3krates_lite.training.evaluation import evaluate

_of_room = face(__name__, _HOME)[0]


def __getattr__(name: str) -> Any:
    if name in _MOVED:
        warnings.warn(
            f"{__name__}.{name} is now {__name__}.{_MOVED[name]}: import it from there.",
            DeprecationWarning,
            stacklevel=2,
        )
        return import_module(f"{__name__}.{_MOVED[name]}")
    return _of_room(name)


def __dir__() -> list[str]:
    return __all__
