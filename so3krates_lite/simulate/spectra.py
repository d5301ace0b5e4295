"""Spectra from dynamics: which frequencies a trajectory holds.

What swings in time shows in the Fourier transform of its velocity. For classical motion at a
temperature T every degree of freedom has kT of kinetic energy times two, whatever its frequency, so
the spectrum of sqrt(m) v, over kT, counts modes: its integral is the number of degrees of freedom.
Weighed instead with how the dipole moves, it is the infrared spectrum. In the harmonic limit both
are lines at the frequencies of `vibrations`, the second with its intensities; what differs between
the two is anharmonicity, temperature, and what the run was too short to sample.

McQuarrie, Statistical Mechanics (1976), chapter 21; Thomas, Brehm, Fligg, Vöhringer & Kirchner,
Phys. Chem. Chem. Phys. 15, 6608 (2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from so3krates_lite.errors import UserError, require
from so3krates_lite.units import AMU_A2_FS2, BOLTZMANN, IR_INTENSITY, PER_FS


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A spectrum over wave numbers.

    Args:
        wavenumber: in cm^-1, from 0
        intensity: modes per cm^-1, or km/mol per cm^-1 of an infrared spectrum
        unit: of the intensity
        resolution: half the width in cm^-1 that a line gets from the window, at half its height
    """

    wavenumber: Float[np.ndarray, "points"]
    intensity: Float[np.ndarray, "points"]
    unit: str
    resolution: float

    def integral(self, low: float = 0.0, high: float = np.inf) -> float:
        """Of the intensity between two wave numbers: modes, or km/mol."""
        inside = (self.wavenumber >= low) & (self.wavenumber <= high)
        return float(np.trapezoid(self.intensity[inside], self.wavenumber[inside]))

    def peaks(self, smallest: float = 0.02) -> Float[np.ndarray, "peaks"]:
        """Wave numbers of maxima that stand out by this part of the highest."""
        from scipy.signal import find_peaks

        found, _ = find_peaks(self.intensity, prominence=smallest * self.intensity.max())
        return self.wavenumber[found]


def broadened(
    frequencies: Float[np.ndarray, "modes"],
    weights: Float[np.ndarray, "modes"] | None = None,
    *,
    width: float = 10.0,
    highest: float = 4500.0,
    unit: str = "modes per cm⁻¹",
) -> Spectrum:
    """Lines as Lorentzians of half width ``width`` (cm^-1), each with its weight as integral."""
    require(bool(width > 0), "width", width, "a number above zero, in cm⁻¹")
    grid = np.arange(0.0, highest, min(1.0, width / 4))
    weights = np.ones(len(frequencies)) if weights is None else weights
    lines = width / np.pi / ((grid[:, None] - frequencies) ** 2 + width**2)
    return Spectrum(grid, lines @ weights, unit, width)


def power_spectrum(
    velocities: Float[np.ndarray, "records atoms 3"],
    numbers: Int[np.ndarray, "atoms"],
    *,
    time_step_fs: float,
    temperature_K: float,
    resolution: float = 10.0,
) -> Spectrum:
    """Modes per cm^-1 in a trajectory, from its velocities.

    Args:
        velocities: in Å/fs
        numbers: atomic numbers
        time_step_fs: between two records; the fastest swing needs three of them
        temperature_K: of the run, from its kinetic energy
        resolution: half width of a line, in cm^-1; finer means noisier

    Raises:
        UserError: too short a run for the resolution, or an impossible argument
    """
    from ase.data import atomic_masses

    weighted = velocities * np.sqrt(atomic_masses[numbers])[:, None] * np.sqrt(AMU_A2_FS2)
    wavenumber, density = _density(weighted, time_step_fs, resolution)
    kT = _thermal_energy(temperature_K)
    return Spectrum(wavenumber, density / kT, "modes per cm⁻¹", resolution)


def infrared_spectrum(
    dipoles: Float[np.ndarray, "records 3"],
    *,
    time_step_fs: float,
    temperature_K: float,
    resolution: float = 10.0,
) -> Spectrum:
    """Infrared absorption of a molecule, in km/mol per cm^-1, from its dipole along a trajectory.

    In the harmonic limit its integral over a line is the line's intensity, for one quantum or many:
    the classical motion is taken as it is, without a quantum correction.

    Args:
        dipoles: in e Å
        time_step_fs, temperature_K, resolution: as of `power_spectrum`
    """
    wavenumber, density = _density(dipoles, time_step_fs, resolution)
    # of the dipole's velocity, which a derivative in time makes of it
    speed = density * (2 * np.pi * wavenumber / PER_FS) ** 2 * AMU_A2_FS2
    intensity = IR_INTENSITY * speed / _thermal_energy(temperature_K)
    return Spectrum(wavenumber, intensity, "km/mol per cm⁻¹", resolution)


def _density(
    signal: Float[np.ndarray, "records *any"], time_step_fs: float, resolution: float
) -> tuple[Float[np.ndarray, "points"], Float[np.ndarray, "points"]]:
    """Mean square of all components of a signal per cm^-1, by Welch's method."""
    from scipy.signal import welch

    for name, value in (("time_step_fs", time_step_fs), ("resolution", resolution)):
        require(bool(np.isfinite(value) and value > 0), name, value, "a number above zero")
    # a Hann window of n records has lines of half width 0.72 / (n dt)
    length = int(np.ceil(0.72 * PER_FS / (resolution * time_step_fs)))
    if len(signal) < length:
        raise UserError(
            f"A resolution of {resolution:g} cm^-1 needs {length * time_step_fs / 1e3:.3g} ps, and "
            f"the run has {len(signal) * time_step_fs / 1e3:.3g} ps: run longer, or ask for less."
        )
    if not np.isfinite(signal).all():
        raise UserError("The trajectory holds values that are not finite: it has exploded.")
    per_fs, density = welch(
        signal.reshape(len(signal), -1), 1 / time_step_fs, "hann", length, axis=0
    )
    return per_fs * PER_FS, density.sum(axis=1) / PER_FS


def _thermal_energy(temperature_K: float) -> float:
    positive = bool(np.isfinite(temperature_K) and temperature_K > 0)
    require(positive, "temperature_K", temperature_K, "a number above zero")
    return BOLTZMANN * temperature_K
