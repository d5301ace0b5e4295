"""Dividing frames into training, validation and test sets.

Training frames teach, validation frames choose (when to stop, which weights to keep), test frames
only judge. A frame must never serve twice; where frames share a geometry, or a molecule, or a
trajectory, a *group* keeps them together, because a model that has seen a frame's twin is not
tested by it.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import ArrayLike

from so3krates_lite.datasets.on_disk import FramesOnDisk
from so3krates_lite.errors import UserError
from so3krates_lite.runtime.files import check_version, load_npz, save_npz, write_atomically
from so3krates_lite.structures.frames import Frames

FORMAT_VERSION = 1
N_STRATA = 10


@dataclass(frozen=True, eq=False, init=False)
class Split:
    """Frame numbers of the three sets, disjoint by construction.

    Raises:
        UserError: a frame occurs twice or is negative, or there are no training frames.
    """

    train: Int[np.ndarray, "train"]
    valid: Int[np.ndarray, "valid"]
    test: Int[np.ndarray, "test"]
    seed: int
    strategy: str

    # written out, since it takes more types than the fields hold
    def __init__(
        self, train: ArrayLike, valid: ArrayLike, test: ArrayLike, seed: int, strategy: str
    ) -> None:
        for name, frames in (("train", train), ("valid", valid), ("test", test)):
            index = np.array(frames, dtype=np.int64).reshape(-1)
            index.flags.writeable = False
            object.__setattr__(self, name, index)
        object.__setattr__(self, "seed", seed)
        object.__setattr__(self, "strategy", strategy)
        every = np.concatenate([self.train, self.valid, self.test])
        values, counts = np.unique(every, return_counts=True)
        if len(self.train) == 0:
            raise UserError("the split has no training frames: ask for at least one")
        if (counts > 1).any():
            frame = values[counts > 1][0]
            raise UserError(f"frame {frame} occurs more than once in the split: sets must not meet")
        if values[0] < 0:
            raise UserError(f"the split names the frame {values[0]}: frames count from 0")

    def __repr__(self) -> str:
        sizes = f"{len(self.train)} train, {len(self.valid)} valid, {len(self.test)} test"
        return f"Split({sizes}, {self.strategy}, seed {self.seed})"

    def check(self, frames: Frames | FramesOnDisk) -> None:
        """Raise `UserError` if the split names frames that `frames` does not have."""
        top = max(int(part.max()) for part in (self.train, self.valid, self.test) if len(part))
        if top >= len(frames):
            raise UserError(
                f"the split names frame {top}, but there are only {len(frames)} frames: it belongs "
                f"to other data, or to more of it."
            )

    def fingerprint(self, frames: Frames | FramesOnDisk) -> str:
        """Eight digits that tell these training frames from others."""
        if isinstance(frames, FramesOnDisk):
            return frames.only(self.train).fingerprint
        chosen = frames[self.train].trimmed()
        arrays = (chosen.numbers, chosen.positions, chosen.energy, chosen.forces)
        parts = [np.asarray(a, float).round(6) + 0.0 for a in arrays if a is not None]
        return f"{zlib.crc32(b''.join(part.tobytes() for part in parts)):08x}"

    def without(self, frames: Bool[np.ndarray, "frames"]) -> Split:
        """The split without the chosen frames."""
        kept = {n: getattr(self, n) for n in ("train", "valid", "test")}
        return replace(self, **{name: part[~frames[part]] for name, part in kept.items()})

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to .npz or .json, by the ending of the name; complete or not at all."""
        path = Path(path)
        content = {
            "format_version": FORMAT_VERSION,
            "seed": self.seed,
            "strategy": self.strategy,
            "train": self.train,
            "valid": self.valid,
            "test": self.test,
        }
        if path.suffix == ".npz":
            save_npz(path, content)
        elif path.suffix == ".json":
            plain = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in content.items()}
            write_atomically(path, json.dumps(plain).encode())
        else:
            raise UserError(f"{path} should end in .npz or .json: splits are saved in those")
        return path

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Split:
        """Read what `save` wrote."""
        path, remedy = Path(path), "split again"
        try:
            if path.suffix == ".json":
                content = json.loads(path.read_text(encoding="utf-8"))
                check_version(path, int(content["format_version"]), FORMAT_VERSION, remedy)
            else:
                content = load_npz(path, "split file", FORMAT_VERSION, remedy)
            return Split(
                content["train"],
                content["valid"],
                content["test"],
                seed=int(content["seed"]),
                strategy=str(content["strategy"]),
            )
        except UserError:
            raise
        except FileNotFoundError as error:
            raise UserError(f"There is no file {path}: a split file is expected there.") from error
        except Exception as error:  # damaged in any of many ways
            raise UserError(f"{path} cannot be read as a split file: {error}.") from error


def random_split(
    frames: Frames | FramesOnDisk,
    n_train: int,
    n_valid: int,
    n_test: int | None = None,
    seed: int = 0,
) -> Split:
    """Frames drawn at random; `n_test=None` takes all that remain.

    Raises:
        UserError: more frames are asked for than there are.
    """
    n_test = _sizes(len(frames), n_train, n_valid, n_test)
    order = _generator(seed).permutation(len(frames))
    return _cut(order, n_train, n_valid, n_test, seed, "random")


def energy_stratified_split(
    frames: Frames | FramesOnDisk,
    n_train: int,
    n_valid: int,
    n_test: int | None = None,
    seed: int = 0,
) -> Split:
    """Every set gets its share of low, middle and high energies.

    Frames are sorted by energy per atom after removing each composition's mean, cut into strata of
    equal size, and each set draws from every stratum in turn.
    """
    n_test = _sizes(len(frames), n_train, n_valid, n_test)
    if frames.energy is None:
        why = frames.lacking("energy")
        raise UserError(f"these frames have no energies to stratify by{why}: use random_split")
    rng = _generator(seed)
    composition = frames.composition
    mean = np.bincount(composition, frames.energy) / np.bincount(composition)
    height = (frames.energy - mean[composition]) / frames.n_atoms
    strata = np.array_split(np.argsort(height, kind="stable"), min(N_STRATA, len(frames)))
    # spread each stratum evenly along one line, then thin the line: any cut of it is fair
    place = np.empty(len(frames))
    for stratum in strata:
        place[rng.permutation(stratum)] = (np.arange(len(stratum)) + rng.random()) / len(stratum)
    order = np.argsort(place, kind="stable")
    return _cut(order, n_train, n_valid, n_test, seed, "energy-stratified")


def group_split(
    frames: Frames | FramesOnDisk,
    n_train: int,
    n_valid: int,
    n_test: int | None = None,
    seed: int = 0,
) -> Split:
    """No group is divided between sets; sets may hold fewer frames than asked, never more.

    Groups are drawn at random and go to the training set while they fit, then to the validation
    set, then to the test set.

    Raises:
        UserError: frames have no groups, or a set would stay empty although frames were asked.
    """
    n_test = _sizes(len(frames), n_train, n_valid, n_test)
    if frames.group is None:
        why = frames.lacking("group")
        raise UserError(
            f"these frames have no groups{why}: give them with frames.replace(group=...)"
        )
    rng = _generator(seed)
    labels, group = np.unique(frames.group, return_inverse=True)
    members = [np.flatnonzero(group == g) for g in range(len(labels))]
    sets: dict[str, list[np.ndarray]] = {"train": [], "valid": [], "test": []}
    room = {"train": n_train, "valid": n_valid, "test": n_test}
    for g in rng.permutation(len(labels)):
        for name in sets:
            if room[name] >= len(members[g]):
                sets[name].append(members[g])
                room[name] -= len(members[g])
                break
    for name, wanted in (("train", n_train), ("valid", n_valid), ("test", n_test)):
        if wanted and not sets[name]:
            raise UserError(
                f"no group fits into the {name} set of {wanted} frames: there are {len(labels)} "
                f"groups of up to {max(map(len, members))} frames; ask for more frames"
            )
    empty = np.zeros(0, dtype=np.int64)
    train, valid, test = (
        rng.permutation(np.concatenate(parts)) if parts else empty for parts in sets.values()
    )
    return Split(train, valid, test, seed, "group")


def group_or_random_split(
    frames: Frames,
    n_train: int,
    n_valid: int,
    n_test: int | None = None,
    seed: int = 0,
) -> Split:
    """A split that keeps groups apart, where there are some, and else a random one.

    Half of the groups teach, however few frames are asked for, so that also a small training set
    holds frames of many groups.

    Args:
        n_train, n_valid, n_test: numbers of frames; ``n_test=None``: all that remain
        seed: of the split

    Raises:
        UserError: there are too few frames for sets of that size out of whole groups.
    """
    if frames.group is None:
        return random_split(frames, n_train, n_valid, n_test, seed)
    largest = largest_group(frames)
    room = max(n_valid, largest)
    rest = 0 if n_test == 0 else max(n_test or 0, largest)
    pool = max(n_train, min(len(frames) // 2, len(frames) - room - rest))
    if pool + room + rest > len(frames):
        test = "" if n_test == 0 else f" and {n_test or 1} test"
        raise UserError(
            f"{n_train} training, {n_valid} validation{test} frames are asked for, but with groups "
            f"of up to {largest} frames kept whole {len(frames)} frames are too few: ask for fewer."
        )
    whole = group_split(frames, pool, room, None, seed)
    parts = (whole.train[:n_train], whole.valid[:n_valid], whole.test[:n_test])
    return Split(*parts, seed, "group")


STRATEGIES: dict[str, Callable[..., Split]] = {
    "random": random_split,
    "energy-stratified": energy_stratified_split,
    "group": group_split,
}


def largest_group(frames: Frames) -> int:
    """How many frames the largest group has, which stay together; 1 without groups."""
    return 1 if frames.group is None else int(np.unique(frames.group, return_counts=True)[1].max())


def _sizes(n: int, n_train: int, n_valid: int, n_test: int | None) -> int:
    for name, size in (("n_train", n_train), ("n_valid", n_valid), ("n_test", n_test or 0)):
        if size < 0:
            raise UserError(f"{name} is {size}: it cannot be negative")
    if n_train < 1:
        raise UserError("n_train is 0: training needs at least one frame")
    asked = n_train + n_valid + (n_test or 0)
    if asked > n:
        parts = f"{n_train} train, {n_valid} valid, {n_test or 0} test"
        raise UserError(f"{asked} frames were asked for ({parts}), but there are only {n}")
    return n - n_train - n_valid if n_test is None else n_test


def _generator(seed: int) -> np.random.Generator:
    if seed < 0:
        raise UserError(f"seed is {seed}: it cannot be negative")
    return np.random.default_rng(seed)


def _cut(
    order: np.ndarray, n_train: int, n_valid: int, n_test: int, seed: int, strategy: str
) -> Split:
    stops = np.cumsum([n_train, n_valid, n_test])
    return Split(
        order[: stops[0]],
        order[stops[0] : stops[1]],
        order[stops[1] : stops[2]],
        seed,
        strategy,
    )
