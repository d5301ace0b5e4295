"""An attention record made up from a seed: ethanol, signed, directed, smooth at the cutoff.

With ``spherical`` it has a spherical block, too, in which each atom is near to some others only.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from so3krates_lite.record import AttentionRecord
from so3krates_lite.record_parts import BlockAttention, SphericalAttention


def ethanol_record(
    frames: int = 1,
    layers: int = 2,
    heads: int = 4,
    padding: int = 0,
    seed: int = 0,
    spherical: bool = False,
) -> AttentionRecord:
    """All 72 directed pairs of ethanol per frame, with jittered positions, degrees 1, 2, 3."""
    from ase.build import molecule

    rng = np.random.default_rng(seed)
    atoms = molecule("CH3CH2OH")
    cutoff, degrees, n = 5.0, (1, 2, 3), len(atoms)
    numbers = np.tile(np.pad(atoms.numbers, (0, padding)), (frames, 1))
    positions = np.zeros((frames, n + padding, 3))
    positions[:, :n] = atoms.positions + rng.normal(0.0, 0.05, (frames, n, 3))
    i, j = np.nonzero(~np.eye(n, dtype=bool))
    frame = np.repeat(np.arange(frames), len(i))
    receiver, sender = np.tile(i, frames), np.tile(j, frames)
    vector = positions[frame, sender] - positions[frame, receiver]
    distance = np.linalg.norm(vector, axis=-1)
    envelope = 0.5 * (np.cos(np.pi * np.minimum(distance / cutoff, 1.0)) + 1.0)

    def block(channels: int, weight) -> BlockAttention:
        # a coefficient knows both elements and who asks, as a learnt one would
        table = rng.normal(0.0, 0.4, (layers, channels, 10, 10)) * rng.uniform(
            0.2, 1.0, (layers, channels, 1, 1)
        )
        z_i, z_j = numbers[frame, receiver], numbers[frame, sender]
        coefficient = table[:, :, z_i, z_j].transpose(0, 2, 1)
        coefficient = coefficient + 0.15 * rng.normal(size=coefficient.shape)
        coefficient = coefficient * np.exp(-0.3 * (distance - 1.0))[:, None]
        weighted = coefficient * weight[..., None]
        return BlockAttention(coefficient, weighted, np.abs(weighted) * 0.8)

    pairs = {
        "frame": frame,
        "receiver": receiver,
        "sender": sender,
        "distance": distance,
        "vector": vector,
    }
    record = AttentionRecord(
        **pairs,
        numbers=numbers,
        positions=positions,
        cutoff=cutoff,
        degrees=degrees,
        feature=block(heads, envelope),
        geometric=block(len(degrees), envelope),
        sphc=rng.normal(size=(layers + 1, frames, n + padding, 15)),
    )
    if not spherical:
        return record
    sphc = record.sphc[:-1]
    far = np.linalg.norm(sphc[:, frame, sender] - sphc[:, frame, receiver], axis=-1)
    # the nearer third of each layer's pairs, fading
    nearness = np.maximum(1 - far / np.quantile(far, 0.33, axis=1, keepdims=True), 0)
    attention = block(len(degrees), nearness)
    part = SphericalAttention(**pairs, sphc_distance=far, nearness=nearness, attention=attention)
    return dataclasses.replace(record, spherical=part)
