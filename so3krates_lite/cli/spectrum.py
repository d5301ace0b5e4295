"""The command that reads a spectrum from a run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from so3krates_lite.cli.options import (
    above_zero,
    add_loading,
    add_model_and_data,
    command,
    file_to_write,
    load_data_with_structures,
    load_model,
)
from so3krates_lite.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from so3krates_lite.drawing.spectra import Overlay

PICTURES = (".png", ".svg", ".pdf")


def add_spectrum(commands) -> None:
    parser = command(
        commands,
        "spectrum",
        _spectrum,
        "spectra of a run: modes and, with charges, infrared, above the harmonic lines",
        "Reads a trajectory with velocities, as `md` writes it. The harmonic lines are those of\n"
        "the first structure, relaxed.\n\n"
        "  so3krates-lite md so3lr ethanol.xyz --ensemble nve --temperature 600 --every 4 \\\n"
        "      --steps 40000 --out run.extxyz\n"
        "  so3krates-lite spectrum so3lr run.extxyz --out spectrum.png",
    )
    add_model_and_data(parser)
    parser.add_argument("--out", type=file_to_write, required=True, help=".png, .svg, .pdf or .csv")
    parser.add_argument("--resolution", type=above_zero, default=10.0, help="in cm^-1 [10]")
    parser.add_argument(
        "--time-step", type=above_zero, help="between two structures in fs, if the file is silent"
    )
    parser.add_argument("--no-harmonic", action="store_true", help="leave the harmonic lines out")
    add_loading(parser)


def _spectrum(options: argparse.Namespace) -> None:
    from so3krates_lite.drawing.spectra import Overlay
    from so3krates_lite.simulate.modes import vibrations
    from so3krates_lite.simulate.spectra import broadened, infrared_spectrum, power_spectrum

    if options.out.suffix not in (*PICTURES, ".csv"):
        raise UserError(f"--out {options.out}: end the name in .png, .svg, .pdf or .csv.")
    potential = load_model(options)
    frames, structures = load_data_with_structures(options)
    step = options.time_step or _time_step(structures, options.data)
    velocities, kelvin = _motion(structures, options.data)
    settings = {"time_step_fs": step, "temperature_K": kelvin, "resolution": options.resolution}
    power = power_spectrum(velocities, frames.numbers[0], **settings)
    found, width = None, {"width": options.resolution}
    if not options.no_harmonic:
        found = vibrations(structures[0], potential)
    lines = found and broadened(found.frequencies, **width)
    spectra = {"power spectrum of the velocities": Overlay(power, lines)}
    if potential.config.has_charges and not frames.is_periodic:
        dipoles = potential.properties(frames).dipole
        infrared = infrared_spectrum(dipoles, **settings)
        of_modes = {"unit": infrared.unit, **width}
        lines = found and broadened(found.frequencies, found.intensities, **of_modes)
        spectra["infrared"] = Overlay(infrared, lines)
    _write(options.out, spectra)
    print(
        f"{len(frames)} structures {step:g} fs apart at {kelvin:.0f} K; "
        f"{power.integral():.1f} modes in the spectrum, {len(spectra)} spectra: {options.out}"
    )


def _time_step(structures: list[Atoms] | None, name: str) -> float:
    times = [atoms.info.get("time_fs") for atoms in structures or ()]
    if len(times) < 2 or None in times:
        raise UserError(
            f"{name} does not say when its structures were (info time_fs): pass --time-step."
        )
    steps = np.diff(np.asarray(times, float))
    if not np.allclose(steps, steps[0]) or steps[0] <= 0:
        raise UserError(
            f"The structures of {name} are not evenly apart in time ({steps.min():g} to "
            f"{steps.max():g} fs): a spectrum needs one time step."
        )
    return float(steps[0])


def _motion(
    structures: list[Atoms] | None, name: str
) -> tuple[Float[np.ndarray, "frames atoms 3"], float]:
    """Velocities in Å/fs, and the temperature of what moves."""
    from ase import units

    from so3krates_lite.simulate.dynamics import rigid_motions
    from so3krates_lite.units import BOLTZMANN

    if not structures or not all(atoms.has("momenta") for atoms in structures):
        raise UserError(f"{name} holds no velocities, of which a spectrum is made: write them.")
    first = structures[0]
    if any(not np.array_equal(atoms.numbers, first.numbers) for atoms in structures):
        raise UserError(f"The structures of {name} are not one run: their atoms differ.")
    velocities = np.array([atoms.get_velocities() for atoms in structures])
    mass = first.get_masses()[:, None]
    weighted = (velocities * np.sqrt(mass)).reshape(len(velocities), -1)
    energy = (weighted**2).sum(axis=1)
    # whether the whole moves, as a Langevin thermostat makes it
    rigid = rigid_motions(first)
    of_whole = (weighted[0] @ rigid) ** 2
    still = of_whole.sum() < 1e-6 * energy[0]
    freedom = weighted.shape[1] - (rigid.shape[1] if still else 0)
    return velocities * units.fs, float(energy.mean() / (BOLTZMANN * freedom))


def _write(out: Path, spectra: dict[str, Overlay]) -> None:
    import matplotlib.pyplot as plt

    from so3krates_lite.drawing import stills
    from so3krates_lite.drawing.spectra import spectra_figure
    from so3krates_lite.runtime import files

    if out.suffix != ".csv":
        with plt.rc_context():
            stills.house_style()
            figure = spectra_figure(spectra)
            with files.replacing(out) as beside:
                figure.savefig(beside, dpi=150, facecolor="white", bbox_inches="tight")
        plt.close(figure)
        return
    x = next(iter(spectra.values())).dynamics.wavenumber
    columns = {"wavenumber (cm^-1)": x}
    for title, (dynamics, harmonic) in spectra.items():
        columns[f"{title} ({dynamics.unit})"] = dynamics.intensity
        if harmonic is not None:
            on_grid = np.interp(x, harmonic.wavenumber, harmonic.intensity, right=0.0)
            columns[f"{title} harmonic ({dynamics.unit})"] = on_grid
    values = zip(*columns.values(), strict=True)
    rows = [",".join(f"{value:.6g}" for value in row) for row in values]
    files.write_atomically(out, ("\n".join([",".join(columns), *rows]) + "\n").encode())
