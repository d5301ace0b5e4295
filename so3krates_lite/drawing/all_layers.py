"""Figures of more than one view: all layers at once, against SPHC distance, along a trajectory.

`figures` draws one layer and channel of one frame. Here are the pictures that
show many views at once, and so live on their scales: each is centred on zero and reaches to
the largest size over all layers, channels and frames of the block, whatever is shown of it. The
argument ``limit`` frees it. Every figure says below it what its numbers are, on which scale, and
what may not be read from them.

No figure needs WebGL; `export.save_figure` writes them as pages and pictures.
plotly is imported only when a figure is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from so3krates_lite.drawing.figures import attention_against_distance
from so3krates_lite.drawing.look import DIVERGING, PALETTE, SEQUENTIAL, styled
from so3krates_lite.errors import UserError
from so3krates_lite.record import analysis
from so3krates_lite.record.analysis import Choice
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.blocks import BLOCKS
from so3krates_lite.record.tables import binned
from so3krates_lite.record.wording import AXIS, FORMULA, atom_labels, scale_limit

if TYPE_CHECKING:
    import plotly.graph_objects as go

_UNSIGNED = ("abs-mean", "max-abs", "norm")


def is_signed(quantity: str, *ways: Choice) -> bool:
    """Whether numbers of this quantity, combined in these ways, can be negative."""
    return quantity != "contribution" and not any(way in _UNSIGNED for way in ways)


def view_name(record: AttentionRecord, block: str, layer: Choice, channel: Choice) -> str:
    """``layer 1 · head 2``, ``sum over layers · norm over degrees`` …"""
    one = f"{layer} over layers" if isinstance(layer, str) else f"layer {layer % record.n_layers}"
    if isinstance(channel, str):
        return f"{one} · {channel} over {BLOCKS[block].channels}"
    return f"{one} · {record.channel_names(block)[channel]}"


def _end(limit: float | None, largest: float) -> float:
    if limit is not None and not (np.isfinite(limit) and limit > 0):
        raise UserError(f"limit is {limit}: the end of a scale must be more than 0.")
    return limit or largest or 1.0


def _colours(end: float, signed: bool, title: str, **place: Any) -> dict[str, Any]:
    bar = {
        "thickness": 12,
        "outlinewidth": 0,
        "title": {"text": title, "side": "right", "font_size": 12},
        **place,
    }
    return {
        "cmin": -end if signed else 0.0,
        "cmax": end,
        "colorscale": DIVERGING if signed else SEQUENTIAL,
        "colorbar": bar,
    }


def _range(end: float, signed: bool) -> list[float]:
    return [-1.06 * end if signed else 0.0, 1.06 * end]


def _panels(titles: Sequence[str], gap: float) -> go.Figure:
    """Panels side by side, with small titles if there are several."""
    from plotly.subplots import make_subplots

    named = list(titles) if len(titles) > 1 else None
    figure = make_subplots(1, len(titles), subplot_titles=named, horizontal_spacing=gap)
    return figure.update_annotations(font_size=12)


def _captioned(
    figure: go.Figure, title: str, caption: str, height: int, room: int = 60, **layout: Any
) -> go.Figure:
    """The house look, with sentences below the axes; ``room`` px are for ticks and their title."""
    lines = wrap(caption, 104)
    figure.add_annotation(
        text="<br>".join(lines),
        xref="paper",
        yref="paper",
        x=0,
        y=0,
        xanchor="left",
        yanchor="top",
        yshift=-room,
        align="left",
        showarrow=False,
        font={"size": 11},
        name="caption",
    )
    below = room + 16 * len(lines) + 8
    head = {"text": title, "font_size": 14, "y": 1 - 14 / (height + below), "yanchor": "top"}
    styled(figure, height=height + below, title=head, **layout)
    figure.update_xaxes(title_font_size=13).update_yaxes(title_font_size=13)
    return figure.update_layout(margin={"t": 62, "b": below})


def _matrix_axes(figure: go.Figure, labels: list[str], row: int, col: int, **x: Any) -> None:
    """Square cells, the first atom on top, and every atom named while there is room."""
    step = max(1, -(-len(labels) // 14))
    ticks = {"tickvals": labels[::step], "showgrid": False, "constrain": "domain"}
    figure.update_xaxes(**ticks, row=row, col=col, **x)
    anchor = figure.get_subplot(row, col).xaxis.plotly_name.replace("axis", "")
    figure.update_yaxes(**ticks, autorange="reversed", scaleanchor=anchor, row=row, col=col)


def _matrix(z: np.ndarray, labels: list[str], place: str, scale: str, raw=None) -> go.Heatmap:
    import plotly.graph_objects as go

    value = "%{z:+.4g}" if raw is None else "%{customdata:+.4g} (%{z:+.3f} of its largest)"
    gap = 1 if len(labels) <= 30 else 0
    return go.Heatmap(
        z=z,
        x=labels,
        y=labels,
        customdata=raw,
        coloraxis=scale,
        xgap=gap,
        ygap=gap,
        hovertemplate=f"%{{y}} attends to %{{x}}: {value}<br>{place}<extra></extra>",
    )


def overview(
    record: AttentionRecord,
    frame: int = 0,
    block: str | None = None,
    quantity: str = "weighted",
    *,
    limit: float | None = None,
) -> go.Figure:
    """Who attends to whom in every layer (down) and head, degree or order (across), on one scale.

    Each panel's ``meta`` holds its layer and channel.

    Args:
        limit: end of the scale; by default the block's largest size, over all frames too.
    """
    from plotly.subplots import make_subplots

    block = block or record.blocks[0]
    end, names = scale_limit(record, block, quantity, limit), record.channel_names(block)
    values = analysis.matrix(record, block, quantity, layer=None, channel=None, frame=frame)
    labels = atom_labels(record.numbers[frame])
    rows, cols = record.n_layers, len(names)
    gaps = {"vertical_spacing": 0.05 / max(rows - 1, 1), "horizontal_spacing": 0.03 / cols}
    figure = make_subplots(rows=rows, cols=cols, **gaps)
    for layer in range(rows):
        for channel, name in enumerate(names):
            row, col = layer + 1, channel + 1
            place = f"layer {layer} · {name}"
            panel = _matrix(values[layer, :, :, channel], labels, place, "coloraxis")
            panel.meta = {"layer": layer, "channel": channel}
            figure.add_trace(panel, row=row, col=col)
            top = {"side": "top", "title": name} if layer == 0 else {}
            _matrix_axes(figure, labels, row, col, showticklabels=layer == rows - 1, **top)
            left = {"showticklabels": channel == 0, "title": f"layer {layer}" * (channel == 0)}
            figure.update_yaxes(**left, row=row, col=col)
    scale = _colours(end, is_signed(quantity), AXIS[block][quantity])
    if rows * cols > 6 or len(labels) > 12:
        figure.update_xaxes(tickfont={"size": 9}).update_yaxes(tickfont={"size": 9})
    caption = (
        f"Rows ask, columns answer; rows are not normalised. Shown: {FORMULA[block][quantity]}. "
        f"The colour reaches to {end:.3g} for all layers, {BLOCKS[block].channels} and frames."
    )
    panel = float(np.clip(620 / cols, 90, 260))
    title = f"{block} attention, frame {frame}: all layers and {BLOCKS[block].channels}"
    _captioned(figure, title, caption, int(80 + rows * panel), room=44, coloraxis=scale)
    return figure.update_xaxes(ticks="").update_yaxes(ticks="").update_layout(margin_t=84)


def attention_against_sphc_distance(
    record: AttentionRecord,
    frame: int | None = None,
    block: str | None = None,
    layer: int = 0,
    channel: int = 0,
    quantity: str = "weighted",
    *,
    limit: float | None = None,
    max_points: int = 5000,
) -> go.Figure:
    """Attention of each directed pair against |χ_j − χ_i| at the input of its layer.

    Without a ``block`` the geometric attention is shown, and that of a spherical neighbourhood, if
    the model has one, apart from it on the same axes: a degree's message is the sum of both.

    Args:
        frame: one frame, or None for all.
        limit: half height of the axis; by default the largest size in any block shown.

    Raises:
        UserError: the model has no SPHCs.
    """
    blocks = [block] if block else [b for b in ("geometric", "spherical") if b in record.blocks]
    distances = {b: analysis.sphc_distances(record, b) for b in blocks or [None]}
    end = max(scale_limit(record, b, quantity, limit) for b in blocks)
    figure = _panels([f"{BLOCKS[b].listed} neighbourhood" for b in blocks], 0.12)
    seen: set[str] = set()
    for col, (b, X) in enumerate(distances.items(), start=1):
        view = record, frame, b, layer, channel, quantity
        drawn = attention_against_distance(*view, max_points=max_points)
        for trace in drawn.select_traces({"mode": "markers"}):
            pick = np.asarray(trace.customdata)
            trace.update(
                x=X[layer, pick],
                customdata=np.stack([pick, record.neighbours(b).distance[pick]], axis=1),
                legendgroup=trace.name,
                showlegend=trace.name not in seen,
                hovertemplate="%{text}<br>%{x:.3f} in SPHC space, %{customdata[1]:.2f} Å in space: "
                "%{y:+.4f}<extra></extra>",
            )
            seen.add(trace.name)
            figure.add_trace(trace, row=1, col=col)
        figure.update_yaxes(title=AXIS[b][quantity], row=1, col=col)
    reach = max(float(X.max(initial=0.0)) for X in distances.values()) or 1.0
    figure.update_xaxes(title="SPHC distance X (no unit)", range=[0, 1.04 * reach])
    figure.update_yaxes(range=_range(end, is_signed(quantity)), zeroline=True)
    formulas = "; ".join(f"{BLOCKS[b].listed}: {FORMULA[b][quantity]}" for b in blocks)
    caption = (
        f"X = |χ_j − χ_i| at the input of the layer, up to the largest of all layers. {formulas}. "
        f"Axes reach to {end:.3g} for all layers, {BLOCKS[blocks[0]].channels} and frames."
    )
    title = f"{' and '.join(blocks)} attention, {view_name(record, blocks[0], layer, channel)}"
    legend = {"orientation": "v", "itemsizing": "constant"}
    return _captioned(figure, title, caption, 440, legend=legend)


def series_figure(
    record: AttentionRecord,
    choose: Sequence[tuple[int | None, int | None]],
    against: Float[np.ndarray, "frames"] | None = None,
    *,
    axis: str = "frame",
    block: str | None = None,
    quantity: str = "weighted",
    layer: Choice = "sum",
    channel: Choice = "sum",
    bins: int = 24,
    limit: float | None = None,
) -> go.Figure:
    """Attention along a trajectory, or against a dihedral angle or any other number per frame.

    Args:
        choose: (receiver, sender) of each curve; None for all: (2, None) is what atom 2 receives.
        against: a number per frame, such as `analysis.dihedral`; None: frames are counted. Where it
            does not rise from frame to frame each frame is a dot, and the line is the mean of
            ``bins`` equal parts.
        axis: title of the horizontal axis, with its unit: ``"C–C–O–H dihedral (°)"``.
        limit: end of the axis; by default the largest size of any such pair, or atom, in any frame
            and, where one layer or channel is chosen, in all of them.
    """
    import plotly.graph_objects as go

    block = block or record.blocks[0]
    what = {"block": block, "quantity": quantity}
    x = np.arange(len(record)) if against is None else np.asarray(against, float)
    if x.shape != (len(record),) or not np.isfinite(x).any():
        raise UserError(f"against has shape {x.shape}, expected a number for {len(record)} frames.")
    rising = bool((np.diff(x) > 0).all())
    mode = "markers" if not rising else "lines+markers" if len(x) <= 60 else "lines"
    labels = atom_labels(record.numbers[0])
    figure, end = go.Figure(), 0.0
    for n, (receiver, sender) in enumerate(choose):
        y = analysis.series(record, receiver, sender, layer=layer, channel=channel, **what)
        end = max(end, _series_limit(record, receiver, sender, layer, channel, what))
        one, other = ("all" if a is None else labels[a] for a in (receiver, sender))
        name, colour = f"{one} ← {other}", PALETTE[n % len(PALETTE)]
        look = {
            "name": name,
            "legendgroup": name,
            "hovertemplate": f"{name}<br>{axis} %{{x:.4g}}: %{{y:+.4f}}<extra></extra>",
            "line": {"color": colour, "width": 2},
        }
        marker = {"color": colour, "size": 6, "opacity": 1 if rising else 0.55}
        figure.add_trace(go.Scatter(x=x, y=y, mode=mode, marker=marker, **look))
        if not rising:
            part = binned(x, y, np.linspace(np.nanmin(x), np.nanmax(x) + 1e-9, bins + 1))
            middle, filled = (part["low"] + part["high"]) / 2, part["pairs"] > 0
            line = {"x": middle[filled], "y": part["mean"][filled], "mode": "lines"}
            figure.add_trace(go.Scatter(**line, **look, showlegend=False))
    end = _end(limit, end)
    height = _range(end, is_signed(quantity, layer, channel))
    figure.update_xaxes(title=axis)
    figure.update_yaxes(title=AXIS[block][quantity], range=height, zeroline=True)
    caption = (
        f"The one before ← asks, the one after it answers. Shown: {FORMULA[block][quantity]}. "
        f"The axis reaches to {end:.3g}, the largest of any such pair or atom in all frames."
    )
    title = f"{block} attention, {view_name(record, block, layer, channel)}"
    return _captioned(figure, title, caption, 400, showlegend=True)


def _series_limit(record, receiver, sender, layer: Choice, channel: Choice, what: dict) -> float:
    """Largest size of what is of the same kind: pairs, atoms that receive or send, or totals."""
    free = {"layer": layer, "channel": channel}
    free = {name: way if isinstance(way, str) else None for name, way in free.items()}
    if receiver is not None and sender is not None:
        return analysis.limit(record, **what, **free)
    of_atoms = analysis.received if sender is None else analysis.sent
    total = receiver is None and sender is None
    values = (analysis.series if total else of_atoms)(record, **what, **free)
    return float(np.nanmax(np.abs(values), initial=0.0))
