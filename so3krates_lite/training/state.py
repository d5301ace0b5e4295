"""What changes from step to step, with all weights of the network in one vector.

Clipping, Adam and the running mean treat every weight alike. Leaf by leaf they are some two hundred
small operations, a fifth of all that XLA has to compile for a training step; over one vector they
are a dozen. Muon treats matrices of one shape alike, and finds them one after another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int

from so3krates_lite.arrays import Scalar
from so3krates_lite.runtime.settings import Compiled
from so3krates_lite.training.config import Optimiser
from so3krates_lite.training.muon import Matrices, Vector, is_stack_of_matrices
from so3krates_lite.training.optimiser import optimiser

# XLA cuts a vector among cores and SIMD lanes only where its length divides: Adam takes 0.3 ms
# for 608,256 weights and 1.8 for 607,537.
BLOCK = 1024


@dataclass(frozen=True)
class Layout:
    """Where each leaf of the tree of parameters stands in the vector.

    For Adam the order is the tree's. For Muon the matrices come first, those of one shape beside
    one another, so that they are one stack without a copy. Both parts are filled up to whole
    blocks.

    Args:
        tree: the structure of the parameters
        shapes: of the leaves, in the tree's order
        first: places in that order of the leaves that stand first
        matrices: number, rows and columns of what stands first; None: Adam is for all
    """

    tree: Any
    shapes: tuple[tuple[int, ...], ...]
    first: tuple[int, ...]
    matrices: Matrices | None

    @property
    def parts(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The places of leaves in the order of the vector: what stands first, and the rest."""
        return self.first, tuple(k for k in range(len(self.shapes)) if k not in self.first)

    def optimiser(
        self, clip_norm: Scalar, weight_decay: Scalar = 0.0, momentum: Scalar = 0.0
    ) -> optax.GradientTransformation:
        """What a gradient in one vector is handed to."""
        size = _in_blocks(sum(math.prod(self.shapes[place]) for place in self.first))
        return optimiser(clip_norm, weight_decay, momentum, self.matrices, size)

    def in_one_vector(self, params: dict) -> Vector:
        """All leaves one after another."""
        leaves, pieces, length = jax.tree.leaves(params), [], 0
        for places in self.parts:
            pieces += [leaves[place].reshape(-1) for place in places]
            length += sum(leaves[place].size for place in places)
            pieces.append(jnp.zeros(_in_blocks(length) - length, leaves[0].dtype))
            length = _in_blocks(length)
        return jnp.concatenate(pieces)

    def params(self, vector: Vector) -> dict:
        """The leaves that stand in a vector, as the network takes them."""
        leaves, begin = {}, 0
        for places in self.parts:
            for place in places:
                end = begin + math.prod(self.shapes[place])
                leaves[place] = vector[begin:end].reshape(self.shapes[place])
                begin = end
            begin = _in_blocks(begin)
        return jax.tree.unflatten(self.tree, [leaves[place] for place in sorted(leaves)])


def layout_of(params: dict, kind: Optimiser, trained: tuple[str, ...] | None = None) -> Layout:
    """The layout for an optimiser; Muon's matrices are those of the ``trained`` parts only."""
    leaves, tree = jax.tree.flatten_with_path(params)
    shapes = tuple(leaf.shape for _, leaf in leaves)
    if kind == "adam":
        return Layout(tree, shapes, (), None)
    stacks: dict[tuple[int, int], list[int]] = {}
    for place, (path, leaf) in enumerate(leaves):
        if is_stack_of_matrices(path, leaf) and (trained is None or path[0].key in trained):
            stacks.setdefault(leaf.shape[-2:], []).append(place)
    first = tuple(place for places in stacks.values() for place in places)
    matrices = tuple(
        (sum(math.prod(shapes[place][:-2]) for place in places), *shape)
        for shape, places in stacks.items()
    )
    return Layout(tree, shapes, first, matrices)


def _in_blocks(length: int) -> int:
    return -(-length // BLOCK) * BLOCK


@struct.dataclass
class State:
    """Weights, their running mean, the optimiser's state and the number of steps taken."""

    __no_type_check__ = True  # as of `PairList`

    weights: Vector
    mean_weights: Vector
    optimiser: optax.OptState
    step: Int[Array, ""]
    layout: Layout = struct.field(pytree_node=False)

    @property
    def params(self) -> dict:
        """The weights as the network takes them."""
        return self.layout.params(self.weights)

    def moved(
        self,
        gradient: dict,
        learning_rate: Float[Array, ""],
        clip_norm: Scalar,
        weight_decay: Scalar,
        momentum: Scalar,
        ema_decay: Scalar,
    ) -> tuple[State, Float[Array, ""]]:
        """The state after a step against ``gradient``, and the gradient's norm before clipping."""
        slope = self.layout.in_one_vector(gradient)
        optimiser = self.layout.optimiser(clip_norm, weight_decay, momentum)
        direction, moments = optimiser.update(slope, self.optimiser, self.weights)
        weights = self.weights - learning_rate * direction
        # early on the mean follows quickly, so that it forgets the random start
        count = self.step.astype(learning_rate.dtype)
        decay = jnp.minimum(ema_decay, (1 + count) / (10 + count))
        # in this form the mean of equal numbers is exactly that number: what is not trained stays
        mean = self.mean_weights + (1 - decay) * (weights - self.mean_weights)
        moved = State(weights, mean, moments, self.step + 1, self.layout)
        return moved, optax.tree.norm(slope)


@partial(Compiled, once=True, static_argnames=("kind", "trained"))
def start_state(
    params: dict, kind: Optimiser = "adam", trained: tuple[str, ...] | None = None
) -> State:
    """The state before the first step of an optimiser, for the ``trained`` parts; None: all."""
    layout = layout_of(params, kind, trained)
    weights = layout.in_one_vector(params)
    # clipping, decay and momentum's share are no state, so their numbers do not matter here
    moments = layout.optimiser(clip_norm=1.0).init(weights)
    return State(weights, jnp.copy(weights), moments, jnp.asarray(0), layout)


@partial(Compiled, once=True, static_argnames="mean")
def params_of(state: State, mean: bool) -> dict:
    """Parameters of the network, the current ones or their running mean; compiled as a whole,
    which is quicker than leaf by leaf, and quickly: once an epoch it runs for half a millisecond.
    """
    return (state.replace(weights=state.mean_weights) if mean else state).params


@partial(Compiled, once=True, static_argnames="mean")
def params_of_each(state: State, mean: bool) -> dict:
    """The same of several networks, with a leading axis of members."""
    return jax.vmap(partial(params_of.function, mean=mean))(state)
