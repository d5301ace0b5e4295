"""MACE at the settings of its paper's molecular benchmarks (benchmarks/README.md says whence)."""

from __future__ import annotations

import mace  # noqa: F401  first: it lets this e3nn load its tables
import numpy as np
import torch
from e3nn.o3 import Irreps
from mace.data import AtomicData, Configuration
from mace.modules import RealAgnosticResidualInteractionBlock, ScaleShiftMACE
from mace.tools import AtomicNumberTable
from mace.tools.torch_geometric import Batch

from benchmarks.with_torch import Structure, TorchImplementation

CUTOFF = 5.0


class Mace(TorchImplementation):
    """256 channels up to degree 2, two layers, harmonics up to degree 3, correlation 3."""

    packages = ("mace-torch", "e3nn")

    def graph(self, structure: Structure) -> AtomicData:
        configuration = Configuration(
            atomic_numbers=structure.numbers,
            positions=structure.positions,
            properties={},
            property_weights={},
            cell=structure.cell,
            pbc=(structure.cell is not None,) * 3,
        )
        table = AtomicNumberTable(self.elements)
        return AtomicData.from_config(configuration, table, cutoff=CUTOFF)

    def network(self, structures, graphs, tiny):
        n_atoms = sum(len(structure.numbers) for structure in structures)
        forces = np.concatenate([structure.forces for structure in structures])
        return ScaleShiftMACE(
            r_max=CUTOFF,
            num_bessel=8,
            num_polynomial_cutoff=5,
            max_ell=1 if tiny else 3,
            interaction_cls=RealAgnosticResidualInteractionBlock,
            interaction_cls_first=RealAgnosticResidualInteractionBlock,
            num_interactions=2,
            num_elements=len(self.elements),
            hidden_irreps=Irreps("4x0e + 4x1o" if tiny else "256x0e + 256x1o + 256x2e"),
            MLP_irreps=Irreps("16x0e"),
            gate=torch.nn.functional.silu,
            radial_MLP=[64, 64, 64],
            correlation=2 if tiny else 3,
            atomic_energies=np.zeros(len(self.elements)),
            avg_num_neighbors=sum(graph.edge_index.shape[1] for graph in graphs) / n_atoms,
            atomic_numbers=self.elements,
            atomic_inter_scale=float(np.sqrt(np.mean(forces**2))) or 1.0,
            atomic_inter_shift=0.0,
        )

    def collate(self, graphs):
        return Batch.from_data_list(graphs).to(self.device).to_dict()

    def energy_and_forces(self, batch, training):
        found = self.model(batch, training=training, compute_force=True)
        return found["energy"], found["forces"]
