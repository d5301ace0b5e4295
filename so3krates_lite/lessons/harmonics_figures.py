"""Figures of lesson 2, spherical harmonics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from so3krates_lite.drawing.look import NEGATIVE, POSITIVE, TEXT, styled
from so3krates_lite.drawing.tubes import icosphere, unit
from so3krates_lite.lessons.harmonics import values_at
from so3krates_lite.lessons.points import ijk, one_point, separated, without_nan, xyz

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes

NEUTRAL = "#dfe3e8"  # zero, on a sphere
# rows: to the right, up, towards the eye; z points up, x to the lower left, y to the right
VIEW: Float[np.ndarray, "3 3"] = np.array(
    [
        unit(np.array([-0.5, 1.0, 0.0])),
        unit(np.cross(unit(np.array([1.0, 0.5, 0.55])), unit(np.array([-0.5, 1.0, 0.0])))),
        unit(np.array([1.0, 0.5, 0.55])),
    ]
)
_LAMP = unit(np.array([-0.5, 0.7, 0.9]))  # in the picture's own axes
_ARM = 1.8  # how far the turning figure reaches; its sphere has radius 1
_LINE = 0.006
_SIGNED = [  # a line at zero, as thin as a scale of 256 colours allows
    [0, NEGATIVE],
    [0.5 - _LINE, NEUTRAL],
    [0.5 - 0.5 * _LINE, TEXT],
    [0.5 + 0.5 * _LINE, TEXT],
    [0.5 + _LINE, NEUTRAL],
    [1, POSITIVE],
]


def _mixed(values: np.ndarray, limit: float) -> np.ndarray:
    """RGB of signed values: azure, neutral at zero, amber."""
    from matplotlib.colors import to_rgb

    low, middle, high = (np.array(to_rgb(c)) for c in (NEGATIVE, NEUTRAL, POSITIVE))
    t = np.clip(values / limit, -1, 1)[..., None]
    return np.where(t < 0, middle + (low - middle) * -t, middle + (high - middle) * t)


def _few_shades(rgb: np.ndarray) -> np.ndarray:
    """Rounded colours: the eye sees no difference, and the file is half as large."""
    return np.round(np.clip(rgb, 0, 1) * 51) / 51


def draw_sphere(
    ax: Axes,
    coefficients: Float[np.ndarray, "m_tot"],
    degrees: Sequence[int],
    limit: float | None = None,
    points: Float[np.ndarray, "points 3"] | None = None,
    view: Float[np.ndarray, "3 3"] = VIEW,
) -> None:
    """The function Σ c_lm Y_lm on a sphere of radius 1: amber above zero, azure below.

    The thin line is where it is zero. ``points`` (directions of length one) are
    drawn as dots where they are in view.
    """
    line = np.linspace(-1.01, 1.01, 161)
    x, y = np.meshgrid(line, line)
    height = 1 - x**2 - y**2
    seen = np.stack([x, y, np.sqrt(np.maximum(height, 0))], axis=-1)
    values = values_at(seen @ view, degrees) @ np.asarray(coefficients, float)
    limit = limit or np.abs(values[height > 0]).max() or 1.0
    light = (0.78 + 0.24 * np.maximum(seen @ _LAMP, 0))[..., None]
    colour = _few_shades(_mixed(values, limit) * light)
    edge = np.clip((1 - np.sqrt(x**2 + y**2)) * 40 + 0.5, 0, 1)  # no stairs at the border
    extent = (line[0], line[-1], line[0], line[-1])
    image = np.uint8(np.round(255 * np.dstack([colour, edge])))
    ax.imshow(image, extent=extent, origin="lower", interpolation="none", zorder=2)
    zero = np.where(height > 0.02, values, np.nan)
    if np.nanmin(zero) < -1e-6 and np.nanmax(zero) > 1e-6:
        ax.contour(x, y, zero, [0.0], colors=[TEXT], linewidths=0.6, zorder=2.1)
    if points is not None:
        for place in np.asarray(points) @ view.T:
            if place[2] > 0:
                ax.plot(*place[:2], "o", color="#20262d", markersize=5, zorder=3)
    ax.set(xlim=(-1.18, 1.18), ylim=(-1.18, 1.18), aspect="equal")
    ax.axis("off")


def draw_lobes(
    ax: Axes,
    coefficients: Float[np.ndarray, "m_tot"],
    degrees: Sequence[int],
    place: tuple[float, float] = (0.0, 0.0),
    scale: float = 1.0,
    view: Float[np.ndarray, "3 3"] = VIEW,
) -> None:
    """The function Σ c_lm Y_lm as a shape: ``scale`` · |value| away from ``place`` everywhere."""
    from matplotlib.collections import PolyCollection

    sphere, faces = icosphere(4)
    values = values_at(sphere, degrees) @ np.asarray(coefficients, float)
    corners = (scale * np.abs(values)[:, None] * sphere @ view.T)[faces]
    normal = unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    front = normal[:, 2] > -0.05
    order = np.flatnonzero(front)[np.argsort(corners[front, :, 2].mean(axis=1))]
    light = 0.62 + 0.43 * np.maximum(normal @ _LAMP, 0)
    colour = _mixed(np.sign(values[faces].mean(axis=1)), 1.0) * light[:, None]
    colour = _few_shades(colour + 0.25 * np.maximum(normal @ _LAMP, 0)[:, None] ** 12)
    shape = PolyCollection(
        corners[order, :, :2] + np.asarray(place),
        facecolors=colour[order],
        edgecolors=colour[order],
        linewidths=0.4,
        rasterized=True,
    )
    ax.add_collection(shape)


def draw_axes(
    ax: Axes,
    place: tuple[float, float] = (0.0, 0.0),
    length: float = 1.0,
    view: Float[np.ndarray, "3 3"] = VIEW,
) -> None:
    """The directions x, y, z as arrows in the picture."""
    for tip, name in zip(length * view.T[:, :2], "xyz", strict=True):
        end = np.asarray(place) + tip
        ax.annotate("", end, place, arrowprops={"arrowstyle": "-|>", "color": TEXT})
        ax.annotate(name, np.asarray(place) + 1.22 * tip, ha="center", va="center")


def sphere_figure(
    coefficients: Float[np.ndarray, "steps m_tot"],
    degrees: Sequence[int],
    names: Sequence[str],
    prefix: str = "",
    points: Float[np.ndarray, "steps points 3"] | None = None,
    bars: bool = True,
    active: int = 0,
) -> go.Figure:
    """A sphere to turn, coloured by Σ c_lm Y_lm, with a slider over sets of coefficients.

    Args:
        coefficients: one set for each step of the slider
        names: what the slider says of each step
        prefix: what stands before the name
        points: directions to mark with dots, for each step
        bars: show the coefficients beside the sphere, too; without them every step has a colour
            scale of its own
        active: the step to start with
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    coefficients = np.asarray(coefficients, float)
    sphere, faces = icosphere(3)
    values = (values_at(sphere, degrees) @ coefficients.T).T.astype(np.float32)
    values /= np.abs(values).max(axis=None if bars else 1, keepdims=True)
    kinds = [{"type": "scene"}, {"type": "xy"}]
    figure = make_subplots(1, 2, specs=[kinds], column_widths=[0.56, 0.44]) if bars else go.Figure()
    figure.add_trace(
        go.Mesh3d(
            **xyz(sphere),
            **ijk(faces),
            intensity=values[active],
            colorscale=_SIGNED,
            **{"cmin": -1.0, "cmax": 1.0, "showscale": False},
            lighting={"ambient": 0.95, "diffuse": 0.1, "specular": 0.0, "fresnel": 0.0},
        )
    )
    figure.add_trace(_arms())
    moving = [[go.Mesh3d(intensity=row)] for row in values]
    traces = [0]
    if points is not None:
        places = [xyz(step) for step in 1.03 * np.asarray(points)]
        style = {"mode": "markers", "marker": {"size": 5, "color": "#20262d"}}
        figure.add_trace(go.Scatter3d(**places[active], **style))
        traces.append(len(figure.data) - 1)
        for parts, place in zip(moving, places, strict=True):
            parts.append(go.Scatter3d(**place))
    if bars:
        labels = [f"{l}, {m}" for l in degrees for m in range(-l, l + 1)]
        heights = [go.Bar(y=row.round(4), marker_color=_signs(row)) for row in coefficients]
        figure.add_trace(go.Bar(heights[active], x=labels), row=1, col=2)
        traces.append(len(figure.data) - 1)
        for parts, height in zip(moving, heights, strict=True):
            parts.append(height)
        reach = 1.1 * np.abs(coefficients).max()
        figure.update_yaxes(title="coefficient (no unit)", range=[-reach, reach], zeroline=True)
        figure.update_xaxes(title="l, m", type="category", tickangle=-90)
    figure.frames = [
        go.Frame(data=parts, traces=traces, name=str(k)) for k, parts in enumerate(moving)
    ]
    figure.update_traces(hoverinfo="skip")
    at_once = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}
    at_once["transition"] = {"duration": 0}
    steps = [
        {"label": name, "method": "animate", "args": [[str(k)], at_once]}
        for k, name in enumerate(names)
    ]
    hidden = {f"{axis}axis": {"visible": False, "range": [-_ARM, _ARM]} for axis in "xyz"}
    current = {"prefix": prefix, "font": {"color": TEXT, "size": 14}}
    slider = {"steps": steps, "currentvalue": current, "pad": {"t": 50}, "font": {"size": 10}}
    figure.update_layout(
        scene={**hidden, "aspectmode": "cube"},
        scene_camera_eye=one_point(1.82 / _ARM * VIEW[2]),
        sliders=[slider | {"active": active}],
        showlegend=False,
    )
    return styled(figure, height=500, margin={"l": 8, "r": 20, "t": 12, "b": 40})


def _signs(values: Float[np.ndarray, "m_tot"]) -> list[str]:
    return [NEGATIVE if v < 0 else POSITIVE for v in values]


def _arms() -> go.Scatter3d:
    """The axes x, y and z, from the middle of the sphere to a bit outside."""
    import plotly.graph_objects as go

    ends = np.diag([_ARM - 0.1, 1.25, 1.25])  # x comes towards the eye and looks short
    arms = np.stack([np.zeros((3, 3)), ends], axis=1)
    x, y, z = map(without_nan, separated(arms).T)
    text = ["", "x", "", "", "y", "", "", "z", ""]
    style = {"mode": "lines+text", "line": {"width": 4, "color": TEXT}}
    return go.Scatter3d(x=x, y=y, z=z, text=text, **style)
