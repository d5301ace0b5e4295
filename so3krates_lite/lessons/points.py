"""Points in space, as checks measure them and as plotly takes them.

A line in plotly goes on through all its points; a point without coordinates (NaN, or null in JSON,
which knows no NaN) ends it, so that one trace holds many lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import DTypeLike

from so3krates_lite.drawing.look import TEXT
from so3krates_lite.drawing.scene import Scene, atom_radius, element_colour

if TYPE_CHECKING:
    import plotly.graph_objects as go


def all_distances(points: Float[np.ndarray, "*sets n d"]) -> Float[np.ndarray, "*sets n n"]:
    """The distance of each point of a set from each, in the points' unit."""
    points = np.asarray(points, float)
    return np.linalg.norm(points[..., :, None, :] - points[..., None, :, :], axis=-1)


def xyz(points: Float[np.ndarray, "n 3"], dtype: DTypeLike = np.float32) -> dict[str, np.ndarray]:
    """Many points as a trace's keywords; single precision, which keeps a page light."""
    return dict(zip("xyz", np.asarray(points, dtype).T, strict=True))


def ijk(faces: Int[np.ndarray, "faces 3"]) -> dict[str, np.ndarray]:
    """Triangles between fewer than 65536 points as a mesh's keywords."""
    return dict(zip("ijk", faces.T.astype(np.uint16), strict=True))


def one_point(place: Float[np.ndarray, "3"]) -> dict[str, float]:
    """A camera's place or an annotation's, in plain numbers."""
    return dict(zip("xyz", place.tolist(), strict=True))


def separated(lines: Float[np.ndarray, "lines points 3"]) -> Float[np.ndarray, "rows 3"]:
    """The points of all lines one below the other, with a row of NaN after each line."""
    return np.pad(lines, ((0, 0), (0, 1), (0, 0)), constant_values=np.nan).reshape(-1, 3)


def without_nan(values: Float[np.ndarray, "points"]) -> list[float | None]:
    """Plain numbers, None in place of NaN."""
    return [None if np.isnan(v) else float(v) for v in values]


def ball_and_stick(picture: Scene) -> tuple[go.Scatter3d, go.Scatter3d]:
    """The bonds and the labelled atoms of a molecule, light enough to stand beside a slider."""
    import plotly.graph_objects as go

    places = picture.positions.round(3)
    balls = {
        "color": [element_colour(int(z)) for z in picture.numbers],
        "size": [60 * atom_radius(int(z)) for z in picture.numbers],
        "line": {"width": 1, "color": TEXT},
    }
    sticks = {"mode": "lines", "line": {"width": 7, "color": TEXT}}
    return (
        go.Scatter3d(**xyz(separated(places[picture.bonds])), **sticks),
        go.Scatter3d(**xyz(places), mode="markers+text", text=picture.labels, marker=balls),
    )
