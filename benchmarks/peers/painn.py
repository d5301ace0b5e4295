"""PaiNN at the settings of SchNetPack for MD17 (benchmarks/README.md says whence)."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch.utils.data import dataloader

# SchNetPack 2.1 imports this name of a type from here; PyTorch has renamed it since
if not hasattr(dataloader, "T_co"):
    dataloader.T_co = TypeVar("T_co", covariant=True)

from schnetpack import properties
from schnetpack.atomistic import Atomwise, Forces, PairwiseDistances
from schnetpack.data.loader import _atoms_collate_fn
from schnetpack.model import NeuralNetworkPotential
from schnetpack.nn import CosineCutoff, GaussianRBF
from schnetpack.representation import PaiNN as Representation
from schnetpack.transform import CastTo32, MatScipyNeighborList

from benchmarks.with_torch import Structure, TorchImplementation

CUTOFF = 5.0


class PaiNN(TorchImplementation):
    """128 features, three layers, 20 radial functions."""

    packages = ("schnetpack",)

    def graph(self, structure: Structure) -> dict:
        periodic = structure.cell is not None
        cell = torch.as_tensor(structure.cell) if periodic else torch.zeros(3, 3).double()
        graph = {
            properties.Z: torch.as_tensor(structure.numbers),
            properties.R: torch.as_tensor(structure.positions),
            properties.cell: cell.view(1, 3, 3),
            properties.pbc: torch.full((3,), periodic),
            properties.n_atoms: torch.tensor([len(structure.numbers)]),
        }
        return CastTo32()(MatScipyNeighborList(cutoff=CUTOFF)(graph))

    def network(self, structures, graphs, tiny):
        width = 8 if tiny else 128
        return NeuralNetworkPotential(
            representation=Representation(
                n_atom_basis=width,
                n_interactions=1 if tiny else 3,
                radial_basis=GaussianRBF(n_rbf=20, cutoff=CUTOFF),
                cutoff_fn=CosineCutoff(CUTOFF),
            ),
            input_modules=[PairwiseDistances()],
            output_modules=[
                Atomwise(n_in=width, output_key="energy", aggregation_mode="sum"),
                Forces(energy_key="energy", force_key="forces"),
            ],
        )

    def collate(self, graphs):
        batch = _atoms_collate_fn(graphs)
        return {name: values.to(self.device) for name, values in batch.items()}

    def energy_and_forces(self, batch, training):
        found = self.model(batch)
        return found["energy"], found["forces"]

    def optimiser_of(self, parameters):
        return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0)
