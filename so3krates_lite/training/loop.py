"""The training loop: an epoch is one call to the device.

Data, weights and optimiser state live on the device; `lax.scan` runs over the steps of an epoch;
the host only draws the order of frames, decides on learning rate and stopping, and writes the run
folder. All of it follows from the seed and the epoch's number, so that a resumed run and an
uninterrupted one give the same numbers.
"""

from __future__ import annotations

import math
import time
import zlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from so3krates_lite.arrays import Scalar
from so3krates_lite.config import ModelConfig, So3kratesConfig
from so3krates_lite.datasets.splits import Split
from so3krates_lite.energies import energy_and_forces, in_passes, initialise
from so3krates_lite.errors import UserError
from so3krates_lite.physics.dispersion import FREE_ATOMS
from so3krates_lite.potential import Potential
from so3krates_lite.runtime.settings import Compiled, hardware, precision_context, precision_of
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import optimiser as optimisation
from so3krates_lite.training.config import TrainConfig
from so3krates_lite.training.data import (
    Chosen,
    Targets,
    TrainingSet,
    bucketed_gradient,
    validation_chunks,
)
from so3krates_lite.training.objective import Errors, Labelled, Weights, errors, loss_of
from so3krates_lite.training.progress import Progress, progress_for_here
from so3krates_lite.training.run import RunFolder
from so3krates_lite.training.state import State, params_of, start_state
from so3krates_lite.training.statistics import element_shift, energy_scale, isolated_atoms

VALIDATION_BATCH = 50
FARTHEST_ZERO = 1.0  # eV per atom, of a zero that training may move by itself


class TrainingDiverged(UserError):
    """A loss or gradient became NaN or infinite."""


@dataclass(frozen=True)
class TrainResult:
    """The best potential of a run, its metrics (one row per epoch) and its folder, if any."""

    potential: Potential
    metrics: list[dict[str, float]]
    folder: Path | None


class Hyper(struct.PyTreeNode):
    """Settings the compiled epoch takes as numbers, so that changing them compiles nothing anew."""

    __no_type_check__ = True  # as of `PairList`

    clip_norm: Scalar
    ema_decay: Scalar
    weights: Weights


@partial(Compiled, static_argnames=("config", "trained"), donate_argnames="state")
def _epoch(
    state: State,
    data: tuple[Labelled, ...],
    chosen: tuple[Chosen, ...],
    learning_rates: Float[Array, "steps"],
    hyper: Hyper,
    config: ModelConfig,
    trained: tuple[str, ...] | None,
) -> tuple[State, Float[Array, "steps"], Float[Array, "steps"]]:
    """All steps of an epoch; returns the state and each step's loss and gradient norm."""

    def step(state: State, inputs):
        of_step, learning_rate = inputs
        loss, gradient = bucketed_gradient(
            state.params, data, of_step, config, hyper.weights, trained
        )
        state, norm = state.moved(gradient, learning_rate, hyper.clip_norm, hyper.ema_decay)
        return state, (loss, norm)

    state, (losses, norms) = jax.lax.scan(step, state, (chosen, learning_rates))
    return state, losses, norms


@partial(Compiled, static_argnames="config")
def _validate(params: dict, chunks: Labelled, config: ModelConfig) -> Errors:
    """Sums of errors over chunks of frames (leading axis)."""

    def chunk_errors(chunk: Labelled) -> Errors:
        E, F = in_passes(energy_and_forces)(params, chunk.batch, config)
        return errors(E, F, chunk)

    return jax.tree.map(lambda sums: sums.sum(0), jax.lax.map(chunk_errors, chunks))


def train(
    frames: Frames,
    split: Split,
    *,
    model: ModelConfig | None = None,
    settings: TrainConfig | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    start: Potential | None = None,
    progress: Progress | None = None,
    card: dict[str, Any] | None = None,
) -> TrainResult:
    """Train a potential on ``frames[split.train]``, choosing the best on ``frames[split.valid]``.

    Args:
        frames: with energies and forces
        split: which frames are for what; test frames are never touched here. Isolated atoms count
            as none of these where the energy shift is theirs
        model, settings: configurations; None: the defaults (or, with ``start``, its own model)
        folder: where the run is kept; None: nowhere
        resume: continue the run in ``folder``; model and settings come from it
        start: weights, energy zero and scale to begin from, instead of random ones
        progress: how progress is shown; None: a bar in a terminal, a live curve in a notebook
        card: further entries for the potential's card

    Raises:
        UserError: missing labels, an impossible setting, a folder that is taken
        TrainingDiverged: a NaN; the last good checkpoint stays in the folder
    """
    run = RunFolder(folder) if folder is not None else None
    if resume:
        if run is None:
            raise UserError("resume=True needs the folder of the run to continue.")
        model, settings, card = run.configuration()
        split, start = run.split(), run.start()
    settings = settings or TrainConfig()
    if start is not None:
        if not settings.refit_shift:
            start.check_elements(frames.numbers)
        model = start.config
    model = model or So3kratesConfig()
    split.check(frames)
    if settings.energy_shift == "isolated":
        split = split.without(isolated_atoms(frames))
    _check(frames, split, model)
    facts = _facts(frames, split, settings)
    if resume and card.get("fingerprint") not in (None, facts["fingerprint"]):
        raise UserError(
            f"{run.path} was trained on other frames than these: give --resume the same data."
        )
    card = {**facts, **(card or {})}

    dtype = precision_of(settings.precision)
    with precision_context(dtype):
        return _train(frames, split, model, settings, run, resume, start, progress, card, dtype)


def _train(
    frames, split, model, settings, run, resume, start, progress, card, dtype
) -> TrainResult:
    training = frames[split.train]
    if start is None:
        zero = _zero_from(frames, training, settings.energy_shift)
        shift = element_shift(zero, settings.energy_shift)
        # physical terms are in eV, so the network beside them is, too
        kind = "none" if model.physics else settings.energy_scale
        scale = energy_scale(training, kind, shift)
    else:
        shift, scale = start.element_shift, start.energy_scale
        if settings.refit_shift:
            zero = _zero_from(frames, training, settings.energy_shift)
            shift = _refitted_shift(zero, start, settings.energy_shift)
        else:
            _check_zero(training, start)
    elements = frozenset(training.elements.tolist())
    if start is not None and not settings.refit_shift:  # the energy zero of the others holds on
        elements |= start.elements or frozenset()
    targets = Targets(model, shift, scale, dtype)
    data = TrainingSet(training, targets, settings.batch_size)
    valid = validation_chunks(frames[split.valid], targets, VALIDATION_BATCH)
    if run is not None and not resume:
        run.create(model, settings, split, card, start)  # only now: what was refused leaves nothing
    steps = len(training) // data.batch_size
    schedule = jax.jit(jax.vmap(optimisation.schedule(settings, steps)))
    plateau = optimisation.plateau(settings)
    hyper = Hyper(
        settings.clip_norm,
        settings.ema_decay,
        Weights(settings.energy_weight, settings.forces_weight),
    )

    if start is not None:
        params = jax.tree.map(lambda leaf: jnp.array(leaf, dtype), start.params)
    else:
        params = initialise(jax.random.key(settings.seed), data.buckets[0].batch[:1], model)
    trained_parts = _trained_parts(params, settings.train_only)
    state = start_state(params, settings.optimiser, trained_parts)
    plateau_state = plateau.init(params)
    metrics: list[dict[str, float]] = []
    best_loss, since_best, spent, trained = math.inf, 0, 0.0, 0.0
    if resume and run.state.is_file():
        (state, plateau_state), counters = run.load_state((state, plateau_state))
        state = jax.tree.map(jnp.asarray, state)
        best_loss, since_best = counters["best_loss"], int(counters["since_best"])
        metrics = run.read_metrics()[: int(counters["epoch"])]
        spent, trained = counters["wall_s"], counters["trained_s"]
        best = Potential.load(run.best)
        if best.trained_elements != elements:  # an earlier version did not state them
            best = replace(best, trained_elements=elements)
            run.save_best(best)
    else:
        best = None

    machine = hardware()

    def potential_of(params: dict, row: dict[str, float]) -> Potential:
        results = {**card, "wall time / s": round(row["wall_s"], 3), "epoch": int(row["epoch"])}
        results["hardware"] = machine
        return Potential(model, jax.device_get(params), shift, scale, results, elements)

    progress = progress or progress_for_here()
    progress.start(metrics, settings)
    begin = time.perf_counter() - spent
    first_epoch = len(metrics) + 1
    try:
        for epoch in range(first_epoch, settings.epochs + 1):
            epoch_begin = time.perf_counter()
            order = np.random.default_rng([settings.seed, epoch]).permutation(len(training))
            chosen = data.choose(order[: steps * data.batch_size].reshape(steps, -1))
            first = (epoch - 1) * steps
            rates = np.asarray(schedule(first + np.arange(steps)), dtype)
            rates = rates * dtype.type(plateau_state.scale)
            state, losses, norms = _epoch(
                state, data.buckets, chosen, rates, hyper, model, trained_parts
            )
            losses, norms = np.asarray(losses), np.asarray(norms)
            _check_finite(losses, norms, first, epoch, run)

            kept = params_of(state, mean=settings.ema_decay > 0)
            parts = jax.device_get([_validate(kept, chunks, model) for chunks in valid])
            sums = Errors(*map(sum, zip(*parts, strict=True)))
            loss = float(loss_of(sums, hyper.weights))
            if not math.isfinite(loss):
                _check_finite(np.asarray([loss]), norms[-1:], first + steps - 1, epoch, run)
            _, plateau_state = plateau.update({}, plateau_state, value=loss)
            now = time.perf_counter()
            if epoch > first_epoch:  # the first one compiles
                trained += now - epoch_begin
            row = {
                "epoch": epoch,
                "step": first + steps,
                "wall_s": now - begin,
                "trained_s": trained,
                "learning_rate": float(rates[-1]),
                "train_loss": float(losses.mean()),
                "gradient_norm": float(np.median(norms)),
                "valid_loss": loss,
                **_in_units(sums, scale),
            }
            metrics.append(row)
            since_best += 1
            if loss < best_loss:
                best_loss, since_best = loss, 0
                best = potential_of(kept, row)
                if run is not None:
                    run.save_best(best)
            if run is not None:
                run.write_metrics(metrics)
                counters = {
                    "epoch": epoch,
                    "best_loss": best_loss,
                    "since_best": since_best,
                    "wall_s": row["wall_s"],
                    "trained_s": trained,
                    "optimiser": settings.optimiser,
                }
                run.save_state((state, plateau_state), counters)
            progress.update(row)
            if settings.stop_patience and since_best >= settings.stop_patience:
                break
            if settings.max_minutes and trained >= 60 * settings.max_minutes:
                break
    finally:
        progress.close()
    if best is None:
        raise UserError(f"epochs = {settings.epochs}: nothing was trained.")
    return TrainResult(best, metrics, None if run is None else run.path)


def _zero_from(frames: Frames, training: Frames, mode: str) -> Frames:
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


def _check_zero(training: Frames, start: Potential) -> None:
    """Raise where the frames' energies have another zero than those of the potential."""
    some = training[:: max(len(training) // 20, 1)]
    per_atom = (some.energy - start.predict(some).energy) / some.n_atoms
    if (offset := float(np.abs(np.mean(per_atom)))) > FARTHEST_ZERO:
        raise UserError(
            f"The frames' energies are {offset:.1f} eV per atom away from those of the potential "
            f"to begin from: their zero is another one, so fit it anew with refit_shift "
            f"(--refit-shift), or give energies of the same level of theory."
        )


def _refitted_shift(frames: Frames, start: Potential, mode: str) -> Float[np.ndarray, "elements"]:
    """Element shifts for what ``start``'s network leaves of the energies."""
    predicted = start.predict(frames, allow_unknown_elements=True).energy - start.shift(frames)
    return element_shift(frames.replace(energy=frames.energy - predicted), mode)


def _trained_parts(params: dict, names: tuple[str, ...]) -> tuple[str, ...] | None:
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


def _check(frames: Frames, split: Split, model: ModelConfig) -> None:
    for name in ("energy", "forces"):
        if getattr(frames, name) is None:
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


def _facts(frames: Frames, split: Split, settings: TrainConfig) -> dict[str, Any]:
    return {
        "data": frames.info.get("name", "unnamed frames"),
        "level of theory": frames.info.get("level_of_theory", "not stated"),
        "training frames": len(split.train),
        "validation frames": len(split.valid),
        "seed": settings.seed,
        "fingerprint": fingerprint(frames, split),
    }


def fingerprint(frames: Frames, split: Split) -> str:
    """Eight digits that tell one set of training frames from another."""
    chosen = frames[split.train].trimmed()
    arrays = (chosen.numbers, chosen.positions, chosen.energy, chosen.forces)
    parts = [np.asarray(a, float).round(6) + 0.0 for a in arrays if a is not None]
    return f"{zlib.crc32(b''.join(part.tobytes() for part in parts)):08x}"


def _in_units(sums: Errors, scale: float) -> dict[str, float]:
    """Validation errors in eV and eV/Å."""
    return {
        "valid_energy_mae_eV": float(sums.energy_absolute / sums.graphs) * scale,
        "valid_energy_rmse_eV": math.sqrt(sums.energy_square / sums.graphs) * scale,
        "valid_force_mae_eV_A": float(sums.forces_absolute / sums.components) * scale,
        "valid_force_rmse_eV_A": math.sqrt(sums.forces_square / sums.components) * scale,
    }


def _check_finite(losses, norms, first_step: int, epoch: int, run: RunFolder | None) -> None:
    bad = ~(np.isfinite(losses) & np.isfinite(norms))
    if not bad.any():
        return
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
        f"The loss became {losses[k]} at step {first_step + k + 1} (epoch {epoch}); {cause}.{kept}"
    )
