"""Explorer and report in a real browser: pixels, and clicks that reach the other views."""

from __future__ import annotations

import re
import time
import urllib.request

import numpy as np
import pytest
from browser import (
    app_of,
    browser,
    complaints,
    missing,
    molecule_canvas,
    pixels,
    run_all,
    served,
    share_drawn,
    wait_for,
    wait_until_drawn,
)
from synthetic import told_record

from so3krates_lite.report.write import write_report

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser"),
]

CODE = """import so3krates_lite as s3
from so3krates_lite.explorer import explore
explore("ethanol-gfn2", s3.load("ethanol-gfn2")[:3])"""
SAID = (
    "return [...document.querySelectorAll('p')].map(e => e.textContent)"
    ".find(t => t.includes('directed pairs drawn')) || ''"
)

TIP = "return arguments[0].nextElementSibling.textContent"


def click(driver, element, dx: int, dy: int) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).move_to_element_with_offset(element, dx, dy).click().perform()


def hover(driver, element, dx: int, dy: int) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).move_to_element_with_offset(element, dx, dy).perform()


def cell_of(size: dict[str, int], row: int, column: int, atoms: int) -> tuple[int, int]:
    """Middle of a cell of the explorer's matrix, from the middle of its canvas."""
    wide, high = size["width"], size["height"]
    cell = min(wide - 40 - 84, high - 30 - 46) / atoms
    return round(40 + (column + 0.5) * cell - wide / 2), round(30 + (row + 0.5) * cell - high / 2)


def changed(driver, before: str, seconds: float = 20) -> str:
    """What the explorer says once it says something new."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        now = driver.execute_script(SAID)
        if now != before:
            return now
        time.sleep(0.2)
    return before


@pytest.mark.parametrize("application", ["lab", "notebook"])
def test_the_molecule_is_drawn_and_clicks_reach_all_views(application, tmp_path):
    from selenium.webdriver.common.by import By

    with served(application, tmp_path, CODE) as address, browser() as driver:
        driver.get(address)
        run_all(driver)
        wait_until_drawn(driver, panels=5)
        molecule = molecule_canvas(driver)
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", molecule)
        assert share_drawn(pixels(molecule)) > 0.03
        said = driver.execute_script(SAID)
        assert "of 72 directed pairs" in said

        matrix = driver.find_elements(By.CSS_SELECTOR, "canvas[data-count]")[0]
        before = pixels(molecule)
        across, down = cell_of(matrix.size, row=2, column=6, atoms=9)
        hover(driver, matrix, across, down)
        assert "O2 attends to H6: " in driver.execute_script(TIP, matrix)
        click(driver, matrix, across, down)
        one = changed(driver, said)
        assert "of 1 directed pairs" in one and "O2 attends to H6" in one
        assert (pixels(molecule) != before).any()

        # somewhere on the molecule is an atom
        for dx in range(-120, 121, 20):
            for dy in (-60, -30, 0, 30, 60):
                click(driver, molecule, dx, dy)
                if "of 8 directed pairs" in changed(driver, one, seconds=0.6):
                    break
            else:
                continue
            break
        assert "of 8 directed pairs" in driver.execute_script(SAID)

        # what is asked for stands beside attention, and a click there reaches the views, too
        buttons = driver.find_elements(By.CSS_SELECTOR, "button")
        (ask,) = (button for button in buttons if button.text == "Attribution")
        driver.execute_script("arguments[0].click()", ask)
        answered = "return document.querySelector('p[role=status]')?.textContent || ''"
        wait_for(lambda: "completeness error" in driver.execute_script(answered), "the answer")
        time.sleep(1)
        canvases = driver.find_elements(By.CSS_SELECTOR, "canvas[data-count]")
        (shares,) = (c for c in canvases if "integrated" in c.get_attribute("aria-label"))
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", shares)
        assert share_drawn(pixels(shares)) > 0.02
        across, down = cell_of(shares.size, row=8, column=2, atoms=9)
        hover(driver, shares, across, down)
        assert "H8 asks O2: " in driver.execute_script(TIP, shares)
        click(driver, shares, across, down)
        wait_for(lambda: "H8 attends to O2" in driver.execute_script(SAID), "the pair")
        assert not complaints(driver)


@pytest.mark.parametrize("webgl", [True, False])
def test_the_app_draws_with_and_without_webgl(webgl):
    """Without WebGL a still picture stands in the molecule's place, with the reason."""
    arguments = ("ethanol-gfn2-geomatt", "ethanol-gfn2", "--limit", "2")
    with app_of(*arguments) as address, browser(webgl) as driver:
        plain = address.split("?")[0]
        refused = urllib.request.urlopen(plain, timeout=60)
        assert "/login" in refused.url  # nobody gets in without the token
        driver.get(address)
        wait_until_drawn(driver, panels=4)
        text = driver.execute_script("return document.body.textContent")
        assert "of 81 directed pairs" in text
        if webgl:
            assert share_drawn(pixels(molecule_canvas(driver))) > 0.03
        else:
            assert "This browser has no WebGL" in text
            there = "return !!document.querySelector('img[alt*=attention]')?.complete"
            wait_for(lambda: driver.execute_script(there), "the still picture")
            assert driver.execute_script(
                "return document.querySelector('img[alt*=attention]').naturalWidth > 500"
            )
        sources = driver.execute_script(
            "return performance.getEntriesByType('resource').map(e => e.name)"
        )
        assert all(name.startswith((plain, "data:", "blob:")) for name in sources), sources


def test_a_report_without_webgl_keeps_its_still_picture_and_its_controls(tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    path = write_report(tmp_path / "report.html", title="told", record=told_record(), frame=1)
    with browser(webgl=False) as driver:

        def shown(name: str) -> bool:
            return driver.find_element(By.ID, name).is_displayed()

        driver.get(path.as_uri())
        ready = "return document.body.dataset.ready === 'yes'"
        wait_for(lambda: driver.execute_script(ready), "the report's figures")
        assert shown("still") and shown("flat") and not shown("figure-molecule")
        assert share_drawn(pixels(driver.find_element(By.CSS_SELECTOR, "#still img"))) > 0.03
        said = driver.find_element(By.ID, "say")
        assert said.text.startswith("5 of 7 directed pairs drawn")
        Select(driver.find_element(By.ID, "atom")).select_by_visible_text("C2")
        assert "C2 attends to H1 with +1.20" in said.text
        assert not complaints(driver)


HEAT = """const { data, layout, _fullLayout } = document.getElementById('figure-matrix');
const { xaxis, yaxis, _size } = _fullLayout;
return { z: data[0].z, shapes: layout.shapes,
  at: [_size.l + xaxis.c2p(arguments[1]), _size.t + yaxis.c2p(arguments[0])] }"""
MESH = """const mesh = document.getElementById('figure-molecule').data[1];
return [Array.from(mesh.x), Array.from(mesh.y), Array.from(mesh.z)]"""
HOVER = "return document.querySelector('#figure-matrix .hoverlayer').textContent"
CHOSEN = "return document.getElementById('atom').selectedOptions[0].text"
ROLE = """const role = document.getElementById('role'); role.value = arguments[0];
role.dispatchEvent(new Event('change'))"""


def test_a_report_draws_its_record_and_a_click_names_who_asks_and_who_answers(tmp_path):
    """What `test_scripts` reads from a stand-in, plotly does: cells, tubes, clicks."""
    from selenium.webdriver.common.by import By

    record = told_record()
    path = write_report(tmp_path / "report.html", title="told", record=record, frame=1)
    expected = np.array([[0, 1.8, -0.8], [0.2, 0, -0.13], [-0.5, 1.2, 0]])
    roles = {  # the atom that a click on (C2, O0) chooses, its mark, its strongest pair
        "receiver": ("C2", {"y0": 1.5, "x0": -0.5}, "C2 attends to H1 with +1.20"),
        "sender": ("O0", {"y0": -0.5, "x0": -0.5}, "C2 attends to O0 with −0.500"),
    }
    with browser() as driver:

        def says(script: str, text: str) -> None:
            wait_for(lambda: re.search(text, driver.execute_script(script)), f"'{text}'")

        driver.get(path.as_uri())
        says("return document.body.dataset.ready || ''", "yes")
        rings = np.stack(driver.execute_script(MESH), axis=-1).reshape(-1, 11, 8, 3)
        radius = np.linalg.norm(rings[:, 0] - rings[:, :1].mean(axis=2), axis=-1).mean(axis=1)
        sizes = [0.5, 1.8, 1.2, 0.2, 0.8]  # in the list's order, above 8 % of the largest
        np.testing.assert_allclose(radius, 0.12 * np.sqrt(np.divide(sizes, 1.8)), rtol=0.03)
        heat = driver.find_element(By.ID, "figure-matrix")
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", heat)
        for role, (atom, place, strongest) in roles.items():
            driver.execute_script(ROLE, role)
            drawn = driver.execute_script(HEAT, 2, 0)
            np.testing.assert_allclose(drawn["z"], expected, rtol=2e-3)
            sides = (heat.size["width"], heat.size["height"])
            dx, dy = (round(at - side / 2) for at, side in zip(drawn["at"], sides, strict=True))
            hover(driver, heat, dx, dy)
            says(HOVER, "C2 attends to O0: [-−]0.5000")
            click(driver, heat, dx, dy)
            says(CHOSEN, f"^{atom}$")
            assert driver.find_element(By.ID, "say").text.endswith(f"Strongest: {strongest}.")
            (mark,) = driver.execute_script(HEAT, 2, 0)["shapes"]
            assert place.items() <= mark.items()
            click(driver, heat, dx, dy)
            says(CHOSEN, "^all atoms$")
        assert not complaints(driver)
