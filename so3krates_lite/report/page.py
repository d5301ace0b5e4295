"""The report's page: style and script, read from files of their own.

The script draws the figures found in the page and links the attention views: one set of controls
(block, layer, channel, quantity, atom, threshold) drives the molecule, the matrix and the distance
plot. Tube geometry comes ready from Python; the script only sets widths and colours. Where WebGL is
missing, the still picture that stands in the page stays where it is.
"""

from __future__ import annotations

from pathlib import Path


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


STYLE = _read("page.css")
SCRIPT = _read("page.js")
