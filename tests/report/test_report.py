"""Properties of the report: one complete file, nothing from outside, never half-written."""

from __future__ import annotations

import base64
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from synthetic import ethanol_record

from so3krates_lite.drawing import figures, scene
from so3krates_lite.errors import UserError
from so3krates_lite.report import write

LIBRARY = "/* plotly stands here */"


class Page(HTMLParser):
    """Collects tags, data blocks and plain text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.blocks, self.words, self._inside = [], {}, [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag in ("script", "style"):
            self._inside = attributes.get("id", tag)

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._inside = None

    def handle_data(self, data):
        if self._inside is None:
            self.words.append(data)
        else:
            self.blocks[self._inside] = self.blocks.get(self._inside, "") + data


@pytest.fixture(scope="module")
def arguments() -> dict:
    rng = np.random.default_rng(0)
    forces = rng.normal(size=(40, 9, 3))
    return {
        "title": "Ethanol & <friends>",
        "metrics": {"epoch": [1, 2, 3], "valid_force_mae_eV_A": [3.0, 2.0, 1.0]},
        "table": [
            {"set": "test", "force MAE (kcal/mol/Å)": 0.12345678, "paper": None},
            {"set": "</script><b>odd</b>", "force MAE (kcal/mol/Å)": float("nan"), "paper": 0.096},
        ],
        "parity": (forces, forces + 0.01),
        "record": ethanol_record(frames=2),
        "facts": {"hardware": "2 cores", "wall time / s": 881.23456},
        "notes": ["The reference is a semi-empirical method."],
    }


@pytest.fixture(scope="module")
def written(arguments, tmp_path_factory) -> Path:
    return write.write_report(tmp_path_factory.mktemp("report") / "report.html", **arguments)


@pytest.fixture(scope="module")
def text(written) -> str:
    return written.read_text(encoding="utf-8")


def test_page_is_one_file_under_six_megabytes_with_plotly_once(written, text):
    assert list(written.parent.iterdir()) == [written]
    assert written.stat().st_size < 6e6
    assert text.count("* plotly.js v") == 1


def test_page_loads_nothing_and_forbids_it(text):
    from plotly.offline import get_plotlyjs

    own = text.replace(get_plotlyjs().replace("</script", r"<\/script"), LIBRARY)
    assert len(own) < 1e6, "plotly's script was not found as one piece"
    assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", own, flags=re.IGNORECASE)
    page = Page(own)
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert tag != "img" or attributes.pop("src").startswith("data:")
        assert not {"src", "href", "srcset", "action"} & attributes.keys()
    policy = next(a["content"] for t, a in page.tags if "http-equiv" in a and t == "meta")
    assert policy.startswith("default-src 'none'") and "connect-src 'none'" in policy
    assert "*" not in policy and "http" not in policy
    assert "showSendToCloud: false" in own


def test_pages_of_a_site_share_one_script_and_load_nothing_else(arguments, tmp_path):
    path = tmp_path / "small.html"
    write.write_report(path, title="small", record=arguments["record"], library="../p.js")
    page = Page(path.read_text(encoding="utf-8"))
    assert path.stat().st_size < 1e6
    assert [a["src"] for tag, a in page.tags if tag == "script" and "src" in a] == ["../p.js"]
    policy = next(a["content"] for t, a in page.tags if "http-equiv" in a and t == "meta")
    assert "script-src 'self' 'unsafe-inline';" in policy and "default-src 'none'" in policy


def test_what_the_user_wrote_is_text_and_never_markup(text):
    assert "<title>Ethanol &amp; &lt;friends&gt;</title>" in text
    assert "</script><b>odd</b>" not in text
    page = Page(text)
    assert "</script><b>odd</b>" in page.words
    assert not any(tag == "b" for tag, _ in page.tags)


def test_table_rounds_numbers_and_marks_what_is_missing(text):
    words = Page(text).words
    assert "0.1235" in words and "0.12345678" not in words and "nan" not in words
    assert words.count("–") >= 2


def test_data_blocks_are_json_and_hold_the_record_s_values(text, arguments):
    page, record = Page(text), arguments["record"]
    for name in ("curve", "force", "molecule", "matrix", "distance"):
        spec = json.loads(page.blocks[f"data-{name}"])
        assert spec["data"] and "layout" in spec
    data = json.loads(page.blocks["attention"])
    values = np.array(data["values"]["feature"]["weighted"])
    np.testing.assert_allclose(values, record.feature.weighted[:, record.pairs(0)], rtol=1e-3)
    listed = data["lists"]["local"]
    assert listed["receiver"] == record.receiver[record.pairs(0)].tolist()
    assert listed["sender"] == record.sender[record.pairs(0)].tolist()
    assert data["limit"]["feature"]["weighted"] == record.limit()
    assert {trace["list"] for trace in data["traces"]} == {"local"}
    assert sorted(pair for trace in data["traces"] for pair in trace["pairs"]) == list(range(72))
    offset = np.frombuffer(base64.b64decode(listed["offset"]), dtype=np.int8)
    tubes = scene.scene(record).tubes
    np.testing.assert_allclose(offset / 127, tubes.offset.ravel(), atol=0.005)
    layer, channel = data["start"]["layer"], data["start"]["channel"]
    assert np.abs(record.select("feature", layer, channel)).max() == record.limit()


def test_spherical_block_has_its_own_pairs_in_the_page(arguments, tmp_path):
    record = ethanol_record(spherical=True)
    path = write.write_report(tmp_path / "far.html", **{**arguments, "record": record})
    data = json.loads(Page(path.read_text(encoding="utf-8")).blocks["attention"])
    assert data["list_of"] == {"feature": "local", "geometric": "local", "spherical": "spherical"}
    index = record.pairs(0, "spherical")
    listed = data["lists"]["spherical"]
    assert listed["receiver"] == record.spherical.receiver[index].tolist()
    values = np.array(data["values"]["spherical"]["weighted"])
    expected = record.spherical.attention.weighted[:, index]
    np.testing.assert_allclose(values, expected, rtol=1e-3)
    drawn = [pair for t in data["traces"] if t["list"] == "spherical" for pair in t["pairs"]]
    assert sorted(drawn) == list(range(len(index)))


def test_every_figure_is_named_and_a_still_picture_stands_in_the_page(text):
    page = Page(text)
    headings = [tag for tag, _ in page.tags if tag in ("h1", "h2")]
    assert headings[0] == "h1" and headings.count("h1") == 1
    for _, attributes in page.tags:
        if attributes.get("id", "").startswith("figure-"):
            assert attributes["role"] == "img" and attributes["aria-label"]
    stage = next(a for t, a in page.tags if a.get("id") == "figure-molecule")
    still = next(a for t, a in page.tags if a.get("id") == "still")
    # without script or WebGL the turning view stays hidden and the picture stays shown
    assert "hidden" in stage and "hidden" not in still
    (image,) = (attributes for tag, attributes in page.tags if tag == "img")
    assert image["alt"].startswith("Molecule of") and image["src"].startswith("data:image/png")
    assert ("html", {"lang": "en"}) in page.tags
    assert "prefers-color-scheme: dark" in text


def test_ids_are_unique_and_the_script_finds_them(text):
    page = Page(text)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for name in re.findall(
        r'\$\("([a-z-]+)"\)', Path(write.__file__).with_name("page.js").read_text("utf-8")
    ):
        assert name in ids or name in ("figure-energy",), name


def test_failing_figure_leaves_the_old_report_untouched(arguments, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("the old one")

    def broken(*args, **options):
        raise RuntimeError("no figure today")

    monkeypatch.setattr(figures, "attention_matrix", broken)
    with pytest.raises(RuntimeError, match="no figure today"):
        write.write_report(path, **arguments)
    assert path.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_interrupted_writing_leaves_no_scrap(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("the old one")

    def full(descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space"):
        write.write_report(path, title="a")
    assert path.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_parts_not_given_are_left_out(tmp_path):
    path = write.write_report(tmp_path / "deep" / "report.html", title="Only words", notes=["a"])
    page = Page(path.read_text(encoding="utf-8"))
    sections = [a["id"] for t, a in page.tags if t == "section"]
    assert sections == ["notes"]


def test_energy_and_force_parity_may_both_be_given(tmp_path):
    values = np.linspace(0, 1, 5)
    both = {"force": (values, values), "energy": (values, values)}
    path = write.write_report(tmp_path / "report.html", title="a", parity=both)
    blocks = Page(path.read_text(encoding="utf-8")).blocks
    assert {"data-force", "data-energy"} <= blocks.keys()
    with pytest.raises(UserError, match="parity has 'stress'"):
        write.write_report(path, title="a", parity={"stress": (values, values)})
