"""What a run is refused for, before it or on the way, and what is told of its data."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from so3krates_lite.config import ModelConfig
from so3krates_lite.datasets.on_disk import FramesOnDisk
from so3krates_lite.datasets.splits import Split
from so3krates_lite.errors import UserError
from so3krates_lite.physics.dispersion import FREE_ATOMS
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training.config import TrainConfig
from so3krates_lite.training.run import RunFolder


class TrainingDiverged(UserError):
    """A loss or gradient became NaN or infinite."""


def check_labels(frames: Frames | FramesOnDisk, split: Split, model: ModelConfig) -> None:
    for name in ("energy", "forces"):
        if name not in frames.known:
            why = frames.lacking(name)
            raise UserError(f"Training needs {name}, but the frames have none{why}.")
    for name in ("train", "valid"):
        if len(getattr(split, name)) == 0:
            raise UserError(f"The split has no {name} frames: at least one is needed.")
    if model.has_ratios and (unknown := set(frames.elements.tolist()) - set(FREE_ATOMS)):
        raise UserError(
            f"Dispersion has numbers for the elements {sorted(FREE_ATOMS)}, but the frames hold "
            f"{sorted(unknown)}: leave dispersion out of physics, or train on other frames."
        )


def facts_of(frames: Frames | FramesOnDisk, split: Split, settings: TrainConfig) -> dict[str, Any]:
    return {
        "data": frames.info.get("name", "unnamed frames"),
        "level of theory": frames.info.get("level_of_theory", "not stated"),
        "training frames": len(split.train),
        "validation frames": len(split.valid),
        "seed": settings.seed,
        **({"members": settings.members} if settings.members > 1 else {}),
        "fingerprint": split.fingerprint(frames),
    }


def check_finite(
    losses: Float[np.ndarray, "members steps"],
    norms: Float[np.ndarray, "members steps"],
    first_step: int,
    epoch: int,
    run: RunFolder | None,
    seeds: list[int],
) -> None:
    """Raise where a loss or a gradient is not finite, and name the member that it is of."""
    wrong = ~(np.isfinite(losses) & np.isfinite(norms))
    if not wrong.any():
        return
    member = int(np.argmax(wrong.any(axis=1)))
    bad, losses = wrong[member], losses[member]
    whose = "The loss"
    if len(seeds) > 1:
        whose += f" of member {member} (seed {seeds[member]})"
    k = int(np.argmax(bad))
    before = losses[:k][np.isfinite(losses[:k])]
    if k == 0 and first_step == 0:
        cause = "it was so from the first step: check the energies, forces and positions"
    elif len(before) and before[-1] > 10 * np.median(before):
        cause = "the loss had been growing: lower the learning rate or clip_norm"
    else:
        cause = "it came suddenly: look for atoms on top of each other, or lower the learning rate"
    saved = run is not None and run.state.is_file()
    kept = f" The last good checkpoint is kept in {run.path}." if saved else ""
    raise TrainingDiverged(
        f"{whose} became {losses[k]} at step {first_step + k + 1} (epoch {epoch}); {cause}.{kept}"
    )
