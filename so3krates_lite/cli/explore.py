"""The command `explore`: the attention explorer as an app in the browser."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from so3krates_lite.cli.options import (
    add_loading,
    add_model_and_data,
    command,
    load_data,
    load_model,
    positive,
)
from so3krates_lite.errors import UserError

MOST_FRAMES = 50


def add_explore(commands) -> None:
    parser = command(
        commands,
        "explore",
        _explore,
        "open the attention explorer in the browser",
        "Serves it on this machine only (127.0.0.1), behind a token, until Ctrl-C.\n\n"
        "  so3krates-lite explore ethanol-gfn2 ethanol-gfn2 --limit 20\n"
        "  so3krates-lite explore runs/mine trajectory.extxyz\n"
        "  so3krates-lite explore runs/before trajectory.extxyz --beside runs/after",
    )
    add_model_and_data(parser)
    parser.add_argument(
        "--beside", metavar="MODEL", help="a second model, side by side, and the difference"
    )
    parser.add_argument("--port", type=positive, help="[one that is free]")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    add_loading(parser)


def app_notebook(models: list[str], frames_file: str, titles: list[str]) -> dict:
    """A notebook of one cell that opens the explorer on one model, or on two side by side."""
    if len(models) == 1:
        call = f"explore({models[0]!r}, {frames_file!r}, title={titles[0]!r})"
    else:
        call = f"explore_two(*{models!r}, {frames_file!r}, names={tuple(titles)!r})"
    code = f"from so3krates_lite.explorer import explore, explore_two\n{call}"
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "id": "explorer",
        "metadata": {},
        "outputs": [],
        "source": code,
    }
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {
        "cells": [cell],
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _explore(options: argparse.Namespace) -> None:
    from so3krates_lite.datasets.frames_file import save_frames
    from so3krates_lite.ensemble import load_potential

    for name in ("voila", "anywidget", "nglview"):
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"The explorer needs {name}, which is not installed: "
                "pip install 'so3krates-lite[lab]'."
            )
    names = [options.model] if options.beside is None else [options.model, options.beside]
    potentials = [load_model(options), *map(load_potential, names[1:])]
    frames = load_data(options)
    if len(frames) > MOST_FRAMES:
        print(f"The first {MOST_FRAMES} of {len(frames)} structures are shown; --limit chooses.")
        frames = frames[:MOST_FRAMES]
    for potential in potentials:
        potential.check_elements(frames.numbers)
    with tempfile.TemporaryDirectory(prefix="so3krates-explore-") as folder:
        place = Path(folder)
        files = [str(place / f"model-{n}.safetensors") for n in range(len(names))]
        for potential, file in zip(potentials, files, strict=True):
            potential.save(file)
        save_frames(frames, place / "frames.npz")
        on = frames.info.get("name", Path(options.data).name)
        titles = [f"{Path(options.model).name} on {on}"] if len(names) == 1 else names
        notebook = app_notebook(files, str(place / "frames.npz"), titles)
        (place / "explorer.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
        _serve(place / "explorer.ipynb", options)


def offline_template(folder: Path) -> Path:
    """Voila's page without the lines that load icons from a network; returns its Jupyter path."""
    from jupyter_core.paths import jupyter_path

    places = [Path(path) / "lab" for path in jupyter_path("voila", "templates")]
    page = next(place for place in places if place.is_dir()) / "index.html.j2"
    lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
    ours = folder / "voila" / "templates" / "offline"
    ours.mkdir(parents=True)
    kept = "".join(line for line in lines if "//cdn." not in line)
    (ours / "index.html.j2").write_text(kept, encoding="utf-8")
    (ours / "conf.json").write_text('{"base_template": "lab"}', encoding="utf-8")
    return folder


def serve_command(notebook: Path, token: str, port: int) -> list[str]:
    """The call that serves a notebook as an app: on this machine only, behind a token."""
    return [
        sys.executable,
        "-m",
        "voila",
        str(notebook),
        "--Voila.ip=127.0.0.1",
        f"--port={port}",
        f"--token={token}",
        "--template=offline",
        "--VoilaConfiguration.show_tracebacks=True",
        "--no-browser",
    ]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _serve(notebook: Path, options: argparse.Namespace) -> None:
    token, port = secrets.token_urlsafe(24), options.port or free_port()
    address = f"http://127.0.0.1:{port}/?token={token}"
    paths = [str(offline_template(notebook.parent / "jupyter")), os.environ.get("JUPYTER_PATH", "")]
    paths = os.pathsep.join(filter(None, paths))
    # a terminated command takes its server along
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    call = serve_command(notebook, token, port)
    server = subprocess.Popen(call, env={**os.environ, "JUPYTER_PATH": paths})
    try:
        _wait_until_up(server, port)
        print(f"The explorer is at {address} (Ctrl-C ends it).", flush=True)
        if not options.no_browser:
            import webbrowser

            webbrowser.open(address)
        server.wait()
    except KeyboardInterrupt:
        print()
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_until_up(server: subprocess.Popen, port: int) -> None:
    # here, since every command would wait for these imports
    import urllib.error
    import urllib.request

    for _ in range(600):
        if server.poll() is not None:
            raise UserError(
                f"The server did not start (exit code {server.returncode}); its words stand above. "
                f"Is port {port} taken? Name another with --port."
            )
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/static/", timeout=1)
            return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.1)
    raise UserError(f"The server did not answer on port {port} within a minute.")
