"""Second derivatives of the energy, and first ones of the dipole, by automatic differentiation.

The Hessian says how forces follow when atoms move: H = -dF / dR. One of its columns, or any product
with a direction v, is a derivative of forces along that direction: a forward sweep over the reverse
sweep that gives forces. Nothing is varied by a finite step, so there is no step to choose. Columns
come a few at a time, which bounds memory whatever the number of atoms.
"""

from __future__ import annotations

from functools import partial

import jax
from jaxtyping import Array, Float

from so3krates_lite.config import ModelConfig
from so3krates_lite.energies import energy, network
from so3krates_lite.runtime.settings import Compiled
from so3krates_lite.structures.graph import Batch, pair_vectors

AT_ONCE = 9  # directions


@partial(Compiled, static_argnames="config")
def hessian_along(
    params: dict, batch: Batch, directions: Float[Array, "directions atoms 3"], config: ModelConfig
) -> Float[Array, "directions atoms 3"]:
    """H v of the one structure of ``batch`` for each direction v, in the network's unit per Å^2."""

    def total(moved: Float[Array, "1 atoms 3"]) -> Float[Array, ""]:
        return energy(params, batch.replace(displacement=moved), config).sum()

    def product(direction: Float[Array, "atoms 3"]) -> Float[Array, "atoms 3"]:
        return jax.jvp(jax.grad(total), (batch.displacement,), (direction[None],))[1][0]

    return jax.lax.map(product, directions, batch_size=min(AT_ONCE, len(directions)))


@partial(Compiled, static_argnames="config")
def dipole_derivatives(
    params: dict, batch: Batch, positions: Float[Array, "atoms 3"], config: ModelConfig
) -> Float[Array, "3 atoms 3"]:
    """d mu_a / d R_jb in e, of mu = sum of q_i R_i of the one structure of ``batch``.

    ``positions`` (Å) are those of its atoms as listed.
    """

    def dipole(moved: Float[Array, "1 atoms 3"]) -> Float[Array, "3"]:
        now = batch.replace(displacement=moved)
        vectors, model = pair_vectors(now, config), network(config)
        _, left = model.apply({"params": params}, now, vectors, mutable=["properties"])
        return left["properties"]["physics"]["charges"][0] @ (positions + moved[0])

    return jax.jacrev(dipole)(batch.displacement)[:, 0]
