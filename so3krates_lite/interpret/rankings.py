"""Which directed pairs matter most? Orders of pairs by attention, by attribution, by effect.

Each method gives every pair one score, summed over the layers and channels of a block. Some have a
sign: of a coefficient, or of a share of the energy. The order is that of sizes.

* *attention*: the factor in front of the message; size: root of the summed squares
* *contribution*: length of what the pair adds, root of the summed squares
* *gradient x attention* and *integrated gradients*: shares of the energy, see `attribution`
* *one by one*: what taking this pair away alone does to the energy, and to the forces
* *distance*: the nearer the more important. What needs no network to be known
* *random*: an order that knows nothing
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from so3krates_lite.interpret.attribution import attribute
from so3krates_lite.interpret.baselines import Values
from so3krates_lite.interpret.interventions import Place, effects
from so3krates_lite.interpret.switching import pairs_of
from so3krates_lite.potential import Potential
from so3krates_lite.record import analysis
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.structures.graph import Batch

ALONE = {"energy": "one by one, energy", "forces": "one by one, forces"}
KNOWN_BY_ALL = ("distance", "random")
METHODS = (
    "attention",
    "contribution",
    "gradient x attention",
    "integrated gradients",
    *ALONE.values(),
    *KNOWN_BY_ALL,
)


@dataclass(frozen=True, eq=False)
class Ranking:
    """Scores of the directed pairs of one frame by each method of `METHODS`.

    Args:
        pairs: (receiver, sender)
        score: signed where the method has a sign; its size is the importance
        incomplete: how far integrated gradients are from summing to the change, as a share of it
        cases: interventions that were computed
    """

    pairs: Int[np.ndarray, "pairs 2"]
    score: dict[str, Float[np.ndarray, "pairs"]]
    incomplete: float
    cases: int

    def order(self, method: str) -> Int[np.ndarray, "pairs"]:
        """The pairs, most important first; equal ones as they are listed."""
        return np.argsort(-np.abs(self.score[method]), kind="stable")


def ranked(
    potential: Potential,
    batch: Batch,
    record: AttentionRecord,
    block: str,
    values: Values,
    rng: np.random.Generator,
) -> Ranking:
    """Scores of the pairs of the one structure of a batch and of a record."""
    pairs = pairs_of(record, block)
    at = tuple(pairs.T)
    every = {"layer": None, "channel": None}

    def summed(quantity: str) -> tuple[np.ndarray, np.ndarray]:
        """Sum, and root of the summed squares, over layers and channels."""
        found = analysis.matrix(record, block, quantity, **every)
        return found.sum(axis=(0, -1))[at], np.sqrt((found**2).sum(axis=(0, -1)))[at]

    signed, attention = summed("weighted")
    shares = attribute(potential, batch, block, values)
    cases = [[Place(block, pairs=pair[None])] for pair in pairs]
    alone = effects(potential, batch, cases, values)
    size = alone.force_size
    score = {
        "attention": np.where(signed < 0, -attention, attention),
        "contribution": summed("contribution")[1],
        "gradient x attention": shares.of_pairs(block, slopes=True)[at],
        "integrated gradients": shares.of_pairs(block)[at],
        ALONE["energy"]: -alone.energy,
        ALONE["forces"]: size,
        "distance": 1 / (1 + _distances(record, block)[at]),
        "random": rng.permutation(len(pairs)) + 1.0,
    }
    return Ranking(pairs, score, abs(shares.error) / max(abs(shares.change), 1e-12), len(cases))


def _distances(record: AttentionRecord, block: str) -> Float[np.ndarray, "atoms atoms"]:
    """Å, of the nearest image."""
    listed = record.neighbours(block)
    nearest = np.full((record.numbers.shape[1],) * 2, np.inf)
    np.minimum.at(nearest, (listed.receiver, listed.sender), listed.distance)
    return nearest


def agreement_of_order(
    a: Float[np.ndarray, "pairs"],
    b: Float[np.ndarray, "pairs"],
    given: Float[np.ndarray, "pairs"] | None = None,
) -> float:
    """Spearman's rank correlation of two scores' sizes; nan where one of them does not vary.

    With ``given`` the partial one: what is left of it once both ranks are freed of what the ranks
    of a third score say of them by a straight line.
    """
    from scipy.stats import rankdata

    if len(a) < 3:
        return np.nan
    ranks = [rankdata(np.abs(v)) for v in (a, b)]
    centred = [r - r.mean() for r in ranks]
    if given is not None:
        third = rankdata(np.abs(given))
        third -= third.mean()
        along = max(third @ third, 1e-12)
        centred = [r - (r @ third) / along * third for r in centred]
    sizes = [np.linalg.norm(r) for r in centred]
    if min(sizes) < 1e-9 * len(a):
        return np.nan
    return float(centred[0] @ centred[1] / (sizes[0] * sizes[1]))


def overlap_of_top(a: Float[np.ndarray, "pairs"], b: Float[np.ndarray, "pairs"], top: int) -> float:
    """Share of the ``top`` largest that both have in common; by chance it is top / pairs."""
    first, second = (set(np.argsort(-np.abs(v), kind="stable")[:top].tolist()) for v in (a, b))
    return len(first & second) / max(min(top, len(a)), 1)


def agreement_of_signs(a: Float[np.ndarray, "pairs"], b: Float[np.ndarray, "pairs"]) -> float:
    """Share of the pairs with one sign in both; by chance about a half, or nan without signs."""
    if not (np.any(a < 0) and np.any(b < 0)):
        return np.nan
    return float(np.mean(np.sign(a) == np.sign(b)))


def curve_cases(
    ranking: Ranking, method: str, block: str, counts: Int[np.ndarray, "steps"], *, insert: bool
) -> list[list[Place]]:
    """The most important ``counts`` pairs taken away; or, with ``insert``, all others."""
    order = ranking.order(method)
    taken = [order[n:] if insert else order[:n] for n in counts.tolist()]
    return [[Place(block, pairs=ranking.pairs[some])] for some in taken]


def common(
    one: Ranking, other: Ranking
) -> tuple[Bool[np.ndarray, "_pairs"], Bool[np.ndarray, "_others"]]:
    """Which pairs of each the other has, too; both lists are in reading order."""
    first, second = ({tuple(pair) for pair in r.pairs.tolist()} for r in (one, other))
    both = first & second
    return tuple(np.array([tuple(p) in both for p in r.pairs.tolist()], bool) for r in (one, other))


def agreement_of_rankings(one: Ranking, other: Ranking) -> dict[str, float]:
    """Rank correlation of each method's scores in two rankings, over the pairs in common."""
    here, there = common(one, other)
    return {
        name: agreement_of_order(one.score[name][here], other.score[name][there])
        for name in METHODS
    }
