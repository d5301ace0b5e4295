"""The commands that move atoms: vibrations, dynamics, stability."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING

from so3krates_lite.cli.options import (
    above_zero,
    add_loading,
    add_model_and_data,
    add_precision,
    command,
    file_to_write,
    first_structure,
    load_data,
    load_model,
    positive,
    seed_number,
)
from so3krates_lite.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms

    from so3krates_lite.simulate.dynamics import Dynamics

ENOUGH = 100  # frames of a reference that a distribution is compared with


def add_vibrations(commands) -> None:
    parser = command(
        commands,
        "vibrations",
        _vibrations,
        "frequencies, zero-point energy and thermochemistry at a minimum",
        "Relaxes the first structure and prints its normal modes in cm^-1, with infrared\n"
        "intensities where the model has charges.\n\n"
        "  so3krates-lite vibrations ethanol-gfn2 ethanol-gfn2\n"
        "  so3krates-lite vibrations so3lr water.xyz --symmetry-number 2 --out water.json\n"
        "  so3krates-lite vibrations ethanol-gfn2 ethanol-gfn2 --mode -1 --path mode.extxyz",
    )
    add_model_and_data(parser)
    parser.add_argument("--fmax", type=above_zero, default=1e-3, help="largest force left [0.001]")
    parser.add_argument("--temperature", type=above_zero, default=298.15, help="in K [298.15]")
    parser.add_argument("--pressure", type=above_zero, default=1.0, help="in bar [1]")
    parser.add_argument("--symmetry-number", type=positive, default=1, help="of the molecule [1]")
    parser.add_argument("--saddle", action="store_true", help="allow imaginary modes")
    parser.add_argument("--mode", type=int, default=0, help="for --path, from 0, the softest [0]")
    parser.add_argument("--path", type=file_to_write, help="write that mode's swing to a file")
    parser.add_argument("--out", type=file_to_write, help="write modes and state to a .json file")
    add_loading(parser)


def _vibrations(options: argparse.Namespace) -> None:
    from so3krates_lite.datasets.frames_file import write_atoms
    from so3krates_lite.runtime import files
    from so3krates_lite.simulate.modes import vibrations
    from so3krates_lite.training.evaluation import format_table

    potential = load_model(options)
    atoms = first_structure(load_data(options))
    multiplicity = int(atoms.info.get("spin_multiplicity", 1))
    found = vibrations(atoms, potential, fmax=options.fmax, saddle=options.saddle)
    print(format_table(found.rows()))
    print(found.summary())
    state = None
    if not atoms.pbc.any() and not (found.frequencies < 0).any():
        state = found.thermochemistry(
            options.temperature,
            options.pressure,
            symmetry_number=options.symmetry_number,
            spin_multiplicity=multiplicity,
        )
        print(
            f"ideal gas at {options.temperature:g} K and {options.pressure:g} bar, symmetry number "
            f"{options.symmetry_number}: enthalpy {state.enthalpy:.4f} eV, entropy "
            f"{1e3 * state.entropy:.4f} meV/K, free energy {state.gibbs_energy:.4f} eV"
        )
    if options.path:
        write_atoms(found.path(options.mode).to_atoms(), options.path)
        print(f"Mode {options.mode} written to {options.path}.")
    if options.out:
        content = {
            "symbols": list(found.atoms.symbols),
            "positions / Å": found.atoms.positions.tolist(),
            "energy / eV": found.energy,
            "zero-point energy / eV": found.zero_point_energy,
            "frequencies / cm^-1": found.frequencies.tolist(),
            "intensities / km/mol": None
            if found.intensities is None
            else found.intensities.tolist(),
            "modes / Å/(√amu Å)": found.modes.tolist(),
            "gas": state and state._asdict(),
        }
        files.write_atomically(options.out, json.dumps(content, ensure_ascii=False).encode())
        print(f"All of it written to {options.out}.")


def add_md(commands) -> None:
    parser = command(
        commands,
        "md",
        _md,
        "molecular dynamics on the device",
        "Starts from the first structure. With several replicas, files are numbered. A run that\n"
        "was stopped goes on from its checkpoint.\n\n"
        "  so3krates-lite md ethanol-gfn2 ethanol-gfn2 --steps 20000 --out run.extxyz\n"
        "  so3krates-lite md so3lr water.extxyz --long-cutoff 12 --ensemble npt --out run.extxyz",
    )
    add_model_and_data(parser)
    parser.add_argument("--out", type=file_to_write, required=True, help=".extxyz, .traj or .npz")
    parser.add_argument("--steps", type=positive, default=10_000, help="[10000]")
    parser.add_argument("--ensemble", choices=("nve", "nvt", "npt"), default="nvt", help="[nvt]")
    parser.add_argument(
        "--thermostat", choices=("langevin", "nose-hoover"), default="langevin", help="[langevin]"
    )
    parser.add_argument("--temperature", type=above_zero, default=300.0, help="in K [300]")
    parser.add_argument("--pressure", type=float, default=0.0, help="of npt, in GPa [0]")
    parser.add_argument("--time-step", type=above_zero, default=0.5, help="in fs [0.5]")
    parser.add_argument("--every", type=positive, default=20, help="record every so many [20]")
    parser.add_argument("--replicas", type=positive, default=1, help="[1]")
    parser.add_argument("--seed", type=seed_number, default=0, help="[0]")
    add_precision(parser)
    parser.add_argument("--checkpoint", type=file_to_write, help="a file to go on from")
    add_loading(parser)


def _md(options: argparse.Namespace) -> None:
    from so3krates_lite.cli.use import check_form
    from so3krates_lite.datasets.frames_file import save_frames, write_atoms
    from so3krates_lite.simulate.molecular_dynamics import run_md
    from so3krates_lite.units import GPA

    check_form(options.out)
    potential = load_model(options)
    begin = time.perf_counter()
    runs = run_md(
        first_structure(load_data(options)),
        potential,
        steps=options.steps,
        ensemble=options.ensemble,
        thermostat=options.thermostat,
        temperature_K=options.temperature,
        pressure=options.pressure * GPA,
        time_step_fs=options.time_step,
        every=options.every,
        replicas=options.replicas,
        seed=options.seed,
        precision=options.precision,
        checkpoint=options.checkpoint,
        allow_explosion=True,
    )
    seconds = time.perf_counter() - begin
    for k, run in enumerate(runs):
        out = options.out
        if len(runs) > 1:
            out = out.with_name(f"{out.stem}-{k}{out.suffix}")
        if out.suffix == ".npz":
            save_frames(run.frames, out)
        else:
            write_atoms(_with_velocities(run), out)
        print(f"{_told(run, options.ensemble)}: {out}")
    print(f"{options.steps * len(runs) / seconds:.0f} steps a second, compilation included")
    exploded = [run.exploded for run in runs if run.exploded]
    if exploded:
        raise UserError(f"{exploded[0]} What was recorded until then is written.")


def _told(run: Dynamics, ensemble: str) -> str:
    """A run in a line."""
    length = f"{run.time[-1] / 1e3:g} ps, {len(run.time)} frames"
    later = run.temperature[len(run.temperature) // 2 :]
    if ensemble == "nve":
        return (
            f"{length}, {later.mean():.0f} K, total energy drifts {run.drift:+.3f} and strays "
            f"{run.largest_deviation:.3f} meV/atom"
        )
    return f"{length}, {later.mean():.0f} K in its second half"


def _with_velocities(run: Dynamics) -> list[Atoms]:
    from ase import units

    images = run.frames.to_atoms()
    for image, velocities, fs in zip(images, run.velocities, run.time, strict=True):
        image.set_velocities(velocities / units.fs)
        image.info["time_fs"] = float(fs)
    return images


def add_stability(commands) -> None:
    parser = command(
        commands,
        "stability",
        _stability,
        "how long a molecule stays whole in dynamics",
        "Starts replicas from the first structure with a Langevin thermostat. If the data hold a\n"
        "hundred frames or more, the distances sampled are compared with theirs, h(r).\n\n"
        "  so3krates-lite stability ethanol-gfn2 ethanol-gfn2 --temperatures 300 500",
    )
    add_model_and_data(parser)
    parser.add_argument(
        "--temperatures", type=above_zero, nargs="+", default=[300.0, 500.0], help="K [300 500]"
    )
    parser.add_argument("--picoseconds", type=above_zero, default=20.0, help="[20]")
    parser.add_argument("--replicas", type=positive, default=8, help="[8]")
    parser.add_argument("--seed", type=seed_number, default=0, help="[0]")
    parser.add_argument("--json", type=file_to_write, help="write the table to a file as well")
    add_loading(parser)


def _stability(options: argparse.Namespace) -> None:
    from so3krates_lite.runtime import files
    from so3krates_lite.simulate.stability import measure_stability
    from so3krates_lite.training.evaluation import format_table

    potential, frames = load_model(options), load_data(options)
    rows = []
    for temperature in options.temperatures:
        found = measure_stability(
            first_structure(frames),
            potential,
            temperature_K=temperature,
            picoseconds=options.picoseconds,
            replicas=options.replicas,
            seed=options.seed,
        )
        rows.append(found.row(frames if len(frames) >= ENOUGH else None))
        for k, cause in enumerate(found.causes):
            if cause is not None:
                print(f"{temperature:g} K, replica {k}, {found.whole_fs[k]:g} fs: {cause}")
    print(format_table(rows))
    if options.json:
        plain = [{k: None if v != v else v for k, v in row.items()} for row in rows]
        files.write_atomically(options.json, json.dumps(plain, indent=2).encode())
