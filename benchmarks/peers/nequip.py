"""NequIP at the settings of its paper's input files for MD17 (benchmarks/README.md says whence)."""

from __future__ import annotations

import numpy as np
import torch
from ase.data import chemical_symbols
from nequip.data import AtomicDataDict, compute_neighborlist_, from_dict
from nequip.model import FullNequIPGNNModel
from nequip.utils.global_state import set_global_state

from benchmarks.with_torch import Structure, TorchImplementation

CUTOFF = 4.0


class NequIP(TorchImplementation):
    """Five layers, 64 features of either parity for every degree up to 3."""

    packages = ("nequip", "e3nn")

    def start(self, tiny):
        set_global_state()

    def graph(self, structure: Structure) -> dict:
        graph = {
            AtomicDataDict.POSITIONS_KEY: torch.as_tensor(structure.positions),
            AtomicDataDict.ATOM_TYPE_KEY: torch.as_tensor(
                np.searchsorted(self.elements, structure.numbers)
            ),
        }
        if structure.cell is not None:
            graph[AtomicDataDict.CELL_KEY] = torch.as_tensor(structure.cell)
            graph[AtomicDataDict.PBC_KEY] = torch.ones(3, dtype=torch.bool)
        return compute_neighborlist_(from_dict(graph), r_max=CUTOFF)

    def network(self, structures, graphs, tiny):
        layers, degrees, width = (2, 1, 4) if tiny else (5, 3, 64)
        hidden = " + ".join(f"{width}x{degree}{p}" for degree in range(degrees + 1) for p in "oe")
        forces = np.concatenate([structure.forces for structure in structures])
        return FullNequIPGNNModel(
            seed=0,
            model_dtype="float32",
            r_max=CUTOFF,
            type_names=[chemical_symbols[number] for number in self.elements],
            # the package asks for scalars alone from the last layer
            feature_irreps_hidden=[hidden] * (layers - 1) + [f"{width}x0e"],
            irreps_edge_sh=" + ".join(f"{d}{'oe'[d % 2 == 0]}" for d in range(degrees + 1)),
            type_embed_num_features=width,
            radial_mlp_depth=[3] * layers,
            radial_mlp_width=[64] * layers,
            num_bessels=8,
            bessel_trainable=True,
            polynomial_cutoff_p=6,
            readout_mlp_hidden_layers_depth=1,
            readout_mlp_hidden_layers_width=16,
            readout_mlp_nonlinearity=None,
            avg_num_neighbors=8.0,
            per_type_energy_scales=float(np.sqrt(np.mean(forces**2))) or 1.0,
            per_type_energy_shifts=0.0,
            per_type_energy_scales_trainable=True,
            per_type_energy_shifts_trainable=True,
        )

    def collate(self, graphs):
        return AtomicDataDict.to_(AtomicDataDict.batched_from_list(graphs), self.device)

    def energy_and_forces(self, batch, training):
        found = self.model(batch)
        return found[AtomicDataDict.TOTAL_ENERGY_KEY].view(-1), found[AtomicDataDict.FORCE_KEY]
