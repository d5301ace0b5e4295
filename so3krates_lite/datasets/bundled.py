"""Models that come with the package: their names, files and splits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from so3krates_lite.datasets.places import bundled_path, cache_folder, data_folder
from so3krates_lite.datasets.splits import Split
from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames

PUBLISHED = ("so3lr",)  # potentials of others that can be fetched, see the room `published`


def bundled_potentials() -> list[str]:
    """Names of the potentials that come with the package."""

    folder = bundled_path("README.md").parent / "models"
    return sorted(path.stem for path in folder.glob("*.safetensors"))


def bundled_split(name: str, frames: Frames | None = None, fingerprint: str | None = None) -> Split:
    """Which frames of its data a bundled potential was trained, validated and not trained on.

    Args:
        name: of the potential
        frames: its data, as they are here; None: not to be looked at
        fingerprint: that of its training frames, as its card states it

    Raises:
        UserError: the frames are others than those that it was trained on
    """
    split = Split.load(bundled_path(f"models/{name}.split.npz"))
    if frames is not None:
        split.check(frames)
        if fingerprint not in (None, split.fingerprint(frames)):
            raise UserError(
                f"{name} was trained on other frames than the {len(frames)} that are here under "
                f"that name, so its split is not theirs (other labels, or not all of the set?): "
                f"name the frames to judge by as a file."
            )
    return split


def split_of_model(model: str, data: str, frames: Frames, card: Mapping[str, Any]) -> Split | None:
    """The split of a bundled potential, if ``frames`` are those that it was trained on; else None.

    Args:
        model: its name, or anything else that a potential is loaded from
        data: the name under which the frames were loaded, all of them
        frames: its data, as they are here
        card: that of the potential

    Raises:
        UserError: the frames are other ones, although their name is the model's, or that of the
            data that it was trained on
    """
    if model not in bundled_potentials():
        return None
    try:
        return bundled_split(model, frames, card.get("fingerprint"))
    except UserError:
        if data in (model, card.get("data")):
            raise
        return None


def kept_model(name: str, folder: Path | None = None) -> Path:
    """Where a published potential stands once it is fetched: in ``folder``, or in the cache."""
    return (folder or cache_folder() / name) / f"{name}.safetensors"


def fetched_model(name: str) -> Path | None:
    """The file of a published potential, under SO3KRATES_DATA or in the cache, if it is there."""
    places = [kept_model(name, folder) for folder in (data_folder(), None)]
    return next((place for place in places if place.is_file()), None)


def bundled_model(name: str) -> Path:
    """The file of a potential that comes with the package or has been fetched.

    Raises:
        UserError: there is none of that name here
    """
    known = bundled_potentials()
    if name in known:
        return bundled_path(f"models/{name}.safetensors")
    if (found := fetched_model(name)) is not None:
        return found
    if name in PUBLISHED:
        raise UserError(
            f"The published potential {name} is not on this machine yet: get it once with "
            f"`so3krates-lite data fetch {name}`."
        )
    raise UserError(
        f"There is no model file {name} and no model of that name; bundled are: "
        f"{', '.join(known) or 'none'}; published, to be fetched: {', '.join(PUBLISHED)}."
    )
