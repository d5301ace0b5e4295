"""What is read from an atom's features: its energy, its partial charge, its Hirshfeld ratio.

A head is a small network of its own on the features that all layers have left. The energy of a
molecule is the sum of its atoms'; charges and ratios feed the physical terms, see `physics`.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from so3krates_lite.arrays import AnyArray
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.embedding import N_ELEMENTS, table_init
from so3krates_lite.structures.graph import Batch


class EnergyHead(nn.Module):
    """E_i = Dense(silu(Dense(x_i))), one number per atom; "so3lr": times a factor per element."""

    config: So3kratesConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "atoms F"], numbers: Int[AnyArray, "atoms"]
    ) -> Float[Array, "atoms"]:
        energy = _number(x)
        if self.config.form.element_scales:
            scales = self.param("element_scale", nn.initializers.ones, (N_ELEMENTS,), x.dtype)
            energy = energy * scales[numbers]
        return energy


class PartialCharges(nn.Module):
    """q_i = Dense(silu(Dense(x_i))) + beta_z and the missing charge in equal parts, in e.

    What is missing from the total charge is spread over all atoms of the structure, however far
    apart they are: two molecules in one structure exchange charge.

    Source: SO3LR (Kabylda et al., JACS 2025).
    """

    config: So3kratesConfig

    @nn.compact
    def __call__(self, x: Float[Array, "nodes F"], batch: Batch) -> Float[Array, "graphs atoms"]:
        shift = self.param("element_shift", nn.initializers.zeros, (N_ELEMENTS,), x.dtype)
        charges = _number(x).reshape(batch.numbers.shape)
        charges = jnp.where(batch.atom_mask, charges + shift[batch.numbers], 0)
        missing = batch.total_charge - batch.total(charges)
        atoms = batch.total(jnp.asarray(batch.atom_mask, x.dtype))
        share = missing / jnp.maximum(atoms, 1)
        return jnp.where(batch.atom_mask, charges + share[:, None], 0)


class HirshfeldRatios(nn.Module):
    """v_i = |gamma_z + Q_z . k_i / sqrt(d)| with k_i = Dense(silu(Dense(x_i))) of width d = F / 2.

    The ratio of the volume that an atom has in its molecule to that of the free atom.

    Source: SO3LR (Kabylda et al., JACS 2025).
    """

    config: So3kratesConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "atoms F"], numbers: Int[AnyArray, "atoms"]
    ) -> Float[Array, "atoms"]:
        width = max(self.config.features // 2, 1)
        shift = self.param("element_shift", nn.initializers.ones, (N_ELEMENTS,), x.dtype)
        query = self.param("query", table_init, (N_ELEMENTS, width), x.dtype)
        key = nn.Dense(width, name="out")(nn.silu(nn.Dense(width, name="hidden")(x)))
        return jnp.abs(shift[numbers] + jnp.sum(query[numbers] * key, axis=-1) / width**0.5)


def _number(x: Float[Array, "atoms F"]) -> Float[Array, "atoms"]:
    """Dense(silu(Dense(x))), in the scope of the head that calls it."""
    hidden = nn.silu(nn.Dense(x.shape[-1], name="hidden")(x))
    return nn.Dense(1, name="out")(hidden)[:, 0]
