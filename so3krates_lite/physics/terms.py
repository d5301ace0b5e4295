"""The physical terms of a model, computed from what its network leaves of each atom."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from so3krates_lite.basis import cutoff_function
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.heads import HirshfeldRatios, PartialCharges
from so3krates_lite.notes import leave
from so3krates_lite.passes import Collect, collect_at_once
from so3krates_lite.physics.dispersion import dispersion, polarisability
from so3krates_lite.physics.electrostatics import electrostatics, ewald
from so3krates_lite.physics.repulsion import TrainedScreening, repulsion
from so3krates_lite.safe import safe_norm
from so3krates_lite.structures.graph import Batch, PairList, Pairs, PairVectors


class PhysicalTerms(nn.Module):
    """Energy of each atom by the terms that ``config.physics`` names, in eV; 0 for padding.

    A pair's energy is shared by its two atoms. The collection "properties", where mutable, takes
    the energies by term, and partial charges and Hirshfeld ratios where there are any.
    """

    config: So3kratesConfig
    collect: Collect = collect_at_once

    @nn.compact
    def __call__(
        self, x: Float[Array, "nodes F"], batch: Batch, vectors: PairVectors
    ) -> Float[Array, "graphs atoms"]:
        config, numbers = self.config, batch.numbers.reshape(-1)
        terms: dict[str, Float[Array, "nodes"]] = {}
        if "repulsion" in config.physics:
            screening = TrainedScreening(x.dtype, name="repulsion")()
            z = jnp.asarray(numbers, x.dtype)
            near = self.pairs(batch.local, vectors[0])
            terms |= self.collect(
                self.near_energies, screening, z, near, Pairs.of(batch.local, batch)
            )
        of_atoms = {}
        if config.has_charges:
            charges = PartialCharges(config, name="charges")(x, batch)
            leave(self, "properties", charges=charges)
            if config.ewald:
                of_images = batch.images.places, batch.displacement, batch.cell, batch.images.waves
                energies = jax.vmap(ewald)(charges, *of_images)
                terms["electrostatics"] = energies.reshape(-1)
            else:
                of_atoms["charge"] = charges.reshape(-1)
        if config.has_ratios:
            ratios = HirshfeldRatios(config, name="ratios")(x, numbers)
            shown = jnp.where(batch.atom_mask, ratios.reshape(batch.numbers.shape), 0)
            leave(self, "properties", ratios=shown)
            of_atoms["polarisability"] = polarisability(ratios, numbers)
        if of_atoms:
            far = self.pairs(batch.far, vectors[1])
            terms |= self.collect(self.far_energies, (), of_atoms, far, Pairs.of(batch.far, batch))
        terms = {
            name: jnp.where(batch.atom_mask, energy.reshape(batch.numbers.shape), 0)
            for name, energy in terms.items()
        }
        leave(self, "properties", energies=terms)
        return sum(terms.values())

    def pairs(self, listed: PairList, vectors: Float[Array, "graphs pairs 3"]) -> tuple:
        """Distances, and 1 for a pair that is one."""
        vectors = vectors.reshape(-1, 3)
        return safe_norm(vectors), jnp.asarray(listed.mask.reshape(-1), vectors.dtype)

    def near_energies(self, screening, z_i, z_j, of_pairs: tuple) -> tuple[dict, dict]:
        """What pairs of the local list give to their first and to their second atoms."""
        d, mask = self.real(of_pairs)
        phi_ij = cutoff_function(d, self.config) * mask
        return halved({"repulsion": repulsion(d, phi_ij, (z_i, z_j), screening)})

    def far_energies(self, _, i: dict, j: dict, of_pairs: tuple) -> tuple[dict, dict]:
        """The same of the far list."""
        (d, mask), cutoff, energies = self.real(of_pairs), self.config.long_cutoff, {}
        if "charge" in i:
            energies["electrostatics"] = mask * electrostatics(
                d, (i["charge"], j["charge"]), cutoff
            )
        if "polarisability" in i:
            both = i["polarisability"], j["polarisability"]
            energies["dispersion"] = mask * dispersion(d, both, cutoff)
        return halved(energies)

    @staticmethod
    def real(of_pairs: tuple) -> tuple[Float[Array, "pairs"], Float[Array, "pairs"]]:
        """Distances that may be divided by: 1 Å where there is no pair."""
        d, mask = of_pairs
        return jnp.where(mask > 0, d, 1), mask


def halved(energies: dict[str, Array]) -> tuple[dict, dict]:
    """Half of a pair's energy for each of its atoms."""
    half = jax.tree.map(lambda energy: energy / 2, energies)
    return half, half
