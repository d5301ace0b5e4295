"""Does attention explain? An instrument that can say no.

A method that says which pairs matter makes a claim that can be tested: take the pairs away that it
calls important, and the answer should change more than when others go. So pairs are deleted in the
method's order, most important first, a few at a time, until all are gone. The curve of the change,
as a share of the change when all are gone, has an area: **deletion**, the larger the better. The
other way round, all are gone at first and come back in that order: what is still missing has an
area too, **insertion**, the smaller the better. One without the other misleads where pairs stand in
for each other or cancel, so they are judged by the **gap** between both. Its chance level is 0: of
random orders both areas are the same on average, whatever the network. Distance says what is known
without a network. Attention *explains* here if its gap is larger than both.

Beside the curves stand, against what each pair does when taken away alone: rank correlation,
overlap of the most important ones and agreement of signs; and how stable a method's order is, over
frames of one molecule, over rotations (an invariant method has 1 there), against networks trained
from other seeds, and against an untrained network. An order that an untrained network gives as
well was not learned.

Deleting is an intervention on the network, with a `Baseline` in the pairs' place; zero is off what
it was trained on, so look at more than one.

Source: deletion and insertion, Petsiuk et al., BMVC 2018; the untrained network, Adebayo et al.,
NeurIPS 2018; the question, Jain & Wallace, NAACL 2019.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from so3krates_lite.errors import UserError, require
from so3krates_lite.interpret.baselines import ZERO, Baseline, Values, known_block
from so3krates_lite.interpret.interventions import Effect, effects
from so3krates_lite.interpret.rankings import (
    ALONE,
    METHODS,
    Ranking,
    agreement_of_order,
    agreement_of_rankings,
    agreement_of_signs,
    curve_cases,
    overlap_of_top,
    ranked,
)
from so3krates_lite.potential import Potential
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch

if TYPE_CHECKING:
    import plotly.graph_objects as go

ANSWERS = ("energy", "forces")
STABLE = ("frames", "rotations", "seeds", "untrained")


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """How well each of ``methods`` says what matters; arrays over methods and frames.

    Args:
        methods: see `rankings`
        block, baseline: which coefficients were changed, and what stood in for them
        fraction: of the pairs, at which the curves are known
        deletion, insertion: by "energy" and "forces": the change from the trained answer, as a
            share of the change when all pairs are gone
        order, beyond, top: likewise: rank correlation with the pairs' effects one by one, the
            same at equal distance (partial), and overlap of the most important ``n_top``
        signs: share of the pairs whose sign is that of their effect on the energy; nan: no signs
        stability: by "frames", "rotations", "seeds", "untrained": mean rank correlation of each
            method's order with itself; nan: not known
        incomplete: how far integrated gradients miss the change, as a share of it, by frame
        whole: change of energy (eV) and of forces (eV/Å) when all pairs are gone, by frame
        n_pairs: directed pairs by frame
        cases, seconds: interventions that were computed, and how long everything took
    """

    methods: tuple[str, ...]
    block: str
    baseline: str
    fraction: Float[np.ndarray, "steps"]
    deletion: dict[str, Float[np.ndarray, "methods frames steps"]]
    insertion: dict[str, Float[np.ndarray, "methods frames steps"]]
    order: dict[str, Float[np.ndarray, "methods frames"]]
    beyond: dict[str, Float[np.ndarray, "methods frames"]]
    top: dict[str, Float[np.ndarray, "methods frames"]]
    n_top: int
    signs: Float[np.ndarray, "methods frames"]
    stability: dict[str, Float[np.ndarray, "methods"]]
    incomplete: Float[np.ndarray, "frames"]
    whole: dict[str, Float[np.ndarray, "frames"]]
    n_pairs: Float[np.ndarray, "frames"]
    cases: int
    seconds: float

    def area(
        self, answer: str = "forces", *, insertion: bool = False
    ) -> Float[np.ndarray, "methods frames"]:
        """Area below each curve; 0.5 is that of a straight line."""
        curves = (self.insertion if insertion else self.deletion)[answer]
        return np.trapezoid(curves, self.fraction, axis=-1)

    def gap(self, answer: str = "forces") -> Float[np.ndarray, "methods frames"]:
        """Deletion less insertion: 0 by chance, the larger the better."""
        return self.area(answer) - self.area(answer, insertion=True)

    def rows(self, answer: str = "forces") -> list[dict[str, str | float]]:
        """The table: one row per method, means over frames, and the gap's standard deviation."""
        if answer not in ANSWERS:
            raise UserError(f"answer = {answer!r} is not known: choose one of {ANSWERS}.")
        found = []
        deletion, insertion = self.area(answer), self.area(answer, insertion=True)
        gap = self.gap(answer)
        for n, method in enumerate(self.methods):
            row = {
                "method": method,
                "deletion": deletion[n].mean(),
                "insertion": insertion[n].mean(),
                "gap": gap[n].mean(),
                "±": gap[n].std(),
                "rank": _mean(self.order[answer][n]),
                "at equal distance": _mean(self.beyond[answer][n]),
                f"top {self.n_top}": self.top[answer][n].mean(),
                "signs": _mean(self.signs[n]),
            }
            found.append(row | {name: self.stability[name][n] for name in STABLE})
        return found

    def figure(self, answer: str = "forces") -> go.Figure:
        """The curves of all methods, means over frames with bands."""
        from so3krates_lite.drawing.importance import deletion_curves

        self.rows(answer)  # refuses an answer that is not known
        of_other = {name for other, name in ALONE.items() if other != answer}
        by_method = [
            {
                name: curve
                for name, curve in zip(self.methods, curves[answer], strict=True)
                if name not in of_other
            }
            for curves in (self.deletion, self.insertion)
        ]
        title = f"{self.block} block, baseline '{self.baseline}', {len(self.n_pairs)} frames"
        return deletion_curves(self.fraction, *by_method, answer=answer, title=title)

    def table(self, answer: str = "forces") -> str:
        """The rows as text, with what they mean."""
        rows = self.rows(answer)
        names = list(rows[0])
        cells = [names] + [[_cell(row[name]) for name in names] for row in rows]
        widths = [max(len(line[n]) for line in cells) for n in range(len(names))]
        lines = [
            "  ".join(c.ljust(w) if n == 0 else c.rjust(w) for n, (c, w) in enumerate(both))
            for both in (zip(line, widths, strict=True) for line in cells)
        ]
        return "\n".join([*lines, "", *self.remarks(answer)])

    def remarks(self, answer: str = "forces") -> list[str]:
        """What the table allows one to say, and how it came about."""
        frames, chance = self.signs.shape[1], self.n_top / self.n_pairs.mean()
        unit = "eV" if answer == "energy" else "eV/Å"
        return [
            self.verdict(answer),
            f"Change of {answer}, as a share of {self.whole[answer].mean():.3g} {unit} when all "
            f"{self.n_pairs.mean():.0f} pairs of the {self.block} block are set to the baseline "
            f"'{self.baseline}'; {frames} frames. By chance {chance:.2f} of the top {self.n_top} "
            f"agree.",
            f"Integrated gradients miss the change by {self.incomplete.max():.1e} of it at most. "
            f"{self.cases} cases in {self.seconds:.0f} s, all included.",
        ]

    def verdict(self, answer: str = "forces") -> str:
        """Whether attention may be read as importance here, in one sentence."""
        gap = dict(zip(self.methods, self.gap(answer), strict=True))
        attention, frames = gap["attention"], len(self.n_pairs)

        def wins(other: str) -> int:
            return int((attention > gap[other]).sum())

        told = (
            f"Of the {answer}, attention knows which pairs matter better than random orders in "
            f"{wins('random')} of {frames} frames, and better than distance in "
            f"{wins('distance')}: "
        )
        if frames < 6:  # where all of them agree by chance once in 32 times or more often
            return told + f"{frames} frames are too few to say what that means."
        clear = int(np.ceil(0.9 * frames))
        if wins("random") < clear:
            return told + "do not read it as importance here."
        if wins("distance") >= clear:
            return told + "it orders pairs by what they do, beyond what distance says."
        if (attention < gap["distance"]).sum() >= clear:
            return told + "it tells important pairs from others, but distance does so better."
        return told + "it tells important pairs from others, but not surely better than distance."


def faithfulness(
    potential: Potential,
    frames: Frames,
    *,
    block: str | None = None,
    baseline: Baseline = ZERO,
    steps: int = 10,
    orders: int = 3,
    top: int = 10,
    seed: int = 0,
    others: Sequence[Potential] = (),
    stability: bool = True,
    allow_unknown_elements: bool = False,
) -> Faithfulness:
    """Test every method of `rankings` on frames: curves, agreement with effects, stability.

    Args:
        frames: of one molecule or of several; some ten give means with bands
        block: whose coefficients are changed, the rest staying as trained; None: the first block
        baseline: what they are set to; with one draw
        steps: points of the curves beside the start
        orders: random orders per frame
        top: how many pairs count as the most important
        seed: of random orders and rotations, and of the untrained network
        others: the same model trained from other seeds, for the stability over them
        stability: compute orders of rotated frames, and of other and untrained networks, too
        allow_unknown_elements: see `Potential.predict`

    Raises:
        UserError: an unknown block, a baseline of other atoms or of several draws
    """
    begin = time.perf_counter()
    block = known_block(potential.config, block)
    for name, value in (("steps", steps), ("orders", orders), ("top", top)):
        require(value >= 1, name, value, "a positive whole number")
    if baseline.size > 1:
        raise UserError("Curves need one value in each place: give the baseline draws=1.")
    if len(frames) == 0:
        raise UserError("There is no structure in the set: at least one is needed.")
    if not allow_unknown_elements:
        potential.check_elements(frames.numbers)
    frames = frames.trimmed()
    rng = np.random.default_rng(seed)
    if baseline.kind != "zero":
        for k in range(len(frames)):
            baseline.donors(frames[k])  # coefficients of one molecule serve all its frames
    bench = _Bench.of(potential, frames, block, baseline)
    measured = [_of_frame(bench, k, steps, orders, rng) for k in range(len(frames))]
    rankings = [one.ranking for one in measured]
    stable = dict.fromkeys(STABLE, np.full(len(METHODS), np.nan))
    if len(frames) > 1 and (frames.numbers == frames.numbers[0]).all():
        stable["frames"] = _stable(rankings[:-1], rankings[1:])
    if stability:

        def agreement(model: Potential, those: Frames) -> Float[np.ndarray, "methods"]:
            again = _Bench.of(model, those, block, baseline)
            return _stable(rankings, [again.ranking(k, rng) for k in range(len(those))])

        stable["rotations"] = agreement(potential, _turned(frames, rng))
        untrained = Potential.random(potential.config, seed).astype(str(potential.dtype))
        stable["untrained"] = agreement(untrained, frames)
        if others:
            stable["seeds"] = np.mean([agreement(other, frames) for other in others], axis=0)

    def over_frames(name: str) -> dict[str, np.ndarray]:
        held = [getattr(one, name) for one in measured]
        return {answer: np.stack([v[answer] for v in held], axis=1) for answer in ANSWERS}

    def against_effects(how) -> dict[str, Float[np.ndarray, "methods frames"]]:
        return {
            answer: np.array([[how(r, m, ALONE[answer]) for r in rankings] for m in METHODS])
            for answer in ANSWERS
        }

    return Faithfulness(
        METHODS,
        block,
        baseline.kind,
        np.linspace(0, 1, steps + 1),
        over_frames("deletion"),
        over_frames("insertion"),
        against_effects(lambda r, m, n: agreement_of_order(r.score[m], r.score[n])),
        against_effects(_beyond_distance),
        against_effects(lambda r, m, n: overlap_of_top(r.score[m], r.score[n], top)),
        top,
        against_effects(lambda r, m, n: agreement_of_signs(r.score[m], r.score[n]))["energy"],
        stable,
        np.array([r.incomplete for r in rankings]),
        {answer: np.array([one.whole[answer] for one in measured]) for answer in ANSWERS},
        np.array([float(len(r.pairs)) for r in rankings]),
        sum(one.cases for one in measured),
        time.perf_counter() - begin,
    )


@dataclass(frozen=True, eq=False)
class _Measured:
    """Of one frame: its ranking, curves [methods, steps] by answer, and the change in all."""

    ranking: Ranking
    deletion: dict[str, Float[np.ndarray, "methods steps"]]
    insertion: dict[str, Float[np.ndarray, "methods steps"]]
    whole: dict[str, float]
    cases: int


@dataclass(frozen=True, eq=False)
class _Bench:
    """A potential, frames as batches of one shape, and what is put in place of coefficients."""

    potential: Potential
    frames: Frames
    batch: Batch
    block: str
    values: Values

    @classmethod
    def of(cls, potential: Potential, frames: Frames, block: str, baseline: Baseline) -> _Bench:
        batch = make_batch(frames, potential.config, spare=True, dtype=potential.dtype)
        return cls(potential, frames, batch, block, baseline.values(potential, frames[0]))

    def ranking(self, k: int, rng: np.random.Generator) -> Ranking:
        record = self.potential.attention(self.frames[k], allow_unknown_elements=True)
        if record.neighbours(self.block).n_pairs == 0:
            raise UserError(
                f"Frame {k} has no pair in the {self.block} block, and so no attention to test: "
                f"leave it out."
            )
        return ranked(self.potential, self.batch[[k]], record, self.block, self.values, rng)


def _of_frame(
    bench: _Bench, k: int, steps: int, orders: int, rng: np.random.Generator
) -> _Measured:
    """Curves of all methods, and of several random orders, of which the mean is kept."""
    ranking, block = bench.ranking(k, rng), bench.block
    n = len(ranking.pairs)
    counts = np.round(np.linspace(0, n, steps + 1)).astype(int)
    several = [ranking]
    for _ in range(orders - 1):
        score = ranking.score | {"random": rng.permutation(n) + 1.0}
        several.append(Ranking(ranking.pairs, score, ranking.incomplete, 0))
    which = [(ranking, method) for method in METHODS[:-1]] + [(r, "random") for r in several]
    cases = []
    for one, method in which:
        for insert in (False, True):
            cases += curve_cases(one, method, block, counts, insert=insert)
    effect = effects(bench.potential, bench.batch[[k]], cases, bench.values)
    deletion, insertion, whole = {}, {}, {}
    for answer in ANSWERS:
        size = _size(effect, answer).reshape(len(which), 2, steps + 1)
        whole[answer] = float(size[0, 0, -1])
        share = size / max(whole[answer], 1e-12)
        curves = np.concatenate([share[: -len(several)], share[-len(several) :].mean(0)[None]])
        deletion[answer], insertion[answer] = curves[:, 0], curves[:, 1]
    return _Measured(ranking, deletion, insertion, whole, len(cases) + ranking.cases)


def _beyond_distance(ranking: Ranking, method: str, effect: str) -> float:
    if method == "distance":
        return np.nan
    return agreement_of_order(*(ranking.score[m] for m in (method, effect, "distance")))


def _size(effect: Effect, answer: str) -> Float[np.ndarray, "cases"]:
    return np.abs(effect.energy) if answer == "energy" else effect.force_size


def _stable(some: Sequence[Ranking], others: Sequence[Ranking]) -> Float[np.ndarray, "methods"]:
    """Mean rank correlation of each method's orders, one by one."""
    found = [agreement_of_rankings(*both) for both in zip(some, others, strict=True)]
    return np.array([_mean(np.array([one[name] for one in found])) for name in METHODS])


def _turned(frames: Frames, rng: np.random.Generator) -> Frames:
    """Each frame turned at random, its cell as well."""
    from scipy.spatial.transform import Rotation

    turns = Rotation.random(len(frames), rng=rng).as_matrix()
    positions = np.einsum("fij,faj->fai", turns, frames.positions)
    cell = None if frames.cell is None else np.einsum("fij,fcj->fci", turns, frames.cell)
    return frames.replace(positions=positions, cell=cell, forces=None, stress=None)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return "" if np.isnan(value) else f"{value:.3f}"
