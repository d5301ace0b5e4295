"""How every lesson is built: short cells, assertions, exercises that can be solved, small files."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbval.plugin import get_sanitize_patterns

import so3krates_lite as s3
from so3krates_lite import lessons

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
RULES = runpy.run_path(str(FOLDER / "conftest.py"))
SANITISED = get_sanitize_patterns((Path(__file__).parents[1] / "nbval_sanitize.cfg").read_text())
SOLUTION = re.compile(r"<summary>Solution</summary>\s*```python\n(.*?)```", re.DOTALL)

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def text_of(path: Path) -> str:
    return "\n\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")


def sections(path: Path) -> dict[str, list]:
    """Cells under each second-level heading."""
    found: dict[str, list] = {}
    title = "head"
    for cell in read(path).cells:
        headings = re.findall(r"^## (.+)$", cell.source, re.MULTILINE)
        if cell.cell_type == "markdown" and headings:
            title = headings[-1]
        found.setdefault(title, []).append(cell)
    return found


def test_cells_are_short(path):
    for number, cell in enumerate(read(path).cells):
        if cell.cell_type == "code":
            lines = cell.source.count("\n") + 1
            assert lines <= 25, f"cell {number} has {lines} lines"


def test_every_section_with_code_asserts_something(path):
    for title, cells in sections(path).items():
        code = "\n".join(c.source for c in cells if c.cell_type == "code")
        assert not code or re.search(r"^\s*assert ", code, re.MULTILINE), title


def test_it_is_saved_executed_in_order_and_without_errors(path):
    notebook = read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert notebook.metadata.kernelspec.name == "python3"
    for output in (output for cell in code for output in cell.outputs):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text


def test_no_cell_is_left_out_of_the_run(path):
    assert "NBVAL_SKIP" not in path.read_text(encoding="utf-8")
    assert "raises-exception" not in path.read_text(encoding="utf-8")


def compared_decimals(path: Path) -> list[tuple[int, str, str]]:
    """(number of the cell, its source, decimal) of all that `make notebooks` compares."""
    found = []
    for number, cell in enumerate(read(path).cells):
        ignored = "nbval-ignore-output" in cell.metadata.get("tags", [])
        if cell.cell_type != "code" or ignored:
            continue
        for places in RULES["texts"](cell.outputs).values():
            for output, key in places:
                text = output[key]
                for pattern, name in SANITISED:
                    text = re.sub(pattern, name, text)
                found += [(number, cell.source, d) for d in RULES["DECIMAL"].findall(text)]
    return found


def test_what_is_compared_does_not_hang_on_the_last_digits_of_float32(path):
    for number, source, decimal in compared_decimals(path):
        digits = re.sub(r"e.*|\D", "", decimal).lstrip("0")
        assert len(digits) <= 6, f"cell {number} prints {decimal}: float32 has six digits to show"
        value = abs(float(decimal.replace("−", "-")))
        assert value == 0 or value > 1e-6 or decimal in source, (
            f"cell {number} prints {decimal}, which rounding has left: assert that it is small"
        )


def test_it_is_small(path):
    assert path.stat().st_size < 1_500_000


def test_it_names_no_machine(path):
    texts = [text_of(path)]
    for cell in read(path).cells:
        texts.append(cell.source)
        for output in cell.get("outputs", []):
            shown = output.get("data", {})
            texts += [
                output.get("text", ""),
                shown.get("text/plain", ""),
                shown.get("text/html", ""),
            ]
    for found in re.findall(r"(?:/home/|/root|/work|/tmp|/Users/|[A-Z]:\\)\S*", "\n".join(texts)):
        pytest.fail(f"an absolute path stands in the notebook: {found}")


def test_links_lead_somewhere(path):
    for target in LINK.findall(text_of(path)):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), target


def test_head_and_foot_are_there(path):
    text = text_of(path)
    for part in ("Afterwards you can", "You need", "Time", "Before", "After"):
        assert f"**{part}**" in text, part
    for part in ("## Summary", "## Quiz", "## References"):
        assert f"\n{part}\n" in text, part
    quiz = text.split("## Quiz")[1].split("## References")[0]
    assert quiz.count("<details><summary>Answer</summary>") == 3
    for step in ("Predict", "Build", "Check", "See"):
        assert text.count(f"**{step}") >= 3, step


def test_what_folds_is_closed_and_a_blank_line_lets_it_render(path):
    text = text_of(path)
    assert text.count("<details>") == text.count("</details>")
    assert not re.search(r"</summary>\n[^\n]", text)


def test_each_exercise_has_time_hint_check_and_solution(path):
    text = text_of(path)
    exercises = re.findall(r"^### Exercise \d+ · .+$", text, re.MULTILINE)
    assert len(exercises) >= 3
    for exercise in exercises:
        assert re.search(r"\((easy|medium|hard), \d+ minutes\)$", exercise), exercise
    code = "\n".join(c.source for c in read(path).cells if c.cell_type == "code")
    assert text.count("<summary>Hint</summary>") == len(exercises)
    assert (
        len(SOLUTION.findall(text)) == len(re.findall(r"lessons\.check_", code)) == len(exercises)
    )


def test_untouched_exercises_are_not_attempted_and_solutions_pass(path):
    cells = read(path).cells
    checked = 0
    for number, cell in enumerate(cells):
        check = re.search(r"^lessons\.(check_\w+)\((\w+)\)$", cell.source, re.MULTILINE)
        if cell.cell_type != "code" or not check:
            continue
        space = {"np": np, "s3": s3, "lessons": lessons}
        exec(cell.source, space)
        judge = getattr(lessons, check[1])
        assert judge(space[check[2]]).state == lessons.UNTOUCHED
        exec(SOLUTION.findall(cells[number + 1].source)[0], space)
        assert judge(space[check[2]]).passed
        checked += 1
    assert checked >= 3
