"""The study of docs/faithfulness.md: may attention of these models be read as importance?

    python -m benchmarks.faithfulness --folder runs/faithfulness
    python -m benchmarks.faithfulness --folder runs/faithfulness --only ethanol-gfn2

Each model, each block of its attention, baselines zero and mean, on frames that it was not trained
on. What is in the folder already is not computed again; the tables are printed as Markdown at the
end. ``--others NAME=FILE …`` gives models of other seeds, ``--model NAME=FILE:DATA`` a further one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np

from so3krates_lite.datasets import load
from so3krates_lite.datasets.bundled import bundled_split
from so3krates_lite.datasets.cumulenes import sampled
from so3krates_lite.datasets.splits import random_split
from so3krates_lite.experiments.cumulenes import N_TEST, N_VALID
from so3krates_lite.interpret import faithfulness, integrated_gradients, intervene, many_body
from so3krates_lite.interpret.baselines import Baseline, channels_of
from so3krates_lite.interpret.evidence import ANSWERS
from so3krates_lite.interpret.interventions import Place
from so3krates_lite.potential import Potential, load_potential
from so3krates_lite.runtime.files import write_atomically
from so3krates_lite.runtime.settings import hardware
from so3krates_lite.structures.frames import Frames

SEED = 0
DATA = {
    "ethanol-gfn2": "ethanol-gfn2",
    "ethanol-gfn2-geomatt": "ethanol-gfn2",
    "c9h4-local": "cumulenes-gfn2",
    "c9h4-spherical": "cumulenes-gfn2",
    "carbon-chains-gfn2": "carbon-chains-gfn2",
    "so3lr": "ethanol-gfn2",
}


def frames_of(name: str, data: str) -> Frames:
    """Frames that the model does not know, in an order drawn at random."""
    frames = load(data, part="test" if data.startswith("md17-") else "all")
    if name.startswith("c9h4"):
        frames = sampled(frames, 9).trimmed()
        frames = frames[random_split(frames, len(frames) - N_VALID - N_TEST, N_VALID).test]
    elif data in ("ethanol-gfn2", "carbon-chains-gfn2"):
        frames = frames[bundled_split(data).test]
    return frames[np.random.default_rng(SEED).permutation(len(frames))]


def tested(
    name: str, potential: Potential, frames: Frames, number: int, others: list[Potential]
) -> dict:
    """Everything that the page says of one model."""
    found: dict = {"hardware": hardware(), "frames": number, "runs": []}
    alike = bool((frames.numbers == frames.numbers[0]).all())
    baselines = [Baseline()] + ([Baseline("mean", frames[-200:])] if alike else [])
    for block in channels_of(potential.config):
        for baseline in baselines:
            result = faithfulness(
                potential, frames[:number], block=block, baseline=baseline, others=others, seed=SEED
            )
            print(f"\n{name}, {block}\n{result.table()}\n{result.verdict('energy')}", flush=True)
            run = {
                "block": block,
                "baseline": baseline.kind,
                "rows": {answer: result.rows(answer) for answer in ANSWERS},
                "verdict": {answer: result.verdict(answer) for answer in ANSWERS},
                "all": dataclasses.asdict(result),
            }
            found["runs"].append(run)
    missed = []
    for frame in (frames[k] for k in range(number)):
        for baseline in baselines:
            shares = integrated_gradients(potential, frame, baseline=baseline)
            missed.append([baseline.kind, shares.error, shares.change, shares.points])
    found["completeness"] = missed
    if frames.max_atoms <= 13:
        parts = many_body(potential, frames[0])
        found["parts"] = {"sum": parts.by_order, "size": parts.size_by_order}
    found["cases per minute"] = cases_per_minute(potential, frames[0])
    return found


def cases_per_minute(potential: Potential, frame: Frames, cases: int = 1024) -> float:
    """Random sets of pairs, energies and forces, once compiled."""
    atoms, rng = int(frame.n_atoms[0]), np.random.default_rng(SEED)
    places = [Place(pairs=np.argwhere(rng.random((atoms, atoms)) < 0.5)) for _ in range(cases)]
    intervene(potential, frame, places[:1])
    begin = time.perf_counter()
    intervene(potential, frame, places)
    return 60 * cases / (time.perf_counter() - begin)


def plain(value):
    """What JSON knows of numpy."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--only", nargs="+", default=list(DATA))
    parser.add_argument("--others", nargs="+", default=[], metavar="NAME=FILE")
    parser.add_argument("--model", nargs="+", default=[], metavar="NAME=FILE:DATA")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    others: dict[str, list[Potential]] = {}
    for given in options.others:
        name, _, path = given.partition("=")
        others.setdefault(name, []).append(load_potential(path))
    todo = {name: (name, DATA[name]) for name in options.only}
    for given in options.model:
        name, _, rest = given.partition("=")
        path, _, data = rest.rpartition(":")
        todo[name] = (path, data)
    for name, (path, data) in todo.items():
        target = options.folder / f"{name}.json"
        if not target.exists():
            potential, frames = load_potential(path), frames_of(name, data)
            begin = time.perf_counter()
            found = tested(name, potential, frames, options.frames, others.get(name, []))
            found["seconds"] = time.perf_counter() - begin
            write_atomically(target, json.dumps(found, default=plain).encode())
    for name in todo:
        print_tables(name, json.loads((options.folder / f"{name}.json").read_text()))


def print_tables(name: str, found: dict) -> None:
    for run in found["runs"]:
        for answer, rows in run["rows"].items():
            print(f"\n### {name}, {run['block']}, baseline {run['baseline']}, {answer}\n")
            names = list(rows[0])
            print("| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|")
            for row in rows:
                print("| " + " | ".join(map(cell, row.values())) + " |")
            print(f"\n{run['verdict'][answer]}")


def cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return "" if np.isnan(value) else f"{value:.2f}"


if __name__ == "__main__":
    main()
