"""Shapes that order 2 cannot tell apart and order 3 can, or order 3 cannot and order 4 can.

Seen from a centre atom, order k knows which chains of k - 1 distances begin there: order 2 the
distances d_0j, order 3 the pairs (d_0l, d_lj), order 4 the triples (d_0h, d_hl, d_lj). Two shapes
with the same chains are one shape to it, whatever its parameters. So

* set A: a square and a tetrahedron of four atoms around the centre, all at one distance from it.
  Order 2, and any convolution over distances from the centre, is blind; order 3 is not;
* set B: six atoms on a cubic grid, two upright pairs, the centre, and one more atom that stands
  above the centre or beside it. Each atom has the same distances to the others in both shapes, so
  order 3 is blind; order 4 is not.

`chains` lists what an order can see; that the lists agree is the proof. The grid points of set B
were found by a search over all sets of five points around the centre of a 3 x 3 x 3 grid.

Source: the experiment is that of Frank & Chmiela 2021 (geometric shapes); the shapes are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from so3krates_lite.config import GeomAttConfig
from so3krates_lite.errors import require
from so3krates_lite.experiments.train_alike import save_results
from so3krates_lite.geomatt import Geometry, Stream, linear
from so3krates_lite.runtime.settings import Compiled
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch, pair_vectors

_CORNERS = [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]
_UPRIGHT = [(-1, -1, -1), (-1, -1, 0), (0, 1, -1), (0, 1, 0)]
# positions in Å around a centre at zero, which is the first atom
SHAPES: dict[str, tuple[Float[np.ndarray, "atoms 3"], Float[np.ndarray, "atoms 3"]]] = {
    "A": (
        np.array([(0, 0, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)], float),
        np.array([(0, 0, 0), *_CORNERS], float) / np.array([[1]] + 4 * [[3**0.5]]),
    ),
    "B": (
        0.75 * np.array([(0, 0, 0), *_UPRIGHT, (0, 0, 1)], float),
        0.75 * np.array([(0, 0, 0), *_UPRIGHT, (1, 0, 0)], float),
    ),
}
NAMES = {"A": ("square", "tetrahedron"), "B": ("above", "beside")}
ORDERS = {"A": (2, 3), "B": (2, 3, 4)}
FRAMES, STEPS, LEARNING_RATE = 200, 2000, 1e-2


def chains(positions: Float[np.ndarray, "atoms 3"], order: int, digits: int = 9) -> list[tuple]:
    """All that an order can see from the first atom: the sorted chains of distances from it.

    A chain of order - 1 steps may stay where it is or come back, as the sums of the correlation do.
    """
    d = np.linalg.norm(positions[:, None] - positions[None], axis=-1).round(digits)
    found = [((), 0)]
    for _ in range(order - 1):
        found = [((*seen, d[end, j]), j) for seen, end in found for j in range(len(d))]
    return sorted(seen for seen, _ in found)


def shape_frames(
    which: str, count: int, noise: float = 0.02, seed: int = 0
) -> tuple[Frames, Int[np.ndarray, "frames"]]:
    """``count`` shapes of a set, turned at random, and which of the two each is.

    Args:
        which: "A" or "B"
        noise: standard deviation of every coordinate, in Å
    """
    from scipy.spatial.transform import Rotation

    require(which in SHAPES, "which", which, "A or B")
    rng = np.random.default_rng(seed)
    kind = rng.permutation(np.arange(count) % 2)
    turns = Rotation.random(count, random_state=seed).as_matrix()
    positions = np.stack(SHAPES[which])[kind] @ turns.mT
    positions = positions + rng.normal(0, noise, positions.shape)
    return Frames(np.ones(positions.shape[:2], int), positions), kind


def classifier_config(order: int) -> GeomAttConfig:
    """One layer of one order, one feature, 16 components: the smallest GeomAtt."""
    return GeomAttConfig(
        orders=(order,),
        features=1,
        layers=1,
        inner=16 * 2 ** (order - 2),
        grid_end=2.0,
        grid_spacing=0.1,
        gamma=10.0,
    )


class ShapeClassifier(nn.Module):
    """Logit of the second shape, read from the centre atom after one layer.

    ``order`` None is the baseline: a convolution with filters of the distances, v_i + sum_j W(d_ij)
    v_j, as SchNet has, with 16 features.
    """

    order: int | None

    @nn.compact
    def __call__(self, batch: Batch) -> Float[Array, "graphs"]:
        config = classifier_config(self.order or 2)
        geometry = Geometry.of(batch, pair_vectors(batch, config), config)
        width = 1 if self.order else 16
        start = self.param("embedding", nn.initializers.normal(1.0), (width,))
        v = jnp.broadcast_to(start, (*batch.numbers.shape, width))
        if self.order:
            v = Stream(config, self.order, name="stream")(v, geometry)
        else:
            weights = linear(config.grid_points, width, "filter")(geometry.rho)
            W = geometry.matrix(weights, jnp.zeros(width, weights.dtype))
            v = v + jnp.einsum("gijf,gjf->gif", W, linear(width, width, "value")(v))
        return linear(width, 1, "logit")(v[:, 0])[:, 0]


@dataclass(frozen=True)
class Classified:
    """How well one model tells the shapes of a set apart."""

    which: str
    model: str
    seed: int
    accuracy: float  # share of right answers on shapes it has not seen
    train_accuracy: float

    def row(self) -> dict[str, float | str]:
        """A line of a table."""
        return {
            "set": self.which,
            "model": self.model,
            "seed": self.seed,
            "accuracy (%)": round(100 * self.accuracy, 1),
            "on training shapes (%)": round(100 * self.train_accuracy, 1),
        }


@partial(Compiled, static_argnames=("order", "steps"))
def _fit(
    key: jax.Array, batch: Batch, kind: Int[Array, "graphs"], order: int | None, steps: int
) -> dict:
    model = ShapeClassifier(order)
    params = model.init(key, batch)
    adam = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))

    def loss(params):
        return optax.sigmoid_binary_cross_entropy(model.apply(params, batch), kind).mean()

    def step(carry, _):
        params, state = carry
        update, state = adam.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, update), state), None

    return jax.lax.scan(step, (params, adam.init(params)), length=steps)[0][0]


@partial(Compiled, static_argnames="order")
def _right(params: dict, batch: Batch, kind: Int[Array, "graphs"], order: int | None):
    return jnp.mean((ShapeClassifier(order).apply(params, batch) > 0) == kind)


def classify_shapes(
    sets: Sequence[str] = ("A", "B"),
    *,
    noise: float = 0.02,
    seeds: Sequence[int] = (0, 1, 2),
    frames: int = FRAMES,
    steps: int = STEPS,
    folder: Path | None = None,
) -> list[Classified]:
    """Train the baseline and each order on ``frames`` shapes, judge them on as many others.

    Args:
        sets: of "A" and "B"
        noise: standard deviation of every coordinate, in Å
        seeds: of weights and shapes
        steps: of Adam, all shapes at once
        folder: where the results are kept; None: nowhere
    """
    results = []
    for which in sets:
        require(which in SHAPES, "sets", which, "A or B")
        config = classifier_config(2)
        for seed in seeds:
            (seen, kind), (unseen, kind_unseen) = (
                shape_frames(which, frames, noise, 2 * seed + part) for part in (0, 1)
            )
            batch, test = make_batch(seen, config), make_batch(unseen, config)
            for order in (None, *ORDERS[which]):
                params = _fit(jax.random.key(seed), batch, kind, order, steps)
                name = f"order {order}" if order else "distance convolution"
                scores = (
                    _right(params, test, kind_unseen, order),
                    _right(params, batch, kind, order),
                )
                results.append(Classified(which, name, seed, *map(float, scores)))
    if folder is not None:
        rows = [result.row() for result in results]
        save_results(folder / "shapes.json", rows, noise=f"{noise} Å", frames=frames, steps=steps)
    return results
