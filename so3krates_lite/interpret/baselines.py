"""What stands in for a coefficient that is taken away: nothing, a mean, another frame's, a patch.

To switch a coefficient off one must put something in its place, and each choice asks another
question. **Zero** asks what the message is worth at all; but a network that never saw a zero there
may answer with nonsense. The **mean** over frames keeps what is always the same and takes away what
varies: what does this coefficient know of *this* geometry? **Resampled** values, each drawn from
another frame, are values that do occur, though not together. A **patch** takes them from one second
structure of the same atoms: does this place carry what makes the two structures differ?

Coefficients and features x are invariant and may be taken from a structure in any orientation. The
SPHCs chi turn with it, so the other structures are laid upon the frame first (best rotation of all
atoms, no reflection).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from so3krates_lite.config import ModelConfig, So3kratesConfig
from so3krates_lite.energies import network
from so3krates_lite.errors import UserError, require
from so3krates_lite.potential import Potential
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.blocks import BLOCKS
from so3krates_lite.runtime.settings import Compiled, precision_context
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.buckets import in_parts
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch, pair_vectors

KINDS = ("zero", "mean", "resampled", "patch")
# by name of a block or of features, with an axis of draws in front; what is not there is zero
Values = dict[str, Float[np.ndarray, "draws layers *rest"]]


def channels_of(config: ModelConfig) -> dict[str, int]:
    """Blocks of a model and how many channels each has."""
    channels = {block: getattr(config, BLOCKS[block].channels) for block in config.blocks}
    return {block: n if isinstance(n, int) else len(n) for block, n in channels.items()}


def known_block(config: ModelConfig, block: str | None) -> str:
    """A block's name, if the model has it; None: the first one's."""
    blocks = channels_of(config)
    if block is not None and block not in blocks:
        raise UserError(f"The model has no block '{block}': choose one of {', '.join(blocks)}.")
    return block or next(iter(blocks))


class States(NamedTuple):
    """Features between the layers: at the start, and after each layer.

    Of a GeomAtt x holds the features of its streams, one beside the other, and there is no chi.
    """

    x: Float[np.ndarray, "states frames atoms width"]
    chi: Float[np.ndarray, "states frames atoms m_tot"] | None


def states_of(potential: Potential, frames: Frames, batch_size: int = 64) -> States:
    """x and chi of all frames, at the start and after each layer; 0 for padding atoms.

    Raises:
        UserError: an element that the training data did not hold
    """
    potential.check_elements(frames.numbers)
    batch = make_batch(frames, potential.config, spare=True, dtype=potential.dtype)
    size, parts = min(batch_size, 1 << (len(frames) - 1).bit_length()), []
    for _, chosen in in_parts(np.arange(len(frames)), size):
        with precision_context(potential.dtype):
            found = _states(potential.device_params, batch[chosen], potential.config)
        parts.append(jax.device_get(found))
    mask = frames.trimmed().mask[..., None]

    def joined(name: str) -> Float[np.ndarray, "states frames atoms width"] | None:
        if name not in parts[0]:
            return None
        every = np.concatenate([part[name] for part in parts], axis=1)[:, : len(frames)]
        return np.where(mask, every.astype(np.float64), 0)

    return States(joined("x"), joined("chi"))


@partial(Compiled, static_argnames="config")
def _states(params: dict, batch: Batch, config: ModelConfig) -> dict:
    model, vectors = network(config), pair_vectors(batch, config)
    _, left = model.apply({"params": params}, batch, vectors, mutable=["states"])
    left = left["states"]
    if not isinstance(config, So3kratesConfig):
        streams = [left[f"order_{k}"]["x"] for k in config.orders]
        return {"x": jax.numpy.concatenate(streams, axis=-1)}

    def all_states(name: str) -> jax.Array:
        every = jax.numpy.concatenate([left[name][None], left["layers"][name]])
        return every.reshape(len(every), *batch.numbers.shape, -1)

    return {"x": all_states("x"), "chi": all_states("chi")}


@dataclass(frozen=True, eq=False)
class Baseline:
    """What stands in for what is taken away.

    Args:
        kind: "zero", "mean", "resampled" or "patch"
        frames: where values come from: frames of the same atoms in the same order; one for a patch
        draws: how often values are drawn; each case is then computed so often
        seed: of the drawing

    A pair that a frame does not list, being beyond the cutoff, has no coefficient there: means and
    draws are taken over the frames that list it; where none does, the coefficient is 0.
    """

    kind: str = "zero"
    frames: Frames | None = None
    draws: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.kind in KINDS, "kind", self.kind, f"one of {KINDS}")
        require(self.draws >= 1, "draws", self.draws, "a positive whole number")
        if (self.frames is None or len(self.frames) == 0) and self.kind != "zero":
            raise UserError(f"A baseline '{self.kind}' takes values from frames: give it some.")
        if self.kind == "patch" and len(self.frames) != 1:
            raise UserError(f"A patch comes from one frame, and {len(self.frames)} were given.")

    @property
    def size(self) -> int:
        """How many values stand in for each coefficient, one after the other."""
        return self.draws if self.kind == "resampled" else 1

    def values(self, potential: Potential, frame: Frames, *, states: bool = False) -> Values:
        """What stands in, for a frame: coefficients, and with ``states`` x and chi as well."""
        if self.kind == "zero":
            return {}
        donors = self.donors(frame)
        found = coefficients(potential.attention(donors))
        if states:
            left = states_of(potential, laid_upon(donors, frame))
            named = {k: v for k, v in left._asdict().items() if v is not None}
            found |= {name: np.swapaxes(v, 0, 1) for name, v in named.items()}
        rng = np.random.default_rng(self.seed)
        return {name: self._chosen(array, rng) for name, array in found.items()}

    def _chosen(self, array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """From values by frame, nan where there is none, to those that stand in."""
        there = ~np.isnan(array)
        count = there.sum(axis=0)
        if self.kind != "resampled":
            total = np.where(there, array, 0).sum(axis=0)
            return (total / np.maximum(count, 1))[None]
        # of a pair all layers and channels, of an atom all features come from one frame together
        listed = there.all(axis=(1, -1))
        order = np.argsort(rng.random((self.draws, *listed.shape)) + ~listed, axis=1)[:, 0]
        index = np.expand_dims(order, (1, order.ndim + 1))
        drawn = [np.take_along_axis(array, one[None], axis=0)[0] for one in index]
        return np.nan_to_num(np.stack(drawn))

    def donors(self, frame: Frames) -> Frames:
        """The frames that values for a frame come from.

        Raises:
            UserError: they hold other atoms
        """
        donors, atoms = self.frames.trimmed(), frame.numbers[0, : int(frame.n_atoms[0])]
        if donors.max_atoms != len(atoms) or (donors.numbers != atoms).any():
            raise UserError(
                f"A baseline '{self.kind}' needs frames of the same atoms in the same order as "
                f"the frame that is changed: choose them, or take the baseline 'zero'."
            )
        return donors


ZERO = Baseline()


def coefficients(
    record: AttentionRecord,
) -> dict[str, Float[np.ndarray, "frames layers atoms atoms channels"]]:
    """Coefficients of each block by [receiver, sender]; nan where a pair is not listed.

    Raises:
        UserError: a pair is listed with several of its periodic images
    """
    found, (frames, atoms) = {}, record.numbers.shape
    for block in record.blocks:
        pairs, values = record.neighbours(block), record.attention(block).coefficient
        where = pairs.frame, pairs.receiver, pairs.sender
        if len(np.unique(np.ravel_multi_index(where, (frames, atoms, atoms)))) < pairs.n_pairs:
            raise UserError(
                "A pair is listed with several periodic images, which have one coefficient each: "
                "for this cell take the baseline 'zero'."
            )
        dense = np.full((frames, atoms, atoms, len(values), values.shape[-1]), np.nan)
        dense[where] = np.swapaxes(values, 0, 1)
        found[block] = np.moveaxis(dense, 3, 1)
    return found


def laid_upon(frames: Frames, frame: Frames) -> Frames:
    """``frames`` turned and moved so that their atoms come as near to those of ``frame`` as can be.

    Periodic frames stay as they are: their cells are aligned already. About the axis of a linear
    molecule any turn is as good as another.
    """
    if frames.is_periodic:
        return frames
    from scipy.spatial.transform import Rotation

    target = frame.positions[0, : frames.max_atoms]
    centre, turned = target.mean(axis=0), []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Optimal rotation is not uniquely")
        for R in frames.positions:
            R = R - R.mean(axis=0)
            if len(R) > 1:
                R = Rotation.align_vectors(target - centre, R)[0].apply(R)
            turned.append(R + centre)
    return frames.replace(positions=np.array(turned), forces=None)


def only(frame: Frames) -> int:
    """Number of atoms of the one frame."""
    if len(frame) != 1:
        raise UserError(f"One frame is needed, and {len(frame)} were given: choose one.")
    return int(frame.n_atoms[0])


def chosen(name: str, index: int | None, size: int) -> Int[np.ndarray, "chosen"]:
    """One of ``size``, counted from 0 or from the end; None: all."""
    if index is None:
        return np.arange(size)
    if not -size <= index < size:
        raise UserError(f"{name} {index} does not exist: the model has {size}.")
    return np.array([index % size])
