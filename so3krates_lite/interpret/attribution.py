"""How much of the energy is due to each attention coefficient? A share for every one of them.

Switching one coefficient at a time misses what stands in for each other: two messages that say the
same look worthless one by one. *Integrated gradients* go another way. Every coefficient gets a
gate; all gates are opened together, from 0 (the `Baseline`) to 1 (as trained), and each is credited
with what it does on the way,

    share_e = ∫_0^1 dE/dg_e (t, t, …, t) dt.

The shares sum to E(trained) - E(baseline), by the fundamental theorem of calculus: *completeness*.
That is checked here, and said where the integral is not found well enough. *Gradient times
attention* is the integrand at the end of the way, (alpha - baseline) dE/dalpha: quick, and blind to
what is saturated.

Why there are no relevances of walks (GNN-LRP). Its relevance of a walk over layers is a mixed
derivative, one gate of each layer, under propagation rules that keep the sum; those rules suit
networks whose messages are linear in the features. Here alpha is itself a product q w k of features
of both atoms, filters read chi_j - chi_i, and x and chi multiply each other in the exchange block:
a walk has several ways through each layer, their number grows as (pairs x channels)^layers, and
without rules for products the mixed derivatives do not sum to the energy. With rules that hold
alpha and filters fixed they do, but then say nothing of attention. What walks are asked for is
answered by exact means instead: shares by layer, pairs changed together (`interventions`), and
parts of the energy by atoms (`expansion`).

Source: Sundararajan, Taly & Yan, ICML 2017; GNN-LRP: Schnake et al., IEEE TPAMI 44, 7581 (2022).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from so3krates_lite.config import ModelConfig
from so3krates_lite.energies import Switches, energy
from so3krates_lite.errors import UserError, require
from so3krates_lite.interpret.baselines import ZERO, Baseline, Values, known_block, only
from so3krates_lite.interpret.interventions import as_switches, cases_at_once, shapes_of
from so3krates_lite.passes import collect_for_reverse
from so3krates_lite.potential import Potential
from so3krates_lite.runtime.settings import Compiled, precision_context
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch

log = logging.getLogger(__name__)

TOLERANCE = 1e-3  # of |change|, and the least that is asked for, in eV
MOST_POINTS = 254


@dataclass(frozen=True, eq=False)
class Attribution:
    """Shares of an energy, by [layer, receiver, sender, channel] of each block; eV.

    Args:
        shares: integrated gradients
        slopes: gradient times attention, of the same shape
        change: E(trained) - E(baseline), eV
        points: of the quadrature
    """

    shares: dict[str, Float[np.ndarray, "layers atoms atoms _channels"]]
    slopes: dict[str, Float[np.ndarray, "layers atoms atoms _channels"]]
    change: float
    points: int

    @property
    def error(self) -> float:
        """How far the shares are from summing to the change, eV."""
        return float(sum(v.sum() for v in self.shares.values()) - self.change)

    @property
    def is_complete(self) -> bool:
        """Whether they sum to the change: to a thousandth of it, or to 1 meV."""
        return abs(self.error) <= TOLERANCE * max(abs(self.change), 1.0)

    def of_pairs(
        self, block: str | None = None, *, slopes: bool = False
    ) -> Float[np.ndarray, "atoms atoms"]:
        """Summed over layers and channels of a block (None: of all), by [receiver, sender]."""
        held = self.slopes if slopes else self.shares
        if block is not None and block not in held:
            raise UserError(f"No shares of '{block}': choose one of {', '.join(held)}.")
        return sum(held[name].sum(axis=(0, -1)) for name in ([block] if block else held))


def integrated_gradients(
    potential: Potential,
    frame: Frames,
    *,
    block: str | None = None,
    baseline: Baseline = ZERO,
    points: int = 30,
) -> Attribution:
    """Shares of every directed pair, channel and layer in E(trained) - E(baseline).

    Args:
        frame: one structure
        block: only the coefficients of one block are changed; None: those of all blocks
        baseline: where the way begins
        points: of the Gauss-Legendre quadrature along the way; doubled, up to 254, until the shares
            sum to the change, and where they do not a warning says so

    Raises:
        UserError: several frames, an unknown block, or a baseline that is drawn
    """
    only(frame)
    require(points >= 1, "points", points, "a positive whole number")
    if baseline.size > 1:
        raise UserError(
            "Integrated gradients go from one baseline, and this one draws several: give it "
            "draws=1, or take their mean over baselines of different seeds."
        )
    known_block(potential.config, block)
    frame = frame.trimmed()
    batch = make_batch(frame, potential.config, dtype=potential.dtype)
    return attribute(potential, batch, block, baseline.values(potential, frame), points)


def attribute(
    potential: Potential, batch: Batch, block: str | None, values: Values, points: int = 30
) -> Attribution:
    """`integrated_gradients` of the one structure of a batch, with known values to begin from."""
    while True:
        found = _along(potential, batch, block, values, points)
        if found.is_complete:
            return found
        if points >= MOST_POINTS:
            log.warning(
                "The shares sum to %.4f eV, the change is %.4f eV: with %d points the integral is "
                "not found to %g of it. Read shares smaller than the difference as nothing",
                found.change + found.error,
                found.change,
                points,
                TOLERANCE,
            )
            return found
        points = min(2 * points + 2, MOST_POINTS)


def _along(
    potential: Potential, batch: Batch, block: str | None, values: Values, points: int
) -> Attribution:
    config, dtype = potential.config, potential.dtype
    shapes = shapes_of(config, batch.numbers.shape[1], states=False)
    size = cases_at_once(shapes)
    place, weight = np.polynomial.legendre.leggauss(points)
    # both ends come along, without weight: for the change, and for the slope as trained
    place, weight = np.append((place + 1) / 2, [0, 1]), np.append(weight / 2, [0, 0])
    copies = batch[np.zeros(size, int)]
    others = {name: np.zeros((size, *shape), dtype) for name, shape in shapes.items()}
    for name in shapes.keys() & values.keys():
        others[name][tuple(slice(n) for n in (size, *values[name].shape[1:]))] = values[name]
    shares = {name: np.zeros(shape) for name, shape in shapes.items()}
    energies = []
    for start in range(0, len(place), size):
        t, w = place[start : start + size], weight[start : start + size]
        full = np.append(t, np.ones(size - len(t)))
        gates = {
            name: np.broadcast_to(
                full.reshape(-1, 1, 1, 1, 1) if block in (None, name) else 1.0, (size, *shape)
            )
            for name, shape in shapes.items()
        }
        with precision_context(dtype):
            switches = as_switches(gates, others, dtype)
            found, slopes = jax.device_get(
                _slopes(potential.device_params, copies, switches, config)
            )
        energies.append(np.asarray(found, np.float64)[: len(t)])
        for name, slope in slopes.items():
            by_point = np.asarray(slope, np.float64)[:, : len(t)]
            shares[name] += np.einsum("lg...,g->l...", by_point, w)
        last = {name: np.asarray(v, np.float64)[:, len(t) - 1] for name, v in slopes.items()}
    scale, kept = potential.energy_scale, [block] if block else list(shapes)
    before, after = np.concatenate(energies)[-2:]
    return Attribution(
        {name: shares[name] * scale for name in kept},
        {name: last[name] * scale for name in kept},
        float(after - before) * scale,
        points,
    )


@partial(Compiled, static_argnames="config")
def _slopes(
    params: dict, batch: Batch, switches: Switches, config: ModelConfig
) -> tuple[Float[Array, "graphs"], dict[str, Float[Array, "layers graphs atoms atoms _channels"]]]:
    """Energies and their derivatives by every gate, in the network's own unit."""

    def energies(gates: dict[str, Array]) -> Array:
        named = {
            name: jnp.stack([gate, switches[name][..., 1]], axis=-1) for name, gate in gates.items()
        }
        return energy(params, batch, config, collect_for_reverse, named)

    values, pull = jax.vjp(energies, {name: v[..., 0] for name, v in switches.items()})
    return values, pull(jnp.ones_like(values))[0]
