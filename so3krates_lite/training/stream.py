"""Training frames that stay on disk, read ahead while the device works.

A step takes the same frames as in memory: the order of an epoch follows from the seed and the
epoch's number, and any frame can be found in the scratch file (`datasets.on_disk`). So the numbers
are those of training in memory, and a run is resumed as such a run is.

Before the first step all pairs are listed, once, into a second scratch file. How many each frame
has decides on the buckets, of which there are more than in memory where frames are many. Then an
epoch is cut into parts of a few steps. While the device computes one, a thread of grain reads the
frames of the next ones, fills up each bucket's to its shape and hands them over as one batch, so
that memory holds a few parts, whatever the size of the set. A part has the same shapes as any other
and needs no compilation of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from so3krates_lite.config import ModelConfig
from so3krates_lite.datasets.on_disk import FramesOnDisk
from so3krates_lite.errors import UserError
from so3krates_lite.runtime.scratch import Scratch
from so3krates_lite.structures.batching import PairLists, make_batch
from so3krates_lite.structures.buckets import Index, buckets, padded
from so3krates_lite.training.data import Bucketed, Chosen, Part, Targets
from so3krates_lite.training.devices import on_all
from so3krates_lite.training.objective import Labelled

AHEAD, THREADS = 2, 1  # parts that are read ahead; more threads wait for Python's lock
MOST_STEPS, MOST_BYTES = 16, 1 << 26  # of a part
# of so many frames, an epoch costs more than compiling: more buckets, less padding
MANY, SPARE = 20_000, 1.1


class StreamedSet(Bucketed):
    """Training frames on disk, in buckets, with what `TrainingSet` offers.

    Args:
        frames: those to train on
        targets: what makes labels of them
        batch_size: of a step
        mesh: the devices that share it

    Raises:
        UserError: grain is not installed, the model sums over images of a cell, or the disk is full
    """

    def __init__(
        self, frames: FramesOnDisk, targets: Targets, batch_size: int, mesh: Mesh | None = None
    ) -> None:
        self._grain = _grain()
        if targets.model.ewald:
            raise UserError("ewald needs all frames in memory: load them, or train without it.")
        self.frames, self.targets, self.mesh = frames, targets, mesh
        self._lists = ListsOnDisk(frames, targets.model, targets.dtype)
        sizes = np.column_stack([frames.n_atoms, self._lists.numbers])
        held = buckets(sizes, SPARE if len(frames) >= MANY else None)
        self._room = [np.maximum(sizes[index].max(axis=0), 1).tolist() for index in held]
        super().__init__(held, [sum(room[1:]) for room in self._room], batch_size)
        needed, places = int(sizes.sum()), sum(padded(sizes[index]) for index in held)
        self.facts = {"places lost to padding": f"{1 - needed / places:.1%}"}
        self._shape = [self._filled(k, index[:1]) for k, index in enumerate(held)]
        self.example = self._shape[0].batch  # of one frame

    def parts(self, orders: Int[np.ndarray, "members steps batch"]) -> Iterator[Part]:
        """What the device computes at once, read ahead."""
        (order,) = orders
        steps = self.steps_at_once(len(order))
        pieces = order.reshape(-1, steps, order.shape[1])
        options = self._grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)
        stream = self._grain.MapDataset.source(pieces).map(self._part).to_iter_dataset(options)
        for k, (data, chosen) in enumerate(stream):
            yield on_all(data, self.mesh), chosen, slice(k * steps, (k + 1) * steps)

    def steps_at_once(self, steps: int) -> int:
        """How many steps make a part: an epoch of ``steps`` is a whole number of them."""
        of_step = sum(leaf.nbytes for leaf in jax.tree.leaves(self._shape)) * self.batch_size
        most = min(max(MOST_BYTES // of_step, 1), MOST_STEPS)
        return max(k for k in range(1, most + 1) if steps % k == 0)

    def _part(
        self, order: Int[np.ndarray, "steps batch"]
    ) -> tuple[tuple[Labelled, ...], tuple[Chosen, ...]]:
        """The frames of some steps, in buckets that each have room for all of them."""
        frames = order.reshape(-1)
        bucket, number = self._bucket[frames], np.zeros(len(frames), int)
        parts = []
        for k, shape in enumerate(self._shape):
            there = np.flatnonzero(bucket == k)
            number[there] = np.arange(len(there))
            whole = jax.tree.map(
                lambda leaf: np.zeros((len(frames), *leaf.shape[1:]), leaf.dtype), shape
            )
            if len(there):
                found = self._filled(k, frames[there])
                for leaf, part in zip(*map(jax.tree.leaves, (whole, found)), strict=True):
                    leaf[: len(part)] = part
            parts.append(whole)
        chosen = self._shared(bucket.reshape(order.shape), number.reshape(order.shape), self.mesh)
        return tuple(parts), chosen

    def _filled(self, k: int, index: Index) -> Labelled:
        """Frames of one bucket, labelled, in its shape."""
        atoms, pairs, *far = self._room[k]
        frames = self.frames[index].widened(atoms)
        room = {"atoms": atoms, "pairs": pairs, "far_pairs": far[0] if far else None}
        model, dtype = self.targets.model, self.targets.dtype
        batch = make_batch(frames, model, **room, dtype=dtype, lists=self._lists[index])
        return self.targets.label(frames, batch)


class ListsOnDisk:
    """`PairLists` of frames on disk, in a scratch file of their own."""

    def __init__(self, frames: FramesOnDisk, config: ModelConfig, dtype: np.dtype) -> None:
        self._store, self._dtype = Scratch(frames.scratch), dtype
        places, numbers, begin = [], [], 0
        for part in frames.parts():
            try:
                lists = PairLists.of(part, config)
            except UserError as error:  # which counts within the part
                raise UserError(f"Counted from training frame {begin} on: {error}") from None
            self._has_far = lists.far is not None
            each = (
                zip(lists.local, lists.far, strict=True)
                if lists.far
                else zip(lists.local, strict=True)
            )
            content = [b"".join(map(self._packed, one)) for one in each]
            place = self._store.append(b"".join(content))
            places.append(place + np.cumsum([0, *map(len, content[:-1])]))
            numbers.append(lists.numbers.astype(np.int32))
            begin += len(part)
        self._places, self.numbers = np.concatenate(places), np.concatenate(numbers)

    def _packed(self, pairs: tuple[np.ndarray, np.ndarray, np.ndarray]) -> bytes:
        kinds = np.int32, np.int32, self._dtype
        return b"".join(np.asarray(a, kind).tobytes() for a, kind in zip(pairs, kinds, strict=True))

    def __getitem__(self, index: Index) -> PairLists:
        found: list[list[tuple]] = [[] for _ in range(self.numbers.shape[1])]
        of_pair = 8 + 3 * self._dtype.itemsize
        for place, numbers in zip(self._places[index], self.numbers[index].tolist(), strict=True):
            content, at = self._store.read(int(place), of_pair * sum(numbers)), 0
            for one, n in zip(found, numbers, strict=True):
                first = np.frombuffer(content, np.int32, n, at)
                second = np.frombuffer(content, np.int32, n, at + 4 * n)
                vector = np.frombuffer(content, self._dtype, 3 * n, at + 8 * n).reshape(n, 3)
                one.append((first, second, vector))
                at += of_pair * n
        return PairLists(found[0], found[1] if len(found) > 1 else None)


def _grain() -> ModuleType:
    try:
        import grain
    except ImportError:
        raise UserError(
            "Reading ahead from disk needs grain, which is not installed: "
            "pip install 'so3krates-lite[scale]' brings it."
        ) from None
    return grain
