"""Measure the package beside other implementations: `make bench`, or `python -m benchmarks.run`.

Each implementation runs in a fresh process of its own. They start one after another; then they take
turns in short rounds, so that whatever else the machine does meets all of them alike. A figure is
the median over rounds (or over starts), a ratio is formed within one run only.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from so3krates_lite.config import ModelConfig
from so3krates_lite.datasets import load, locate, save_frames
from so3krates_lite.errors import UserError
from so3krates_lite.frames import Frames

HERE = Path(__file__).resolve().parent
MOLECULES = {"ethanol": ("md17-ethanol", "ethanol-gfn2"), "aspirin": ("md17-aspirin",)}
BATCHES = (1, 10, 100)
N_FRAMES = 200
TINY = {"features": 12, "layers": 2, "heads": 2, "radial_hidden": 8, "spherical_hidden": 8}
HEADER = (
    *("molecule", "batch", "implementation", "import / s", "set-up / s", "trace / s"),
    *("compile / s", "first step / s", "until first step / s", "training step / ms"),
    *("energy and forces: trace and compile / s", "energy and forces / ms", "peak memory / MiB"),
)
UNTIL_FIRST_STEP = tuple(
    "import;set-up;training: trace;training: compile;training: first".split(";")
)
LEGEND = """\
Median of {starts} fresh start(s) and of {rounds} interleaved rounds per start; in brackets how many
times as long as ours of the same form and the same run. *Import* runs from the start of the process
to JAX's device being ready. *Set-up* draws parameters and moves the data. *Trace* includes
lowering. *First step* ends with the first loss at hand; ours brings {steps} losses at once. A
training step is energy and force loss, its gradient and the whole Adam update, on new frames each
step. *Second start* finds its programs in the compilation cache; all other starts find none. Memory
is the process's, compiler included{device}. F = {features}, {layers} layers, degrees {degrees},
{heads} heads, cutoff {cutoff} Å, float32."""


@dataclass
class Contender:
    """A row of the table: which worker, which form of the network, which compilation cache."""

    label: str
    worker: str
    variant: str
    cached: bool = False  # keeps compiled programs, or finds those of the row before
    starts_only: bool = False
    python: str = sys.executable


@dataclass
class Result:
    """All that was measured of a contender; times in seconds."""

    times: dict[str, list[float]] = field(default_factory=dict)
    facts: dict = field(default_factory=dict)
    failure: str = ""

    def add(self, name: str, seconds: float) -> None:
        self.times.setdefault(name, []).append(seconds)

    def median(self, *names: str) -> float | None:
        """Sum of the medians of ``names``; None if one of them was not measured."""
        if not all(name in self.times for name in names):
            return None
        return sum(statistics.median(self.times[name]) for name in names)


class WorkerFailed(Exception):
    """A worker ended early; the message is the last thing it said."""


class Worker:
    """A contender's process."""

    def __init__(self, contender: Contender, cache: Path) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            "SO3KRATES_COMPILATION_CACHE": str(cache) if contender.cached else "off",
            # several processes share a GPU's memory
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        }
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        # lives as long as the process
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.launched = time.time()
        self.process = subprocess.Popen(
            [contender.python, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment,
        )

    def ask(self, **request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.process.wait()
            self.errors.seek(0)
            said = [line for line in self.errors.read().splitlines() if line.strip()]
            last = said[-1] if said else "no message"
            raise WorkerFailed(f"{last} (exit code {self.process.returncode})")
        return json.loads(answer)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.errors.close()


def contenders() -> tuple[list[Contender], list[str]]:
    """Who takes part here, and why who does not."""
    rows = [
        Contender("ours", "ours", "paper", cached=True),
        Contender("ours, second start", "ours", "paper", cached=True, starts_only=True),
        Contender("straightforward", "straightforward", "paper"),
    ]
    checkout = os.environ.get("SO3KRATES_MLFF")
    if not checkout:
        return rows, ["original (mlff): SO3KRATES_MLFF names no checkout"]
    if not (Path(checkout) / "mlff" / "nn").is_dir():
        return rows, ["original (mlff): the checkout SO3KRATES_MLFF names lacks mlff/nn"]
    python = os.environ.get("SO3KRATES_MLFF_PYTHON", sys.executable)
    if not shutil.which(python):
        return rows, ["original (mlff): SO3KRATES_MLFF_PYTHON names no program"]
    rows.append(Contender("ours, v0.3 form", "ours", "v0.3"))
    rows.append(Contender("original (mlff), v0.3 form", "original", "v0.3", python=python))
    return rows, []


def geometries(molecule: str) -> Frames:
    """Up to `N_FRAMES` labelled frames of a molecule, from the first data set that is here."""
    for name in MOLECULES[molecule]:
        if locate(name):
            frames = load(name)
            chosen = np.random.default_rng(0).permutation(len(frames))[:N_FRAMES]
            return frames[np.sort(chosen)]
    raise UserError(f"{MOLECULES[molecule][0]} is not on this machine (see SO3KRATES_DATA)")


def measure(
    rows: list[Contender],
    frames: Path,
    batch: int,
    arguments: argparse.Namespace,
    configurations: dict[str, ModelConfig],
) -> list[Result]:
    """All contenders on one case."""
    results = [Result() for _ in rows]
    for _ in range(arguments.starts):
        with tempfile.TemporaryDirectory() as cache:
            running: list[tuple[Worker, Result]] = []
            for contender, result in zip(rows, results, strict=True):
                worker = Worker(contender, Path(cache))
                try:
                    times = worker.ask(
                        do="start",
                        name=contender.worker,
                        config=configurations[contender.variant].to_dict(),
                        frames=str(frames),
                        batch_size=batch,
                        launched=worker.launched,
                    )
                    for name, seconds in times.items():
                        result.add(name, seconds)
                    result.facts = worker.ask(do="facts")
                except WorkerFailed as failure:
                    result.failure = str(failure)
                shown = result.failure or f"{result.median(*UNTIL_FIRST_STEP):.1f} s to first step"
                print(f"  {contender.label}: {shown}", file=sys.stderr, flush=True)
                if result.failure or contender.starts_only:
                    worker.close()
                else:
                    running.append((worker, result))
            for _ in range(arguments.rounds):
                for kind in ("training", "evaluation"):
                    for worker, result in list(running):
                        try:
                            request = {"kind": kind, "seconds": arguments.seconds}
                            result.add(kind, worker.ask(do="repeat", **request))
                        except WorkerFailed as failure:
                            result.failure = str(failure)
                            running.remove((worker, result))
                            worker.close()
            for worker, result in running:
                result.facts = worker.ask(do="facts")
                worker.close()
    return results


def lines(molecule: str, batch: int, rows: list[Contender], results: list[Result]) -> list[str]:
    """The case's lines of the table."""
    own = {c.variant: r for c, r in reversed(list(zip(rows, results, strict=True)))}

    def cell(contender, result, *names: str, scale: float = 1, ratio: bool = False) -> str:
        value = result.median(*names)
        if value is None:
            return "–"
        text = f"{value * scale:.3g}" if value * scale < 1000 else f"{value * scale:.0f}"
        reference = own[contender.variant]
        compared = reference.median(*names) if ratio and reference is not result else None
        return f"{text} ({value / compared:.2g}×)" if compared else text

    table = []
    for contender, result in zip(rows, results, strict=True):
        if result.failure:
            row = [f"failed: {result.failure}".replace("|", "/"), *["–"] * (len(HEADER) - 4)]
        else:
            both = ("evaluation: trace", "evaluation: compile")
            memory = [f"{result.facts['memory']:.0f}"]
            if "device memory" in result.facts:
                memory.append(f"{result.facts['device memory']:.0f}")
            row = [
                *(cell(contender, result, name) for name in UNTIL_FIRST_STEP),
                cell(contender, result, *UNTIL_FIRST_STEP, ratio=True),
                cell(contender, result, "training", scale=1000, ratio=True),
                cell(contender, result, *both, ratio=True),
                cell(contender, result, "evaluation", scale=1000, ratio=True),
                " + ".join(memory),
            ]
        table.append("| " + " | ".join([molecule, str(batch), contender.label, *row]) + " |")
    return table


def write(path: Path, section: str, platform: str) -> None:
    """Put the section of this kind of device into ``path``; those of other devices stay."""
    title = "# Benchmark results\n"
    old = path.read_text() if path.is_file() else title
    start, *sections = old.split("\n## ")
    kept = [part.rstrip() for part in sections if not part.startswith(f"{platform.upper()}\n")]
    path.write_text("\n\n## ".join([start.rstrip(), *sorted([*kept, section.rstrip()])]) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ethanol at batch 10 only, no file")
    parser.add_argument("--tiny", action="store_true", help="a tiny network: does it all run?")
    parser.add_argument("--molecules", nargs="+", choices=MOLECULES, default=list(MOLECULES))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES), metavar="B")
    parser.add_argument("--starts", type=int, default=1, help="fresh processes of each (1)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of taking turns (7)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a turn (2)")
    parser.add_argument("--output", type=Path, help="file (benchmarks/RESULTS.md if complete)")
    arguments = parser.parse_args()
    complete = not (arguments.quick or arguments.tiny)
    if arguments.quick:
        arguments.molecules, arguments.batches = ["ethanol"], [10]
    if complete and arguments.molecules == list(MOLECULES) and arguments.batches == [*BATCHES]:
        arguments.output = arguments.output or HERE / "RESULTS.md"
    return arguments


def main() -> None:
    arguments = parse()
    own = TINY if arguments.tiny else {}
    configurations = {v: ModelConfig(variant=v, **own) for v in ("paper", "v0.3")}
    rows, skipped = contenders()
    table = ["| " + " | ".join(HEADER) + " |", "|" + " --- |" * len(HEADER)]
    facts: dict = {}
    sources = []
    with tempfile.TemporaryDirectory() as folder:
        for molecule in arguments.molecules:
            try:
                frames = geometries(molecule)
            except UserError as error:
                skipped.append(f"{molecule}: {error}")
                continue
            sources.append(f"{molecule} from {frames.info.get('name', 'unnamed frames')}")
            path = Path(folder) / f"{molecule}.npz"
            save_frames(frames, path)
            for batch in arguments.batches:
                print(f"{molecule}, batch {batch}", file=sys.stderr, flush=True)
                results = measure(rows, path, batch, arguments, configurations)
                table += lines(molecule, batch, rows, results)
                facts = next((r.facts for r in results if r.facts), facts)
    if not facts:
        raise SystemExit("Nothing could be measured: " + "; ".join(skipped))
    config = configurations["paper"]
    legend = LEGEND.format(
        starts=arguments.starts,
        rounds=arguments.rounds,
        steps=facts["steps per call"],
        device=", plus the device's" if "device memory" in facts else "",
        features=config.features,
        layers=config.layers,
        degrees=" ".join(map(str, config.degrees)),
        heads=config.heads,
        cutoff=config.cutoff,
    )
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    section = [
        facts["platform"].upper(),
        "",
        f"{datetime.date.today()}; {facts['hardware']}; {versions}; {', '.join(sources)}.",
        "",
        *table,
        "",
        legend,
        *[f"\nLeft out: {reason}." for reason in skipped],
    ]
    section = "\n".join(section)
    print(section)
    if arguments.output:
        write(arguments.output, section, facts["platform"])
        print(f"Written to {arguments.output}", file=sys.stderr)


if __name__ == "__main__":
    main()
