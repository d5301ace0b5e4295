"""Checks and figures of lesson 2, spherical harmonics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from so3krates_lite.figures import NEGATIVE, POSITIVE, TEXT, styled
from so3krates_lite.harmonics import spherical_harmonics
from so3krates_lite.lessons.feedback import RIGHT, WRONG, Feedback, as_array, attempt
from so3krates_lite.shapes import icosphere, unit

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


def _values(r: np.ndarray, degrees: Sequence[int]) -> np.ndarray:
    return np.asarray(spherical_harmonics(np.asarray(r, np.float32), tuple(degrees)), float)


_ROWS, _TOP = 16, 8


@lru_cache
def _compiled() -> Callable:
    import jax

    return jax.jit(lambda r: spherical_harmonics(r, tuple(range(_TOP + 1))))


def _few_values(r: np.ndarray, degrees: Sequence[int]) -> np.ndarray:
    """The same values as `_values`, compiled once for any number of directions and any degree."""
    r = np.asarray(r, np.float32)
    if r.ndim != 2 or len(r) > _ROWS or max(degrees) > _TOP:
        return _values(r, degrees)
    padded = np.ones((_ROWS, 3), np.float32)
    padded[: len(r)] = r
    columns = np.concatenate([np.arange(l * l, (l + 1) ** 2) for l in degrees])
    return np.asarray(_compiled()(padded), float)[: len(r), columns]


def _returned(result: object) -> str:
    value = as_array(result)
    return type(result).__name__ if value is None else f"an array of shape {value.shape}"


def check_direction(direction: Callable) -> Feedback:
    """Lesson 2, exercise 1: ``direction(Y_1)``, (…, 3) harmonics of degree 1 to (x, y, z)."""
    r = unit(np.random.default_rng(0).normal(size=(4, 5, 3)))
    Y_1 = _values(r, (1,))
    result, trouble = attempt(direction, Y_1.copy())
    if trouble:
        return trouble
    value = as_array(result)
    if value is None or value.shape != r.shape:
        return Feedback(
            WRONG,
            f"your function returned {_returned(result)}; one direction for each set of three "
            f"harmonics, shape {r.shape}, is expected.",
        )
    if np.allclose(value, r, atol=1e-5):
        return Feedback(RIGHT, "put in order, and divided by √(3/4π).")
    factor = np.sqrt(3 / (4 * np.pi))
    sizes = [
        (1.0, ""),
        (factor, "the length is not 1: divide by √(3/4π)."),
        (factor**2, "you multiplied by √(3/4π); divide by it."),
        (1 / np.sqrt(4 * np.pi / 3) * np.sqrt(3), "the length is not 1: the factor is √(3/4π)."),
    ]
    orders = [
        ([0, 1, 2], ""),
        ([1, 2, 0], "the components are still in the order y, z, x of m = -1, 0, 1."),
        ([2, 0, 1], "you rolled the wrong way: your first component is z, x should be."),
        ([2, 1, 0], "z and x have changed places."),
        ([0, 2, 1], "y and z have changed places."),
        ([1, 0, 2], "x and y have changed places."),
    ]
    for size, about_size in sizes:
        for order, about_order in orders:
            if np.allclose(value, size * r[..., order], atol=1e-5):
                text = " ".join(part for part in (about_order, about_size) if part)
                return Feedback(WRONG, text[0].lower() + text[1:])
    if np.allclose(value, -r, atol=1e-5):
        return Feedback(WRONG, "this is the opposite direction; harmonics of degree 1 keep signs.")
    return Feedback(
        WRONG,
        f"the harmonics {np.round(Y_1[0, 0], 3).tolist()} belong to the direction "
        f"{np.round(r[0, 0], 3).tolist()}, yours is {np.round(value[0, 0], 3).tolist()}.",
    )


def _turn_about_z(l: int, alpha: float) -> np.ndarray:
    m = np.arange(-l, l + 1)
    D = np.diag(np.cos(m * alpha))
    # row -m gains sin(m alpha) of column m, row m loses it: m = 0 stays as it is
    return D - np.sin(m * alpha)[:, None] * np.eye(2 * l + 1)[::-1]


def check_turn_about_z(turn_about_z: Callable) -> Feedback:
    """Lesson 2, exercise 2: ``turn_about_z(l, alpha)``, the Wigner matrix of a turn about z."""
    for l, alpha in ((1, 0.4), (2, 0.7), (3, -1.1), (5, 2.0), (0, 0.3)):
        result, trouble = attempt(turn_about_z, l, alpha)
        if trouble:
            return trouble
        value, size = as_array(result), 2 * l + 1
        if value is None or value.shape != (size, size):
            return Feedback(
                WRONG,
                f"your function returned {_returned(result)} for l = {l}; "
                f"2l + 1 = {size} rows and columns are expected.",
            )
        right = _turn_about_z(l, alpha)
        if np.allclose(value, right, atol=1e-5):
            continue
        m = np.arange(-l, l + 1)
        same = (
            np.eye(size) * np.cos(alpha) - np.sin(alpha) * np.sign(m)[:, None] * np.eye(size)[::-1]
        )
        same[l, l] = 1
        hole = right.copy()
        hole[l, l] = 0
        double = right.copy()
        double[l, l] = 2
        mistakes = [
            (
                right.T,
                "your matrix turns the other way. Y_1 must go to cos(α) Y_1 - sin(α) Y_-1: check "
                "the sign of the sine, and that the rows run from m = -l to l.",
            ),
            (
                same,
                "every pair turns by the same angle α in your matrix; the pair (-m, m) goes round "
                "m times as fast, by m α.",
            ),
            (hole, "the middle, m = 0, must stay: put a 1 there."),
            (double, "the middle, m = 0, got its cosine twice: it should be 1."),
            (np.diag(np.diag(right)), "only the cosines are there: a turn mixes m with -m."),
            (np.eye(size), "nothing turns."),
            (right * np.sign(right), "the signs are lost: one of the two sines is negative."),
        ]
        for wrong, text in mistakes:
            if np.allclose(value, wrong, atol=1e-5):
                return Feedback(WRONG, text)
        if np.allclose(value, _turn_about_z(l, np.radians(alpha)), atol=1e-5):
            return Feedback(WRONG, "α is in radians already.")
        if not np.allclose(value @ value.T, np.eye(size), atol=1e-5):
            return Feedback(
                WRONG,
                f"for l = {l} the rows of your matrix are not orthonormal: a rotation keeps "
                "lengths, so D Dᵀ must be the unit matrix.",
            )
        row, column = np.argwhere(~np.isclose(value, right, atol=1e-5))[0]
        return Feedback(
            WRONG,
            f"for l = {l} and α = {alpha}, row m = {row - l} and column m = {column - l} should "
            f"hold {right[row, column]:.4f}, yours holds {value[row, column]:.4f}.",
        )
    return Feedback(RIGHT, "each pair (-m, m) turns by m α, and m = 0 stands still.")


def check_mirror_signs(mirror_signs: Callable) -> Feedback:
    """Lesson 2, exercise 3: ``mirror_signs(degrees)``, what z → -z does to each harmonic."""
    for degrees in ((1, 2, 3), (0, 2), (4,)):
        result, trouble = attempt(mirror_signs, degrees)
        if trouble:
            return trouble
        l = np.concatenate([np.full(2 * d + 1, d) for d in degrees])
        m = np.concatenate([np.arange(-d, d + 1) for d in degrees])
        value = as_array(result)
        if value is None or value.shape != l.shape:
            return Feedback(
                WRONG,
                f"your function returned {_returned(result)} for degrees {degrees}; one sign for "
                f"each of the {len(l)} components is expected.",
            )
        right = (-1.0) ** (l + m)
        if np.allclose(value, right):
            continue
        along_y = np.where(m < 0, -1.0, 1.0)
        mistakes = [
            (
                (-1.0) ** l,
                "this is the inversion, r to -r: all three coordinates change their sign. Here "
                "only z does.",
            ),
            (
                (-1.0) ** m,
                "this is a half turn about z, x and y to -x and -y; the mirror turns z round. "
                "What takes the one to the other is the inversion, (-1)^l.",
            ),
            (-right, "all signs are turned: Y_00, which is constant, must keep its own."),
            (np.where(m == 0, -1.0, 1.0), "only m = 0 changes in yours; xz and yz contain z, too."),
            (along_y, "this is the mirror y to -y: it turns the harmonics with m < 0 round."),
            (along_y * (-1.0) ** m, "this is the mirror x to -x."),
            (np.abs(right), "no harmonic changes in yours; that with l = 1, m = 0 is z itself."),
        ]
        for wrong, text in mistakes:
            if np.allclose(value, wrong):
                return Feedback(WRONG, text)
        if not np.allclose(np.abs(value), 1):
            return Feedback(WRONG, "every harmonic keeps or turns its sign: only 1 and -1 occur.")
        k = int(np.flatnonzero(value != right)[0])
        return Feedback(
            WRONG,
            f"for degrees {degrees}, the harmonic l = {l[k]}, m = {m[k]} takes the sign "
            f"{right[k]:+.0f}, yours {value[k]:+.0f}.",
        )
    return Feedback(RIGHT, "(-1)^(l+m): the inversion, and half a turn about z.")


def arrangements() -> dict[str, Float[np.ndarray, "neighbours 3"]]:
    """Directions of length one from an atom to its neighbours, for the regular arrangements."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    angle = 2 * np.pi * np.arange(3) / 3
    return {
        "one": np.array([[0.0, 0, 1]]),
        "line": np.array([[0.0, 0, 1], [0, 0, -1]]),
        "triangle": np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1),
        "tetrahedron": unit(corners[corners.prod(axis=1) > 0]),
        "octahedron": np.concatenate([np.eye(3), -np.eye(3)]),
        "cube": unit(corners),
        "icosahedron": icosphere(0)[0],
    }


def check_lowest_degree(lowest_degree: Callable) -> Feedback:
    """Lesson 2, exercise 4: ``lowest_degree(directions, harmonics)``, the first l > 0 that sees.

    It is the lowest l at which the harmonics, summed over the directions, have a length above zero.
    """
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
    aside = unit(np.array([[1.0, -1, 0]]))  # its components of degree 1 sum to zero
    shapes = [*arrangements().items(), ("single neighbour along x - y", aside)]
    right = [1, 2, 2, 3, 4, 4, 6, 1]
    turned = [(f"{name}, turned", r @ turn.T) for name, r in shapes]
    answers = []
    for _, directions in shapes + turned:
        result, trouble = attempt(lowest_degree, np.float32(directions), _few_values)
        if trouble:
            return trouble
        value = as_array(result)
        if value is None or value.ndim or value % 1 != 0:
            return Feedback(
                WRONG, f"your function returned {_returned(result)}; a degree, one whole number, "
                "is expected."
            )  # fmt: skip
        answers.append(int(value))
    straight, tilted = answers[: len(shapes)], answers[len(shapes) :]
    if straight == tilted == right:
        return Feedback(RIGHT, "the length of the sum, degree by degree, with room for rounding.")
    if set(answers) == {0}:
        return Feedback(
            WRONG, "degree 0 is the same for all directions, so it sees nothing: start at l = 1."
        )
    if set(answers) == {1}:
        return Feedback(
            WRONG,
            "yours sees every arrangement at l = 1. Sum the harmonics over the neighbours first, "
            "then take the length: lengths of single neighbours cannot cancel. And after the sum, "
            "compare with a small number, not with 0.",
        )
    if straight == right:
        name, _, want, found = next(
            (n, 0, w, t) for (n, _), w, t in zip(turned, right, tilted, strict=True) if t != w
        )
        return Feedback(
            WRONG,
            f"right for upright arrangements, but for the {name}, it is {want} and yours says "
            f"{found}. Turning mixes the components of a degree, so only the length of all 2l + 1 "
            "says that a degree is empty; and what is 0 upright is a rounding error when turned.",
        )
    k = next(k for k in range(len(right)) if straight[k] != right[k])
    also = " Components of either sign cancel: take the length." if k == len(right) - 1 else ""
    return Feedback(
        WRONG,
        f"the first degree that sees the {shapes[k][0]} is {right[k]}, "
        f"yours says {straight[k]}.{also}",
    )


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
    coefficients: Float[np.ndarray, " m_tot"],
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
    values = _values(seen @ view, degrees) @ np.asarray(coefficients, float)
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
    coefficients: Float[np.ndarray, " m_tot"],
    degrees: Sequence[int],
    place: tuple[float, float] = (0.0, 0.0),
    scale: float = 1.0,
    view: Float[np.ndarray, "3 3"] = VIEW,
) -> None:
    """The function Σ c_lm Y_lm as a shape: ``scale`` · |value| away from ``place`` everywhere."""
    from matplotlib.collections import PolyCollection

    sphere, faces = icosphere(4)
    values = _values(sphere, degrees) @ np.asarray(coefficients, float)
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
) -> go.Figure:
    """A sphere to turn, coloured by Σ c_lm Y_lm, with a slider over sets of coefficients.

    Args:
        coefficients: one set for each step of the slider
        names: what the slider says of each step
        prefix: what stands before the name
        points: directions to mark with dots, for each step
        bars: show the coefficients beside the sphere, too; without them every step has a colour
            scale of its own
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    coefficients = np.asarray(coefficients, float)
    sphere, faces = icosphere(3)
    values = (_values(sphere, degrees) @ coefficients.T).T.astype(np.float32)
    values /= np.abs(values).max(axis=None if bars else 1, keepdims=True)
    kinds = [{"type": "scene"}, {"type": "xy"}]
    figure = make_subplots(1, 2, specs=[kinds], column_widths=[0.56, 0.44]) if bars else go.Figure()
    figure.add_trace(
        go.Mesh3d(
            **dict(zip("xyz", sphere.T.astype(np.float32), strict=True)),
            **dict(zip("ijk", faces.T.astype(np.uint16), strict=True)),
            intensity=values[0],
            colorscale=[[0, NEGATIVE], [0.5, NEUTRAL], [1, POSITIVE]],
            **{"cmin": -1.0, "cmax": 1.0, "showscale": False},
            lighting={"ambient": 0.75, "diffuse": 0.4, "specular": 0.15},
        )
    )
    figure.add_trace(_arms())
    moving = [[go.Mesh3d(intensity=row)] for row in values]
    traces = [0]
    if points is not None:
        dots = (1.03 * np.asarray(points)).astype(np.float32)
        places = [dict(zip("xyz", step.T, strict=True)) for step in dots]
        style = {"mode": "markers", "marker": {"size": 5, "color": "#20262d"}}
        figure.add_trace(go.Scatter3d(**places[0], **style))
        traces.append(len(figure.data) - 1)
        for parts, place in zip(moving, places, strict=True):
            parts.append(go.Scatter3d(**place))
    if bars:
        labels = [f"{l}, {m}" for l in degrees for m in range(-l, l + 1)]
        heights = [go.Bar(y=row.round(4), marker_color=_signs(row)) for row in coefficients]
        figure.add_trace(go.Bar(heights[0], x=labels), row=1, col=2)
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
    hidden = {f"{axis}axis": {"visible": False, "range": [-1.3, 1.3]} for axis in "xyz"}
    current = {"prefix": prefix, "font": {"color": TEXT, "size": 14}}
    figure.update_layout(
        scene={**hidden, "aspectmode": "cube"},
        scene_camera={
            "eye": dict(zip("xyz", (1.4 * VIEW[2]).tolist(), strict=True)),
        },
        sliders=[{"steps": steps, "currentvalue": current, "pad": {"t": 50}, "font": {"size": 10}}],
        showlegend=False,
    )
    return styled(figure, height=500, margin={"l": 8, "r": 20, "t": 12, "b": 40})


def _signs(values: Float[np.ndarray, " m_tot"]) -> list[str]:
    return [NEGATIVE if v < 0 else POSITIVE for v in values]


def _arms() -> go.Scatter3d:
    """The axes x, y and z, from the middle of the sphere to a bit outside."""
    import plotly.graph_objects as go

    start, end, gap = np.zeros((3, 3)), 1.25 * np.eye(3), np.full((3, 3), np.nan)
    line = np.stack([start, end, gap], axis=1).reshape(-1, 3)
    x, y, z = ([None if np.isnan(v) else float(v) for v in row] for row in line.T)
    text = ["", "x", "", "", "y", "", "", "z", ""]
    style = {"mode": "lines+text", "line": {"width": 4, "color": TEXT}}
    return go.Scatter3d(x=x, y=y, z=z, text=text, **style)
