"""A box of eight waters, each moved a little, and a small potential for it."""

from __future__ import annotations

import dataclasses

import numpy as np
from ase import Atoms
from ase.build import molecule
from small import small_config, small_potential

from so3krates_lite.potential import Potential

SHIFT = np.zeros(100)
SHIFT[[1, 8]] = -13.6, -2040.0


def waters() -> Atoms:
    """24 atoms in a cell of 6.2 Å."""
    one = molecule("H2O", cell=[3.1] * 3, pbc=True)
    box = one.repeat((2, 2, 2))
    box.rattle(0.05, seed=1)
    return box


def water_potential() -> Potential:
    """Two layers of random parameters, a cutoff of 3 Å, and the energies of H and O."""
    random = small_potential(small_config(variant="smooth"))
    return dataclasses.replace(random, element_shift=SHIFT, energy_scale=0.5)
