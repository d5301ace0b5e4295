"""The loss, and its gradient without differentiating twice in reverse.

The loss is a weighted mean error of energies and forces. Forces are themselves a derivative, so the
plain gradient is reverse over reverse. The same gradient, exactly, comes cheaper: with residuals
r_E = dL/dE and r_F = dL/dF held fixed,

    dL/dtheta = d/dtheta [ r_E . E(R) - d/de E(R + e r_F) at e = 0 ],

since F . r_F is minus the change of E along r_F. That is one reverse pass over one forward
derivative.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from so3krates_lite.arrays import AnyArray, Scalar
from so3krates_lite.config import ModelConfig
from so3krates_lite.energies import energy, energy_and_forces
from so3krates_lite.passes import collect_for_forward, pass_index, structures_per_pass
from so3krates_lite.safe import safe_norm
from so3krates_lite.structures.graph import Batch
from so3krates_lite.training.config import TrainConfig


@struct.dataclass
class Labelled:
    """A batch with the network's targets: energies without shifts and forces, both over the scale.

    ``weight`` is 1, or 0 for a structure that only fills up the batch.
    """

    __no_type_check__ = True  # as of `PairList`

    batch: Batch
    energy: Float[AnyArray, "graphs"]
    forces: Float[AnyArray, "graphs atoms 3"]
    weight: Float[AnyArray, "graphs"]

    def __getitem__(self, index) -> Labelled:
        return jax.tree.map(lambda leaf: leaf[index], self)


class Errors(NamedTuple):
    """Sums over a batch, from which means over any set follow."""

    energy_square: Scalar
    energy_absolute: Scalar
    forces_square: Scalar
    forces_absolute: Scalar
    forces_length: Scalar
    graphs: Scalar
    components: Scalar


class Weights(NamedTuple):
    """What each mean counts in the loss: squared errors, absolute ones, lengths of force errors."""

    energy: Scalar
    forces: Scalar
    energy_absolute: Scalar = 0.0
    forces_length: Scalar = 0.0

    @classmethod
    def of(cls, settings: TrainConfig) -> Weights:
        """Those of a loss: of squares ("mse") or of lengths ("l2mae")."""
        both = settings.energy_weight, settings.forces_weight
        return cls(*both) if settings.loss == "mse" else cls(0.0, 0.0, *both)


def errors(
    predicted_energy: Float[AnyArray, "graphs"],
    predicted_forces: Float[AnyArray, "graphs atoms 3"],
    target: Labelled,
) -> Errors:
    """Sums of squared and absolute errors, and of lengths; padding counts nowhere."""
    counted = target.weight > 0
    real = (target.batch.atom_mask & counted[:, None])[..., None]
    energy_error = jnp.where(counted, predicted_energy - target.energy, 0)
    forces_error = jnp.where(real, predicted_forces - target.forces, 0)
    return Errors(
        jnp.sum(energy_error**2),
        jnp.sum(jnp.abs(energy_error)),
        jnp.sum(forces_error**2),
        jnp.sum(jnp.abs(forces_error)),
        jnp.sum(safe_norm(forces_error)),
        *numbers_of(target),
    )


def numbers_of(target: Labelled) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """How many structures and how many force components count."""
    real = target.batch.atom_mask & (target.weight > 0)[:, None]
    return jnp.sum(target.weight), 3 * jnp.sum(real).astype(target.weight.dtype)


def loss_of(sums: Errors, weights: Weights) -> Scalar:
    """Weighted means: of energies over structures, of squared force errors over real components, of
    their lengths over real atoms.
    """
    return (
        weights.energy * sums.energy_square / sums.graphs
        + weights.forces * sums.forces_square / sums.components
        + weights.energy_absolute * sums.energy_absolute / sums.graphs
        + weights.forces_length * sums.forces_length / (sums.components / 3)
    )


def loss_and_gradient(
    params: dict,
    target: Labelled,
    config: ModelConfig,
    weights: Weights,
    trained: tuple[str, ...] | None = None,
    numbers: tuple[Float[Array, ""], Float[Array, ""]] | None = None,
) -> tuple[Float[Array, ""], dict]:
    """The loss of a batch and its gradient with respect to ``params``.

    ``trained`` names the parts that the gradient is for; that of the others is zero, and is not
    computed. The batch is cut into passes: their losses, each divided by the whole batch's numbers
    of structures and components, add up, and so do their gradients. ``numbers`` are those of a
    whole batch of which this is a part; None: it is the whole.
    """
    if numbers is None:
        numbers = numbers_of(target)

    def of_pass(part: Labelled) -> tuple[Float[Array, ""], dict]:
        loss, gradient = _loss_and_gradient(params, part, config, weights, numbers)
        kept = gradient if trained is None else trained
        return loss, {
            name: part if name in kept else jax.tree.map(jnp.zeros_like, part)
            for name, part in gradient.items()
        }

    graphs = len(target.batch)
    size = structures_per_pass(graphs, target.batch.room)
    if size >= graphs:
        return of_pass(target)

    def add(total, inputs):
        index, counts = inputs
        part = target[index]
        part = part.replace(weight=jnp.where(counts, part.weight, 0))
        return jax.tree.map(jnp.add, total, of_pass(part)), None

    nothing = (jnp.zeros((), target.energy.dtype), jax.tree.map(jnp.zeros_like, params))
    return jax.lax.scan(add, nothing, pass_index(graphs, size))[0]


def _loss_and_gradient(
    params: dict, target: Labelled, config: ModelConfig, weights: Weights, numbers: tuple
) -> tuple[Float[Array, ""], dict]:
    """The same for one pass; ``numbers`` are those of the whole batch."""
    E, F = energy_and_forces(params, target.batch, config)
    graphs, components = numbers

    def loss(E, F):
        sums = errors(E, F, target)
        return loss_of(sums._replace(graphs=graphs, components=components), weights)

    value, (r_E, r_F) = jax.value_and_grad(loss, argnums=(0, 1))(E, F)

    def linearised(params):
        def along(displacement):
            moved = target.batch.replace(displacement=displacement)
            return energy(params, moved, config, collect=collect_for_forward)

        E, change = jax.jvp(along, (target.batch.displacement,), (r_F,))
        return jnp.sum(r_E * E) - jnp.sum(change)

    return value, jax.grad(linearised)(params)
