"""How outputs of lessons are compared: what another processor rounds otherwise does not matter."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output, writes

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).parents[2] / "notebooks" / "conftest.py"
RULES = runpy.run_path(str(CONFTEST))
PLOTLY = "application/vnd.plotly.v1+json"
ROUNDED = 'print(f"{angle:.0f}")'


@pytest.mark.parametrize(
    ("found", "saved", "source"),
    [
        ("barrier 1.24 eV", "barrier 1.23 eV", ""),
        ("[ 0.67 -0.01]", "[ 0.66  0.  ]", ""),
        ("[1.   0.25]", "[0.99 0.25]", ""),
        ("at -0.00 and 10.0", "at 0.00 and  9.9", ""),
        ("1.0e-02 of it", "9.9e-03 of it", ""),
        ("turned by 61°", "turned by 60°", ROUNDED),
    ],
)
def test_one_in_the_last_digit_is_no_difference(found, saved, source):
    assert found != saved
    assert RULES["settled"](found, saved, source) == saved


@pytest.mark.parametrize(
    ("found", "saved", "source"),
    [
        ("barrier 1.25 eV", "barrier 1.23 eV", ""),
        ("barrier 1.23 meV", "barrier 1.23 eV", ""),
        ("-0.50", "0.50", ""),
        ("2e-05", "2e-06", ""),
        ("61 atoms", "60 atoms", ""),
        ("62°", "60°", ROUNDED),
        ("jax 0.10.2", "jax 0.10.1", ""),
        ("1.20 and 1.30", "1.20", ""),
        ("C0 attends to H4: 0.25", "C0 attends to H5: 0.25", ""),
    ],
)
def test_anything_else_is_one(found, saved, source):
    assert RULES["settled"](found, saved, source) != saved


def cell_like_nbval_s(source: str = ""):
    """As much of nbval's cell as the rules touch; it compares what they leave, exactly."""

    def compare_outputs(found, saved, skip_compare):
        def kept(outputs):
            return [
                {k: v for k, v in output.get("data", output).items() if k not in skip_compare}
                for output in outputs
            ]

        return kept(found) == kept(saved)

    item = SimpleNamespace(compare_outputs=compare_outputs, sanitize=lambda text: text)
    item.cell, item.parent = SimpleNamespace(source=source), SimpleNamespace(skip_compare=("x",))
    RULES["pytest_itemcollected"](item)
    return item


def figure(value: float, kind: str = PLOTLY):
    shown = {"data": [{"z": [value]}]} if kind == PLOTLY else f"<svg>{value}</svg>"
    data = {kind: shown, "text/plain": "a figure"}
    return new_output("display_data", data=data)


def printed(text: str):
    return new_output("stream", name="stdout", text=text)


def test_what_a_figure_shows_is_not_compared_but_that_there_is_one_is():
    same = cell_like_nbval_s().compare_outputs
    assert same([figure(0.1)], [figure(0.10000001)])
    assert same([printed("0.31\n"), figure(2.0)], [printed("0.30\n"), figure(1.0)])
    assert not same([printed("0.30\n")], [printed("0.30\n"), figure(1.0)])
    assert not same([figure(1.0), figure(1.0)], [figure(1.0)])
    assert not same([figure(1.0, "image/svg+xml")], [figure(1.0)])
    assert not same([printed("0.40\n"), figure(1.0)], [printed("0.30\n"), figure(1.0)])


def test_outputs_are_left_as_they_were():
    found, saved = [printed("0.31\n")], [printed("0.30\n")]
    assert cell_like_nbval_s().compare_outputs(found, saved)
    assert found == [printed("0.31\n")]
    assert saved == [printed("0.30\n")]


@pytest.mark.parametrize(("saved", "outcome"), [("0.31", "passed"), ("0.33", "failed")])
def test_a_notebook_is_compared_by_these_rules(pytester, saved, outcome):
    """The whole way: nbval runs a saved notebook beside this conftest.py."""
    cell = new_code_cell("print('0.30')", execution_count=1, outputs=[printed(f"{saved}\n")])
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    pytester.makefile(".ipynb", lesson=writes(new_notebook(cells=[cell], metadata=metadata)))
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    result = pytester.runpytest_subprocess("--nbval", "-p", "no:cacheprovider")
    result.assert_outcomes(**{outcome: 1})
