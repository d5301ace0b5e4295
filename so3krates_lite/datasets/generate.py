"""Reference data made here: molecular dynamics with the semi-empirical method GFN2-xTB.

MD17-like sets need nothing but a method that gives energies and forces, and dynamics that visits
the shapes a molecule takes when warm. GFN2-xTB (Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput.
15, 1652, 2019) answers in about a millisecond for a small molecule, so anyone can make such data on
a laptop. It is no density functional: its labels agree with themselves, which is all that learning
asks, but they are not MD17's.

Each set runs several *walkers*: independent Langevin trajectories with friction 0.04/fs, each
thermalised, then sampled at intervals longer than the energy's memory. A frame in which a bond
broke or a new one formed is rejected, counted, and ends its walker. Labels are computed afresh at
the stored, rounded positions with tighter convergence than the dynamics needs. Every walker has a
number, kept in `group`, so that a split can keep walkers apart.

Needs the extra `generate` (`pip install so3krates-lite[generate]`), which brings tblite.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from so3krates_lite.datasets.cumulenes import CumuleneRecipe
from so3krates_lite.datasets.frames_file import save_frames
from so3krates_lite.datasets.reference import (
    LABEL_ACCURACY,
    METHOD,
    Topology,
    label,
    reference_calculator,
    software_versions,
    starting_structure,
)
from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames
from so3krates_lite.units import BOLTZMANN

if TYPE_CHECKING:
    from ase import Atoms

FRICTION = 0.04  # 1/fs
THERMALISATION = 750.0  # fs, thirty times the relaxation time 1/friction
NVE_STEP = 0.5  # fs, for the test of energy conservation


@dataclass(frozen=True)
class Species:
    """One molecule of a recipe."""

    name: str
    charge: int  # e
    n_frames: int
    n_walkers: int
    interval: int  # steps between frames
    time_step: float  # fs


@dataclass(frozen=True)
class Recipe:
    """How one data set is made."""

    name: str
    title: str
    species: tuple[Species, ...]
    temperature: float = 500.0  # K
    seed: int = 2022

    def make(self, n_frames: int | None, seed: int, progress: bool) -> Frames:
        """Frames of every species, shuffled; ``n_frames`` of each instead of its own number."""
        return _dynamics(self, n_frames, seed, progress)


RECIPES: dict[str, Recipe | CumuleneRecipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="ethanol-gfn2",
            title="Ethanol, 500 K dynamics",
            species=(Species("ethanol", 0, 2000, n_walkers=20, interval=80, time_step=0.5),),
        ),
        Recipe(
            name="carbon-chains-gfn2",
            title="Carbon chains C10H2 and C10H3+, 500 K dynamics",
            species=(
                Species("C10H2", 0, 1000, n_walkers=10, interval=60, time_step=1.0),
                Species("C10H3+", 1, 1000, n_walkers=10, interval=60, time_step=1.0),
            ),
        ),
        CumuleneRecipe(),
    )
}


def generate(
    name: str,
    path: str | Path | None = None,
    *,
    n_frames: int | None = None,
    seed: int | None = None,
    progress: bool = True,
) -> Frames:
    """Make one of the `RECIPES` anew.

    It takes about three minutes for ethanol, eight for the carbon chains, one for the cumulenes.

    The same seed gives the same frames with the same software on the same machine; elsewhere the
    last digits of a force differ, and trajectories drift apart as chaotic motion does.

    Args:
        name: a key of `RECIPES`.
        path: where to save the frames (npz); None saves nothing.
        n_frames: frames of each molecule instead of the recipe's number.
        seed: instead of the recipe's.
        progress: show a progress bar.

    Raises:
        UserError: no such recipe, or tblite is not installed.
    """
    if name not in RECIPES:
        raise UserError(f"no recipe is called {name!r}: choose one of {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    frames = recipe.make(n_frames, recipe.seed if seed is None else seed, progress)
    if path is not None:
        save_frames(frames, path)
    return frames


def _dynamics(recipe: Recipe, n_frames: int | None, seed: int, progress: bool) -> Frames:
    """Walkers of every species of the recipe, shuffled together."""
    software = software_versions()
    sets, notes, first_group = [], [], 0
    for k, species in enumerate(recipe.species):
        wanted = species.n_frames if n_frames is None else n_frames
        rng = np.random.default_rng([seed, k])
        frames, note = _sample(species, wanted, recipe.temperature, rng, first_group, progress)
        note["nve_drift"] = _drift(species, recipe.temperature, np.random.default_rng([seed, k, 1]))
        first_group = int(frames.group.max()) + 1
        sets.append(frames)
        notes.append(note)
    together = Frames.concatenate(sets)
    together = together[np.random.default_rng([seed, 999]).permutation(len(together))]
    info = {
        "name": recipe.name,
        "title": recipe.title,
        "level_of_theory": f"{METHOD}, gas phase, electronic temperature 300 K",
        "software": software,
        "sampling": (
            f"Langevin dynamics at {recipe.temperature:g} K, friction {FRICTION}/fs, "
            f"{THERMALISATION:g} fs to thermalise, initial velocities from the Maxwell-Boltzmann "
            f"distribution"
        ),
        "seed": str(seed),
        "partial_charges": f"Mulliken charges of {METHOD}",
        "citation": (
            "Method: Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019); "
            "program: tblite; data: made by so3krates-lite"
        ),
        "licence": "CC0-1.0",
        "order": "shuffled; group = number of the walker",
    }
    for species, note in zip(recipe.species, notes, strict=True):
        info.update({f"{species.name}_{key}": value for key, value in note.items()})
    return together.replace(info=info)


# -- sampling -------------------------------------------------------------------------------------


def _sample(
    species: Species,
    n_frames: int,
    temperature: float,
    rng: np.random.Generator,
    first_group: int,
    progress: bool,
) -> tuple[Frames, dict[str, str]]:
    """Decorrelated frames of one molecule, and what there is to say about them."""
    from tqdm.auto import tqdm

    start, proton_note = starting_structure(species.name)
    topology = Topology.of(start)
    per_walker = math.ceil(n_frames / species.n_walkers)
    positions: list[np.ndarray] = []
    walker_of: list[int] = []
    temperatures: list[float] = []
    works: list[tuple[float, float]] = []
    lagged: list[tuple[float, float]] = []
    rejected = 0
    walker = first_group
    bar = tqdm(total=n_frames, desc=species.name, unit="frame", disable=not progress)
    with bar:
        while len(positions) < n_frames:
            previous = None
            for snapshot in _walk(start, species, temperature, per_walker, rng):
                if not topology.intact(snapshot.positions):
                    rejected += 1
                    break  # the bond will not come back: start a new walker
                centred = snapshot.positions - snapshot.positions.mean(axis=0)
                positions.append(centred.astype(np.float32))
                walker_of.append(walker)
                temperatures.append(snapshot.temperature)
                works.append((snapshot.energy_change, snapshot.work))
                if previous is not None:
                    lagged.append((previous, snapshot.energy))
                previous = snapshot.energy
                bar.update()
                if len(positions) == n_frames:
                    break
            walker += 1
            if rejected > 10 + n_frames:
                raise UserError(f"{species.name} does not hold together at {temperature:g} K")
    energy, forces, charges = label(start, species.charge, positions)
    frames = Frames(
        numbers=np.tile(start.numbers, (n_frames, 1)),
        positions=np.array(positions),
        energy=energy,
        forces=forces,
        total_charge=np.full(n_frames, float(species.charge)),
        spin_multiplicity=np.ones(n_frames, dtype=int),
        partial_charges=charges,
        group=walker_of,
    )
    change, work = np.array(works).T
    slope = float(change @ work / (work @ work))
    memory = f"{np.corrcoef(np.array(lagged).T)[0, 1]:.3f}" if len(lagged) > 2 else "not measured"
    residual = float(np.sqrt(np.mean((change - slope * work) ** 2)))
    note = {
        "frames": str(n_frames),
        "walkers": str(walker - first_group),
        "time_step_fs": f"{species.time_step:g}",
        "interval_fs": f"{species.interval * species.time_step:g}",
        "rejected": str(rejected),
        "mean_temperature_K": f"{np.mean(temperatures):.1f}",
        "energy_autocorrelation": memory,
        "work_check": f"slope {slope:.5f}, residual {1e3 * residual:.3f} meV",
    }
    return frames, note | proton_note


@dataclass(frozen=True)
class _Snapshot:
    positions: Float[np.ndarray, "atoms 3"]  # Å
    energy: float  # eV
    temperature: float  # K
    energy_change: float  # eV, over the last time step
    work: float  # eV, minus force times displacement over that step (trapezium rule)


def _walk(
    start: Atoms, species: Species, temperature: float, n: int, rng: np.random.Generator
) -> Iterator[_Snapshot]:
    """Snapshots along one Langevin trajectory after its thermalisation."""
    from ase import units
    from ase.md.langevin import Langevin

    atoms = _thermal(start, species.charge, temperature, rng)
    dynamics = Langevin(
        atoms,
        species.time_step * units.fs,
        temperature_K=temperature,
        friction=FRICTION / units.fs,
        fixcm=False,  # the only form that samples the canonical ensemble exactly
        rng=rng,
    )
    dynamics.run(round(THERMALISATION / species.time_step))
    for _ in range(n):
        dynamics.run(species.interval - 1)
        before = atoms.get_potential_energy(), atoms.get_forces(), atoms.positions.copy()
        dynamics.run(1)
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        step = atoms.positions - before[2]
        yield _Snapshot(
            positions=atoms.positions.copy(),
            energy=energy,
            temperature=_temperature(atoms),
            energy_change=energy - before[0],
            work=-0.5 * float(np.sum((forces + before[1]) * step)),
        )


def _thermal(
    start: Atoms,
    charge: int,
    temperature: float,
    rng: np.random.Generator,
    accuracy: float = 1.0,
) -> Atoms:
    atoms = start.copy()
    atoms.calc = reference_calculator(charge, accuracy)
    spread = np.sqrt(atoms.get_masses() * BOLTZMANN * temperature)
    atoms.set_momenta(spread[:, None] * rng.standard_normal((len(atoms), 3)))
    return atoms


def _temperature(atoms: Atoms) -> float:
    # the centre of mass moves freely here, so every atom counts three degrees of freedom
    return 2 * atoms.get_kinetic_energy() / (3 * len(atoms) * BOLTZMANN)


def _drift(species: Species, temperature: float, rng: np.random.Generator, n: int = 2000) -> str:
    """Slope of the total energy over 1 ps without a thermostat: tests the labels' forces.

    Looser convergence, enough for the thermostatted dynamics, would let the energy drift.
    """
    from ase import units
    from ase.md.verlet import VelocityVerlet

    start, _ = starting_structure(species.name)
    atoms = _thermal(start, species.charge, temperature, rng, LABEL_ACCURACY)
    dynamics = VelocityVerlet(atoms, NVE_STEP * units.fs)
    dynamics.run(100)
    totals = []
    for _ in range(n // 10):
        dynamics.run(10)
        totals.append(atoms.get_total_energy())
    times = np.arange(len(totals)) * 10 * NVE_STEP * 1e-3  # ps
    slope = np.polyfit(times, totals, 1)[0] / len(atoms)
    return f"{1e3 * slope:.4f} meV/atom/ps, spread {1e3 * np.std(totals) / len(atoms):.4f} meV/atom"
