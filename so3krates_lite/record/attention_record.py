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

A model with a spherical neighbourhood has a third, ``spherical``: what the geometric attention adds
for pairs that are near in SPHC space, at any distance. It has a list of pairs of its own. A pair
that is near in both ways stands in both lists, and both parts act.

GeomAtt has one block of its own, ``correlation``, with a channel for each order. Every atom attends
to every atom there, itself included: pairs of an atom with itself have distance 0.

Weights of another code stand in a block ``given``, see `from_arrays.record_from_arrays`.

Each block states three quantities for every directed pair:

* ``coefficient``: the raw number, query · filter · key / √(head size), before any cutoff. It can
  be large for a pair that hardly interacts. In the correlation block it is the correlation C_ij;
* ``weighted``: the coefficient times the cutoff function (in the spherical block: times the
  nearness in SPHC space; in the correlation block: over the number of orders), the factor that
  really stands in front of the message. With a cutoff it goes to zero smoothly where the
  neighbourhood ends;
* ``contribution``: the norm of what the pair adds to the receiver, |weighted · value| for features
  and |weighted · Y_l| for SPHCs. It has no sign, and it is small where the message is small,
  however large the factor.

Pairs of all frames stand in one list (:attr:`AttentionRecord.frame` says whose they are), because
the number of neighbours differs from frame to frame. Only numpy is needed to read a record.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Float, Int

from so3krates_lite.config import Cutoff
from so3krates_lite.errors import UserError
from so3krates_lite.record.blocks import BLOCKS
from so3krates_lite.record.parts import (
    QUANTITIES,
    BlockAttention,
    DirectedPairs,
    SphericalAttention,
    Whole,
    checked,
)
from so3krates_lite.runtime.files import load_npz, save_npz

FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class AttentionRecord(DirectedPairs):
    """Attention of one frame or a trajectory, with the geometry that it belongs to.

    Wherever a ``block`` is asked for, None stands for the record's first. ``frame``, ``receiver``,
    ``sender``, ``distance`` and ``vector`` list the pairs within the cutoff, see `DirectedPairs`;
    `neighbours` gives the list of any block.

    Args:
        numbers: atomic numbers, 0 for padding, shape (frames, atoms).
        positions: Å, shape (frames, atoms, 3).
        cutoff: radius of the neighbourhood, Å; infinite where all pairs are listed.
        cutoff_kind: the function that ends there, "cosine" or "polynomial", see `basis`.
        degrees: the degrees l of the geometric block's channels, in order.
        feature: feature attention, channels are heads. It, ``geometric`` and ``sphc`` go together:
            all three are None for a model without features that ask.
        geometric: geometric attention, channels are ``degrees``.
        sphc: spherical harmonic coordinates before the first layer and after each, shape
            (layers + 1, frames, atoms, Σ(2l+1)), degree by degree, m = -l..l within each.
        spherical: attention in the spherical neighbourhood; None: the model has none.
        correlation: GeomAtt's attention, channels are ``orders``; None: it is another model's.
        orders: the orders k of the correlation block's channels.
        given: pair weights of another code, channels are its heads; None: it is our own model's.
        charges: partial charges, e, 0 for padding; None: the model has none.
        forces_std: how far the members of an ensemble lie apart in the force on each atom, eV/Å,
            0 for padding (`ensemble.atomic_deviation`); None: there is one network.

    Raises:
        UserError: naming the field, when shapes, indices or values do not fit together.
    """

    numbers: Int[np.ndarray, "frames atoms"]
    positions: Float[np.ndarray, "frames atoms 3"]
    cutoff: float
    degrees: tuple[int, ...] = ()
    feature: BlockAttention | None = None
    geometric: BlockAttention | None = None
    sphc: Float[np.ndarray, "states frames atoms m_tot"] | None = None
    spherical: SphericalAttention | None = None
    correlation: BlockAttention | None = None
    orders: tuple[int, ...] = ()
    given: BlockAttention | None = None
    charges: Float[np.ndarray, "frames atoms"] | None = None
    forces_std: Float[np.ndarray, "frames atoms"] | None = None
    cutoff_kind: str = "cosine"

    def __post_init__(self) -> None:
        for name in ("degrees", "orders"):
            object.__setattr__(self, name, tuple(int(value) for value in getattr(self, name)))
        object.__setattr__(self, "cutoff", float(self.cutoff))
        object.__setattr__(self, "cutoff_kind", str(self.cutoff_kind))
        if self.cutoff_kind not in get_args(Cutoff):
            raise UserError(
                f"AttentionRecord: 'cutoff_kind' is {self.cutoff_kind!r}, expected one of "
                f"{get_args(Cutoff)}."
            )
        if not self.cutoff > 0:
            raise UserError(f"AttentionRecord: 'cutoff' is {self.cutoff} Å, expected more than 0.")
        together = {getattr(self, name) is None for name in ("feature", "geometric", "sphc")}
        if len(together) > 1 or not {"feature", "correlation", "given"} & {*self.blocks}:
            raise UserError(
                "AttentionRecord: expected 'feature', 'geometric' and 'sphc' together, or "
                f"'correlation', or 'given'; found {', '.join(self.blocks) or 'no block'}."
            )
        self._put("numbers", (None, None), "i")
        frames, atoms = self.numbers.shape
        layers, degrees = self.n_layers, len(self.degrees)
        self._put("positions", (frames, atoms, 3), "f")
        self._check_pairs(self.numbers)
        for name in ("charges", "forces_std"):
            if getattr(self, name) is not None:
                self._put(name, (frames, atoms), "f")
        if self.sphc is not None:
            m_tot = sum(2 * degree + 1 for degree in self.degrees)
            self._put("sphc", (layers + 1, frames, atoms, m_tot), "f")
        widths = {
            "feature": None,
            "geometric": degrees,
            "correlation": len(self.orders),
            "given": None,
        }
        for name, channels in widths.items():
            if (block := getattr(self, name)) is not None:
                checked(name, block.coefficient, (layers, self.n_pairs, channels), "f")
        if (far := self.spherical) is not None:
            far._check_pairs(self.numbers)
            far._put("sphc_distance", (layers, far.n_pairs), "f")
            far._put("nearness", (layers, far.n_pairs), "f")
            checked("spherical", far.attention.coefficient, (layers, far.n_pairs, degrees), "f")

    def __len__(self) -> int:
        """Number of frames."""
        return self.numbers.shape[0]

    @property
    def n_layers(self) -> int:
        return self.attention().n_layers

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the blocks that the model has."""
        return tuple(name for name in BLOCKS if getattr(self, name) is not None)

    def attention(self, block: str | None = None) -> BlockAttention:
        """The three quantities of a block.

        Raises:
            UserError: the record has no such block.
        """
        block = block or self.blocks[0]
        if block not in self.blocks:
            what = f"Unknown block '{block}'"
            if block == "spherical":
                what = "The model has no spherical neighbourhood, and so no block 'spherical'"
            elif block in BLOCKS:
                what = f"This is another model's record: it has no block '{block}'"
            raise UserError(f"{what}: choose one of {', '.join(self.blocks)}.")
        return self.spherical.attention if block == "spherical" else getattr(self, block)

    def n_atoms(self, frame: Whole = 0) -> int:
        """Number of real atoms of a frame."""
        return int((self.numbers[self._frame(frame)] > 0).sum())

    def n_channels(self, block: str | None = None) -> int:
        """Number of heads (``'feature'``), of orders (``'correlation'``) or of degrees."""
        return self.attention(block).n_channels

    def channel_names(self, block: str | None = None) -> list[str]:
        """A name for each channel: ``head 0`` … as :meth:`select` counts, ``degree 1`` …, or
        ``order 2`` …"""
        channels = range(self.n_channels(block))
        kind = BLOCKS[block or self.blocks[0]]
        return [f"{kind.channel} {name}" for name in getattr(self, kind.channels, channels)]

    def neighbours(self, block: str | None = None) -> DirectedPairs:
        """The pairs of a block: those within the cutoff, or those of the spherical neighbourhood.

        Not all of the latter are near in SPHC space: `SphericalAttention.nearness` tells.
        """
        self.attention(block)  # refuses a block that the record does not have
        return self.spherical if block == "spherical" else self

    def pairs(self, frame: Whole, block: str | None = None) -> Int[np.ndarray, "pairs_of_frame"]:
        """Where the directed pairs of one frame stand in the list of the block."""
        return np.flatnonzero(self.neighbours(block).frame == self._frame(frame))

    def select(
        self,
        block: str | None = None,
        layer: Whole = 0,
        channel: Whole = 0,
        quantity: str = "weighted",
        frame: Whole | None = None,
    ) -> Float[np.ndarray, "pairs"]:
        """One signed number per directed pair of the block, of all frames or of one.

        ``layer``, ``channel`` and ``frame`` count from 0; negative ones count from the end.
        """
        values = self._quantity(block, quantity)
        for name, index, size in zip(
            ("layer", "channel"), (layer, channel), (values.shape[0], values.shape[2]), strict=True
        ):
            if not -size <= index < size:
                raise UserError(f"{name} {index} does not exist: the {block} block has {size}.")
        chosen = values[layer, :, channel]
        return chosen if frame is None else chosen[self.pairs(frame, block)]

    def matrix(
        self,
        frame: Whole = 0,
        block: str | None = None,
        layer: Whole = 0,
        channel: Whole = 0,
        quantity: str = "weighted",
    ) -> Float[np.ndarray, "atoms atoms"]:
        """The pairs of one frame as [receiver, sender], 0 where there is no pair.

        Several periodic images of the same two atoms are added up. Padding atoms are left out.
        """
        size = int(np.flatnonzero(self.numbers[self._frame(frame)] > 0).max(initial=-1)) + 1
        values = self.select(block, layer, channel, quantity, frame)
        out = np.zeros((size, size), dtype=values.dtype)
        index, pairs = self.pairs(frame, block), self.neighbours(block)
        np.add.at(out, (pairs.receiver[index], pairs.sender[index]), values)
        return out

    def limit(self, block: str | None = None, quantity: str = "weighted") -> float:
        """Largest size over all layers, channels and frames: the fixed end of a colour scale."""
        values = self._quantity(block, quantity)
        return float(np.abs(values).max()) if values.size else 0.0

    def frames(
        self, index: Whole | slice | Sequence[int] | Int[np.ndarray, "frames"]
    ) -> AttentionRecord:
        """The record of some frames, in the order asked for; an int gives a record of one."""
        if isinstance(index, slice):
            chosen = np.arange(len(self))[index]
        else:
            chosen = np.array([self._frame(int(i)) for i in np.atleast_1d(index)], dtype=np.int64)
        keep, pairs = self._of_frames(chosen)
        parts = {
            name: getattr(self, name)._pairs(keep)
            for name in ("feature", "geometric", "correlation", "given")
            if getattr(self, name) is not None
        }
        spherical = None
        if (far := self.spherical) is not None:
            far_keep, far_pairs = far._of_frames(chosen)
            spherical = SphericalAttention(
                **far_pairs,
                sphc_distance=far.sphc_distance[:, far_keep],
                nearness=far.nearness[:, far_keep],
                attention=far.attention._pairs(far_keep),
            )
        return AttentionRecord(
            **pairs,
            numbers=self.numbers[chosen],
            positions=self.positions[chosen],
            cutoff=self.cutoff,
            cutoff_kind=self.cutoff_kind,
            degrees=self.degrees,
            orders=self.orders,
            sphc=None if self.sphc is None else self.sphc[:, chosen],
            charges=None if self.charges is None else self.charges[chosen],
            forces_std=None if self.forces_std is None else self.forces_std[chosen],
            spherical=spherical,
            **parts,
        )

    def save(self, path: str | os.PathLike) -> Path:
        """Write one npz file (no pickle), complete or not at all. Returns the path."""
        path = Path(path)
        save_npz(path, {"format_version": np.int64(FORMAT_VERSION), **_flat(self)})
        return path

    @classmethod
    def load(cls, path: str | os.PathLike) -> AttentionRecord:
        """Read what :meth:`save` wrote.

        Raises:
            UserError: the file is missing, is no attention record, or has another version.
        """
        path = Path(path)
        kind, remedy = "record of attention", "compute the record again"
        data = load_npz(path, kind, FORMAT_VERSION, remedy)
        try:
            return _built(cls, data)
        except KeyError as missing:
            raise UserError(
                f"'{path}' lacks {missing.args[0]}: it was not written completely."
            ) from None

    def _frame(self, frame: Whole) -> int:
        size = len(self)
        if not -size <= frame < size:
            raise UserError(f"Frame {frame} does not exist: the record has {size} frame(s).")
        return int(frame % size)

    def _quantity(self, block: str | None, quantity: str) -> np.ndarray:
        if quantity not in QUANTITIES:
            raise UserError(f"Unknown quantity '{quantity}': choose of {', '.join(QUANTITIES)}.")
        return getattr(self.attention(block), quantity)


# which fields hold further arrays, and of what class
_PARTS = {
    "feature": BlockAttention,
    "geometric": BlockAttention,
    "attention": BlockAttention,
    "spherical": SphericalAttention,
    "correlation": BlockAttention,
    "given": BlockAttention,
}


def _flat(part, prefix: str = "") -> dict[str, np.ndarray]:
    """Every array of a record by its dotted name."""
    arrays: dict[str, np.ndarray] = {}
    for field in fields(part):
        value = getattr(part, field.name)
        if field.name in _PARTS:
            arrays |= _flat(value, f"{prefix}{field.name}.") if value is not None else {}
        elif value is not None:
            arrays[prefix + field.name] = np.asarray(value)
    return arrays


def _built(cls: type, arrays: dict[str, np.ndarray], prefix: str = ""):
    """The inverse of `_flat`; a KeyError names what is missing."""
    values = {}
    for field in fields(cls):
        name = prefix + field.name
        if field.name not in _PARTS:
            if field.default is MISSING or name in arrays:
                value: Any = arrays[name]
                if field.name == "cutoff":
                    value = float(value)
                elif field.name == "cutoff_kind":
                    value = str(value)
                elif field.name in ("degrees", "orders"):
                    value = tuple(value.tolist())
                values[field.name] = value
        elif field.default is MISSING or any(key.startswith(f"{name}.") for key in arrays):
            values[field.name] = _built(_PARTS[field.name], arrays, f"{name}.")
    return cls(**values)
