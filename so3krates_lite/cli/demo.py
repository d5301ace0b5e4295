"""The demonstration: the whole way from a bundled model to a page one can open and turn.

Loads the trained potential, judges it on frames it has never seen, and writes ``report.html`` with
the learning curve, the forces against their reference, and the molecule with its attention in 3D.
That is there after seconds. Then it trains the network further for about a minute, and one from
nothing, and writes the page again with what came of it.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path

from so3krates_lite.datasets import bundled_path, load
from so3krates_lite.datasets.bundled import bundled_split
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.report.write import write_report
from so3krates_lite.runtime.settings import hardware
from so3krates_lite.training import TrainConfig, train
from so3krates_lite.training.evaluation import evaluate, format_table
from so3krates_lite.training.run import RunFolder, read_metrics

NAME = "ethanol-gfn2"
TEACHER = (
    "The reference is GFN2-xTB, a semi-empirical method: these numbers show that the model learns "
    "its teacher, and cannot be set beside results on MD17."
)
UNTRAINED = (
    "The learning curve is that of the bundled training. Training on this machine had not ended "
    "when this page was written; load it again when the demonstration is done."
)


def run_demo(folder: str | Path = "demo", minutes: float = 1.0) -> Path:
    """Run the demonstration; returns the path of the page.

    Args:
        folder: where everything is written; a former demonstration there is replaced
        minutes: of training, compilation not counted
    """
    if not minutes > 0:
        raise UserError(f"--minutes {minutes} is not possible: give more than 0.")
    begin = time.perf_counter()
    folder = Path(folder)
    _make_room(folder)
    frames, split = load(NAME), bundled_split(NAME)
    potential = Potential.load(NAME)
    config = potential.config
    print(
        f"So3krates, trained: {potential.n_parameters:,} parameters, {config.layers} layers, "
        f"degrees {', '.join(map(str, config.degrees))}, cutoff {config.cutoff:g} Å."
    )
    print(f"Data: {frames.info['title']}, {frames.info['level_of_theory']}.")

    unseen = frames[split.test]
    print(f"\nErrors on {len(unseen)} frames that it has never seen:\n")
    before, prediction = evaluate(potential, unseen, name="bundled model, test")
    print(format_table([before.row()]))
    page = folder / "report.html"
    history = read_metrics(bundled_path(f"models/{NAME}.metrics.csv"))

    def write(rows, metrics, prediction, potential, facts, notes) -> None:
        write_report(
            page,
            title="So3krates on ethanol",
            metrics=metrics,
            table=rows,
            parity=(unseen.forces[unseen.mask], prediction.forces[unseen.mask]),
            record=potential.attention(unseen[0]),
            facts={**dict(potential.card), "this machine": hardware(), **facts},
            notes=[TEACHER, *notes],
        )

    write([before.row()], history, prediction, potential, {}, [UNTRAINED])
    print(f"\nA first picture after {time.perf_counter() - begin:.0f} s: open {page} in a browser.")
    print("Training comes now, and the page is written again at its end.")

    print(f"\nTraining on for {60 * minutes:.0f} s, on {len(split.train)} frames:\n")
    settings = TrainConfig(
        epochs=10_000,
        max_minutes=minutes,
        optimiser="adam",
        batch_size=10,
        learning_rate=1e-4,
        schedule="constant",
        seed=1,
    )
    result = train(frames, split, settings=settings, start=potential, folder=folder / "run")
    after, prediction = evaluate(result.potential, unseen, name="after training on, test")
    print(f"\nThe same network from random weights, for {30 * minutes:.0f} s, to see it learn:\n")
    fresh_settings = dataclasses.replace(
        settings, max_minutes=minutes / 2, learning_rate=1e-3, ema_decay=0.99
    )
    fresh = train(frames, split, model=config, settings=fresh_settings, folder=folder / "fresh")
    beginner, _ = evaluate(fresh.potential, unseen, name="random start, test")
    rows = [before.row(), after.row(), beginner.row()]
    print("\n" + format_table(rows))

    trained = f"{len(result.metrics)} epochs, {result.metrics[-1]['wall_s']:.0f} s"
    notes = [
        "The learning curve holds the bundled training and, after it, the epochs of this run.",
        f"The random start was trained for {fresh.metrics[-1]['epoch']} epochs only.",
    ]
    metrics = _continued(history, result.metrics)
    write(rows, metrics, prediction, result.potential, {"training on": trained}, notes)
    print(f"\nDone in {time.perf_counter() - begin:.0f} s. Open {page} in a browser, or load it")
    print("again; then try: make lab")
    return page


def _make_room(folder: Path) -> None:
    """Remove a former demonstration, and nothing else."""
    for run in (folder / "run", folder / "fresh"):
        if run.exists():
            RunFolder(run).configuration()  # refuses what is no run of ours
            shutil.rmtree(run)
    (folder / "report.html").unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)


def _continued(past: list[dict[str, float]], now: list[dict[str, float]]) -> list[dict]:
    """The bundled training's metrics with those of this run after them."""
    last = past[-1]["epoch"] if past else 0
    return past + [{**row, "epoch": row["epoch"] + last} for row in now]
