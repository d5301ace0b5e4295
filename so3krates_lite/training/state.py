"""What changes from step to step, with all weights of the network in one vector.

Clipping, Adam and the running mean treat every weight alike. Leaf by leaf they are some two hundred
small operations, a fifth of all that XLA has to compile for a training step; over one vector they
are a dozen. Muon treats matrices of one shape alike, and finds them one after another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from so3krates_lite.runtime import Compiled
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
    one another, so that they are one stack without a copy.

    Args:
        tree: the structure of the parameters
        first, rest: places of leaves in the tree, in the vector's order
        matrices: number, rows and columns of what stands first; None: Adam is for all
    """

    tree: Any
    first: tuple[int, ...]
    rest: tuple[int, ...]
    matrices: Matrices | None

    @property
    def size(self) -> int:
        """Length of what stands first, in whole blocks."""
        return _in_blocks(sum(math.prod(shape) for shape in self.matrices or ()))

    def in_one_vector(self, params: dict) -> tuple[Vector, Callable[[Vector], Any]]:
        """All leaves one after another, filled up to whole blocks; and the way back."""
        leaves = jax.tree.leaves(params)
        parts = [[leaves[place] for place in places] for places in (self.first, self.rest)]
        for part in parts:
            length = sum(leaf.size for leaf in part)
            part.append(jnp.zeros(_in_blocks(length) - length, leaves[0].dtype))
        return ravel_pytree(parts)

    def restored(self, parts: list) -> dict:
        """The tree of parameters of what the way back gives."""
        leaves = dict(zip(self.first + self.rest, parts[0][:-1] + parts[1][:-1], strict=True))
        return jax.tree.unflatten(self.tree, [leaves[place] for place in sorted(leaves)])


def layout_of(params: dict, kind: Optimiser, trained: tuple[str, ...] | None = None) -> Layout:
    """The layout for an optimiser; only of the ``trained`` parts are there matrices to move."""
    leaves, tree = jax.tree.flatten_with_path(params)
    stacks: dict[tuple[int, int], list[int]] = {}
    if kind == "muon":
        for place, (path, leaf) in enumerate(leaves):
            if is_stack_of_matrices(path, leaf) and (trained is None or path[0].key in trained):
                stacks.setdefault(leaf.shape[-2:], []).append(place)
    first = tuple(place for places in stacks.values() for place in places)
    rest = tuple(place for place in range(len(leaves)) if place not in first)
    matrices = tuple(
        (sum(math.prod(leaves[place][1].shape[:-2]) for place in places), *shape)
        for shape, places in stacks.items()
    )
    return Layout(tree, first, rest, matrices if kind == "muon" else None)


def _in_blocks(length: int) -> int:
    return -(-length // BLOCK) * BLOCK


@struct.dataclass
class State:
    """Weights, their running mean, the optimiser's state and the number of steps taken."""

    weights: Vector
    mean_weights: Vector
    optimiser: optax.OptState
    step: Int[Array, ""]
    layout: Layout = struct.field(pytree_node=False)
    unravel: Callable[[Vector], Any] = struct.field(pytree_node=False)

    @property
    def params(self) -> dict:
        """The weights as the network takes them."""
        return self.layout.restored(self.unravel(self.weights))

    def moved(
        self,
        gradient: dict,
        learning_rate: Float[Array, ""],
        clip_norm: Float[Array, ""],
        ema_decay: Float[Array, ""],
    ) -> tuple[State, Float[Array, ""]]:
        """The state after a step against ``gradient``, and the gradient's norm before clipping."""
        slope, _ = self.layout.in_one_vector(gradient)
        steps = optimiser(clip_norm, self.layout.matrices, self.layout.size)
        direction, moments = steps.update(slope, self.optimiser)
        weights = self.weights - learning_rate * direction
        # early on the mean follows quickly, so that it forgets the random start
        count = self.step.astype(learning_rate.dtype)
        decay = jnp.minimum(ema_decay, (1 + count) / (10 + count))
        # in this form the mean of equal numbers is exactly that number: what is not trained stays
        mean = self.mean_weights + (1 - decay) * (weights - self.mean_weights)
        moved = State(weights, mean, moments, self.step + 1, self.layout, self.unravel)
        return moved, optax.tree.norm(slope)


@partial(Compiled, once=True, static_argnames=("kind", "trained"))
def start_state(
    params: dict, kind: Optimiser = "adam", trained: tuple[str, ...] | None = None
) -> State:
    """The state before the first step of an optimiser, for the ``trained`` parts; None: all."""
    layout = layout_of(params, kind, trained)
    weights, unravel = layout.in_one_vector(params)
    # clipping keeps no state, so its limit does not matter here
    moments = optimiser(1.0, layout.matrices, layout.size).init(weights)
    return State(weights, jnp.copy(weights), moments, jnp.asarray(0), layout, unravel)


@partial(Compiled, once=True, static_argnames="mean")
def params_of(state: State, mean: bool) -> dict:
    """Parameters of the network, the current ones or their running mean; compiled as a whole,
    which is quicker than leaf by leaf, and quickly: once an epoch it runs for half a millisecond.
    """
    return (state.replace(weights=state.mean_weights) if mean else state).params
