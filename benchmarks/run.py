"""Measure the package beside other implementations: `make bench`, or `python -m benchmarks.run`.

Each implementation runs in a fresh process of its own. They start one after another; then they take
turns in short rounds, so that whatever else the machine does meets all of them alike. A figure is
the median over rounds (or over starts), a ratio is formed within one run only.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.contenders import PEERS, WORKERS, Contender, contenders
from benchmarks.implementation import KINDS
from benchmarks.processes import Worker, WorkerFailed
from benchmarks.report import Case, Result, section, write
from benchmarks.systems import water_box
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets import load, locate, save_frames
from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames

HERE = Path(__file__).resolve().parent
MOLECULES = {"ethanol": ("md17-ethanol", "ethanol-gfn2"), "aspirin": ("md17-aspirin",)}
BATCHES = (1, 10, 100)
WATER = (33, 333, 3333)  # molecules: about 100, 1,000 and 10,000 atoms
N_FRAMES = 200
TINY = {"features": 12, "layers": 2, "heads": 2, "radial_hidden": 8, "spherical_hidden": 8}


def geometries(molecule: str) -> Frames:
    """Up to `N_FRAMES` labelled frames of a molecule, from the first data set that is here."""
    for name in MOLECULES[molecule]:
        if locate(name):
            frames = load(name)
            chosen = np.random.default_rng(0).permutation(len(frames))[:N_FRAMES]
            return frames[np.sort(chosen)]
    raise UserError(f"{MOLECULES[molecule][0]} is not on this machine (see SO3KRATES_DATA)")


def settings_of(contender: Contender, tiny: bool) -> dict:
    """What a worker needs to know of its network."""
    if contender.settings is not None:
        return contender.settings
    if contender.worker in PEERS:
        return {"tiny": tiny}
    form = {"variant": contender.variant, "filter_polynomials": contender.polynomials}
    return So3kratesConfig(**form, **(TINY if tiny else {})).to_dict()


def measure(
    rows: list[Contender],
    frames: Path,
    batch: int,
    kinds: tuple[str, ...],
    arguments: argparse.Namespace,
) -> dict[str, Result]:
    """All contenders on one case, by their labels."""
    results = {contender.label: Result() for contender in rows}
    for _ in range(arguments.starts):
        with tempfile.TemporaryDirectory() as cache:
            running: list[tuple[Worker, Result]] = []
            for contender in rows:
                result = results[contender.label]
                if result.failure:
                    continue
                worker = Worker(contender, Path(cache), arguments.timeout)
                begin_case(worker, contender, result, frames, batch, kinds, arguments.tiny)
                shown = result.failure or f"ready after {time.time() - worker.launched:.1f} s"
                print(f"  {contender.label}: {shown}", file=sys.stderr, flush=True)
                if result.failure or contender.starts_only:
                    worker.close()
                else:
                    running.append((worker, result))
            take_turns(running, kinds, arguments)
            for worker, _ in running:
                worker.close()
    return results


def begin_case(
    worker: Worker,
    contender: Contender,
    result: Result,
    frames: Path,
    batch: int,
    kinds: tuple[str, ...],
    tiny: bool,
) -> None:
    """Let a worker set itself up, and keep how long each part took."""
    try:
        times = worker.ask(
            do="start",
            name=contender.worker,
            settings=settings_of(contender, tiny),
            frames=str(frames),
            batch_size=batch,
            kinds=kinds,
            launched=worker.launched,
        )
        for name, seconds in times.items():
            result.add(name, seconds)
        result.facts = worker.ask(do="facts")
    except WorkerFailed as failure:
        result.failure = str(failure)


def take_turns(
    running: list[tuple[Worker, Result]], kinds: tuple[str, ...], arguments: argparse.Namespace
) -> None:
    """Rounds of short turns; who is slow has fewer, and who fails is out."""
    spent: dict[tuple[Worker, str], list[float]] = {}
    for _ in range(arguments.rounds):
        for kind in kinds:
            for worker, result in list(running):
                turns = spent.setdefault((worker, kind), [])
                if turns and sum(turns) + turns[-1] > arguments.patience:
                    continue
                begin = time.monotonic()
                try:
                    request = {"kind": kind, "seconds": arguments.seconds}
                    result.add(kind, worker.ask(do="repeat", **request))
                    turns.append(time.monotonic() - begin)
                except WorkerFailed as failure:
                    result.failure = str(failure)
                    running.remove((worker, result))
                    worker.close()
    for worker, result in list(running):
        try:
            result.facts = worker.ask(do="facts")
        except WorkerFailed as failure:
            result.failure = str(failure)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="ethanol at batch 10 and no water; no file")
    add("--tiny", action="store_true", help="tiny networks: does it all run? No file")
    add("--only", nargs="+", choices=WORKERS, default=list(WORKERS), help="who takes part")
    add("--molecules", nargs="*", choices=MOLECULES, default=list(MOLECULES))
    add("--batches", nargs="+", type=int, default=list(BATCHES), metavar="B")
    add("--water", nargs="*", type=int, default=list(WATER), metavar="N", help="water molecules")
    add("--starts", type=int, default=1, help="fresh processes of each (1)")
    add("--rounds", type=int, default=7, help="rounds of taking turns (7)")
    add("--seconds", type=float, default=2.0, help="length of a turn (2)")
    add("--patience", type=float, default=60.0, help="seconds of turns for one figure (60)")
    add("--timeout", type=float, default=900.0, help="seconds for a start or a turn (900)")
    add("--output", type=Path, help="file (benchmarks/RESULTS.md if complete)")
    add("--raw", type=Path, help="file for every single time, as JSON")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.molecules, arguments.batches, arguments.water = ["ethanol"], [10], []
    chosen = (arguments.only, arguments.molecules, arguments.batches, arguments.water)
    everything = (list(WORKERS), list(MOLECULES), list(BATCHES), list(WATER))
    if chosen == everything and not arguments.tiny:
        arguments.output = arguments.output or HERE / "RESULTS.md"
    return arguments


def main() -> None:
    arguments = parse()
    rows, skipped = contenders(arguments.only)
    cases, sources = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.npz"
        for molecule in arguments.molecules:
            try:
                frames = geometries(molecule)
            except UserError as error:
                skipped.append(f"{molecule}: {error}")
                continue
            sources.append(f"{molecule} from {frames.info.get('name', 'unnamed frames')}")
            save_frames(frames, path)
            for batch in arguments.batches:
                title = f"{molecule}, batch {batch}"
                print(title, file=sys.stderr, flush=True)
                results = measure(rows, path, batch, KINDS, arguments)
                cases.append(Case(title, int(frames.n_atoms[0]), results))
        for molecules in arguments.water:
            frames = water_box(molecules)
            print(frames.info["name"], file=sys.stderr, flush=True)
            save_frames(frames, path)
            lasting = [row for row in rows if not row.starts_only]
            results = measure(lasting, path, 1, ("evaluation",), arguments)
            cases.append(Case(frames.info["name"], 3 * molecules, results, large=True))
    config = So3kratesConfig(**(TINY if arguments.tiny else {}))
    try:
        platform, text = section(
            cases, rows, skipped, config, arguments.starts, arguments.rounds, sources
        )
    except ValueError as error:
        raise SystemExit(str(error)) from None
    print(text)
    if arguments.output:
        write(arguments.output, text, platform)
        print(f"Written to {arguments.output}", file=sys.stderr)
    if arguments.raw:
        arguments.raw.write_text(json.dumps([asdict(case) for case in cases], indent=1) + "\n")


if __name__ == "__main__":
    main()
