"""Attention in numbers: from a record to what one wants to know of it.

A record holds one number per layer, directed pair and channel. A question mostly asks for fewer:
how much does this atom receive, does that pair fade as a bond turns? The functions here pick and
combine along those axes by the same words. ``layer`` and ``channel`` are, wherever they appear,

* a whole number: that one, counted from 0, negative ones from the end;
* ``"sum"``, ``"mean"``: signed, so what pulls both ways cancels;
* ``"abs-mean"``, ``"max-abs"``, ``"norm"`` (root of the summed squares): of sizes, never negative;
* None: the axis stays.

Channels are combined first, then layers; then periodic images of a pair are added, then frames
combined.

Two cautions. Heads write into different features and degrees into different SPHCs, so a sum over
them is a summary, while ``"norm"`` of the contribution is the true length of the whole message. And
sums over layers add numbers that stood in front of different messages.

Directions are kept: [receiver, sender], the one that asks first. ``record.frames(...)`` chooses
frames. Only numpy is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from so3krates_lite.errors import UserError
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.blocks import BLOCKS
from so3krates_lite.record.parts import Whole

Choice = Whole | str | None

REDUCTIONS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "sum": lambda values, axis: values.sum(axis),
    "mean": lambda values, axis: values.sum(axis) / max(values.shape[axis], 1),
    "abs-mean": lambda values, axis: np.abs(values).sum(axis) / max(values.shape[axis], 1),
    "max-abs": lambda values, axis: np.abs(values).max(axis, initial=0.0),
    "norm": lambda values, axis: np.sqrt((values**2).sum(axis)),
}


def combined(values: np.ndarray, how: Choice, axis: int, name: str) -> np.ndarray:
    """``values`` with one axis picked from, combined or left; ``name`` is for the error.

    Raises:
        UserError: an index that the axis does not have, or a way that is not known.
    """
    if how is None:
        return values
    if isinstance(how, str):
        if how not in REDUCTIONS:
            raise UserError(
                f"{name} = '{how}' is not known: give a number, None, or one of "
                f"{', '.join(REDUCTIONS)}."
            )
        return REDUCTIONS[how](values, axis)
    size = values.shape[axis]
    if not -size <= how < size:
        raise UserError(f"{name} {how} does not exist: the record has {size}.")
    return values.take(how, axis=axis)


def aggregate(
    record: AttentionRecord,
    block: str | None = None,
    quantity: str = "weighted",
    *,
    layer: Choice = "sum",
    channel: Choice = "sum",
) -> Float[np.ndarray, "*layers pairs *channels"]:
    """One number per directed pair of all frames, from all layers and channels.

    The order of pairs is that of ``record.neighbours(block)``. With two whole numbers this is
    :meth:`AttentionRecord.select`.
    """
    return _aggregated(record, block, quantity, layer, channel, slice(None))


def _aggregated(
    record: AttentionRecord,
    block: str | None,
    quantity: str,
    layer: Choice,
    channel: Choice,
    pairs: np.ndarray | slice,
) -> np.ndarray:
    """`aggregate` of some of the pairs."""
    record.select(block, quantity=quantity)  # refuses a quantity that does not exist
    values = getattr(record.attention(block), quantity)[:, pairs]
    return combined(combined(values, channel, 2, "channel"), layer, 0, "layer")


def limit(
    record: AttentionRecord,
    block: str | None = None,
    quantity: str = "weighted",
    *,
    layer: Choice = "sum",
    channel: Choice = "sum",
) -> float:
    """Largest size over all pairs and frames, the fixed end of a scale.

    A whole number as ``layer`` or ``channel`` frees that axis: the end is the same for all of them.
    """
    layer, channel = (way if isinstance(way, str) else None for way in (layer, channel))
    values = aggregate(record, block, quantity, layer=layer, channel=channel)
    return float(np.abs(values).max(initial=0.0))


def _added(
    values: np.ndarray,
    axis: int,
    index: tuple[np.ndarray, ...],
    shape: tuple[int, ...],
) -> np.ndarray:
    """Values of pairs added up where ``index`` says; the axis of pairs becomes ``shape``."""
    values = np.moveaxis(values, axis, 0)
    width, cells = int(np.prod(values.shape[1:])), int(np.prod(shape))
    flat = np.ravel_multi_index(index, shape)[:, None] * width + np.arange(width)
    # counting is several times quicker than np.add.at
    sums = np.bincount(flat.ravel(), values.ravel(), cells * width)
    out = sums.astype(values.dtype, copy=False).reshape(*shape, *values.shape[1:])
    places = range(len(shape))
    return np.moveaxis(out, places, [axis + place for place in places])


def matrix(
    record: AttentionRecord,
    block: str | None = None,
    quantity: str = "weighted",
    *,
    layer: Choice = "sum",
    channel: Choice = "sum",
    frame: Choice = 0,
) -> Float[np.ndarray, "*layers *frames atoms atoms *channels"]:
    """The same as [receiver, sender], 0 where there is no pair; images added, no padding.

    Args:
        frame: one frame, None for all of them, or a way to combine them. A pair that is not listed
            in a frame counts as 0 there, which is true of ``weighted`` and ``contribution`` and
            says nothing of ``coefficient``.

    Raises:
        UserError: frames of different molecules are to be combined.
    """
    keep, frames = slice(None), slice(None)
    if isinstance(frame, str):
        if len(record) == 0 or (record.numbers != record.numbers[:1]).any():
            raise UserError(
                "Only frames of one molecule, in one order of atoms, can be combined: choose them "
                "with record.frames(...)."
            )
    elif frame is not None:
        keep, frames = record.pairs(frame, block), [frame]
    values = _aggregated(record, block, quantity, layer, channel, keep)
    axis, pairs, numbers = int(layer is None), record.neighbours(block), record.numbers[frames]
    n = int(np.flatnonzero((numbers > 0).any(axis=0)).max(initial=-1)) + 1
    where = pairs.receiver[keep], pairs.sender[keep]
    if isinstance(frames, list):
        return _added(values, axis, where, (n, n))
    dense = _added(values, axis, (pairs.frame, *where), (len(record), n, n))
    return combined(dense, frame, axis, "frame")


def sent(
    record: AttentionRecord,
    block: str | None = None,
    quantity: str = "weighted",
    *,
    layer: Choice = "sum",
    channel: Choice = "sum",
) -> Float[np.ndarray, "*layers frames atoms *channels"]:
    """What each atom answers, added over all that ask it; 0 for padding atoms."""
    return _per_atom(record, block, quantity, layer, channel, "sender")


def received(
    record: AttentionRecord,
    block: str | None = None,
    quantity: str = "weighted",
    *,
    layer: Choice = "sum",
    channel: Choice = "sum",
) -> Float[np.ndarray, "*layers frames atoms *channels"]:
    """What each atom gets, added over all that it asks; 0 for padding atoms."""
    return _per_atom(record, block, quantity, layer, channel, "receiver")


def _per_atom(record, block, quantity, layer, channel, end: str) -> np.ndarray:
    values = aggregate(record, block, quantity, layer=layer, channel=channel)
    pairs = record.neighbours(block)
    where = (pairs.frame, getattr(pairs, end))
    return _added(values, int(layer is None), where, record.numbers.shape)


def series(
    record: AttentionRecord,
    receiver: Whole | None = None,
    sender: Whole | None = None,
    *,
    block: str | None = None,
    quantity: str = "weighted",
    layer: Choice = "sum",
    channel: Choice = "sum",
) -> Float[np.ndarray, "*layers frames *channels"]:
    """One number per frame: of a directed pair, of all that an atom receives or sends, or in total.

    Args:
        receiver, sender: atoms; None: all of them.

    Where nothing is listed in a frame the number is 0, but NaN for ``coefficient``, which is not
    known beyond the neighbourhood.
    """
    values = aggregate(record, block, quantity, layer=layer, channel=channel)
    pairs, axis = record.neighbours(block), int(layer is None)
    keep = np.ones(pairs.n_pairs, bool)
    for atom, of_pair in ((receiver, pairs.receiver), (sender, pairs.sender)):
        if atom is not None:
            keep &= of_pair == _atom(record, atom)
    keep, frames = np.flatnonzero(keep), (len(record),)
    out = _added(values.take(keep, axis), axis, (pairs.frame[keep],), frames)
    if quantity == "coefficient":
        absent = np.bincount(pairs.frame[keep], minlength=len(record)) == 0
        np.moveaxis(out, axis, 0)[absent] = np.nan
    return out


def _atom(record: AttentionRecord, atom: Whole) -> int:
    """A real atom of every frame, counted from 0."""
    if not 0 <= atom < record.numbers.shape[1] or (record.numbers[:, atom] == 0).any():
        fewest = min((record.n_atoms(k) for k in range(len(record))), default=0)
        raise UserError(f"Atom {atom} does not exist in every frame: choose 0 to {fewest - 1}.")
    return int(atom)


def dihedral(
    record: AttentionRecord, i: Whole, j: Whole, k: Whole, l: Whole
) -> Float[np.ndarray, "frames"]:
    """Angle of the planes ijk and jkl in degrees, -180 to 180; positive: clockwise along j to k.

    From the positions as they stand, without periodic images. NaN where three atoms of the four are
    on a line and there is no such plane. Source: IUPAC, torsion angle.
    """
    atoms = [_atom(record, atom) for atom in (i, j, k, l)]
    if len(set(atoms)) < 4:
        raise UserError(f"A dihedral needs four different atoms, found {atoms}.")
    return dihedral_angles(record.positions[:, atoms])


def dihedral_angles(positions: Float[np.ndarray, "frames 4 3"]) -> Float[np.ndarray, "frames"]:
    """The same of four atoms' positions (Å), one after another along the chain."""
    a, b, c = np.moveaxis(np.diff(positions, axis=1), 1, 0)
    one, other = np.cross(a, b), np.cross(b, c)
    length = np.linalg.norm(b, axis=-1)
    sine, cosine = (a * other).sum(-1) * length, (one * other).sum(-1)
    areas = np.linalg.norm(one, axis=-1), np.linalg.norm(other, axis=-1)
    sides = np.linalg.norm(a, axis=-1) * length, np.linalg.norm(c, axis=-1) * length
    flat = (areas[0] <= 1e-9 * sides[0]) | (areas[1] <= 1e-9 * sides[1])
    return np.where(flat, np.nan, np.degrees(np.arctan2(sine, cosine)))


def sphc_distances(
    record: AttentionRecord,
    block: str | None = None,
    *,
    layer: Choice = None,
    frame: Whole | None = None,
) -> Float[np.ndarray, "*layers pairs"]:
    """X_ij = |chi_j - chi_i| at the input of each layer, for the pairs of any block; no unit.

    Args:
        layer: one, or how to combine them; None: the axis stays.
        frame: only the pairs of this one, in the order of :meth:`AttentionRecord.pairs`.

    Raises:
        UserError: the model has no SPHCs.
    """
    pairs = record.neighbours(block)
    if record.sphc is None:
        raise UserError("This record's model has no SPHCs, and so no distances between them.")
    keep = slice(None) if frame is None else record.pairs(frame, block)
    if block == "spherical":
        return combined(record.spherical.sphc_distance[:, keep], layer, 0, "layer")
    chi = record.sphc[:-1]
    if isinstance(layer, Whole):  # the others need not be computed
        chi, layer = combined(chi, layer, 0, "layer")[None], 0
    frames, sender, receiver = pairs.frame[keep], pairs.sender[keep], pairs.receiver[keep]
    distance = np.linalg.norm(chi[:, frames, sender] - chi[:, frames, receiver], axis=-1)
    return combined(distance, layer, 0, "layer")


class Choices(NamedTuple):
    """What to compare of a record; defaults are those of :meth:`AttentionRecord.select`."""

    block: str
    quantity: str = "weighted"
    layer: Choice = 0
    channel: Choice = 0
    frame: Choice = 0

    @classmethod
    def of(cls, choice: Mapping[str, Any] | None, record: AttentionRecord) -> Choices:
        """From a dictionary with any of the fields; the block is the record's first by default.

        Raises:
            UserError: a key that is none of these, or an axis that stays.
        """
        choice = {"block": record.blocks[0], **(choice or {})}
        if unknown := sorted(set(choice) - set(cls._fields)):
            raise UserError(f"Unknown choice {unknown}: choose by {', '.join(cls._fields)}.")
        if None in (choice.get(name, 0) for name in ("layer", "channel", "frame")):
            raise UserError(
                "A comparison needs one number for each pair: give layer, channel and frame a "
                f"number or a way to combine them ({', '.join(REDUCTIONS)}), not None."
            )
        return cls(**choice)

    def limit(self, record: AttentionRecord) -> float:
        """Largest size over all frames, and over all layers and channels where one is chosen."""
        return limit(record, self.block, self.quantity, layer=self.layer, channel=self.channel)


def difference(
    a: AttentionRecord,
    b: AttentionRecord,
    choose_a: Mapping[str, Any] | None = None,
    choose_b: Mapping[str, Any] | None = None,
    *,
    relative: bool = False,
) -> Float[np.ndarray, "atoms atoms"]:
    """Attention of ``a`` less that of ``b``, as [receiver, sender]; 0 for pairs that neither lists.

    The two may be of one record (heads, layers, frames), of two models, or of two architectures.

    Args:
        choose_a, choose_b: any of block, quantity, layer, channel and frame as for `matrix`, 0 by
            default; ``{"layer": 1, "channel": "sum"}``.
        relative: divide each side by its own `Choices.limit` first. Numbers of two blocks, or of
            two architectures, have no scale in common; as parts of their largest they have.

    Raises:
        UserError: the two are not the same elements in the same order.
    """
    sides, elements = [], []
    for record, choice in ((a, choose_a), (b, choose_b)):
        choice = Choices.of(choice, record)
        frame = choice.frame if isinstance(choice.frame, Whole) else 0
        values = matrix(record, **choice._asdict())
        elements.append(record.numbers[frame][: len(values)])
        sides.append(values / ((choice.limit(record) or 1.0) if relative else 1.0))
    if not np.array_equal(*elements):
        raise UserError(
            f"The two are not one molecule: atomic numbers {elements[0].tolist()} and "
            f"{elements[1].tolist()}; compare the same elements in the same order."
        )
    return sides[0] - sides[1]


def pair_difference(
    a: AttentionRecord,
    b: AttentionRecord,
    choose_a: Mapping[str, Any] | None = None,
    choose_b: Mapping[str, Any] | None = None,
) -> Float[np.ndarray, "pairs"]:
    """The same for each directed pair of all frames, where both list the same pairs.

    Arguments as of `difference`, without frames. A UserError says if the pairs are not the same.
    """
    sides, listed = [], []
    for record, choice in ((a, choose_a), (b, choose_b)):
        block, quantity, layer, channel, frame = Choices.of(choice, record)
        if frame != 0:
            raise UserError("Pairs of all frames are compared: choose with record.frames(...).")
        sides.append(aggregate(record, block, quantity, layer=layer, channel=channel))
        pairs = record.neighbours(block)
        ends = pairs.receiver, pairs.sender
        elements = [record.numbers[pairs.frame, end] for end in ends]
        listed.append(np.stack([pairs.frame, *ends, *elements]))
    if not np.array_equal(*listed):
        raise UserError(
            f"The two list other pairs ({listed[0].shape[1]} and {listed[1].shape[1]}): compare "
            "them frame by frame with difference(...), which fills what one of them lacks with 0."
        )
    return sides[0] - sides[1]


def path_sum(
    record: AttentionRecord, frame: Whole = 0, block: str | None = None, *, channel: Choice = "sum"
) -> Float[np.ndarray, "atoms atoms"]:
    """P = (1 + A_L) … (1 + A_2) (1 + A_1) - 1: how an atom reaches another through all layers.

    A_l is the weighted attention of layer l, signed and directed, [receiver, sender]; the 1 is what
    an atom keeps of itself. P_ij adds up all paths from j to i that step to a neighbour, or stay,
    once in each layer, each counted by the product of the attention along it; the path that stays
    all the way is taken off. Orders of GeomAtt have streams of their own that never meet before the
    end, so there each order has its paths, and they are combined at the end.

    **A heuristic, and no more.** It chains coefficients as if each atom handed on a number. In the
    network values are multiplied by matrices, so signs and sizes of a path may differ from the
    product; heads, features and SPHCs mix in non-linear steps; coefficients are themselves products
    of features, which makes the paths of attention only one way for an atom to matter. In the
    geometric and spherical blocks messages are directions Y_l that do not depend on what the sender
    collected: there P says who *can* be reached, hardly how much. Unlike rollout of softmax
    attention it is no distribution: rows sum to anything and paths may cancel. P is neither a
    gradient nor an effect; to know what a pair does to energy and forces, switch it off.

    Args:
        channel: one channel, or how to combine them in each layer.
    """
    if channel is None:
        raise UserError("Paths need one number per pair and layer: choose a channel or combine.")
    if BLOCKS[block or record.blocks[0]].streams:
        A = matrix(record, block, layer=None, channel=None, frame=frame)
        per_order = [_paths(A[..., order]) for order in range(A.shape[-1])]
        return combined(np.stack(per_order), channel, 0, "channel")
    return _paths(matrix(record, block, layer=None, channel=channel, frame=frame))


def _paths(A: Float[np.ndarray, "layers atoms atoms"]) -> Float[np.ndarray, "atoms atoms"]:
    one = np.eye(A.shape[-1])
    product = one
    for A_l in A:
        product = (one + A_l) @ product
    return product - one
