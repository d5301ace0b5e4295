"""An attention record made up from a seed: ethanol, signed, directed, smooth at the cutoff.

With ``spherical`` it has a spherical block, too, in which each atom is near to some others only.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.parts import BlockAttention, SphericalAttention

PAIRS = ("frame", "receiver", "sender", "distance", "vector")


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


# rows ask, columns answer; no two alike in size, both signs
TOLD = np.array([[0.0, 0.9, -0.4], [0.1, 0.0, -0.05], [-0.25, 0.6, 0.0]])


def told_record() -> AttentionRecord:
    """Three atoms whose attention can be read in the code: every view has numbers of its own.

    ``weighted`` is ``TOLD`` times a factor of each frame, layer and channel, ``coefficient`` twice
    that, ``contribution`` a third of its size. Pairs stand in no order, and there is an image of
    (1, 2) with 0.3 of its value; the spherical block lists three pairs of its own. The first
    frame's molecule is a tenth larger.
    """
    second = np.array([[0.0, 0.0, 0.0], [1.0, 0.1, 0.2], [-0.4, 1.3, -0.1]])
    positions = np.array([1.1 * second, second])
    listed = [(1, 2), (2, 0), (0, 1), (2, 1), (1, 0), (0, 2), (1, 2)]
    far = [(2, 1), (1, 0), (0, 2)]

    def pairs(of: list[tuple[int, int]], image: bool) -> dict[str, np.ndarray]:
        receiver, sender = np.tile(np.transpose(of), 2)
        frame = np.repeat([0, 1], len(of))
        vector = positions[frame, sender] - positions[frame, receiver]
        if image:
            vector[len(of) - 1 :: len(of)] += [0.0, 0.0, 2.5]
        distance = np.linalg.norm(vector, axis=1)
        names = ("frame", "receiver", "sender", "vector", "distance")
        return dict(zip(names, (frame, receiver, sender, vector, distance), strict=True))

    def block(of: dict[str, np.ndarray], factor: list[list[float]]) -> BlockAttention:
        values = TOLD[of["receiver"], of["sender"]] * np.where(of["frame"] == 1, 1.0, 0.7)
        values = np.where(np.abs(of["vector"][:, 2]) > 1, 0.3, 1.0) * values
        weighted = np.array(factor)[:, None, :] * values[:, None]
        return BlockAttention(2 * weighted, weighted, np.abs(weighted) / 3)

    near, apart = pairs(listed, True), pairs(far, False)
    layers = len(far)
    spherical = SphericalAttention(
        **apart,
        sphc_distance=np.full((2, 2 * layers), 0.4),
        nearness=np.full((2, 2 * layers), 0.5),
        attention=block(apart, [[0.5, -1.5], [0.25, 0.75]]),
    )
    return AttentionRecord(
        **near,
        numbers=np.array([[8, 1, 6]] * 2),
        positions=positions,
        cutoff=5.0,
        degrees=(1, 2),
        feature=block(near, [[1.0, -0.5, 0.2], [0.3, 2.0, -1.2]]),
        geometric=block(near, [[0.6, -0.8], [1.1, 0.0]]),
        sphc=np.random.default_rng(0).normal(size=(3, 2, 3, 8)),
        spherical=spherical,
    )


def correlation_record(frames: int = 2, layers: int = 3, seed: int = 3) -> AttentionRecord:
    """GeomAtt's form: one block, all pairs of ethanol, each atom with itself included."""
    whole = ethanol_record(frames=frames)
    rng, n = np.random.default_rng(seed), whole.numbers.shape[1]
    frame, receiver, sender = (a.reshape(-1) for a in np.indices((frames, n, n)))
    vector = whole.positions[frame, sender] - whole.positions[frame, receiver]
    C = rng.normal(0, 0.3, (layers, len(frame), 3))
    return AttentionRecord(
        frame=frame,
        receiver=receiver,
        sender=sender,
        distance=np.linalg.norm(vector, axis=-1),
        vector=vector,
        numbers=whole.numbers,
        positions=whole.positions,
        cutoff=np.inf,
        orders=(2, 3, 4),
        correlation=BlockAttention(C, C / 3, np.abs(C)),
    )


def permuted(record: AttentionRecord, order: np.ndarray) -> AttentionRecord:
    """The same record with atom ``order[k]`` at place k, and its pairs in another order, too."""
    place = np.argsort(order)
    shuffle = np.random.default_rng(5).permutation(record.n_pairs)

    def pairs(part) -> dict[str, np.ndarray]:
        fields = {name: getattr(part, name)[shuffle] for name in PAIRS}
        return fields | {
            "receiver": place[part.receiver][shuffle],
            "sender": place[part.sender][shuffle],
        }

    blocks = {b: getattr(record, b)._pairs(shuffle) for b in record.blocks if b != "spherical"}
    if (far := record.spherical) is not None:
        parts = {name: getattr(far, name)[:, shuffle] for name in ("sphc_distance", "nearness")}
        attention = far.attention._pairs(shuffle)
        blocks["spherical"] = dataclasses.replace(far, **pairs(far), **parts, attention=attention)
    return dataclasses.replace(
        record,
        **pairs(record),
        **blocks,
        numbers=record.numbers[:, order],
        positions=record.positions[:, order],
        sphc=None if record.sphc is None else record.sphc[:, :, order],
    )


def thinned(record: AttentionRecord, keep: np.ndarray) -> AttentionRecord:
    """The record with some of its local pairs only."""
    blocks = {b: getattr(record, b)._pairs(keep) for b in record.blocks}
    fields = {name: getattr(record, name)[keep] for name in PAIRS}
    return dataclasses.replace(record, **fields, **blocks)


def charged(record: AttentionRecord) -> AttentionRecord:
    """The same with partial charges of random size, as a model of another form has them."""
    charges = np.random.default_rng(4).normal(size=record.numbers.shape)
    charges = np.where(record.numbers > 0, charges, 0)
    return dataclasses.replace(record, charges=charges, cutoff_kind="polynomial")


def uncertain(record: AttentionRecord) -> AttentionRecord:
    """The same with deviations of forces, as an ensemble states them."""
    std = np.random.default_rng(5).uniform(0.01, 0.3, size=record.numbers.shape)
    return dataclasses.replace(record, forces_std=np.where(record.numbers > 0, std, 0))


def assert_identical(found, expected) -> None:
    """Every array of both, those of their parts included, bit for bit."""
    for field in dataclasses.fields(expected):
        mine, theirs = getattr(found, field.name), getattr(expected, field.name)
        if dataclasses.is_dataclass(theirs):
            assert_identical(mine, theirs)
        elif theirs is None:
            assert mine is None
        else:
            np.testing.assert_array_equal(mine, theirs)
            assert np.asarray(mine).dtype == np.asarray(theirs).dtype
