"""Atoms that move: a normal mode as arrows, and any run of frames to be played, with attention.

The moving figure holds the atoms' places and nothing else: balls are markers and bonds are lines,
so that a hundred frames weigh as much as a picture. It needs no kernel and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from so3krates_lite.drawing.look import GRID, POSITIVE, TEXT
from so3krates_lite.drawing.molecule3d import attention_mesh, styled_scene
from so3krates_lite.drawing.scene import Scene, atom_radius, chosen_pairs, element_colour, scene
from so3krates_lite.drawing.stills import draw_molecule
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.wording import scale_limit
from so3krates_lite.structures.frames import Frames

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes

BOND_COLOUR = "#9aa1ab"
MARKER = 110  # pixels across, of 1 Å of radius; markers do not grow when one comes nearer


def draw_mode(
    ax: Axes, structure: Frames, mode: Float[np.ndarray, "atoms 3"], largest: float = 0.8
) -> None:
    """A molecule with an arrow on every atom that a normal mode moves.

    Args:
        structure: one frame
        mode: displacements of any length
        largest: length of the longest arrow, Å; arrows shorter than a twelfth of it are left out
    """
    picture = scene(structure)
    places = draw_molecule(ax, picture, labels=False, size=0.85)
    size = np.linalg.norm(mode, axis=1)
    arrows = mode @ picture.view.T * (largest / size.max())
    for atom in np.flatnonzero(size > size.max() / 12):
        radius = 0.85 * atom_radius(int(picture.numbers[atom]))
        direction = arrows[atom] / np.linalg.norm(arrows[atom])
        start = places[atom] + radius * direction
        end = start + arrows[atom]
        ax.annotate(
            "",
            xy=end[:2],
            xytext=start[:2],
            zorder=10 + end[2] / 100,
            arrowprops={
                "arrowstyle": "-|>",
                "color": POSITIVE,
                "linewidth": 2.2,
                "shrinkA": 0,
                "shrinkB": 0,
                "mutation_scale": 11,
            },
        )
    points = np.concatenate([places[:, :2], places[:, :2] + arrows[:, :2]])
    ax.update_datalim(points)
    ax.autoscale_view()


def motion_figure(
    frames: Frames | AttentionRecord,
    *,
    milliseconds: int = 50,
    height: int | None = 420,
    loop: bool = False,
    names: Sequence[str] = (),
    said: str = "",
    block: str | None = None,
    layer: int = 0,
    channel: int = 0,
    threshold: float = 0.05,
) -> go.Figure:
    """A figure that plays ``frames`` of one molecule, to be turned while it moves.

    Args:
        frames: of one structure; those of a mode come from `Vibrations.path`. A record of such
            frames is played with its attention, drawn as in `molecule3d.molecule_figure`
        milliseconds: between two frames
        height: px; None: as high as its place on the page
        loop: play the frames six times over, for a swing that closes
        names: one for each frame, for a slider to go to it; none: no slider
        said: what the names are, before the slider's current one
        block, layer, channel: whose attention is drawn
        threshold: pairs below this fraction of the scale's end are left out
    """
    import plotly.graph_objects as go

    picture = scene(frames, 0, block)
    centred = frames.positions - (frames.positions[0] - picture.positions)
    half = max(picture.half, float(np.abs(centred).max()) + 0.5)
    picture = replace(picture, half=half)
    tubes: list[list[go.Mesh3d]] = [[] for _ in centred]
    if isinstance(frames, AttentionRecord):
        where = {"block": block, "layer": layer, "channel": channel}
        tubes = [[_tubes(frames, k, R, threshold, where)] for k, R in enumerate(centred)]
    figure = go.Figure([*_traces(picture, centred[0]), *tubes[0]])
    figure.frames = [
        go.Frame(
            data=[*_places(picture, R), *tubes[k]],
            name=str(k),
            traces=[0, 1, 2][: len(figure.data)],
        )
        for k, R in enumerate(centred)
    ]
    styled_scene(figure, picture, height).layout.scene.annotations = ()
    order = [str(k) for k in range(len(centred))] * (6 if loop else 1)
    pace: dict[str, Any] = {
        "frame": {"duration": milliseconds, "redraw": True},
        "transition": {"duration": 0},
        "mode": "immediate",
    }
    button = {"method": "animate", "label": "play", "args": [order, pace]}
    still = {"frame": {"duration": 0, "redraw": True}, "mode": "immediate"}
    stop = {"method": "animate", "label": "stop", "args": [[None], still]}
    # anchored inside, so that the scene keeps the whole width
    high = {"y": 1, "yanchor": "top"} if names else {"y": 0, "yanchor": "bottom"}
    place = {"direction": "left", "x": 0, "xanchor": "left", **high}
    looks = {"showactive": False, "bgcolor": GRID, "font": {"color": TEXT}}
    menu = {"type": "buttons", **place, **looks, "buttons": [button, stop]}
    figure.update_layout(updatemenus=[menu], showlegend=False)
    if names:
        steps = [
            {"label": name, "method": "animate", "args": [[str(k)], still]}
            for k, name in enumerate(names)
        ]
        current = {"prefix": said, "font": {"color": TEXT}}
        slider = {"steps": steps, "currentvalue": current, "x": 0.04, "len": 0.92, "y": 0.25}
        figure.update_layout(sliders=[slider | {"font": {"size": 11}}])
    return figure


def _tubes(
    record: AttentionRecord,
    frame: int,
    positions: Float[np.ndarray, "atoms 3"],
    threshold: float,
    where: dict[str, Any],
) -> go.Mesh3d:
    """Attention of a frame whose atoms are drawn at ``positions``, on the scale of all frames."""
    picture = scene(record, frame, where["block"])
    shift = positions[0] - picture.positions[0]
    path = replace(picture.tubes, path=picture.tubes.path + shift)
    values = record.select(quantity="weighted", frame=frame, **where)
    end = scale_limit(record, where["block"], "weighted")
    keep = chosen_pairs(picture, values, end, threshold)
    return attention_mesh(replace(picture, tubes=path), values, end, keep)


def _traces(picture: Scene, positions: np.ndarray) -> list[go.Scatter3d]:
    bonds, atoms = _places(picture, positions)
    bonds.update(mode="lines", line={"color": BOND_COLOUR, "width": 9}, hoverinfo="skip")
    atoms.update(
        mode="markers",
        text=picture.labels,
        hoverinfo="text",
        marker={
            "size": [MARKER * atom_radius(int(z)) for z in picture.numbers],
            "color": [element_colour(int(z)) for z in picture.numbers],
            "opacity": 1.0,
            "line": {"color": "#3d444d", "width": 1.5},
        },
    )
    return [bonds, atoms]


def _places(picture: Scene, positions: np.ndarray) -> list[go.Scatter3d]:
    """Bonds and atoms of a frame, as far as they change."""
    import plotly.graph_objects as go

    ends = positions[picture.bonds]
    along = ends[:, ::-1] - ends
    along = along / np.linalg.norm(along, axis=-1, keepdims=True)
    radii = np.array([atom_radius(int(z)) for z in picture.numbers])[picture.bonds]
    gap = np.full((len(ends), 1, 3), np.nan)
    # lines end within the balls, which are flat
    lines = np.concatenate([ends + 0.8 * radii[..., None] * along, gap], axis=1).reshape(-1, 3)
    parts = []
    for points in (lines, positions):
        x, y, z = np.round(points, 3).T
        parts.append(go.Scatter3d(x=x, y=y, z=z))
    return parts
