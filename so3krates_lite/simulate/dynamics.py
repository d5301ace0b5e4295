"""Moving atoms by the forces of a potential: relaxation, and dynamics at constant energy.

Forces that are the exact derivative of an energy conserve it: along Newton's equations the total
energy stays what it was, up to the error of the time step. How far it strays over a run is
therefore a test of a potential and of the precision it computes in, which no error on a test set
replaces.

Both helpers are thin: ASE does the work, and takes an `So3kratesCalculator` anywhere else as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from jaxtyping import Float

from so3krates_lite.errors import UserError, require
from so3krates_lite.potential import Potential
from so3krates_lite.structures.frames import Frames
from so3krates_lite.units import BOLTZMANN

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from ase.filters import Filter

    Source: TypeAlias = Calculator | Potential | str | PathLike


@dataclass(frozen=True)
class Relaxation:
    """A path downhill: every structure with its energy (eV) and unconstrained forces (eV/Å).

    Where the cell moved, each has its cell (Å) and stress (eV/Å³), too.
    """

    atoms: Atoms  # the last structure, with its calculator
    frames: Frames
    converged: bool  # whether forces, and the stress where the cell moved, came below their limits

    @property
    def largest_force(self) -> Float[np.ndarray, "frames"]:
        """The length of the largest force on an atom in each structure, eV/Å."""
        return np.linalg.norm(self.frames.forces, axis=-1).max(axis=1)


@dataclass(frozen=True)
class Dynamics:
    """Recorded dynamics: structures, times and energies; the last structure, to go on from."""

    atoms: Atoms  # the last structure, with velocities and calculator
    frames: Frames  # positions, potential energy and forces of the recorded steps
    time: Float[np.ndarray, "frames"]  # fs
    kinetic_energy: Float[np.ndarray, "frames"]  # eV
    temperature: Float[np.ndarray, "frames"]  # K, of the degrees of freedom that can move
    velocities: Float[np.ndarray, "frames atoms 3"]  # Å/fs
    exploded: str | None = None  # what happened, where the run ended before its time

    @property
    def total_energy_per_atom(self) -> Float[np.ndarray, "frames"]:
        """Kinetic and potential energy per atom, eV/atom."""
        return (self.frames.energy + self.kinetic_energy) / self.frames.n_atoms

    @property
    def drift(self) -> float:
        """By how much the total energy rose over the run, by a least-squares line, in meV/atom."""
        if len(self.time) < 2:
            return 0.0
        rise = self.total_energy_per_atom - self.total_energy_per_atom[0]
        slope = np.polyfit(self.time - self.time[0], rise, 1)[0]
        return float(slope * (self.time[-1] - self.time[0]) * 1e3)

    @property
    def largest_deviation(self) -> float:
        """The largest distance of the total energy from its start, in meV/atom."""
        return float(np.abs(self.total_energy_per_atom - self.total_energy_per_atom[0]).max() * 1e3)


def relax(
    atoms: Atoms,
    potential: Source,
    *,
    fmax: float = 0.01,
    steps: int = 500,
    optimiser: str = "BFGS",
    cell: bool = False,
    pressure: float = 0.0,
    smax: float = 5e-4,
) -> Relaxation:
    """Follow the forces downhill to a minimum; ``atoms`` stays as it is.

    Args:
        atoms: the start
        potential: a `Potential`, its file or name (computed in float64), or any ASE calculator
        fmax: stop when no atom feels a force longer than this, in eV/Å
        steps: stop after so many steps in any case
        optimiser: "BFGS" (few steps near a minimum) or "FIRE" (robust far from one), both ASE's
        cell: move the cell as well, all six of its strains (ASE's FrechetCellFilter)
        pressure: from outside on a cell that moves, in eV/Å³ (1 GPa is 0.00624 eV/Å³)
        smax: a cell that moves stops when no component of stress + pressure is larger than this,
            in eV/Å³; the default is 0.08 GPa

    Raises:
        UserError: an argument is not possible, the structure has no cell to move, or the calculator
            refuses the structure
    """
    import ase.optimize

    if optimiser not in ("BFGS", "FIRE"):
        raise UserError(f"optimiser = {optimiser!r} is not known: choose BFGS or FIRE.")
    require_positive(fmax=fmax, smax=smax)
    require(bool(np.isfinite(pressure)), "pressure", pressure, "a number, in eV/Å³")
    if pressure and not cell:
        raise UserError("pressure moves nothing but a cell: pass cell=True with it.")
    moving = _with_calculator(atoms, potential)
    recorder = _Recorder(moving)
    search = getattr(ase.optimize, optimiser)(
        _with_cell(moving, pressure) if cell else moving, logfile=None
    )
    search.attach(recorder)

    def arrived() -> bool:
        if np.linalg.norm(moving.get_forces(), axis=1).max() >= fmax:
            return False
        if not cell:
            return True
        stress = moving.get_stress(voigt=False) + pressure * np.eye(3)
        return bool(np.abs(stress).max() < smax)

    # ASE's own limit, of forces and stress in one number, is never reached
    converged = any(arrived() for _ in search.irun(fmax=0.0, steps=steps))
    return Relaxation(moving, Frames.concatenate(recorder.parts), converged)


def _with_cell(atoms: Atoms, pressure: float) -> Filter:
    """Atoms and cell as one set of coordinates."""
    from ase.filters import FrechetCellFilter

    if not atoms.pbc.all():
        what = "is no crystal but a slab or chain" if atoms.pbc.any() else "is a molecule"
        raise UserError(
            f"cell=True moves the cell of a crystal, but the structure {what} (pbc = "
            f"{atoms.pbc.tolist()}): leave it out, or set atoms.pbc and atoms.cell."
        )
    if "stress" not in atoms.calc.implemented_properties:
        raise UserError(f"cell=True needs a stress, and {type(atoms.calc).__name__} has none.")
    return FrechetCellFilter(atoms, scalar_pressure=pressure)


def run_nve(
    atoms: Atoms,
    potential: Source,
    *,
    steps: int,
    temperature_K: float | None = 300.0,
    time_step_fs: float = 0.5,
    thermalise_steps: int = 0,
    every: int = 10,
    seed: int = 0,
) -> Dynamics:
    """Dynamics at constant energy (velocity Verlet); ``atoms`` stays as it is.

    Args:
        atoms: the start
        potential: a `Potential`, its file or name (computed in float64), or any ASE calculator
        steps: how many time steps to take
        temperature_K: draw velocities at this temperature, without motion or (for molecules)
            rotation of the whole; None: the velocities that ``atoms`` has. Half of it turns into
            potential energy if the start is a minimum
        time_step_fs: in femtoseconds; C-H bonds want 0.5
        thermalise_steps: unrecorded steps before, with a Langevin thermostat (friction 0.01/fs)
        every: record the start and then one step of so many
        seed: of velocities and thermostat

    Raises:
        UserError: as `relax`, and for atoms with constraints
    """
    from ase import units
    from ase.md.langevin import Langevin
    from ase.md.verlet import VelocityVerlet

    require_positive(steps=steps, time_step_fs=time_step_fs, every=every)
    if atoms.constraints:
        raise UserError("Atoms with constraints are not supported here: use ASE's dynamics itself.")
    if thermalise_steps and temperature_K is None:
        raise UserError("thermalise_steps needs a temperature: give temperature_K.")
    moving = _with_calculator(atoms, potential)
    rng = np.random.default_rng(seed)
    if temperature_K is not None:
        require_positive(temperature_K=temperature_K)
        draw_momenta(moving, temperature_K, rng)
    time_step = time_step_fs * units.fs
    if thermalise_steps:
        # fixcm: ASE's way of fixing the centre of mass does not sample correctly
        settings = {"friction": 0.01 / units.fs, "fixcm": False, "rng": rng}
        bath = Langevin(moving, time_step, temperature_K=temperature_K, **settings)
        bath.run(thermalise_steps)
        bring_to_rest(moving)
    freedom = 3 * len(moving) - rigid_motions(moving).shape[1]
    recorder = _Recorder(moving)
    newton = VelocityVerlet(moving, time_step)
    newton.attach(recorder, interval=every)
    newton.run(steps)
    kinetic = np.array(recorder.kinetic_energy)
    time = np.arange(len(kinetic)) * every * time_step_fs
    temperature = 2 * kinetic / (BOLTZMANN * max(freedom, 1))
    velocities = np.array(recorder.velocities) * units.fs
    frames = Frames.concatenate(recorder.parts)
    return Dynamics(moving, frames, time, kinetic, temperature, velocities)


class _Recorder:
    """Called by ASE after a step; keeps what the calculator has found already."""

    def __init__(self, atoms: Atoms) -> None:
        self.atoms = atoms
        self.parts: list[Frames] = []
        self.kinetic_energy: list[float] = []
        self.velocities: list[np.ndarray] = []

    def __call__(self) -> None:
        self.atoms.get_potential_energy()  # known by now, but not every calculator keeps it
        self.parts.append(Frames.from_atoms(self.atoms))
        self.kinetic_energy.append(self.atoms.get_kinetic_energy())
        self.velocities.append(self.atoms.get_velocities())


def _with_calculator(atoms: Atoms, potential: Source) -> Atoms:
    """A copy of ``atoms`` with a calculator."""
    moving = atoms.copy()
    if isinstance(potential, Potential | str | PathLike):
        from so3krates_lite.simulate.calculator import So3kratesCalculator

        potential = So3kratesCalculator(potential)
    moving.calc = potential
    return moving


def rigid_motions(atoms: Atoms) -> Float[np.ndarray, "components motions"]:
    """Motions of the whole: three and, for molecules, a turn about each axis with inertia.

    An orthonormal basis of momenta over the square root of mass.
    """
    motions = np.tile(np.eye(3)[:, None], (1, len(atoms), 1))
    if not atoms.pbc.any():
        turns = np.cross(np.eye(3)[:, None], atoms.positions - atoms.get_center_of_mass())
        motions = np.concatenate([motions, turns])
    weighted = (motions * np.sqrt(atoms.get_masses())[:, None]).reshape(len(motions), -1)
    basis, size, _ = np.linalg.svd(weighted.T, full_matrices=False)
    return basis[:, : np.count_nonzero(size > 1e-4 * size.max())]


def draw_momenta(atoms: Atoms, temperature_K: float, rng: np.random.Generator) -> None:
    """Momenta of a temperature, the whole at rest."""
    width = np.sqrt(atoms.get_masses()[:, None] * BOLTZMANN * temperature_K)
    atoms.set_momenta(width * rng.normal(size=(len(atoms), 3)))
    bring_to_rest(atoms)


def at_rest(atoms: Atoms) -> Atoms:
    """A copy without velocities and calculator."""
    still = atoms.copy()
    still.arrays.pop("momenta", None)
    return still


def bring_to_rest(atoms: Atoms) -> None:
    """Take out the motion of the whole; all other motion stays as drawn."""
    root = np.sqrt(atoms.get_masses()[:, None])
    rigid = rigid_motions(atoms)
    momenta = (atoms.get_momenta() / root).ravel()
    momenta = momenta - rigid @ (rigid.T @ momenta)
    atoms.set_momenta(momenta.reshape(-1, 3) * root)


def require_positive(**values: float) -> None:
    for name, value in values.items():
        require(bool(np.isfinite(value) and value > 0), name, value, "a number above zero")
