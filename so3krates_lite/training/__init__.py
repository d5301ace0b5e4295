"""Training: from labelled frames to a potential, on the device, resumable at any moment.

`train` is the one entry; `TrainConfig` holds every setting. `train` is imported when it is first
used, so that the settings can be read without JAX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from so3krates_lite.training.config import TrainConfig

if TYPE_CHECKING:
    from so3krates_lite.training.loop import train

__all__ = ["TrainConfig", "train"]


def __getattr__(name: str) -> Any:
    if name != "train":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from so3krates_lite.training.loop import train

    return train
