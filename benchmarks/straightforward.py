"""So3krates as one would first write it down: the same numbers, by the plain way.

What the package does cleverly is done plainly here, so that the benchmark shows what it is worth:

- every pair is listed twice, once from each end, and each direction is computed on its own;
- every filter is its own matrix products, every head a product of its own (`jax.vmap`);
- the layers are a Python loop, so each is traced and compiled for itself;
- a molecule is the unit, and `jax.vmap` makes the batch;
- the gradient of the loss goes in reverse through the forces, which are a reverse pass already;
- the host calls the device once per step.

The tree of parameters is the package's, and so are the formulas of one line (radial basis, cutoff,
harmonics, safe norms). Only the paper's form with its mean start is written out.
"""

from __future__ import annotations

import math
import time
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from benchmarks.with_jax import JaxImplementation
from so3krates_lite.basis import cosine_cutoff, radial_basis
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.energies import initialise
from so3krates_lite.errors import UserError
from so3krates_lite.harmonics import (
    coupling_coefficients,
    degree_norms,
    degree_of_component,
    repeat_degrees,
    spherical_harmonics,
)
from so3krates_lite.safe import safe_norm
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch
from so3krates_lite.training import TrainConfig
from so3krates_lite.training import optimiser as optimisation


@struct.dataclass
class Molecules:
    """Padded structures with directed pairs: `receiver` is moved by `sender`.

    `vector` leads from receiver to sender, before the atoms have moved by `displacement`.
    """

    numbers: Int[Array, "graphs atoms"]
    displacement: Float[Array, "graphs atoms 3"]
    receiver: Int[Array, "graphs pairs"]
    sender: Int[Array, "graphs pairs"]
    vector: Float[Array, "graphs pairs 3"]
    pair_mask: Bool[Array, "graphs pairs"]


def directed(batch: Batch) -> Molecules:
    """Each pair of ``batch`` twice, once from each end."""
    pairs = batch.local
    return Molecules(
        batch.numbers,
        batch.displacement,
        np.concatenate([pairs.first, pairs.second], axis=1),
        np.concatenate([pairs.second, pairs.first], axis=1),
        np.concatenate([pairs.vector, -pairs.vector], axis=1),
        np.concatenate([pairs.mask, pairs.mask], axis=1),
    )


def dense(params: dict, x: Array) -> Array:
    return x @ params["kernel"] + params["bias"]


def mlp(params: dict, x: Array) -> Array:
    return dense(params["out"], jax.nn.silu(dense(params["hidden"], x)))


def spherical_filter(params: dict, e_ij: Array, n_ij: Array) -> Float[Array, "pairs F"]:
    return mlp(params["radial"], e_ij) + mlp(params["spherical"], n_ij)


def coefficients(params: dict, x: Array, w_ij: Array, receiver: Array, sender: Array) -> Array:
    """alpha_ij of every head, shape (heads, pairs)."""
    heads, width, _ = params["query"]["kernel"].shape

    def one_head(query, key, x, w_ij):
        q_i, k_j = dense(query, x)[receiver], dense(key, x)[sender]
        return jnp.sum(q_i * w_ij * k_j, axis=-1) / math.sqrt(width)

    split = (x.reshape(-1, heads, width), w_ij.reshape(-1, heads, width))
    return jax.vmap(one_head, in_axes=(0, 0, 1, 1))(params["query"], params["key"], *split)


def exchange(params: dict, x: Array, chi: Array, config: So3kratesConfig) -> tuple[Array, Array]:
    degrees, F, n = config.degrees, config.features, len(config.degrees)
    index = degree_of_component(degrees)
    c = params["selfmix"]["c"][np.ix_(index, index, index)]
    mixing = c * jnp.asarray(coupling_coefficients(degrees), chi.dtype)
    chi2 = jnp.einsum("cab,na,nb->nc", mixing, chi, chi)
    gates = dense(params["gates"], jnp.concatenate([x, degree_norms(chi, degrees)], axis=-1))
    a1, a2, b1, b2 = jnp.split(gates, (F, 2 * F, 2 * F + n), axis=-1)
    a3 = dense(params["from_mixed"], degree_norms(chi2, degrees))
    x = (x + a1 + a2 * a3) / math.sqrt(3)
    return x, chi + repeat_degrees(b1, degrees) * chi + repeat_degrees(b2, degrees) * chi2


def molecule_energy(params: dict, molecule: Molecules, config: So3kratesConfig) -> Float[Array, ""]:
    """The network's energy of one molecule, in its own unit and without shifts."""
    receiver, sender, degrees = molecule.receiver, molecule.sender, config.degrees
    atoms = molecule.numbers.shape[0]
    collect = partial(jax.ops.segment_sum, segment_ids=receiver, num_segments=atoms)

    moved = molecule.displacement
    vector = molecule.vector + moved[sender] - moved[receiver]
    outside = jnp.asarray([0.0, 0.0, 2 * config.cutoff], vector.dtype)
    vector = jnp.where(molecule.pair_mask[:, None], vector, outside)
    distance = safe_norm(vector)
    phi_ij = cosine_cutoff(distance, config.cutoff)
    e_ij = radial_basis(distance, config.radial_functions, config.cutoff)
    if config.radial_cutoff:
        e_ij = e_ij * phi_ij[:, None]
    Y_ij = spherical_harmonics(vector, degrees)

    x = params["embedding"][molecule.numbers]
    C = collect(phi_ij)[:, None]
    chi = collect(phi_ij[:, None] * Y_ij)
    chi = jnp.where(C > 0, chi / jnp.where(C > 0, C, 1), 0)

    for k in range(config.layers):
        layer = jax.tree.map(lambda leaf, k=k: leaf[k], params["layers"])
        n_ij = degree_norms(chi[sender] - chi[receiver], degrees)
        w_ij = spherical_filter(layer["feature_filter"], e_ij, n_ij)
        u_ij = spherical_filter(layer["geometric_filter"], e_ij, n_ij)

        attention = layer["feature_attention"]
        alpha = phi_ij * coefficients(attention["coefficients"], x, w_ij, receiver, sender)

        def one_head(value, x, alpha):
            return collect(alpha[:, None] * dense(value, x)[sender])

        shares = x.reshape(atoms, config.heads, -1)
        dx = jax.vmap(one_head, in_axes=(0, 1, 0), out_axes=1)(attention["value"], shares, alpha)

        attention = layer["geometric_attention"]
        beta = phi_ij * coefficients(attention["coefficients"], x, u_ij, receiver, sender)
        dchi = collect(repeat_degrees(beta.T, degrees) * Y_ij)

        x, chi = exchange(layer["exchange"], x + dx.reshape(x.shape), chi + dchi, config)

    energy = mlp(params["energy_head"], x)[:, 0]
    return jnp.sum(jnp.where(molecule.numbers > 0, energy, 0))


def energy_and_forces(
    params: dict, molecules: Molecules, config: So3kratesConfig
) -> tuple[Float[Array, "graphs"], Float[Array, "graphs atoms 3"]]:
    """The network's energy and F = -dE/dR of every molecule."""

    def one_molecule(molecule: Molecules):
        def of_displacement(moved):
            return molecule_energy(params, molecule.replace(displacement=moved), config)

        energy, gradient = jax.value_and_grad(of_displacement)(molecule.displacement)
        return energy, -gradient

    return jax.vmap(one_molecule)(molecules)


class Targets(NamedTuple):
    energy: Float[Array, "graphs"]
    forces: Float[Array, "graphs atoms 3"]


def loss(
    params: dict,
    molecules: Molecules,
    targets: Targets,
    config: So3kratesConfig,
    settings: TrainConfig,
) -> Float[Array, ""]:
    """Weighted mean squared errors of energies and force components."""
    energy, forces = energy_and_forces(params, molecules, config)
    real = (molecules.numbers > 0)[..., None]
    energy_error = jnp.mean((energy - targets.energy) ** 2)
    forces_error = jnp.sum(jnp.where(real, forces - targets.forces, 0) ** 2) / (3 * jnp.sum(real))
    return settings.energy_weight * energy_error + settings.forces_weight * forces_error


@partial(jax.jit, static_argnames=("config", "settings"))
def training_step(state, molecules, targets, config: So3kratesConfig, settings: TrainConfig):
    """One update by Adam and one of the running mean; reverse over reverse."""
    params, mean_params, optimiser_state = state
    value, gradient = jax.value_and_grad(loss)(params, molecules, targets, config, settings)
    adam = optimisation.optimiser(settings.clip_norm)
    direction, optimiser_state = adam.update(gradient, optimiser_state)
    update = jax.tree.map(lambda leaf: -settings.learning_rate * leaf, direction)
    params = optax.apply_updates(params, update)
    mean_params = optax.incremental_update(params, mean_params, 1 - settings.ema_decay)
    return (params, mean_params, optimiser_state), value, optax.tree.norm(gradient)


class Straightforward(JaxImplementation):
    """The plain way, with a Python loop over steps."""

    def __init__(self, frames: Frames, config: So3kratesConfig, batch_size: int) -> None:
        if config.variant != "paper" or config.sphc_start != "mean":
            raise UserError('The straightforward version knows variant "paper", start "mean" only.')
        self.config = config
        self.settings = TrainConfig(optimiser="adam", batch_size=batch_size).for_model(config)
        begin = time.perf_counter()
        batch = make_batch(frames, config)
        self.neighbours = time.perf_counter() - begin
        params = initialise(jax.random.key(0), batch[:1], config)
        adam = optimisation.optimiser(self.settings.clip_norm)
        self.state = (params, params, adam.init(params))
        energy = (frames.energy - frames.energy.mean()).astype(np.float32)
        targets = Targets(energy, frames.forces.astype(np.float32))
        self.data = jax.device_put((directed(batch), targets))
        self.order = self.orders(len(frames), batch_size)
        self.evaluation = jax.jit(energy_and_forces, static_argnames="config")

    def batch(self):
        index = next(self.order)
        return jax.tree.map(lambda leaf: leaf[index], self.data)

    def trace_training(self):
        return training_step.trace(self.state, *self.batch(), self.config, self.settings)

    def train(self, compiled, steps: int) -> float:
        for _ in range(steps):
            self.state, value, _ = compiled(self.state, *self.batch())
            value = float(value)
        return value

    def trace_evaluation(self):
        self.molecules, _ = self.batch()
        return self.evaluation.trace(self.state[0], self.molecules, self.config)

    def evaluate(self, compiled):
        return compiled(self.state[0], self.molecules)

    @property
    def parameters(self) -> dict:
        return self.state[0]
