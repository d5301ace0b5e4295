"""Figures as files: a page that works without the net, or a picture that a browser makes of it.

A plotly figure is a description that only a browser turns into a drawing. So a page needs nothing
here; a picture is made by kaleido, which plotly asks for it, in a Chrome or Chromium of this
machine. Where neither is at hand, the camera in the corner of the page saves a PNG, and
:mod:`so3krates_lite.drawing.stills` draws molecules with matplotlib.
"""

from __future__ import annotations

import os
from html import escape, unescape
from pathlib import Path
from typing import TYPE_CHECKING

from so3krates_lite.drawing.look import CONFIG, policy
from so3krates_lite.errors import UserError
from so3krates_lite.runtime.files import write_atomically

if TYPE_CHECKING:
    import plotly.graph_objects as go

ENDINGS = (".html", ".png", ".svg", ".pdf")


def save_figure(
    figure: go.Figure,
    path: str | os.PathLike,
    *,
    width: int = 760,
    scale: float = 2.0,
    library: str | None = None,
) -> Path:
    """Write a plotly figure; the ending of ``path`` says how. Returns the path.

    Args:
        path: ``.html``, one page that needs nothing else, light or dark as the reader's screen;
            ``.png``, ``.svg`` or ``.pdf``, made by kaleido.
        width: px of a picture, where the figure itself does not state one.
        scale: dots of a PNG per px.
        library: where an ``.html`` finds plotly's script, if it is not to hold it.

    Raises:
        UserError: another ending, no kaleido or no browser for a picture, or a place that cannot be
            written to.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise UserError(f"'{path}' must end in one of {', '.join(ENDINGS)} to be a figure's file.")
    if ending == ".html":
        content = page(figure, library).encode()
    else:
        content = _picture(figure, ending[1:], figure.layout.width or width, scale)
    write_atomically(path, content)
    return path


def page(figure: go.Figure, library: str | None = None) -> str:
    """The figure as one HTML page with plotly's script inside; nothing else is loaded.

    Where ``library`` says where that script is, it is read from there. What moves begins at rest.
    """
    body = figure.to_html(
        full_html=False,
        include_plotlyjs=library or True,
        config=CONFIG,
        auto_play=False,
        default_height="94vh",  # of a figure that states none
    )
    title = escape(unescape(figure.layout.title.text or "figure"))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy(library)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{title}</title></head>\n'
        f"<body>{body}</body></html>\n"
    )


def _picture(figure: go.Figure, kind: str, width: int, scale: float) -> bytes:
    try:
        return figure.to_image(kind, width=width, scale=scale)
    except (ImportError, RuntimeError, ValueError) as error:
        raise UserError(
            "A picture of this figure is made by kaleido in a Chrome or Chromium, and one of them "
            "is missing or failed: 'pip install kaleido' and 'plotly_get_chrome' bring both. Or "
            "write .html, where the camera in the corner saves a PNG. "
            f"({str(error).strip().splitlines()[0].rstrip(',. ')})"
        ) from None
