"""How a batch is cut into passes that fit the processor's cache.

A GPU wants as much work at once as there is. A CPU does not: what one operation writes the next one
reads, and once the arrays of a layer outgrow the cache every operation waits for memory. Energies
and forces of a hundred molecules of ethanol took 103 ms at once and 60 ms in passes of 25, in a
tenth of the memory.

A batch can be cut between structures (`map_in_passes`), which works for any network, or within a
layer between pairs (`collect_for_reverse`), so that an atom of ten thousand costs what one of a
hundred does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Int

from so3krates_lite.structures.graph import Batch, Pairs

Tree = TypeVar("Tree")

# Measured on ethanol and aspirin at the paper's setting, see benchmarks/LEVERS.md.
PAIRS_PER_PASS_ON_CPU = 1024
# Up to so many pairs, what a layer computes is kept for the reverse sweep, or its filters at least.
PAIRS_KEPT = 80
FILTERS_KEPT = PAIRS_PER_PASS_ON_CPU


def structures_per_pass(graphs: int, pairs: int) -> int:
    """How many structures of ``pairs`` pairs each are computed at once, evened out over passes."""
    if jax.default_backend() != "cpu":
        return graphs
    most = max(PAIRS_PER_PASS_ON_CPU // pairs, 1)
    passes = -(-graphs // most)
    return -(-graphs // passes)


def pairs_per_pass(pairs: int) -> int:
    """How many of a layer's pairs are computed at once, as structures of one pair each."""
    return structures_per_pass(pairs, 1)


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
    return _joined(results, graphs)


# What two atoms of a pair send each other, from parameters, their values, and the pair's own; and
# how all that is collected at each atom.
Messages = Callable[[Any, Tree, Tree, Any], tuple[Tree, Tree]]
Collect = Callable[[Messages, Any, Tree, Any, Pairs], Tree]


def collect_at_once(
    messages: Messages, parameters: Any, atoms: Tree, of_pairs: Any, pairs: Pairs
) -> Tree:
    """For every atom the sum of what its pairs bring it.

    Args:
        messages: what a pair sends to its first and to its second atom, as ``messages(parameters,
            values of first atoms, values of second atoms, of_pairs)``; in passes it has to be zero
            where ``of_pairs`` is
        parameters: a tree of arrays
        atoms: a tree of arrays over atoms
        of_pairs: a tree of arrays over pairs
        pairs: which atoms they are
    """
    return jax.tree.map(pairs.collect, *messages(parameters, *pairs.ends(atoms), of_pairs))


def collect_for_reverse(
    messages: Messages, parameters: Any, atoms: Tree, of_pairs: Any, pairs: Pairs
) -> Tree:
    """The same, in passes where there are more pairs than one pass takes.

    It then has no derivative but the reverse one, and that once.
    """
    return _collect(_in_passes, messages, parameters, atoms, of_pairs, pairs)


def collect_for_forward(
    messages: Messages, parameters: Any, atoms: Tree, of_pairs: Any, pairs: Pairs
) -> Tree:
    """The same where a forward derivative is taken, with the parameters held fixed; what comes of
    it has a reverse derivative, as the gradient of a force loss needs it."""
    return _collect(_in_passes_forward, messages, parameters, atoms, of_pairs, pairs)


def _collect(
    in_passes: Callable,
    messages: Messages,
    parameters: Any,
    atoms: Tree,
    of_pairs: Any,
    pairs: Pairs,
) -> Tree:
    number = len(pairs.first)
    size = pairs_per_pass(number)
    if size == number:
        return collect_at_once(messages, parameters, atoms, of_pairs, pairs)
    found = in_passes(messages, size, parameters, pairs.reached(atoms), of_pairs, pairs.alone)
    # kept for the reverse sweep, which else would go through the passes once more
    return checkpoint_name(pairs.returned(found), "collected")


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _in_passes(
    messages: Messages, size: int, parameters: Any, atoms: Tree, of_pairs: Any, pairs: Pairs
) -> Tree:
    """`collect_at_once` of ``size`` pairs at a time.

    The reverse sweep goes through the passes again and computes each anew: of pairs nothing is
    kept but what is given. It is written out here since JAX's own would make, in every pass, an
    array of the size of all atoms. It is the only derivative that this function has.
    """

    def add(sums: Tree, part: tuple) -> tuple[Tree, None]:
        listed, values = part
        return _add_at(sums, listed, *messages(parameters, *listed.ends(atoms), values)), None

    one, of_one = jax.tree.map(lambda leaf: leaf[:1], (atoms, of_pairs))
    shapes, _ = jax.eval_shape(messages, parameters, one, one, of_one)
    nothing = jax.tree.map(
        lambda leaf: jnp.zeros((pairs.n_atoms, *leaf.shape[1:]), leaf.dtype), shapes
    )
    return jax.lax.scan(add, nothing, _cut((pairs, of_pairs), size))[0]


def _forwards(messages, size, parameters, atoms, of_pairs, pairs):
    inputs = (parameters, atoms, of_pairs, pairs)
    return _in_passes(messages, size, *inputs), inputs


def _backwards(messages, size, inputs, slope):
    parameters, atoms, of_pairs, pairs = inputs

    def add(slopes: tuple, part: tuple) -> tuple[tuple, Any]:
        of_parameters, of_atoms = slopes
        listed, values = part
        _, pull = jax.vjp(messages, parameters, *listed.ends(atoms), values)
        more, at_first, at_second, at_pairs = pull(listed.ends(slope))
        of_parameters = jax.tree.map(jnp.add, of_parameters, more)
        return (of_parameters, _add_at(of_atoms, listed, at_first, at_second)), at_pairs

    nothing = jax.tree.map(jnp.zeros_like, (parameters, atoms))
    slopes, at_pairs = jax.lax.scan(add, nothing, _cut((pairs, of_pairs), size))
    return *slopes, _joined(at_pairs, len(pairs.first)), None


_in_passes.defvjp(_forwards, _backwards)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _in_passes_forward(
    messages: Messages, size: int, parameters: Any, atoms: Tree, of_pairs: Any, pairs: Pairs
) -> Tree:
    return _in_passes(messages, size, parameters, atoms, of_pairs, pairs)


@partial(_in_passes_forward.defjvp, symbolic_zeros=True)
def _along(messages, size, primals, tangents):
    parameters, atoms, of_pairs, pairs = primals
    moved, *others, _ = tangents
    if not all(map(_is_zero, jax.tree.leaves(moved, is_leaf=_is_zero))):
        raise NotImplementedError("Forward derivatives with respect to parameters are not there.")
    d_atoms, d_pairs = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype) if _is_zero(leaf) else leaf,
        others,
        is_leaf=_is_zero,
    )

    def with_slopes(parameters, first, second, of_pairs):
        values, slopes = zip(first, second, of_pairs, strict=True)
        sent, change = jax.jvp(partial(messages, parameters), values, slopes)
        return tuple(zip(sent, change, strict=True))

    both = (atoms, d_atoms), (of_pairs, d_pairs)
    return _in_passes(with_slopes, size, parameters, *both, pairs)


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)


def _add_at(sums: Tree, listed: Pairs, to_first: Tree, to_second: Tree) -> Tree:
    def both(total: Array, one: Array, other: Array) -> Array:
        return total.at[listed.first].add(one).at[listed.second].add(other)

    return jax.tree.map(both, sums, to_first, to_second)


def _cut(tree: Tree, size: int) -> Tree:
    """Arrays over pairs as arrays over passes; the last one is filled up with zeros."""

    def cut(leaf: Array) -> Array:
        passes = -(-len(leaf) // size)
        filling = [(0, passes * size - len(leaf))] + [(0, 0)] * (leaf.ndim - 1)
        return jnp.pad(leaf, filling).reshape(passes, size, *leaf.shape[1:])

    return jax.tree.map(cut, tree)


def _joined(tree: Tree, number: int) -> Tree:
    """Arrays over passes laid end to end, without what filled up the last one."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:number], tree)
