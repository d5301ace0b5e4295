"""Figures of lesson 9, GeomAtt."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from so3krates_lite.drawing.figures import attention_matrix
from so3krates_lite.drawing.look import NEGATIVE, PALETTE, POSITIVE, TEXT, styled
from so3krates_lite.drawing.scene import Scene, element_colour, scene
from so3krates_lite.lessons.points import all_distances, one_point, separated, xyz
from so3krates_lite.lessons.sliders import layer_slider, showing
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.structures.frames import Frames

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes


def overlap_figure(
    grid: Float[np.ndarray, "D"],
    gamma: float,
    distances: Float[np.ndarray, "points"],
    learned: Float[np.ndarray, "layers points"],
    every: int = 15,
) -> go.Figure:
    """An atom that moves away, under a slider: the two densities, and the attention of order 2.

    Args:
        grid: places mu of the densities, Å
        gamma: 1/Å^2
        distances: of the curves, Å
        learned: C of order 2 in each layer at these distances
        every: how many distances the slider goes on by
    """
    from plotly.subplots import make_subplots

    stops, at_stops = distances[::every], learned[:, ::every]
    start = int(np.abs(stops - 1.5).argmin())
    rho = np.float32(np.exp(-gamma * (stops[:, None] - grid) ** 2))
    figure = make_subplots(
        rows=1,
        cols=2,
        horizontal_spacing=0.12,
        subplot_titles=("densities on the grid", "attention of order 2"),
    )
    figure.add_scatter(
        x=grid, y=rho[0], name="ρ(0), the atom itself", line_color=TEXT, row=1, col=1
    )
    fill = {"fill": "tozeroy", "line_color": PALETTE[1], "name": "ρ(d), its neighbour"}
    for layer, curve in enumerate(learned):
        colour = PALETTE[(0, 2, 3)[layer % 3]]
        line = {"color": colour, "width": 2.5}
        figure.add_scatter(x=distances, y=curve, name=f"layer {layer}", line=line, row=1, col=2)
    dots = {"mode": "markers", "marker": {"size": 11, "color": PALETTE[1]}, "showlegend": False}
    still = len(figure.data)
    for k, d in enumerate(stops):  # one pair of traces for each step: light, as arrays
        shown = k == start
        figure.add_scatter(x=grid, y=rho[k], **fill, visible=shown, row=1, col=1)
        place = np.full(len(learned), d)
        figure.add_scatter(x=place, y=at_stops[:, k], name="C", **dots, visible=shown, row=1, col=2)
    moving = list(range(still, len(figure.data)))
    owner = [n // 2 for n in range(len(moving))]
    steps = showing([f"{d:.1f}" for d in stops], owner, moving)
    figure.update_xaxes(title="place on the grid μ (Å)", row=1, col=1)
    figure.update_yaxes(title="density ρ (no unit)", row=1, col=1)
    figure.update_xaxes(title="distance d (Å)", row=1, col=2)
    figure.update_yaxes(title="correlation C (no unit)", row=1, col=2)
    current = {"prefix": "distance ", "suffix": " Å", "font": {"color": TEXT}}
    slider = {"steps": steps, "active": start, "currentvalue": current, "pad": {"t": 48}}
    styled(figure, height=470, sliders=[{**slider, "font": {"size": 9, "color": TEXT}}])
    return figure.update_layout(margin_t=48, legend={"orientation": "h", "y": -0.55})


def draw_chains(
    ax: Axes,
    picture: Scene,
    i: int,
    j: int,
    values: Float[np.ndarray, "atoms"],
    limit: float | None = None,
) -> None:
    """A molecule with the chains from atom i over each atom l to atom j, as wide as they count.

    Amber chains add, azure ones subtract. A chain over i or j itself is a loop there and a line.

    Args:
        values: of the chain over each l
        limit: value of the widest chain; None: the largest
    """
    from so3krates_lite.drawing.stills import draw_molecule

    places = draw_molecule(ax, picture)[:, :2]
    limit = limit or float(np.abs(values).max())
    t = np.linspace(0, 1, 60)[:, None]
    start, end = places[i], places[j]
    across = np.array([-1.0, 1.0]) * (end - start)[::-1]
    for l, value in enumerate(values):
        style = {
            "color": NEGATIVE if value < 0 else POSITIVE,
            "linewidth": 9 * np.sqrt(abs(value) / limit),
            "alpha": 0.75,
            "solid_capstyle": "round",
            "zorder": 1.5,
        }
        through = places[l]
        if l in (i, j):  # beside the straight line, i's to the left and j's to the right
            through = (start + end) / 2 + (0.12 if l == i else -0.12) * across
            out = places[l] - places.mean(axis=0)
            centre = places[l] + 0.42 * out / max(float(np.linalg.norm(out)), 1e-9)
            turn = 2 * np.pi * t[:, 0]
            ax.plot(centre[0] + 0.4 * np.cos(turn), centre[1] + 0.4 * np.sin(turn), **style)
        bend = 2 * through - (start + end) / 2  # the parabola passes through l half-way
        path = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
        ax.plot(*path.T, **style)
    ax.margins(0.14)


def matrix_slider(record: AttentionRecord, frame: int = 0) -> go.Figure:
    """Who attends to whom in one frame, all layers and orders under one slider."""
    block = "correlation"
    return layer_slider(
        record,
        block,
        lambda layer, channel: attention_matrix(record, frame, block, layer, channel),
        "z",
        digits=4,
    )


_EDGES = {"A": [(0, 1), (0, 2), (0, 3), (0, 4)], "B": [(1, 2), (3, 4), (0, 5)]}
_EYE = {"A": np.array([0.9, -0.1, 0.55]), "B": np.array([0.6, -0.9, 0.45])}  # looked at thence


def draw_shapes(panels: Sequence[Axes], which: str) -> None:
    """Both shapes of a set from one side, on one scale. "i" is the atom that looks around."""
    from so3krates_lite.drawing.stills import draw_molecule
    from so3krates_lite.experiments.shapes import NAMES, SHAPES

    out = _EYE[which] / np.linalg.norm(_EYE[which])
    right = np.cross([0, 0, 1], out)
    right = right / np.linalg.norm(right)
    view = np.stack([right, np.cross(out, right), out])
    for ax, positions, name in zip(panels, SHAPES[which], NAMES[which], strict=True):
        frames = Frames(np.full((1, len(positions)), 6), positions[None])
        labels = ["i", *map(str, range(1, len(positions)))]
        picture = dataclasses.replace(
            scene(frames), positions=positions, bonds=np.array(_EDGES[which]), labels=labels
        )
        if which == "B":
            for edge in _cube():
                ax.plot(*(edge @ view[:2].T).T, color=TEXT, linewidth=0.8, alpha=0.5, zorder=1)
        places = draw_molecule(ax, picture, view, labels=False, size=0.48)
        for place, label in zip(places, labels, strict=True):
            style = {"ha": "center", "va": "center", "fontsize": 8, "fontweight": "bold"}
            ax.text(*place[:2], label, color="#ffffff", zorder=8, **style)
        ax.set(title=f"set {which}: {name}", xlim=(-1.6, 1.6), ylim=(-1.3, 1.3))
        ax.set_rasterization_zorder(9)  # many small discs: an image is lighter


def _cube() -> Float[np.ndarray, "edges 2 3"]:
    """Edges of the cube that set B stands in, Å."""
    corners = 0.75 * np.stack(np.meshgrid(*[[-1, 1]] * 3), -1).reshape(-1, 3)
    near = np.isclose(all_distances(corners), 1.5)
    return corners[np.argwhere(np.triu(near))]


def shapes_figure(which: str) -> go.Figure:
    """Both shapes of a set side by side, to be turned. "i" is the atom that looks around."""
    from plotly.subplots import make_subplots

    from so3krates_lite.experiments.shapes import NAMES, SHAPES

    figure = make_subplots(
        rows=1, cols=2, specs=[[{"type": "scene"}] * 2], subplot_titles=NAMES[which]
    )
    colour = element_colour(6)
    for k, positions in enumerate(SHAPES[which]):
        sticks = separated(positions[np.array(_EDGES[which])])
        labels = ["i", *map(str, range(1, len(positions)))]
        ball = {"size": 20, "color": colour, "line": {"color": TEXT, "width": 2}}
        traces = [
            {"mode": "lines", "line": {"color": colour, "width": 9}, "hoverinfo": "skip"},
            {"mode": "markers", "marker": ball, "text": labels, "hoverinfo": "text"},
        ]
        for points, style in zip((sticks, positions), traces, strict=True):
            figure.add_scatter3d(**xyz(points), **style, row=1, col=k + 1)
        names = [  # on top of all, where sticks cannot hide them
            {"text": f"<b>{label}</b>", "showarrow": False, "font": {"color": "#ffffff"}, **place}
            for label, place in zip(labels, map(one_point, positions), strict=True)
        ]
        figure.update_scenes(annotations=names, row=1, col=k + 1)
        if which == "B":
            thin = {"mode": "lines", "line": {"color": TEXT, "width": 1}, "hoverinfo": "skip"}
            figure.add_scatter3d(**xyz(separated(_cube())), **thin, row=1, col=k + 1)
    axes = {f"{axis}axis": {"visible": False, "range": [-1.3, 1.3]} for axis in "xyz"}
    figure.update_scenes(**axes, aspectmode="cube", camera_eye=one_point(1.45 * _EYE[which]))
    styled(figure, height=380, margin={"l": 0, "r": 0, "t": 40, "b": 0}, showlegend=False)
    return figure.update_layout(scene_bgcolor="rgba(0,0,0,0)", scene2_bgcolor="rgba(0,0,0,0)")
