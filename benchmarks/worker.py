"""One implementation in a process of its own; `benchmarks/run.py` starts it and asks it things.

Requests come as lines of JSON on standard input, and each is answered by one line on standard
output. While it waits it uses no processor, so that several workers can take turns.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module

IMPLEMENTATIONS = {
    "ours": ("benchmarks.ours", "Ours"),
    "straightforward": ("benchmarks.straightforward", "Straightforward"),
    "original": ("benchmarks.original", "Original"),
    "mace": ("benchmarks.peers.mace", "Mace"),
    "nequip": ("benchmarks.peers.nequip", "NequIP"),
    "painn": ("benchmarks.peers.painn", "PaiNN"),
    "so3lr: ours": ("benchmarks.so3lr.ours", "Ours"),
    "so3lr: original": ("benchmarks.so3lr.original", "Original"),
    "so3lr: torch": ("benchmarks.so3lr.port", "Port"),
}


def start(
    name: str, settings: dict, frames: str, batch_size: int, kinds: list[str], launched: float
) -> tuple:
    """Import, set up, trace, compile and step once; the time of each in seconds."""
    module, attribute = IMPLEMENTATIONS[name]
    implementation_of = getattr(import_module(module), attribute)
    implementation_of.start_device()
    times = {"import": time.time() - launched}

    inputs = implementation_of.read(frames, settings)
    begin = time.perf_counter()
    implementation = implementation_of(*inputs, batch_size)
    implementation.wait()
    times["set-up"] = time.perf_counter() - begin
    times["neighbours"] = implementation.neighbours
    for kind in kinds:
        parts = implementation.prepare(kind)
        times |= {f"{kind}: {part}": seconds for part, seconds in parts.items()}
        begin = time.perf_counter()
        implementation.run(kind)
        times[f"{kind}: first"] = time.perf_counter() - begin
        implementation.settle(kind)
    return implementation, times


def repeat(implementation, kind: str, seconds: float) -> float:
    """Mean time (s) of a step or an evaluation, repeated for about ``seconds``."""
    done, begin = 0, time.perf_counter()
    while done == 0 or time.perf_counter() - begin < seconds:
        done += implementation.run(kind)
    return (time.perf_counter() - begin) / done


def facts(implementation) -> dict:
    """What the implementation says of itself, steps in a call, and the peak memory in MiB."""
    import resource

    # kilobytes on Linux, bytes on macOS
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        **implementation.facts(),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20,
        "steps per call": implementation.steps_per_call,
    }


def main() -> None:
    # whatever an implementation prints must not come between the answers
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    implementation = None
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":
            del request["do"]
            implementation, answer = start(**request)
        elif request["do"] == "repeat":
            answer = repeat(implementation, request["kind"], request["seconds"])
        else:
            answer = facts(implementation)
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
