"""Seconds from the start until ethanol of MD17 is learnt to a force error: ours and the original.

Both learn the same 950 frames and are judged by the same 50 validation frames after each epoch.
Ours takes its own recipe, whose schedule ends where the error is expected, so each target is a run
of its own. The original takes its own: Adam from 1e-3, lowered by 0.7 per 100,000 steps, five
frames a step; it runs beside ours, in a process of its own, until ours have ended or as long as
``--original-minutes`` says. What it has reached by then is a target, too. Each process gets one
core, or what ``--cores`` says. Seconds count from the start of the process, so with imports,
reading, compiling and validating; only the original's second set-up, by which it is validated here,
is left out.

    python -m benchmarks.time_to_accuracy --targets 0.2 --cores 0 1 --original-minutes 60

The original's checkout and Python are named as in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu import TARGETS, first_below, seconds_to, training
from benchmarks.run import TINY
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets import load
from so3krates_lite.datasets.splits import random_split
from so3krates_lite.experiments.md17 import RECIPES, Recipe
from so3krates_lite.runtime import files
from so3krates_lite.runtime.settings import hardware
from so3krates_lite.training.evaluation import format_table
from so3krates_lite.training.progress import Row, Silent
from so3krates_lite.training.run import RunFolder
from so3krates_lite.units import convert

# kcal/mol/Å, and what differs from the recipe of 240 epochs, which ended at 0.097 on these frames:
# large batches are quicker at first, and end higher
CHANGES: dict[float, dict[str, Any]] = {
    0.2: {"epochs": 80, "batch_size": 10, "learning_rate": 5e-3, "momentum": 0.95},
    0.147: {"epochs": 90},
    0.096: {"epochs": 260},
}
FRAMES = (950, 50)


class Watch(Silent):
    """The metrics of a run by a clock of our own, which began at ``begin`` (as `time.time`)."""

    def __init__(self, begin: float) -> None:
        self.begin, self.rows = begin, list[Row]()

    def update(self, row: Row) -> None:
        self.rows.append({**row, "wall_s": time.time() - self.begin})


def ours(target: float, folder: Path, minutes: float, tiny: bool, begin: float) -> dict[str, Any]:
    """A run of ours whose schedule is made for ``target``."""
    config = So3kratesConfig(**(TINY if tiny else {}))
    settings = replace(RECIPES["so3krates"].settings, **CHANGES[target])
    settings = replace(settings, epochs=2) if tiny else settings
    watch, place = Watch(begin), folder / f"{target}"
    row = training("ethanol", Recipe(config, settings), place, minutes, watch)
    return {"code": "ours", **row, **seconds_to(watch.rows), "course": watch.rows}


def original(folder: Path, minutes: float, tiny: bool, begin: float) -> None:
    """The original's loop; after each epoch its lines are written, in the form of a run's."""
    import jax

    from benchmarks.original import Original, keys

    config = So3kratesConfig(variant="v0.3", sphc_start="zero", **(TINY if tiny else {}))
    frames = load("rmd17-ethanol", part="train", labels="original")  # as `md17` takes them
    split = random_split(frames, *FRAMES, seed=0)
    code = Original(frames[split.train], config, 5)
    step = code.trace_training().lower().compile()
    aside = time.time()
    judged = Original(frames[split.valid], config, 5)
    inputs, targets = judged.data
    begin += time.time() - aside
    steps = FRAMES[0] // 5
    run, rows = RunFolder(folder / "original"), []
    run.path.mkdir(parents=True, exist_ok=True)
    while time.time() - begin < 60 * minutes:
        code.train(step, steps)
        forces = judged.observables(code.state.params, inputs)[keys["force"]]
        error = float(np.abs(jax.device_get(forces - targets[keys["force"]])).mean())
        wall_s = time.time() - begin
        rows.append({"epoch": len(rows) + 1, "wall_s": wall_s, "valid_force_mae_eV_A": error})
        run.write_metrics(rows)


def beside(ours: list[dict[str, Any]], rows: list[Row]) -> list[dict[str, Any]]:
    """The table's lines: ours, then the original's, with when each had the original's best."""
    best = min(row["valid_force_mae_eV_A"] for row in rows)
    column = f"s to {convert(best, 'eV', 'kcal/mol'):.3f}, the original's best"
    original = {
        "code": "original",
        "epochs": len(rows),
        "training (min)": round(rows[-1]["wall_s"] / 60, 1),
        **seconds_to(rows),
        column: first_below(rows, best),
    }
    return [*({**line, column: first_below(line["course"], best)} for line in ours), original]


def child(python: str, core: int | None, *arguments: str) -> subprocess.Popen:
    """This module in a process of its own, on one core."""
    command = [python, "-m", "benchmarks.time_to_accuracy", *arguments]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    return subprocess.Popen(command)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.time_to_accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=Path("build/accuracy"))
    parser.add_argument("--targets", type=float, nargs="+", choices=TARGETS, default=[*TARGETS])
    parser.add_argument("--minutes", type=float, default=240.0, help="for each run, at most")
    parser.add_argument(
        "--original-minutes", type=float, help="for the original (until ours have ended)"
    )
    parser.add_argument("--cores", type=int, nargs=2, help="of ours and of the original")
    parser.add_argument("--tiny", action="store_true", help="a tiny network: does it all run?")
    parser.add_argument("--alone", choices=("ours", "original"), help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    mine = options.folder, options.minutes, options.tiny
    if options.alone == "original":
        original(*mine, options.began)
        return
    if options.alone == "ours":
        starting = time.time() - options.began  # which counts for each run
        rows = [ours(target, *mine, time.time() - starting) for target in options.targets]
        content = json.dumps(rows, indent=1).encode()
        files.write_atomically(options.folder / "ours.json", content)
        return

    if options.folder.is_dir() and any(options.folder.iterdir()):
        parser.error(f"{options.folder} is not empty: name another folder")
    common = ["--folder", str(options.folder), *(["--tiny"] if options.tiny else [])]
    common += ["--began", str(time.time()), "--targets", *map(str, options.targets), "--minutes"]
    our_core, their_core = options.cores or (None, None)
    there = "SO3KRATES_MLFF" in os.environ
    running = [child(sys.executable, our_core, *common, str(options.minutes), "--alone", "ours")]
    if there:
        python = os.environ.get("SO3KRATES_MLFF_PYTHON", sys.executable)
        long = str(options.original_minutes or options.minutes * len(options.targets))
        running.append(child(python, their_core, *common, long, "--alone", "original"))
    failed = running[0].wait()
    if options.original_minutes and not failed:
        for process in running[1:]:
            process.wait()
    gave_up = [process.poll() for process in running[1:]]
    for process in running[1:]:
        process.terminate()
        process.wait()
    if failed:
        raise SystemExit(failed)
    lines = json.loads((options.folder / "ours.json").read_text())
    learnt = RunFolder(options.folder / "original")
    if (learnt.path / "metrics.csv").is_file():
        lines = beside(lines, learnt.read_metrics())
    columns = ["code", "epochs", "training (min)"]
    columns += [name for name in lines[-1] if name.startswith("s to ")]
    print(format_table([{name: line.get(name, "-") for name in columns} for line in lines]))
    if not there:
        print("The original took no part: SO3KRATES_MLFF names no checkout of it.")
    elif gave_up[0]:
        print(f"The original ended by itself, with status {gave_up[0]}: see above.")
    print(hardware())


if __name__ == "__main__":
    main()
