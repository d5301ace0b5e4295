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

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from so3krates_lite.datasets.cumulenes import CumuleneRecipe
from so3krates_lite.datasets.reference import (
    METHOD,
    software_versions,
)
from so3krates_lite.datasets.storage import save_frames
from so3krates_lite.errors import UserError
from so3krates_lite.frames import Frames

if TYPE_CHECKING:
    pass

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
    file: str
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
            file="ethanol_gfn2.npz",
            species=(Species("ethanol", 0, 2000, n_walkers=20, interval=80, time_step=0.5),),
        ),
        Recipe(
            name="carbon-chains-gfn2",
            title="Carbon chains C10H2 and C10H3+, 500 K dynamics",
            file="carbon_chains_gfn2.npz",
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
