"""A contender's process: asked by lines of JSON, watched for time and memory."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.contenders import Contender

ROOT = Path(__file__).resolve().parents[1]
LEFT_FREE = 1.0  # GiB of the machine's memory that no worker may take


class WorkerFailed(Exception):
    """A worker ended early; the message says why, or is the last thing it said."""


def memory(path: str, name: str) -> float:
    """An entry of a file in /proc in GiB; infinite where there is no such file or entry."""
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 2**20
    except OSError:
        pass
    return float("inf")


class Worker:
    """A process of `benchmarks/worker.py`."""

    def __init__(self, contender: Contender, cache: Path, timeout: float) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            "SO3KRATES_COMPILATION_CACHE": str(cache) if contender.cached else "off",
            # several processes share a GPU's memory
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        }
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        # lives as long as the process
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.timeout = timeout
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
        """The worker's answer.

        Raises:
            WorkerFailed: it ended, took longer than allowed or left the machine no memory
        """
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            self.watch()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.process.wait()
            raise WorkerFailed(f"{self.last_words()} (exit code {self.process.returncode})")
        return json.loads(answer)

    def watch(self) -> None:
        """Wait for an answer; end a process that takes too long or too much."""
        begin = time.monotonic()
        while not select.select([self.process.stdout], [], [], 0.1)[0]:
            reason = ""
            if time.monotonic() - begin > self.timeout:
                reason = f"longer than {self.timeout:.0f} s"
            elif memory("/proc/meminfo", "MemAvailable") < LEFT_FREE:
                used = memory(f"/proc/{self.process.pid}/status", "VmRSS")
                reason = f"more memory than there is ({used:.1f} GiB and growing)"
            if reason:
                self.process.kill()
                self.process.wait()
                raise WorkerFailed(reason)

    def last_words(self) -> str:
        self.errors.seek(0)
        said = [line for line in self.errors.read().splitlines() if line.strip()]
        return said[-1] if said else "no message"

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self.process.wait()
        self.errors.close()
