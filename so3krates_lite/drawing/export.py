"""Figures as files: a page that works without the net, or a picture made without a browser.

A plotly figure is a description in JSON that a browser turns into a drawing. `save_figure` writes
it as a page with plotly's script inside, or draws the same description with matplotlib, so that no
browser is needed for a PNG or SVG: `still` knows what the figures of this package are made of, that
is heat maps, dots and lines, panels by their domains, axes with titles, ranges and logarithms,
colour scales, legends, and notes. What it does not know it refuses instead of leaving it out.
Molecules in 3D are drawn by :mod:`so3krates_lite.drawing.stills`.

Lengths of a description are in px; 100 of them are an inch here.
"""

from __future__ import annotations

import os
import re
from html import escape, unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from so3krates_lite.drawing import stills
from so3krates_lite.drawing.look import CONFIG, GRID, POLICY, TEXT, parts_of_colour
from so3krates_lite.errors import UserError
from so3krates_lite.runtime.files import write_atomically

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

ENDINGS = (".html", ".png", ".svg")
_PT = 0.72  # points per px
_SYMBOLS = {"circle": "o", "diamond": "D", "square": "s", "cross": "P", "x": "X"}
_DASHES = {"dash": (0, (4, 3)), "dot": (0, (1, 2)), "dashdot": (0, (4, 2, 1, 2)), "solid": "-"}


def save_figure(
    figure: go.Figure, path: str | os.PathLike, *, width: int = 760, scale: float = 2.0
) -> Path:
    """Write a plotly figure; the ending of ``path`` says how. Returns the path.

    Args:
        path: ``.html``, one page that needs nothing else, light or dark as the reader's screen;
            ``.png`` or ``.svg``, drawn by matplotlib on a transparent background.
        width: px of a picture, where the figure itself does not state one; without what stands
            beside the axes.
        scale: dots of a PNG per px.

    Raises:
        UserError: another ending, a figure that `still` cannot draw, or a place that cannot be
            written to.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise UserError(f"'{path}' must end in one of {', '.join(ENDINGS)} to be a figure's file.")
    content = page(figure).encode() if ending == ".html" else _image(figure, ending, width, scale)
    write_atomically(path, content)
    return path


def page(figure: go.Figure) -> str:
    """The figure as one HTML page with plotly's script inside; nothing else is loaded."""
    body = figure.to_html(full_html=False, include_plotlyjs=True, config=CONFIG)
    title = escape(_plain(figure.layout.title.text) or "figure")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{title}</title></head>\n'
        f"<body>{body}</body></html>\n"
    )


def _image(figure: go.Figure, ending: str, width: int, scale: float) -> bytes:
    try:
        import matplotlib as mpl
    except ImportError:
        raise UserError(
            "Pictures need matplotlib: install it, with the extra 'lab', or write .html."
        ) from None
    with mpl.rc_context():
        stills.house_style()
        mpl.rcParams["figure.constrained_layout.use"] = False
        drawing = still(figure, width)
        return stills.image(drawing, ending[1:], dpi=round(100 * scale))


def still(figure: go.Figure, width: int = 760) -> Figure:
    """A plotly figure drawn by matplotlib.

    Raises:
        UserError: it holds something else than heat maps, dots, lines, and lines as shapes.
    """
    from matplotlib.figure import Figure

    _check(figure)
    layout, margin = figure.layout, figure.layout.margin
    size = np.array([layout.width or width, layout.height or 450], float)
    low, top = np.array([_first(margin.l, 80), _first(margin.b, 80)]), _first(margin.t, 100)
    area = size - low - [_first(margin.r, 80), top]
    drawing = Figure(figsize=tuple(size / 100), dpi=100, layout="none")
    drawing.set_facecolor(_colour(layout.paper_bgcolor or "rgba(0,0,0,0)"))
    sheet = _Sheet(drawing, figure, size, low, area)
    entries = []
    for trace in figure.data:
        if trace.visible in (False, "legendonly"):
            continue
        ax = sheet.axes(trace.xaxis or "x", trace.yaxis or "y")
        drawn = (_heatmap if trace.type == "heatmap" else _scatter)(sheet, ax, trace)
        if drawn and trace.name and trace.showlegend is not False:
            entries.append((drawn, _plain(trace.name)))
    for (x, y), ax in sheet.made.items():
        _axis(ax, "x", layout[_key(x)], sheet.names.get((ax, "x")))
        _axis(ax, "y", layout[_key(y)], sheet.names.get((ax, "y")))
    for shape in layout.shapes:
        sheet.line(shape)
    for note in layout.annotations:
        sheet.note(note)
    if layout.title.text:
        up = {"y": 1 - top / 2 / size[1], "va": "center"}
        if layout.title.y is not None:
            up = {"y": layout.title.y, "va": layout.title.yanchor or "center"}
        text, x = _plain(layout.title.text), _first(layout.title.x, 0.05)
        drawing.text(x, s=text, **up, **_font(layout.title, 17))
    wanted = len(entries) > 1 if layout.showlegend is None else layout.showlegend
    if entries and wanted:
        sheet.legend(entries)
    return drawing


class _Sheet:
    """The paper: where panels, notes and scales of a figure lie on it."""

    def __init__(self, drawing: Figure, figure: go.Figure, size, low, area) -> None:
        self.drawing, self.layout = drawing, figure.layout
        self.size, self.low, self.area = size, low, area
        self.made: dict[tuple[str, str], Axes] = {}
        self.scales: set[str] = set()
        self.names: dict[tuple[Axes, str], dict[str, int]] = {}  # of cells: where they lie

    def place(self, x: float, y: float) -> np.ndarray:
        """From parts of the plotting area to parts of the whole."""
        return (self.low + np.array([x, y]) * self.area) / self.size

    def axes(self, x: str, y: str) -> Axes:
        """The panel of two axes, made when it is first asked for."""
        if (x, y) not in self.made:
            across, up = self.layout[_key(x)], self.layout[_key(y)]
            (x0, x1), (y0, y1) = across.domain or (0, 1), up.domain or (0, 1)
            corner, other = self.place(x0, y0), self.place(x1, y1)
            ax = self.drawing.add_axes([*corner, *(other - corner)])
            for (of_x, of_y), made in self.made.items():
                if across.matches == of_x or self.layout[_key(of_x)].matches == x:
                    ax.sharex(made)
                if up.matches == of_y or self.layout[_key(of_y)].matches == y:
                    ax.sharey(made)
            self.made[x, y] = ax
        return self.made[x, y]

    def scale(self, name: str, low: float, high: float, colours, bar) -> None:
        """A colour bar, once for each colour axis."""
        if name in self.scales:
            return
        self.scales.add(name)
        length, centre = _first(bar.len, 1), _first(bar.y, 0.5)
        x, y = self.place(_first(bar.x, 1.02), centre - length / 2)
        height = length * self.area[1] / self.size[1]
        width = (_first(bar.thickness, 30)) / self.size[0]
        ax = self.drawing.add_axes([x, y, width, height])
        look = {"cmap": _colormap(colours), "origin": "lower", "aspect": "auto"}
        ax.imshow(np.linspace(0, 1, 256)[:, None], extent=(0, 1, low, high), **look)
        ax.grid(False)
        ax.yaxis.tick_right()
        ax.yaxis.set_label_position("right")
        ax.tick_params(labelsize=12 * _PT, color=_colour(GRID), length=3)
        ax.set_xticks([])
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.set_ylabel(_plain(bar.title.text), **_font(bar.title, 12))

    def line(self, shape) -> None:
        """A line from one point to another, in data or in parts of a panel."""
        from matplotlib.transforms import blended_transform_factory

        (x, across), (y, up) = self._reference(shape.xref, 0), self._reference(shape.yref, 1)
        ax = self.axes(x, y)
        look = {"color": _colour(shape.line.color), "linewidth": _first(shape.line.width, 2) * _PT}
        ends = [(shape.x0, shape.y0), (shape.x1, shape.y1)]
        systems = {"data": ax.transData, "axes fraction": ax.transAxes}
        if "paper" in (across, up):
            raise UserError("A line as a shape must lie in a panel to be drawn as a picture.")
        transform = blended_transform_factory(systems[across], systems[up])
        dash = _DASHES[shape.line.dash or "solid"]
        ax.plot(*np.transpose(ends), transform=transform, linestyle=dash, **look)

    def _reference(self, name: str | None, axis: int) -> tuple[str, str]:
        """Which axis a coordinate belongs to, and what matplotlib calls its system."""
        if name in (None, "paper"):
            return (next(iter(self.made), ("x", "y"))[axis]), "paper"
        axis_name, _, domain = name.partition(" ")
        return axis_name, "axes fraction" if domain else "data"

    def note(self, note) -> None:
        """Text somewhere; an arrow is not drawn."""
        (x, across), (y, up) = self._reference(note.xref, 0), self._reference(note.yref, 1)
        ax, at = self.axes(x, y), [note.x, note.y]
        systems = [across, up]
        for n, system in enumerate(systems):
            if system == "paper":  # by transform: the name "figure fraction" knows no cropping
                at[n], systems[n] = self.place(*at)[n], self.drawing.transFigure
        ha = _anchor(note.xanchor, note.x, ("left", "center", "right"))
        va = _anchor(note.yanchor, note.y, ("bottom", "center", "top"))
        ax.annotate(
            _plain(note.text),
            at,
            xycoords=tuple(systems),
            xytext=((note.xshift or 0) * _PT, (note.yshift or 0) * _PT),
            textcoords="offset points",
            ha=ha,
            va=va,
            multialignment=note.align or "center",
            annotation_clip=False,
            linespacing=1.35,
            **_font(note, 13),
        )

    def legend(self, entries: list[tuple[tuple, str]]) -> None:
        """What was drawn for each name, and the names."""
        legend, (drawn, names) = self.layout.legend, zip(*entries, strict=True)
        x, y = self.place(_first(legend.x, 1.02), _first(legend.y, 1))
        across = legend.xanchor if legend.xanchor in ("center", "right") else "left"
        up = {"bottom": "lower", "middle": "center"}.get(legend.yanchor, "upper")
        columns = len(names) if legend.orientation == "h" else 1
        look = {"loc": f"{up} {across}", "ncols": columns, "fontsize": 12 * _PT}
        self.drawing.legend(drawn, names, bbox_to_anchor=(x, y), borderaxespad=0, **look)


def _check(figure: go.Figure) -> None:
    for trace in figure.data:
        if trace.type not in ("heatmap", "scatter") or "text" in (getattr(trace, "mode", "") or ""):
            raise UserError(
                f"A trace of kind '{trace.type}' cannot be drawn without a browser: write .html; "
                "so3krates_lite.drawing.stills draws molecules."
            )
    if other := {shape.type for shape in figure.layout.shapes} - {"line"}:
        raise UserError(f"A shape of kind '{other.pop()}' cannot be drawn: write .html.")


def _first(value: Any, default: float) -> float:
    return default if value is None else value


def _key(axis: str) -> str:
    return f"{axis[0]}axis{axis[1:]}"


def _anchor(stated: str | None, part: float, sides: tuple[str, str, str]) -> str:
    """Which side of a note lies at its place; plotly's own choice keeps it inside."""
    if stated not in (None, "auto"):
        return {"middle": "center"}.get(stated, stated)
    return sides[0 if part < 1 / 3 else 2 if part > 2 / 3 else 1]


def _plain(text: str | None) -> str:
    """Text without its tags, dollars kept from being read as mathematics."""
    text = re.sub(r"<[^>]+>", "", re.sub(r"<br\s*/?>", "\n", text or ""))
    return unescape(text).replace("$", r"\$")


def _colour(text: str | None) -> tuple[float, ...]:
    from matplotlib.colors import to_rgba

    text = text or TEXT
    return parts_of_colour(text) if text.startswith("rgb") else to_rgba(text)


def _colormap(colours) -> LinearSegmentedColormap:
    from matplotlib.colors import LinearSegmentedColormap

    stops = [(place, _colour(text)) for place, text in colours]
    # an odd number of colours, so that zero has one of its own
    return LinearSegmentedColormap.from_list("scale", stops, N=513)


def _font(part, size: float) -> dict[str, Any]:
    font = part.font
    return {"fontsize": (font.size or size) * _PT, "color": _colour(font.color)}


def _heatmap(sheet: _Sheet, ax: Axes, trace) -> None:
    from matplotlib.collections import PolyCollection

    z = np.asarray(trace.z, float)
    if trace.coloraxis:
        scale = sheet.layout[trace.coloraxis]
        low, high, name = scale.cmin, scale.cmax, trace.coloraxis
    else:
        scale, low, high, name = trace, trace.zmin, trace.zmax, f"trace {len(sheet.scales)}"
    if low is None or high is None or not isinstance(scale.colorscale, tuple):
        raise UserError("A heat map needs a stated scale (zmin, zmax, colorscale) to be drawn.")
    colours = _colormap(scale.colorscale)(np.clip((z - low) / (high - low), 0, 1))
    colours[~np.isfinite(z)] = 0
    box = ax.get_window_extent()
    cell = np.maximum([box.width / z.shape[1], box.height / z.shape[0]], 2)  # px
    half = 0.5 - 0.5 * np.array([trace.xgap or 0, trace.ygap or 0]) / cell
    centre = np.stack(np.meshgrid(*map(np.arange, z.shape[::-1])), axis=-1)[..., None, :]
    corners = centre + half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    seen = colours[..., 3] > 0  # zero is transparent, and need not be drawn
    quads = PolyCollection(corners[seen], facecolors=colours[seen], linewidths=0)
    ax.add_collection(quads)
    for letter, labels, length in zip("xy", (trace.x, trace.y), z.shape[::-1], strict=True):
        labels = range(length) if labels is None else labels
        sheet.names[ax, letter] = {str(label): n for n, label in enumerate(labels)}
        getattr(ax, f"set_{letter}lim")(-0.5, length - 0.5)
    if getattr(scale, "showscale", None) is not False:
        sheet.scale(name, low, high, scale.colorscale, scale.colorbar)


def _scatter(sheet: _Sheet, ax: Axes, trace) -> tuple:
    """Dots and lines; returns what was drawn, for a legend."""
    x, y = (np.asarray([] if v is None else v, float) for v in (trace.x, trace.y))
    mode, marker, line, drawn = trace.mode or "lines+markers", trace.marker, trace.line, []
    if "lines" in mode:
        look = {"color": _colour(line.color), "linewidth": _first(line.width, 2) * _PT}
        drawn += ax.plot(x, y, linestyle=_DASHES[line.dash or "solid"], **look)
    if "markers" in mode:
        symbol, _, opened = (marker.symbol or "circle").partition("-")
        if marker.cmin is None:
            face, outline = _colour(marker.color), _colour(marker.line.color or marker.color)
        else:
            share = (np.asarray(marker.color, float) - marker.cmin) / (marker.cmax - marker.cmin)
            face = _colormap(marker.colorscale)(np.clip(share, 0, 1))
            outline = _colour(marker.line.color)
            bar = marker.colorscale, marker.colorbar
            sheet.scale(f"dots {len(sheet.scales)}", marker.cmin, marker.cmax, *bar)
        look = {"facecolors": "none" if opened else face, "edgecolors": [outline]}
        look |= {"linewidths": _first(marker.line.width, 0) * _PT, "alpha": marker.opacity}
        size, symbol = _first(marker.size, 6) * _PT, _SYMBOLS.get(symbol, "o")
        drawn.append(ax.scatter(x, y, s=size**2, marker=symbol, zorder=3, **look))
    return tuple(drawn)


def _axis(ax: Axes, which: str, axis, names: dict[str, int] | None) -> None:
    """Title, range, ticks and grid of one axis of a panel; ``names`` are those of cells."""
    from matplotlib.ticker import MaxNLocator

    mine = getattr(ax, f"{which}axis")
    limits, scale = getattr(ax, f"set_{which}lim"), getattr(ax, f"set_{which}scale")
    if axis.type == "log":
        scale("log")
    if axis.range is not None:
        limits(*(10.0 ** np.array(axis.range) if axis.type == "log" else axis.range))
    elif axis.rangemode == "tozero":
        limits(0, None)
    if axis.autorange == "reversed":
        mine.set_inverted(True)
    if axis.tickvals is not None or names:
        values = list(axis.tickvals if axis.tickvals is not None else names)
        places = [names[str(value)] if names else value for value in values]
        texts = axis.ticktext if axis.ticktext is not None else values
        mine.set_ticks(places, [_plain(str(text)) for text in texts])
    elif axis.nticks:
        mine.set_major_locator(MaxNLocator(axis.nticks))
    if axis.scaleanchor:
        ax.set_aspect("equal", adjustable="box")
    if which == "x" and axis.side == "top":
        mine.tick_top()
        mine.set_label_position("top")
    shown = axis.showticklabels is not False
    sides = ("top", "bottom") if which == "x" else ("left",)
    side = "top" if "top" in sides and axis.side == "top" else sides[-1]
    ax.tick_params(
        axis=which,
        labelsize=(axis.tickfont.size or 12) * _PT,
        length=0 if axis.ticks == "" else 3,
        color=_colour(axis.tickcolor),
        **{f"label{name}": shown and name == side for name in sides},
    )
    if which == "x" and names:
        ax.tick_params(axis="x", rotation=90 if len(mine.get_ticklocs()) > 6 else 0)
    ax.grid(axis.showgrid is not False, axis=which)
    ax.set_axisbelow(True)
    if axis.zeroline:
        line = ax.axhline if which == "y" else ax.axvline
        line(0, color=_colour(axis.zerolinecolor), linewidth=1.6 * _PT, zorder=0.5)
    if axis.title.text:
        mine.set_label_text(_plain(axis.title.text), **_font(axis.title, 13))
