"""Active learning: an ensemble moves a molecule until its members disagree, and asks there.

Labels are what costs. A round takes the potential of all labels so far, lets hot dynamics run with
it from frames that are labelled, stops each walk where the members' forces lie too far apart, has
the frames labelled by GFN2-xTB (`datasets.reference`), and trains anew. Whether choosing frames so
is worth anything is seen only beside another choice of as many, with the same training:

* "disagreement": as told. A walk on which members agree to the end gives the frame where they did
  so least;
* "random-time": the same dynamics with an ensemble of its own, labelled at a time that was drawn
  before. What differs is the choice alone, so this is the fair opponent of disagreement;
* "pool": frames drawn at random from a pool of dynamics that GFN2-xTB itself drove, the
  bundled set's. They are of the very distribution of the test frames, and the pool has cost eighty
  steps of the reference method for each frame. Where it can be had, it is the harder opponent.

All begin from the same frames of the pool. Every fifth label validates; validation frames are
labels, and count. Errors are judged on two fixed sets that nobody chose from: other walks of the
bundled set at its 500 K, and hot ones at the temperature of the exploration.

Needs the extra `generate`; the bundled results (`stored_points`) are read without.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets import load
from so3krates_lite.datasets.frames_file import save_frames
from so3krates_lite.datasets.generate import FRICTION, Recipe, Species
from so3krates_lite.datasets.reference import METHOD, Topology, label, starting_structure
from so3krates_lite.datasets.splits import Split, group_or_random_split
from so3krates_lite.drawing.look import PALETTE
from so3krates_lite.ensemble import Ensemble, atomic_deviation
from so3krates_lite.errors import UserError, require
from so3krates_lite.experiments.points import curve_of, read_points, write_points
from so3krates_lite.runtime.settings import hardware
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig, train
from so3krates_lite.training.evaluation import evaluate
from so3krates_lite.units import BOLTZMANN, convert

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from so3krates_lite.training.progress import Progress

MODEL = So3kratesConfig(
    features=36, layers=2, heads=3, radial_hidden=48, spherical_hidden=16, sphc_start="smooth"
)
SETTINGS = TrainConfig(batch_size=4, schedule="cosine", members=4)
STRATEGIES = ("disagreement", "random-time", "pool")
LABELS = (20, 40, 80)
STEPS = 600  # of each training
STORED = "active_learning.csv"  # the bundled results
VALIDATES = 5  # one label in so many


@dataclass(frozen=True)
class Exploration:
    """How a molecule is moved in search of frames.

    Args:
        temperature: of the Langevin dynamics, K
        steps: of a walk, at most
        time_step: fs
        threshold: a walk stops where the force on some atom deviates by so much, eV/Å
    """

    temperature: float = 800.0
    steps: int = 300
    time_step: float = 0.5
    threshold: float = 0.3

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            require(0 < value < math.inf, name, value, "a finite number above 0")


@dataclass(frozen=True)
class ActivePoint:
    """One trained ensemble: its labels, its errors on both test sets (eV, eV/Å), its next walks."""

    strategy: str
    seed: int  # of the first frames, the weights and the walks
    labels: int
    energy_mae: float
    force_mae: float
    hot_energy_mae: float
    hot_force_mae: float
    hot_force_rmse: float
    hot_force_worst: float  # of 99 of 100 atoms the error of the force is smaller
    walked: float  # fs, mean length of the walks that the ensemble drove; 0: none
    intact: float  # the fraction of them on which no bond broke or formed
    minutes: float  # wall time of the training

    def row(self) -> dict[str, float | str]:
        """A line of a table."""

        def kcal(eV: float) -> float:
            return round(convert(eV, "eV", "kcal/mol"), 3)

        return {
            "strategy": self.strategy,
            "seed": self.seed,
            "labels": self.labels,
            "energy MAE (kcal/mol)": kcal(self.energy_mae),
            "force MAE (kcal/mol/Å)": kcal(self.force_mae),
            "hot: energy MAE (kcal/mol)": kcal(self.hot_energy_mae),
            "hot: force MAE (kcal/mol/Å)": kcal(self.hot_force_mae),
            "hot: force, 99 % (kcal/mol/Å)": kcal(self.hot_force_worst),
            "walk (fs)": round(self.walked, 1),
            "intact": round(self.intact, 2),
        }


# -- walks ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Walk:
    """Where a walk ended: the frame to label, how far it came, and whether all bonds held."""

    positions: Float[np.ndarray, "atoms 3"]
    steps: int
    intact: bool


def walk(
    ensemble: Ensemble,
    start: Atoms,
    topology: Topology,
    exploration: Exploration,
    rng: np.random.Generator,
    until: int | None = None,
) -> Walk:
    """Dynamics with the mean of an ensemble, until its members disagree or a bond breaks.

    Args:
        ensemble: what moves the atoms
        start: where from; velocities are drawn
        topology: the bonds that have to hold; of a walk that loses one the last whole frame counts
        exploration: temperature, length and threshold
        rng: of velocities and thermostat
        until: end at this step, whatever the members say
    """
    deviations, positions = [], []
    for atoms in _dynamics(ensemble, start, exploration, rng):
        deviation = atomic_deviation(atoms.calc.results["forces_std"]).max()
        if not (np.isfinite(deviation) and topology.intact(atoms.positions)):
            place = int(np.argmax(deviations)) if until is None and deviations else -1
            kept = positions[place] if positions else start.positions
            return Walk(kept, len(positions), False)
        deviations.append(float(deviation))
        positions.append(atoms.positions.copy())
        if until is None and deviation > exploration.threshold:
            return Walk(positions[-1], len(positions), True)
        if until is not None and len(positions) == until:
            return Walk(positions[-1], until, True)
    return Walk(positions[int(np.argmax(deviations))], len(positions), True)


def _dynamics(
    ensemble: Ensemble, start: Atoms, exploration: Exploration, rng: np.random.Generator
) -> Iterator[Atoms]:
    """The atoms after each step."""
    from ase import units
    from ase.md.langevin import Langevin

    from so3krates_lite.simulate.calculator import So3kratesCalculator

    atoms = start.copy()
    atoms.calc = So3kratesCalculator(ensemble, precision="float32")
    spread = np.sqrt(atoms.get_masses() * BOLTZMANN * exploration.temperature)
    atoms.set_momenta(spread[:, None] * rng.standard_normal((len(atoms), 3)))
    bath = Langevin(
        atoms,
        exploration.time_step * units.fs,
        temperature_K=exploration.temperature,
        friction=FRICTION / units.fs,
        fixcm=False,
        rng=rng,
    )
    for _ in range(exploration.steps):
        bath.run(1)
        yield atoms


def explore(
    ensemble: Ensemble,
    labelled: Frames,
    n: int,
    exploration: Exploration,
    seed: Sequence[int],
    strategy: str,
) -> tuple[Frames, list[Walk]]:
    """``n`` new frames with their labels, each from a walk that began at a labelled frame."""
    start, _ = starting_structure("ethanol")
    topology, rng = Topology.of(start), np.random.default_rng(seed)
    walks = []
    for k in rng.integers(len(labelled), size=n):
        start.positions = labelled.positions[k]
        until = int(rng.integers(1, exploration.steps + 1)) if strategy == "random-time" else None
        walks.append(walk(ensemble, start, topology, exploration, rng, until))
    positions = np.array([w.positions - w.positions.mean(axis=0) for w in walks])
    positions = positions.astype(np.float32).astype(float)  # labelled as they are stored
    energy, forces, _ = label(start, 0, positions)
    numbers = np.tile(start.numbers, (n, 1))
    return Frames(numbers=numbers, positions=positions, energy=energy, forces=forces), walks


def hot_frames(exploration: Exploration, n: int, seed: int = 1) -> Frames:
    """Ethanol at the temperature of the exploration, by dynamics of the reference method."""
    walkers = max(n // 20, 1)
    species = (Species("ethanol", 0, n, n_walkers=walkers, interval=80, time_step=0.5),)
    name = f"ethanol-gfn2, {exploration.temperature:g} K"
    recipe = Recipe(name, name, species, temperature=exploration.temperature)
    return recipe.make(None, seed, progress=False)


# -- rounds ---------------------------------------------------------------------------------------


def active_learning(
    frames: Frames,
    *,
    labels: Sequence[int] = LABELS,
    strategies: Sequence[str] = STRATEGIES,
    seeds: Sequence[int] = (0, 1, 2),
    n_test: int = 400,
    n_hot: int = 200,
    model: So3kratesConfig = MODEL,
    settings: TrainConfig = SETTINGS,
    steps: int = STEPS,
    exploration: Exploration | None = None,
    folder: str | Path,
    progress: Progress | None = None,
) -> list[ActivePoint]:
    """Rounds of each strategy from each seed, every ensemble judged on the same test frames.

    What the folder holds already is taken: points, labelled frames and ensembles.

    Args:
        frames: of ethanol, labelled by GFN2-xTB: half of their walkers are the pool, others test
        labels: how many there are after each round; the first ones are drawn from the pool
        strategies: of `STRATEGIES`
        seeds: each has first frames, weights and walks of its own
        n_test, n_hot: frames to judge by, of the set and of hot dynamics
        model, settings: of the members; their number is ``settings.members``
        steps: training steps of every ensemble
        exploration: how molecules are moved; None: `Exploration`'s defaults
        folder: where everything is kept

    Raises:
        UserError: an argument is not possible, or tblite is not installed
    """
    for strategy in strategies:
        require(strategy in STRATEGIES, "strategy", strategy, f"one of {', '.join(STRATEGIES)}")
    require(settings.members > 1, "members", settings.members, "two or more, which can disagree")
    if min(labels) < 2 * VALIDATES or list(labels) != sorted(set(labels)):
        raise UserError(
            f"labels = {labels}: give rising numbers, the first {2 * VALIDATES} or more."
        )
    exploration, folder = exploration or Exploration(), Path(folder)
    split = group_or_random_split(frames, len(frames) // 2, 100, n_test)
    pool, test = frames[split.train], frames[split.test]
    hot = kept(folder / "hot.npz", lambda: hot_frames(exploration, n_hot))
    study = Study(model, settings, steps, max(labels), folder, progress)
    facts = {
        "hardware": hardware(),
        **network_facts(model, settings),
        "exploration": vars(exploration),
        "steps": steps,
        "test frames": len(test),
        "hot frames": len(hot),
    }
    path = folder / STORED
    points: list[ActivePoint] = []
    if path.is_file():
        alike = {name: value for name, value in facts.items() if name != "hardware"}
        points, _ = read_points(path, ActivePoint, alike)
    known = {(p.strategy, p.seed, p.labels) for p in points}
    for seed in seeds:
        drawn = np.random.default_rng([seed, 0]).permutation(len(pool))
        first = pool[drawn[: labels[0]]]
        for strategy in strategies:
            labelled, place = plain(first), folder / f"{strategy}-{seed}"
            for n, following in zip(labels, [*labels[1:], None], strict=True):
                file = place / f"{following}.npz"
                if (strategy, seed, n) in known and (following is None or file.is_file()):
                    labelled = load(file) if following else labelled
                    continue
                where = folder / f"first-{seed}" if n == labels[0] else place
                ensemble = study.trained(labelled, seed, where / f"{n}.safetensors")
                walks: list[Walk] = []
                if following and strategy == "pool":
                    new = plain(pool[drawn[n:following]])
                elif following:
                    number = [seed, n, STRATEGIES.index(strategy)]
                    new, walks = explore(
                        ensemble, labelled, following - n, exploration, number, strategy
                    )
                if following:
                    labelled = Frames.concatenate([labelled, new])
                    save_frames(labelled, file)
                points = [
                    p for p in points if (p.strategy, p.seed, p.labels) != (strategy, seed, n)
                ]
                points.append(judged(ensemble, test, hot, strategy, seed, n, walks, exploration))
                write_points(path, points, facts)
    return points


def plain(frames: Frames) -> Frames:
    """Structures, energies and forces alone, of whatever origin."""
    return Frames(
        numbers=frames.numbers,
        positions=frames.positions,
        energy=frames.energy,
        forces=frames.forces,
    )


def kept(path: Path, make: Callable[[], Frames]) -> Frames:
    """The frames of a file, or what is made and kept there."""
    if not path.is_file():
        save_frames(make(), path)
    return load(path)


@dataclass(frozen=True)
class Study:
    """How every ensemble of a study is trained: only the labelled frames differ."""

    model: So3kratesConfig
    settings: TrainConfig
    steps: int
    most: int  # labels of the last round
    folder: Path
    progress: Progress | None

    def trained(self, labelled: Frames, seed: int, path: Path) -> Ensemble:
        """The ensemble of a file, or one that is trained on ``labelled`` and kept there.

        Frames are repeated to the number of the last round, so that all trainings take the same
        steps, validate equally often, and are compiled once.
        """
        if path.is_file():
            return Ensemble.load(path)
        index = np.arange(len(labelled))
        validates = index % VALIDATES == VALIDATES - 1
        n_valid = self.most // VALIDATES
        parts = (
            np.resize(index[~validates], self.most - n_valid),
            np.resize(index[validates], n_valid),
        )
        n_train = len(parts[0])
        split = Split(np.arange(n_train), n_train + np.arange(n_valid), [], seed, "random")
        epochs = max(round(self.steps / (n_train // self.settings.batch_size)), 1)
        seed *= self.settings.members  # no two seeds share a member
        result = train(
            labelled[np.concatenate(parts)],
            split,
            model=self.model,
            settings=replace(self.settings, epochs=epochs, seed=seed),
            progress=self.progress,
            card={"labels": len(labelled), "level of theory": METHOD},
        )
        result.potential.save(path)
        return result.potential


def judged(
    ensemble: Ensemble,
    test: Frames,
    hot: Frames,
    strategy: str,
    seed: int,
    labels: int,
    walks: Sequence[Walk],
    exploration: Exploration,
) -> ActivePoint:
    """The errors of an ensemble's mean, and how its walks went."""
    cold, _ = evaluate(ensemble, test)
    warm, found = evaluate(ensemble, hot)
    wrong = np.linalg.norm(found.forces - hot.forces, axis=-1)[hot.mask]
    lengths = [w.steps * exploration.time_step for w in walks]
    return ActivePoint(
        strategy=strategy,
        seed=seed,
        labels=labels,
        energy_mae=cold.energy_mae,
        force_mae=cold.force_mae,
        hot_energy_mae=warm.energy_mae,
        hot_force_mae=warm.force_mae,
        hot_force_rmse=warm.force_rmse,
        hot_force_worst=float(np.quantile(wrong, 0.99)),
        walked=float(np.mean(lengths)) if walks else 0.0,
        intact=float(np.mean([w.intact for w in walks])) if walks else 1.0,
        minutes=ensemble.card["wall time / s"] / 60,
    )


def network_facts(model: So3kratesConfig, settings: TrainConfig) -> dict[str, Any]:
    """What a reader must know of how networks were made; epochs and seed stand elsewhere."""
    training = settings.to_dict()
    for name in ("epochs", "seed", "max_minutes", "train_only", "refit_shift", "stop_patience"):
        del training[name]
    network = {name: value for name, value in model.to_dict().items() if value is not None}
    return {"model": network, "training": training}


def stored_points() -> tuple[list[ActivePoint], dict[str, Any]]:
    """The results that come with the package, and what they were made with."""
    from so3krates_lite.datasets.places import bundled_path

    return read_points(bundled_path(STORED), ActivePoint)


# -- the picture ----------------------------------------------------------------------------------


def curve(
    points: Sequence[ActivePoint], strategy: str, quantity: str = "hot_force_mae"
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of labels, and the errors of every seed (labels, seeds) in kcal/mol(/Å)."""
    chosen = [point for point in points if point.strategy == strategy]
    return curve_of(chosen, "labels", quantity)


def draw_points(ax: Axes, points: Sequence[ActivePoint], quantity: str = "hot_force_mae") -> None:
    """Error over labels, both logarithmic: the mean of the seeds, and each seed a dot."""
    from matplotlib.ticker import MaxNLocator

    ticks: set[int] = set()
    for k, strategy in enumerate(STRATEGIES):
        if not any(point.strategy == strategy for point in points):
            continue
        labels, errors = curve(points, strategy, quantity)
        ticks |= set(labels.tolist())
        style = {"color": PALETTE[k], "marker": "osD"[k]}
        ax.loglog(labels, errors.mean(axis=1), markersize=6, label=strategy, **style)
        # side by side, or they would hide one another
        beside = np.repeat(labels * 1.03 ** (k - 1), errors.shape[1])
        ax.loglog(beside, errors.ravel(), linestyle="none", markersize=3, alpha=0.5, **style)
    ax.set_xticks(sorted(ticks), [str(tick) for tick in sorted(ticks)])
    ax.minorticks_off()
    low, high = ax.get_ylim()
    shown = [
        tick
        for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)
        if low <= tick <= high
    ]
    ax.set_yticks(shown, [f"{tick:g}" for tick in shown])
    ax.set(xlabel="labels")


def figure(points: Sequence[ActivePoint]) -> Figure:
    """The errors of forces over the number of labels: means on both test sets, and the tail."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(10.5, 3.4), layout="constrained")
    panels = {
        "force_mae": "MAE, frames of the set (500 K)",
        "hot_force_mae": "MAE, hot frames",
        "hot_force_worst": "error that 1 % of hot atoms exceed",
    }
    axes = drawn.subplots(1, len(panels))
    for ax, (quantity, title) in zip(axes, panels.items(), strict=True):
        draw_points(ax, points, quantity)
        ax.set_title(title, fontsize=10)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("error of forces (kcal/mol/Å)")
    axes[0].legend(frameon=False)
    return drawn
