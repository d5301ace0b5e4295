"""What a network leaves beside its result, and what is put in place of its own values.

Whoever applies it with a mutable collection finds there what was left; whoever fills the collection
"switches" decides how much of a value the network computes itself, and what stands in for the rest.
Without either, neither is part of the program.

A *switch* of a value v holds two numbers for each of v's, on a last axis: a gate and a stand-in u.
What the network goes on with is gate v + (1 - gate) u. Gate 1 is as trained, gate 0 puts u in its
place (zero, a mean, what another structure has), and in between lies the path that integrated
gradients go along.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from so3krates_lite.arrays import AnyArray


def between(
    value: Float[Array, "*shape"], switch: Float[AnyArray, "*shape 2"]
) -> Float[Array, "*shape"]:
    """gate v + (1 - gate) u."""
    gate, other = switch[..., 0], switch[..., 1]
    return gate * value + (1 - gate) * other


def is_asked(module: nn.Module, collection: str) -> bool:
    """Whether a collection is wanted; while parameters are drawn, none is."""
    return module.is_mutable_collection(collection) and not module.is_initializing()


def leave(module: nn.Module, collection: str, **values: Any) -> None:
    """Put values into a collection under their names, where it is wanted."""
    if is_asked(module, collection):
        for name, value in values.items():
            module.put_variable(collection, name, value)


def switched(module: nn.Module, name: str, value: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """A value as the collection "switches" wants it, if it says anything of it."""
    if not module.has_variable("switches", name):
        return value
    switch = module.get_variable("switches", name)
    return between(value, switch.reshape(*value.shape, 2))
