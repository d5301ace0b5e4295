"""Lessons as pages of the site, and as copies that Colab can open.

The notebooks stay as they are saved. On their way into a page, figures that turn become a still
picture with the figure's description beside it, which static/figures.js brings to life when it
comes into view; every picture gets a text alternative; and the head gets the links that open the
lesson where a kernel is. Copies for Colab get one more cell at the top.
"""

from __future__ import annotations

import base64
import json
import re
from html import escape
from pathlib import Path

import nbformat

from parts import address

PLOTLY = "application/vnd.plotly.v1+json"
PUBLISHED = {"11_a_real_force_field": "so3lr"}
LINK = re.compile(r"\]\(([^)\s#:]+)(#[^)\s]*)?\)")
FIRST_CELL = """\
# In Colab this installs what is missing and lets widgets move. Anywhere else it does nothing.
import importlib.util, shutil, sys

if "google.colab" in sys.modules:
    if importlib.util.find_spec("so3krates_lite") is None:
        extras = "lab,analysis,simulate,scale,engines"
        extras += ",cuda" if shutil.which("nvidia-smi") else ""
        %pip install --quiet "so3krates-lite[{extras}] @ git+REPOSITORY"
    from google.colab import output

    output.enable_custom_widget_manager()"""


# -- pages ----------------------------------------------------------------------------------------


def read_for_the_site(text: str) -> nbformat.NotebookNode:
    """A saved lesson as MyST-NB shall read it."""
    notebook = nbformat.reads(text, as_version=4)
    section, words = "", ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#{1,3} (.+)$", cell.source, re.MULTILINE)
            section, words = (headings or [section])[-1], cell.source
            continue
        outputs = cell.get("outputs", [])
        cell.outputs = [o for o in outputs if o.get("data") != {"text/plain": ""}]
        for output in cell.outputs:
            data = output.get("data", {})
            alternative = described(section, words, cell.source, data.get(PLOTLY))
            if PLOTLY in data:
                output.data = {"text/html": turning(data, alternative)}
            elif {"image/png", "image/svg+xml"} & set(data):
                cell.metadata.setdefault("mystnb", {})["image"] = {"alt": alternative}
    return notebook


def described(section: str, words: str, source: str, figure: dict | None = None) -> str:
    """What a figure shows, from the words around it: its section, axes, and what to see in it."""
    axes = re.findall(r"""(?:[xy]label|label|title)(?:=|\()\s*f?["']([^"'{}]{3,})["']""", source)
    for axis in ("xaxis", "yaxis") if figure else ():
        title = figure.get("layout", {}).get(axis, {}).get("title", {})
        axes += [title["text"]] if isinstance(title, dict) and title.get("text") else []
    kind = "Figure that moves" if figure else "Figure"
    parts = [f"{kind} of the section “{section}”" if section else kind]
    if axes:
        parts.append(
            "shown: " + ", ".join(dict.fromkeys(re.sub(r"\\n|<[^>]*>", " ", a) for a in axes))
        )
    see = re.search(r"\*\*See\.?\*\*\s*(.+?)(?:\n\n|$)", words, re.DOTALL)
    paragraphs = [p for p in re.split(r"\n\s*\n", words) if not re.match(r"[#<|]", p)]
    said = see[1] if see else (paragraphs or [""])[-1]
    said = re.sub(r"\s+", " ", re.sub(r"\[([^\]]*)\]\([^)]*\)|[*`$]|<[^>]*>", r"\1", said)).strip()
    if said:
        parts.append(said if len(said) < 320 else said[:317].rsplit(" ", 1)[0] + " …")
    return ". ".join(part.rstrip(".") for part in parts) + "."


def turning(data: dict, alternative: str) -> str:
    """A plotly figure as HTML: its still, if there is one, and the description to draw it from."""
    figure = {key: data[PLOTLY][key] for key in ("data", "layout", "frames") if key in data[PLOTLY]}
    height = figure["layout"].get("height") or 420
    still = ""
    for kind in ("image/svg+xml", "image/png"):
        if kind in data and not still:
            content = data[kind]
            if kind.endswith("xml"):
                content = base64.b64encode(content.encode()).decode()
            still = f'<img src="data:{kind};base64,{content.strip()}" alt="" loading="lazy">'
    description = json.dumps(figure, separators=(",", ":")).replace("<", r"\u003c")
    return (
        f'<div class="turning" role="img" aria-label="{escape(alternative)}" '
        f'style="min-height:{height}px">{still}'
        f'<script type="application/json">{description}</script>'
        "<noscript><p>This figure moves where JavaScript is on.</p></noscript></div>"
    )


def add_links(app, docname: str, source: list[str]) -> None:
    """Under a lesson's heading: where it opens with a kernel, and the file itself."""
    folder, _, stem = docname.partition("/")
    if folder != "notebooks" or not stem[:1].isdigit():
        return
    notebook = nbformat.reads(source[0], as_version=4)
    colab, binder = address.in_colab(stem), address.on_binder(stem)
    download = f"{{download}}`Download <{stem}.ipynb>`"
    links = f"[Open in Colab]({colab}) · [Open on Binder]({binder}) · {download}"
    head = notebook.cells[0]
    heading, _, rest = head.source.partition("\n")
    head.source = f"{heading}\n\n{{.open}}\n{links}\n{rest}"
    source[0] = nbformat.writes(notebook)


# -- copies for Colab -----------------------------------------------------------------------------


def for_colab(notebook: nbformat.NotebookNode, stem: str) -> nbformat.NotebookNode:
    """A copy whose first cell installs what is missing, and whose links work there."""
    setup = FIRST_CELL.replace("REPOSITORY", address.REPOSITORY)
    if stem in PUBLISHED:
        setup += f"\n    !so3krates-lite data fetch {PUBLISHED[stem]}"
    copy = nbformat.reads(nbformat.writes(notebook), as_version=4)
    copy.cells.insert(0, nbformat.v4.new_code_cell(setup, id="install"))
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(_from_colab, cell.source)
    copy.metadata["accelerator"] = "GPU"
    return copy


def _from_colab(link: re.Match) -> str:
    target = link[1]
    if "/" not in target and target.endswith(".ipynb"):
        return f"]({address.in_colab(target.removesuffix('.ipynb'))})"
    if target.endswith(".png"):
        path = target.removeprefix("../")
        return f"]({address.REPOSITORY}/raw/{address.BRANCH}/{path})"
    path = target.removeprefix("../") if target.startswith("../") else f"notebooks/{target}"
    return f"]({address.of_file(path)}{link[2] or ''})"


def write_copies(app, exception: Exception | None) -> None:
    """The copies, and at the site's root a page that leads on to the first."""
    if exception is not None:
        return
    folder = Path(app.outdir) / "colab"
    folder.mkdir(exist_ok=True)
    for path in sorted((address.ROOT / "notebooks").glob("[0-9]*.ipynb")):
        copy = for_colab(nbformat.read(path, as_version=4), path.stem)
        nbformat.write(copy, folder / path.name)
    (Path(app.outdir) / "index.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>so3krates-lite</title>'
        '<meta http-equiv="refresh" content="0; url=docs/index.html">'
        '<a href="docs/index.html">so3krates-lite</a></html>\n',
        encoding="utf-8",
    )
    (Path(app.outdir) / ".nojekyll").touch()  # folders that begin with _ are served as they are


def setup(app) -> None:
    app.connect("source-read", add_links)
    app.connect("build-finished", write_copies)
