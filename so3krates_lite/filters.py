"""Spherical filters: how much two atoms have to do with each other, by two kinds of distance.

SchNet's continuous filter turns the distance of two atoms into one weight per feature. A spherical
filter adds a second distance, that of the atoms' SPHCs, one number per degree: two atoms whose
surroundings look alike are close in SPHC space, however far apart they are.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from so3krates_lite.basis import decay_of, filter_basis
from so3krates_lite.config import So3kratesConfig

FILTERS = ("feature_filter", "geometric_filter")


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


def radial_parts(
    networks: dict, distance: Float[Array, "points"], config: So3kratesConfig
) -> Float[Array, "layers points F"]:
    """MLP_r of every layer at distances (Å); ``networks`` have a leading axis over layers."""
    e = filter_basis(distance, config)
    network = FilterMLP(config.radial_hidden, config.features)
    return jax.vmap(lambda one: network.apply({"params": one}, e))(networks)


def with_polynomials(params: dict, config: So3kratesConfig, number: int) -> dict:
    """Parameters of a network with every MLP_r as a sum of Chebyshev polynomials of exp(-d).

    They interpolate MLP_r at the Chebyshev points, between which it is smooth, and are what a model
    with ``filter_polynomials=number`` takes. A pair then costs one product, and the networks are
    computed at ``number`` points, however many pairs there are. Derivatives go through the fit.

    Args:
        params: of a network whose filters are networks
        config: its configuration
        number: of polynomials, and of points
    """
    order = np.arange(number)
    angle = np.pi * (order + 0.5) / number
    distance = -2 * np.log(np.cos(angle / 2)) / decay_of(config)  # 2 exp(-decay d) - 1 = cos angle
    transform = np.cos(np.outer(order, angle)) * np.where(order == 0, 1, 2)[:, None] / number
    layers = dict(params["layers"])
    dtype = params["embedding"].dtype
    for name in FILTERS:
        values = radial_parts(layers[name]["radial"], jnp.asarray(distance, dtype), config)
        kernel = jnp.einsum("kp,lpf->lkf", jnp.asarray(transform, dtype), values)
        layers[name] = {**layers[name], "radial": {"kernel": kernel}}
    return {**params, "layers": layers}
