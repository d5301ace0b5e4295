"""Shapes as triangles: a sphere, a tube, and the curves along which attention is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

RINGS, SIDES = 11, 8  # of a tube


def icosphere(subdivisions: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and faces (F, 3) of a unit sphere without poles."""
    golden = (1 + 5**0.5) / 2
    cyclic = [(-1, golden, 0), (1, golden, 0), (-1, -golden, 0), (1, -golden, 0)]
    vertices = np.array([np.roll(p, k) for k in range(3) for p in cyclic], dtype=float)
    gap = np.linalg.norm(vertices[:, None] - vertices, axis=-1)
    edge = np.isclose(gap, gap[gap > 0].min())
    faces = np.array(
        [
            (a, b, c) if np.linalg.det(vertices[[a, b, c]]) > 0 else (a, c, b)
            for a in range(12)
            for b in range(a + 1, 12)
            for c in range(b + 1, 12)
            if edge[a, b] and edge[b, c] and edge[a, c]
        ]
    )
    for _ in range(subdivisions):
        sides = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        unique, where = np.unique(sides, axis=0, return_inverse=True)
        middle = len(vertices) + where.reshape(-1, 3)
        vertices = np.vstack([vertices, vertices[unique].mean(axis=1)])
        a, b, c = faces.T
        d, e, f = middle.T
        faces = np.vstack([np.stack(t, 1) for t in ((a, d, f), (d, b, e), (f, e, c), (d, e, f))])
    return vertices / np.linalg.norm(vertices, axis=1, keepdims=True), faces


def tube_faces(rings: int, sides: int) -> np.ndarray:
    """Faces (F, 3) of an open tube whose vertices are numbered ring by ring."""
    ring, side = np.meshgrid(np.arange(rings - 1), np.arange(sides), indexing="ij")
    a, b = ring * sides + side, ring * sides + (side + 1) % sides
    quads = np.stack([a, b, a + sides, b + sides], axis=-1).reshape(-1, 4)
    return np.vstack([quads[:, [0, 1, 2]], quads[:, [1, 3, 2]]])


def unit(v: np.ndarray) -> np.ndarray:
    """Each vector divided by its length; zero stays zero."""
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)


def across(v: np.ndarray) -> np.ndarray:
    """Some unit vector at right angles to each v."""
    helper = np.eye(3)[np.abs(v).argmin(axis=-1)]
    return unit(np.cross(v, helper))


@dataclass(frozen=True)
class Tubes:
    """Every directed pair's curve and the shape around it; vertex = centre + width · offset, Å."""

    path: Float[np.ndarray, "pairs rings 3"]
    taper: Float[np.ndarray, "rings"]
    offset: Float[np.ndarray, "pairs rings sides 3"]
    faces: Int[np.ndarray, "faces 3"]


def attention_tubes(
    start: Float[np.ndarray, "pairs 3"],
    vector: Float[np.ndarray, "pairs 3"],
    centre: Float[np.ndarray, "3"],
) -> Tubes:
    """Curves from each receiver (``start``) along ``vector`` to its sender.

    Each bows away from the molecule's ``centre`` and to its own side of the bond: the sideways
    part turns its sign with the direction, so the two directions of a pair part ways. An atom that
    attends to itself gets a loop on its outer side.
    """
    t = np.linspace(0.0, 1.0, RINGS)[:, None]
    away = start + vector / 2 - centre
    along = unit(vector)
    away = away - (away * along).sum(-1, keepdims=True) * along
    flat = np.linalg.norm(away, axis=-1, keepdims=True) < 1e-3
    # canonical direction: the same axis for (i, j) and (j, i)
    sign = np.where(_first_sign(vector) < 0, -1.0, 1.0)[:, None]
    canonical = np.where(vector.any(axis=-1, keepdims=True), along * sign, [0.0, 0.0, 1.0])
    away = np.where(flat, across(canonical), unit(away))
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    bow = (0.55 * away + 0.83 * np.cross(along, away)) * (0.16 + 0.13 * length)
    path = start[:, None] + t * vector[:, None] + 4 * t * (1 - t) * 0.9 * bow[:, None]
    tangent = vector[:, None] + 4 * (1 - 2 * t) * 0.9 * bow[:, None]
    normal = np.cross(along, bow)
    loop = (length == 0)[:, :, None]
    aside = across(away)
    out, turn = away[:, None], 2 * np.pi * t
    round_trip = 0.45 * (1 - np.cos(turn)) * out + 0.3 * np.sin(turn) * aside[:, None]
    path = np.where(loop, start[:, None] + round_trip, path)
    along_loop = 0.45 * np.sin(turn) * out + 0.3 * np.cos(turn) * aside[:, None]
    tangent = unit(np.where(loop, along_loop, tangent))
    normal = np.where(loop[:, 0], np.cross(away, aside), normal)
    normal = unit(normal)[:, None] + 0 * tangent  # the curve is planar
    binormal = np.cross(tangent, normal)
    angle = 2 * np.pi * np.arange(SIDES) / SIDES
    round_ = (
        np.cos(angle)[:, None] * normal[:, :, None] + np.sin(angle)[:, None] * binormal[:, :, None]
    )
    taper = 1.0 - 0.78 * t[:, 0]
    return Tubes(path, taper, round_ * taper[:, None, None], tube_faces(RINGS, SIDES))


def _first_sign(vector: np.ndarray) -> np.ndarray:
    """Sign of the largest component of each vector."""
    largest = np.abs(vector).argmax(axis=-1)
    return np.sign(np.take_along_axis(vector, largest[:, None], axis=-1)[:, 0])
