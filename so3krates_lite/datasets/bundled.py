"""Models that come with the package: their names, files and splits."""

from __future__ import annotations

from pathlib import Path

from so3krates_lite.datasets.places import bundled_path
from so3krates_lite.datasets.splits import Split
from so3krates_lite.errors import UserError


def bundled_potentials() -> list[str]:
    """Names of the potentials that come with the package."""

    folder = bundled_path("README.md").parent / "models"
    return sorted(path.stem for path in folder.glob("*.safetensors"))


def bundled_split(name: str) -> Split:
    """Which frames of its data a bundled potential was trained, validated and not trained on."""

    return Split.load(bundled_path(f"models/{name}.split.npz"))


def bundled_model(name: str) -> Path:

    known = bundled_potentials()
    if name not in known:
        raise UserError(
            f"There is no model file {name} and no bundled model of that name; "
            f"bundled are: {', '.join(known) or 'none'}."
        )
    return bundled_path(f"models/{name}.safetensors")
