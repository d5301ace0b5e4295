"""How long the explorer takes to show another frame, in a real browser.

    python -m benchmarks.redraw

Molecules of 21 and 200 atoms at the density of a molecular liquid, an untrained network of the
paper's widths, all pairs above 5 % of the scale. Medians over clicks of four times: what the kernel
needs to prepare all views, what the scripts of all views need to draw them, and what passes in the
browser from a click on another frame until all scripts have drawn, the way to the kernel and back
included, and until the molecule is painted as well. The browser has no graphics card: WebGL runs
in software, and the page is put together by the processor.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from so3krates_lite.runtime.settings import hardware
from so3krates_lite.training.evaluation import format_table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

REST = 1.0  # seconds between clicks
SETUP = """
import numpy as np
import so3krates_lite as s3
from so3krates_lite.explorer import explore
from so3krates_lite.structures.frames import Frames

rng = np.random.default_rng(0)
atoms, placed = {atoms}, []
edge = (atoms / 0.1) ** (1 / 3)
while len(placed) < atoms:
    point = rng.uniform(0, edge, 3)
    if all(np.linalg.norm(point - other) > 0.95 for other in placed):
        placed.append(point)
positions = np.array(placed) + 0.05 * rng.normal(size=(4, atoms, 3))
numbers = np.tile(rng.choice([1, 6, 8], atoms), (4, 1))
config = s3.So3kratesConfig(layers=3)
view = explore(s3.Potential.random(config), Frames(numbers, positions))
"""
SHOWN = SETUP + "view"

# A click on the plot over frames. Once the molecule and all plots have counted on, the scripts are
# through; the molecule is painted when a pixel of it can be read after the next frame has begun.
CLICK = """
const [canvas, share, done] = arguments;
const shown = [...document.querySelectorAll('[data-count]')].filter(e => e.offsetParent);
const drawn = () => shown.map(e => +e.dataset.count);
const before = drawn(), box = canvas.getBoundingClientRect();
const at = {bubbles: true, clientX: box.left + 64 + share * (box.width - 76),
            clientY: box.top + box.height / 2};
const begin = performance.now();
canvas.dispatchEvent(new MouseEvent('click', at));
const passed = () => performance.now() - begin;
const painted = () => {
  const molecule = document.querySelector('div[data-count] canvas');
  const gl = molecule.getContext('webgl2') || molecule.getContext('webgl');
  gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
};
const wait = () => {
  if (!drawn().every((n, k) => n > before[k])) { setTimeout(wait, 2); return; }
  const scripts = shown.reduce((sum, e) => sum + Number(e.dataset.ms), 0), through = passed();
  requestAnimationFrame(() => { painted(); done([scripts, through, passed()]); });
};
wait();
"""


def kernel_time(atoms: int, clicks: int) -> tuple[float, int]:
    """Milliseconds to prepare all views of another frame, and how many tubes are drawn."""
    import dataclasses

    from so3krates_lite.explorer import drawing

    space: dict = {}
    exec(SETUP.format(atoms=atoms), space)
    view, times = space["view"], []
    for k in range(clicks):
        begin = time.perf_counter()
        view.state = dataclasses.replace(view.state, frame=(k + 1) % 4)
        times.append(1e3 * (time.perf_counter() - begin))
    return float(np.median(times)), int(drawing.is_shown(view.record, view.state).sum())


def browser_times(atoms: int, clicks: int) -> list[float]:
    """Milliseconds of all scripts, and from a click until they are through and until all is
    painted."""
    from browser import browser, run_all, served, wait_until_drawn
    from selenium.webdriver.common.by import By

    with (
        tempfile.TemporaryDirectory() as folder,
        served("lab", Path(folder), SHOWN.format(atoms=atoms)) as address,
        browser() as driver,
    ):
        driver.get(address)
        run_all(driver)
        wait_until_drawn(driver, panels=5)
        series = driver.find_elements(By.CSS_SELECTOR, "canvas[data-count]")[-1]
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", series)
        times = []
        for share in np.tile([0.34, 0.66, 0.98, 0.02], -(-clicks // 4))[:clicks]:
            times.append(driver.execute_async_script(CLICK, series, share))
            time.sleep(REST)
    return np.median(times, axis=0).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, nargs="+", default=[21, 200])
    parser.add_argument("--clicks", type=int, default=12)
    options = parser.parse_args()
    rows = []
    for atoms in options.atoms:
        kernel, tubes = kernel_time(atoms, options.clicks)
        scripts, through, painted = browser_times(atoms, options.clicks)
        rows.append(
            {
                "atoms": atoms,
                "tubes": tubes,
                "kernel (ms)": round(kernel, 1),
                "scripts in the browser (ms)": round(scripts, 1),
                "click until drawn (ms)": round(through, 1),
                "and painted (ms)": round(painted, 1),
            }
        )
    print(format_table(rows))
    print(f"{hardware()}; headless Chromium, WebGL in software")


if __name__ == "__main__":
    main()
