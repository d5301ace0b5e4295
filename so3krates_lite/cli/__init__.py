"""The command line: train, evaluate, predict, simulate, look at attention, compare, handle data.

Each command is a thin layer over the Python function of the same name. A user's mistake ends in one
sentence on standard error and exit status 2; anything else is a bug and shows its trace.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from so3krates_lite import __version__
from so3krates_lite.cli.data import add_data
from so3krates_lite.cli.engines import add_export, add_serve
from so3krates_lite.cli.experiment import add_experiment
from so3krates_lite.cli.explore import add_explore
from so3krates_lite.cli.interpret import add_faithfulness
from so3krates_lite.cli.simulate import add_md, add_stability, add_vibrations
from so3krates_lite.cli.spectrum import add_spectrum
from so3krates_lite.cli.training import add_train
from so3krates_lite.cli.use import add_attention, add_demo, add_evaluate, add_predict
from so3krates_lite.errors import UserError

log = logging.getLogger("so3krates_lite")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Å is no reason to stop
    if not log.handlers:
        log.addHandler(Notes())
    try:
        options = build_parser().parse_args(arguments)
        options.run(options)
        sys.stdout.flush()  # while a full disk can still be told
    except UserError as error:
        print(f"so3krates-lite: {error}", file=sys.stderr)
        _leave_others()
        return 2
    except KeyboardInterrupt:
        print("so3krates-lite: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader (`| head`) has left; nothing is wrong
    except OSError as error:
        what = f"{error.filename or 'the output'}: {error.strerror or error}"
        print(f"so3krates-lite: {what}: check path, permissions and room.", file=sys.stderr)
        return 2
    return 0


def _leave_others() -> None:
    """End at once where one of several processes cannot go on: JAX would wait for the others, and
    then end this one with a trace of its own."""
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(2)


class Notes(logging.Handler):
    """Remarks about what was read go to standard error, each on a line."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            print(f"so3krates-lite: {record.getMessage()}", file=sys.stderr)


class Parser(argparse.ArgumentParser):
    """Tells a wrong argument as every other mistake is told, in one sentence."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}: see `{self.prog} --help`.")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="so3krates-lite",
        description="Equivariant attention for atoms: train So3krates, use it, look inside it.",
        epilog="Start with `so3krates-lite demo`. Every command explains itself with --help.",
    )
    parser.add_argument("--version", action="version", version=f"so3krates-lite {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_train(commands)
    add_evaluate(commands)
    add_predict(commands)
    add_attention(commands)
    add_explore(commands)
    add_vibrations(commands)
    add_md(commands)
    add_stability(commands)
    add_spectrum(commands)
    add_serve(commands)
    add_export(commands)
    add_faithfulness(commands)
    add_experiment(commands)
    add_data(commands)
    add_demo(commands)
    return parser
