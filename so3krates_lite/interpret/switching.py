"""Does attention matter? Switch it off, and see what energy and forces do.

The plainest of `interventions`: coefficients of a pair, of a channel or of a layer are set to zero,
everything else stays as it is. What the molecule's forces owe to an atom's place is `sensitivity`,
and it needs no attention at all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from so3krates_lite.interpret.baselines import ZERO, Baseline, channels_of, known_block, only
from so3krates_lite.interpret.interventions import Effect, Pairs, Place, intervene
from so3krates_lite.potential import Potential
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.structures.frames import Frames


class PairEffects(NamedTuple):
    """An `Effect` for each directed pair of a frame."""

    receiver: Int[np.ndarray, "pairs"]
    sender: Int[np.ndarray, "pairs"]
    effect: Effect


def switch_off(
    potential: Potential,
    frame: Frames,
    *,
    block: str | None = None,
    layer: int | None = None,
    channel: int | None = None,
    pairs: Pairs | None = None,
    baseline: Baseline = ZERO,
) -> Effect:
    """What changes of one frame with some attention coefficients set to zero.

    Args:
        frame: one structure
        block: "feature", "geometric", "spherical" or "correlation"; None: all
        layer, channel: one of them, counted from 0, negative ones from the end; None: all
        pairs: (receiver, sender) of each directed pair; None: all
        baseline: what they are set to instead
    """
    return intervene(potential, frame, [Place(block, layer, channel, pairs)], baseline)


def effects_of_pairs(
    potential: Potential,
    frame: Frames,
    *,
    block: str | None = None,
    layer: int | None = None,
    channel: int | None = None,
    baseline: Baseline = ZERO,
) -> PairEffects:
    """Every directed pair that attends in a block, switched off one at a time.

    Args: as of `switch_off`.
    """
    only(frame)
    pairs = pairs_of(potential.attention(frame), block)
    cases = [Place(block, layer, channel, pair[None]) for pair in pairs]
    return PairEffects(*pairs.T, intervene(potential, frame, cases, baseline))


def pairs_of(record: AttentionRecord, block: str | None = None) -> Int[np.ndarray, "pairs 2"]:
    """(receiver, sender) of each pair of atoms that attends in a block (None: in any) of a record
    of one frame; in reading order, each once however many images it has."""
    attends = np.zeros((record.numbers.shape[1],) * 2, bool)
    for name in record.blocks if block is None else (block,):
        listed = record.neighbours(name)
        attends[listed.receiver, listed.sender] = True
    return np.argwhere(attends)


def effects_of_channels(
    potential: Potential, frame: Frames, *, block: str | None = None
) -> tuple[Float[np.ndarray, "layers channels"], Float[np.ndarray, "layers channels"]]:
    """Each head, degree or order of each layer switched off: change of energy (eV), and size of
    the change of forces (eV/Å)."""
    block = known_block(potential.config, block)
    shape = potential.config.layers, channels_of(potential.config)[block]
    effect = intervene(potential, frame, [Place(block, *where) for where in np.ndindex(shape)])
    return effect.energy.reshape(shape), effect.force_size.reshape(shape)


def sensitivity(potential: Potential, frame: Frames) -> Float[np.ndarray, "atoms atoms"]:
    """|dF_i / dr_j| (Frobenius norm, eV/Å^2): how the force on i follows the place of j.

    It is symmetric: both are the same second derivative of the energy.
    """
    only(frame)
    return np.sqrt((potential.hessian(frame) ** 2).sum(axis=(1, 3)))
