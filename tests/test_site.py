"""The site's pages lead somewhere and say what they show; a release says one version everywhere.

What Sphinx itself finds is found by `make docs`; here is what breaks by a change elsewhere.
"""

from __future__ import annotations

import inspect
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from PIL import Image

import so3krates_lite
from so3krates_lite.harmonics import spherical_harmonics

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

from parts import address, check, explorers, lessons, reference  # noqa: E402

LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = ROOT / "README.md"
INDEX = ROOT / "docs" / "index.md"
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    README,
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md")),
    *(ROOT / name / "README.md" for name in ("notebooks", "data", "data/models", "benchmarks")),
    *(ROOT / "benchmarks" / name for name in ("RESULTS.md", "LEVERS.md")),
]
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def listed_in(page: Path) -> set[Path]:
    """The files that a page's tables of contents name, patterns resolved."""
    found = set()
    for table in re.findall(r"```\{toctree\}\n(.*?)```", text_of(page), re.DOTALL):
        for line in table.split("\n\n", 1)[1].split():
            for ending in ("", ".md", ".ipynb"):
                found |= {p.resolve() for p in page.parent.glob(line + ending) if p.is_file()}
    return found


# -- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_local_links_lead_to_files(path):
    for target in LINK.findall(re.sub(r"```.*?```", "", text_of(path), flags=re.DOTALL)):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), target


def test_every_page_and_every_lesson_is_in_the_table_of_contents():
    listed = listed_in(INDEX) | listed_in(ROOT / "docs" / "api" / "index.md")
    wanted = {path.resolve() for path in [*PAGES, *LESSONS]} - {INDEX, README}
    assert wanted == listed


def test_every_lesson_is_in_the_table_of_lessons():
    table = LINK.findall(text_of(ROOT / "notebooks" / "README.md"))
    assert {path.name for path in LESSONS} <= set(table)


def test_the_readme_names_every_lesson():
    assert {f"notebooks/{path.name}" for path in LESSONS} <= set(LINK.findall(text_of(README)))


def test_the_moving_picture_is_there_small_and_described():
    shown = re.search(r"<picture>(.*?)</picture>", text_of(README), re.DOTALL)[1]
    still, moving = (ROOT / path for path in re.findall(r'src(?:set)?="([^"]+)"', shown))
    assert "prefers-reduced-motion" in shown.split(str(still.name))[0]
    assert len(re.search(r'alt="([^"]*)"', shown)[1]) > 60
    with Image.open(moving) as picture, Image.open(still) as other:
        assert picture.n_frames > 20 and picture.mode == "RGBA"  # one file for light and for dark
        assert picture.size == other.size
    assert moving.stat().st_size < 1.5e6


def test_embedded_explorers_are_made():
    for page in (INDEX, ROOT / "docs" / "explorers.md"):
        for name in re.findall(r'src="\.\./explorers/(\w+)\.html"', text_of(page)):
            assert callable(getattr(explorers, name))


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_figure_of_a_lesson_has_a_text_alternative(path):
    shown = lessons.read_for_the_site(text_of(path))
    figures = 0
    for cell in shown.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            assert lessons.PLOTLY not in data
            if {"image/png", "image/svg+xml"} & set(data):
                figures += 1
                assert len(cell.metadata["mystnb"]["image"]["alt"]) > 60
            elif "turning" in data.get("text/html", ""):
                figures += 1
                assert len(re.search(r'aria-label="([^"]*)"', data["text/html"])[1]) > 60
    assert figures > 3


def test_an_alternative_says_section_axes_and_what_to_see():
    words = "**See.** The line *falls*; see [there](x.md).\n\nMore."
    said = lessons.described("2 · Forces", words, 'ax.set(xlabel="step", ylabel="eV")\nstep()')
    assert said == "Figure of the section “2 · Forces”. shown: step. The line falls; see there."


def test_signatures_show_the_shapes_of_arrays():
    said = reference.as_written(inspect.signature(spherical_harmonics)).replace("'", '"')
    assert said == (
        '(vector: Float[AnyArray, "*pairs 3"], degrees: tuple[int, ...]) '
        '-> Float[Array, "*pairs m_tot"]'
    )


def page(body: str) -> str:
    return f'<html lang="en"><title>t</title><body>{body}</body></html>'


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("<a href='there.html'>x</a>", "leads nowhere"),
        ("<a href='#part'>x</a>", "no place"),
        ("<img src='a.png'>", "without a text alternative"),
        ("<iframe src='a.html'></iframe>", "without a title"),
        ("<script src='https://elsewhere.org/a.js'></script>", "from elsewhere"),
        ("x" * 3_000_001, "3.0 MB"),
    ],
)
def test_the_last_check_finds_what_is_wrong(tmp_path, body, complaint):
    whole = "<p id='a'><a href='#a'>x</a><a href='https://elsewhere.org'>x</a></p>"
    (tmp_path / "good.html").write_text(page(whole), encoding="utf-8")
    assert list(check.problems(tmp_path)) == []
    (tmp_path / "bad.html").write_text(page(body), encoding="utf-8")
    assert any(complaint in sentence for sentence in check.problems(tmp_path))


# -- Colab ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", ["00_tour", "11_a_real_force_field"])
def test_a_copy_for_colab_has_one_more_cell_and_links_that_work_there(stem):
    notebook = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4)
    copy = lessons.for_colab(notebook, stem)
    nbformat.validate(copy)
    assert len(copy.cells) == len(notebook.cells) + 1
    assert [c.source for c in copy.cells[1:] if c.cell_type == "code"] == [
        c.source for c in notebook.cells if c.cell_type == "code"
    ]
    text = "\n".join(cell.source for cell in copy.cells if cell.cell_type == "markdown")
    assert all(target.startswith("https://") for target in LINK.findall(text))
    assert address.NAME in copy.cells[0].source
    assert ("data fetch so3lr" in copy.cells[0].source) == stem.startswith("11")


@pytest.mark.parametrize("in_colab", [False, True])
@pytest.mark.parametrize("installed", [False, True])
def test_the_first_cell_acts_in_colab_only(monkeypatch, in_colab, installed):
    asked = []
    if in_colab:
        colab = ModuleType("google.colab")
        colab.output = SimpleNamespace(enable_custom_widget_manager=lambda: asked.append("widgets"))
        monkeypatch.setitem(sys.modules, "google", ModuleType("google"))
        monkeypatch.setitem(sys.modules, "google.colab", colab)
    else:
        monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if installed else None)
    magic = SimpleNamespace(run_line_magic=lambda name, line: asked.append(name))
    cell = TransformerManager().transform_cell(lessons.FIRST_CELL)
    exec(cell, {"get_ipython": lambda: magic})
    assert asked == (["pip"] * (not installed) + ["widgets"]) * in_colab


# -- a release ------------------------------------------------------------------------------------


def test_one_version_stands_everywhere():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {
        "attr": "so3krates_lite.__version__"
    }
    version = so3krates_lite.__version__
    citation = yaml.safe_load(text_of(ROOT / "CITATION.cff"))
    assert citation["version"] == version
    assert re.search(r"^## (\S+)", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)[1] == version


def test_the_citation_names_the_software_and_both_papers():
    citation = yaml.safe_load(text_of(ROOT / "CITATION.cff"))
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)
    assert citation["license"] == PROJECT["project"]["license"]
    years = [paper["year"] for paper in citation["references"]]
    assert years == [2022, 2021]
    assert all(paper["title"] and paper["authors"] for paper in citation["references"])


def test_all_rooms_are_in_the_wheel():
    rooms = {path.parent for path in (ROOT / "so3krates_lite").rglob("__init__.py")}
    names = {".".join(path.relative_to(ROOT).parts) for path in rooms}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == names | {"so3krates_lite._data"}


def test_what_the_extras_name_is_pinned():
    def plain(name: str) -> str:
        return re.split(r"[\[<>=!~]", name)[0].lower().replace("_", "-")

    pinned = {plain(line) for line in text_of(ROOT / "constraints.txt").splitlines()[1:]}
    for extra, packages in PROJECT["project"]["optional-dependencies"].items():
        assert extra == "cuda" or {plain(name) for name in packages} <= pinned, extra


def test_workflows_ask_for_targets_that_are_there():
    targets = set(re.findall(r"^([a-z0-9-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    asked = set()
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        jobs = yaml.safe_load(text_of(path))["jobs"].values()
        for job in jobs:
            rows = job.get("strategy", {}).get("matrix", {}).get("include", [])
            asked |= {row["target"] for row in rows}
            runs = [step.get("run", "") for step in job["steps"]]
            asked |= set(re.findall(r"make ([a-z0-9-]+)", "\n".join(runs)))
    assert {"test", "test-lowest", "test-newest", "test-py313", "docs"} <= asked <= targets
