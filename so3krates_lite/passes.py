"""How a batch is cut into passes that fit the processor's cache.

A GPU wants as much work at once as there is. A CPU does not: what one operation writes the next one
reads, and once the arrays of a layer outgrow the cache every operation waits for memory. Energies
and forces of a hundred molecules of ethanol took 103 ms at once and 60 ms in passes of 25, in a
tenth of the memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from so3krates_lite.graph import Batch

Tree = TypeVar("Tree")

# Measured on ethanol and aspirin at the paper's setting, see benchmarks/LEVERS.md.
PAIRS_PER_PASS_ON_CPU = 1024


def structures_per_pass(graphs: int, pairs: int) -> int:
    """How many structures of ``pairs`` pairs each are computed at once, evened out over passes."""
    if jax.default_backend() != "cpu":
        return graphs
    most = max(PAIRS_PER_PASS_ON_CPU // pairs, 1)
    passes = -(-graphs // most)
    return -(-graphs // passes)


def pass_index(
    graphs: int, size: int
) -> tuple[Int[Array, "passes size"], Bool[Array, "passes size"]]:
    """Which structures each pass takes, and whether they count: the last one is filled up."""
    number = jnp.arange(-(-graphs // size) * size).reshape(-1, size)
    return jnp.minimum(number, graphs - 1), number < graphs


def map_in_passes(function: Callable[[Batch], Tree], batch: Batch) -> Tree:
    """``function`` of a batch, pass by pass; its results have a leading axis over structures."""
    graphs = len(batch)
    size = structures_per_pass(graphs, batch.room)
    if size >= graphs:
        return function(batch)
    index, _ = pass_index(graphs, size)
    results = jax.lax.map(lambda chosen: function(batch[chosen]), index)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:graphs], results)
