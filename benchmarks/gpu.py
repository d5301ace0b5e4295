"""Everything that one look at an accelerator should tell, in a given time: `benchmarks/gpu.sh`.

Parts in the order of what is missed most: steps, energies, their floors and compile times at batch
10 and 100; ethanol of MD17 to the paper's force error; the training lesson; as many other
molecules as time allows. Results are written after each part, so that a machine that is taken away
leaves what it has told; a part that fails, or for which there are no data, says so, and the next
one begins.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.floors import lines
from benchmarks.run import TINY
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets.places import locate
from so3krates_lite.experiments.md17 import PUBLISHED, Recipe, md17
from so3krates_lite.runtime import files
from so3krates_lite.runtime.settings import hardware
from so3krates_lite.training import TrainConfig
from so3krates_lite.training.evaluation import format_table
from so3krates_lite.training.progress import Progress
from so3krates_lite.training.run import RunFolder
from so3krates_lite.units import convert

TARGETS = (0.2, 0.147, 0.096)  # kcal/mol/Å, of validation forces of ethanol
LESSON = Path(__file__).parents[1] / "notebooks" / "07_training.ipynb"
# small molecules first; each takes about as long as its pairs are many
ORDER = ("malonaldehyde", "uracil", "toluene", "salicylic_acid", "naphthalene", "aspirin")


class Clock:
    """What is left of the time that there is."""

    def __init__(self, minutes: float) -> None:
        self.end = time.perf_counter() + 60 * minutes

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.perf_counter()


def seconds_to(rows: list[dict[str, float]]) -> dict[str, float | str]:
    """When a run's validation force error fell below each target, by its metrics."""
    return {
        f"s to {target}": first_below(rows, convert(target, "kcal/mol", "eV")) for target in TARGETS
    }


def first_below(rows: list[dict[str, float]], limit: float) -> float | str:
    """Seconds until the validation force error was ``limit`` (eV/Å) or less; "-": never."""
    when = (row["wall_s"] for row in rows if row["valid_force_mae_eV_A"] <= limit)
    first = next(when, None)
    return "-" if first is None else round(first, 1)


def training(
    molecule: str, recipe: Recipe, folder: Path, minutes: float, progress: Progress | None = None
) -> dict[str, Any]:
    """One molecule by a recipe whose length is cut to the time that there is."""
    recipe = replace(recipe, settings=replace(recipe.settings, max_minutes=minutes))
    (result,) = md17([molecule], recipe=recipe, folder=folder, progress=progress)
    run = next((folder / molecule).glob("*-seed*"))
    return {**result.row(), **seconds_to(RunFolder(run).read_metrics())}


def lesson(seconds: float, cells: int | None = None) -> dict[str, Any]:
    """The training lesson from top to bottom, or its first cells, within so many seconds."""
    import nbformat
    from nbclient import NotebookClient

    begin = time.perf_counter()
    notebook = nbformat.read(LESSON, as_version=4)
    notebook.cells = notebook.cells[:cells]
    client = NotebookClient(notebook, resources={"metadata": {"path": LESSON.parent}})
    asyncio.run(asyncio.wait_for(client.async_execute(), seconds))
    return {"lesson": LESSON.stem, "seconds": round(time.perf_counter() - begin, 1)}


def parts(options: argparse.Namespace, clock: Clock) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names of parts and what does them, as long as there is time."""
    small = TINY if options.tiny else {}
    config = So3kratesConfig(**small)
    batches, seconds = ((2,), 0.1) if options.tiny else ((10, 100), 4.0)
    yield "speed", lambda: lines("ethanol", config, batches, seconds)
    # two frames a step, as on a core, would leave an accelerator idle
    epochs = 2 if options.tiny else 640
    recipe = Recipe(config, TrainConfig(epochs=epochs, batch_size=10, schedule="cosine"))

    def train(molecule: str, share: float) -> Callable[[], Any]:
        minutes = max(share * clock.left / 60 - 0.7, 0.1)  # it compiles for some of it
        return lambda: training(molecule, recipe, options.folder, minutes)

    there = [name for name in ("ethanol", *ORDER) if locate(f"rmd17-{name}")]
    if "ethanol" in there:
        yield "ethanol", train("ethanol", 0.5)
    if options.tiny:
        yield "lesson", lambda: lesson(clock.left, cells=6)
    elif clock.left > 150:
        yield "lesson", lambda: lesson(clock.left - 60)
    for molecule in ORDER[: 0 if options.tiny else None]:
        if molecule in there and clock.left > 100:
            yield molecule, train(molecule, 0.8)
    if missing := {"ethanol", *ORDER} - set(there):
        yield "not here", lambda: f"no data of {', '.join(sorted(missing))} (rmd17-ethanol, …)"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/gpu"))
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--tiny", action="store_true", help="a tiny network: does it all run?")
    options = parser.parse_args(arguments)
    stored = options.folder / "gpu.json"
    if stored.is_file():
        parser.error(f"{stored} holds what was measured before: name another folder")
    clock = Clock(options.minutes)
    results: dict[str, Any] = {"hardware": hardware(), "paper": PUBLISHED["so3krates"]}
    for name, do in parts(options, clock):
        try:
            results[name] = do()
        except Exception as error:  # of whatever kind: what comes after it shall be measured
            results[name] = f"failed: {type(error).__name__} {error}".strip()
        files.write_atomically(stored, json.dumps(results, indent=1).encode())
        rows = results[name] if isinstance(results[name], list) else [results[name]]
        told = format_table(rows) if isinstance(rows[0], dict) else str(rows[0])
        print(f"## {name} ({clock.left:.0f} s left)\n{told}", flush=True)
    print(hardware())


if __name__ == "__main__":
    main()
