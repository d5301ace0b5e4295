"""One look for every picture: colours, fonts, digits, and what a page may load.

One colour has one meaning throughout: a diverging scale centred on zero for what has a sign, one
sequential scale for sizes, and a palette that colour-blind readers can tell apart.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import plotly.graph_objects as go

NEGATIVE, POSITIVE, MAGNITUDE = "#1c86d8", "#ef8a17", "#009e73"
TEXT, GRID = "#7d8590", "rgba(125,133,144,0.28)"
DIVERGING = [
    [0.0, "rgba(14,84,158,1)"],
    [0.25, "rgba(28,134,216,0.85)"],
    [0.4999, "rgba(28,134,216,0)"],
    [0.5001, "rgba(239,138,23,0)"],
    [0.75, "rgba(239,138,23,0.85)"],
    [1.0, "rgba(198,88,0,1)"],
]
SEQUENTIAL = [
    [0.0, "rgba(0,158,115,0)"],
    [0.5, "rgba(0,158,115,0.75)"],
    [1.0, "rgba(0,104,76,1)"],
]
PALETTE = ("#2f7ed8", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c8c8c", "#a6761d")
# plotly's buttons appear with the pointer; on a transparent page they must not be a grey bar
MODEBAR = {"bgcolor": "rgba(0,0,0,0)", "color": "rgba(125,133,144,0.75)"}
CONFIG = {"displaylogo": False, "displayModeBar": "hover"}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def parts_of_colour(text: str) -> tuple[float, float, float, float]:
    """Red, green, blue and opacity, 0 to 1, of ``#rrggbb``, ``rgb(…)`` or ``rgba(…)``."""
    if text.startswith("#"):
        return (*(int(text[k : k + 2], 16) / 255 for k in (1, 3, 5)), 1.0)
    red, green, blue, *opacity = map(float, text[text.index("(") + 1 : -1].split(","))
    return (red / 255, green / 255, blue / 255, *(opacity or [1.0]))


def rgba(value: float, limit: float, signed: bool) -> tuple[float, float, float, float]:
    """Colour of a value on the signed or the one-sided scale that ends at ``limit``; 0 to 1."""
    place = np.clip((value / limit + 1) / 2 if signed else value / limit, 0, 1)
    stops, texts = zip(*(DIVERGING if signed else SEQUENTIAL), strict=True)
    parts = np.array([parts_of_colour(text) for text in texts])
    return tuple(float(np.interp(place, stops, parts[:, k])) for k in range(4))


def digits(values: np.ndarray, number: int = 4) -> list:
    """Rounded to so many significant digits, which makes messages and pages short."""
    values = np.asarray(values, float)
    size = np.where(values == 0, 1, np.abs(values))
    scale = 10.0 ** (number - 1 - np.floor(np.log10(size)))
    return (np.round(values * scale) / scale).tolist()


def styled(figure: go.Figure, height: int = 420, **layout) -> go.Figure:
    """The house look: transparent, mid-grey, no template, equal margins."""
    axis = {
        "gridcolor": GRID,
        "zerolinecolor": GRID,
        "linecolor": GRID,
        "ticks": "outside",
        "tickcolor": GRID,
        "automargin": True,
    }
    figure.update_layout(
        template={"layout": {}},
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 13, "color": TEXT},
        margin={"l": 64, "r": 20, "t": 28, "b": 52},
        hoverlabel={"font": {"family": FONT}},
        legend={"bgcolor": "rgba(0,0,0,0)"},
        modebar=MODEBAR,
    )
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure.update_layout(**layout)


def policy(library: str | None = None) -> str:
    """What a browser shall refuse: to load anything, but ``library`` from the page's own site."""
    own = "" if library is None else "'self' "
    return (
        f"default-src 'none'; script-src {own}'unsafe-inline'; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; worker-src blob:; connect-src 'none'; "
        "base-uri 'none'; form-action 'none'"
    )


def plotly_script(library: str | None = None) -> str:
    """Plotly's script as HTML: whole, or read from the address ``library``."""
    from plotly.offline import get_plotlyjs

    if library is not None:
        return f'<script src="{escape(library)}"></script>'
    # "</script" inside a script would end it
    return "<script>" + get_plotlyjs().replace("</script", r"<\/script") + "</script>"
