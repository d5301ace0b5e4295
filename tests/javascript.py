"""Our scripts in a JavaScript engine inside this process, with a stand-in for the browser.

So they are tested on every machine, in milliseconds; that a real browser does the same is what
``test_browser.py`` is for. `Page` opens a written report, `Plot` a panel of the explorer.
"""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

quickjs = pytest.importorskip("quickjs", reason="scripts need quickjs-ng: the extra 'test'")

STAND_IN = Path(__file__).with_name("stand_in.js").read_text(encoding="utf-8")
EXPLORER = Path(__file__).parents[1] / "so3krates_lite" / "explorer"


class Engine:
    """An engine that has read the stand-in."""

    def __init__(self, webgl: bool = True) -> None:
        self.context = quickjs.Context()
        self.run(STAND_IN)
        self.run(f"screen.webgl = {json.dumps(webgl)}")

    def run(self, code: str) -> Any:
        """Run it and all that it promised."""
        result = self.context.eval(code)
        while self.context.execute_pending_job():
            pass
        return result

    def ask(self, expression: str) -> Any:
        """The value of an expression."""
        text = self.run(f"JSON.stringify({expression})")
        return None if text is None else json.loads(text)

    def load(self, name: str) -> None:
        """A module of the explorer; its functions stay within reach."""
        text = (EXPLORER / name).read_text(encoding="utf-8")
        assert text.count("export default") == 1
        self.run(text.replace("export default", "globalThis.exported ="))


def packed(data: dict[str, Any]) -> str:
    """What Python sends to a script, as an expression."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            value = value.tobytes()
        return {"bytes": list(value)} if isinstance(value, bytes) else value

    return f"received({json.dumps({name: plain(value) for name, value in data.items()})})"


class _Parts(HTMLParser):
    """Everything with an id or a class: what the script may look for."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[dict[str, Any]] = []
        self.script = ""
        self._open: list[dict[str, Any]] = []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "option":
            self.parts[-1]["options"].append(found["value"])
            return
        part = {"tag": tag, "id": found.get("id"), "value": found.get("value"), "text": ""}
        part |= {"hidden": "hidden" in found, "classes": found.get("class", "").split()}
        if tag == "select":
            part["options"] = []
        if part["id"] or part["classes"]:
            self.parts.append(part)
        if tag == "script":
            self._open = [part]

    def handle_endtag(self, tag):
        if tag == "script" and self._open:
            (part,) = self._open
            self._open = []
            if part["id"] is None:
                self.script = part["text"]  # the last is the page's own

    def handle_data(self, data):
        for part in self._open:
            part["text"] += data


@lru_cache
def _parts(path: Path) -> _Parts:
    found = _Parts()
    found.feed(path.read_text(encoding="utf-8"))
    return found


class Page(Engine):
    """A written report, opened: its script has run."""

    def __init__(self, path: Path, webgl: bool = True) -> None:
        super().__init__(webgl)
        found = _parts(path)
        self.run(f"openPage({json.dumps(found.parts)})")
        self.run(found.script)

    def figure(self, name: str) -> Any:
        """Traces and layout of a figure as they stand."""
        found = self.ask(
            f"(({{data, layout}}) => ({{data, layout}}))({_element(f'figure-{name}')})"
        )
        return _unpacked(found)

    def choose(self, **choices: Any) -> None:
        """Set some controls, as a reader would: the block first."""
        for name, value in choices.items():
            self.run(f"{_element(name)}.choose({json.dumps(value)})")

    def of(self, name: str, what: str = "textContent") -> Any:
        """A property of an element: its text, its value, whether it is hidden."""
        return self.ask(f"{_element(name)}.{what}")

    def fire(self, name: str, event: str, **more: Any) -> None:
        """What a reader does to an element."""
        self.run(f"{_element(name)}.fire('{event}', {json.dumps(more)})")


def _unpacked(part: Any) -> Any:
    """Arrays that plotly's JSON holds as bytes, as lists."""
    if isinstance(part, dict):
        if "bdata" in part:
            values = np.frombuffer(base64.b64decode(part["bdata"]), part["dtype"])
            return values.reshape(_shape(part)).tolist()
        return {name: _unpacked(value) for name, value in part.items()}
    return [_unpacked(value) for value in part] if isinstance(part, list) else part


def _shape(part: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(size) for size in str(part.get("shape", "-1")).split(","))


def _element(name: str) -> str:
    return f"document.getElementById('{name}')"


class Plot(Engine):
    """A panel of the explorer that has drawn ``data``; 420 px wide, 360 px high."""

    def __init__(self, data: dict[str, Any], webgl: bool = True) -> None:
        super().__init__(webgl)
        self.load("panel.js")
        self.run(f"const model = new Model({{data: {packed(data)}, height: 360}}, {{}})")
        self.run("const el = new Element('div'); const close = exported.render({ model, el })")
        self.run("const [canvas, tip] = el.children")

    def strokes(self, what: str) -> list[dict[str, Any]]:
        """All that was drawn of a kind: text, rect, box, line, dot, ring or image."""
        return [stroke for stroke in self.ask("canvas.pen.strokes") if stroke["what"] == what]

    def written(self, text: str) -> dict[str, Any]:
        """Where a text stands that stands there once."""
        (found,) = (stroke for stroke in self.strokes("text") if stroke["text"] == text)
        return found

    def _at(self, name: str, x: float, y: float) -> None:
        # the canvas does not begin where the window does
        self.run(f"canvas.fire('{name}', {{ clientX: {x} + 7, clientY: {y} + 11 }})")

    def hover(self, x: float, y: float) -> str:
        """What is said of a place."""
        self._at("mousemove", x, y)
        return self.ask("tip.textContent")

    def click(self, x: float, y: float) -> dict[str, Any] | None:
        """What Python hears of a click; None: nothing."""
        before = self.ask("model.sent.length")
        self._at("click", x, y)
        return (
            self.ask("model.sent.at(-1).picked") if self.ask("model.sent.length") > before else None
        )
