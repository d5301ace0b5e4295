"""Does attention matter? Switch it off, and see what energy and forces do.

A large coefficient says that the model weights a message. It does not say that the message carries
anything, nor that another path would not carry it instead. So here coefficients are set to zero,
those of a pair, of a channel or of a layer, everything else stays as it is, and energy and forces
are computed anew. The change is what the model's answer owes to them, within this network: an
intervention on the model, not on the molecule. What the molecule's forces owe to an atom's place is
`sensitivity`, and it needs no attention at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from so3krates_lite.config import ModelConfig
from so3krates_lite.energies import Switches, energy_and_forces
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.record.blocks import BLOCKS
from so3krates_lite.runtime.settings import Compiled, precision_context
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch

CASES_AT_ONCE = 32


class Effect(NamedTuple):
    """What switching off changes: switched less trained, for each case.

    energy in eV, forces in eV/Å.
    """

    energy: Float[np.ndarray, "cases"]
    forces: Float[np.ndarray, "cases atoms 3"]

    @property
    def force_size(self) -> Float[np.ndarray, "cases"]:
        """Root of the summed squares of all changes of forces, eV/Å."""
        return np.sqrt((self.forces**2).sum(axis=(1, 2)))


class PairEffects(NamedTuple):
    """An `Effect` for each directed pair of a frame."""

    receiver: Int[np.ndarray, "pairs"]
    sender: Int[np.ndarray, "pairs"]
    effect: Effect


def channels_of(config: ModelConfig) -> dict[str, int]:
    """Blocks of a model and how many channels each has."""
    channels = {block: getattr(config, BLOCKS[block].channels) for block in config.blocks}
    return {block: n if isinstance(n, int) else len(n) for block, n in channels.items()}


def switch_off(
    potential: Potential,
    frame: Frames,
    *,
    block: str | None = None,
    layer: int | None = None,
    channel: int | None = None,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> Effect:
    """Energy and forces of one frame with some attention coefficients set to zero.

    Args:
        frame: one structure
        block: "feature", "geometric", "spherical" or "correlation"; None: all
        layer, channel: one of them, counted from 0, negative ones from the end; None: all
        pairs: (receiver, sender) of each directed pair; None: all
    """
    atoms = _one(frame)
    off = np.ones((atoms, atoms)) if pairs is None else np.zeros((atoms, atoms))
    for receiver, sender in pairs or ():
        if not (0 <= receiver < atoms and 0 <= sender < atoms):
            raise UserError(
                f"The pair ({receiver}, {sender}) does not exist: the frame has {atoms} atoms."
            )
        off[receiver, sender] = 1
    return _effects(potential, frame, off[None], block, [(layer, channel)])


def effects_of_pairs(
    potential: Potential,
    frame: Frames,
    *,
    block: str | None = None,
    layer: int | None = None,
    channel: int | None = None,
) -> PairEffects:
    """Every directed pair that attends in a block, switched off one at a time.

    Args: as of `switch_off`.
    """
    atoms = _one(frame)
    record = potential.attention(frame)
    attends = np.zeros((atoms, atoms), bool)
    for name in record.blocks if block is None else (block,):
        listed = record.neighbours(name)
        attends[listed.receiver, listed.sender] = True
    receiver, sender = np.nonzero(attends)
    off = np.zeros((len(receiver), atoms, atoms))
    off[np.arange(len(receiver)), receiver, sender] = 1
    effect = _effects(potential, frame, off, block, [(layer, channel)] * len(receiver))
    return PairEffects(receiver, sender, effect)


def effects_of_channels(
    potential: Potential, frame: Frames, *, block: str | None = None
) -> tuple[Float[np.ndarray, "layers channels"], Float[np.ndarray, "layers channels"]]:
    """Each head, degree or order of each layer switched off: change of energy (eV), and size of
    the change of forces (eV/Å)."""
    blocks = channels_of(potential.config)
    block = block or next(iter(blocks))
    _known(blocks, block)
    layers, channels, atoms = potential.config.layers, blocks[block], _one(frame)
    cases = [(layer, channel) for layer in range(layers) for channel in range(channels)]
    effect = _effects(potential, frame, np.ones((len(cases), atoms, atoms)), block, cases)
    shape = (layers, channels)
    return effect.energy.reshape(shape), effect.force_size.reshape(shape)


def sensitivity(potential: Potential, frame: Frames) -> Float[np.ndarray, "atoms atoms"]:
    """|dF_i / dr_j| (Frobenius norm, eV/Å^2): how the force on i follows the place of j.

    It is symmetric: both are the same second derivative of the energy.
    """
    _one(frame)
    return np.sqrt((potential.hessian(frame) ** 2).sum(axis=(1, 3)))


def _one(frame: Frames) -> int:
    if len(frame) != 1:
        raise UserError(f"One frame is needed, and {len(frame)} were given: choose one.")
    return int(frame.n_atoms[0])


def _known(blocks: dict[str, int], block: str) -> None:
    if block not in blocks:
        raise UserError(f"The model has no block '{block}': choose one of {', '.join(blocks)}.")


def _effects(
    potential: Potential,
    frame: Frames,
    off: Float[np.ndarray, "cases atoms atoms"],
    block: str | None,
    where: Sequence[tuple[int | None, int | None]],
) -> Effect:
    """Each case: coefficients of pairs in ``off`` are zero, in its layer and channel."""
    config, dtype = potential.config, potential.dtype
    blocks = channels_of(config)
    if block is not None:
        _known(blocks, block)
        blocks = {block: blocks[block]}
    batch = make_batch(frame.trimmed(), config, dtype=dtype)
    copies = batch[np.zeros(CASES_AT_ONCE, int)]
    before = potential.predict_batch(batch)
    energies, forces = [], []
    for start in range(0, len(off), CASES_AT_ONCE):
        cases = range(start, min(start + CASES_AT_ONCE, len(off)))
        switches = {}
        for name, channels in blocks.items():
            shape = (config.layers, CASES_AT_ONCE, *off.shape[1:], channels)
            factors = np.ones(shape, dtype)
            for n, case in enumerate(cases):
                layer, channel = where[case]
                layers = _chosen("layer", layer, config.layers)
                for one in _chosen("channel", channel, channels):
                    factors[layers, n, :, :, one] -= off[case]
            switches[name] = factors
        with precision_context(dtype):
            found = _switched(potential.device_params, copies, switches, config)
        energy, force = (np.asarray(v, np.float64) * potential.energy_scale for v in found)
        energies.append(energy[: len(cases)])
        forces.append(force[: len(cases)])
    return Effect(np.concatenate(energies) - before[0], np.concatenate(forces) - before[1])


def _chosen(name: str, index: int | None, size: int) -> list[int]:
    if index is None:
        return list(range(size))
    if not -size <= index < size:
        raise UserError(f"{name} {index} does not exist: the model has {size}.")
    return [index % size]


@partial(Compiled, static_argnames="config")
def _switched(params: dict, batch: Batch, switches: Switches, config: ModelConfig):
    return energy_and_forces(params, batch, config, switches)
