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
}


def start(name: str, config: dict, frames: str, batch_size: int, launched: float) -> tuple:
    """Import, set up, trace, compile and step once; the time of each in seconds."""
    module, attribute = IMPLEMENTATIONS[name]
    implementation_of = getattr(import_module(module), attribute)
    import jax

    jax.devices()
    times = {"import": time.time() - launched}

    from so3krates_lite.config import ModelConfig
    from so3krates_lite.datasets import load

    frames = load(frames)
    begin = time.perf_counter()
    implementation = implementation_of(frames, ModelConfig.from_dict(config), batch_size)
    jax.block_until_ready(implementation.parameters)
    times["set-up"] = time.perf_counter() - begin

    programs = []
    for kind, trace in (
        ("training", implementation.trace_training),
        ("evaluation", implementation.trace_evaluation),
    ):
        begin = time.perf_counter()
        lowered = trace().lower()
        traced = time.perf_counter()
        programs.append(lowered.compile())
        times[f"{kind}: trace"] = traced - begin
        times[f"{kind}: compile"] = time.perf_counter() - traced
        begin = time.perf_counter()
        if kind == "training":
            implementation.train(programs[0], implementation.steps_per_call)
        else:
            jax.block_until_ready(implementation.evaluate(programs[1]))
        times[f"{kind}: first"] = time.perf_counter() - begin
    return implementation, programs, times


def repeat(implementation, programs, kind: str, seconds: float) -> float:
    """Mean time (s) of a step or an evaluation, repeated for about ``seconds``."""
    import jax

    done, begin = 0, time.perf_counter()
    while done == 0 or time.perf_counter() - begin < seconds:
        if kind == "training":
            implementation.train(programs[0], implementation.steps_per_call)
            done += implementation.steps_per_call
        else:
            jax.block_until_ready(implementation.evaluate(programs[1]))
            done += 1
    return (time.perf_counter() - begin) / done


def facts(implementation) -> dict:
    """Memory in MiB at its peak, parameters, steps in a call, device and versions."""
    import resource
    from importlib.metadata import version

    import jax

    from so3krates_lite.model import count_parameters
    from so3krates_lite.runtime import hardware

    # kilobytes on Linux, bytes on macOS
    unit = 1 if sys.platform == "darwin" else 1024
    peak = {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20}
    device = jax.devices()[0]
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if statistics:
        peak["device memory"] = statistics["peak_bytes_in_use"] / 2**20
    return {
        **peak,
        "parameters": count_parameters(implementation.parameters),
        "steps per call": implementation.steps_per_call,
        "platform": device.platform,
        "hardware": hardware(),
        "versions": {n: version(n) for n in ("jax", "jaxlib", "flax", "optax", "e3x", "numpy")},
    }


def main() -> None:
    # whatever an implementation prints must not come between the answers
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    implementation = programs = None
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":
            del request["do"]
            implementation, programs, answer = start(**request)
        elif request["do"] == "repeat":
            answer = repeat(implementation, programs, request["kind"], request["seconds"])
        else:
            answer = facts(implementation)
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
