"""Muon: steps that turn a matrix in all its directions alike.

The gradient of a kernel, a matrix, is a sum over atoms and pairs, and most of its length lies along
the few directions that these have in common; a step along it learns those and next to nothing else.
Muon keeps a running mean M of the gradients (momentum), M = U S V^T by singular values, and goes
along U V^T: as far in every direction. To have that without singular values, a polynomial odd in M
and so a function of S alone is applied five times, which drives every singular value to about 1
(Newton-Schulz); that takes only products of matrices.

Since every step has the same length, however small the gradient, what no gradient holds back walks
at random, and matrices grow: tenfold in 27,000 steps at 0.008, after which one step threw a network
of six layers off. So each step makes them a little shorter, too (weight decay).

It is for kernels: biases, tables of elements and the last layer, whose kernel is one column, are
left to Adam. A kernel with an axis of layers or heads is a stack of matrices, each on its own.

K. Jordan et al., https://kellerjordan.github.io/posts/muon (2024); the step's length as by
J. Liu et al., arXiv:2502.16982. The numbers are those of `optax.contrib.muon`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from so3krates_lite.arrays import Scalar

ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of X, X X^T X and (X X^T)^2 X: steep at 0, near 1 at 1
RMS = 0.2  # of a step's numbers, where Adam's is about the same
ADAM_SHARE = 0.3  # the rate of what Adam moves, over that of the matrices; 0.17 to 0.3 were tried
EPSILON = 1e-8

Matrices = tuple[tuple[int, int, int], ...]
Vector = Float[Array, "weights"]


def is_stack_of_matrices(path: tuple, leaf: Array) -> bool:
    """Whether a leaf of the tree of parameters is a kernel that gives more than one number."""
    return path[-1].key.endswith("kernel") and leaf.shape[-1] > 1


def orthogonalised(
    x: Float[Array, "matrices rows columns"],
) -> Float[Array, "matrices rows columns"]:
    """Each matrix U S V^T as U S' V^T with S' in 0.7 to 1.2, save for tiny S; 0 stays 0."""
    if x.shape[1] > x.shape[2]:
        return orthogonalised(x.mT).mT  # the products of rows are the smaller ones
    a, b, c = COEFFICIENTS
    one = jnp.eye(x.shape[1], dtype=x.dtype)[None]

    def iteration(_, x):
        gram = x @ x.mT
        # between the three products a single operation: a quarter less to compile
        return (a * one + b * gram + c * (gram @ gram)) @ x

    # by a product, which is half of what a sum over both axes is to compile
    flat = x.reshape(x.shape[0], -1)
    length = jnp.sqrt(jnp.einsum("mi,mi->m", flat, flat))[:, None, None]
    return jax.lax.fori_loop(0, ITERATIONS, iteration, x / (length + EPSILON))


class MuonState(NamedTuple):
    """Steps taken, momentum of the matrices, and Adam's state of all other weights."""

    count: Int[Array, ""]
    momentum: Vector
    adam: optax.OptState


def scale_by_muon(
    matrices: Matrices, size: int, weight_decay: Scalar, momentum: Scalar
) -> optax.GradientTransformation:
    """Muon for a vector whose first ``size`` numbers are matrices, and Adam for what follows.

    Both look one step ahead, as Nesterov: they go along what the mean of gradients would be after
    another step with the same one.

    Args:
        matrices: how many, of how many rows and columns, stand one after another
        size: with the filling after them
        weight_decay: share of the matrices that is added to the step
        momentum: share that the mean of gradients keeps of itself in a step
    """
    adam = optax.scale_by_adam(nesterov=True)

    def init(weights: Vector) -> MuonState:
        mean, rest = jnp.zeros_like(weights[:size]), weights[size:]
        return MuonState(jnp.zeros([], jnp.int32), mean, adam.init(rest))

    def update(gradient: Vector, state: MuonState, params: Vector) -> tuple[Vector, MuonState]:
        slope, rest = gradient[:size], gradient[size:]
        count = optax.safe_increment(state.count)
        mean = optax.tree.update_moment(slope, state.momentum, momentum, 1)
        following = optax.safe_increment(count)
        ahead = momentum * optax.tree.bias_correction(mean, momentum, following)
        ahead += (1 - momentum) * optax.tree.bias_correction(slope, momentum, count)
        directions, begin = [], 0
        for shape in matrices:
            end = begin + math.prod(shape)
            # a matrix of orthogonal rows has entries of this size
            scale = RMS * math.sqrt(max(shape[1:]))
            direction = scale * orthogonalised(ahead[begin:end].reshape(shape))
            directions.append(direction.reshape(-1))
            begin = end
        directions.append(jnp.zeros_like(slope[begin:]))
        step = jnp.concatenate(directions) + weight_decay * params[:size]
        rest, adam_state = adam.update(rest, state.adam)
        return jnp.concatenate([step, ADAM_SHARE * rest]), MuonState(count, mean, adam_state)

    return optax.GradientTransformation(init, update)
