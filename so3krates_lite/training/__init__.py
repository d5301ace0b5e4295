"""Training: from labelled frames to a potential, on the device, resumable at any moment.

`train` is the one entry; `TrainConfig` holds every setting.
"""

from so3krates_lite.training.config import TrainConfig
from so3krates_lite.training.loop import train

__all__ = ["TrainConfig", "train"]
