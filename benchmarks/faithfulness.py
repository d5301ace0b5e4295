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
from so3krates_lite.ensemble import load_potential
from so3krates_lite.interpret import faithfulness, integrated_gradients, intervene, many_body
from so3krates_lite.interpret.baselines import Baseline, channels_of
from so3krates_lite.interpret.evidence import ANSWERS
from so3krates_lite.interpret.interventions import Place
from so3krates_lite.interpret.rankings import ALONE, KNOWN_BY_ALL, METHODS
from so3krates_lite.potential import Potential
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
    owner = "c9h4-local" if name.startswith("c9h4") else data
    if owner in DATA:
        frames = frames[bundled_split(owner).test].trimmed()
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
    parser.add_argument("--only", nargs="*", default=list(DATA))
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
    results = {name: json.loads((options.folder / f"{name}.json").read_text()) for name in todo}
    for answer in ANSWERS:
        print(f"\n### {answer}\n")
        print_table(
            [row for name, found in results.items() for row in summary(name, found, answer)]
        )
    print("\n### completeness, parts, speed\n")
    print_table([more(name, found) for name, found in results.items()])
    for name, found in results.items():
        if "parts" in found:
            print(f"\n{name}, root mean square of the parts (eV): {found['parts']['size']}")


def summary(name: str, found: dict, answer: str) -> list[dict[str, str | float]]:
    """One line per block and baseline: gaps of the methods, and what else is known of attention."""
    lines = []
    for run in found["runs"]:
        rows = {row["method"]: row for row in run["rows"][answer]}
        attention = rows["attention"]
        line = {"model": name, "block": run["block"], "baseline": run["baseline"]}
        line["whole"] = np.mean(run["all"]["whole"][answer])
        gaps = gap_by_method(run, answer)
        for method in METHODS:
            if method not in ALONE.values() or method == ALONE[answer]:
                line[method.split(",")[0]] = gaps[method].mean()
        for other in KNOWN_BY_ALL:
            line[f"wins, {other}"] = f"{int((gaps['attention'] > gaps[other]).sum())}"
        kept = ("at equal distance", "signs", "frames", "seeds", "untrained")
        lines.append(line | {key: attention[key] for key in kept})
    return lines


def gap_by_method(run: dict, answer: str) -> dict[str, np.ndarray]:
    """Deletion less insertion, by frame."""
    found = run["all"]
    areas = [
        np.trapezoid(np.array(found[kind][answer]), found["fraction"], axis=-1)
        for kind in ("deletion", "insertion")
    ]
    return dict(zip(found["methods"], areas[0] - areas[1], strict=True))


def more(name: str, found: dict) -> dict[str, str | float]:
    """Completeness of shares in all blocks together, and how quick it was."""
    line: dict[str, str | float] = {"model": name}
    for kind in ("zero", "mean"):
        shares = [(error, change) for k, error, change, _ in found["completeness"] if k == kind]
        if shares:
            error, change = np.abs(np.array(shares)).T
            line[f"{kind}: change (eV)"] = f"{change.mean():.3f}"
            line[f"{kind}: missed, most (meV)"] = f"{1000 * error.max():.4f}"
            line[f"{kind}: missed, most (share)"] = f"{(error / change).max():.1e}"
        else:
            line |= {f"{kind}: {what}": "" for what in WHAT}
    line["cases per minute"] = f"{found['cases per minute']:.0f}"
    line["minutes"] = found["seconds"] / 60
    return line


WHAT = ("change (eV)", "missed, most (meV)", "missed, most (share)")


def print_table(rows: list[dict[str, str | float]]) -> None:
    """As Markdown."""
    names = list(rows[0])
    print("| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|")
    for row in rows:
        print("| " + " | ".join(cell(row[name]) for name in names) + " |")


def cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return "" if np.isnan(value) else f"{value:.2f}"


if __name__ == "__main__":
    main()
