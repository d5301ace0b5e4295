"""The exchange block: where invariant features and SPHCs of one atom learn of each other.

Attention moves x and chi side by side. Here, within each atom, the lengths of the degrees of chi
enter x, and x decides how far each degree is stretched. In the paper's form the degrees also mix
among themselves (two degrees couple to a third, as angular momenta do); the later code gates only.
"""

from __future__ import annotations

import math
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.harmonics import (
    coupling_coefficients,
    degree_invariants,
    degree_of_component,
    repeat_degrees,
)


class SelfMix(nn.Module):
    """chi2_l3 = sum over l1 < l2 of c[l3, l1, l2] (chi_l1 x chi_l2)_l3, even couplings only.

    c is trained, N(0, 0.1^2) at the start. Its shape is |D|^3 as in the public code, though only
    entries with l1 < l2 and l1 + l2 + l3 even take part.

    Source: So3krates, self-mixing layer.
    """

    degrees: tuple[int, ...]

    @nn.compact
    def __call__(self, chi: Float[Array, "atoms m_tot"]) -> Float[Array, "atoms m_tot"]:
        n = len(self.degrees)
        c = self.param("c", nn.initializers.normal(0.1), (n, n, n), chi.dtype)
        index = degree_of_component(self.degrees)
        coupling = jnp.asarray(coupling_coefficients(self.degrees), chi.dtype)
        mixing = c[np.ix_(index, index, index)] * coupling
        product = chi[:, :, None] * chi[:, None, :]
        m_tot = chi.shape[-1]
        return product.reshape(-1, m_tot * m_tot) @ mixing.reshape(m_tot, -1).T


class SelfMixExchange(nn.Module):
    """x <- (x + a1 + a2 a3)/sqrt(3),  chi <- chi + b1 chi + b2 chi2, with chi2 = SelfMix(chi).

    [a1, a2, b1, b2] = Dense([x, N(chi)]),  a3 = Dense(N(chi2)), with the invariant N of the form.

    Source: So3krates (NeurIPS 2022), interaction block.
    """

    config: So3kratesConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "atoms F"], chi: Float[Array, "atoms m_tot"]
    ) -> tuple[Float[Array, "atoms F"], Float[Array, "atoms m_tot"]]:
        degrees, F = self.config.degrees, self.config.features
        n = len(degrees)
        chi2 = SelfMix(degrees, name="selfmix")(chi)
        inputs = jnp.concatenate([x, degree_invariants(chi, self.config)], axis=-1)
        gates = nn.Dense(2 * F + 2 * n, name="gates")(inputs)
        a1, a2, b1, b2 = jnp.split(gates, (F, 2 * F, 2 * F + n), axis=-1)
        a3 = nn.Dense(F, name="from_mixed")(degree_invariants(chi2, self.config))
        x = (x + a1 + a2 * a3) / math.sqrt(3)
        chi = chi + repeat_degrees(b1, degrees) * chi + repeat_degrees(b2, degrees) * chi2
        return x, chi


class GatedExchange(nn.Module):
    """x <- x + a,  chi <- chi + b chi, with [a, b] = Dense([x, c(chi)]).

    Source: public code v0.3 and Frank et al., Nat. Commun. 15, 6539 (2024).
    """

    config: So3kratesConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "atoms F"], chi: Float[Array, "atoms m_tot"]
    ) -> tuple[Float[Array, "atoms F"], Float[Array, "atoms m_tot"]]:
        degrees, F = self.config.degrees, self.config.features
        inputs = jnp.concatenate([x, degree_invariants(chi, self.config)], axis=-1)
        gates = nn.Dense(F + len(degrees), name="gates")(inputs)
        return x + gates[:, :F], chi + repeat_degrees(gates[:, F:], degrees) * chi


class NormedExchange(nn.Module):
    """y = norm(x), then z = y + Dense(silu(Dense(silu(y)))), x <- norm(z + a), chi <- chi + b chi.

    [a, b] = Dense([z, c(chi)]); norm shifts and scales the features of an atom to mean 0 and
    variance 1 and then by trained numbers. SPHCs have no norm.

    Source: public code of the Euclidean transformer, as in SO3LR.
    """

    config: So3kratesConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "atoms F"], chi: Float[Array, "atoms m_tot"]
    ) -> tuple[Float[Array, "atoms F"], Float[Array, "atoms m_tot"]]:
        F = self.config.features
        # left to itself it computes in float32 at least, and mixes precisions
        settings = {"param_dtype": x.dtype, "force_float32_reductions": False}
        norm = partial(nn.LayerNorm, **settings)
        x = norm(name="norm_before")(x)
        hidden = nn.silu(nn.Dense(F, name="hidden")(nn.silu(x)))
        x = x + nn.Dense(F, name="out")(hidden)
        x, chi = GatedExchange(self.config, name="gated")(x, chi)
        return norm(name="norm_after")(x), chi


EXCHANGES = {"selfmix": SelfMixExchange, "gated": GatedExchange, "normed": NormedExchange}
