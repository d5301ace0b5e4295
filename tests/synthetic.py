"""An attention record made up from a seed: ethanol, signed, directed, smooth at the cutoff."""

from __future__ import annotations

import numpy as np

from so3krates_lite.record import AttentionRecord, BlockAttention


def ethanol_record(
    frames: int = 1, layers: int = 2, heads: int = 4, padding: int = 0, seed: int = 0
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

    def block(channels: int) -> BlockAttention:
        # a coefficient knows both elements and who asks, as a learnt one would
        table = rng.normal(0.0, 0.4, (layers, channels, 10, 10)) * rng.uniform(
            0.2, 1.0, (layers, channels, 1, 1)
        )
        z_i, z_j = numbers[frame, receiver], numbers[frame, sender]
        coefficient = table[:, :, z_i, z_j].transpose(0, 2, 1)
        coefficient = coefficient + 0.15 * rng.normal(size=coefficient.shape)
        coefficient = coefficient * np.exp(-0.3 * (distance - 1.0))[:, None]
        weighted = coefficient * envelope[:, None]
        return BlockAttention(coefficient, weighted, np.abs(weighted) * 0.8)

    return AttentionRecord(
        numbers=numbers,
        positions=positions,
        frame=frame,
        receiver=receiver,
        sender=sender,
        distance=distance,
        vector=vector,
        cutoff=cutoff,
        degrees=degrees,
        feature=block(heads),
        geometric=block(len(degrees)),
        sphc=rng.normal(size=(layers + 1, frames, n + padding, 15)),
    )
