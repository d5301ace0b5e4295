"""Structures of unlike size, in batches of like size.

A batch has one shape, that of its largest structure: one large molecule among many small ones would
make all of them as costly as itself. So structures are put into *buckets* of like size, each with a
shape of its own. But every shape must be compiled, which takes seconds; a little padding is
cheaper. There are therefore as few buckets as keep the work, padding included, below `SPARE` times
what it would be with a bucket for every rung of a fine ladder of sizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from jaxtyping import Int

from so3krates_lite.config import ModelConfig
from so3krates_lite.structures.batching import PairLists, check_size, make_batch, round_up
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch

SPARE = 1.5

Index = Int[np.ndarray, "_structures"]  # of one bucket, which differ in length


def bucketed_batches(
    frames: Frames, config: ModelConfig, *, spare: bool = False, dtype: np.dtype | type = np.float32
) -> list[tuple[Index, Batch]]:
    """Which structures each bucket holds, in their order, and their batch; small ones first.

    Structures of like size make one bucket, and the batch that `make_batch` makes.

    Args:
        frames, config, dtype: as of `make_batch`
        spare: round sizes up to ladders, so that sets of nearly equal size share compilations; the
            room for atoms is never more than the largest structure of all needs
    """
    check_size(frames, config, dtype)
    lists = PairLists.of(frames, config)
    sizes = np.column_stack([frames.n_atoms, lists.numbers])
    batches = []
    for index in buckets(sizes):
        atoms = int(sizes[index, 0].max())
        if spare:
            atoms = min(round_up(atoms), int(sizes[:, 0].max()))
        batch = make_batch(
            frames[index], config, atoms=atoms, spare=spare, dtype=dtype, lists=lists[index]
        )
        batches.append((index, batch))
    return batches


def in_parts(index: Index, size: int) -> Iterator[tuple[Index, Index]]:
    """``size`` structures of a bucket at a time: which they are in the set, and where they stand in
    the bucket, the last part filled up with its last one so that all have one shape."""
    for start in range(0, len(index), size):
        filled = np.minimum(np.arange(start, start + size), len(index) - 1)
        yield index[start : start + size], filled


def buckets(sizes: Int[np.ndarray, "structures kinds"], spare: float | None = None) -> list[Index]:
    """Structures by size: places for atoms, for pairs, … all cost alike. ``spare`` stands for
    `SPARE`."""
    rung = np.array([round_up(size) for size in sizes.sum(axis=1).tolist()])
    groups = [np.flatnonzero(rung == step) for step in np.unique(rung)]
    work = sum(padded(sizes[group]) for group in groups)
    allowed = (SPARE if spare is None else spare) * work
    while len(groups) > 1:
        joined = [np.sort(np.concatenate(both)) for both in pairwise(groups)]
        added = [
            padded(sizes[both]) - padded(sizes[small]) - padded(sizes[large])
            for both, (small, large) in zip(joined, pairwise(groups), strict=True)
        ]
        least = int(np.argmin(added))
        work += added[least]
        if work > allowed:
            break
        groups[least : least + 2] = [joined[least]]
    return groups


def padded(sizes: Int[np.ndarray, "structures kinds"]) -> int:
    """Places in a batch of such structures, filled or not."""
    return len(sizes) * int(sizes.max(axis=0).sum())
