"""Pair weights of any other code as an attention record, so that all pictures can show them.

Whoever has one number for each directed pair of atoms, layer and head has all that a record needs:
attention of a transformer, weights of a message-passing network, interaction energies of a
decomposition. They stand in a block of their own, ``given``, whose words claim nothing of how the
numbers came about.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from so3krates_lite.errors import UserError
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.parts import BlockAttention

_DENSE = "(layers, heads, atoms, atoms), with frames in front where there are several"
_LISTED = "(layers, heads, pairs)"


def record_from_arrays(
    numbers: ArrayLike,
    positions: ArrayLike,
    weights: ArrayLike,
    *,
    pairs: ArrayLike | None = None,
    vectors: ArrayLike | None = None,
    coefficients: ArrayLike | None = None,
    contributions: ArrayLike | None = None,
) -> AttentionRecord:
    """A record with the one block ``given`` from arrays of another code.

    Two layers with one head of a water molecule, in which only the oxygen asks:

    >>> import numpy as np
    >>> from so3krates_lite.record import record_from_arrays
    >>> numbers = [8, 1, 1]
    >>> positions = [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]
    >>> weights = np.zeros((2, 1, 3, 3))
    >>> weights[:, 0, 0, 1:] = [[0.5, 0.5], [0.9, 0.1]]
    >>> record = record_from_arrays(numbers, positions, weights)
    >>> record.n_pairs, record.channel_names()
    (2, ['head 0'])
    >>> record.matrix(layer=1)[0].tolist()
    [0.0, 0.9, 0.1]

    The same as a list of pairs, receiver first:

    >>> listed = record_from_arrays(
    ...     numbers, positions, [[[0.5, 0.5]], [[0.9, 0.1]]], pairs=[(0, 1), (0, 2)]
    ... )
    >>> np.array_equal(listed.given.weighted, record.given.weighted)
    True

    Args:
        numbers: atomic numbers, (atoms,) or (frames, atoms); 0 for padding
        positions: Å, (atoms, 3) or (frames, atoms, 3)
        weights: without ``pairs`` (layers, heads, atoms, atoms), [receiver, sender], or (frames,
            layers, heads, atoms, atoms): pairs whose weights are all 0 are not listed. With
            ``pairs`` (layers, heads, pairs)
        pairs: (receiver, sender) of each directed pair, or (frame, receiver, sender)
        vectors: Å, from receiver to sender, (pairs, 3), where pairs are with periodic images; None:
            the differences of the positions
        coefficients: the numbers before a cutoff, of the shape of ``weights``; None: the weights
        contributions: sizes of what each pair adds, likewise; None: the sizes of the weights

    Raises:
        UserError: naming the argument, where shapes do not fit together or a value is not finite
    """
    numbers = np.atleast_2d(_array("numbers", numbers, int))
    positions = _array("positions", positions)
    if positions.ndim == 2:
        positions = positions[None]
    _refuse_unless(positions.shape == (*numbers.shape, 3), "positions", positions, "atoms and 3")
    given = {"weights": weights, "coefficients": coefficients, "contributions": contributions}
    values = {name: _array(name, v) for name, v in given.items() if v is not None}
    for name, array in values.items():
        if not np.isfinite(array).all():
            raise UserError(f"{name} holds a value that is not finite: check what wrote it.")
        same = array.shape == values["weights"].shape
        _refuse_unless(same, name, array, f"that of weights, {values['weights'].shape}")
    if pairs is None:
        if vectors is not None:
            raise UserError("vectors belong to a list of pairs: give pairs as well.")
        where, by_pair = _of_matrices(values, numbers)
    else:
        where, by_pair = _of_list(values, np.asarray(pairs), numbers)
    frame, receiver, sender = where
    vector = positions[frame, sender] - positions[frame, receiver]
    if vectors is not None:
        vector = _array("vectors", vectors)
        _refuse_unless(vector.shape == (len(frame), 3), "vectors", vector, f"({len(frame)}, 3)")
    weighted = by_pair["weights"]
    return AttentionRecord(
        frame=frame,
        receiver=receiver,
        sender=sender,
        distance=np.linalg.norm(vector, axis=-1),
        vector=vector,
        numbers=numbers,
        positions=positions,
        cutoff=np.inf,
        given=BlockAttention(
            by_pair.get("coefficients", weighted),
            weighted,
            by_pair.get("contributions", np.abs(weighted)),
        ),
    )


def _array(name: str, values: ArrayLike, dtype: type = float) -> np.ndarray:
    try:
        return np.asarray(values, dtype)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} is no array of numbers: {error}.") from None


def _refuse_unless(fits: bool, name: str, array: np.ndarray, expected: str) -> None:
    if not fits:
        raise UserError(f"{name} has shape {array.shape}: expected is {expected}.")


Listed = tuple[tuple[np.ndarray, ...], dict[str, Any]]


def _of_matrices(values: dict[str, np.ndarray], numbers: np.ndarray) -> Listed:
    """Where pairs stand that have any weight, and values as (layers, pairs, heads)."""
    frames, atoms = numbers.shape
    if frames == 1 and values["weights"].ndim == 4:
        values = {name: array[None] for name, array in values.items()}
    shape = values["weights"].shape
    fits = len(shape) == 5 and (shape[0], *shape[3:]) == (frames, atoms, atoms)
    _refuse_unless(fits, "weights", values["weights"], f"{_DENSE} (here {frames}), {atoms} atoms")
    where = np.nonzero(np.any([(v != 0).any(axis=(1, 2)) for v in values.values()], axis=0))
    frame, receiver, sender = where
    chosen = {name: v[frame, :, :, receiver, sender] for name, v in values.items()}
    return where, {name: v.transpose(1, 0, 2) for name, v in chosen.items()}


def _of_list(values: dict[str, np.ndarray], pairs: np.ndarray, numbers: np.ndarray) -> Listed:
    _refuse_unless(
        pairs.ndim == 2 and pairs.shape[1] in (2, 3) and pairs.dtype.kind in "iu",
        "pairs",
        pairs,
        "(pairs, 2) or, with the frame in front, (pairs, 3), of whole numbers",
    )
    if pairs.shape[1] == 2:
        if len(numbers) > 1:
            raise UserError("pairs of several frames need the frame in front: (pairs, 3).")
        pairs = np.column_stack([np.zeros(len(pairs), int), pairs])
    outside = (pairs < 0) | (pairs >= [len(numbers), *2 * numbers.shape[1:]])
    if outside.any():
        wrong = tuple(pairs[outside.any(axis=1)][0].tolist())
        raise UserError(
            f"pairs holds (frame, receiver, sender) = {wrong}: counted from 0, there are "
            f"{len(numbers)} frame(s) of {numbers.shape[1]} atoms."
        )
    fits = values["weights"].ndim == 3 and values["weights"].shape[2] == len(pairs)
    _refuse_unless(fits, "weights", values["weights"], f"{_LISTED}, with {len(pairs)} pairs")
    return tuple(pairs.T), {name: v.transpose(0, 2, 1) for name, v in values.items()}
