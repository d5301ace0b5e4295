"""What a run begins from: the energy zero, the unit of energy, and the weights of each member."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from so3krates_lite.config import ModelConfig
from so3krates_lite.datasets.on_disk import FramesOnDisk
from so3krates_lite.energies import initialise
from so3krates_lite.ensemble import Ensemble
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch
from so3krates_lite.training.config import TrainConfig
from so3krates_lite.training.statistics import element_shift, energy_scale, isolated_atoms

FARTHEST_ZERO = 1.0  # eV per atom, of a zero that training may move by itself


def zero_and_scale(
    frames: Frames | FramesOnDisk,
    training: Frames | FramesOnDisk,
    settings: TrainConfig,
    model: ModelConfig,
    start: Potential | None,
) -> tuple[Float[np.ndarray, "elements"], float]:
    """eV per atomic number and eV per unit of the network: fitted, or those of ``start``."""
    if start is None:
        shift = element_shift(
            _zero_from(frames, training, settings.energy_shift), settings.energy_shift
        )
        # physical terms are in eV, so the network beside them is, too
        return shift, energy_scale(
            training, "none" if model.physics else settings.energy_scale, shift
        )
    if settings.refit_shift:
        zero = _zero_from(frames, training, settings.energy_shift)
        return _refitted_shift(zero, start, settings.energy_shift), start.energy_scale
    _check_zero(training, start)
    return start.element_shift, start.energy_scale


def first_params(
    start: Potential | None, seeds: list[int], batch: Batch, model: ModelConfig, dtype: np.dtype
) -> list[dict]:
    """The weights that each member begins from: of its seed, or of ``start``."""
    if start is None:
        return [initialise(jax.random.key(seed), batch, model) for seed in seeds]
    if isinstance(start, Ensemble):
        if len(start) != len(seeds):
            raise UserError(
                f"members = {len(seeds)}, but the ensemble to begin from has {len(start)}: train "
                f"as many, or begin from one of them, ensemble.member(0)."
            )
        starts = [start.member(k) for k in range(len(seeds))]
    else:
        starts = [start] * len(seeds)
    return [jax.tree.map(lambda leaf: jnp.array(leaf, dtype), one.params) for one in starts]


def _zero_from(
    frames: Frames | FramesOnDisk, training: Frames | FramesOnDisk, mode: str
) -> Frames | FramesOnDisk:
    """The frames whose energies give the element shifts."""
    if mode != "isolated":
        return training
    atoms = frames[isolated_atoms(frames)]
    if missing := sorted(set(training.elements) - set(atoms.elements)):
        from ase.data import chemical_symbols

        names = ", ".join(chemical_symbols[z] for z in missing)
        raise UserError(
            f'energy_shift="isolated" needs the energy of a single atom of each element, but there '
            f'is none of {names}: add such frames, or choose "element".'
        )
    return atoms[np.isin(atoms.numbers[:, 0], training.elements)]


def _check_zero(training: Frames | FramesOnDisk, start: Potential) -> None:
    """Raise where the frames' energies have another zero than those of the potential."""
    some = training[:: max(len(training) // 20, 1)]
    per_atom = (some.energy - start.predict(some).energy) / some.n_atoms
    if (offset := float(np.abs(np.mean(per_atom)))) > FARTHEST_ZERO:
        raise UserError(
            f"The frames' energies are {offset:.1f} eV per atom away from those of the potential "
            f"to begin from: their zero is another one, so fit it anew with refit_shift "
            f"(--refit-shift), or give energies of the same level of theory."
        )


def _refitted_shift(
    frames: Frames | FramesOnDisk, start: Potential, mode: str
) -> Float[np.ndarray, "elements"]:
    """Element shifts for what ``start``'s network leaves of the energies."""

    def left(part: Frames) -> np.ndarray:
        predicted = start.predict(part, allow_unknown_elements=True).energy
        return part.energy - predicted + start.shift(part)

    return element_shift(frames, mode, np.concatenate([left(part) for part in frames.parts()]))


def trained_parts(params: dict, names: tuple[str, ...]) -> tuple[str, ...] | None:
    """The parts of the network that begin with one of ``names``; None: all."""
    if not names:
        return None
    for name in names:
        if not any(part.startswith(name) for part in params):
            raise UserError(
                f"train_only names {name!r}, but the network's parts are "
                f"{', '.join(sorted(params))}: choose of those."
            )
    return tuple(sorted(part for part in params if part.startswith(names)))
