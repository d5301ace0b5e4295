"""Whether this JAX computes rightly: the operations of the network on long lists, against NumPy.

Compilers have faults of their own. jax 0.10.2 joins a matrix product and the sum that follows it
into one kernel, and that kernel computes some rows of a long list wrongly, without a word (its
issue 39103, here "lengths of turned vectors"; the list has to hold 16,385 rows in float64, 32,769
in float32). Molecules are too small to show it, liquids and batches are not.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from so3krates_lite.attention import HeadwiseDense, Roles, coefficient
from so3krates_lite.basis import radial_basis
from so3krates_lite.harmonics import degree_norms
from so3krates_lite.runtime.settings import compiler_options
from so3krates_lite.structures.graph import Pairs

RNG = np.random.default_rng(0)
TURN = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
SQUARE = RNG.normal(size=(12, 12)) / np.sqrt(12)
KERNEL = RNG.normal(size=(2, 6, 6)) / np.sqrt(6)
MEMBER = np.repeat(np.eye(3), [3, 5, 7], axis=0)  # components of degrees 1, 2, 3


def lengths_of_turned(x):
    turn = jnp.asarray(TURN, x.dtype)
    return jax.vmap(lambda row: jnp.sqrt(jnp.sum((turn @ row) ** 2)))(x)


def dense_and_norm(x):
    y = x @ jnp.asarray(SQUARE, x.dtype)
    return jax.nn.silu(y) / jnp.sqrt(jnp.mean(y * y, axis=-1, keepdims=True) + 1)


def dense_and_norm_by_hand(x):
    y = x @ SQUARE
    return y / (1 + np.exp(-y)) / np.sqrt((y * y).mean(-1, keepdims=True) + 1)


def headwise(x):
    params = {"params": {"kernel": jnp.asarray(KERNEL, x.dtype)}}
    return jnp.sum(HeadwiseDense(2, use_bias=False).apply(params, x) ** 2, axis=-1)


def headwise_by_hand(x):
    parts = np.stack([x[:, :6] @ KERNEL[0], x[:, 6:] @ KERNEL[1]], axis=1)
    return (parts**2).sum((1, 2))


def scores(x):
    w = jnp.roll(x, 1, axis=0)
    return coefficient(Roles(x, x), Roles(w, w), jnp.cos(x), heads=2)


def scores_by_hand(x):
    product = x * np.cos(x) * np.roll(x, 1, axis=0)
    return np.stack([product[:, :6].sum(-1), product[:, 6:].sum(-1)], axis=1) / np.sqrt(6)


def ends(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Each atom's neighbours are the next ones in a ring; both ends of every pair are filled."""
    first = np.arange(n, dtype=np.int32) // 4
    return first, (first + 1 + np.arange(n, dtype=np.int32) % 4) % (n // 4 + 1)


def collected(x):
    n = len(x)
    return Pairs(*ends(n), n_atoms=n // 4 + 1).collect(x, jnp.sin(x))


def collected_by_hand(x):
    n = len(x)
    total = np.zeros((n // 4 + 1, x.shape[1]))
    for index, part in zip(ends(n), (x, np.sin(x)), strict=True):
        np.add.at(total, index, part)
    return total


def gaussians_by_hand(x):
    low = np.exp(-5.0)
    beta = (2 / 8 * (1 - low)) ** -2
    return np.exp(-beta * (np.exp(-np.abs(x[:, 0]))[:, None] - np.linspace(low, 1, 8)) ** 2)


# (operation, columns of its input, with JAX, with NumPy)
OPERATIONS: dict[str, tuple[int, Callable, Callable]] = {
    "lengths of turned vectors": (3, lengths_of_turned, lambda x: np.linalg.norm(x, axis=1)),
    "lengths of degrees": (
        15,
        lambda x: degree_norms(x, (1, 2, 3)),
        lambda x: np.sqrt((x * x) @ MEMBER),
    ),
    "a dense layer and its norm": (12, dense_and_norm, dense_and_norm_by_hand),
    "one product per head": (12, headwise, headwise_by_hand),
    "attention coefficients": (12, scores, scores_by_hand),
    "sums over neighbours": (12, collected, collected_by_hand),
    "radial functions": (1, lambda x: radial_basis(jnp.abs(x[:, 0]), 8, 5.0), gaussians_by_hand),
    "angles": (
        3,
        lambda x: jnp.arctan2(x, jnp.roll(x, 1, 1)) + jnp.arctan(x),
        lambda x: np.arctan2(x, np.roll(x, 1, 1)) + np.arctan(x),
    ),
}


@pytest.mark.parametrize("options", ["as JAX compiles it", "as the package does"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_long_lists_are_computed_as_numpy_does(operation, precision, options):
    columns, function, by_hand = OPERATIONS[operation]
    options = compiler_options() if options == "as the package does" else {}
    compiled = jax.jit(function, compiler_options=options)
    tolerance = 1e-11 if precision == "float64" else 2e-5
    for rows in (100, 20_000, 40_000):
        x = np.random.default_rng(rows).normal(size=(rows, columns)).astype(precision)
        with jax.enable_x64(precision == "float64"):
            found = np.asarray(compiled(x))
        expected = by_hand(x.astype(np.float64))
        error = np.abs(found - expected).reshape(len(found), -1).max(-1)
        wrong = error > tolerance * max(np.abs(expected).max(), 1)
        assert wrong.sum() == 0, (
            f"jax {jax.__version__} computes {operation} wrongly here, {wrong.sum()} of {rows} "
            f"rows in {precision}: install another version (constraints.txt names a good one)."
        )
