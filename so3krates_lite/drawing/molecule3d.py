"""A molecule with its attention, in three dimensions.

Atoms are spheres in element colours, bonds are sticks found by covalent radii. Attention is drawn
as one curved, tapering tube per directed pair: its **thick end is at the atom that asks** (with its
query), its thin end at the atom that answers (with its key). Colour is the sign, and the
cross-section is proportional to the size (the radius to its square root), on a scale that is the
same for all layers, channels and frames. The two directions of a pair bow to opposite sides, so
neither hides the other or the bond.

The geometry of a tube does not depend on attention: every vertex is ``centre + width * offset``.
`tubes.attention_tubes` computes both once; a change of layer, head or atom
only changes widths and colours, which is what makes the browser's view quick. What the pictures
share, the tubes among it, is gathered by `scene.scene`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from so3krates_lite.drawing.look import FONT, MAGNITUDE, MODEBAR, NEGATIVE, POSITIVE, TEXT
from so3krates_lite.drawing.scene import (
    Scene,
    atom_radius,
    chosen_pairs,
    element_colour,
    label_colour,
    scene,
    tube_width,
)
from so3krates_lite.drawing.tubes import RINGS, SIDES, across, icosphere, tube_faces, unit
from so3krates_lite.errors import UserError
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.wording import scale_limit

if TYPE_CHECKING:
    import plotly.graph_objects as go

LIGHT = {
    "ambient": 0.55,
    "diffuse": 0.75,
    "specular": 0.28,
    "roughness": 0.35,
    "fresnel": 0.12,
    "vertexnormalsepsilon": 1e-12,
    "facenormalsepsilon": 1e-12,
}


def _mesh(vertices, faces, picture: Scene, **more) -> go.Mesh3d:
    import plotly.graph_objects as go

    x, y, z = np.asarray(vertices, dtype=np.float32).T
    small = np.uint16 if len(vertices) < 2**16 else np.uint32  # a page stays light
    i, j, k = np.asarray(faces, dtype=small).T
    lamp = picture.view.T @ np.array([-0.5, 0.9, 1.3]) * 1e4
    return go.Mesh3d(
        x=x,
        y=y,
        z=z,
        i=i,
        j=j,
        k=k,
        lighting=LIGHT,
        lightposition=dict(zip("xyz", lamp.round().tolist(), strict=True)),
        **more,
    )


def molecule_mesh(picture: Scene) -> go.Mesh3d:
    """Spheres and two-coloured sticks as one mesh; the pointer reads atoms and bond lengths."""
    sphere, sphere_faces = icosphere(3 if len(picture.numbers) <= 24 else 2)
    vertices, faces, colours, words = [], [], [], []
    for label, number, position in zip(
        picture.labels, picture.numbers, picture.positions, strict=True
    ):
        words.append(label)
        vertices.append(position + atom_radius(int(number)) * sphere)
        faces.append(sphere_faces)
        colours.append(element_colour(int(number)))
    sides = 14
    stick = tube_faces(2, sides)
    angle = 2 * np.pi * np.arange(sides) / sides
    for pair in picture.bonds:
        length = np.linalg.norm(np.diff(picture.positions[pair], axis=0))
        name = "–".join(picture.labels[atom] for atom in pair) + f": {length:.3f} Å"
        for a, b in (pair, pair[::-1]):
            start, end = picture.positions[a], picture.positions[[a, b]].mean(0)
            normal = across(end - start)
            binormal = np.cross(unit(end - start), normal)
            ring = 0.085 * (np.cos(angle)[:, None] * normal + np.sin(angle)[:, None] * binormal)
            vertices.append(np.vstack([start + ring, end + ring]))
            faces.append(stick)
            words.append(name)
            colours.append(element_colour(int(picture.numbers[a])))
    kinds = sorted(set(colours))
    shift = np.cumsum([0] + [len(v) for v in vertices[:-1]])
    return _mesh(
        np.vstack(vertices),
        np.vstack([f + s for f, s in zip(faces, shift, strict=True)]),
        picture,
        # one byte per vertex, its element's place in a scale of so many colours
        intensity=np.repeat([kinds.index(c) for c in colours], [len(v) for v in vertices]).astype(
            np.uint8
        ),
        colorscale=[[k / max(len(kinds) - 1, 1), colour] for k, colour in enumerate(kinds)]
        if len(kinds) > 1
        else [[0, kinds[0]], [1, kinds[0]]],
        cmin=0,
        cmax=max(len(kinds) - 1, 1),
        showscale=False,
        text=[word for word, v in zip(words, vertices, strict=True) for _ in v],
        hoverinfo="text",
        name="molecule",
    )


def attention_mesh(
    picture: Scene,
    values: Float[np.ndarray, "pairs"],
    limit: float,
    keep: np.ndarray,
    *,
    signed: bool = True,
    **more,
) -> go.Mesh3d:
    """The chosen pairs' tubes as one mesh; empty when nothing is chosen.

    Colour is the sign; sizes that have none (``signed=False``) have the colour of magnitudes.
    """
    tubes, index = picture.tubes, np.flatnonzero(keep)
    width = tube_width(values[index], limit)[:, None, None, None]
    vertices = (tubes.path[index][:, :, None] + width * tubes.offset[index]).reshape(-1, 3)
    per_tube = RINGS * SIDES
    faces = (np.arange(len(index))[:, None, None] * per_tube + tubes.faces).reshape(-1, 3)
    kind = np.where(values[index] < 0, 0, 2 if signed else 1)
    more = {"name": "attention", "hoverinfo": "skip", **more}
    return _mesh(
        vertices,
        faces,
        picture,
        intensity=np.repeat(kind, per_tube).astype(np.uint8),
        colorscale=[[0, NEGATIVE], [0.5, MAGNITUDE], [1, POSITIVE]],
        cmin=0,
        cmax=2,
        showscale=False,
        **more,
    )


def label_annotations(picture: Scene) -> list[dict]:
    """Element and index on each atom, dark on light atoms and light on dark ones."""
    if len(picture.numbers) > 60:  # a crowd of labels hides the molecule and slows its turning
        return []
    found = zip(picture.labels, picture.numbers, picture.positions, strict=True)
    return [
        {
            "text": f"<b>{label}</b>",
            **dict(zip("xyz", place.round(3).tolist(), strict=True)),
            "showarrow": False,
            "captureevents": False,
            "font": {"size": 12, "color": label_colour(int(number))},
        }
        for label, number, place in found
    ]


def molecule_figure(
    record: AttentionRecord,
    frame: int = 0,
    block: str | None = None,
    layer: int = 0,
    channel: int = 0,
    quantity: str = "weighted",
    *,
    atom: int | None = None,
    role: str = "receiver",
    threshold: float = 0.05,
    limit: float | None = None,
    choose: str | None = "channel",
) -> go.Figure:
    """The molecule of one frame with its attention, to be turned with the mouse.

    Args:
        frame, block, layer, channel, quantity: as in :meth:`AttentionRecord.select`.
        atom: draw only this atom's pairs; None draws all directed pairs.
        role: whether ``atom`` asks (``'receiver'``) or answers (``'sender'``).
        threshold: pairs below this fraction of the scale's end are left out.
        limit: end of the scale; by default the largest size in the whole block.
        choose: ``'channel'`` adds a menu of all layers and channels, ``'atom'`` one of all atoms,
            None adds nothing. (:func:`so3krates_lite.report.write_report` has them all at once.)
    """
    import plotly.graph_objects as go

    if choose not in ("channel", "atom", None):
        raise UserError(f"choose is '{choose}': it must be 'channel', 'atom' or None.")
    picture = scene(record, frame, block)
    end = scale_limit(record, block, quantity, limit)
    layer, channel = layer % record.n_layers, channel % record.n_channels(block)
    names = record.channel_names(block)
    variants: list[tuple[str, int, int, int | None]] = [("", layer, channel, atom)]
    if choose == "channel":
        variants = [
            (f"layer {a} · {name}", a, b, atom)
            for a in range(record.n_layers)
            for b, name in enumerate(names)
        ]
    elif choose == "atom":
        atoms = [("all atoms", None), *((name, i) for i, name in enumerate(picture.labels))]
        variants = [(name, layer, channel, i) for name, i in atoms]
    figure = go.Figure([molecule_mesh(picture)])
    active = 0
    for n, (_, a, b, who) in enumerate(variants):
        values = record.select(block, a, b, quantity, frame)
        keep = chosen_pairs(picture, values, end, threshold, who, role)
        shown = (a, b, who) == (layer, channel, atom)
        active = n if shown else active
        signed = quantity != "contribution"
        figure.add_trace(attention_mesh(picture, values, end, keep, signed=signed, visible=shown))
    if choose:
        buttons = [
            {
                "label": variants[n][0],
                "method": "restyle",
                "args": [{"visible": [True] + [m == n for m in range(len(variants))]}],
            }
            for n in range(len(variants))
        ]
        figure.update_layout(
            updatemenus=[
                {
                    "buttons": buttons,
                    "active": active,
                    "x": 0.01,
                    "y": 0.99,
                    "xanchor": "left",
                    "yanchor": "top",
                    "bgcolor": "rgba(125,133,144,0.12)",
                    "bordercolor": "rgba(125,133,144,0.5)",
                    "font": {"color": TEXT},
                }
            ]
        )
    return styled_scene(figure, picture)


def camera_eye(
    view: Float[np.ndarray, "3 3"],
    points: Float[np.ndarray, "points 3"],
    half: float,
    margin: float,
) -> Float[np.ndarray, "3"]:
    """The nearest place of plotly's camera from which all points are seen.

    The axes' cube has edges of one; the camera sees 45° from top to bottom, and more from side to
    side in a picture half as wide again as high, or wider.

    Args:
        view: rows right, up and towards the eye
        points: all that is to be seen, Å
        half: half the edge of the cube of axes, Å
        margin: what is left free around each point, Å
    """
    right, up, out = (points @ view.T / (2 * half)).T
    free = margin / (2 * half)
    away = np.maximum((np.abs(up) + free) / 0.414, (np.abs(right) + free) / 0.62) + out
    return view[2] * float(away.max(initial=0.4))


def styled_scene(figure: go.Figure, picture: Scene, height: int | None = 560) -> go.Figure:
    """No box and no axes, a fixed cube (so that nothing jumps), and the scene's best view."""
    loops = picture.tubes.path[picture.receiver == picture.sender].reshape(-1, 3)
    half = max(picture.half, float(np.abs(loops).max(initial=0.0)) + 0.2)
    axis = {"visible": False, "range": [-half, half]}
    right, up, out = picture.view
    # as near as the widest extent in the picture plane allows
    reach = np.abs(picture.positions @ np.stack([right, up]).T) + 0.6
    wide, high = reach.max(axis=0, initial=0.6) / half
    eye = out * max(0.4 + 0.72 * float(high), 0.4 + 0.42 * float(wide))
    eye = max(eye, camera_eye(picture.view, loops, half, 0.2), key=np.linalg.norm)
    return figure.update_layout(
        template={"layout": {}},
        height=height,
        showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 13, "color": TEXT},
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        hoverlabel={"font": {"family": FONT}},
        modebar=MODEBAR,
        scene={
            "xaxis": axis,
            "yaxis": axis,
            "zaxis": axis,
            "aspectmode": "cube",
            "annotations": label_annotations(picture),
            "dragmode": "orbit",
            "bgcolor": "rgba(0,0,0,0)",
            "camera": {
                "eye": dict(zip("xyz", eye.tolist(), strict=True)),
                "up": dict(zip("xyz", up.tolist(), strict=True)),
                "center": {"x": 0, "y": 0, "z": 0},
            },
        },
    )
