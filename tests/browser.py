"""A notebook server and a headless browser, for tests that look at what is really drawn."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SOFTWARE_WEBGL = (
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    # and the page itself without WebGL, as Chromium does by itself where there is no graphics card
    "--disable-gpu-compositing",
    "--disable-gpu-rasterization",
)
NO_WEBGL = ("--disable-gpu", "--disable-3d-apis")
PATIENCE = 240  # seconds; a loaded machine is slow


def missing() -> str:
    """Why there can be no test in a browser here; empty: there can."""
    if not any(map(shutil.which, CHROMIUM)):
        return "no Chromium is installed"
    if not shutil.which("chromedriver"):
        return "no chromedriver is installed"
    return ""


@contextlib.contextmanager
def browser(webgl: bool = True) -> Iterator:
    """A headless Chromium that draws WebGL in software, or not at all."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = next(filter(None, map(shutil.which, CHROMIUM)))
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--window-size=1360,1700",
        "--hide-scrollbars",
        "--disable-background-networking",
        "--no-first-run",
        *(SOFTWARE_WEBGL if webgl else NO_WEBGL),
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_script_timeout(PATIENCE)
    try:
        yield driver
    finally:
        driver.quit()


def notebook_of(code: str) -> str:
    """A notebook of one cell, as text."""
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "id": "cell",
        "metadata": {},
        "outputs": [],
        "source": code,
    }
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {"cells": [cell], "metadata": {"kernelspec": kernel}}
    return json.dumps({**content, "nbformat": 4, "nbformat_minor": 5})


@contextlib.contextmanager
def served(application: str, folder: Path, code: str) -> Iterator[str]:
    """Address of a notebook with ``code``, served by "lab" or "notebook"."""
    (folder / "shown.ipynb").write_text(notebook_of(code), encoding="utf-8")
    token, port = secrets.token_hex(8), _free_port()
    scratch = folder / "jupyter"
    call = [sys.executable, "-m", "jupyterlab" if application == "lab" else "notebook"]
    server = subprocess.Popen(
        [
            *call,
            "--allow-root",
            "--no-browser",
            "--ip=127.0.0.1",
            f"--port={port}",
            f"--IdentityProvider.token={token}",
            "--expose-app-in-browser",
            f"--ServerApp.root_dir={folder}",
        ],
        env={**os.environ, "JUPYTER_CONFIG_DIR": str(scratch), "JUPYTER_RUNTIME_DIR": str(scratch)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    base = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _answers(f"{base}/api?token={token}"), "the server's answer")
        place = "doc/tree" if application == "lab" else "notebooks"
        yield f"{base}/{place}/shown.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait(30)


@contextlib.contextmanager
def app_of(*arguments: str) -> Iterator[str]:
    """Address of the command ``explore`` with some arguments."""
    server = subprocess.Popen(
        [sys.executable, "-m", "so3krates_lite.cli", "explore", *arguments, "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        line = server.stdout.readline()
        yield re.search(r"http\S+", line)[0]
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()


def run_all(driver) -> None:
    """Run the opened notebook and wait for its widgets to be drawn."""
    ready = "return !!(window.jupyterapp && document.querySelector('.jp-Notebook .jp-Cell'))"
    wait_for(lambda: driver.execute_script(ready), "the notebook")
    time.sleep(5)  # the kernel
    driver.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")


def wait_until_drawn(driver, panels: int) -> None:
    """Wait for so many plots, and for the molecule's canvas or the still in its place."""
    count = "return document.querySelectorAll('canvas[data-count]').length"
    wait_for(lambda: driver.execute_script(count) >= panels, f"{panels} plots")
    time.sleep(4)


def molecule_canvas(driver):
    """The canvas of the 3D view."""
    from selenium.webdriver.common.by import By

    found = driver.find_elements(By.CSS_SELECTOR, "canvas:not([data-count])")
    return next(canvas for canvas in found if canvas.size["height"] > 200)


def pixels(element) -> np.ndarray:
    """What an element shows, (height, width, 3)."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB"))


def share_drawn(image: np.ndarray) -> float:
    """Which part of the pixels differs from the most frequent colour."""
    flat = image.reshape(-1, 3)
    colours, number = np.unique(flat, axis=0, return_counts=True)
    return float((np.abs(flat - colours[number.argmax()].astype(int)).sum(1) > 30).mean())


def complaints(driver) -> list[str]:
    """Errors in the browser's log that are not of the notebook server's own making."""
    known = ("shared module is not a function", "favicon", "WebGL", "notebook_core", "jlab_core")
    return [
        entry["message"]
        for entry in driver.get_log("browser")
        if entry["level"] == "SEVERE" and not any(word in entry["message"] for word in known)
    ]


def _free_port() -> int:
    from so3krates_lite.cli.explore import free_port

    return free_port()


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=2)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def wait_for(happens, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not happens():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come within {PATIENCE} s")
        time.sleep(0.5)
