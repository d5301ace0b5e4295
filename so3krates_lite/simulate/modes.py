"""Vibrations: what the curvature of the energy at a minimum says of a molecule.

At a minimum the energy rises as a paraboloid, E = E_0 + 1/2 u·H u. In coordinates weighted with the
root of the mass its axes are the normal modes, and each is a spring by itself: its curvature is
the square of its angular frequency. Moving or turning the whole costs nothing; these motions are
projected out exactly, so that neither rounding nor what is left of the forces mixes them in. What
remains gives the zero-point energy, the statistics of heat and entropy, and, if the atoms' charges
are known, how strongly each mode absorbs light.

Wilson, Decius & Cross, Molecular Vibrations (1955), chapters 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from so3krates_lite.ensemble import load_potential
from so3krates_lite.errors import UserError, require
from so3krates_lite.potential import Potential
from so3krates_lite.simulate.dynamics import at_rest, require_positive, rigid_motions
from so3krates_lite.simulate.dynamics import relax as relaxed
from so3krates_lite.structures.frames import Frames
from so3krates_lite.units import IR_INTENSITY, MODE_WAVENUMBER, WAVENUMBER, convert

if TYPE_CHECKING:
    from ase import Atoms

IMAGINARY = 1.0  # cm^-1: what is less is rounding


class Thermochemistry(NamedTuple):
    """An ideal gas of rigid rotors with harmonic vibrations, all energies per molecule in eV.

    The energies begin at the potential's zero; entropy in eV/K.
    """

    internal_energy: float
    enthalpy: float
    entropy: float
    gibbs_energy: float


@dataclass(frozen=True, eq=False)
class Vibrations:
    """Normal modes of a structure, softest first.

    Args:
        atoms: the structure
        energy: potential energy there, eV
        frequencies: wave numbers in cm^-1; an imaginary one is given as negative
        modes: dR / dQ of each mode in Å per (√amu Å), orthonormal when weighted with the masses
        hessian: in eV/Å^2, as the potential gave it
        intensities: infrared, in km/mol; None: the potential has no charges
    """

    atoms: Atoms
    energy: float
    frequencies: Float[np.ndarray, "modes"]
    modes: Float[np.ndarray, "modes atoms 3"]
    hessian: Float[np.ndarray, "atoms 3 atoms 3"]
    intensities: Float[np.ndarray, "modes"] | None = None

    @property
    def energies(self) -> Float[np.ndarray, "modes"]:
        """Quanta of the modes, hc times the wave number, in eV."""
        return self.frequencies * WAVENUMBER

    @property
    def zero_point_energy(self) -> float:
        """Half a quantum of each mode that is none of a saddle, in eV."""
        return float(self.energies[self.frequencies > 0].sum() / 2)

    @property
    def reduced_masses(self) -> Float[np.ndarray, "modes"]:
        """Of each mode in amu: 1 / sum of its squared Cartesian displacements, as programs give
        it. Of two atoms on a spring it is not m_1 m_2 / (m_1 + m_2)."""
        return 1 / (self.modes**2).sum(axis=(1, 2))

    def thermochemistry(
        self,
        temperature_K: float = 298.15,
        pressure_bar: float = 1.0,
        *,
        symmetry_number: int = 1,
        spin_multiplicity: int = 1,
    ) -> Thermochemistry:
        """Energy, enthalpy, entropy and free energy of an ideal gas, by ASE's `IdealGasThermo`.

        Args:
            temperature_K, pressure_bar: of the gas
            symmetry_number: how many turns leave the molecule as it is, such as 2 for water
            spin_multiplicity: 2S+1 of the electrons

        Raises:
            UserError: a saddle, a crystal, or an impossible argument
        """
        from ase.thermochemistry import IdealGasThermo

        require_positive(temperature_K=temperature_K, pressure_bar=pressure_bar)
        for name, value in (
            ("symmetry_number", symmetry_number),
            ("spin_multiplicity", spin_multiplicity),
        ):
            whole = isinstance(value, int | np.integer) and value >= 1
            require(whole, name, value, "a whole number, 1 or more")
        if self.atoms.pbc.any():
            raise UserError("An ideal gas is made of molecules, but the structure is periodic.")
        if (self.frequencies < 0).any():
            raise UserError(
                f"The structure is a saddle ({self.frequencies[0]:.0f} cm^-1): thermochemistry "
                f"needs a minimum."
            )
        freedom = rigid_motions(self.atoms).shape[1]
        gas = IdealGasThermo(
            self.energies,
            {3: "monatomic", 5: "linear", 6: "nonlinear"}[freedom],
            potentialenergy=self.energy,
            atoms=self.atoms,
            symmetrynumber=int(symmetry_number),
            spin=(spin_multiplicity - 1) / 2,
        )
        state = (temperature_K, pressure_bar * 1e5)
        return Thermochemistry(
            float(gas.get_internal_energy(temperature_K, verbose=False)),
            float(gas.get_enthalpy(temperature_K, verbose=False)),
            float(gas.get_entropy(*state, verbose=False)),
            float(gas.get_gibbs_energy(*state, verbose=False)),
        )

    def path(self, mode: int, *, images: int = 24, largest: float = 0.25) -> Frames:
        """One period of a mode, to look at: the structure swings to both sides and back.

        Args:
            mode: counted from 0, the softest; negative ones from the stiffest
            images: structures of the period
            largest: how far the atom that moves most goes, in Å
        """
        if not -len(self.modes) <= mode < len(self.modes):
            raise UserError(f"Mode {mode} does not exist: the structure has {len(self.modes)}.")
        shape = self.modes[mode]
        shape = shape * largest / np.linalg.norm(shape, axis=1).max()
        phase = np.sin(2 * np.pi * np.arange(images) / images)
        frame = Frames.from_atoms([at_rest(self.atoms)] * images)
        return frame.replace(positions=frame.positions + phase[:, None, None] * shape)

    def rows(self) -> list[dict[str, float]]:
        """A line of a table for each mode."""
        rows = [
            {
                "mode": k,
                "frequency (cm⁻¹)": round(float(self.frequencies[k]), 1),
                "reduced mass (amu)": round(float(self.reduced_masses[k]), 3),
            }
            for k in range(len(self.frequencies))
        ]
        if self.intensities is not None:
            for row, intensity in zip(rows, self.intensities, strict=True):
                row["infrared (km/mol)"] = round(float(intensity), 2)
        return rows

    def summary(self) -> str:
        """The zero-point energy in words."""
        in_kcal = convert(self.zero_point_energy, "eV", "kcal/mol")
        return f"zero-point energy {self.zero_point_energy:.4f} eV ({in_kcal:.2f} kcal/mol)"


def vibrations(
    atoms: Atoms,
    potential: Potential | str | PathLike,
    *,
    relax: bool = True,
    fmax: float = 1e-3,
    steps: int = 1000,
    saddle: bool = False,
) -> Vibrations:
    """Relax a structure and find its normal modes; ``atoms`` stays as it is.

    Everything is computed in float64. Of a periodic structure these are the modes in which all
    cells move alike, at its cell as it is.

    Args:
        atoms: the start
        potential: a `Potential` or `Ensemble`, or its file or name
        relax: follow the forces to a minimum first; False: the structure is at one already
        fmax: the largest force that still counts as none, in eV/Å
        steps: of the relaxation, at most
        saddle: allow imaginary modes, which are then the first

    Raises:
        UserError: the structure does not relax or is not relaxed, or it is a saddle
    """
    require_positive(fmax=fmax)
    if not isinstance(potential, Potential):
        potential = load_potential(potential)
    potential = potential.astype("float64")
    if atoms.constraints:
        raise UserError("Atoms with constraints have other modes: remove the constraints.")
    if relax:
        run = relaxed(atoms, potential, fmax=fmax, steps=steps)
        if not run.converged:
            raise UserError(
                f"The structure is not relaxed after {steps} steps (largest force "
                f"{run.largest_force[-1]:.2g} eV/Å): begin nearer to a minimum, or "
                f"allow more steps."
            )
        atoms = run.atoms
    frame = Frames.from_atoms([at_rest(atoms)])
    found = potential.predict(frame)
    force = float(np.linalg.norm(found.forces[0], axis=1).max())
    if force >= fmax:
        raise UserError(
            f"The structure is not at rest: its largest force is {force:.2g} eV/Å, and {fmax:g} is "
            f"allowed (fmax). Frequencies mean nothing there: pass relax=True."
        )
    hessian = potential.hessian(frame)
    frequencies, modes = normal_modes(atoms, hessian)
    if len(frequencies) and frequencies[0] < -IMAGINARY and not saddle:
        moving = np.argsort(-np.linalg.norm(modes[0], axis=1))[:2]
        names = " and ".join(f"{atoms.symbols[k]}{k}" for k in moving)
        raise UserError(
            f"The structure is a saddle, no minimum: mode 0 is imaginary ({-frequencies[0]:.0f}i "
            f"cm^-1) and moves {names} most. Displace it along that mode and relax again (pass "
            f"saddle=True to get the modes)."
        )
    intensities = None
    if potential.config.has_charges and not atoms.pbc.any():
        intensities = infrared_intensities(potential.dipole_derivatives(frame), modes)
    return Vibrations(
        at_rest(atoms), float(found.energy[0]), frequencies, modes, hessian, intensities
    )


def normal_modes(
    atoms: Atoms, hessian: Float[np.ndarray, "atoms 3 atoms 3"]
) -> tuple[Float[np.ndarray, "modes"], Float[np.ndarray, "modes atoms 3"]]:
    """Wave numbers (cm^-1, imaginary ones negative) and modes of a Hessian (eV/Å^2), softest first.

    Motions of the whole are projected out; modes as in `Vibrations`.
    """
    size = 3 * len(atoms)
    root = np.repeat(np.sqrt(atoms.get_masses()), 3)
    flat = hessian.reshape(size, size)
    weighted = (flat + flat.T) / 2 / root[:, None] / root
    rigid = rigid_motions(atoms)
    inner = np.linalg.svd(rigid, full_matrices=True)[0][:, rigid.shape[1] :]
    curvature, axes = np.linalg.eigh(inner.T @ weighted @ inner)
    modes = (inner @ axes / root[:, None]).T.reshape(-1, len(atoms), 3)
    return np.sign(curvature) * np.sqrt(np.abs(curvature)) * MODE_WAVENUMBER, modes


def infrared_intensities(
    dipole_derivatives: Float[np.ndarray, "3 atoms 3"], modes: Float[np.ndarray, "modes atoms 3"]
) -> Float[np.ndarray, "modes"]:
    """N_A |d mu / dQ|^2 / (12 eps_0 c^2) of each mode, in km/mol.

    Args:
        dipole_derivatives: d mu / dR in e
        modes: dR / dQ in Å per (√amu Å)
    """
    along = np.einsum("ajb,kjb->ka", dipole_derivatives, modes)
    return IR_INTENSITY * (along**2).sum(axis=1)
