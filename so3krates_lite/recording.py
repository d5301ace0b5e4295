"""From what a network recorded, in its own padded arrays, to an attention record."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from so3krates_lite.attention import BlockRecord
from so3krates_lite.config import GeomAttConfig, ModelConfig, So3kratesConfig
from so3krates_lite.frames import Frames
from so3krates_lite.geomatt import GeomAttRecord
from so3krates_lite.graph import Batch, PairList, PairVectors
from so3krates_lite.model import ModelRecord
from so3krates_lite.record import AttentionRecord
from so3krates_lite.record_parts import BlockAttention, SphericalAttention


def attention_record(
    frames: Frames,
    batch: Batch,
    record: ModelRecord | GeomAttRecord,
    vectors: PairVectors,
    config: ModelConfig,
) -> AttentionRecord:
    """Turn a network's record into one of directed pairs in reading order."""
    if isinstance(config, GeomAttConfig):
        return _of_geomatt(frames, record, config)
    return _of_so3krates(frames, batch, record, vectors, config)


def _of_geomatt(frames: Frames, record: GeomAttRecord, config: GeomAttConfig) -> AttentionRecord:
    """All pairs of atoms, each atom with itself included."""
    C, message = (np.asarray(value, np.float64) for value in record)
    n_atoms = C.shape[2]
    numbers, positions = frames.numbers[:, :n_atoms], frames.positions[:, :n_atoms]
    real = numbers > 0
    frame, receiver, sender = np.nonzero(real[:, :, None] & real[:, None, :])
    vector = positions[frame, sender] - positions[frame, receiver]
    coefficient = C[:, frame, receiver, sender]
    weighted = coefficient / len(config.orders)
    contribution = np.abs(weighted) * message[:, frame, sender]
    return AttentionRecord(
        frame=frame,
        receiver=receiver,
        sender=sender,
        distance=np.linalg.norm(vector, axis=-1),
        vector=vector,
        numbers=numbers,
        positions=positions,
        cutoff=config.cutoff,
        orders=config.orders,
        correlation=BlockAttention(coefficient, weighted, contribution),
    )


def _of_so3krates(
    frames: Frames,
    batch: Batch,
    record: ModelRecord,
    vectors: PairVectors,
    config: So3kratesConfig,
) -> AttentionRecord:
    """The pairs of both neighbourhoods, each in both directions."""
    layers = record.layers
    local = DirectedView.of(batch.local, vectors[0])
    spherical = None
    if batch.spherical is not None:
        far = DirectedView.of(batch.spherical, vectors[1])
        distance = np.asarray(layers.sphc_distance)[:, None, :, None]
        spherical = SphericalAttention(
            **far.fields,
            sphc_distance=far.both(np.concatenate([distance, distance], axis=1))[..., 0],
            nearness=far.both(layers.spherical.weight[..., None])[..., 0],
            attention=far.block(layers.spherical),
        )
    sphc = np.concatenate([record.chi_start[None], layers.chi])
    sphc = sphc.reshape(len(sphc), len(batch), -1, sphc.shape[-1])
    n_atoms = sphc.shape[2]
    sphc = np.where((batch.numbers > 0)[None, ..., None], sphc, 0)
    return AttentionRecord(
        **local.fields,
        numbers=frames.numbers[:, :n_atoms],
        positions=frames.positions[:, :n_atoms],
        cutoff=config.cutoff,
        degrees=config.degrees,
        feature=local.block(layers.feature),
        geometric=local.block(layers.geometric),
        sphc=np.asarray(sphc, np.float64),
        spherical=spherical,
    )


class DirectedView(NamedTuple):
    """How undirected, padded pairs become directed ones in reading order."""

    fields: dict[str, np.ndarray]
    real: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, listed: PairList, vectors: Float[np.ndarray, "graphs pairs 3"]) -> DirectedView:
        real = listed.mask.reshape(-1)
        graph = np.repeat(np.arange(len(listed.mask)), listed.room)[real]
        first, second = listed.first.reshape(-1)[real], listed.second.reshape(-1)[real]
        vector = np.asarray(vectors, np.float64).reshape(-1, 3)[real]
        frame = np.concatenate([graph, graph])
        receiver, sender = np.concatenate([first, second]), np.concatenate([second, first])
        vector = np.concatenate([vector, -vector])
        distance = np.linalg.norm(vector, axis=-1)
        order = np.lexsort((distance, sender, receiver, frame))
        arrays = {
            "frame": frame,
            "receiver": receiver,
            "sender": sender,
            "distance": distance,
            "vector": vector,
        }
        return cls({name: value[order] for name, value in arrays.items()}, real, order)

    def both(
        self, values: Float[np.ndarray, "layers 2 pairs channels"]
    ) -> Float[np.ndarray, "layers directed channels"]:
        values = np.asarray(values, np.float64)[:, :, self.real]
        return values.reshape(values.shape[0], -1, values.shape[-1])[:, self.order]

    def block(self, part: BlockRecord) -> BlockAttention:
        coefficient = self.both(part.coefficient)
        weight = self.both(part.weight[..., None])
        return BlockAttention(coefficient, coefficient * weight, self.both(part.contribution))
