"""What a network leaves beside its result, for whoever applies it with a mutable collection."""

from __future__ import annotations

from typing import Any

import flax.linen as nn


def is_asked(module: nn.Module, collection: str) -> bool:
    """Whether a collection is wanted; while parameters are drawn, none is."""
    return module.is_mutable_collection(collection) and not module.is_initializing()


def leave(module: nn.Module, collection: str, **values: Any) -> None:
    """Put values into a collection under their names, where it is wanted."""
    if is_asked(module, collection):
        for name, value in values.items():
            module.put_variable(collection, name, value)
