"""A run of dynamics in blocks: what stands between two calls to the device.

Pairs are listed here, by this package's neighbour lists, for all replicas at once. The arrays of
pairs have some spare room; where it runs out they are enlarged and the program is compiled once
more, and the log (INFO) says so.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from so3krates_lite.ensemble import Ensemble
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.runtime import files
from so3krates_lite.simulate.dynamics import Dynamics, at_rest, draw_momenta, rigid_motions
from so3krates_lite.simulate.integrators import (
    LONGEST_STEP,
    Law,
    Listed,
    Progress,
    Records,
    Settings,
    advance,
    begin,
    energies,
)
from so3krates_lite.structures.batching import PairLists, make_batch, room_for_pairs
from so3krates_lite.structures.frames import Frames
from so3krates_lite.units import BOLTZMANN

if TYPE_CHECKING:
    from ase import Atoms

log = logging.getLogger(__name__)

KIND, VERSION = "so3krates-lite dynamics", 1
HEADROOM = 1.05  # of room for pairs, whose number fluctuates


@dataclass(frozen=True)
class Plan:
    """How a run is computed."""

    motion: Any
    every: int
    block: int  # steps, a multiple of `every`
    skin: float
    time_step_fs: float


class Run:
    """The state of a run between two calls to the device."""

    def __init__(
        self,
        starts: Sequence[Atoms],
        potential: Potential,
        plan: Plan,
        settings: Settings,
        temperature_K: float | None,
        seed: int,
    ) -> None:
        self.atoms, self.potential, self.plan = at_rest(starts[0]), potential, plan
        self.settings, replicas = settings, len(starts)
        together = isinstance(potential, Ensemble)
        self.law = Law(potential.config, plan.motion, together)
        self.params = potential.stacked_params if together else potential.device_params
        self.masses = self.atoms.get_masses()
        self.periodic = bool(self.atoms.pbc.any())
        # Langevin's thermostat moves the whole, too
        rigid = 0 if plan.motion == "langevin" else rigid_motions(self.atoms).shape[1]
        self.freedom = max(3 * len(self.atoms) - rigid, 1)
        self.positions = np.stack([one.positions for one in starts])
        self.cell = np.stack([one.cell.array for one in starts])
        self.momenta = np.stack(
            [_momenta(one, temperature_K, [seed, k]) for k, one in enumerate(starts)]
        )
        self.copies = Frames.from_atoms([self.atoms] * replicas)
        self.keys = np.stack([[seed, k] for k in range(replicas)]).astype(np.uint32)
        self.capacity: dict[str, int] = {}
        self.state: Any = None
        self.step = 0
        self.alive: Bool[np.ndarray, "replicas"] = np.ones(replicas, bool)
        self.died = np.zeros(replicas, int)  # the step that could not be taken
        self.causes: dict[int, str] = {}  # of those whose pairs could not be listed
        self.parts: list[Records] = []
        self.n_lists = 0

    def start(self) -> None:
        """Forces and energies of the start, which is the first record."""
        listed = self.list_pairs()
        self.state = begin(
            self.params,
            self.momenta,
            self.masses,
            self.keys,
            listed,
            self.settings,
            self.law,
            self.freedom,
        )
        E = energies(self.params, listed, self.settings, self.law)
        velocities = self.momenta / self.masses[:, None]
        first = (self.positions, velocities, np.asarray(E), self.cell)
        self.parts = [Records(*(part[None] for part in first))]

    def list_pairs(self) -> Listed:
        """The pairs of every replica as it stands, with room for as many as there were before."""
        potential, config = self.potential, self.potential.config
        atoms = self.positions.shape[1]
        cell = self.cell if self.periodic else None
        frames = self.copies.replace(positions=self.positions, cell=cell)
        potential.note_assumed(frames)
        lists = PairLists.of(frames, config, self.plan.skin)
        for name, needed in zip(("pairs", "far_pairs"), lists.numbers.max(axis=0), strict=False):
            if needed > self.capacity.get(name, 0):
                if name in self.capacity:
                    log.info("%d %s at step %d: room is made for more", needed, name, self.step)
                roomy = int(np.ceil(HEADROOM * max(needed, 1)))
                self.capacity[name] = room_for_pairs(roomy, atoms, self.periodic)
        batch = make_batch(frames, config, dtype=potential.dtype, lists=lists, **self.capacity)
        every_pair = atoms * (atoms - 1) // 2
        complete = not self.periodic and (lists.numbers == every_pair).all(axis=0)
        needed_to = [config.cutoff, config.long_cutoff or np.inf][: lists.numbers.shape[1]]
        needed_to = np.where(np.isfinite(needed_to), needed_to, 0.0)
        listed_to = np.where(complete, np.inf, needed_to + self.plan.skin)
        self.settings = self.settings._replace(listed_to=listed_to, needed_to=needed_to)
        self.n_lists += 1
        return Listed(jax.device_put(batch), self.positions, self.cell)

    def go_on(self, steps: int) -> None:
        """So many steps, listing pairs as often as needed."""
        replicas, atoms = self.positions.shape[:2]
        since = self.step % self.plan.every  # steps since the last record
        rows = (since + steps) // self.plan.every
        shape = (max(rows, 1), replicas)
        records = Records(
            np.zeros((*shape, atoms, 3)),
            np.zeros((*shape, atoms, 3)),
            np.zeros(shape),
            np.zeros((*shape, 3, 3)),
        )
        lived = np.zeros(replicas, int)
        progress = Progress(self.state, np.asarray(since), self.alive, lived, records)
        done = 0
        while done < steps and self.alive.any():
            listed = self._listed(self.step + done)
            if not self.alive.any():
                break
            progress = progress._replace(alive=self.alive)
            progress = advance(
                self.params,
                progress,
                np.asarray(since + steps),
                listed,
                self.settings,
                self.law,
                self.plan.every,
            )
            before, done = done, int(progress.step) - since
            if done == before and self.alive.any():
                raise UserError(
                    f"skin = {self.plan.skin:g} Å is so short that pairs would be listed anew in "
                    f"every step: pass a longer one."
                )
            alive = np.asarray(progress.alive)
            dead = self.alive & ~alive
            self.died[dead] = self.step + np.asarray(progress.lived)[dead] + 1
            self.alive, self.state = alive.copy(), progress.state
            moved = np.asarray(progress.state.position)
            self.positions = np.where(alive[:, None, None], moved, self.positions)
            self.cell = self._cells()
        self.step += done
        kept = jax.tree.map(np.asarray, progress.records)
        rows = (since + done) // self.plan.every
        self.parts.append(Records(*(part[:rows] for part in kept)))

    def _listed(self, step: int) -> Listed:
        """The pairs; replicas of which none can be listed, with two nuclei in one place, are given
        up. At the start they are the user's mistake."""
        try:
            return self.list_pairs()
        except UserError:
            if not step:
                raise
        for k in np.flatnonzero(self.alive):
            cell = self.cell[k : k + 1] if self.periodic else None
            frame = self.copies[k].replace(positions=self.positions[k : k + 1], cell=cell)
            try:
                PairLists.of(frame, self.potential.config, self.plan.skin)
            except UserError as error:
                self.alive[k], self.died[k] = False, step
                self.causes[int(k)] = str(error).removeprefix("Frame 0: ")
                self.positions[k] = self.parts[0].positions[0, k]  # where pairs can be listed
        return self.list_pairs()

    def _cells(self) -> Float[np.ndarray, "replicas 3 3"]:
        if self.plan.motion != "npt":
            return self.cell
        from jax_md.simulate import npt_box

        return np.asarray(jax.vmap(npt_box)(self.state))

    def records(self) -> Records:
        return Records(*(np.concatenate(part) for part in zip(*self.parts, strict=True)))

    def results(self) -> list[Dynamics]:
        """What each replica did, as long as it was whole."""
        from ase import units

        records, every = self.records(), self.plan.every
        kinetic = (self.masses[:, None] * records.velocities**2).sum(axis=(2, 3)) / 2
        time = np.arange(len(kinetic)) * every * self.plan.time_step_fs
        temperature = 2 * kinetic / (BOLTZMANN * self.freedom)
        shift = float(self.potential.shift(self.copies[:1])[0])
        found = []
        for k in range(len(self.alive)):
            # the record of a step that could not be taken repeats the one before
            rows = len(time) if self.alive[k] else 1 + (self.died[k] - 1) // every
            frames = self.copies[np.zeros(rows, int)].replace(
                positions=records.positions[:rows, k],
                energy=records.energy[:rows, k] + shift,
                **({"cell": records.cell[:rows, k]} if self.periodic else {}),
            )
            last = self.atoms.copy()
            last.positions = self.positions[k]
            if self.periodic:
                last.cell = self.cell[k]
            last.set_momenta(np.asarray(self.state.momentum)[k])
            found.append(
                Dynamics(
                    last,
                    frames,
                    time[:rows],
                    kinetic[:rows, k],
                    temperature[:rows, k],
                    records.velocities[:rows, k] * units.fs,
                    None if self.alive[k] else self.explosion(k),
                )
            )
        return found

    def explosion(self, replica: int | None = None) -> str:
        """What went wrong first, in a sentence."""
        dead = np.flatnonzero(~self.alive)
        k = int(dead[np.argmin(self.died[dead])]) if replica is None else replica
        time = self.died[k] * self.plan.time_step_fs
        force = np.linalg.norm(np.asarray(self.state.force)[k], axis=-1)
        atom = int(np.argmax(force))
        who = f"replica {k} explodes" if len(self.alive) > 1 else "the structure explodes"
        cause = (
            f"an atom would move by more than {LONGEST_STEP} Å, and "
            f"{self.atoms.symbols[atom]}{atom} feels {force[atom]:.3g} eV/Å."
        )
        return (
            f"In step {self.died[k]} ({time:g} fs) {who}: {self.causes.get(k, cause)} "
            f"Take a shorter time step, a lower temperature or a start nearer to the training "
            f"data, or do not trust the potential here."
        )

    # -- to and from a file ------------------------------------------------------------------

    def fingerprint(self) -> str:
        """Of what is not among a run's settings: the network's parameters, and the starts."""
        leaves = [np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(self.potential.params)]
        sums = [zlib.crc32(leaf.tobytes()) for leaf in (*leaves, self.positions, self.cell)]
        return f"{zlib.crc32(repr(sums).encode()):08x}"

    def save(self, path: Path, same: dict[str, Any]) -> None:
        """All that is needed to go on."""
        state = {f"state/{k:02d}": leaf for k, leaf in enumerate(jax.tree.leaves(self.state))}
        records = {f"records/{k}": part for k, part in self.records()._asdict().items()}
        own = {"alive": self.alive, "died": self.died, "positions": self.positions}
        arrays = {**state, **records, **own, "cell": self.cell}
        arrays = {name: np.asarray(value) for name, value in arrays.items()}
        causes = {str(k): cause for k, cause in self.causes.items()}
        header = {"step": self.step, "causes": causes, "same": same}
        files.save_arrays(path, KIND, VERSION, arrays, header)

    def restore(self, path: Path, same: dict[str, Any]) -> None:
        """Go on from a file, if it is of this very run."""
        arrays, header = files.load_arrays(path, KIND, VERSION)
        other = [k for k in same if header["same"].get(k) != same[k]]
        if other:
            name = other[0]
            raise UserError(
                f"{path} is the checkpoint of another run: {name} was "
                f"{header['same'].get(name)!r} and is {same[name]!r} now. Pass what it was, or "
                f"name another file."
            )
        leaves, structure = jax.tree.flatten(self.state)
        found = [arrays[f"state/{k:02d}"] for k in range(len(leaves))]
        self.state = jax.tree.unflatten(structure, [jax.numpy.asarray(leaf) for leaf in found])
        names = Records._fields
        self.parts = [Records(*(arrays[f"records/{name}"] for name in names))]
        self.alive, self.died = arrays["alive"], arrays["died"]
        self.positions, self.cell = arrays["positions"], arrays["cell"]
        self.step = int(header["step"])
        self.causes = {int(k): cause for k, cause in header["causes"].items()}


def _momenta(
    atoms: Atoms, temperature_K: float | None, seed: list[int]
) -> Float[np.ndarray, "atoms 3"]:
    """Drawn at a temperature, the whole at rest; None: as the atoms have them."""
    if temperature_K is None:
        return atoms.get_momenta()
    moving = atoms.copy()
    draw_momenta(moving, temperature_K, np.random.default_rng(seed))
    return moving.get_momenta()
