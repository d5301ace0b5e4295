"""From what a network recorded, in its own padded arrays, to an attention record."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from so3krates_lite.attention import BlockRecord
from so3krates_lite.config import GeomAttConfig, So3kratesConfig
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.parts import (
    QUANTITIES,
    BlockAttention,
    DirectedPairs,
    SphericalAttention,
)
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch, PairList, PairVectors


def of_geomatt(
    frames: Frames, batch: Batch, record: dict, vectors: PairVectors, config: GeomAttConfig
) -> AttentionRecord:
    """All pairs of atoms, each atom with itself included; ``record`` is the collection "attention"
    that the network has left."""
    streams = [record[f"order_{k}"] for k in config.orders]
    C, message = (
        np.stack([stream[name] for stream in streams], axis=-1).astype(np.float64)
        for name in ("coefficient", "message")
    )
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


def of_so3krates(
    frames: Frames, batch: Batch, record: dict, vectors: PairVectors, config: So3kratesConfig
) -> AttentionRecord:
    """The pairs of both neighbourhoods, each in both directions, in reading order; ``record`` is
    the collection "attention" that the network has left."""
    layers = record["layers"]
    local = DirectedView.of(batch.local, vectors[0])
    spherical = None
    if config.is_nonlocal:
        far = DirectedView.of(batch.far, vectors[1])
        distance = np.asarray(layers["sphc_distance"])[:, None, :, None]
        spherical = SphericalAttention(
            **far.fields,
            sphc_distance=far.both(np.concatenate([distance, distance], axis=1))[..., 0],
            nearness=far.both(layers["spherical"].weight[..., None])[..., 0],
            attention=far.block(layers["spherical"]),
        )
    sphc = np.concatenate([record["chi_start"][None], layers["chi"]])
    sphc = sphc.reshape(len(sphc), len(batch), -1, sphc.shape[-1])
    n_atoms = sphc.shape[2]
    sphc = np.where((batch.numbers > 0)[None, ..., None], sphc, 0)
    return AttentionRecord(
        **local.fields,
        numbers=frames.numbers[:, :n_atoms],
        positions=frames.positions[:, :n_atoms],
        cutoff=config.cutoff,
        cutoff_kind=config.form.cutoff,
        degrees=config.degrees,
        feature=local.block(layers["feature"]),
        geometric=local.block(layers["geometric"]),
        sphc=np.asarray(sphc, np.float64),
        charges=np.asarray(record["charges"], np.float64) if config.has_charges else None,
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


def joined(
    records: list[AttentionRecord], places: list[Int[np.ndarray, "_frames"]]
) -> AttentionRecord:
    """One record of all frames from those of parts of them, whose frames belong at ``places``."""
    if len(records) == 1:
        return records[0]
    first = records[0]
    atoms = max(record.numbers.shape[1] for record in records)
    frames = np.argsort(np.concatenate(places))

    def of_frames(name: str, axis: int = 0) -> np.ndarray:
        """Arrays over frames and atoms, widened by zeros to the same number of atoms."""
        wide = []
        for array in (getattr(record, name) for record in records):
            extra = [(0, 0)] * array.ndim
            extra[axis + 1] = (0, atoms - array.shape[axis + 1])
            wide.append(np.pad(array, extra))
        return np.concatenate(wide, axis).take(frames, axis)

    def of_pairs(lists: list[DirectedPairs]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The fields of all pairs by frame, and how they are ordered so."""
        frame = np.concatenate([at[one.frame] for at, one in zip(places, lists, strict=True)])
        order = np.argsort(frame, kind="stable")
        names = ("receiver", "sender", "distance", "vector")
        fields = {name: np.concatenate([getattr(one, name) for one in lists]) for name in names}
        return {name: value[order] for name, value in (fields | {"frame": frame}).items()}, order

    def block(blocks: list[BlockAttention | None], order: np.ndarray) -> BlockAttention | None:
        if blocks[0] is None:
            return None
        every = ([getattr(one, quantity) for one in blocks] for quantity in QUANTITIES)
        return BlockAttention(*(np.concatenate(values, 1)[:, order] for values in every))

    fields, order = of_pairs(records)
    spherical = None
    if first.spherical is not None:
        lists = [record.spherical for record in records]
        far, far_order = of_pairs(lists)
        names = ("sphc_distance", "nearness")
        of_far = {name: np.concatenate([getattr(one, name) for one in lists], 1) for name in names}
        spherical = SphericalAttention(
            **far,
            **{name: value[:, far_order] for name, value in of_far.items()},
            attention=block([one.attention for one in lists], far_order),
        )
    blocks = ("feature", "geometric", "correlation")
    return AttentionRecord(
        **fields,
        numbers=of_frames("numbers"),
        positions=of_frames("positions"),
        cutoff=first.cutoff,
        cutoff_kind=first.cutoff_kind,
        degrees=first.degrees,
        orders=first.orders,
        sphc=None if first.sphc is None else of_frames("sphc", axis=1),
        charges=None if first.charges is None else of_frames("charges"),
        spherical=spherical,
        **{name: block([getattr(one, name) for one in records], order) for name in blocks},
    )
