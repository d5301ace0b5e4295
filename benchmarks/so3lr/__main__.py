"""Energies and forces of SO3LR: ours beside the authors' own and so3krates-torch.

    python -m benchmarks.so3lr

All compute the same published weights in float32 on the CPU, with the same reach of the physical
terms, and in the same run it is checked that they give the same forces and energies.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.contenders import Contender, missing_peer
from benchmarks.report import Case, Result, failures, memory_in, number, table, write
from benchmarks.run import HERE, measure
from benchmarks.systems import chain, ethanol, water_box
from so3krates_lite.datasets import save_frames
from so3krates_lite.structures.frames import Frames

MOLECULES = {9: ethanol, 56: lambda: chain(22, 6), 148: lambda: chain(60, 17)}
WATER, GROWING = (512,), (64, 512, 1728)  # molecules: 1,536 atoms; 192 to 5,184 atoms
ALL_PAIRS, IN_WATER = 1000.0, 12.0  # Å, of electrostatics and dispersion
WAYS = ("made once", "calculator")
# Two programs in float32 differ by a few units of the last digit that their largest terms have.
FORCES_AGREE = 1e-4  # eV/Å, or of the largest force where that is above 1 eV/Å
ENERGIES_AGREE = 1e-5  # eV per atom
LEGEND = """\
Milliseconds per call: the best of up to {rounds} turns of {seconds:g} s and their median, all
taking turns; in brackets how many times as long as ours, measured in the same way. *Made once*:
neighbours and inputs are made before, a call computes energy and forces. *Calculator*: the ASE
calculator at positions that move by up to 0.01 Å a call, everything that it does included. *First
call* compiles, no compiled program is kept from before. Memory is the process's at its peak.
*Forces* and *energy* are the largest deviation from ours of the first row: beyond {forces:g} eV/Å
(of the largest force, where that is above 1 eV/Å) or {energies:g} eV an atom, it says so. Molecules
are computed with a reach of {all_pairs:g} Å, which is all pairs, water with {in_water:g} Å. All in
float32 on the CPU."""


def contenders(tiny: bool) -> tuple[list[Contender], list[str]]:
    """The rows, ours first, and why who is missing is missing."""
    workers, skipped = {"ours": sys.executable}, []
    missing = {} if tiny else {"original": missing_original(), "torch": missing_torch()}
    for worker, (reason, variable) in missing.items():
        if reason:
            skipped.append(f"{worker}: {reason}")
        else:
            workers[worker] = os.environ[variable]
    return [
        Contender(
            f"{worker}, {way}",
            f"so3lr: {worker}",
            way,
            python=python,
            settings={"calculator": way == "calculator", "tiny": tiny},
        )
        for way in WAYS
        for worker, python in workers.items()
    ], skipped


def missing_torch() -> tuple[str, str]:
    variable = "SO3KRATES_SO3LR_TORCH_PYTHON"
    return missing_peer(variable, "so3krates_torch"), variable


def missing_original() -> tuple[str, str]:
    variable = "SO3KRATES_SO3LR_PYTHON"
    folders = [Path(f) for f in os.environ.get("SO3KRATES_SO3LR", "").split(os.pathsep) if f]
    for wanted in ("so3lr/params", "mlff/md", "glp", "jraph"):
        if not any((folder / wanted).is_dir() for folder in folders):
            return f"SO3KRATES_SO3LR names no checkout that has {wanted}", variable
    return missing_peer(variable, "jax"), variable


def deviations(result: Result, ours: Result) -> tuple[float, float, bool] | None:
    """Of forces (eV/Å) and of energies (eV per atom) from ours, and whether that is agreement."""
    if "forces" not in result.facts or "forces" not in ours.facts:
        return None
    expected, found = (np.array(one.facts["forces"]) for one in (ours, result))
    force = float(np.abs(found - expected).max())
    energy = abs(result.facts["energy"] - ours.facts["energy"]) / len(expected)
    scale = max(1.0, float(np.abs(expected).max()))
    return force, energy, force <= FORCES_AGREE * scale and energy <= ENERGIES_AGREE


def ratio(value: float, ours: float | None) -> str:
    return f"{number(value)} ({value / ours:.2g}×)" if ours else number(value)


def beside(cases: list[Case], rows: list[Contender]) -> list[str]:
    """Everything of every system and row."""
    header = ["", "", "best / ms", "median / ms", "first call / s", "peak memory / MiB"]
    header += ["forces / eV/Å", "energy / eV per atom"]
    lines = []
    for case in cases:
        reference = case.results[rows[0].label]
        own = {row.variant: case.results[row.label] for row in reversed(rows) if is_ours(row)}
        for row in rows:
            result = case.results[row.label]
            times = result.times.get("evaluation")
            if not times:
                lines.append([case.title, row.label, "failed", *["–"] * (len(header) - 3)])
                continue
            compared = {} if is_ours(row) else own[row.variant].times
            theirs = compared.get("evaluation", [])
            agreement = None if result is reference else deviations(result, reference)
            differs = "" if agreement is None or agreement[2] else " differs"
            lines.append(
                [
                    case.title,
                    row.label,
                    ratio(1000 * min(times), 1000 * min(theirs) if theirs else None),
                    ratio(1000 * np.median(times), 1000 * np.median(theirs) if theirs else None),
                    number(result.median("evaluation: first")),
                    memory_in(result),
                    f"{agreement[0]:.1e}{differs}" if agreement else "–",
                    f"{agreement[1]:.1e}{differs}" if agreement else "–",
                ]
            )
    return table(header, lines)


def is_ours(row: Contender) -> bool:
    return row.worker == "so3lr: ours"


def growing(cases: list[Case], row: Contender) -> list[str]:
    """Ours of ever larger boxes: is memory linear in the number of atoms?"""
    lines, before = [], None
    for case in cases:
        result = case.results[row.label]
        memory, median = result.facts.get("memory"), result.median("evaluation")
        added = "–"
        if before and memory:
            added = number(1024 * (memory - before[1]) / (case.atoms - before[0]))
        per_atom = None if median is None else 1e6 * median / case.atoms
        lines.append([case.title, number(per_atom), memory_in(result), added])
        before = (case.atoms, memory) if memory else before
    header = ["", "per atom / µs", "peak memory / MiB", "KiB for each further atom"]
    return table(header, lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.so3lr", description=__doc__)
    add = parser.add_argument
    add("--molecules", nargs="*", type=int, choices=MOLECULES, default=list(MOLECULES))
    add("--structures", nargs="*", type=Path, default=[], help="files of molecules, besides")
    add("--water", nargs="*", type=int, default=list(WATER), metavar="N", help="molecules")
    add("--growing", nargs="*", type=int, default=list(GROWING), metavar="N", help="only ours")
    add("--tiny", action="store_true", help="ours alone, small and random: does it all run?")
    add("--starts", type=int, default=1, help="fresh processes of each (1)")
    add("--rounds", type=int, default=7, help="rounds of taking turns (7)")
    add("--seconds", type=float, default=2.0, help="length of a turn (2)")
    add("--patience", type=float, default=60.0, help="seconds of turns for one figure (60)")
    add("--timeout", type=float, default=900.0, help="seconds for a start or a turn (900)")
    add("--write", action="store_true", help="put the tables into benchmarks/RESULTS.md")
    add("--raw", type=Path, help="file for every single time, as JSON")
    return parser.parse_args()


def read(path: Path) -> Frames:
    """The first structure of a file, as a molecule with no labels that tell."""
    from ase.io import read as read_atoms

    atoms = read_atoms(path, index=0)
    none = {"energy": np.zeros(1), "forces": np.zeros((1, len(atoms), 3))}
    info = {"name": f"{path.stem}, {len(atoms)} atoms"}
    return Frames(numbers=atoms.numbers[None], positions=atoms.positions[None], info=info, **none)


def main() -> None:
    arguments = parse()
    os.environ["JAX_PLATFORMS"] = "cpu"
    rows, skipped = contenders(arguments.tiny)

    def case_of(frames: Frames, rows: list[Contender]) -> Case:
        title = frames.info["name"]
        print(title, file=sys.stderr, flush=True)
        reach = {"long_cutoff": IN_WATER if frames.is_periodic else ALL_PAIRS}
        told = [dataclasses.replace(row, settings=row.settings | reach) for row in rows]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "frames.npz"
            save_frames(frames, path)
            results = measure(told, path, 1, ("evaluation",), arguments)
        return Case(title, int(frames.n_atoms[0]), results)

    molecules = [MOLECULES[size]() for size in arguments.molecules]
    molecules += [read(path) for path in arguments.structures]
    boxes = [water_box(size) for size in arguments.water]
    cases = [case_of(frames, rows) for frames in [*molecules, *boxes]]
    large = [case_of(water_box(size), rows[:1]) for size in arguments.growing]
    text = section(cases, large, rows, skipped, arguments)
    print(text)
    if arguments.write and not arguments.tiny:
        write(HERE / "RESULTS.md", text, "SO3LR, cpu")
    if arguments.raw:
        raw = [asdict(case) for case in [*cases, *large]]
        arguments.raw.write_text(json.dumps(raw, indent=1) + "\n")


def section(
    cases: list[Case],
    large: list[Case],
    rows: list[Contender],
    skipped: list[str],
    arguments: argparse.Namespace,
) -> str:
    """Everything that was measured, as text whose first line names it."""
    facts = {}
    for case in [*cases, *large]:
        for row in rows:
            result = case.results.get(row.label, Result())
            if result.facts:
                facts[row.worker] = result.facts
    if not facts:
        raise SystemExit(
            "Nothing could be measured: " + "; ".join([*skipped, *failures(cases, rows)])
        )
    versions = [
        f"{worker.removeprefix('so3lr: ')} with "
        + " ".join(f"{name} {version}" for name, version in found["versions"].items())
        for worker, found in facts.items()
    ]
    legend = LEGEND.format(
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        forces=FORCES_AGREE,
        energies=ENERGIES_AGREE,
        all_pairs=ALL_PAIRS,
        in_water=IN_WATER,
    )
    first = next(iter(facts.values()))
    lines = [
        "SO3LR, CPU",
        "",
        f"{datetime.date.today()}; {first['hardware']}; {'; '.join(versions)}.",
    ]
    if cases:
        lines += ["", "### Energy and forces", "", *beside(cases, rows)]
    if large:
        lines += ["", "### Ours in ever larger boxes", "", *growing(large, rows[0])]
    left_out = [*skipped, *failures([*cases, *large], rows)]
    return "\n".join([*lines, "", legend, *[f"\nLeft out: {reason}." for reason in left_out]])


if __name__ == "__main__":
    main()
