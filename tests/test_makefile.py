"""`make` installs for the demonstration what that needs, and leaves no half environment behind.

A stand-in for Python makes the environment in no time and writes down what pip is asked for; what
is under test is the Makefile's own: which marks stand after which end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# "hang" waits until it is told to stop and then gives up in good order, as pip does
STAND_IN = """#!/bin/sh
case "$*" in
"-m venv"*)
    rm -rf .venv; mkdir -p .venv/bin; echo cleared >> log
    cp python .venv/bin/python
    printf '#!/bin/sh\\necho "program $*" >> ../log\\n' > .venv/bin/so3krates-lite
    chmod +x .venv/bin/so3krates-lite ;;
"-m pip"*)
    for last; do :; done
    echo "pip $last" >> log
    case "$PIP" in
    fail) exit 1 ;;
    hang) trap 'exit 1' INT TERM; sleep 20 & wait ;;
    esac ;;
*compileall*) echo compiled >> log ;;
esac
"""
# a process that was started in the background ignores an interruption, and so do all it starts
HEARD = "import os, signal, sys; signal.signal(2, signal.SIG_DFL); os.execvp('make', sys.argv[1:])"


@pytest.fixture
def folder(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "python").write_text(STAND_IN.replace("../log", str(tmp_path / "log")))
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "log").touch()
    return tmp_path


def make(folder: Path, target: str, pip: str = "") -> subprocess.Popen:
    inherited = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.Popen(
        [sys.executable, "-c", HEARD, "make", target, "PYTHON=./python"],
        cwd=folder,
        env=inherited | {"PIP": pip},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def done(folder: Path, target: str, pip: str = "") -> tuple[int, list[str]]:
    """The status of `make target`, and what was done for it."""
    (folder / "log").write_text("")
    status = make(folder, target, pip).wait(60)
    return status, (folder / "log").read_text().splitlines()


EXTRAS = "lab,analysis,test,generate,simulate,scale,engines"
REST = [f"pip .[{EXTRAS}]", "compiled", "program data fetch so3lr"]


def test_the_demonstration_installs_the_package_alone(folder):
    assert done(folder, "demo") == (0, ["cleared", "pip .", "program demo"])
    assert done(folder, "demo") == (0, ["program demo"])
    assert done(folder, "setup") == (0, REST)
    assert done(folder, "demo") == (0, ["program demo"])
    assert done(folder, "setup") == (0, [])


def test_a_changed_list_of_packages_is_installed_on_top(folder):
    done(folder, "setup")
    later = time.time() + 2
    os.utime(folder / "pyproject.toml", (later, later))
    assert done(folder, "setup", pip="fail") == (2, ["pip ."])
    os.utime(folder / "pyproject.toml")
    assert done(folder, "setup") == (0, ["pip .", *REST])


def test_an_environment_from_before_there_were_two_marks_is_kept(folder):
    done(folder, "setup")
    (folder / ".venv" / ".first").unlink()
    assert done(folder, "setup") == (0, ["pip .", *REST])


def test_where_pip_gives_up_the_demonstration_still_runs(folder):
    done(folder, "demo")
    assert done(folder, "setup", pip="fail") == (2, REST[:1])
    assert done(folder, "demo") == (0, ["program demo"])
    assert done(folder, "setup") == (0, REST)


def test_a_first_installation_that_fails_starts_over(folder):
    assert done(folder, "demo", pip="fail") == (2, ["cleared", "pip ."])
    assert done(folder, "demo") == (0, ["cleared", "pip .", "program demo"])


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("before", "target"), [(None, "demo"), ("demo", "setup"), ("setup", "docs")]
)
def test_what_is_interrupted_starts_over(folder, before, target, stop):
    if before:
        done(folder, before)
    (folder / "log").write_text("")
    running = make(folder, target, pip="hang")
    until = time.monotonic() + 30
    while "pip" not in (folder / "log").read_text() and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(running.pid, stop)
    assert running.wait(30) != 0
    assert done(folder, "demo") == (0, ["cleared", "pip .", "program demo"])
