"""Newton's equations on the device: jax-md's integrators around this package's forces.

Many steps are one compiled call. The neighbour list stays what it was when the call began, so the
loop ends by itself where an atom has moved so far that the list may be missing a pair; whoever
called lists the pairs anew and goes on. What is listed is therefore never wrong, whatever the cell.

Replicas are copies of one structure that move side by side: each has its own velocities, thermostat
and neighbours. jax-md sees one of them, `jax.vmap` makes them many, and the network gets all of
them as one batch. Positions and momenta are in float64, whatever the network computes in: a sum of
many small steps loses digits that one step never shows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from so3krates_lite.config import ModelConfig
from so3krates_lite.energies import atomic_energies, energy_and_forces, in_passes
from so3krates_lite.passes import collect_for_reverse
from so3krates_lite.runtime.settings import Compiled, precision_context
from so3krates_lite.structures.graph import Batch, pair_vectors

Motion = Literal["nve", "langevin", "nose-hoover", "npt"]

LONGEST_STEP = 0.5  # Å in one time step; at 2000 K hydrogen moves 0.04 Å in 0.5 fs


class Law(NamedTuple):
    """What is compiled: which network gives the energy, of one or the mean of several whose
    parameters lie stacked, and how it moves the atoms."""

    config: ModelConfig
    motion: Motion
    is_ensemble: bool = False

    def mean(self, function: Callable[[dict], Any], params: dict) -> Any:
        """``function`` of the network's parameters, or its mean over the members."""
        if not self.is_ensemble:
            return function(params)
        return jax.tree.map(lambda value: value.mean(axis=0), jax.lax.map(function, params))


class Settings(NamedTuple):
    """Numbers of a run, in eV, Å, amu and ASE's unit of time; changing them compiles nothing."""

    time_step: Any
    kT: Any
    friction: Any  # 1/time, of Langevin's thermostat
    thermostat_time: Any
    barostat_time: Any
    pressure: Any  # eV/Å^3
    energy_scale: Any
    farthest: Any  # Å, how far an atom may move before pairs are listed anew in any case
    listed_to: Float[Any, "lists"]  # Å, the longest distance that each list holds,
    needed_to: Float[Any, "lists"]  # and the longest that the network reads of it


class Listed(NamedTuple):
    """Pairs of each replica, and where its atoms and its cell were when they were listed."""

    batch: Batch
    positions: Float[Any, "replicas atoms 3"]
    cell: Float[Any, "replicas 3 3"]


class Records(NamedTuple):
    """What is kept of a block, a row per record."""

    positions: Float[Any, "records replicas atoms 3"]
    velocities: Float[Any, "records replicas atoms 3"]  # Å per ASE's unit of time
    energy: Float[Any, "records replicas"]  # eV, without shifts
    cell: Float[Any, "records replicas 3 3"]


class Progress(NamedTuple):
    """Where a block stands."""

    state: Any
    step: Int[Any, ""]
    alive: Bool[Any, "replicas"]
    lived: Int[Any, "replicas"]  # steps taken while alive
    records: Records


@partial(Compiled, static_argnames=("law", "freedom"))
def begin(
    params: dict,
    momenta: Float[Any, "replicas atoms 3"],
    masses: Float[Any, "atoms"],
    keys: Any,
    listed: Listed,
    settings: Settings,
    law: Law,
    freedom: int,
) -> Any:
    """States of jax-md's integrator where the pairs have just been listed, one per replica.

    ``freedom`` is how many motions the thermostat is to heat: jax-md counts three for every atom,
    while the whole stands still and takes no heat.
    """
    init, _ = _integrator(params, settings, law)

    def one(momentum, key, own: Listed):
        kind = {"npt": {"box": own.cell}, "nve": {"kT": settings.kT}}.get(law.motion, {})
        state = init(key, own.positions, mass=masses, momenta=momentum, listed=own, **kind)
        for name in ("chain", "thermostat"):
            if hasattr(state, name):
                chain = getattr(state, name).set(degrees_of_freedom=freedom)
                state = state.set(**{name: chain})
        return state

    return jax.vmap(one)(momenta, keys, listed)


@partial(Compiled, static_argnames=("law", "every"), donate_argnames="progress")
def advance(
    params: dict,
    progress: Progress,
    steps: Int[Any, ""],
    listed: Listed,
    settings: Settings,
    law: Law,
    every: int,
) -> Progress:
    """Steps until there are ``steps``, the lists may miss a pair, or no replica is left.

    A replica whose atoms take impossible steps is left where it was before.
    """
    _, apply = _integrator(params, settings, law)
    step_all = jax.vmap(lambda state, own: apply(state, listed=own))

    def goes_on(now: Progress) -> Bool[Array, ""]:
        return (now.step < steps) & jnp.any(now.alive) & _lists_hold(now, listed, settings, law)

    def step(now: Progress) -> Progress:
        state = step_all(now.state, listed)
        length = jnp.sqrt(((state.position - now.state.position) ** 2).sum(-1)).max(-1)
        alive = now.alive & (length < LONGEST_STEP)  # which what is not a number is not

        def kept(new: Array, old: Array) -> Array:
            lives = alive.reshape(-1, *[1] * (new.ndim - 1))
            return jnp.where(lives, new, old).astype(old.dtype)

        state = jax.tree.map(kept, state, now.state)
        count = now.step + 1
        records = jax.lax.cond(
            count % every == 0,
            lambda: _recorded(
                params, now.records, count // every - 1, state, listed, settings, law
            ),
            lambda: now.records,
        )
        return Progress(state, count, alive, now.lived + alive, records)

    return jax.lax.while_loop(goes_on, step, progress)


@partial(Compiled, static_argnames="law")
def energies(
    params: dict, listed: Listed, settings: Settings, law: Law
) -> Float[Array, "replicas"]:
    """Of each replica where its pairs have just been listed, eV without shifts."""
    still = jnp.zeros_like(listed.positions)
    return _energies(params, listed, still, jnp.ones(len(still)), settings, law)


def _lists_hold(now: Progress, listed: Listed, settings: Settings, law: Law) -> Bool[Array, ""]:
    """Whether every pair that the network reads is listed.

    In a cell that has grown or shrunk by a factor, two atoms which were not listed are now at least
    as far apart as lists reach, less what both have moved, times that factor.
    """
    scale = _scale(now.state, listed, law)
    change = _moved(now.state, listed, scale)
    moved = jnp.sqrt((change**2).sum(-1)).max(-1)
    least = scale * (settings.listed_to[:, None] - 2 * moved)
    near = (least >= settings.needed_to[:, None]).all(axis=0) & (moved <= settings.farthest)
    return jnp.all(near | ~now.alive)


def _scale(state: Any, listed: Listed, law: Law) -> Float[Array, "replicas"]:
    """By which factor each cell has grown since pairs were listed."""
    if law.motion != "npt":
        return jnp.ones(len(listed.positions))
    cells = _cells(state, listed, law)
    return jax.vmap(_growth)(cells, listed.cell)


def _growth(cell: Float[Array, "3 3"], before: Float[Array, "3 3"]) -> Float[Array, ""]:
    return jnp.cbrt(jnp.linalg.det(cell) / jnp.linalg.det(before))


def _cells(state: Any, listed: Listed, law: Law) -> Float[Array, "replicas 3 3"]:
    if law.motion != "npt":
        return listed.cell
    from jax_md.simulate import npt_box

    return jax.vmap(npt_box)(state)


def _moved(
    state: Any, listed: Listed, scale: Float[Array, "replicas"]
) -> Float[Array, "replicas atoms 3"]:
    """Where atoms would be in the cell as it was, less where they were."""
    return state.position / scale[:, None, None] - listed.positions


def _recorded(
    params: dict,
    records: Records,
    row: Int[Array, ""],
    state: Any,
    listed: Listed,
    settings: Settings,
    law: Law,
) -> Records:
    scale = _scale(state, listed, law)
    moved = _moved(state, listed, scale)
    return Records(
        records.positions.at[row].set(state.position),
        records.velocities.at[row].set(state.momentum / state.mass),
        records.energy.at[row].set(_energies(params, listed, moved, scale, settings, law)),
        records.cell.at[row].set(_cells(state, listed, law)),
    )


def _integrator(params: dict, settings: Settings, law: Law) -> tuple[Callable, Callable]:
    """jax-md's pair of functions for one replica, whose forces take the argument ``listed``."""
    from jax_md import simulate

    def shift(position: Array, step: Array, **_: Any) -> Array:
        return position + step

    forces = _forces(params, settings, law)
    if law.motion == "nve":
        return simulate.nve(forces, shift, settings.time_step)
    if law.motion == "langevin":
        return simulate.nvt_langevin(
            forces, shift, settings.time_step, settings.kT, settings.friction
        )
    if law.motion == "nose-hoover":
        return simulate.nvt_nose_hoover(
            forces, shift, settings.time_step, settings.kT, tau=settings.thermostat_time
        )

    def of_one(
        position: Float[Array, "atoms 3"],
        box: Float[Array, "3 3"],
        listed: Listed,
        perturbation: Any = 1.0,
    ) -> Float[Array, ""]:
        alone = jax.tree.map(lambda leaf: leaf[None], listed)
        scale = _growth(box, listed.cell)
        moved = (position / scale - listed.positions)[None]
        grown = jnp.reshape(scale * perturbation, (1,))
        return _energies(params, alone, moved, grown, settings, law)[0]

    # Positions are in Å, not in shares of the box: then what jax-md does to them when the box
    # grows, R exp(x) + ..., is what it should be.
    return simulate.npt_nose_hoover(
        of_one,
        shift,
        settings.time_step,
        settings.pressure,
        settings.kT,
        barostat_kwargs={"tau": settings.barostat_time},
        thermostat_kwargs={"tau": settings.thermostat_time},
    )


def _forces(params: dict, settings: Settings, law: Law) -> Callable:
    """Forces (eV/Å) on one replica; under `jax.vmap` the network gets all of them as one batch."""

    def of_all(
        params: dict, unit: Any, position: Float[Array, "replicas atoms 3"], listed: Listed
    ) -> Float[Array, "replicas atoms 3"]:
        dtype = np.dtype(jax.tree.leaves(params)[0].dtype)
        batch = listed.batch.replace(displacement=(position - listed.positions).astype(dtype))
        with precision_context(dtype):
            forces = in_passes(energy_and_forces)
            F = law.mean(lambda one: forces(one, batch, law.config)[1], params)
        return unit * F.astype(position.dtype)

    # all that is traced comes as an argument: what jax-md compiles within must close over nothing
    @jax.custom_batching.custom_vmap
    def of_one(params: dict, unit: Any, position: Float[Array, "atoms 3"], listed: Listed):
        one = jax.tree.map(lambda leaf: leaf[None], (position, listed))
        return of_all(params, unit, *one)[0]

    @of_one.def_vmap
    def _(axis_size, in_batched, params, unit, position, listed):
        return of_all(params, unit, position, listed), True

    return lambda position, listed, **_: of_one(params, settings.energy_scale, position, listed)


def _energies(
    params: dict,
    listed: Listed,
    moved: Float[Array, "replicas atoms 3"],
    scale: Float[Array, "replicas"],
    settings: Settings,
    law: Law,
) -> Float[Array, "replicas"]:
    """Of atoms that have ``moved`` within the cell as listed, which then grew by a factor."""
    dtype = np.dtype(jax.tree.leaves(params)[0].dtype)
    moved, scale = moved.astype(dtype), scale.astype(dtype)[:, None, None]
    with precision_context(dtype):
        vectors = pair_vectors(listed.batch.replace(displacement=moved), law.config)
        vectors = jax.tree.map(lambda leaf: leaf * scale, vectors)
        batch = listed.batch.replace(displacement=moved * scale, cell=listed.batch.cell * scale)
        E = law.mean(
            lambda one: atomic_energies(one, batch, vectors, law.config, collect_for_reverse).sum(
                axis=1
            ),
            params,
        )
    return settings.energy_scale * E.astype(listed.positions.dtype)
