"""Labelled frames in buckets of like size, and the gradient of a batch that holds several sizes.

A step draws its frames from the whole set, whatever their size, so that each counts as often as any
other. Those of one bucket are then computed together, padded to its shape, and a few at a time: how
many a step holds is chance, and what it does not hold must cost nothing. The loss is one mean over
the batch, so what the passes give adds up: to rounding, the numbers are those of a single shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from so3krates_lite.config import ModelConfig
from so3krates_lite.passes import structures_per_pass
from so3krates_lite.potential import total_shift
from so3krates_lite.structures.buckets import Index, bucketed_batches
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch
from so3krates_lite.training.devices import on_all
from so3krates_lite.training.objective import Labelled, Weights, loss_and_gradient, numbers_of

Tree = TypeVar("Tree")


@struct.dataclass
class Chosen:
    """Frames of one bucket, by their numbers in it: of each step ``count``, cut into passes."""

    __no_type_check__ = True  # as of `PairList`

    index: Int[Array, "steps passes size"]
    count: Int[Array, "steps"]


@dataclass(frozen=True)
class Targets:
    """What makes labels of frames: energies without ``shift``, and all of it over ``scale``."""

    model: ModelConfig
    shift: Float[np.ndarray, "elements"]
    scale: float
    dtype: np.dtype

    def label(self, frames: Frames, batch: Batch) -> Labelled:
        forces = frames.forces[:, : batch.numbers.shape[1]] / self.scale
        energy = (frames.energy - total_shift(frames, self.shift)) / self.scale
        arrays = (energy, forces, np.ones(len(frames)))
        return Labelled(batch, *(array.astype(self.dtype) for array in arrays))

    def buckets(self, frames: Frames) -> list[tuple[Index, Labelled]]:
        """Which frames each bucket holds, and they labelled."""
        frames = frames.trimmed()
        batches = bucketed_batches(frames, self.model, dtype=self.dtype)
        return [(index, self.label(frames[index], batch)) for index, batch in batches]


class Bucketed:
    """Training frames in buckets: which frames each step takes, bucket by bucket.

    Args:
        buckets: which frames each of them holds
        rooms: places for pairs in each of them
        batch_size: of a step
    """

    def __init__(self, buckets: list[Index], rooms: list[int], batch_size: int) -> None:
        self.lengths, self.rooms = [len(index) for index in buckets], rooms
        self.batch_size = min(batch_size, len(self))
        self._bucket = np.zeros(len(self), int)  # of each frame, and its number in it
        self._number = np.zeros(len(self), int)
        for k, index in enumerate(buckets):
            self._bucket[index], self._number[index] = k, np.arange(len(index))

    def __len__(self) -> int:
        return sum(self.lengths)

    def _size(self, k: int, batch: int) -> int:
        """How many frames of a bucket a pass takes, of ``batch`` in all."""
        if len(self.lengths) == 1:
            return batch
        # half of what a step holds on average: few of a pass's places stay empty
        half = math.ceil(batch * self.lengths[k] / len(self) / 2)
        return structures_per_pass(half, self.rooms[k])

    def _chosen(
        self, bucket: Int[np.ndarray, "steps batch"], number: Int[np.ndarray, "steps batch"]
    ) -> tuple[Chosen, ...]:
        """The frames of each step, of which bucket and number are given."""
        chosen = []
        for k in range(len(self.lengths)):
            there = bucket == k
            first = np.argsort(~there, axis=1, kind="stable")
            index = np.take_along_axis(np.where(there, number, 0), first, axis=1)
            size = self._size(k, bucket.shape[1])
            index = np.pad(index, ((0, 0), (0, -index.shape[1] % size)))
            chosen.append(Chosen(index.reshape(len(bucket), -1, size), there.sum(axis=1)))
        return tuple(chosen)

    def _shared(
        self,
        bucket: Int[np.ndarray, "steps batch"],
        number: Int[np.ndarray, "steps batch"],
        mesh: Mesh | None,
    ) -> tuple[Chosen, ...]:
        """The same; on a mesh, for the share of each device, on an axis after that over steps."""
        if mesh is None:
            return self._chosen(bucket, number)
        both = (np.split(array, mesh.size, axis=1) for array in (bucket, number))
        shares = [self._chosen(*share) for share in zip(*both, strict=True)]
        return jax.tree.map(lambda *each: np.stack(each, axis=1), *shares)


# buckets of frames, which of them each step takes, and which steps of an epoch these are
Part = tuple[tuple[Labelled, ...], tuple[Chosen, ...], slice]


class TrainingSet(Bucketed):
    """Training frames on the device, in buckets; an epoch is one part."""

    def __init__(
        self, frames: Frames, targets: Targets, batch_size: int, mesh: Mesh | None = None
    ) -> None:
        buckets = targets.buckets(frames)
        rooms = [data.batch.room for _, data in buckets]
        super().__init__([index for index, _ in buckets], rooms, batch_size)
        self.buckets = on_all(jax.device_put(tuple(data for _, data in buckets)), mesh)
        self.example = buckets[0][1].batch[:1]  # a batch of one frame
        self.mesh, self.facts = mesh, {}

    def choose(self, order: Int[np.ndarray, "steps batch"]) -> tuple[Chosen, ...]:
        """The frames of each step, bucket by bucket."""
        return self._shared(self._bucket[order], self._number[order], self.mesh)

    def parts(self, orders: Int[np.ndarray, "members steps batch"]) -> Iterator[Part]:
        """What the device computes at once; for several members with an axis in front."""
        chosen = [self.choose(order) for order in orders]
        if len(chosen) > 1:
            chosen = [jax.tree.map(lambda *each: np.stack(each), *chosen)]
        yield self.buckets, chosen[0], slice(None)


def bucketed_gradient(
    params: dict,
    buckets: tuple[Labelled, ...],
    chosen: tuple[Chosen, ...],
    config: ModelConfig,
    weights: Weights,
    trained: tuple[str, ...] | None = None,
    shared_by: str | None = None,
) -> tuple[Float[Array, ""], dict]:
    """`loss_and_gradient` of the frames of one step, which lie in several buckets.

    Args:
        buckets: all training frames
        chosen: those of the step, without the axis over steps
        params, config, weights, trained: as of `loss_and_gradient`
        shared_by: the mesh's axis of devices, where each of them has a share of the step; None:
            this is all of it
    """

    def summed(tree: Tree) -> Tree:
        return tree if shared_by is None else jax.lax.psum(tree, shared_by)

    if len(buckets) == 1:
        target = buckets[0][chosen[0].index[0]]
        numbers = summed(numbers_of(target))
        return summed(loss_and_gradient(params, target, config, weights, trained, numbers))

    def counts(index: Int[Array, "*any size"], first: Int[Array, "*any"], count: Int[Array, ""]):
        return first[..., None] + jnp.arange(index.shape[-1]) < count

    components = 0
    for data, part in zip(buckets, chosen, strict=True):
        first = jnp.arange(len(part.index)) * part.index.shape[1]
        real = data.batch.atom_mask[part.index] & counts(part.index, first, part.count)[..., None]
        components += 3 * jnp.sum(real)
    dtype = buckets[0].energy.dtype
    graphs = sum(part.count for part in chosen)
    numbers = summed((graphs.astype(dtype), components.astype(dtype)))

    total = (jnp.zeros((), dtype), jax.tree.map(jnp.zeros_like, params))
    for data, part in zip(buckets, chosen, strict=True):
        size = part.index.shape[1]

        def add(n, total, data=data, part=part, size=size):
            target = data[part.index[n]]
            counted = counts(part.index[n], n * size, part.count)
            target = target.replace(weight=jnp.where(counted, target.weight, 0))
            more = loss_and_gradient(params, target, config, weights, trained, numbers)
            return jax.tree.map(jnp.add, total, more)

        total = jax.lax.fori_loop(0, (part.count + size - 1) // size, add, total)
    return summed(total)


def validation_chunks(frames: Frames, targets: Targets, chunk: int) -> list[Labelled]:
    """Frames of each bucket on the device in chunks (leading axis), the last one filled up."""
    chunks = []
    for _, data in targets.buckets(frames):
        number = len(data.weight)
        size = min(chunk, number)
        index = np.arange(math.ceil(number / size) * size)
        filled = data[np.minimum(index, number - 1)]
        filled = filled.replace(weight=(index < number).astype(targets.dtype))
        chunks.append(jax.tree.map(lambda a, size=size: a.reshape(-1, size, *a.shape[1:]), filled))
    return jax.device_put(chunks)
