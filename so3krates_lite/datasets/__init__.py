"""Data sets: what there is (`REGISTRY`), how to get (`fetch`), read (`load`) and divide them."""

from so3krates_lite.datasets.checks import check_plausible
from so3krates_lite.datasets.download import fetch
from so3krates_lite.datasets.frames_file import save_frames, write_frames
from so3krates_lite.datasets.loaders import load
from so3krates_lite.datasets.on_disk import FramesOnDisk
from so3krates_lite.datasets.places import bundled_path, card, locate
from so3krates_lite.datasets.registry import REGISTRY, DataFile, DatasetCard, PaperNumber
from so3krates_lite.datasets.splits import (
    STRATEGIES,
    Split,
    energy_stratified_split,
    group_or_random_split,
    group_split,
    random_split,
)

__all__ = [
    "REGISTRY",
    "STRATEGIES",
    "DataFile",
    "DatasetCard",
    "FramesOnDisk",
    "PaperNumber",
    "Split",
    "bundled_path",
    "card",
    "check_plausible",
    "energy_stratified_split",
    "fetch",
    "group_or_random_split",
    "group_split",
    "load",
    "locate",
    "random_split",
    "save_frames",
    "write_frames",
]
