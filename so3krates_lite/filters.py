"""Spherical filters: how much two atoms have to do with each other, by two kinds of distance.

SchNet's continuous filter turns the distance of two atoms into one weight per feature. A spherical
filter adds a second distance, that of the atoms' SPHCs, one number per degree: two atoms whose
surroundings look alike are close in SPHC space, however far apart they are.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from so3krates_lite.config import So3kratesConfig


class FilterMLP(nn.Module):
    """Dense, silu, Dense."""

    hidden: int
    features: int

    @nn.compact
    def __call__(self, inputs: Float[Array, "*any d"]) -> Float[Array, "*any F"]:
        hidden = nn.silu(nn.Dense(self.hidden, name="hidden")(inputs))
        return nn.Dense(self.features, name="out")(hidden)


class SphericalFilter(nn.Module):
    """w_ij = MLP_r(e_ij) + MLP_s(n_ij), one value per pair and feature.

    Both inputs, and so the filter, are the same from either end of a pair. A fitted filter has a
    sum of polynomials, one product, in the place of MLP_r.

    Source: So3krates, filter of feature and geometric block.
    """

    config: So3kratesConfig

    @nn.compact
    def __call__(
        self,
        e_ij: Float[Array, "pairs K"],
        n_ij: Float[Array, "pairs degrees"],
    ) -> Float[Array, "pairs F"]:
        config = self.config
        if config.filter_polynomials is None:
            radial = FilterMLP(config.radial_hidden, config.features, name="radial")(e_ij)
        else:
            radial = nn.Dense(config.features, use_bias=False, name="radial")(e_ij)
        spherical = FilterMLP(config.spherical_hidden, config.features, name="spherical")(n_ij)
        return radial + spherical

    def parameters(self, dtype: jnp.dtype) -> dict:
        """Its parameters, for `apply` as a plain function: pairs may be met pass by pass."""
        if self.is_initializing():
            K = self.config.filter_polynomials or self.config.radial_functions
            self(jnp.zeros((1, K), dtype), jnp.zeros((1, len(self.config.degrees)), dtype))
        return self.variables["params"]
