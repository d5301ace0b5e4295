"""Spectra have the lines, the integrals and the units that a swing by hand has."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units

from so3krates_lite.errors import UserError
from so3krates_lite.simulate.modes import infrared_intensities
from so3krates_lite.simulate.spectra import broadened, infrared_spectrum, power_spectrum
from so3krates_lite.units import AMU_A2_FS2, BOLTZMANN

STEP, T = 1.0, 300.0  # fs, K
TIME = np.arange(20_000) * STEP
NUMBERS = np.array([1, 9])
MASS = np.array([1.008, 18.998])
MU = MASS.prod() / MASS.sum()


def swing(wavenumber: float) -> tuple[np.ndarray, np.ndarray]:
    """Two atoms on a spring along x with kT in its two quadratic terms: bond length and
    velocities."""
    omega = 2 * np.pi * units._c * 100 * wavenumber * 1e-15  # 1/fs
    amplitude = np.sqrt(2 * BOLTZMANN * T / (MU * AMU_A2_FS2)) / omega  # Å
    stretch = amplitude * np.sin(omega * TIME)
    speed = amplitude * omega * np.cos(omega * TIME)
    velocities = np.zeros((len(TIME), 2, 3))
    velocities[:, 0, 0] = speed * MASS[1] / MASS.sum()
    velocities[:, 1, 0] = -speed * MASS[0] / MASS.sum()
    return stretch, velocities


@pytest.mark.parametrize("wavenumber", [400.0, 3600.0])
def test_a_swing_is_one_mode_at_its_wave_number(wavenumber):
    _, velocities = swing(wavenumber)
    found = power_spectrum(velocities, NUMBERS, time_step_fs=STEP, temperature_K=T)
    assert found.wavenumber[np.argmax(found.intensity)] == pytest.approx(wavenumber, abs=10)
    assert found.integral() == pytest.approx(1.0, rel=0.01)
    assert found.integral(wavenumber - 100, wavenumber + 100) == pytest.approx(1.0, rel=0.02)
    assert found.peaks() == pytest.approx([wavenumber], abs=10)


def test_lines_are_as_wide_as_is_said():
    _, velocities = swing(1500.0)
    settings = {"time_step_fs": STEP, "temperature_K": T}
    for resolution in (8.0, 30.0):
        found = power_spectrum(velocities, NUMBERS, resolution=resolution, **settings)
        grid = np.linspace(1400, 1600, 4001)
        line = np.interp(grid, found.wavenumber, found.intensity)
        wide = grid[line > line.max() / 2]
        assert (wide[-1] - wide[0]) / 2 == pytest.approx(resolution, rel=0.3)


def test_infrared_line_has_the_intensity_of_the_mode():
    """Charges +-q on the spring: dynamics and dipole derivatives agree, in km/mol."""
    q, wavenumber = 0.4, 1500.0
    stretch, _ = swing(wavenumber)
    dipole = np.zeros((len(TIME), 3))
    dipole[:, 0] = q * stretch
    found = infrared_spectrum(dipole, time_step_fs=STEP, temperature_K=T)
    mode = np.zeros((1, 2, 3))
    mode[0, :, 0] = np.array([MASS[1], -MASS[0]]) / MASS.sum() / np.sqrt(MU)
    derivatives = q * np.einsum("j,ab->ajb", [1.0, 0.0], np.eye(3))
    derivatives -= q * np.einsum("j,ab->ajb", [0.0, 1.0], np.eye(3))
    # the bond stretches by one where the first atom moves by m_2/m and the second by -m_1/m
    expected = infrared_intensities(derivatives, mode)[0]
    assert found.integral(1300, 1700) == pytest.approx(expected, rel=0.02)
    assert found.unit == "km/mol per cm⁻¹"


def test_broadened_lines_keep_their_weights():
    found = broadened(np.array([500.0, 2000.0]), np.array([3.0, 1.0]), width=5.0)
    assert found.integral(300, 700) == pytest.approx(3.0, rel=0.02)
    assert found.integral(1800, 2200) == pytest.approx(1.0, rel=0.02)


def test_what_gives_no_spectrum_is_told():
    settings = {"time_step_fs": STEP, "temperature_K": T}
    short = np.zeros((50, 3))
    with pytest.raises(UserError, match=r"needs 2\.\d+ ps, and the run has 0.05 ps"):
        infrared_spectrum(short, **settings)
    with pytest.raises(UserError, match="not finite"):
        infrared_spectrum(np.full((5000, 3), np.nan), **settings)
    with pytest.raises(UserError, match="temperature_K"):
        infrared_spectrum(np.zeros((5000, 3)), time_step_fs=1.0, temperature_K=0.0)
    with pytest.raises(UserError, match="width"):
        broadened(np.array([1.0]), width=0)
