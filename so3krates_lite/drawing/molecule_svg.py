"""A :class:`so3krates_lite.drawing.scene.Scene` as a still picture, an SVG written by hand.

A browser without WebGL cannot draw the turning view. This picture needs nothing: the scene is
projected onto its best view in parallel, cut into small pieces (balls, half sticks, slices of
tubes), and painted from the farthest to the nearest.
"""

from __future__ import annotations

from html import escape

import numpy as np
from jaxtyping import Float

from so3krates_lite.drawing.look import FONT, NEGATIVE, POSITIVE
from so3krates_lite.drawing.scene import (
    Scene,
    atom_radius,
    element_colour,
    label_colour,
    tube_width,
)


def _shade(colour: str, share: float, other: int) -> str:
    rgb = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    return "#" + "".join(f"{round((1 - share) * c + share * other):02x}" for c in rgb)


def _polygon(points: np.ndarray, colour: str) -> str:
    text = " ".join(f"{x:.3f},{-y:.3f}" for x, y in points)
    return f'<polygon points="{text}" fill="{colour}" stroke="{colour}" stroke-width=".006"/>'


def molecule_svg(
    picture: Scene,
    values: Float[np.ndarray, "pairs"],
    limit: float,
    keep: np.ndarray,
    *,
    description: str = "",
) -> str:
    """An ``<svg>`` element, its drawing units in Å; arguments as for the mesh of the 3D view.

    Args:
        picture: from :func:`so3krates_lite.drawing.scene.scene`.
        values: signed attention of the frame's directed pairs.
        limit: end of the scale.
        keep: which pairs are drawn.
        description: what the picture shows, for those who do not see it.
    """
    flat = picture.positions @ picture.view.T
    pieces: list[tuple[float, str]] = []
    names: list[tuple[float, str]] = []
    kinds = sorted({int(number) for number in picture.numbers})
    gradients = "".join(
        f'<radialGradient id="ball{number}" cx=".36" cy=".32" r=".75">'
        f'<stop offset="0" stop-color="{_shade(element_colour(number), 0.6, 255)}"/>'
        f'<stop offset=".45" stop-color="{element_colour(number)}"/>'
        f'<stop offset="1" stop-color="{_shade(element_colour(number), 0.45, 0)}"/>'
        "</radialGradient>"
        for number in kinds
    )
    for pair in picture.bonds:
        middle = flat[pair].mean(axis=0)
        for atom in pair:
            colour = element_colour(int(picture.numbers[atom]))
            across = np.array([-1, 1]) * (middle - flat[atom])[[1, 0]]
            across = across / max(float(np.linalg.norm(across)), 1e-9)
            for width, tone in ((0.085, _shade(colour, 0.4, 0)), (0.06, colour)):
                side = width * across
                a, b = flat[atom][:2], middle[:2]
                depth = (flat[atom][2] + middle[2]) / 2 + (0.085 - width) * 0.1
                outline = np.stack([a + side, b + side, b - side, a - side])
                pieces.append((depth, _polygon(outline, tone)))
    index = np.flatnonzero(keep)
    for pair, width in zip(index, tube_width(values[index], limit), strict=True):
        path = picture.tubes.path[pair] @ picture.view.T
        along = np.gradient(path[:, :2], axis=0)
        along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        side = np.stack([-along[:, 1], along[:, 0]], axis=1)
        side = side * (width * picture.tubes.taper)[:, None]
        one, other = path[:, :2] + side, path[:, :2] - side
        colour = NEGATIVE if values[pair] < 0 else POSITIVE
        for k in range(len(path) - 1):
            outline = np.stack([one[k], one[k + 1], other[k + 1], other[k]])
            pieces.append((path[k : k + 2, 2].mean(), _polygon(outline, colour)))
    for (x, y, z), number, label in zip(flat, picture.numbers, picture.labels, strict=True):
        radius = atom_radius(int(number))
        ball = f'<circle cx="{x:.3f}" cy="{-y:.3f}" r="{radius:.3f}" fill="url(#ball{number})"/>'
        name = (
            f'<text x="{x:.3f}" y="{-y + 0.075:.3f}" fill="{label_colour(int(number))}">'
            f"{escape(label)}</text>"
        )
        pieces.append((z + 0.6 * radius, ball))
        names.append((z, name))
    # names come last, as in the turning view: an atom may be hidden, its name is not
    parts = [*sorted(pieces, key=lambda piece: piece[0]), *sorted(names, key=lambda name: name[0])]
    body = "".join(text for _, text in parts)
    reach = np.abs(flat[:, :2]).max(axis=0, initial=0.5) + 0.95
    box = f"{-reach[0]:.2f} {-reach[1]:.2f} {2 * reach[0]:.2f} {2 * reach[1]:.2f}"
    return (
        f'<svg viewBox="{box}" role="img" aria-label="{escape(description, quote=True)}" '
        f'font-family="{escape(FONT, quote=True)}" font-size=".21" font-weight="600" '
        f'text-anchor="middle"><defs>{gradients}</defs>{body}</svg>'
    )
