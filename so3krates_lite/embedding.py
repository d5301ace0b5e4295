"""What an atom knows before it has met its neighbours: its element, and the molecule's electrons.

The same atoms at the same places are another molecule when an electron is taken away. Forces and
energy then differ, and no model that reads geometry alone can tell. So the total charge, or the
number of unpaired electrons, is handed out among the atoms: each gets a share by its element's
affinity, the shares sum to the whole, and a small network turns every share into features. Of zero
electrons every atom gets nothing, and of two separate equal molecules each gets half: the energy of
the two is the sum of their energies.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from so3krates_lite.arrays import AnyArray
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.structures.graph import Batch

# rows of the element table: atomic numbers 0 (padding) to 99
N_ELEMENTS = 100

table_init = nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)


class ElectronEmbedding(nn.Module):
    """Features from one number psi of the whole molecule, its charge or its unpaired electrons.

    a_i = psi softplus(q_i . k / sqrt F) / sum_j softplus(q_j . k / sqrt F) is the share of atom i,
    with a query q for each element, a key k and a value v for each sign of psi. Then
    e_i = W' silu(W a_i v), or a_i v + W' silu(W silu(a_i v)) in the residual form: without biases,
    so that psi = 0 changes nothing.

    Source: Unke et al., SpookyNet, Nat. Commun. 12, 7273 (2021), as in the So3krates code of 2022;
    residual: as in SO3LR.
    """

    config: So3kratesConfig

    @nn.compact
    def __call__(self, psi: Float[AnyArray, "graphs"], batch: Batch) -> Float[Array, "atoms F"]:
        F, residual, dtype = self.config.features, self.config.form.residual_electrons, psi.dtype

        def table(name: str, rows: int) -> Float[Array, "rows F"]:
            return self.param(name, table_init, (rows, F), dtype)

        sign = (psi < 0).astype(jnp.int32)
        q_i = table("query", N_ELEMENTS)[batch.numbers]
        k, v = table("key", 2)[sign], table("value", 2)[sign]
        affinity = jax.nn.softplus(jnp.einsum("gaf,gf->ga", q_i, k) / math.sqrt(F))
        affinity = jnp.where(batch.atom_mask, affinity, 0)
        a_i = psi[:, None] * affinity / batch.total(affinity)[:, None]
        share = (a_i[..., None] * v[:, None]).reshape(-1, F)
        inputs = nn.silu(share) if residual else share
        hidden = nn.silu(nn.Dense(F, use_bias=False, name="hidden")(inputs))
        moved = nn.Dense(F, use_bias=False, name="out")(hidden)
        return share + moved if residual else moved
