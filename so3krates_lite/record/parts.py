"""What an attention record is made of: lists of directed pairs, and numbers for each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from so3krates_lite.errors import UserError

QUANTITIES = ("coefficient", "weighted", "contribution")


def checked(name: str, value, shape: tuple[int | None, ...], kind: str) -> np.ndarray:
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


Whole = int | np.integer  # a number of an atom, of a layer, …


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
            object.__setattr__(self, name, checked(name, getattr(self, name), shape, "f"))
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


@dataclass(frozen=True, eq=False, kw_only=True)
class DirectedPairs:
    """Who asks and who answers, over all frames.

    Args:
        frame: the frame of each directed pair, shape (pairs,).
        receiver: the atom that asks and is changed, shape (pairs,).
        sender: the atom that answers, shape (pairs,). In a periodic cell the same two atoms may
            form several pairs, one per image, and an atom may be its own neighbour.
        distance: Å, shape (pairs,).
        vector: Å, from receiver to sender with the periodic image in it, shape (pairs, 3).
    """

    frame: Int[np.ndarray, "pairs"]
    receiver: Int[np.ndarray, "pairs"]
    sender: Int[np.ndarray, "pairs"]
    distance: Float[np.ndarray, "pairs"]
    vector: Float[np.ndarray, "pairs 3"]

    @property
    def n_pairs(self) -> int:
        return len(self.frame)

    def _put(self, name: str, shape: tuple[int | None, ...], kind: str) -> None:
        object.__setattr__(self, name, checked(name, getattr(self, name), shape, kind))

    def _check_pairs(self, numbers: Int[np.ndarray, "frames atoms"]) -> None:
        frames, atoms = numbers.shape
        n_pairs = np.size(self.frame)
        for name, shape, kind in (
            ("frame", (n_pairs,), "i"),
            ("receiver", (n_pairs,), "i"),
            ("sender", (n_pairs,), "i"),
            ("distance", (n_pairs,), "f"),
            ("vector", (n_pairs, 3), "f"),
        ):
            self._put(name, shape, kind)
        for name, size in (("frame", frames), ("receiver", atoms), ("sender", atoms)):
            index = getattr(self, name)
            if n_pairs and (index.min() < 0 or index.max() >= size):
                raise UserError(
                    f"AttentionRecord: '{name}' runs from {index.min()} to {index.max()}, "
                    f"expected 0 to {size - 1}."
                )
        for name in ("receiver", "sender"):
            if (numbers[self.frame, getattr(self, name)] == 0).any():
                raise UserError(f"AttentionRecord: '{name}' points to a padding atom.")
        length = np.linalg.norm(self.vector, axis=-1)
        # float32 positions far from the origin lose digits, hence the wide tolerance
        if not np.allclose(length, self.distance, rtol=1e-4, atol=1e-4):
            pair = int(np.abs(length - self.distance).argmax())
            raise UserError(
                f"AttentionRecord: pair {pair} has distance {self.distance[pair]:.4f} Å "
                f"but a vector of length {length[pair]:.4f} Å."
            )

    def _of_frames(self, chosen: Int[np.ndarray, "frames"]) -> tuple[np.ndarray, dict]:
        """Where the pairs of ``chosen`` frames stand, and their fields with frames renumbered."""
        where = [np.flatnonzero(self.frame == k) for k in chosen]
        keep = np.concatenate(where) if where else np.zeros(0, dtype=np.int64)
        names = ("receiver", "sender", "distance", "vector")
        frame = np.repeat(np.arange(len(chosen)), [len(w) for w in where]).astype(np.int64)
        return keep, {"frame": frame, **{name: getattr(self, name)[keep] for name in names}}


@dataclass(frozen=True, eq=False, kw_only=True)
class SphericalAttention(DirectedPairs):
    """Geometric attention in the spherical neighbourhood, with its own list of pairs.

    Args:
        sphc_distance: X_ij = |chi_j - chi_i| at the input of each layer, shape (layers, pairs).
        nearness: phi_chi, how far the sender is a neighbour of the receiver: 1 at the centre of
            the spherical neighbourhood, 0 outside, shape (layers, pairs).
        attention: channels are the degrees.
    """

    sphc_distance: Float[np.ndarray, "layers pairs"]
    nearness: Float[np.ndarray, "layers pairs"]
    attention: BlockAttention
