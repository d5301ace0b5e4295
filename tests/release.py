"""A release is built and tried where the clone is not: `make release`.

The sdist is built from the clone and the wheel from the sdist, so that one trial is of both. The
wheel is installed into an empty environment, with the pinned versions; in an empty folder the demo
runs, and the explorer answers in the browser's place. What it builds stays in dist/.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HERE = "import so3krates_lite; print(so3krates_lite.__file__)"


def environment(folder: Path, *packages: str) -> Path:
    """The folder of programs of a new environment with these packages."""
    venv.create(folder, with_pip=True, clear=True)
    programs = folder / "bin"
    pip = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *packages], check=True)
    return programs


def build(scratch: Path) -> Path:
    """Build both into dist/; returns the wheel."""
    for old in (ROOT / "dist").glob("so3krates_lite-*"):
        old.unlink()
    python = environment(scratch / "builder", "build") / "python"
    subprocess.run([python, "-m", "build", "--outdir", ROOT / "dist", ROOT], check=True)
    (wheel,) = (ROOT / "dist").glob("*.whl")
    return wheel


def try_out(wheel: Path, scratch: Path) -> None:
    """Install the wheel with its extra for notebooks, and use it in an empty folder."""
    pins = ("-c", str(ROOT / "constraints.txt"))
    programs = environment(scratch / "empty", *pins, f"{wheel}[lab]")
    folder = scratch / "elsewhere"
    folder.mkdir()
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "SO3KRATES"))}
    options = {"cwd": folder, "env": inherited}
    place = subprocess.check_output([programs / "python", "-c", HERE], text=True, **options)
    assert (scratch / "empty") in Path(place.strip()).parents, f"it is taken from {place}"
    program = programs / "so3krates-lite"
    subprocess.run([program, "--version"], check=True, **options)
    subprocess.run([program, "demo", "--minutes", "0.1"], check=True, **options)
    assert (folder / "demo" / "report.html").stat().st_size > 1e6
    explorer = [program, "explore", "ethanol-gfn2", "ethanol-gfn2", "--limit", "2", "--no-browser"]
    server = subprocess.Popen(explorer, stdout=subprocess.PIPE, text=True, **options)
    try:
        address = re.search(r"http\S+", server.stdout.readline())[0]
        with urllib.request.urlopen(address, timeout=240) as answer:
            assert answer.status == 200 and b"<html" in answer.read()
    finally:
        server.terminate()
        server.wait(30)


def main() -> int:
    """Build, try, and say what is in dist/."""
    with tempfile.TemporaryDirectory(prefix="so3krates-release-") as name:
        scratch = Path(name)
        wheel = build(scratch)
        try_out(wheel, scratch)
    for path in sorted((ROOT / "dist").iterdir()):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
