"""Normal modes are those of the Hessian, and what users read of them is right."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.vibrations import Vibrations as FiniteDifferences

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.ensemble import load_potential
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.simulate.calculator import So3kratesCalculator
from so3krates_lite.simulate.dynamics import relax
from so3krates_lite.simulate.modes import (
    Vibrations,
    infrared_intensities,
    normal_modes,
    vibrations,
)

SPRING = 30.0  # eV/Å^2


def diatomic(first: str, second: str) -> tuple[Atoms, np.ndarray]:
    """Two atoms with a spring along x, and its Hessian."""
    atoms = Atoms([first, second], [[0, 0, 0], [1.2, 0, 0]])
    hessian = np.zeros((2, 3, 2, 3))
    hessian[:, 0, :, 0] = SPRING * np.array([[1, -1], [-1, 1]])
    return atoms, hessian


def of_diatomic(first: str, second: str, energy: float = -3.0) -> Vibrations:
    atoms, hessian = diatomic(first, second)
    return Vibrations(atoms, energy, *normal_modes(atoms, hessian), hessian)


@pytest.fixture(scope="module")
def ethanol() -> Vibrations:
    return vibrations(molecule("CH3CH2OH"), "ethanol-gfn2", fmax=1e-4)


def test_a_spring_between_two_masses_swings_at_root_k_over_mu():
    found = of_diatomic("H", "Cl")
    mass = found.atoms.get_masses()
    mu = mass.prod() / mass.sum()
    angular = np.sqrt(SPRING * units._e * 1e20 / (mu * units._amu))  # 1/s
    expected = angular / (2 * np.pi * units._c * 100)
    assert found.frequencies == pytest.approx([expected], rel=1e-7)
    # the convention of programs: of the Cartesian displacements, not of the bond's length
    assert found.reduced_masses == pytest.approx([(mass**2).prod() / mu / (mass**2).sum()])
    assert found.zero_point_energy == pytest.approx(expected * units.invcm / 2, rel=1e-7)


def test_modes_are_orthonormal_and_leave_the_whole_at_rest(ethanol):
    mass = ethanol.atoms.get_masses()[:, None]
    assert len(ethanol.frequencies) == 21 and (np.diff(ethanol.frequencies) >= 0).all()
    overlap = np.einsum("kia,lia->kl", mass * ethanol.modes, ethanol.modes)
    assert np.abs(overlap - np.eye(21)).max() < 1e-10
    place = ethanol.atoms.positions - ethanol.atoms.get_center_of_mass()
    assert np.abs((mass * ethanol.modes).sum(axis=1)).max() < 1e-10
    assert np.abs(np.cross(place, mass * ethanol.modes).sum(axis=1)).max() < 1e-10


def test_frequencies_are_those_of_finite_differences(ethanol, tmp_path):
    atoms = ethanol.atoms.copy()
    atoms.calc = So3kratesCalculator("ethanol-gfn2")
    slow = FiniteDifferences(atoms, delta=0.002, nfree=4, name=tmp_path / "fd")
    slow.run()
    assert ethanol.frequencies[3:] == pytest.approx(slow.get_frequencies().real[9:], abs=0.5)


def test_frequencies_are_near_those_of_the_method_it_learnt(ethanol):
    """GFN2-xTB's own, by differences of its forces at its own minimum."""
    pytest.importorskip("tblite", reason="needs the extra [generate]")
    from so3krates_lite.datasets.reference import reference_calculator

    found = relax(ethanol.atoms, reference_calculator(0, 0.01), fmax=1e-3)
    atoms, h, columns = found.atoms, 0.005, []
    start = atoms.positions.copy()
    for direction in np.eye(27).reshape(27, 9, 3):
        forces = []
        for sign in (1, -1):
            atoms.positions = start + sign * h * direction
            forces.append(atoms.get_forces())
        columns.append((forces[1] - forces[0]) / (2 * h))
    atoms.positions = start
    reference, _ = normal_modes(atoms, np.reshape(columns, (9, 3, 9, 3)))
    error = np.abs(ethanol.frequencies - reference)
    assert error.mean() < 4 and error.max() < 10


def test_water_of_the_published_model():
    """1631.7, 3783.0, 3895.8 cm^-1 were measured independently, with pairs up to 12 Å."""
    try:
        potential = load_potential("so3lr", long_cutoff=12.0)
    except UserError as error:
        pytest.skip(str(error))
    found = vibrations(molecule("H2O"), potential, fmax=1e-4)
    assert found.frequencies == pytest.approx([1631.7, 3783.0, 3895.8], abs=1.0)
    assert found.intensities.shape == (3,) and (found.intensities > 0).all()


def test_intensity_of_two_charges_on_a_spring():
    """N_A q^2 / (12 eps_0 c^2 mu), and charges that do not follow the atoms."""
    atoms, hessian = diatomic("H", "F")
    _, modes = normal_modes(atoms, hessian)
    q = 0.4
    derivatives = q * np.einsum("j,ab->ajb", [1.0, -1.0], np.eye(3))
    mass = atoms.get_masses()
    mu = mass.prod() / mass.sum() * units._amu
    by_hand = units._Nav * (q * units._e) ** 2 / (12 * units._eps0 * units._c**2 * mu) / 1e3
    assert infrared_intensities(derivatives, modes) == pytest.approx([by_hand], rel=1e-6)


def test_thermochemistry_of_a_diatomic_gas():
    """Sackur-Tetrode, a rigid rotor at high temperature, and one oscillator, written out."""
    found = of_diatomic("N", "N")
    T, p, sigma = 400.0, 2.0e5, 2
    k, h = units._k, units._hplanck
    mass = found.atoms.get_masses()[0] * units._amu
    translation = 2.5 + np.log((2 * np.pi * 2 * mass * k * T / h**2) ** 1.5 * k * T / p)
    inertia = mass / 2 * 1.2e-10**2
    rotation = 1 + np.log(8 * np.pi**2 * inertia * k * T / (sigma * h**2))
    x = found.energies[0] / (units.kB * T)
    oscillator = x / np.expm1(x) - np.log(-np.expm1(-x))
    entropy = (translation + rotation + oscillator) * units.kB
    energy = -3.0 + found.zero_point_energy + units.kB * T * (2.5 + x / np.expm1(x))
    state = found.thermochemistry(T, 2.0, symmetry_number=2)
    assert state.entropy == pytest.approx(entropy, rel=1e-5)
    assert state.internal_energy == pytest.approx(energy, abs=1e-6)
    assert state.enthalpy == pytest.approx(energy + units.kB * T, abs=1e-6)
    assert state.gibbs_energy == pytest.approx(energy + units.kB * T - T * entropy, abs=1e-5)


def test_linear_molecules_have_a_mode_more():
    hessian = np.eye(9).reshape(3, 3, 3, 3)
    assert len(normal_modes(molecule("CO2"), hessian)[0]) == 4
    assert len(normal_modes(molecule("H2O"), hessian)[0]) == 3


def test_path_swings_to_both_sides_and_back(ethanol):
    path = ethanol.path(-1, images=8, largest=0.3)
    away = path.positions - ethanol.atoms.positions
    assert np.abs(away[[0, 4]]).max() < 1e-12
    assert np.linalg.norm(away, axis=2).max() == pytest.approx(0.3)
    assert away[2] == pytest.approx(-away[6])
    hydrogen = np.argmax(np.linalg.norm(away[2], axis=1))  # the stiffest mode: O-H
    assert ethanol.atoms.symbols[hydrogen] == "H"
    oxygen = int(np.argmin(np.abs(ethanol.atoms.numbers - 8)))
    assert ethanol.atoms.get_distance(hydrogen, oxygen) == pytest.approx(0.97, abs=0.02)


def test_table_says_what_the_arrays_say():
    atoms, hessian = diatomic("H", "Cl")
    found = Vibrations(atoms, 0.0, *normal_modes(atoms, hessian), hessian, np.array([12.345]))
    (row,) = found.rows()
    assert row["frequency (cm⁻¹)"] == round(float(found.frequencies[0]), 1)
    assert row["infrared (km/mol)"] == 12.35 or row["infrared (km/mol)"] == 12.34


def test_what_is_no_minimum_is_refused():
    potential = Potential.random(
        So3kratesConfig(features=12, layers=1, heads=2, cutoff=2.5), precision="float64"
    )
    water = molecule("H2O")
    with pytest.raises(UserError, match="is not at rest: its largest force"):
        vibrations(water, "ethanol-gfn2", relax=False)
    with pytest.raises(UserError, match=r"saddle, no minimum: mode 0 is imaginary \(\d+i cm"):
        vibrations(water, potential, relax=False, fmax=1e3)
    allowed = vibrations(water, potential, relax=False, fmax=1e3, saddle=True)
    assert allowed.frequencies[0] < 0
    with pytest.raises(UserError, match="is a saddle"):
        allowed.thermochemistry()
    with pytest.raises(UserError, match="Mode 3 does not exist"):
        allowed.path(3)
    with pytest.raises(UserError, match="not relaxed after 1 steps"):
        vibrations(molecule("CH3CH2OH"), "ethanol-gfn2", steps=1)
    water.set_constraint(FixAtoms([0]))
    with pytest.raises(UserError, match="constraints"):
        vibrations(water, potential)


def test_impossible_states_of_a_gas_are_named():
    found = of_diatomic("N", "N")
    for given, match in (
        ({"temperature_K": 0}, "temperature_K"),
        ({"pressure_bar": -1}, "pressure_bar"),
        ({"symmetry_number": 1.5}, "symmetry_number"),
    ):
        with pytest.raises(UserError, match=match):
            found.thermochemistry(**given)
