"""Figures of lesson 1, molecules and symmetry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from so3krates_lite.basis import cosine_cutoff, radial_basis
from so3krates_lite.drawing.look import GRID, MAGNITUDE, PALETTE, TEXT, styled
from so3krates_lite.drawing.scene import Scene
from so3krates_lite.lessons.points import (
    ball_and_stick,
    ijk,
    one_point,
    separated,
    without_nan,
    xyz,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go


def neighbour_figure(picture: Scene, atom: int, cutoffs: Sequence[float]) -> go.Figure:
    """A molecule to turn, and whom one atom sees, with the cutoff (Å) under a slider."""
    import plotly.graph_objects as go

    from so3krates_lite.drawing.tubes import icosphere

    places = picture.positions.round(3)
    distance = np.linalg.norm(places - places[atom], axis=-1)
    sphere, faces = icosphere(2)
    shell = places[atom] + cutoffs[0] * sphere
    sticks, atoms = ball_and_stick(picture)
    atoms.textposition = "top center"
    seen_from = go.Scatter3d(mode="lines", line={"width": 8, "color": MAGNITUDE})
    ball = go.Mesh3d(**xyz(shell, float), **ijk(faces), color=MAGNITUDE, opacity=0.1)
    figure = go.Figure([seen_from, sticks, atoms, ball])
    steps = []
    for cutoff in cutoffs:
        seen = (distance > 0) & (distance < cutoff)
        rays = np.full((seen.sum(), 3, 3), np.nan)
        rays[:, 0], rays[:, 1] = places[atom], places[seen]
        shell = (places[atom] + cutoff * sphere).round(2)
        # a bond under a ray is left out: of two lines in one place half of either would show
        covered = (picture.bonds == atom).any(axis=1) & seen[picture.bonds].any(axis=1)
        bonds = separated(places[picture.bonds[~covered]])
        parts = zip("xyz", rays.reshape(-1, 3).T, bonds.T, shell.T, strict=True)
        update = {c: [without_nan(part) for part in three] for c, *three in parts}
        title = f"{picture.labels[atom]} has {seen.sum()} neighbours within {cutoff:g} Å"
        arguments = [update, {"title.text": title}, [0, 1, 3]]
        steps.append({"label": f"{cutoff:g}", "method": "update", "args": arguments})
    for c, (rays, bonds, _) in steps[0]["args"][0].items():
        figure.data[0][c], figure.data[1][c] = rays, bonds
    reach = max(1.05 * np.abs(places).max() + 0.6, np.abs(places[atom]).max() + max(cutoffs))
    axes = {f"{c}axis": {"visible": False, "range": [-reach, reach]} for c in "xyz"}
    centre = places[atom] / (2 * reach)  # of the ball, in the camera's unit
    current = {"prefix": "cutoff (Å): ", "font": {"color": TEXT}}
    figure.update_layout(
        scene={**axes, "aspectmode": "cube"},
        scene_camera_center=one_point(centre),
        scene_camera_eye=one_point(centre + 1.1 * picture.view[2]),
        scene_camera_up=one_point(picture.view[1]),
        sliders=[{"steps": steps, "currentvalue": current, "pad": {"t": 8}}],
        showlegend=False,
    )
    figure.update_traces(hoverinfo="skip")
    title = {"text": steps[0]["args"][1]["title.text"], "font_size": 14}
    return styled(figure, height=520, title=title, margin={"l": 8, "r": 8, "t": 44, "b": 8})


def basis_slider(distances: Sequence[float], number: int, cutoff: float) -> go.Figure:
    """The K numbers that stand for a distance, as bars, with the distance (Å) under a slider."""
    import plotly.graph_objects as go

    d = np.asarray(distances, np.float32)
    values = np.asarray(radial_basis(d, number, cutoff)).round(4)
    faded = (values * np.asarray(cosine_cutoff(d, cutoff))[:, None]).round(4)
    k = np.arange(number)
    figure = go.Figure(
        [
            go.Bar(x=k, y=values[0], name="e<sub>k</sub>(d)", marker_color=PALETTE[0]),
            go.Bar(x=k, y=faded[0], name="e<sub>k</sub>(d) φ(d)", marker_color=PALETTE[1]),
        ]
    )
    steps = [
        {
            "label": f"{distance:.2f}",
            "method": "restyle",
            "args": [{"y": [values[n].tolist(), faded[n].tolist()]}],
        }
        for n, distance in enumerate(distances)
    ]
    current = {"prefix": "distance d (Å): ", "font": {"color": TEXT}}
    figure.update_layout(
        barmode="overlay",
        bargap=0.15,
        sliders=[{"steps": steps, "currentvalue": current, "pad": {"t": 56}, "font": {"size": 9}}],
    )
    figure.update_xaxes(title="number k of the radial function")
    figure.update_yaxes(title="value (no unit)", range=[0, 1.05], gridcolor=GRID)
    legend = {"orientation": "h", "x": 0, "y": 1.12}
    return styled(figure, height=440, legend=legend, margin={"l": 64, "r": 20, "t": 36, "b": 52})


def pair_kinds(
    numbers: Int[np.ndarray, "atoms"],
    first: Int[np.ndarray, "pairs"],
    second: Int[np.ndarray, "pairs"],
) -> tuple[list[str], Int[np.ndarray, "pairs"]]:
    """Names of the element pairs that occur, such as ``C–H``, and which of them each pair is.

    Carbon comes first, then the heavier element.
    """
    from ase.data import chemical_symbols as symbols

    rank = np.where(np.asarray(numbers) == 6, 0, 200 - np.asarray(numbers))
    both = np.sort(rank[np.stack([first, second])], axis=0)
    kinds, kind = np.unique(both, axis=1, return_inverse=True)
    elements = np.where(kinds == 0, 6, 200 - kinds)
    return [f"{symbols[a]}–{symbols[b]}" for a, b in elements.T], kind.reshape(-1)
