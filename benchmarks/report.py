"""What was measured, as tables."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contenders import Contender
from so3krates_lite.config import So3kratesConfig

UNTIL_FIRST_STEP = (
    "import",
    "set-up",
    "training: trace",
    "training: compile",
    "training: first",
)
COMPILING = ("evaluation: trace", "evaluation: compile")
LEGEND = """\
Median of {starts} fresh start(s) and of up to {rounds} interleaved rounds per start; in brackets
how many times as long as ours of the same form and the same run (peers: as ours of the paper's
form). A training step is energy and force loss, its gradient and the whole Adam update, on new
frames each step. *Import* runs from the start of the process to the device being ready. *Set-up*
draws parameters, searches neighbours and moves the data. *Trace* includes lowering. *First step*
ends with the first loss at hand; ours brings up to {steps} losses at once. *Second start* finds its
programs in the compilation cache; all other starts find none. Memory is the process's at its peak,
compiler included{device}. Ours, the straightforward version and the original: F = {features},
{layers} layers, degrees {degrees}, {heads} heads, cutoff {cutoff} Å. Peers: settings in README.md.
All in float32."""


@dataclass
class Result:
    """All that was measured of a contender in one case; times in seconds."""

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

    @property
    def until_first_step(self) -> float | None:
        """Sum of all parts up to the first loss; what does not compile lacks some."""
        if "training: first" not in self.times:
            return None
        return self.median(*(name for name in UNTIL_FIRST_STEP if name in self.times))


@dataclass
class Case:
    """One system and batch size, with the results of its contenders by their labels."""

    title: str
    atoms: int
    results: dict[str, Result]
    large: bool = False


Quantity = Callable[[Result], float | None]


def seconds(*names: str, scale: float = 1.0) -> Quantity:
    def value(result: Result) -> float | None:
        found = result.median(*names)
        return None if found is None else found * scale

    return value


def fact(name: str) -> Quantity:
    return lambda result: result.facts.get(name)


def number(value: float | None) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def cell(case: Case, row: Contender, rows: list[Contender], of: Quantity, ratio: bool) -> str:
    """A figure, and in brackets how many times ours of the same form it is."""
    result = case.results.get(row.label, Result())
    value = of(result)
    if value is None:
        return "failed" if result.failure else "–"
    own = next((r for r in rows if r.worker == "ours" and r.variant == row.variant), row)
    compared = of(case.results.get(own.label, Result())) if ratio and own is not row else None
    if not compared:
        return number(value)
    times = value / compared
    return f"{number(value)} ({times:.0f}×)" if times >= 10 else f"{number(value)} ({times:.2g}×)"


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *rows]]


def by_case(
    title: str, cases: list[Case], rows: list[Contender], of: Quantity, ratio: bool = True
) -> list[str]:
    """One quantity: a row for each contender that has it or failed, a column for each case.

    Nothing where nobody has it: a device's memory is none on a CPU.
    """
    lines, texts = [], set()
    for row in rows:
        cells = [cell(case, row, rows, of, ratio) for case in cases]
        texts.update(cells)
        if any(text != "–" for text in cells):
            lines.append([row.label, *cells])
    if texts <= {"–", "failed"}:
        return []
    return [f"### {title}", "", *table(["", *(case.title for case in cases)], lines), ""]


def parts_of_a_start(cases: list[Case], rows: list[Contender]) -> list[str]:
    """How the time until the first step comes about, and what the evaluation adds."""
    header = ["", "", *(name.removeprefix("training: ") for name in UNTIL_FIRST_STEP)]
    header += ["energy and forces: trace and compile"]
    lines = []
    for case in cases:
        for row in rows:
            if case.results.get(row.label, Result()).until_first_step is not None:
                one = [cell(case, row, rows, seconds(name), False) for name in UNTIL_FIRST_STEP]
                compiling = cell(case, row, rows, seconds(*COMPILING), True)
                lines.append([case.title, row.label, *one, compiling])
    return ["### The parts of a start / s", "", *table(header, lines), ""] if lines else []


def large_systems(cases: list[Case], rows: list[Contender]) -> list[str]:
    """Energy and forces of ever larger boxes: time, time per atom, memory."""
    evaluation = seconds("evaluation", scale=1000)
    lines = []
    for case in cases:
        for row in rows:
            result = case.results.get(row.label)
            if result is None or (not result.facts and not result.failure):
                continue
            per_atom = seconds("evaluation", scale=1e6 / case.atoms)
            lines.append(
                [
                    case.title,
                    row.label,
                    cell(case, row, rows, evaluation, True),
                    cell(case, row, rows, per_atom, False),
                    cell(case, row, rows, seconds("neighbours", scale=1000), False),
                    cell(case, row, rows, seconds(*COMPILING), False),
                    memory_in(result),
                ]
            )
    if not lines:
        return []
    header = ["", "", "energy and forces / ms", "per atom / µs", "neighbour search / ms"]
    header += ["trace and compile / s", "peak memory / MiB"]
    return ["### Large systems: periodic water", "", *table(header, lines), ""]


def memory_in(result: Result) -> str:
    values = [result.facts.get("memory"), result.facts.get("device memory")]
    return " + ".join(f"{value:.0f}" for value in values if value is not None) or "–"


def section(
    cases: list[Case],
    rows: list[Contender],
    skipped: list[str],
    config: So3kratesConfig,
    starts: int,
    rounds: int,
    sources: list[str],
) -> tuple[str, str]:
    """The platform and the text of its section, from everything that was measured.

    Raises:
        ValueError: nothing was measured
    """
    facts = [r.facts for case in cases for r in case.results.values() if r.facts]
    if not facts:
        raise ValueError("Nothing could be measured: " + "; ".join(skipped))
    # the peers' environments may hold different versions of one package
    versions: dict[str, list[str]] = {}
    for found in facts:
        for name, version in found["versions"].items():
            if version not in versions.setdefault(name, []):
                versions[name].append(version)
    on_device = any("device memory" in found for found in facts)
    small = [case for case in cases if not case.large]
    large = [case for case in cases if case.large]
    legend = LEGEND.format(
        starts=starts,
        rounds=rounds,
        steps=max(found["steps per call"] for found in facts),
        device=", plus the device's in the table of large systems" if on_device else "",
        features=config.features,
        layers=config.layers,
        degrees=" ".join(map(str, config.degrees)),
        heads=config.heads,
        cutoff=config.cutoff,
    )
    named = ", ".join(f"{name} {' and '.join(found)}" for name, found in versions.items())
    lines = [
        facts[0]["platform"].upper(),
        "",
        f"{datetime.date.today()}; {facts[0]['hardware']}; {named}; {', '.join(sources)}.",
        "",
        *by_case("Training step / ms", small, rows, seconds("training", scale=1000)),
        *by_case("Energy and forces / ms", small, rows, seconds("evaluation", scale=1000)),
        *by_case("Until the first step / s", small, rows, lambda r: r.until_first_step),
        *by_case("Peak memory / MiB", small, rows, fact("memory"), ratio=False),
        *by_case(
            "Peak memory of the device / MiB", small, rows, fact("device memory"), ratio=False
        ),
        *large_systems(large, rows),
        *parts_of_a_start(small, rows),
        legend,
        *[f"\nLeft out: {reason}." for reason in [*skipped, *failures(cases, rows)]],
    ]
    return facts[0]["platform"], "\n".join(lines)


def failures(cases: list[Case], rows: list[Contender]) -> list[str]:
    """Who failed where and why, each reason once."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        for case in cases:
            failure = case.results.get(row.label, Result()).failure
            if failure:
                reasons.setdefault(f"{row.label}|{failure}", []).append(case.title)
    return [
        f"{label} at {', '.join(titles)}: {failure}"
        for (label, failure), titles in ((key.split("|", 1), t) for key, t in reasons.items())
    ]


def write(path: Path, text: str, platform: str) -> None:
    """Put the section of this kind of device into ``path``; those of other devices stay."""
    title = "# Benchmark results\n"
    old = path.read_text() if path.is_file() else title
    start, *sections = old.split("\n## ")
    kept = [part.rstrip() for part in sections if not part.startswith(f"{platform.upper()}\n")]
    path.write_text("\n\n## ".join([start.rstrip(), *sorted([*kept, text.rstrip()])]) + "\n")
