"""The checks and figures of lesson 4: right answers pass, plausible wrong ones are told why."""

from __future__ import annotations

import copy

import jax.numpy as jnp
import numpy as np
import pytest
from answers import wrong

from so3krates_lite import lessons
from so3krates_lite.lessons.filters import filter_map, filter_slider


def dense(p, x):
    return x @ p["kernel"] + p["bias"]


def silu(x):
    return x / (1 + np.exp(-x))


def network(p, x, act=silu, last=lambda x: x):
    return last(dense(p["out"], act(dense(p["hidden"], x))))


def test_network_right():
    assert lessons.check_network(network).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda p, x: network(p, x, lambda h: np.maximum(h, 0)), "relu"),
        (lambda p, x: network(p, x, np.tanh), "tanh"),
        (lambda p, x: network(p, x, lambda h: 1 / (1 + np.exp(-h))), "sigmoid"),
        (lambda p, x: network(p, x, lambda h: h / (1 + np.exp(h))), "sign in the exponential"),
        (lambda p, x: network(p, x, lambda h: np.log1p(np.exp(h))), "softplus"),
        (lambda p, x: network(p, x, lambda h: h), "straight lines"),
        (lambda p, x: network(p, x, last=silu), "no silu"),
        (lambda p, x: dense(p["out"], silu(x @ p["hidden"]["kernel"])), "bias of the hidden"),
        (lambda p, x: silu(dense(p["hidden"], x)) @ p["out"]["kernel"], "bias of the last"),
        (lambda p, x: silu(x @ p["hidden"]["kernel"]) @ p["out"]["kernel"], "both biases"),
        (lambda p, x: silu(dense(p["hidden"], x)), "hidden layer"),
        (lambda p, x: 0 * network(p, x), "first number"),
        (lambda p, x: x @ x.T @ np.zeros((3, 5)) + np.nan, "nan"),
    ],
)
def test_network_wrong(answer, word):
    wrong(lessons.check_network(answer), word)


def convolve(x, w, phi, i, j, sender=None, owner=None, power=1):
    out = np.zeros_like(x)
    message = phi[:, None] ** power * w * x[j if sender is None else sender]
    np.add.at(out, i if owner is None else owner, message)
    return out


def overwritten(x, w, phi, i, j):
    out = np.zeros_like(x)
    out[i] += phi[:, None] * w * x[j]
    return out


def mean(x, w, phi, i, j):
    return convolve(x, w, phi, i, j) / np.maximum(np.bincount(i, minlength=len(x)), 1)[:, None]


def test_convolve_right():
    assert lessons.check_convolve(convolve).passed
    assert lessons.check_convolve(
        lambda x, w, p, i, j: (np.arange(len(x))[:, None] == i) @ (p[:, None] * w * x[j])
    ).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (overwritten, "np.add.at"),
        (lambda x, w, p, i, j: convolve(x, w, p, j, i), "roles are turned"),
        (lambda x, w, p, i, j: convolve(x, w, p, i, j, owner=j), "collected at j"),
        (lambda x, w, p, i, j: convolve(x, w, p, i, j, sender=i), "x[j]"),
        (lambda x, w, p, i, j: convolve(x, w, p, i, j, power=0), "cutoff is missing"),
        (lambda x, w, p, i, j: convolve(x, w, p, i, j, power=2), "twice"),
        (lambda x, w, p, i, j: convolve(x, np.ones_like(w), p, i, j), "filter is missing"),
        (lambda x, w, p, i, j: convolve(np.ones_like(x), w, p, i, j), "adds up filters"),
        (mean, "a mean"),
        (lambda x, w, p, i, j: x + convolve(x, w, p, i, j), "x itself"),
        (lambda x, w, p, i, j: 0 * x, "yours is 0.0000"),
        (lambda x, w, p, i, j: p[:, None] * w * x[j], "one row per atom"),
    ],
)
def test_convolve_wrong(answer, word):
    wrong(lessons.check_convolve(answer), word)


def silence(p, n_ij, k, mean=None, erase=True, where=None):
    row, new = k if where is None else where, copy.deepcopy(p)
    value = n_ij[:, row].mean() if mean is None else mean
    new["hidden"]["bias"] += value * new["hidden"]["kernel"][row]
    if erase:
        new["hidden"]["kernel"][row] = 0
    return new


def in_place(p, n_ij, k):
    p["hidden"]["bias"] += n_ij[:, k].mean() * p["hidden"]["kernel"][k]
    p["hidden"]["kernel"][k] = 0
    return p


def a_hidden_unit(p, n_ij, k):
    new = copy.deepcopy(p)
    new["hidden"]["kernel"][:, k] = 0
    return new


def in_the_last_layer(p, n_ij, k):
    new = copy.deepcopy(p)
    new["out"]["kernel"][k] = 0
    return new


def test_silence_right():
    assert lessons.check_silence(silence).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda p, n, k: p, "nothing has changed"),
        (lambda p, n, k: silence(p, n, k, mean=0.0), "always 0"),
        (a_hidden_unit, "rows of the kernel"),
        (in_the_last_layer, "not in the last"),
        (lambda p, n, k: silence(p, n, k, erase=False), "still read as well"),
        (lambda p, n, k: silence(p, n, k, where=k - 1), "silenced column 0"),
        (lambda p, n, k: silence(p, n, k, mean=n.mean()), "of all columns"),
        (lambda p, n, k: silence(p, n, k, mean=np.median(n[:, k])), "median"),
        (lambda p, n, k: silence(p, n, k, mean=n[:, k].sum()), "the sum"),
        (lambda p, n, k: silence(p, n, k, mean=-n[:, k].mean()), "sign"),
        (in_place, "copy"),
        (lambda p, n, k: silence(p, n, 1), "with k = 0"),
        (lambda p, n, k: p["hidden"], "returned dict; weights in the same form"),
        (lambda p, n, k: jnp.asarray(n), "returned an array of shape (7, 3)"),
    ],
)
def test_silence_wrong(answer, word):
    wrong(lessons.check_silence(answer), word)


def test_the_slider_changes_every_curve_and_shades_what_no_pair_has_seen():
    d = np.linspace(0.5, 5, 7)
    curves = {name: np.outer(d, [k, -k, 2]) for k, name in enumerate("abc")}
    figure = filter_slider(d, curves, (1.0, 4.6))
    assert len(figure.data) == 3 and len(figure.layout.shapes) == 2
    for name, step in zip("abc", figure.layout.sliders[0].steps, strict=True):
        assert np.allclose(step.args[0]["y"], curves[name].T, atol=1e-3)
    low, high = figure.layout.yaxis.range
    assert low == -high and high > 10


def test_the_map_shows_one_feature_at_a_time_on_one_scale():
    maps = [np.full((3, 4), v) for v in (1.0, -2.0)]
    figure = filter_map(np.arange(4.0), np.arange(3.0), maps, ["one", "two"], 2)
    assert [trace.visible for trace in figure.data] == [True, False]
    assert {trace.zmax for trace in figure.data} == {2.0}
    assert "degree 2" in figure.layout.yaxis.title.text
