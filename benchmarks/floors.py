"""How far a step is from what the machine could do at best: `python -m benchmarks.floors`.

Two floors, each measured on this device in the same run. *Starting*: every operation of the
compiled program has to be started, a kernel on a GPU, a function on a CPU; their number times what
the smallest one takes. *Arithmetic*: the floating-point operations of all matrix products, at the
rate of products of the size that a filter's are. The two may overlap, so a step can take less than
their sum; less than the larger one it can not.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from benchmarks.ours import Ours
from benchmarks.run import MOLECULES, geometries
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.passes import pairs_per_pass
from so3krates_lite.runtime.settings import compiler_options, hardware
from so3krates_lite.training.evaluation import format_table

# in a compiled program these are addresses, not work
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
CHAIN = 200
IN_WORDS = {"training": "training step", "evaluation": "energy and forces"}


def median_time(function: Callable[[], Any], seconds: float) -> float:
    """Median time (s) of a call, called for about ``seconds`` and at least five times."""
    times: list[float] = []
    function()
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def product_flops(jaxpr: Jaxpr | ClosedJaxpr) -> int:
    """Floating-point operations in the matrix products of a traced program, loops counted out."""
    total = 0
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            length = int(np.prod([shape[axis] for axis in contracted]))
            total += 2 * equation.outvars[0].aval.size * length
        inner = [product_flops(part) for part in _programs_in(equation.params)]
        times = equation.params["length"] if equation.primitive.name == "scan" else 1
        total += times * (max(inner) if equation.primitive.name == "cond" else sum(inner))
    return total


def _programs_in(value: Any) -> Iterator[Jaxpr | ClosedJaxpr]:
    if isinstance(value, Jaxpr | ClosedJaxpr):
        yield value
    elif isinstance(value, dict):
        yield from _programs_in(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _programs_in(part)


def executed_operations(program: str) -> int:
    """How many operations a compiled program starts in one run, from its text; loops counted out.

    What XLA has fused is one operation; a loop of unknown length counts as one turn.
    """
    bodies: dict[str, list[str]] = {}
    for block in re.finditer(r"^(ENTRY )?%?([\w.\-]+) .*\{\n((?:\s+.*\n)*?)\}", program, re.M):
        bodies["ENTRY" if block[1] else block[2]] = block[3].splitlines()

    def count(name: str) -> int:
        total = 0
        for line in bodies[name]:
            found = re.match(r"\s+(?:ROOT )?%?[\w.\-]+ = (?:\(.*?\)|\S+) ([a-z][\w\-]*)\(", line)
            operation = found[1] if found else "parameter"
            if operation == "while":
                often = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', line)
                inner = re.findall(r"(?:body|condition)=%?([\w.\-]+)", line)
                total += (int(often[1]) if often else 1) * sum(map(count, inner))
            elif operation == "call":
                total += count(re.search(r"to_apply=%?([\w.\-]+)", line)[1])
            elif operation not in FREE:
                total += 1
        return total

    return count("ENTRY")


@cache
def chain_of_products(rows: int, width: int) -> tuple[Callable[[], Any], int, int]:
    """`CHAIN` products in a row, how many operations that starts, and their floating-point ones."""
    x, w = jnp.ones((rows, width), jnp.float32), jnp.eye(width, dtype=jnp.float32)

    def chain(x, w):
        for _ in range(CHAIN):
            x = x @ w
        return x

    compiled = jax.jit(chain).lower(x, w).compile(compiler_options=compiler_options())
    operations = executed_operations(compiled.as_text())
    return lambda: jax.block_until_ready(compiled(x, w)), operations, CHAIN * 2 * rows * width**2


def line(ours: Ours, kind: str, pairs: int, seconds: float) -> dict[str, float]:
    """What a step or an evaluation takes, and what its parts would take at best."""
    made = ours.prepare(kind)
    steps = ours.run(kind)
    taken = median_time(lambda: ours.run(kind), seconds) / steps
    operations = executed_operations(ours.programs[kind].as_text()) / steps
    flops = product_flops(ours.trace(kind).jaxpr) / steps

    # timed anew beside every figure, since a machine's pace changes
    start, started, _ = chain_of_products(8, 8)
    multiply, _, multiplied = chain_of_products(pairs, ours.config.features)
    starting = operations * median_time(start, 2) / started
    arithmetic = flops * median_time(multiply, 2) / multiplied
    return {
        "measured (ms)": round(1e3 * taken, 2),
        "per second": round(1 / taken, 1),
        "operations": round(operations),
        "starting them (ms)": round(1e3 * starting, 2),
        "products (GFLOP)": round(flops / 1e9, 2),
        "computing them (ms)": round(1e3 * arithmetic, 2),
        "measured / larger floor": round(taken / max(starting, arithmetic), 1),
        **{f"{name} (s)": round(seconds, 1) for name, seconds in made.items()},
    }


def lines(
    molecule: str, config: So3kratesConfig, batches: Iterable[int], seconds: float
) -> list[dict[str, str | float]]:
    """`line` for each batch size: a training step by either optimiser, and an evaluation."""
    frames, found = geometries(molecule), []
    for batch_size in batches:
        for optimiser, kinds in (("adam", ("training", "evaluation")), ("muon", ("training",))):
            ours = Ours(frames, config, batch_size, optimiser)
            pairs = pairs_per_pass(batch_size * ours.data.batch.room)
            for kind in kinds:
                by = optimiser if kind == "training" else "-"
                case = {"molecule": molecule, "batch": batch_size, "work": kind, "by": by}
                found.append(case | line(ours, kind, pairs, seconds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floors", description=__doc__)
    parser.add_argument("--molecules", nargs="+", choices=MOLECULES, default=["ethanol"])
    parser.add_argument("--batches", nargs="+", type=int, default=[10, 100], metavar="B")
    parser.add_argument("--variant", choices=("paper", "v0.3"), default="paper")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each figure (8)")
    options = parser.parse_args()
    config = So3kratesConfig(variant=options.variant)
    rows = [
        row | {"work": IN_WORDS[row["work"]]}
        for name in options.molecules
        for row in lines(name, config, options.batches, options.seconds)
    ]
    print(format_table(rows))
    print(hardware())


if __name__ == "__main__":
    main()
