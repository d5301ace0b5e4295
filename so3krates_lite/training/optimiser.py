"""Muon or Adam, with clipping and a schedule."""

from __future__ import annotations

import optax

from so3krates_lite.arrays import Scalar
from so3krates_lite.training.config import TrainConfig
from so3krates_lite.training.muon import Matrices, scale_by_muon


def schedule(config: TrainConfig, steps_per_epoch: int) -> optax.Schedule:
    """Learning rate over steps; the plateau's factor comes on top, once per epoch.

    ``config`` states a rate, see `TrainConfig.for_model`.
    """
    peak = config.learning_rate
    assert peak is not None
    if config.schedule == "cosine":
        total = max(config.epochs * steps_per_epoch, 2)
        rise = max(total // 50, 1)
        return optax.warmup_cosine_decay_schedule(peak / 10, peak, rise, total, peak / 100)
    if config.schedule == "exponential":
        return optax.exponential_decay(peak, transition_steps=100_000, decay_rate=0.7)
    return optax.constant_schedule(peak)


def optimiser(
    clip_norm: Scalar,
    weight_decay: Scalar = 0.0,
    momentum: Scalar = 0.0,
    matrices: Matrices | None = None,
    size: int = 0,
) -> optax.GradientTransformation:
    """Clip the global norm of the gradient, then scale by Adam; the step's length comes outside.

    With ``matrices``, by Muon: what they and the numbers are is told by `scale_by_muon`.
    """
    if matrices is None:
        scaled = optax.scale_by_adam()
    else:
        scaled = scale_by_muon(matrices, size, weight_decay, momentum)
    return optax.chain(optax.clip_by_global_norm(clip_norm), scaled)


def plateau(config: TrainConfig) -> optax.GradientTransformationExtraArgs:
    """Watches the validation loss; its state's ``scale`` multiplies the learning rate."""
    from optax.contrib import reduce_on_plateau

    patience = config.plateau_patience if config.schedule == "plateau" else 10**9
    return reduce_on_plateau(factor=config.plateau_factor, patience=patience, rtol=1e-4)
