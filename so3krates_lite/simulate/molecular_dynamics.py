"""Dynamics on the device: constant energy, temperature or pressure, one replica or hundreds.

ASE asks for forces, moves the atoms, and asks again; between two steps Python works as long as a
small network does. Here a block of steps is one compiled call (see `integrators`), and Python comes
back where pairs are to be listed anew, where something is to be saved, or where a replica has gone
wrong. jax-md integrates, this package's network and neighbour lists give the forces, and ASE's
calculator stays for all that ASE does beside.

Velocity Verlet: Swope et al., J. Chem. Phys. 76, 637 (1982). Langevin, BAOAB splitting: Davidchack,
Ouldridge & Tretyakov, J. Chem. Phys. 142, 144114 (2015). Nosé-Hoover chains: Martyna, Tuckerman,
Tobias & Klein, Mol. Phys. 87, 1117 (1996).
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from so3krates_lite.ensemble import load_potential
from so3krates_lite.errors import UserError, require
from so3krates_lite.potential import Potential
from so3krates_lite.runtime.settings import precision_context
from so3krates_lite.simulate.blocks import Plan, Run
from so3krates_lite.simulate.dynamics import Dynamics, require_positive
from so3krates_lite.simulate.integrators import Settings
from so3krates_lite.units import BOLTZMANN

if TYPE_CHECKING:
    from ase import Atoms

    Starts: TypeAlias = Atoms | Sequence[Atoms]

ROUNDING = 1e-7  # Å, what a displacement may lose in the network's precision
FLOAT64 = np.dtype(np.float64)


def run_md(
    atoms: Starts,
    potential: Potential | str | PathLike,
    *,
    steps: int,
    ensemble: Literal["nve", "nvt", "npt"] = "nve",
    temperature_K: float | None = 300.0,
    pressure: float = 0.0,
    time_step_fs: float = 0.5,
    thermostat: Literal["langevin", "nose-hoover"] = "langevin",
    friction_per_fs: float = 0.01,
    relaxation_fs: float = 50.0,
    replicas: int | None = None,
    every: int = 10,
    seed: int = 0,
    precision: str = "float64",
    skin: float = 0.5,
    checkpoint: str | PathLike | None = None,
    checkpoint_every: int | None = None,
    allow_explosion: bool = False,
    allow_unknown_elements: bool = False,
) -> list[Dynamics]:
    """Dynamics on the device, and what each replica did; ``atoms`` stays as it is.

    Args:
        atoms: the start of all replicas, or a list with one for each, such as the ends of others
        potential: a `Potential` or `Ensemble`, or its file or name
        steps: how many time steps to take
        ensemble: "nve", constant energy; "nvt", constant temperature; "npt", constant temperature
            and pressure, by a cell that grows and shrinks evenly
        temperature_K: of the velocities that are drawn (without motion or rotation of the whole),
            and of the thermostat; None: the velocities that ``atoms`` has, at constant energy
        pressure: on an "npt" cell, in eV/Å^3 (1 bar is 6.24e-7 eV/Å^3)
        time_step_fs: in femtoseconds; C-H bonds want 0.5
        thermostat: of "nvt": "langevin" samples whatever the structure, and moves and turns the
            whole as well; "nose-hoover" disturbs the motion least, but may heat a small molecule
            unevenly. "npt" has Nosé-Hoover chains
        friction_per_fs: of Langevin's thermostat
        relaxation_fs: period of a Nosé-Hoover thermostat; that of the barostat is ten times longer
        replicas: copies that move side by side, each with its own velocities; None: one, or as
            many as there are starts
        every: record the start and then one step of so many
        seed: of velocities and thermostat
        precision: the network's, "float64" or "float32"; positions are float64 in either case
        skin: how much further than the cutoff pairs are listed, in Å
        checkpoint: a file to which the run is saved as it goes; where it stands already, the run
            goes on from there, with the same numbers as if it had not stopped
        checkpoint_every: steps between two savings; None: a tenth of the run
        allow_explosion: return what was recorded until then of a replica whose atoms take
            impossible steps, instead of raising
        allow_unknown_elements: move elements which the training data did not hold

    Raises:
        UserError: an impossible argument, a checkpoint of another run, an explosion, or jax-md is
            not installed
    """
    _check_installed()
    if not isinstance(potential, Potential):
        potential = load_potential(potential)
    potential = potential.astype(precision)
    require_positive(steps=steps, time_step_fs=time_step_fs, every=every)
    require_positive(friction_per_fs=friction_per_fs, relaxation_fs=relaxation_fs, skin=skin)
    starts = _starts(atoms, replicas)
    _check(starts[0], ensemble, thermostat, temperature_K, pressure)
    if not allow_unknown_elements:
        potential.check_elements(starts[0].numbers)
    block = checkpoint_every or max(steps // 10, 1)
    require_positive(checkpoint_every=block)
    plan = Plan(
        {"nve": "nve", "npt": "npt"}.get(ensemble, thermostat),
        int(every),
        -(-int(block) // int(every)) * int(every),
        float(skin),
        time_step_fs,
    )
    settings = md_settings(
        potential, temperature_K, pressure, time_step_fs, friction_per_fs, relaxation_fs
    )
    run = Run(starts, potential, plan, settings, temperature_K, seed)
    file = None if checkpoint is None else Path(checkpoint)
    same = {
        "ensemble": ensemble,
        "thermostat": thermostat,
        "temperature_K": temperature_K,
        "pressure": pressure,
        "time_step_fs": time_step_fs,
        "friction_per_fs": friction_per_fs,
        "relaxation_fs": relaxation_fs,
        "replicas": len(starts),
        "every": every,
        "block": plan.block,
        "seed": seed,
        "precision": precision,
        "skin": skin,
        "atoms": starts[0].numbers.tolist(),
        "potential and starts": run.fingerprint(),
    }
    with precision_context(FLOAT64):
        run.start()
        if file is not None and file.is_file():
            run.restore(file, same)
        while run.step < steps and run.alive.any():
            run.go_on(min(plan.block, steps - run.step))
            if file is not None:
                run.save(file, same)
    if not run.alive.all() and not allow_explosion:
        raise UserError(run.explosion())
    return run.results()


def _check_installed() -> None:
    from importlib.util import find_spec

    if find_spec("jax_md") is None:
        raise UserError(
            "Dynamics on the device needs jax-md, which is not installed: "
            "pip install 'so3krates-lite[simulate]', or use ASE with So3kratesCalculator."
        )


def md_settings(
    potential: Potential,
    temperature_K: float | None,
    pressure: float,
    time_step_fs: float,
    friction_per_fs: float,
    relaxation_fs: float,
) -> Settings:
    from ase import units

    return Settings(
        time_step=float(np.float32(time_step_fs * units.fs)),  # some of jax-md's would round it
        kT=BOLTZMANN * (temperature_K or 0.0),
        friction=friction_per_fs / units.fs,
        thermostat_time=relaxation_fs * units.fs,
        barostat_time=10 * relaxation_fs * units.fs,
        pressure=float(pressure),
        energy_scale=potential.energy_scale,
        farthest=ROUNDING / float(np.finfo(potential.dtype).eps),
        listed_to=np.zeros(1),  # known when pairs are listed
        needed_to=np.zeros(1),
    )


def _starts(atoms: Starts, replicas: int | None) -> list[Atoms]:
    """The start of each replica."""
    from ase import Atoms

    if isinstance(atoms, Atoms):
        replicas = 1 if replicas is None else replicas
        require_positive(replicas=replicas)
        return [atoms] * replicas
    starts = list(atoms)
    if not starts or replicas not in (None, len(starts)):
        raise UserError(
            f"replicas = {replicas}, but there are {len(starts)} starts: give one start for all, "
            f"or one for each."
        )
    for k, one in enumerate(starts):
        same = np.array_equal(one.numbers, starts[0].numbers)
        if not (same and np.array_equal(one.pbc, starts[0].pbc)):
            raise UserError(
                f"Replicas are copies of one structure, but start {k} has other atoms or another "
                f"pbc than start 0: run them one by one."
            )
    return starts


def _check(
    atoms: Atoms, ensemble: str, thermostat: str, temperature_K: float | None, pressure: float
) -> None:
    for name, value, known in (
        ("ensemble", ensemble, ("nve", "nvt", "npt")),
        ("thermostat", thermostat, ("langevin", "nose-hoover")),
    ):
        require(value in known, name, value, f"one of {known}")
    if atoms.constraints:
        raise UserError("Atoms with constraints are not supported here: use ASE's dynamics.")
    if temperature_K is not None:
        require_positive(temperature_K=temperature_K)
    elif ensemble != "nve":
        raise UserError(f'ensemble="{ensemble}" needs a temperature: give temperature_K.')
    require(bool(np.isfinite(pressure)), "pressure", pressure, "a number, in eV/Å³")
    if pressure and ensemble != "npt":
        raise UserError('pressure acts in ensemble="npt" only: leave it out, or choose that.')
    if ensemble == "npt" and not (atoms.pbc.all() and atoms.cell.rank == 3):
        raise UserError(
            f'ensemble="npt" moves the cell of a structure that is periodic in three directions, '
            f"but pbc = {atoms.pbc.tolist()}: set atoms.pbc and atoms.cell, or choose nvt."
        )
