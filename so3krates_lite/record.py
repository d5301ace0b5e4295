"""What a model attended to, as plain arrays.

In text models attention is a softmax: every row is positive and sums to one. A force field has
no use for that: an atom with twice as many neighbours should be able to receive twice as much.
Here a coefficient is a scaled product of query, filter and key, so it is **signed and not
normalised**. A negative coefficient subtracts the neighbour's message, zero ignores it, and a row
sums to whatever it sums to. Compare sizes within a block; read no row as a distribution.

Attention is also **directed**: atom ``receiver`` asks, atom ``sender`` answers, and the two
directions of a pair are two different numbers. Each layer holds two blocks of it:

* ``feature``: one channel per head, for the messages between invariant features;
* ``geometric``: one channel per degree l, for the spherical harmonics that build the SPHCs.

Each block states three quantities for every directed pair:

* ``coefficient``: the raw number, query · filter · key / √(head size), before any cutoff. It can
  be large for a pair that hardly interacts;
* ``weighted``: the coefficient times the cutoff function, the factor that really stands in front
  of the message. It goes to zero smoothly where the neighbourhood ends;
* ``contribution``: the norm of what the pair adds to the receiver, |weighted · value| for features
  and |weighted · Y_l| for SPHCs. It has no sign, and it is small where the message is small,
  however large the factor.

Pairs of all frames stand in one list (:attr:`AttentionRecord.frame` says whose they are), because
the number of neighbours differs from frame to frame. Only numpy is needed to read a record.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from so3krates_lite.errors import UserError
from so3krates_lite.storage import replacing

FORMAT_VERSION = 1
BLOCKS = ("feature", "geometric")
QUANTITIES = ("coefficient", "weighted", "contribution")


def _array(name: str, value, shape: tuple[int | None, ...], kind: str) -> np.ndarray:
    """``value`` as a finite array of the wished shape (None: any size) and kind ('i' or 'f')."""
    array = np.asarray(value)
    if kind == "i":
        if array.dtype.kind not in "iu" and array.size:
            raise UserError(f"AttentionRecord: '{name}' must hold integers, found {array.dtype}.")
        array = array.astype(np.int64, copy=False)
    elif array.dtype.kind != "f":
        array = array.astype(np.float64)
    fits = array.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wished = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise UserError(f"AttentionRecord: '{name}' has shape {array.shape}, expected {wished}.")
    if kind == "f" and not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise UserError(
            f"AttentionRecord: '{name}' is not finite at index {where}; "
            "check the model's parameters and the input geometry."
        )
    return array


@dataclass(frozen=True, eq=False)
class BlockAttention:
    """The three quantities of one block, each of shape (layers, pairs, channels).

    Args:
        coefficient: signed, before the cutoff, dimensionless.
        weighted: ``coefficient`` times the cutoff of the pair, dimensionless.
        contribution: norm of the pair's addition to the receiver, never negative.

    Raises:
        UserError: shapes differ, a value is not finite, or a norm is negative.
    """

    coefficient: Float[np.ndarray, "layers pairs channels"]
    weighted: Float[np.ndarray, "layers pairs channels"]
    contribution: Float[np.ndarray, "layers pairs channels"]

    def __post_init__(self) -> None:
        shape = np.shape(self.coefficient)
        if len(shape) != 3:
            raise UserError(
                f"BlockAttention: 'coefficient' has shape {shape}, "
                "expected three axes (layers, pairs, channels)."
            )
        for name in QUANTITIES:
            object.__setattr__(self, name, _array(name, getattr(self, name), shape, "f"))
        if self.contribution.size and self.contribution.min() < 0:
            raise UserError("BlockAttention: 'contribution' is a norm and cannot be negative.")

    @property
    def n_layers(self) -> int:
        return self.coefficient.shape[0]

    @property
    def n_channels(self) -> int:
        return self.coefficient.shape[2]

    def _pairs(self, keep: np.ndarray) -> BlockAttention:
        return BlockAttention(*(getattr(self, name)[:, keep] for name in QUANTITIES))


@dataclass(frozen=True, eq=False)
class AttentionRecord:
    """Attention of one frame or a trajectory, with the geometry that it belongs to.

    Args:
        numbers: atomic numbers, 0 for padding, shape (frames, atoms).
        positions: Å, shape (frames, atoms, 3).
        frame: the frame of each directed pair, shape (pairs,).
        receiver: the atom that asks and is changed, shape (pairs,).
        sender: the atom that answers, shape (pairs,). In a periodic cell the same two atoms may
            form several pairs, one per image, and an atom may be its own neighbour.
        distance: Å, shape (pairs,).
        vector: Å, from receiver to sender with the periodic image in it, shape (pairs, 3).
        cutoff: radius of the neighbourhood, Å.
        degrees: the degrees l of the geometric block's channels, in order.
        feature: feature attention, channels are heads.
        geometric: geometric attention, channels are ``degrees``.
        sphc: spherical harmonic coordinates before the first layer and after each, shape
            (layers + 1, frames, atoms, Σ(2l+1)), degree by degree, m = -l..l within each.

    Raises:
        UserError: naming the field, when shapes, indices or values do not fit together.
    """

    numbers: Int[np.ndarray, "frames atoms"]
    positions: Float[np.ndarray, "frames atoms 3"]
    frame: Int[np.ndarray, " pairs"]
    receiver: Int[np.ndarray, " pairs"]
    sender: Int[np.ndarray, " pairs"]
    distance: Float[np.ndarray, " pairs"]
    vector: Float[np.ndarray, "pairs 3"]
    cutoff: float
    degrees: tuple[int, ...]
    feature: BlockAttention
    geometric: BlockAttention
    sphc: Float[np.ndarray, "layers+1 frames atoms m_tot"]

    def __post_init__(self) -> None:
        def put(name: str, value) -> None:
            object.__setattr__(self, name, value)

        put("degrees", tuple(int(degree) for degree in self.degrees))
        put("cutoff", float(self.cutoff))
        if not (np.isfinite(self.cutoff) and self.cutoff > 0):
            raise UserError(f"AttentionRecord: 'cutoff' is {self.cutoff} Å, expected more than 0.")
        put("numbers", _array("numbers", self.numbers, (None, None), "i"))
        frames, atoms = self.numbers.shape
        n_pairs, layers = np.size(self.frame), self.feature.n_layers
        m_tot = sum(2 * degree + 1 for degree in self.degrees)
        for name, shape, kind in (
            ("positions", (frames, atoms, 3), "f"),
            ("frame", (n_pairs,), "i"),
            ("receiver", (n_pairs,), "i"),
            ("sender", (n_pairs,), "i"),
            ("distance", (n_pairs,), "f"),
            ("vector", (n_pairs, 3), "f"),
            ("sphc", (layers + 1, frames, atoms, m_tot), "f"),
        ):
            put(name, _array(name, getattr(self, name), shape, kind))
        for name, size in (("frame", frames), ("receiver", atoms), ("sender", atoms)):
            index = getattr(self, name)
            if n_pairs and (index.min() < 0 or index.max() >= size):
                raise UserError(
                    f"AttentionRecord: '{name}' runs from {index.min()} to {index.max()}, "
                    f"expected 0 to {size - 1}."
                )
        for name in ("receiver", "sender"):
            if (self.numbers[self.frame, getattr(self, name)] == 0).any():
                raise UserError(f"AttentionRecord: '{name}' points to a padding atom.")
        length = np.linalg.norm(self.vector, axis=-1)
        # float32 positions far from the origin lose digits, hence the wide tolerance
        if not np.allclose(length, self.distance, rtol=1e-4, atol=1e-4):
            pair = int(np.abs(length - self.distance).argmax())
            raise UserError(
                f"AttentionRecord: pair {pair} has distance {self.distance[pair]:.4f} Å "
                f"but a vector of length {length[pair]:.4f} Å."
            )
        for name, channels in (("feature", None), ("geometric", len(self.degrees))):
            block = getattr(self, name)
            _array(name, block.coefficient, (layers, n_pairs, channels), "f")

    def __len__(self) -> int:
        """Number of frames."""
        return self.numbers.shape[0]

    @property
    def n_layers(self) -> int:
        return self.feature.n_layers

    def n_atoms(self, frame: int = 0) -> int:
        """Number of real atoms of a frame."""
        return int((self.numbers[self._frame(frame)] > 0).sum())

    def n_channels(self, block: str = "feature") -> int:
        """Number of heads (``'feature'``) or of degrees (``'geometric'``)."""
        return self._block(block).n_channels

    def channel_names(self, block: str = "feature") -> list[str]:
        """A name for each channel: ``head 0`` … as :meth:`select` counts, or ``degree 1`` …"""
        if block == "geometric":
            return [f"degree {degree}" for degree in self.degrees]
        return [f"head {head}" for head in range(self._block(block).n_channels)]

    def pairs(self, frame: int) -> Int[np.ndarray, " pairs_of_frame"]:
        """Where the directed pairs of one frame stand in the list."""
        return np.flatnonzero(self.frame == self._frame(frame))

    def select(
        self,
        block: str = "feature",
        layer: int = 0,
        channel: int = 0,
        quantity: str = "weighted",
        frame: int | None = None,
    ) -> Float[np.ndarray, " pairs"]:
        """One signed number per directed pair, of all frames or of one.

        ``layer``, ``channel`` and ``frame`` count from 0; negative ones count from the end.
        """
        values = self._quantity(block, quantity)
        for name, index, size in zip(
            ("layer", "channel"), (layer, channel), (values.shape[0], values.shape[2]), strict=True
        ):
            if not -size <= index < size:
                raise UserError(f"{name} {index} does not exist: the {block} block has {size}.")
        chosen = values[layer, :, channel]
        return chosen if frame is None else chosen[self.pairs(frame)]

    def matrix(
        self,
        frame: int = 0,
        block: str = "feature",
        layer: int = 0,
        channel: int = 0,
        quantity: str = "weighted",
    ) -> Float[np.ndarray, "atoms atoms"]:
        """The pairs of one frame as [receiver, sender], 0 where there is no pair.

        Several periodic images of the same two atoms are added up. Padding atoms are left out.
        """
        size = int(np.flatnonzero(self.numbers[self._frame(frame)] > 0).max(initial=-1)) + 1
        values = self.select(block, layer, channel, quantity, frame)
        out = np.zeros((size, size), dtype=values.dtype)
        index = self.pairs(frame)
        np.add.at(out, (self.receiver[index], self.sender[index]), values)
        return out

    def limit(self, block: str = "feature", quantity: str = "weighted") -> float:
        """Largest size over all layers, channels and frames: the fixed end of a colour scale."""
        values = self._quantity(block, quantity)
        return float(np.abs(values).max()) if values.size else 0.0

    def frames(self, index: int | slice | Sequence[int]) -> AttentionRecord:
        """The record of some frames, in the order asked for; an int gives a record of one."""
        if isinstance(index, slice):
            chosen = np.arange(len(self))[index]
        else:
            chosen = np.array([self._frame(int(i)) for i in np.atleast_1d(index)], dtype=np.int64)
        where = [self.pairs(i) for i in chosen]
        keep = np.concatenate(where) if where else np.zeros(0, dtype=np.int64)
        return AttentionRecord(
            numbers=self.numbers[chosen],
            positions=self.positions[chosen],
            frame=np.repeat(np.arange(len(chosen)), [len(w) for w in where]).astype(np.int64),
            receiver=self.receiver[keep],
            sender=self.sender[keep],
            distance=self.distance[keep],
            vector=self.vector[keep],
            cutoff=self.cutoff,
            degrees=self.degrees,
            feature=self.feature._pairs(keep),
            geometric=self.geometric._pairs(keep),
            sphc=self.sphc[:, chosen],
        )

    def save(self, path: str | os.PathLike) -> Path:
        """Write one npz file (no pickle), complete or not at all. Returns the path."""
        path = Path(path)
        arrays = {"format_version": np.int64(FORMAT_VERSION), "degrees": np.array(self.degrees)}
        for field in fields(self):
            if field.name in BLOCKS:
                for name in QUANTITIES:
                    arrays[f"{field.name}.{name}"] = getattr(getattr(self, field.name), name)
            elif field.name != "degrees":
                arrays[field.name] = np.asarray(getattr(self, field.name))
        with replacing(path) as part, part.open("wb") as handle:
            np.savez_compressed(handle, **arrays)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike) -> AttentionRecord:
        """Read what :meth:`save` wrote.

        Raises:
            UserError: the file is missing, is no attention record, or has another version.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"No attention record at '{path}': check the path.")
        try:
            with np.load(path, allow_pickle=False) as archive:
                data = dict(archive)
        except Exception as error:  # zip, header and pickle troubles all mean the same here
            raise UserError(f"'{path}' is not a readable npz file ({error}).") from error
        version = data.pop("format_version", None)
        if version is None:
            raise UserError(f"'{path}' is not an attention record: it has no 'format_version'.")
        if int(version) != FORMAT_VERSION:
            raise UserError(
                f"'{path}' has attention record version {int(version)}, this package reads "
                f"{FORMAT_VERSION}: compute the record again with this package."
            )
        wished = [f.name for f in fields(cls) if f.name not in BLOCKS]
        wished += [f"{block}.{name}" for block in BLOCKS for name in QUANTITIES]
        if missing := [name for name in wished if name not in data]:
            raise UserError(f"'{path}' lacks {', '.join(missing)}: it was not written completely.")
        blocks = {
            block: BlockAttention(*(data.pop(f"{block}.{name}") for name in QUANTITIES))
            for block in BLOCKS
        }
        plain = {name: data[name] for name in wished if name in data}
        return cls(
            **{**plain, "cutoff": float(plain["cutoff"]), "degrees": tuple(plain["degrees"])},
            **blocks,
        )

    def _frame(self, frame: int) -> int:
        size = len(self)
        if not -size <= frame < size:
            raise UserError(f"Frame {frame} does not exist: the record has {size} frame(s).")
        return frame % size

    def _block(self, block: str) -> BlockAttention:
        if block not in BLOCKS:
            raise UserError(f"Unknown block '{block}': choose one of {', '.join(BLOCKS)}.")
        return getattr(self, block)

    def _quantity(self, block: str, quantity: str) -> np.ndarray:
        if quantity not in QUANTITIES:
            raise UserError(f"Unknown quantity '{quantity}': choose of {', '.join(QUANTITIES)}.")
        return getattr(self._block(block), quantity)
