"""What a model with physical terms tells of atoms and frames beside energies and forces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Atomic = Float[np.ndarray, "frames atoms"]


@dataclass(frozen=True, eq=False)
class Properties:
    """Energies by term, partial charges, Hirshfeld ratios and dipoles; zero for padding.

    Args:
        energies: eV, of each atom: "network" and the terms of the model; a pair's energy is shared
            by its atoms. With the elements' shifts they sum to the energy that is predicted
        charges: partial charges in e, which sum to the total charge; None: the model has none
        ratios: Hirshfeld ratios, volume in the molecule over that of the free atom; None likewise
        dipole: sum of q_i R_i in e Å; of a charged structure it depends on the origin, and of a
            periodic one it means nothing, and is NaN
    """

    energies: dict[str, Atomic]
    charges: Atomic | None
    ratios: Atomic | None
    dipole: Float[np.ndarray, "frames 3"] | None

    @property
    def terms(self) -> dict[str, Float[np.ndarray, "frames"]]:
        """Energy of each frame by term, eV."""
        return {name: energy.sum(axis=1) for name, energy in self.energies.items()}
