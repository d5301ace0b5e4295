"""Figures of many views: scales that stay, directions kept, words that caution."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic import correlation_record, ethanol_record

from so3krates_lite.drawing import all_layers as drawn
from so3krates_lite.drawing import side_by_side as compared
from so3krates_lite.drawing.look import DIVERGING
from so3krates_lite.errors import UserError
from so3krates_lite.record import analysis
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.parts import BlockAttention
from so3krates_lite.record.wording import FORMULA


@pytest.fixture(scope="module")
def record() -> AttentionRecord:
    return ethanol_record(frames=3, spherical=True)


def caption(figure) -> str:
    (note,) = figure.select_annotations({"name": "caption"})
    return note.text.replace("<br>", " ")


def ends(figure, axis: str = "coloraxis") -> tuple[float, float]:
    return figure.layout[axis].cmin, figure.layout[axis].cmax


@pytest.mark.parametrize("block", ["feature", "geometric", "spherical"])
def test_overview_shows_every_layer_and_channel_where_it_belongs(record, block):
    figure = drawn.overview(record, 1, block)
    assert len(figure.data) == record.n_layers * record.n_channels(block)
    for panel in figure.data:
        layer, channel = panel.meta["layer"], panel.meta["channel"]
        np.testing.assert_array_equal(panel.z, record.matrix(1, block, layer, channel))
        assert list(panel.x) == list(panel.y) and panel.y[2] == "O2"
        name = record.channel_names(block)[channel]
        assert f"layer {layer} · {name}" in panel.hovertemplate
        x, y = (figure.layout[f"{a[0]}axis{a[1:]}"] for a in (panel.xaxis, panel.yaxis))
        assert y.autorange == "reversed"
        if layer == 0:
            assert x.title.text == name
        if channel == 0:
            assert y.title.text == f"layer {layer}"
    down = [figure.layout[f"yaxis{p.yaxis[1:]}"].domain[0] for p in figure.data]
    assert down[0] > down[-1]
    assert FORMULA[block]["weighted"] in caption(figure)


def test_scales_stay_over_frames_and_are_centred_on_zero(record):
    for block in record.blocks:
        found = {ends(drawn.overview(record, frame, block)) for frame in range(3)}
        assert found == {(-record.limit(block), record.limit(block))}
    low, high = ends(drawn.overview(record, quantity="contribution"))
    assert low == 0 and high == record.limit("feature", "contribution")
    assert ends(drawn.overview(record, limit=2.5)) == (-2.5, 2.5)


@pytest.mark.parametrize("quantity", ["coefficient", "weighted", "contribution"])
def test_sphc_figure_draws_local_and_spherical_pairs_apart_on_equal_axes(record, quantity):
    figure = drawn.attention_against_sphc_distance(record, 1, None, 1, 2, quantity)
    for block, axis in (("geometric", "x"), ("spherical", "x2")):
        traces = [trace for trace in figure.data if trace.xaxis == axis]
        pick = np.concatenate([trace.customdata[:, 0] for trace in traces]).astype(int)
        assert sorted(pick) == record.pairs(1, block).tolist()
        x, y = (np.concatenate([trace[name] for trace in traces]) for name in "xy")
        np.testing.assert_array_equal(x, analysis.sphc_distances(record, block)[1, pick])
        np.testing.assert_array_equal(y, record.select(block, 1, 2, quantity)[pick])
    assert figure.layout.yaxis.range == figure.layout.yaxis2.range
    assert figure.layout.xaxis.range == figure.layout.xaxis2.range
    end = max(record.limit(block, quantity) for block in ("geometric", "spherical"))
    assert figure.layout.yaxis.range[1] == pytest.approx(1.06 * end)
    names = [trace.name for trace in figure.data if trace.showlegend]
    assert len(names) == len(set(names)) and {"C ← H", "H ← C"} <= set(names)


def test_sphc_axes_are_the_same_for_all_layers_channels_and_frames(record):
    ranges = set()
    for frame, layer, channel in ((0, 0, 0), (2, 1, 2), (None, -1, 1)):
        layout = drawn.attention_against_sphc_distance(
            record, frame, layer=layer, channel=channel
        ).layout
        ranges.add((layout.xaxis.range, layout.yaxis.range))
    assert len(ranges) == 1
    local = drawn.attention_against_sphc_distance(ethanol_record(), block="feature", channel=3)
    assert {trace.xaxis for trace in local.data} == {"x"}
    with pytest.raises(UserError, match="no SPHCs"):
        drawn.attention_against_sphc_distance(correlation_record())


def test_two_heads_are_compared_on_one_scale(record):
    one, other = {"channel": 0}, {"channel": 2, "frame": 1}
    figure = compared.comparison(record, record, one, other)
    a, b, less = figure.data
    np.testing.assert_array_equal(a.z, record.matrix(0))
    np.testing.assert_array_equal(b.z, record.matrix(1, channel=2))
    np.testing.assert_array_equal(less.z, a.z - b.z)
    assert {trace.coloraxis for trace in figure.data} == {"coloraxis"}
    assert ends(figure) == (-record.limit(), record.limit())
    assert "One scale for all three" in caption(figure)


def test_two_architectures_are_compared_on_two_stated_scales():
    a, b = ethanol_record(), correlation_record()
    figure = compared.comparison(a, b, names=("So3krates", "GeomAtt"))
    for panel, record in zip(figure.data, (a, b), strict=False):
        np.testing.assert_allclose(panel.z, record.matrix() / record.limit())
        np.testing.assert_array_equal(panel.customdata, record.matrix())
        assert f"{record.limit():.3g}" in caption(figure)
    np.testing.assert_allclose(figure.data[2].z, figure.data[0].z - figure.data[1].z)
    assert ends(figure) == (-1, 1)
    assert "Two scales, each centred on zero" in caption(figure)


def test_weak_attention_of_an_untrained_model_looks_weak():
    trained = ethanol_record()
    faint = BlockAttention(*(0.01 * a for a in vars(trained.feature).values()))
    untrained = dataclasses.replace(trained, feature=faint)
    figure = compared.comparison(trained, untrained)
    assert ends(figure)[1] == trained.limit()
    assert np.abs(figure.data[1].z).max() <= 0.011 * ends(figure)[1]
    apart = compared.comparison(trained, untrained, shared=False)
    np.testing.assert_allclose(apart.data[0].z, apart.data[1].z)
    np.testing.assert_allclose(apart.data[2].z, 0, atol=1e-12)


def test_sizes_are_compared_from_zero_and_their_difference_around_it(record):
    choice = {"quantity": "contribution", "channel": "norm"}
    figure = compared.comparison(record, record, choice, choice | {"frame": 2})
    low, high = ends(figure)
    assert low == 0 and ends(figure, "coloraxis2") == (-high, high)
    assert figure.data[2].coloraxis == "coloraxis2"
    stops = [stop for _, stop in figure.layout.coloraxis2.colorscale]
    assert stops == [stop for _, stop in DIVERGING]


def test_what_lies_beyond_a_scale_is_counted(record):
    figure = compared.comparison(record, record, limit=0.05)
    many = sum(int((np.abs(panel.z) > 0.05).sum()) for panel in figure.data)
    assert many > 0 and f"{many} cell(s) lie beyond the end" in caption(figure)
    with pytest.raises(UserError, match="must be more than 0"):
        compared.comparison(record, record, limit=0)


def test_causal_figure_states_the_rank_correlation_of_sizes():
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    attention, noise = rng.normal(size=(2, 60))
    effect = np.exp(np.abs(attention)) * np.sign(noise)  # the same order, another shape and sign
    figure = compared.causal_figure(attention, effect, labels=[f"p{k}" for k in range(60)])
    (dots,) = figure.data
    np.testing.assert_array_equal(dots.x, np.abs(attention))
    np.testing.assert_array_equal(dots.y, np.abs(effect))
    assert dots.text[59] == "p59"
    assert "+1.00" in figure.layout.title.text
    assert "says nothing of what the real molecule would do" in caption(figure)
    two = compared.causal_figure(attention, noise, effect)
    rank = scipy_stats.spearmanr(np.abs(attention), np.abs(noise)).statistic
    assert f"{rank:+.2f}; against sensitivity +1.00" in two.layout.title.text
    assert two.data[1].xaxis == "x2" and "both directions" in caption(two)


def test_effects_without_an_order_are_drawn_without_a_rank():
    figure = compared.causal_figure(np.arange(5.0), np.zeros(5))
    assert "not defined" in figure.layout.title.text and "no order" in caption(figure)
    with pytest.raises(UserError, match=r"found shape \(4,\) for attention of shape \(5,\)"):
        compared.causal_figure(np.arange(5.0), np.zeros(4))
    with pytest.raises(UserError, match="finite number"):
        compared.causal_figure(np.arange(5.0), np.full(5, np.nan))


def test_every_figure_is_transparent_and_needs_no_webgl(record):
    for figure in (
        drawn.overview(record),
        drawn.overview(correlation_record()),
        drawn.attention_against_sphc_distance(record),
        compared.comparison(record, record),
        compared.causal_figure(np.arange(4.0), np.arange(4.0)),
    ):
        assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0,0,0,0)"
        assert {trace.type for trace in figure.data} <= {"heatmap", "scatter"}
        assert len(caption(figure)) > 40
