"""The explorer in a real browser: pixels of a molecule, clicks that reach the other views."""

from __future__ import annotations

import time
import urllib.request

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
    wait_until_drawn,
)

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


def click(driver, element, dx: int, dy: int) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).move_to_element_with_offset(element, dx, dy).click().perform()


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
        click(driver, matrix, -100, -100)
        one = changed(driver, said)
        assert "of 1 directed pairs" in one
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
            assert driver.execute_script("return !!document.querySelector('svg title, svg circle')")
        sources = driver.execute_script(
            "return performance.getEntriesByType('resource').map(e => e.name)"
        )
        assert all(name.startswith((plain, "data:", "blob:")) for name in sources), sources
