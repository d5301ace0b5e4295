"""Checks and figures of lesson 4, spherical filters."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from so3krates_lite.drawing.look import DIVERGING, PALETTE, TEXT, styled
from so3krates_lite.lessons.feedback import (
    Attempt,
    Wrong,
    described,
    exercise,
    of_shape,
    refuse,
    same,
)
from so3krates_lite.lessons.sliders import showing

if TYPE_CHECKING:
    import plotly.graph_objects as go


def _dense(p: Mapping, x: np.ndarray) -> np.ndarray:
    return x @ p["kernel"] + p["bias"]


def _silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def _mlp(p: Mapping, x: np.ndarray) -> np.ndarray:
    return _dense(p["out"], _silu(_dense(p["hidden"], x)))


def _random_network(rng: np.random.Generator, sizes: tuple[int, int, int]) -> dict:
    d, hidden, out = sizes
    shapes = {"hidden": (d, hidden), "out": (hidden, out)}
    return {
        name: {"kernel": rng.normal(size=shape), "bias": rng.normal(size=shape[1])}
        for name, shape in shapes.items()
    }


@exercise
def check_network(network: Attempt) -> str:
    """Lesson 4, exercise 1: ``network(p, x)``, Dense, silu, Dense with numpy."""
    rng = np.random.default_rng(0)
    p, x = _random_network(rng, (4, 6, 5)), rng.normal(size=(3, 4))
    result = network(p, x)
    hidden, right = _dense(p["hidden"], x), _mlp(p, x)
    unbiased = x @ p["hidden"]["kernel"]

    def after(h: np.ndarray) -> np.ndarray:
        return _dense(p["out"], h)

    mistakes = {
        "this is relu: its slope jumps, and forces would jump.": after(np.maximum(hidden, 0)),
        "this is tanh; silu(x) = x / (1 + exp(-x)).": after(np.tanh(hidden)),
        "this is the sigmoid; silu multiplies it by x.": after(1 / (1 + np.exp(-hidden))),
        "the sign in the exponential is turned: exp(-x).": after(hidden / (1 + np.exp(hidden))),
        "this is softplus; silu(x) = x / (1 + exp(-x)).": after(np.log1p(np.exp(hidden))),
        "without silu two Dense layers are one: nothing but straight lines.": after(hidden),
        "the last layer has no silu: filters may be negative, as far as they like.": _silu(right),
        "the bias of the hidden layer is missing.": after(_silu(unbiased)),
        "the bias of the last layer is missing.": _silu(hidden) @ p["out"]["kernel"],
        "both biases are missing: x @ kernel + bias.": _silu(unbiased) @ p["out"]["kernel"],
        "this is the hidden layer; one more Dense follows.": _silu(hidden),
    }
    if same(result, right):
        return "Dense, silu, Dense."
    refuse(result, mistakes)
    value = of_shape(result, right.shape, "one row per input and one column per feature")
    raise Wrong(
        f"in a small example the first number is {right[0, 0]:.4f}, yours is {value[0, 0]:.4f}."
    )


@exercise
def check_convolve(convolve: Attempt) -> str:
    """Lesson 4, exercise 2: ``convolve(x, w_ij, phi_ij, i, j)``, (n, F).

    Every atom collects phi_ij w_ij * x_j from its neighbours.
    """
    rng = np.random.default_rng(1)
    i = np.array([0, 0, 0, 1, 1, 2, 3, 3])  # atom 4 asks nobody
    j = np.array([1, 2, 4, 0, 2, 1, 0, 2])
    n, F = 5, 3
    x, w = rng.normal(size=(n, F)), rng.normal(size=(len(i), F))
    phi = rng.uniform(0.1, 0.9, len(i))
    value = of_shape(convolve(x, w, phi, i, j), (n, F), "one row per atom")

    def added(message: np.ndarray, owner: np.ndarray) -> np.ndarray:
        out = np.zeros((n, F))
        np.add.at(out, owner, message)
        return out

    message = phi[:, None] * w * x[j]
    right, lost = added(message, i), np.zeros((n, F))
    lost[i] += message
    count = np.maximum(np.bincount(i, minlength=n), 1)[:, None]
    mistakes = {
        "out[i] += … keeps only the last of several pairs of the same atom: np.add.at(out, i, …) "
        "adds them all.": lost,
        "the roles are turned round: atom i asks and collects, atom j answers.": added(
            phi[:, None] * w * x[i], j
        ),
        "you collected at j, who answers; the sum belongs to i, who asks.": added(message, j),
        "you sent x of the one who asks; j answers: x[j].": added(phi[:, None] * w * x[i], i),
        "the cutoff is missing: a pair at the border must add nothing.": added(w * x[j], i),
        "the cutoff stands in it twice; once is right.": added(phi[:, None] * message, i),
        "the filter is missing.": added(phi[:, None] * x[j], i),
        "this adds up filters; they multiply what j has to say, x[j].": added(phi[:, None] * w, i),
        "this is a mean; a sum is asked for, so that parts of a molecule add up.": right / count,
        "you added x itself; only what comes from the neighbours is asked for.": x + right,
    }
    if np.allclose(value, right):
        return "each neighbour's features, through a filter of the distance."
    refuse(value, mistakes)
    a, f = np.argwhere(~np.isclose(value, right))[0]
    raise Wrong(
        f"in a small example feature {f} of atom {a} should be {right[a, f]:.4f}, "
        f"yours is {value[a, f]:.4f}."
    )


@exercise
def check_silence(silence: Attempt) -> str:
    """Lesson 4, exercise 3: ``silence(p, n_ij, k)``, weights that read column k as its mean.

    p is a network {"hidden": …, "out": …} of n_ij, (pairs, degrees). With the new weights the
    network must answer to any n as the old one did to n with column k replaced by its mean.
    """
    rng = np.random.default_rng(2)
    p, n_ij = _random_network(rng, (3, 6, 4)), rng.uniform(0.2, 1.5, (7, 3))
    mean = n_ij.mean(axis=0)
    for k in (1, 0):
        result = silence(p, n_ij, k)
        try:
            value = np.asarray(_mlp(result, n_ij), float)
        except (KeyError, TypeError, IndexError, ValueError):
            raise Wrong(
                f"your function returned {described(result)}; weights in the same form as p, "
                "with p['hidden']['kernel'] and so on, of the same shapes, are expected."
            ) from None

        def answer(column: np.ndarray | float, at: int = k) -> np.ndarray:
            changed = n_ij.copy()
            changed[:, at] = column
            return _mlp(p, changed)

        right, other = answer(mean[k]), copy.deepcopy(p)
        other["hidden"]["kernel"][:, k] = 0
        silent_out = copy.deepcopy(p)
        silent_out["out"]["kernel"][k] = 0
        double = copy.deepcopy(p)
        double["hidden"]["bias"] += mean[k] * double["hidden"]["kernel"][k]
        mistakes = {
            "nothing has changed: column k is still read.": _mlp(p, n_ij),
            "column k is silent, but as if it were always 0: a value that the network has rarely "
            "seen. Add its mean times the row to the bias of the hidden layer.": answer(0.0),
            "you erased a hidden unit; inputs are the rows of the kernel.": _mlp(other, n_ij),
            "degrees enter in the hidden layer, not in the last.": _mlp(silent_out, n_ij),
            "the mean is in the bias, but column k is still read as well.": _mlp(double, n_ij),
            f"with k = {k} you silenced column {(k - 1) % 3}.": answer(mean[k - 1], k - 1),
            "this is the mean of all columns; take that of column k.": answer(n_ij.mean()),
            "this is the median; the mean is asked for.": answer(np.median(n_ij[:, k])),
            "this is the sum of column k; its mean is asked for.": answer(n_ij[:, k].sum()),
            "the sign of the mean is turned.": answer(-mean[k]),
        }
        if not same(value, right):
            refuse(value, mistakes)
            raise Wrong(
                f"with k = {k} the first answer of the network should be {right[0, 0]:.4f}, "
                f"with your weights it is {value.ravel()[0]:.4f}."
            )
        old = silence.given[0]
        if any(not np.array_equal(old[a][b], p[a][b]) for a in p for b in p[a]):
            raise Wrong(
                "the right weights, but the old ones have changed as well: copy arrays before you "
                "write into them."
            )
    return "the row is gone, and its mean sits in the bias."


def filter_slider(
    distance: Float[np.ndarray, "points"],
    curves: Mapping[str, Float[np.ndarray, "points features"]],
    seen: tuple[float, float],
) -> go.Figure:
    """Learned filters over distance, each set of curves one step of a slider.

    Args:
        distance: Å
        curves: by the name of the step; all with the same number of features
        seen: Å, between which the data have pairs; outside, the curves are a guess
    """
    import plotly.graph_objects as go

    names = list(curves)
    figure = go.Figure()
    for f in range(curves[names[0]].shape[1]):
        figure.add_scatter(
            x=np.float32(distance),
            y=np.float32(curves[names[0]][:, f]),
            mode="lines",
            line={"width": 1.8, "color": PALETTE[f % len(PALETTE)]},
            name=f"feature {f}",
            hovertemplate="feature " + str(f) + "<br>%{x:.2f} Å: %{y:.3f}<extra></extra>",
        )
    for low, high in ((float(distance[0]), seen[0]), (seen[1], float(distance[-1]))):
        if high > low:
            figure.add_vrect(low, high, fillcolor=TEXT, opacity=0.14, line_width=0)
    steps = [
        {
            "label": name,
            "method": "restyle",
            "args": [{"y": [np.round(np.float64(y), 3).tolist() for y in curves[name].T]}],
        }
        for name in names
    ]
    slider = {"steps": steps, "currentvalue": {"font": {"color": TEXT}}, "pad": {"t": 44, "r": 40}}
    reach = 1.05 * max(float(np.abs(c).max()) for c in curves.values())
    figure.update_xaxes(title="distance d (Å)", range=[float(distance[0]), float(distance[-1])])
    figure.update_yaxes(title="filter w (no unit)", range=[-reach, reach], zeroline=True)
    return styled(figure, height=500, showlegend=False, sliders=[slider])


def filter_map(
    distance: Float[np.ndarray, "points"],
    n: Float[np.ndarray, "levels"],
    maps: Sequence[Float[np.ndarray, "levels points"]],
    names: Sequence[str],
    degree: int,
) -> go.Figure:
    """A filter over both distances, one feature per step of a slider."""
    import plotly.graph_objects as go

    limit = max(float(np.abs(each).max()) for each in maps)
    figure = go.Figure()
    for k, each in enumerate(maps):
        figure.add_heatmap(
            x=np.float32(distance),
            y=np.float32(n),
            z=np.float32(each),
            zmin=-limit,
            zmax=limit,
            colorscale=DIVERGING,
            zsmooth="best",
            visible=k == 0,
            colorbar={"thickness": 12, "outlinewidth": 0, "title": {"text": "w"}},
            hovertemplate="%{x:.2f} Å, n %{y:.2f}: w = %{z:.3f}<extra></extra>",
        )
    steps = showing(names, range(len(maps)))
    slider = {"steps": steps, "currentvalue": {"font": {"color": TEXT}}, "pad": {"t": 44, "r": 40}}
    figure.update_xaxes(title="distance d (Å)")
    figure.update_yaxes(title=f"SPHC distance n, degree {degree} (no unit)")
    return styled(figure, height=500, sliders=[slider])
