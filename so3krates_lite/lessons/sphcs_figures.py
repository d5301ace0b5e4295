"""Figures of lesson 3, spherical harmonic coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from so3krates_lite.drawing.look import NEGATIVE, PALETTE, POSITIVE, TEXT, styled
from so3krates_lite.drawing.molecule3d import LIGHT, styled_scene
from so3krates_lite.drawing.scene import Scene, atom_radius, element_colour
from so3krates_lite.drawing.tubes import icosphere, unit
from so3krates_lite.lessons.points import ijk, one_point, separated, xyz
from so3krates_lite.lessons.sliders import showing

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes

# brighter than molecules elsewhere: white atoms must not look grey on one side
_LIGHT = LIGHT | {"ambient": 0.8, "diffuse": 0.35, "specular": 0.12}


@lru_cache
def _sphere(degrees: tuple[int, ...], fineness: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices and faces of a sphere, and the harmonics of its vertices."""
    from so3krates_lite.harmonics import spherical_harmonics

    sphere, faces = icosphere(fineness)
    return sphere, faces, np.asarray(spherical_harmonics(np.float32(sphere), degrees))


def shape_surface(
    chi: Float[np.ndarray, "m_tot"], degrees: tuple[int, ...], scale: float, fineness: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, faces and values of the shape of an SPHC vector: |value| away in each direction."""
    sphere, faces, Y = _sphere(tuple(degrees), fineness)
    value = Y @ np.asarray(chi)
    return scale * np.abs(value)[:, None] * sphere, faces, value


def draw_shape(
    ax: Axes,
    place: Float[np.ndarray, "3"],
    chi: Float[np.ndarray, "m_tot"],
    degrees: tuple[int, ...],
    view: Float[np.ndarray, "3 3"],
    scale: float = 1.0,
    fineness: int = 4,
) -> None:
    """The shape of an atom's SPHCs as a lit surface on plain axes, among the atoms drawn there.

    In each direction it is ``scale`` |f| away from ``place``, with f the sum of chi_lm Y_lm: amber
    where f is positive, azure where negative.

    Args:
        place: to the right, up and towards the eye, as `stills.draw_molecule` returns them
        view: rows right, up and towards the eye
    """
    from matplotlib.collections import TriMesh
    from matplotlib.colors import to_rgb
    from matplotlib.tri import Triangulation

    vertices, faces, value = shape_surface(chi, degrees, scale, fineness)
    if not np.abs(vertices).max() > 1e-3 * scale:
        return
    x, y, z = (vertices @ view.T).T
    normal = np.zeros_like(vertices)  # of a vertex: the mean of its faces', so that no edge shows
    corners = vertices[faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    np.add.at(normal, faces.ravel(), np.repeat(flat, 3, axis=0))
    facing = unit(normal) @ view.T @ np.array([-0.45, 0.6, 0.66])  # the lamp: upper left, in front
    facing = np.clip(facing, 0, 1)[:, None]
    colour = np.where(value[:, None] > 0, to_rgb(POSITIVE), to_rgb(NEGATIVE)) * (0.6 + 0.4 * facing)
    colour = colour + (1 - colour) * 0.35 * facing**12
    depth = z[faces].mean(axis=1)
    slices = np.floor((depth - depth.min()) / max(np.ptp(depth), 1e-9) * 7.99)
    for k in range(8):  # from the back to the front, so that atoms may stand in between
        order = np.flatnonzero(slices == k)
        if not len(order):
            continue
        order = order[np.argsort(depth[order])]
        mesh = TriMesh(Triangulation(place[0] + x, place[1] + y, faces[order]), rasterized=True)
        mesh.set_facecolor(np.column_stack([colour, np.ones(len(colour))]))
        mesh.set_zorder(2 + (place[2] + depth[order].mean()) / 100)
        ax.add_collection(mesh)


def shape_figure(
    pictures: Sequence[Scene],
    atom: int,
    states: Float[np.ndarray, "steps m_tot"],
    degrees: tuple[int, ...],
    names: Sequence[str],
    scale: float,
    prefix: str = "",
    present: Sequence[int] | None = None,
) -> go.Figure:
    """An atom's SPHCs as a turning shape, step by step under a slider.

    Args:
        pictures: the molecule of each step, or one for all
        atom: whose SPHCs they are
        states: the SPHCs of each step
        degrees: their degrees
        names: what the slider says of each step
        scale: Å per unit of the function that the SPHCs stand for
        prefix: of the slider's words
        present: how many atoms there are in each step; those that follow in the list are faint
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    last = len(states) - 1
    owner: list[int | None] = []  # the step that shows a trace; None: each does

    def add(traces: list, step: int | None) -> None:
        figure.add_traces([trace.update(visible=step in (None, last)) for trace in traces])
        owner.extend([step] * len(traces))

    shared = len(pictures) == 1 and present is None
    if shared:
        add(_molecule(pictures[0]), None)
    for k, chi in enumerate(states):
        picture = pictures[0 if len(pictures) == 1 else k]
        if not shared:
            here = np.arange(len(picture.numbers)) < (present[k] if present else np.inf)
            add(_molecule(picture, here), k)
            add([] if here.all() else _molecule(picture, ~here, opacity=0.25), k)
        vertices, faces, value = shape_surface(chi, degrees, scale, 3)
        limit = float(max(0.3 * np.abs(value).max(), 1e-6))
        surface = go.Mesh3d(
            **xyz(picture.positions[atom] + vertices),
            **ijk(faces),
            intensity=value.astype(np.float32),
            colorscale=[[0, NEGATIVE], [0.5, "#d5d9de"], [1, POSITIVE]],
            cmin=-limit,
            cmax=limit,
            showscale=False,
            hoverinfo="skip",
            lighting=_LIGHT,
            lightposition=_lamp(picture),
        )
        add([surface], k)
    slider = {
        "steps": showing(names, owner),
        "active": last,
        "currentvalue": {"prefix": prefix, "font": {"color": TEXT}},
        "pad": {"t": 8, "b": 8, "l": 24, "r": 48},
    }
    widest = max(pictures, key=lambda picture: picture.half)
    styled_scene(figure, widest, height=480)
    if len(pictures) > 1:
        figure.layout.scene.annotations = ()  # those of one molecule would stand in all steps
    return figure.update_layout(sliders=[slider])


def _lamp(picture: Scene) -> dict[str, float]:
    return one_point((picture.view.T @ np.array([-0.5, 0.9, 1.3]) * 1e4).round())


def _molecule(
    picture: Scene,
    chosen: Bool[np.ndarray, "atoms"] | None = None,
    opacity: float = 1.0,
    size: float = 0.55,
) -> list[go.Scatter3d | go.Mesh3d]:
    """Sticks, and balls small enough to see a shape around them; light enough for many steps.

    Of the chosen atoms, with the bonds among them; faint ones have those to all others, too.
    """
    import plotly.graph_objects as go

    ball, faces = icosphere(2)
    if chosen is None:
        chosen = np.ones(len(picture.numbers), bool)
    ends = chosen[picture.bonds]
    bonds = picture.bonds[ends.any(axis=1) if opacity < 1 else ends.all(axis=1)]
    numbers = [int(z) for z in picture.numbers[chosen]]
    kinds = sorted(set(numbers))
    colours = [element_colour(z) for z in kinds] * (2 if len(kinds) == 1 else 1)
    places = np.concatenate(
        [
            place + size * atom_radius(z) * ball
            for place, z in zip(picture.positions[chosen], numbers, strict=True)
        ]
    )
    corners = np.concatenate([faces + k * len(ball) for k in range(len(numbers))])
    return [
        go.Scatter3d(
            **xyz(separated(picture.positions[bonds])),
            mode="lines",
            line={"width": 6, "color": TEXT},
            hoverinfo="skip",
            opacity=opacity,
        ),
        go.Mesh3d(
            **xyz(places),
            **ijk(corners),
            intensity=np.repeat([kinds.index(z) for z in numbers], len(ball)).astype(np.uint8),
            colorscale=[[k / (len(colours) - 1), colour] for k, colour in enumerate(colours)],
            cmin=0,
            cmax=max(len(kinds) - 1, 1),
            showscale=False,
            hoverinfo="skip",
            lighting=_LIGHT,
            lightposition=_lamp(picture),
            opacity=opacity,
        ),
    ]


def two_distances_figure(
    distance: Float[np.ndarray, "pairs"],
    sphc_distance: Float[np.ndarray, "pairs"],
    names: Sequence[str],
    cutoff: float,
    kinds: Mapping[str, Bool[np.ndarray, "pairs"]],
) -> go.Figure:
    """Every pair of atoms by its distance in space and in SPHC space; the pointer names it.

    ``kinds`` says by its name in the legend which pairs are of a kind and so have one colour.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for (kind, chosen), colour in zip(kinds.items(), PALETTE, strict=False):
        figure.add_scatter(
            x=np.float32(distance[chosen]),
            y=np.float32(sphc_distance[chosen]),
            mode="markers",
            text=[name for name, here in zip(names, chosen, strict=True) if here],
            marker={"size": 10, "color": colour, "line": {"width": 1, "color": TEXT}},
            hovertemplate="%{text}<br>%{x:.2f} Å in space<br>%{y:.3f} in SPHC space<extra></extra>",
            name=kind,
        )
    figure.add_vline(x=cutoff, line={"dash": "dash", "color": TEXT, "width": 1.5})
    figure.update_xaxes(title="distance d (Å)", rangemode="tozero")
    top = 1.08 * float(np.max(sphc_distance))
    figure.update_yaxes(title="SPHC distance X (no unit)", range=[-0.05 * top, top])
    legend = {"orientation": "h", "x": 0, "y": 1.1}
    return styled(figure, height=440, showlegend=True, legend=legend)
