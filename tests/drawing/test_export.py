"""Exported figures are pages that need nothing else, pictures that a browser made, or refused."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest
from browser import missing
from synthetic import ethanol_record

from so3krates_lite.drawing import all_layers, error_curves, figures, molecule3d
from so3krates_lite.drawing.export import save_figure
from so3krates_lite.errors import UserError

RECORD = ethanol_record(frames=4, spherical=True)
METRICS = {"epoch": [1, 2, 3], "train_force_mae_eV_A": [3, 2, 1], "valid_energy_mae_eV": [2, 1, 1]}
FIGURES = {
    "nearness": lambda: figures.nearness_figure(RECORD),
    "learning": lambda: error_curves.learning_curve(METRICS),
    "overview": lambda: all_layers.overview(RECORD),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_page_needs_nothing_but_itself(name, tmp_path):
    figure = FIGURES[name]()
    text = save_figure(figure, tmp_path / "figure.html").read_text()
    head = text[: text.index("<body>")]
    assert "default-src 'none'" in head and "color-scheme" in head
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", text)
    assert "Plotly.newPlot" in text and len(text) > 1_000_000
    title = figure.layout.title.text
    assert (title or "figure").split(",")[0] in head.replace("&#x27;", "'")


def test_figures_of_a_site_share_one_script_and_begin_at_rest(tmp_path):
    figure = FIGURES["overview"]()
    figure.frames = [{"name": "0", "data": []}]
    text = save_figure(figure, tmp_path / "figure.html", library="../p.js").read_text()
    assert len(text) < 1_000_000 and "script-src 'self'" in text
    assert re.findall(r'<script[^>]* src="([^"]*)"', text) == ["../p.js"]
    assert "addFrames" in text and "Plotly.animate" not in text


@pytest.mark.parametrize("name", ["figure.gif", "figure", "figure.json"])
def test_other_endings_are_refused(name, tmp_path):
    with pytest.raises(UserError, match=r"must end in one of \.html, \.png, \.svg, \.pdf"):
        save_figure(figures.attention_matrix(RECORD), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(find_spec("kaleido") is not None, reason="kaleido is installed")
@pytest.mark.parametrize("name", ["figure.png", "figure.svg", "figure.pdf"])
def test_without_kaleido_a_picture_is_refused_with_the_ways_to_one(name, tmp_path):
    with pytest.raises(UserError, match=r"pip install kaleido.*write \.html.*\(Image export"):
        save_figure(figures.attention_matrix(RECORD), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.browser
@pytest.mark.skipif(find_spec("kaleido") is None, reason="kaleido is not installed")
@pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser")
def test_a_picture_is_made_of_any_figure(tmp_path):
    from PIL import Image

    figure = molecule3d.molecule_figure(RECORD, choose=None)
    picture = Image.open(save_figure(figure, tmp_path / "figure.png", width=300, scale=1.5))
    assert picture.size[0] == 450 and len(picture.convert("RGB").getcolors(1 << 20)) > 20
