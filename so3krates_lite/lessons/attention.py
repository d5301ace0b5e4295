"""Checks and figures of lesson 5, attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from so3krates_lite.drawing.figures import attention_against_distance
from so3krates_lite.drawing.look import NEGATIVE, POSITIVE, styled
from so3krates_lite.drawing.molecule3d import camera_eye, label_annotations
from so3krates_lite.drawing.scene import Scene, element_colour
from so3krates_lite.lessons.feedback import Attempt, Wrong, exercise, of_shape, refuse, same, told
from so3krates_lite.lessons.points import ball_and_stick, ijk, one_point, xyz
from so3krates_lite.lessons.sliders import layer_slider, showing
from so3krates_lite.lessons.sphcs_figures import shape_surface
from so3krates_lite.record.attention_record import AttentionRecord

if TYPE_CHECKING:
    import plotly.graph_objects as go


@exercise
def check_coefficient(coefficient: Attempt) -> str:
    """Lesson 5, exercise 1: ``coefficient(q_i, w_ij, k_j)``, (pairs, heads, f) to (pairs, heads).

    alpha = sum over f of q * w * k, divided by the root of f.
    """
    rng = np.random.default_rng(0)
    pairs, heads, f = 5, 3, 7
    q, w, k = rng.normal(size=(3, pairs, heads, f))
    result = coefficient(q, w, k)
    product = q * w * k
    right = product.sum(axis=-1) / np.sqrt(f)
    mistakes = {
        "this is the product, one number per feature: sum over the features of a head.": product,
        "sum over the features of a head, the last axis.": product / np.sqrt(f),
        "you summed over the heads, too: each head has a coefficient of its own.": (
            product.sum(axis=(1, 2)) / np.sqrt(heads * f),
            product.sum(axis=(1, 2)) / np.sqrt(f),
        ),
        "the scale is missing: divide by the square root of f.": product.sum(axis=-1),
        "you divided by f (this "
        "is the mean): f products of either sign add up to about √f.": product.sum(axis=-1) / f,
        "you divided by √F of all features; "
        "the sum has only f terms, those of one head.": product.sum(axis=-1) / np.sqrt(heads * f),
        "the filter is missing: q times w times k.": (q * k).sum(axis=-1) / np.sqrt(f),
        "the filter multiplies, feature by feature.": (q * k + w).sum(axis=-1) / np.sqrt(f),
        "you multiplied by √f; divide by it.": product.sum(axis=-1) * np.sqrt(f),
    }
    refuse(result, mistakes)
    value = of_shape(result, right.shape, "one number per pair and head")
    if np.allclose(value, right):
        return "product, sum within the head, divided by √f."
    weight = np.exp(right - right.max(axis=0))
    if np.allclose(value, weight / weight.sum(axis=0)):
        raise Wrong("you took a softmax: here the bare, signed number is the result.")
    raise Wrong(
        f"in a small example the first coefficient is {right[0, 0]:.4f}, "
        f"yours is {value[0, 0]:.4f}."
    )


@exercise
def check_softmax_weights(softmax_weights: Attempt) -> str:
    """Lesson 5, exercise 2: ``softmax_weights(score, i, n)``, a softmax for each atom that asks."""
    rng = np.random.default_rng(1)
    i = np.array([0, 0, 0, 1, 1, 2, 4, 4, 4, 4])  # atom 3 asks nobody
    j = np.array([1, 2, 4, 0, 2, 1, 0, 1, 2, 3])
    n, score = 5, rng.normal(size=len(i))
    value = of_shape(softmax_weights(score, i, n), score.shape, "one weight per pair")

    def share(weight: np.ndarray, owner: np.ndarray) -> np.ndarray:
        return weight / np.bincount(owner, weight, n)[owner]

    weight = np.exp(score)
    right = share(weight, i)
    mistakes = {
        "all your weights together "
        "sum to one: every atom that asks has a softmax of its own.": weight / weight.sum(),
        "you summed over who answers; sum over the pairs of who asks, i.": share(weight, j),
        "the sign is turned: the highest score gets most.": share(np.exp(-score), i),
        "these are the exponentials: divide them by their sum over the atom's pairs.": weight,
        "take the exponential of the score, not of its size.": share(np.exp(np.abs(score)), i),
        "the exponential is missing.": share(score, i),
        "you divided by the number of neighbours; divide by the sum of their exponentials.": weight
        / np.bincount(i, minlength=n)[i],
    }
    refuse(value, mistakes)
    if not np.allclose(value, right):
        sums = np.bincount(i, value, n)
        raise Wrong(
            f"the weights of atom 0 should be {np.round(right[:3], 3).tolist()}, yours are "
            f"{np.round(value[:3], 3).tolist()} and sum to {sums[0]:.3f}."
        )
    with np.errstate(all="ignore"):
        large = softmax_weights(score + 1000, i, n)
    if not same(large, right):
        raise Wrong(
            "right for small scores, but with 1000 added to all of them (which changes no softmax) "
            "the exponential overflows: subtract the largest score first."
        )
    return "one softmax per atom that asks, safe from overflow."


def _owner(degrees: tuple[int, ...]) -> np.ndarray:
    return np.repeat(np.arange(len(degrees)), [2 * l + 1 for l in degrees])


@exercise
def check_geometric_message(geometric_message: Attempt) -> str:
    """Lesson 5, exercise 3: ``geometric_message(alpha, phi_ij, Y_ij, degrees)``, (pairs, m_tot).

    What each pair adds to the SPHCs: phi_ij alpha_ij^(l) Y_lm(r_ij).
    """
    rng = np.random.default_rng(2)
    for degrees in ((1, 2, 3), (0, 2)):
        owner, pairs = _owner(degrees), 6
        alpha = rng.normal(size=(pairs, len(degrees)))
        phi, Y = rng.uniform(0.1, 0.9, pairs), rng.normal(size=(pairs, len(owner)))
        known = f"right for degrees (1, 2, 3); for {degrees}, " if degrees != (1, 2, 3) else ""
        with told(known, known and " Count with 2l + 1, not with fixed numbers."):
            result = geometric_message(alpha, phi, Y, degrees)
        full = alpha[:, owner]
        right = phi[:, None] * full * Y
        tiled = np.tile(alpha, 1 + len(owner) // len(degrees))[:, : len(owner)]
        mistakes = {
            "the coefficients stand in turn (1, 2, 3, 1, 2, 3, …); the components of a degree "
            "stand "
            "side by side (1, 1, 1, 2, 2, …): np.repeat, not np.tile.": phi[:, None] * tiled * Y,
            "the cutoff φ is missing: a pair at the border must add nothing.": full * Y,
            "the cutoff stands in it twice: once is right.": phi[:, None] ** 2 * full * Y,
            "you took the size of α; its sign says whether the harmonics add or subtract.": np.abs(
                phi[:, None] * full
            )
            * Y,
            "you gave all degrees the coefficient of the first: each has its own.": phi[:, None]
            * alpha[:, :1]
            * Y,
            "you summed the coefficients over the degrees: each degree keeps its own.": phi[:, None]
            * alpha.sum(axis=1, keepdims=True)
            * Y,
            "the harmonics are missing: they carry the direction.": phi[:, None] * full,
            "you summed over the pairs: return what each pair adds.": right.sum(axis=0),
        }
        refuse(result, mistakes)
        value = of_shape(result, right.shape, "one number per pair and component")
        if not np.allclose(value, right):
            p, m = np.argwhere(~np.isclose(value, right))[0]
            raise Wrong(
                f"for degrees {degrees}, component {m} belongs to degree {degrees[owner[m]]}; "
                f"pair {p} should add {right[p, m]:.4f} to it, yours adds {value[p, m]:.4f}."
            )
    return "each degree's α, once per component, times φ, times Y."


@exercise
def check_both_ends(both_ends: Attempt) -> str:
    """Lesson 5, exercise 4: ``both_ends(first, second, a_ij, a_ji, Y_ij, degrees, n)``.

    Every pair is listed once; a_ij is what ``first`` gives to ``second``'s answer, cutoff included,
    a_ji the other way round, (pairs, |D|) each; Y_ij points from first to second.
    """
    rng = np.random.default_rng(3)
    degrees, n = (1, 2, 3), 5
    first, second = np.triu_indices(n, 1)
    owner, pairs = _owner(degrees), len(first)
    a_ij, a_ji = rng.normal(size=(2, pairs, len(degrees)))
    Y = rng.normal(size=(pairs, len(owner)))
    result = both_ends(first, second, a_ij, a_ji, Y, degrees, n)
    value = of_shape(result, (n, len(owner)), "the change of every atom's SPHCs")

    def added(to_first: np.ndarray, to_second: np.ndarray) -> np.ndarray:
        out = np.zeros((n, len(owner)))
        np.add.at(out, first, to_first)
        np.add.at(out, second, to_second)
        return out

    sign = (-1.0) ** np.asarray(degrees)[owner]
    forth, back = a_ij[:, owner] * Y, sign * a_ji[:, owner] * Y
    right = added(forth, back)
    lost = np.zeros((n, len(owner)))
    lost[first] += forth
    lost[second] += back
    nothing = np.zeros_like(forth)
    mistakes = {
        "from the second atom the first lies in the opposite direction: odd degrees of Y change "
        "their sign, (-1)^l.": added(forth, sign * back),
        "you turned the sign of every degree; even harmonics look the same from both ends.": added(
            forth, -sign * back
        ),
        "the sign is (-1)^l: "
        "odd degrees change it, even ones keep it; yours is the opposite.": added(forth, -back),
        "the two directions are swapped: a_ij, first asks, moves the first atom.": added(
            a_ji[:, owner] * Y, sign * a_ij[:, owner] * Y
        ),
        "you used a_ij for both ends: when the second atom asks, its coefficient is a_ji.": added(
            forth, sign * a_ij[:, owner] * Y
        ),
        "only the first atoms have moved: each pair has two ends.": added(forth, nothing),
        "only the second atoms have moved: each pair has two ends.": added(nothing, back),
        "out[first] += … keeps only the last of several pairs of the same atom: np.add.at(out, "
        "first, …) adds them all.": lost,
        "what belongs to the first atom went to the second, and vice versa.": added(back, forth),
    }
    if np.allclose(value, right):
        return "two ends, two coefficients, one Y with its parity."
    refuse(value, mistakes)
    a, m = np.argwhere(~np.isclose(value, right))[0]
    raise Wrong(
        f"in a small example component {m} of atom {a} changes by {right[a, m]:.4f}, "
        f"yours by {value[a, m]:.4f}. Test a single pair of two atoms first: each atom moves once, "
        "and odd degrees only change their sign."
    )


def sphc_figure(
    picture: Scene,
    atom: int,
    states: Float[np.ndarray, "steps m_tot"],
    degrees: tuple[int, ...],
    names: Sequence[str],
    scale: float,
) -> go.Figure:
    """An atom's SPHCs as a shape around it, in steps under a slider.

    In each direction the surface is ``scale`` |f| (Å) away from the atom, where f is the sum of
    chi_lm Y_lm over all components: amber where f is positive, azure where it is negative.

    Args:
        picture: the molecule, as `so3krates_lite.drawing.scene.scene` gives it
        atom: whose SPHCs they are
        states: the SPHCs of each step
        degrees: their degrees
        names: what the slider says of each step
    """
    import plotly.graph_objects as go

    sticks, atoms = ball_and_stick(picture)
    balls = {"size": (1.5 * np.array(atoms.marker.size)).tolist(), "opacity": 1}
    figure = go.Figure([sticks, atoms.update(name="atoms", mode="markers", marker=balls)])
    place = picture.positions[atom].round(3)
    surfaces = [shape_surface(chi, degrees, scale, 3) for chi in states]
    limit = float(max(np.abs(value).max() for _, _, value in surfaces))
    for k, (vertices, faces, value) in enumerate(surfaces):
        figure.add_mesh3d(
            **xyz(place + vertices),
            **ijk(faces),
            intensity=value.astype(np.float32),
            colorscale=[[0, NEGATIVE], [0.5, "#d5d9de"], [1, POSITIVE]],
            **{"cmin": -limit, "cmax": limit, "showscale": False, "visible": k == 0},
            **{"lighting": {"ambient": 0.8, "diffuse": 0.4, "specular": 0.1}, "hoverinfo": "skip"},
        )
    steps = showing(names, [None, None, *range(len(states))])
    tags = label_annotations(picture)  # on top of all, where no lobe can hide an atom
    for tag, number in zip(tags, picture.numbers, strict=True):
        tag |= {"bgcolor": element_colour(int(number)), "borderpad": 2}
    corners = np.vstack([picture.positions, *(place + vertices for vertices, _, _ in surfaces)])
    half = float(np.abs(corners).max()) + 0.5
    axes = {f"{axis}axis": {"visible": False, "range": [-half, half]} for axis in "xyz"}
    figure.update_layout(
        scene={**axes, "aspectmode": "cube", "annotations": tags},
        scene_camera_eye=one_point(camera_eye(picture.view, corners, half, 0.4)),
        scene_camera_up=one_point(picture.view[1]),
        sliders=[{"steps": steps, "pad": {"t": 8}}],
        showlegend=False,
    )
    figure.update_traces(hoverinfo="skip", selector={"mode": "lines"})
    return styled(figure, height=520, margin={"l": 40, "r": 40, "t": 8, "b": 8})


def attention_slider(record: AttentionRecord, block: str = "feature") -> go.Figure:
    """Attention against distance, all layers and channels of a block under one slider."""
    return layer_slider(
        record,
        block,
        lambda layer, channel: attention_against_distance(record, None, block, layer, channel),
        "y",
        digits=3,
    )
