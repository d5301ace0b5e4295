"""The training loop: an epoch is one call to the device.

Data, weights and optimiser state live on the device; `lax.scan` runs over the steps of an epoch, or
of a part of one where the data come from disk (`stream`). The host only draws the order of frames,
decides on learning rate and stopping, and writes the run folder. All of it follows from the seed
and the epoch's number, so that a resumed run and an uninterrupted one give the same numbers.

Several networks are trained side by side in one program (`jax.vmap` over weights, order of frames
and learning rate). Each goes its own way as if it were alone: it has a learning rate that falls
when its own validation says so, a best epoch, and an end. For four members of 60 features and two
layers, five ethanols a step, that takes 27 ms a step, one after another (`jax.lax.map`) 31; of 32
features 17 and 21 (2 CPU cores, shared).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from so3krates_lite.arrays import Scalar
from so3krates_lite.config import ModelConfig, So3kratesConfig
from so3krates_lite.datasets.on_disk import FramesOnDisk
from so3krates_lite.datasets.splits import Split
from so3krates_lite.energies import energy_and_forces, in_passes
from so3krates_lite.ensemble import Ensemble, load_potential
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.runtime.devices import AXIS, EVERYWHERE, SHARED, Number
from so3krates_lite.runtime.settings import Compiled, hardware, precision_context, precision_of
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import optimiser as optimisation
from so3krates_lite.training.beginning import first_params, trained_parts, zero_and_scale
from so3krates_lite.training.checks import check_finite, check_labels, facts_of
from so3krates_lite.training.config import TrainConfig
from so3krates_lite.training.data import (
    Chosen,
    Targets,
    TrainingSet,
    bucketed_gradient,
    validation_chunks,
)
from so3krates_lite.training.devices import is_first, mesh_of, on_all, partner_lost
from so3krates_lite.training.objective import Errors, Labelled, Weights, errors, loss_of
from so3krates_lite.training.progress import Progress, Silent, progress_for_here
from so3krates_lite.training.run import RunFolder
from so3krates_lite.training.state import State, params_of, params_of_each, start_state
from so3krates_lite.training.statistics import isolated_atoms
from so3krates_lite.training.stream import StreamedSet

VALIDATION_BATCH = 50


@dataclass(frozen=True)
class TrainResult:
    """The best potential of a run, its metrics (one row per epoch) and its folder, if any.

    Of several members a row holds means, and the ``valid_loss`` of each beside that.
    """

    potential: Potential
    metrics: list[dict[str, float]]
    folder: Path | None


class Hyper(struct.PyTreeNode):
    """Settings the compiled epoch takes as numbers, so that changing them compiles nothing anew."""

    __no_type_check__ = True  # as of `PairList`

    clip_norm: Scalar
    weight_decay: Scalar
    momentum: Scalar
    ema_decay: Scalar
    weights: Weights

    @classmethod
    def of(cls, settings: TrainConfig) -> Hyper:
        return cls(
            settings.clip_norm,
            settings.weight_decay,
            settings.momentum,
            settings.ema_decay,
            Weights.of(settings),
        )


@partial(Compiled, static_argnames=("config", "trained", "mesh"), donate_argnames="state")
def _epoch(
    state: State,
    data: tuple[Labelled, ...],
    chosen: tuple[Chosen, ...],
    learning_rates: Float[Array, "steps"],
    hyper: Hyper,
    config: ModelConfig,
    trained: tuple[str, ...] | None,
    mesh: Mesh | None = None,
) -> tuple[State, Float[Array, "steps"], Float[Array, "steps"]]:
    """All steps of an epoch; returns the state and each step's loss and gradient norm.

    On a mesh ``chosen`` has an axis of devices after that over steps, see `devices`.
    """

    def of_share(params: dict, data: tuple[Labelled, ...], share: tuple[Chosen, ...]):
        mine = jax.tree.map(lambda leaf: leaf[0], share)
        return bucketed_gradient(params, data, mine, config, hyper.weights, trained, AXIS)

    def loss_and_gradient(params: dict, of_step: tuple[Chosen, ...]):
        if mesh is None:
            return bucketed_gradient(params, data, of_step, config, hyper.weights, trained)
        specs = {"in_specs": (EVERYWHERE, EVERYWHERE, SHARED), "out_specs": EVERYWHERE}
        return jax.shard_map(of_share, mesh=mesh, check_vma=False, **specs)(params, data, of_step)

    def step(state: State, inputs):
        of_step, learning_rate = inputs
        loss, gradient = loss_and_gradient(state.params, of_step)
        numbers = hyper.clip_norm, hyper.weight_decay, hyper.momentum, hyper.ema_decay
        state, norm = state.moved(gradient, learning_rate, *numbers)
        return state, (loss, norm)

    state, (losses, norms) = jax.lax.scan(step, state, (chosen, learning_rates))
    return state, losses, norms


@partial(Compiled, static_argnames=("config", "trained"), donate_argnames="state")
def _epoch_of_each(
    state: State,
    data: tuple[Labelled, ...],
    chosen: tuple[Chosen, ...],
    learning_rates: Float[Array, "members steps"],
    hyper: Hyper,
    config: ModelConfig,
    trained: tuple[str, ...] | None,
) -> tuple[State, Float[Array, "members steps"], Float[Array, "members steps"]]:
    """The same for several networks: state, frames and rates have a leading axis of members."""
    one = partial(_epoch.function, config=config, trained=trained)
    return jax.vmap(one, (0, None, 0, 0, None))(state, data, chosen, learning_rates, hyper)


@partial(Compiled, static_argnames="config")
def _validate(params: dict, chunks: Labelled, config: ModelConfig) -> Errors:
    """Sums of errors over chunks of frames (leading axis)."""

    def chunk_errors(chunk: Labelled) -> Errors:
        E, F = in_passes(energy_and_forces)(params, chunk.batch, config)
        return errors(E, F, chunk)

    return jax.tree.map(lambda sums: sums.sum(0), jax.lax.map(chunk_errors, chunks))


@partial(Compiled, static_argnames="config")
def _validate_each(params: dict, chunks: Labelled, config: ModelConfig) -> Errors:
    """The same for several networks, one after another, which spares memory."""
    return jax.lax.map(lambda one: _validate.function(one, chunks, config), params)


def train(
    frames: Frames | FramesOnDisk,
    split: Split,
    *,
    model: ModelConfig | None = None,
    settings: TrainConfig | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    start: Potential | None = None,
    progress: Progress | None = None,
    card: dict[str, Any] | None = None,
    devices: Number = 1,
) -> TrainResult:
    """Train a potential on ``frames[split.train]``, choosing the best on ``frames[split.valid]``.

    Args:
        frames: with energies and forces; those on disk are read as they are needed, but validation
            frames are held in memory
        split: which frames are for what; test frames are never touched here. Isolated atoms count
            as none of these where the energy shift is theirs
        model, settings: configurations; None: the defaults (or, with ``start``, its own model)
        folder: where the run is kept; None: nowhere
        resume: continue the run in ``folder``; model and settings come from it
        start: weights, energy zero and scale to begin from, instead of random ones
        progress: how progress is shown; None: a bar in a terminal, a live curve in a notebook
        card: further entries for the potential's card
        devices: how many share each step, or "all"; the numbers do not depend on it, and a run may
            be resumed on another number

    Raises:
        UserError: missing labels, an impossible setting, a folder that is taken
        TrainingDiverged: a NaN; the last good checkpoint stays in the folder
    """
    run = RunFolder(folder, writes=is_first()) if folder is not None else None
    if resume:
        if run is None:
            raise UserError("resume=True needs the folder of the run to continue.")
        model, settings, card = run.configuration()
        split, start = run.split(), run.start()
    settings = settings or TrainConfig()
    if start is not None:
        if not settings.refit_shift:
            start.check_elements(frames.elements)
        model = start.config
    model = model or So3kratesConfig()
    settings = settings.for_model(model)
    split.check(frames)
    if settings.energy_shift == "isolated":
        split = split.without(isolated_atoms(frames))
    check_labels(frames, split, model)
    facts = facts_of(frames, split, settings)
    if resume and card.get("fingerprint") not in (None, facts["fingerprint"]):
        raise UserError(
            f"{run.path} was trained on other frames than these: give --resume the same data."
        )
    card = {**facts, **(card or {})}

    dtype = precision_of(settings.precision)
    with precision_context(dtype):
        mesh = mesh_of(devices, min(settings.batch_size, len(split.train)))
        return _train(
            frames, split, model, settings, run, resume, start, progress, card, dtype, mesh
        )


def _train(
    frames, split, model, settings, run, resume, start, progress, card, dtype, mesh
) -> TrainResult:
    if mesh is not None and settings.members > 1:
        raise UserError("The members of an ensemble are trained on one device: leave devices out.")
    streamed = isinstance(frames, FramesOnDisk)
    if streamed and settings.members > 1:
        raise UserError(
            "Members of an ensemble take the frames each in an order of its own, which is not done "
            "from disk: train them one after another, or load the frames."
        )
    training = frames.only(split.train)
    shift, scale = zero_and_scale(frames, training, settings, model, start)
    elements = frozenset(training.elements.tolist())
    if start is not None and not settings.refit_shift:  # the energy zero of the others holds on
        elements |= start.elements or frozenset()
    targets = Targets(model, shift, scale, dtype)
    data = (StreamedSet if streamed else TrainingSet)(training, targets, settings.batch_size, mesh)
    card = {**card, **data.facts}
    valid = validation_chunks(frames[split.valid], targets, VALIDATION_BATCH)
    steps = len(training) // data.batch_size
    schedule = jax.jit(jax.vmap(optimisation.schedule(settings, steps)))
    plateau = optimisation.plateau(settings)
    several = settings.members > 1
    seeds = [settings.seed + k for k in range(settings.members)]
    hyper = Hyper.of(settings)

    first_of = first_params(start, seeds, data.example, model, dtype)
    parts = trained_parts(first_of[0], settings.train_only)
    if run is not None and not resume:
        run.create(model, settings, split, card, start)  # only now: what was refused leaves nothing
    states = [start_state(params, settings.optimiser, parts) for params in first_of]
    plateau_state = [plateau.init(params) for params in first_of]
    state = jax.tree.map(lambda *a: jnp.stack(a), *states) if several else states[0]
    metrics: list[dict[str, float]] = []
    best_loss: np.ndarray = np.full(len(seeds), math.inf)  # of each member
    since_best: np.ndarray = np.zeros(len(seeds), int)
    best_epoch: np.ndarray = np.zeros(len(seeds), int)
    spent, trained = 0.0, 0.0
    if resume and run.state.is_file():
        (state, plateau_state), counters = run.load_state((state, plateau_state))
        state = jax.tree.map(jnp.asarray, state)
        best_loss = np.atleast_1d(np.asarray(counters["best_loss"], float))
        since_best = np.atleast_1d(np.asarray(counters["since_best"], int))
        metrics = run.read_metrics()[: int(counters["epoch"])]
        spent, trained = counters["wall_s"], counters["trained_s"]
        best = load_potential(run.best)
        best_epoch = np.atleast_1d(np.asarray(best.card["epoch"], int))
        if best.trained_elements != elements:  # an earlier version did not state them
            best = replace(best, trained_elements=elements)
            run.save_best(best)
    else:
        best = None

    state = on_all(state, mesh)
    machine, kind = hardware(), Ensemble if several else Potential

    def potential_of(params: dict, row: dict[str, float]) -> Potential:
        results = {**card, "wall time / s": round(row["wall_s"], 3), "epoch": _plain(best_epoch)}
        results["hardware"] = machine
        return kind(model, params, shift, scale, results, elements)

    progress = progress or (progress_for_here() if is_first() else Silent())
    progress.start(metrics, settings)
    begin = time.perf_counter() - spent
    first_epoch = len(metrics) + 1
    try:
        for epoch in range(first_epoch, settings.epochs + 1):
            # asked before an epoch, so that a run that had ended is not trained on when resumed
            if _has_stopped(since_best, settings).all():
                break
            if settings.max_minutes and trained >= 60 * settings.max_minutes:
                break
            epoch_begin = time.perf_counter()
            first = (epoch - 1) * steps
            common = np.asarray(schedule(first + np.arange(steps)), dtype)
            orders, rates = [], []
            for seed, of_member in zip(seeds, plateau_state, strict=True):
                order = np.random.default_rng([seed, epoch]).permutation(len(training))
                orders.append(order[: steps * data.batch_size].reshape(steps, -1))
                rates.append(common * dtype.type(of_member.scale))
            of_all = np.stack(rates) if several else rates[0]
            run_epoch = _epoch_of_each if several else partial(_epoch, mesh=mesh)
            told: list[list[Array]] = []  # losses and norms, part by part
            try:
                for buckets, chosen, some in data.parts(np.stack(orders)):
                    inputs = buckets, chosen, of_all[..., some]
                    state, *of_part = run_epoch(state, *inputs, hyper, model, parts)
                    told.append(of_part)
                    jax.block_until_ready(told[-2:][0])  # so that few parts wait for the device
                losses, norms = (
                    np.concatenate([np.atleast_2d(a) for a in each], axis=1)
                    for each in zip(*told, strict=True)
                )
            except jax.errors.JaxRuntimeError as error:
                if jax.process_count() == 1:
                    raise
                raise partner_lost(error) from None
            check_finite(losses, norms, first, epoch, run, seeds)

            kept = (params_of_each if several else params_of)(state, mean=settings.ema_decay > 0)
            if mesh is not None:  # every process validates by itself
                kept = jax.device_get(kept)
            validate = _validate_each if several else _validate
            found = jax.device_get([validate(kept, chunks, model) for chunks in valid])
            sums = Errors(*(np.atleast_1d(sum(a)) for a in zip(*found, strict=True)))
            by_member = np.stack([np.asarray(total) for total in sums], axis=1)
            loss = np.array([loss_of(Errors(*a), hyper.weights) for a in by_member])
            if not np.isfinite(loss).all():
                check_finite(loss[:, None], norms[:, -1:], first + steps - 1, epoch, run, seeds)
            plateau_state = [
                plateau.update({}, of_member, value=value)[1]
                for of_member, value in zip(plateau_state, loss.tolist(), strict=True)
            ]
            now = time.perf_counter()
            if epoch > first_epoch:  # the first one compiles
                trained += now - epoch_begin
            row = {
                "epoch": epoch,
                "step": first + steps,
                "wall_s": now - begin,
                "trained_s": trained,
                "learning_rate": float(np.mean([of_member[-1] for of_member in rates])),
                "train_loss": float(losses.mean()),
                "gradient_norm": float(np.median(norms)),
                "valid_loss": float(loss.mean()),
                **_in_units(sums, scale),
            }
            if several:
                row |= {f"valid_loss_{k}": float(value) for k, value in enumerate(loss)}
            metrics.append(row)
            # who has stopped already would have been trained no longer
            better = (loss < best_loss) & ~_has_stopped(since_best, settings)
            since_best = np.where(better, 0, since_best + 1)
            best_loss = np.where(better, loss, best_loss)
            best_epoch = np.where(better, epoch, best_epoch)
            if better.any():
                kept = jax.device_get(kept)
                if not better.all():
                    kept = jax.tree.map(partial(_replaced, better), best.params, kept)
                best = potential_of(kept, row)
                if run is not None:
                    run.save_best(best)
            if run is not None:
                run.write_metrics(metrics)
                counters = {
                    "epoch": epoch,
                    "best_loss": _plain(best_loss),
                    "since_best": _plain(since_best),
                    "wall_s": row["wall_s"],
                    "trained_s": trained,
                    "optimiser": settings.optimiser,
                }
                run.save_state((state, plateau_state), counters)
            progress.update(row)
    finally:
        progress.close()
    if best is None:
        raise UserError(f"epochs = {settings.epochs}: nothing was trained.")
    # the card states how long the training took, not how soon its best weights were there
    card = {**best.card, "wall time / s": round(metrics[-1]["wall_s"], 3)}
    if card != best.card:
        best = replace(best, card=card)
        if run is not None:
            run.save_best(best)
    return TrainResult(best, metrics, None if run is None else run.path)


def _has_stopped(since_best: Int[np.ndarray, "members"], settings: TrainConfig) -> np.ndarray:
    """Which members have gone without improvement for as long as is allowed."""
    return (since_best >= settings.stop_patience) & (settings.stop_patience > 0)


def _replaced(better: Bool[np.ndarray, "members"], old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The leaf of parameters with what is new of those members that are ``better``."""
    return np.where(better.reshape(-1, *(1,) * (new.ndim - 1)), new, old)


def _plain(values: np.ndarray) -> Any:
    """A number per member as a list; of one network, the number."""
    return values.tolist() if len(values) > 1 else values.item()


def _in_units(sums: Errors, scale: float) -> dict[str, float]:
    """Validation errors in eV and eV/Å, means over members."""
    errors = {
        "valid_energy_mae_eV": sums.energy_absolute / sums.graphs,
        "valid_energy_rmse_eV": np.sqrt(sums.energy_square / sums.graphs, dtype=float),
        "valid_force_mae_eV_A": sums.forces_absolute / sums.components,
        "valid_force_rmse_eV_A": np.sqrt(sums.forces_square / sums.components, dtype=float),
    }
    return {name: float(np.mean(values)) * scale for name, values in errors.items()}
