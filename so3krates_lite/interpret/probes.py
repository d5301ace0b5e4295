"""Which features know what? Linear probes, judged on molecules that they have not seen.

A probe is the simplest reader there is: ridge regression from an atom's features to something one
can name, an element, a bond angle, a charge. What it predicts on atoms held out tells what lies
open in the features, ready for one matrix product. A probe that fails says that the thing is not
there *linearly*; one that succeeds does not say that the network uses it.

The features are x, and each degree of chi, at the start and after each layer. x is invariant and
goes in as it is. **chi^(l) turns with the molecule**, so no linear map of it can know anything that
does not turn. What goes in are invariants of it, for each degree five numbers,

    |c_i|,  |c_i|^2,  c_i . c,  |c|,  mean_j |c_j|        with c_i = chi_i^(l), c = mean_j c_j

over bonded atoms j: its length, and how it lies to the chi of its neighbours. That is a choice, and
fewer numbers than x has: compare layers and degrees with each other, and degrees with x only with
that in mind.

The score is the share that is explained of what guessing leaves: R^2 of amounts, of classes
(accuracy - share of the most frequent) / (1 - that share). 1 is known exactly, 0 is guessing; it
may be negative. The strength of the ridge is chosen on validation frames. Beside a trained network
stands an untrained one: geometry and elements go through it, too, and what it knows was not learnt.

Source: Alain & Bengio, arXiv:1610.01644 (2016), linear probes; Belinkov, Comput. Linguist. 48, 207
(2022), what they can and cannot say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from so3krates_lite.errors import UserError
from so3krates_lite.harmonics import degree_of_component
from so3krates_lite.interpret.baselines import states_of
from so3krates_lite.interpret.targets import Target, bonds_of
from so3krates_lite.potential import Potential
from so3krates_lite.structures.frames import Frames

if TYPE_CHECKING:
    import plotly.graph_objects as go

STRENGTHS = np.logspace(-6, 4, 21)  # of the ridge, for inputs of variance 1, times the atoms
LEAST = 20  # atoms in each part, or there is no score


@dataclass(frozen=True, eq=False)
class ProbeMap:
    """Scores of every target from every kind of features.

    Args:
        targets, places: names of rows and columns: "x 0" is x at the start, "l=2 1" degree 2 of chi
            after the first layer
        score: mean over splits, see `probes`; nan where a target does not vary or has few atoms
        spread: standard deviation over splits
        atoms: how many atoms each target is asked of
    """

    targets: tuple[str, ...]
    places: tuple[str, ...]
    score: Float[np.ndarray, "targets places"]
    spread: Float[np.ndarray, "targets places"]
    atoms: Int[np.ndarray, "targets"]

    def of(self, target: str, place: str) -> float:
        """One score."""
        for name, known in ((target, self.targets), (place, self.places)):
            if name not in known:
                raise UserError(f"There is no '{name}' here: choose one of {', '.join(known)}.")
        return float(self.score[self.targets.index(target), self.places.index(place)])

    def figure(self, title: str = "") -> go.Figure:
        """The scores as a heat map."""
        from so3krates_lite.drawing.importance import probe_map

        return probe_map(self.score, self.targets, self.places, title=title)


def probe(
    potential: Potential,
    frames: Frames,
    targets: Mapping[str, Target],
    *,
    splits: int = 3,
    seed: int = 0,
) -> ProbeMap:
    """Probe x and every degree of chi, at the start and after each layer.

    Args:
        frames: of one molecule or of many. Atoms of one frame, and frames of one ``group`` where
            groups are stated, are never in two of training, validation and test
        targets: by name, see `targets.named_targets`
        splits: into 60 % to fit, 20 % to choose the ridge, 20 % to judge
        seed: of the splits

    Raises:
        UserError: fewer than five frames (or groups), or a target of another shape
    """
    frames = frames.trimmed()
    inputs = inputs_of(potential, frames)
    for name, target in targets.items():
        if target.values.shape != frames.numbers.shape:
            raise UserError(
                f"The target '{name}' has the shape {target.values.shape}, the atoms of the frames "
                f"{frames.numbers.shape}: give one value per atom."
            )
    group = np.arange(len(frames)) if frames.group is None else frames.group
    if len(np.unique(group)) < 5:
        group = np.arange(len(frames))  # one long walk: its frames are told apart, no more
    if len(np.unique(group)) < 5:
        raise UserError(f"Probes are fitted and judged on frames: {len(frames)} are too few.")
    score = np.full((splits, len(targets), len(inputs)), np.nan)
    for n in range(splits):
        part = _parts(group, np.random.default_rng([seed, n]))
        for t, target in enumerate(targets.values()):
            there = ~np.isnan(target.values) & frames.mask
            of_atom = np.broadcast_to(part[:, None], there.shape)[there]
            sets = [of_atom == k for k in range(3)]
            wanted = target.values[there]
            for p, values in enumerate(inputs.values()):
                score[n, t, p] = fitted(values[there], wanted, sets, target.is_class)
    atoms = [int((~np.isnan(t.values) & frames.mask).sum()) for t in targets.values()]
    return ProbeMap(
        tuple(targets), tuple(inputs), score.mean(axis=0), score.std(axis=0), np.array(atoms)
    )


def inputs_of(
    potential: Potential, frames: Frames
) -> dict[str, Float[np.ndarray, "frames atoms _numbers"]]:
    """What probes read, by place: "x 0", "x 1", …, "l=1 0", …."""
    states = states_of(potential, frames)
    found = {f"x {n}": x for n, x in enumerate(states.x)}
    if states.chi is None:
        return found
    bonded = bonds_of(frames).astype(float)
    degrees = degree_of_component(potential.config.degrees)
    for n, degree in enumerate(potential.config.degrees):
        for state, chi in enumerate(states.chi[..., degrees == n]):
            found[f"l={degree} {state}"] = chi_invariants(chi, bonded)
    return found


def chi_invariants(
    chi: Float[np.ndarray, "frames atoms m"], bonded: Float[np.ndarray, "frames atoms atoms"]
) -> Float[np.ndarray, "frames atoms 5"]:
    """The five invariants of one degree that the module's head lists."""
    length = np.linalg.norm(chi, axis=-1)
    share = bonded / np.maximum(bonded.sum(axis=2, keepdims=True), 1)
    mean = share @ chi
    inner, size = (chi * mean).sum(axis=-1), np.linalg.norm(mean, axis=-1)
    around = (share @ length[..., None])[..., 0]
    return np.stack([length, length**2, inner, size, around], axis=-1)


def fitted(
    inputs: Float[np.ndarray, "atoms numbers"],
    wanted: Float[np.ndarray, "atoms"],
    sets: list[Bool[np.ndarray, "atoms"]],
    is_class: bool,
) -> float:
    """Score on the last of three sets, of a ridge fitted on the first and chosen on the second."""
    train, valid, test = sets
    if min(part.sum() for part in sets) < LEAST or np.ptp(wanted[train]) == 0:
        return np.nan
    classes = np.unique(wanted[train]) if is_class else None
    Y = (wanted[:, None] == classes).astype(float) if is_class else wanted[:, None]
    centre, scale = inputs[train].mean(axis=0), inputs[train].std(axis=0)
    X = (inputs - centre) / np.where(scale > 1e-12 * np.abs(centre).max(initial=1), scale, np.inf)
    level = Y[train].mean(axis=0)
    # by the matrix of inner products, which is small however many atoms there are
    along, axes = np.linalg.eigh(X[train].T @ X[train])
    wanted_along = axes.T @ (X[train].T @ (Y[train] - level))

    def predicted(strength: float, rotated: np.ndarray) -> np.ndarray:
        return rotated @ (wanted_along / (along + strength * train.sum())[:, None]) + level

    rotated = X[valid] @ axes
    missed = [((predicted(one, rotated) - Y[valid]) ** 2).sum() for one in STRENGTHS]
    found = predicted(STRENGTHS[int(np.argmin(missed))], X[test] @ axes)
    if is_class:
        guess = np.mean(wanted[test] == classes[np.argmax(level)])
        right = np.mean(wanted[test] == classes[np.argmax(found, axis=1)])
        return float((right - guess) / (1 - guess)) if guess < 1 else np.nan
    spread = ((wanted[test] - wanted[test].mean()) ** 2).sum()
    return float(1 - ((found[:, 0] - wanted[test]) ** 2).sum() / spread) if spread > 0 else np.nan


def _parts(group: Int[np.ndarray, "frames"], rng: np.random.Generator) -> Int[np.ndarray, "frames"]:
    """0, 1 or 2 for each frame: to fit, to choose, to judge; the same within a group."""
    names, place = np.unique(group, return_inverse=True)
    order = rng.permutation(len(names))
    part = np.zeros(len(names), int)
    third = max(len(names) // 5, 1)
    part[order[:third]], part[order[third : 2 * third]] = 2, 1
    return part[place.reshape(-1)]
