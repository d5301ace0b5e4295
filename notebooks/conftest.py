"""What counts when lessons are run and compared with the outputs they were saved with.

Another processor sums in another order and rounds otherwise, so no output may be compared digit by
digit. Words and counts have to be the same; a number with decimals, or one that its cell rounds to
a whole one, may differ by one in its last printed digit; of a figure it is only compared that there
is one, for what it shows is the business of tests/. Use: ``python -m pytest --nbval notebooks``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from copy import deepcopy
from decimal import Decimal

import pytest

# lessons that need a published potential, which is fetched and not part of the package
PUBLISHED = {"11_a_real_force_field.ipynb": "so3lr"}
FIGURES = ("application/vnd.plotly.v1+json", "image/png", "image/svg+xml")
# 0.25, -1.5e-03, 2e+06, and the "1." of numpy's lists; not the 2.0 in v2.0.1, nor the end of a line
DECIMAL = re.compile(
    r"(?<![\w.])[-+−]?(?:\d+\.\d+(?:e[-+]?\d+)?|\d+\.(?=\s*[-\d\]])|\d+e[-+]?\d+)(?![\w.]*\d)"
)


WHOLE = re.compile(r"(?<![\w.])[-+−]?\d+(?![\w.]*\d)")
ROUNDS_TO_WHOLE = re.compile(r":[^{}]*\.0f}")


def is_near(found: str, saved: str) -> bool:
    """Whether two printed numbers differ by at most one in the last digit of the longer one."""
    a, b = (Decimal(number.replace("−", "-")) for number in (found, saved))
    last_digit = min(number.as_tuple().exponent for number in (a, b))
    return abs(a - b) <= Decimal(1).scaleb(last_digit)


def settled(found: str, saved: str, source: str = "") -> str:
    """``found``, with its numbers as in ``saved`` wherever they are near, and columns alike.

    ``source`` is the cell that prints them.
    """
    text = found
    for pattern in (DECIMAL, WHOLE) if ROUNDS_TO_WHOLE.search(source) else (DECIMAL,):
        numbers, theirs = pattern.findall(text), pattern.findall(saved)
        if len(numbers) != len(theirs):
            return found
        kept = iter([b if is_near(a, b) else a for a, b in zip(numbers, theirs, strict=True)])
        text = pattern.sub(lambda match, kept=kept: next(kept), text)
    # a number that lost or gained a digit has moved its neighbours
    return saved if words(text) == words(saved) else text


def words(text: str) -> list[str]:
    """What stands between spaces; brackets stand alone."""
    return re.sub(r"([\[\]])", r" \1 ", text).split()


def texts(outputs: list) -> dict[str, list[tuple[dict, str]]]:
    """By kind of text, in order: the places where outputs hold it, as (dictionary, key)."""
    found = defaultdict(list)
    for output in outputs:
        if "text" in output:
            found[output["name"]].append((output, "text"))
        for kind, value in output.get("data", {}).items():
            if isinstance(value, str) and kind.startswith("text/"):
                found[kind].append((output["data"], kind))
    return found


def figures(outputs: list) -> list[str]:
    """The kinds of the figures among outputs, in order."""
    return [kind for output in outputs for kind in FIGURES if kind in output.get("data", {})]


def pytest_itemcollected(item) -> None:
    """Let a cell of a lesson compare its outputs in this way."""
    if not hasattr(item, "compare_outputs"):
        return
    exactly = item.compare_outputs

    def compare_outputs(found, saved, skip_compare=None):
        found, theirs = deepcopy(found), texts(saved)
        for kind, places in texts(found).items():
            for (here, key), (there, name) in zip(places, theirs[kind], strict=False):
                here[key] = settled(
                    item.sanitize(here[key]), item.sanitize(there[name]), item.cell.source
                )
        if figures(found) != figures(saved):
            item.comparison_traceback = [f"figures {figures(found)}, saved: {figures(saved)}"]
            return False
        skip = (*(skip_compare or item.parent.skip_compare), *FIGURES)
        return exactly(found, saved, skip)

    item.compare_outputs = compare_outputs


def lacking(notebook: str) -> str:
    """Why a lesson cannot run on this machine; empty if it can."""
    from so3krates_lite.datasets.bundled import bundled_model
    from so3krates_lite.errors import UserError

    try:
        if notebook in PUBLISHED:
            bundled_model(PUBLISHED[notebook])
    except UserError as error:
        return f"{notebook} is skipped as a whole: {error}"
    return ""


def pytest_collection_modifyitems(items) -> None:
    """Skip every cell of a lesson whose potential is not here."""
    for item in items:
        if why := lacking(item.path.name):
            item.add_marker(pytest.mark.skip(reason=why))


def pytest_terminal_summary(terminalreporter) -> None:
    """Say so at the end, whether or not reasons are asked for."""
    skipped = terminalreporter.stats.get("skipped", [])
    names = {name for name in PUBLISHED if any(name in report.nodeid for report in skipped)}
    for name in sorted(names):
        terminalreporter.write_line(f"NOT TESTED: {lacking(name)}", yellow=True)
