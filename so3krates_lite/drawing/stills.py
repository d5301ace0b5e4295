"""Still pictures with matplotlib: for pages that show no interactive figure, and for print.

The same scene, colours and scales as `figures` and `molecule3d`, drawn on ordinary
matplotlib axes. A molecule is seen along the
third row of ``view``; what is nearer to the eye is drawn later. Axes are in Å.

:func:`show` displays a still picture in a notebook and below it the figure that can be turned; a
static page has the still one.
"""

from __future__ import annotations

import base64
import io
import json
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from so3krates_lite.drawing.look import (
    CONFIG,
    DIVERGING,
    NEGATIVE,
    PALETTE,
    POSITIVE,
    TEXT,
    parts_of_colour,
)
from so3krates_lite.drawing.scene import (
    Scene,
    atom_radius,
    element_colour,
    label_colour,
    tube_width,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from ipywidgets import DOMWidget
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure


def house_style() -> None:
    """Transparent background, mid-grey text, quiet axes, sharp on dense screens."""
    import matplotlib as mpl

    grid = "#7d859047"
    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "figure.facecolor": "none",
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "none",
            "axes.facecolor": "none",
            "axes.edgecolor": grid,
            "axes.grid": True,
            "axes.labelcolor": TEXT,
            "axes.titlecolor": TEXT,
            "axes.titlesize": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": mpl.cycler(color=PALETTE),
            "grid.color": grid,
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "legend.labelcolor": TEXT,
            "lines.linewidth": 2,
            "text.color": TEXT,
            "xtick.color": TEXT,
            "ytick.color": TEXT,
            "font.size": 10,
        }
    )


def diverging() -> LinearSegmentedColormap:
    """The signed scale of the plotly figures as a matplotlib colour map."""
    from matplotlib.colors import LinearSegmentedColormap

    stops = [(place, parts_of_colour(text)) for place, text in DIVERGING]
    return LinearSegmentedColormap.from_list("so3krates", stops)


def image(figure: Figure, kind: str = "png", dpi: int = 110) -> bytes:
    """A matplotlib figure as "png" or "svg", and closed."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    stream = io.BytesIO()
    # text stays text; no date, and ids from a fixed salt, so that a figure is the same each time
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "so3krates"}):
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(stream, format=kind, dpi=dpi, bbox_inches="tight", metadata=metadata)
    plt.close(figure)
    return stream.getvalue()


RUN_IT = "(run the cell: here stands a figure to turn, to hover over, or to move by a slider)"


def still_bundle(still: Figure, svg: bool = False) -> dict[str, Any]:
    """The still picture as a notebook's output."""
    if svg:
        kinds = {"image/svg+xml": image(still, "svg").decode()}
    else:
        kinds = {"image/png": base64.b64encode(image(still)).decode()}
    return kinds | {"text/plain": "(a still picture)"}


def live_bundle(live: go.Figure | DOMWidget) -> dict[str, Any]:
    """The live figure as a notebook's output, with a line for pages that cannot show it."""
    if hasattr(live, "to_json"):
        kinds = {"application/vnd.plotly.v1+json": json.loads(live.to_json()) | {"config": CONFIG}}
    else:
        kinds = dict(live._repr_mimebundle_())
    return kinds | {"text/plain": RUN_IT}


def show(
    still: Figure, live: go.Figure | DOMWidget | None = None, *, instead: bool = False
) -> None:
    """Display a matplotlib figure and below it a live one.

    With ``instead`` the live figure takes the place of the still one where it can be shown: for a
    still that shows nothing more.
    """
    from IPython.display import display

    # a notebook that is not trusted yet shows PNG and no SVG; but in one output with plotly
    # JupyterLab would show the PNG until the pointer comes near
    outputs = [still_bundle(still, svg=instead and hasattr(live, "to_json"))]
    if live is not None:
        outputs.append(live_bundle(live))
    if instead:
        outputs = [outputs[-1] | outputs[0]]
    for output in outputs:
        display(output, raw=True)


def _mixed(colour: str, other: float, share: float) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return tuple((1 - share) * c + share * other for c in to_rgb(colour))


_LAYER = 0.1  # Å; pieces of tubes as near to each other in depth are drawn together, which is quick


def _order(depth: float) -> float:
    """matplotlib's drawing order of something ``depth`` Å nearer to the eye than the middle."""
    return 2 + float(depth) / 100


def draw_molecule(
    ax: Axes,
    picture: Scene,
    view: Float[np.ndarray, "3 3"] | None = None,
    *,
    labels: bool = True,
    size: float = 1.0,
) -> Float[np.ndarray, "atoms 3"]:
    """Balls and sticks; returns the atoms' places to the right, up and towards the eye, Å.

    ``view`` has rows right, up and out, and is the scene's own by default; ``size`` scales atoms.
    """
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Circle

    places = picture.positions @ (picture.view if view is None else view).T
    for pair in picture.bonds:
        middle = places[pair].mean(axis=0)
        for atom in pair:
            x, y, depth = np.stack([places[atom], middle]).T
            colour = element_colour(int(picture.numbers[atom]))
            for width, shade in ((7.5, 0.42), (6.0, 0.0)):
                line = {"solid_capstyle": "round", "zorder": _order(depth.mean())}
                ax.plot(x, y, color=_mixed(colour, 0, shade), linewidth=size * width, **line)
    for place, number, label in zip(places, picture.numbers, picture.labels, strict=True):
        radius, colour = size * atom_radius(int(number)), element_colour(int(number))
        discs, shades = [], [_mixed(colour, 0, 0.35)]
        for share in np.linspace(0, 1, 13):  # lighter and smaller towards the lamp: a ball
            centre = place[:2] + radius * 0.36 * share * np.array([-0.7, 0.7])
            discs.append(Circle(centre, radius * (1 - 0.9 * share)))
            shades.append(_mixed(colour, 1, 0.62 * share**2))
        ball = PatchCollection(discs, facecolors=[shades[0], *shades[2:]], linewidths=0)
        ax.add_collection(ball).set_zorder(_order(place[2] + radius))
        if labels:
            style = {"ha": "center", "va": "center", "fontsize": 8.5 * size, "fontweight": "bold"}
            colour = label_colour(int(number))
            ax.text(
                *place[:2], label, color=colour, zorder=_order(place[2] + radius + 0.01), **style
            )
    ax.set_aspect("equal")
    ax.axis("off")
    ax.margins(0.12)
    return places


def draw_attention(
    ax: Axes,
    picture: Scene,
    values: Float[np.ndarray, "pairs"],
    limit: float,
    keep: np.ndarray,
    view: Float[np.ndarray, "3 3"] | None = None,
) -> None:
    """The chosen pairs' tubes, thick at the atom that asks.

    Args:
        picture: from :func:`so3krates_lite.drawing.scene.scene`
        values: signed attention of the frame's directed pairs
        limit: end of the scale
        keep: which pairs are drawn
        view: rows right, up and out; by default the scene's own
    """
    from matplotlib.collections import PolyCollection

    view = picture.view if view is None else view
    index = np.flatnonzero(keep)
    path = picture.tubes.path[index] @ view.T
    along = np.gradient(path[..., :2], axis=1)
    along = along / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)
    width = 1.6 * tube_width(values[index], limit)[:, None] * picture.tubes.taper
    side = np.stack([-along[..., 1], along[..., 0]], axis=-1) * width[..., None]
    one, other = path[..., :2] + side, path[..., :2] - side
    outline = np.stack([one[:, :-1], one[:, 1:], other[:, 1:], other[:, :-1]], axis=2)
    depth = (path[:, :-1, 2] + path[:, 1:, 2]) / 2
    colour = np.where(values[index] < 0, NEGATIVE, POSITIVE)[:, None].repeat(depth.shape[1], 1)
    # piece by piece from the back, so that atoms hide what is behind them
    order = np.argsort(depth, axis=None)
    layers = np.floor(depth.ravel()[order] / _LAYER)
    for pieces in np.split(order, np.flatnonzero(np.diff(layers)) + 1) if len(order) else ():
        style = {"color": colour.ravel()[pieces], "linewidth": 0.4}
        drawn = PolyCollection(outline.reshape(-1, 4, 2)[pieces], **style)
        ax.add_collection(drawn).set_zorder(_order(depth.ravel()[pieces].mean()))


def molecule_image(
    picture: Scene,
    values: Float[np.ndarray, " pairs"],
    limit: float,
    keep: np.ndarray,
    description: str,
) -> str:
    """An ``<img>`` of a molecule and its tubes, for a browser without WebGL; nothing is loaded.

    Arguments are those of :func:`draw_attention`; the description is read to those who see nothing.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), facecolor="none")
    ax = figure.add_axes((0, 0, 1, 1))
    draw_molecule(ax, picture)
    draw_attention(ax, picture, values, limit, keep)
    for name in ax.texts:  # as in the turning view: an atom may be hidden, its name is not
        name.set_zorder(10)
    data = base64.b64encode(image(figure, dpi=160)).decode()
    return f'<img alt="{escape(description, quote=True)}" src="data:image/png;base64,{data}">'


def draw_sphc(
    ax: Axes,
    place: Float[np.ndarray, "2"],
    chi: Float[np.ndarray, "m_tot"],
    degrees: tuple[int, ...],
    view: Float[np.ndarray, "3 3"],
    scale: float = 1.0,
) -> None:
    """An atom's SPHCs as a shape around it: the function Σ χ_lm Y_lm, cut by the picture plane.

    The outline is ``scale`` · |value| away from ``place`` in each direction, amber where the
    function is positive, azure where it is negative.
    """
    from so3krates_lite.harmonics import spherical_harmonics

    angle = np.linspace(0, 2 * np.pi, 181)
    flat = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    value = np.asarray(spherical_harmonics(np.float32(flat @ view[:2]), degrees)) @ chi
    for sign, colour in ((1, POSITIVE), (-1, NEGATIVE)):
        outline = place + flat * (scale * np.maximum(sign * value, 0))[:, None]
        ax.fill(*outline.T, facecolor=colour, edgecolor=colour, alpha=0.55, zorder=3)
