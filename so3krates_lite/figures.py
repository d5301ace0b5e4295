"""Figures that keep their promises: plain functions from data to a plotly figure.

Signed quantities (attention, SPHC components) share one diverging scale: azure below zero,
amber above, nothing at zero. It is symmetric, and its end is the largest size over all layers,
channels and frames of the block, so two pictures of one record can be compared. A scale that
follows each view's minimum and maximum would paint noise as boldly as signal.

Everything is drawn on a transparent background with mid-grey text, so that a figure can stand on
a light and on a dark page. The two hues differ in lightness for colour-blind readers too, and zero
is transparent rather than white. plotly is imported only when a figure is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from so3krates_lite.errors import UserError
from so3krates_lite.record import AttentionRecord

if TYPE_CHECKING:
    import plotly.graph_objects as go

NEGATIVE, POSITIVE, MAGNITUDE = "#1c86d8", "#ef8a17", "#009e73"
TEXT, GRID = "#7d8590", "rgba(125,133,144,0.28)"
DIVERGING = [
    [0.0, "rgba(14,84,158,1)"],
    [0.25, "rgba(28,134,216,0.85)"],
    [0.4999, "rgba(28,134,216,0)"],
    [0.5001, "rgba(239,138,23,0)"],
    [0.75, "rgba(239,138,23,0.85)"],
    [1.0, "rgba(198,88,0,1)"],
]
SEQUENTIAL = [
    [0.0, "rgba(0,158,115,0)"],
    [0.5, "rgba(0,158,115,0.75)"],
    [1.0, "rgba(0,104,76,1)"],
]
PALETTE = ("#2f7ed8", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c8c8c", "#a6761d")
_SIZE = "norm of what the pair adds to the receiver"
_LOCAL = {
    "coefficient": "α = q·w·k / √f, before the cutoff",
    "weighted": "α · φ(r), the factor in front of the message",
    "contribution": _SIZE,
}
FORMULA = {  # by block and quantity
    "feature": _LOCAL,
    "geometric": _LOCAL,
    "spherical": {**_LOCAL, "weighted": "α · φ_χ, with the nearness φ_χ in SPHC space"},
    "correlation": {
        "coefficient": "C = Δ Σ g·g′·…, the correlation over all chains of atoms from i to j",
        "weighted": "α = C / number of orders, the factor in front of the message",
        "contribution": _SIZE,
    },
}
_LOCAL_AXIS = {
    "coefficient": "attention coefficient α (dimensionless)",
    "weighted": "attention α·φ(r) (dimensionless)",
    "contribution": "size of the contribution (model units)",
}
AXIS = {  # by block and quantity
    "feature": _LOCAL_AXIS,
    "geometric": _LOCAL_AXIS,
    "spherical": {**_LOCAL_AXIS, "weighted": "attention α·φ_χ (dimensionless)"},
    "correlation": {
        **_LOCAL_AXIS,
        "coefficient": "correlation C (no unit)",
        "weighted": "attention α (no unit)",
    },
}
# plotly's buttons appear with the pointer; on a transparent page they must not be a grey bar
MODEBAR = {"bgcolor": "rgba(0,0,0,0)", "color": "rgba(125,133,144,0.75)"}
CONFIG = {"displaylogo": False, "displayModeBar": "hover"}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def atom_labels(numbers: Sequence[int]) -> list[str]:
    """Element and index, counted from 0 as in the arrays: ``C0``, ``C1``, ``O2`` …"""
    from ase.data import chemical_symbols

    return [f"{chemical_symbols[int(z)]}{i}" for i, z in enumerate(numbers) if z > 0]


def parts_of_colour(text: str) -> tuple[float, float, float, float]:
    """Red, green, blue and opacity, 0 to 1, of ``#rrggbb``, ``rgb(…)`` or ``rgba(…)``."""
    if text.startswith("#"):
        return (*(int(text[k : k + 2], 16) / 255 for k in (1, 3, 5)), 1.0)
    red, green, blue, *opacity = map(float, text[text.index("(") + 1 : -1].split(","))
    return (red / 255, green / 255, blue / 255, *(opacity or [1.0]))


def styled(figure: go.Figure, height: int = 420, **layout) -> go.Figure:
    """The house look: transparent, mid-grey, no template, equal margins."""
    axis = {
        "gridcolor": GRID,
        "zerolinecolor": GRID,
        "linecolor": GRID,
        "ticks": "outside",
        "tickcolor": GRID,
        "automargin": True,
    }
    figure.update_layout(
        template={"layout": {}},
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 13, "color": TEXT},
        margin={"l": 64, "r": 20, "t": 28, "b": 52},
        hoverlabel={"font": {"family": FONT}},
        legend={"bgcolor": "rgba(0,0,0,0)"},
        modebar=MODEBAR,
    )
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure.update_layout(**layout)


def scale_limit(
    record: AttentionRecord, block: str | None, quantity: str, limit: float | None = None
) -> float:
    """End of the colour scale: ``limit`` if given, else the largest size in the whole block."""
    if limit is not None and not (np.isfinite(limit) and limit > 0):
        raise UserError(f"limit is {limit}: the end of a colour scale must be more than 0.")
    return limit or record.limit(block, quantity) or 1.0


def attention_matrix(
    record: AttentionRecord,
    frame: int = 0,
    block: str | None = None,
    layer: int = 0,
    channel: int = 0,
    quantity: str = "weighted",
    *,
    limit: float | None = None,
) -> go.Figure:
    """Who attends to whom: rows ask, columns answer. Nothing is symmetrised.

    Args:
        record: attention with at least ``frame`` + 1 frames.
        frame, block, layer, channel, quantity: as in :meth:`AttentionRecord.select`.
        limit: end of the symmetric scale; by default the block's largest size.
    """
    import plotly.graph_objects as go

    block = block or record.blocks[0]
    matrix = record.matrix(frame, block, layer, channel, quantity)
    labels = atom_labels(record.numbers[frame][: len(matrix)])
    end = scale_limit(record, block, quantity, limit)
    signed = quantity != "contribution"
    name = f"layer {layer % record.n_layers} · {record.channel_names(block)[channel]}"
    figure = go.Figure(
        go.Heatmap(
            z=matrix,
            x=labels,
            y=labels,
            zmin=-end if signed else 0.0,
            zmax=end,
            colorscale=DIVERGING if signed else SEQUENTIAL,
            xgap=1,
            ygap=1,
            hovertemplate="%{y} attends to %{x}: %{z:+.4f}<extra></extra>",
            colorbar={"thickness": 12, "outlinewidth": 0, "title": {"text": "", "side": "right"}},
        )
    )
    figure.update_xaxes(title="sender: the atom that answers", constrain="domain", showgrid=False)
    figure.update_yaxes(
        title="receiver: the atom that asks",
        autorange="reversed",
        scaleanchor="x",
        constrain="domain",
        showgrid=False,
    )
    figure.data[0].colorbar.title.text = AXIS[block][quantity]
    styled(figure, height=460, title={"text": f"{block} attention, {name}", "font_size": 14})
    return figure.update_xaxes(ticks="").update_yaxes(ticks="").update_layout(margin_t=48)


def cutoff_curve(record: AttentionRecord, points: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """The cosine cutoff φ(r) = (1 + cos(π r / cutoff)) / 2 on a grid from 0 to the cutoff.

    Returns r (Å) and φ, each of shape (points,).
    """
    if not np.isfinite(record.cutoff):
        raise UserError("This record's model has no cutoff, and so no cutoff curve.")
    r = np.linspace(0.0, record.cutoff, points)
    return r, 0.5 * (1.0 + np.cos(np.pi * r / record.cutoff))


def reach_of(record: AttentionRecord, distance: Float[np.ndarray, " pairs"]) -> float:
    """Å to show of a distance axis: all pairs, and the cutoff, if there is one."""
    return float(np.max(distance, initial=record.cutoff if np.isfinite(record.cutoff) else 1.0))


def element_pairs(
    record: AttentionRecord, index: np.ndarray, block: str | None = None
) -> list[str]:
    """``C ← H`` (C asks, H answers) for each chosen directed pair of the block's list."""
    from ase.data import chemical_symbols as symbols

    pairs = record.neighbours(block)
    z_i = record.numbers[pairs.frame[index], pairs.receiver[index]]
    z_j = record.numbers[pairs.frame[index], pairs.sender[index]]
    return [f"{symbols[i]} ← {symbols[j]}" for i, j in zip(z_i, z_j, strict=True)]


def attention_against_distance(
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
    """Attention of each directed pair against its distance, coloured by element pair.

    Full and open markers of one colour are the two directions of the same two elements. For
    ``weighted``, grey lines show ±max|α|·φ(r), which no pair of this layer and channel can leave.
    Other blocks than the two local ones have no such lines, since no cutoff ends them.

    Args:
        frame: one frame, or None for all frames of the record (every n-th pair if too many).
        limit: half height of the fixed axis; by default the block's largest size.
    """
    import plotly.graph_objects as go

    block = block or record.blocks[0]
    end = scale_limit(record, block, quantity, limit)
    values = record.select(block, layer, channel, quantity)
    index = np.arange(len(values)) if frame is None else record.pairs(frame, block)
    pairs, local = record.neighbours(block), block in ("feature", "geometric")
    strongest = np.abs(record.select(block, layer, channel, "coefficient")[index]).max(initial=0.0)
    index = index[:: max(1, -(-len(index) // max_points))]
    figure = go.Figure()
    if quantity == "weighted" and local and len(index):
        r, phi = cutoff_curve(record)
        for sign in (1, -1):
            figure.add_trace(
                go.Scatter(
                    x=r,
                    y=sign * strongest * phi,
                    mode="lines",
                    name="±max|α|·φ(r)",
                    legendgroup="envelope",
                    showlegend=sign > 0,
                    line={"color": TEXT, "width": 1.5, "dash": "dash"},
                    hoverinfo="skip",
                )
            )
    kinds = element_pairs(record, index, block)
    unordered = [" ".join(sorted(kind.split(" ← "))) for kind in kinds]
    order = sorted(set(unordered))
    for kind in sorted(set(kinds), key=lambda k: (" ".join(sorted(k.split(" ← "))), k)):
        pick = index[np.array([k == kind for k in kinds])]
        one, other = kind.split(" ← ")
        rank = order.index(" ".join(sorted((one, other))))
        colour = PALETTE[rank % len(PALETTE)]
        shape = ("circle", "diamond", "square")[rank // len(PALETTE) % 3]
        names = [
            f"{one}{i} attends to {other}{j}"
            for i, j in zip(pairs.receiver[pick], pairs.sender[pick], strict=True)
        ]
        figure.add_trace(
            go.Scatter(
                x=pairs.distance[pick],
                y=values[pick],
                mode="markers",
                name=kind,
                text=names,
                customdata=pick,
                marker={
                    "color": colour,
                    "size": 8,
                    "symbol": shape if one <= other else f"{shape}-open",
                    "opacity": 0.9 if len(index) < 500 else 0.5,
                    "line": {"width": 1.5, "color": colour},
                },
                hovertemplate="%{text}<br>%{x:.3f} Å: %{y:+.4f}<extra></extra>",
            )
        )
    low = -1.06 * end if quantity != "contribution" else 0.0
    reach = reach_of(record, pairs.distance[index])
    if local:
        reach = record.cutoff
    figure.update_xaxes(title="distance r (Å)", range=[0, 1.02 * reach])
    figure.update_yaxes(title=AXIS[block][quantity], range=[low, 1.06 * end], zeroline=True)
    name = f"layer {layer % record.n_layers} · {record.channel_names(block)[channel]}"
    styled(figure, height=460, title={"text": f"{block} attention, {name}", "font_size": 14})
    return figure.update_layout(margin_t=48, legend={"orientation": "v", "itemsizing": "constant"})


def nearness_figure(record: AttentionRecord, frame: int = 0, layer: int = 0) -> go.Figure:
    """Every directed pair by its two distances: in space, and in SPHC space.

    The colour is the nearness phi_chi, which the SPHC distance decides. Pairs beyond the dashed
    line are out of the local neighbourhood: those among them that are coloured are far in space and
    near in SPHC space.

    Args:
        record: of a model with a spherical neighbourhood
        frame, layer: count from 0, negative ones from the end
    """
    import plotly.graph_objects as go

    index, pairs = record.pairs(frame, "spherical"), record.spherical
    record.select("spherical", layer)  # refuses a layer that does not exist
    labels = atom_labels(record.numbers[frame])
    names = [
        f"{labels[i]} attends to {labels[j]}"
        for i, j in zip(pairs.receiver[index], pairs.sender[index], strict=True)
    ]
    nearness = pairs.nearness[layer, index]
    figure = go.Figure(
        go.Scatter(
            x=pairs.distance[index],
            y=pairs.sphc_distance[layer, index],
            mode="markers",
            text=names,
            customdata=nearness,
            marker={
                "color": nearness,
                "cmin": 0.0,
                "cmax": 1.0,
                "colorscale": SEQUENTIAL,
                "size": 9,
                "line": {"width": 1, "color": TEXT},
                "colorbar": {"thickness": 12, "outlinewidth": 0, "title": {"text": "nearness"}},
            },
            hovertemplate="%{text}<br>%{x:.2f} Å in space, %{y:.3f} in SPHC space"
            "<br>nearness %{customdata:.3f}<extra></extra>",
            showlegend=False,
        )
    )
    figure.add_vline(x=record.cutoff, line={"dash": "dash", "color": TEXT, "width": 1.5})
    figure.update_xaxes(title="distance r (Å)", rangemode="tozero")
    figure.update_yaxes(title="SPHC distance X (no unit)", rangemode="tozero")
    title = f"who is near whom, layer {layer % record.n_layers}"
    styled(figure, height=460, title={"text": title, "font_size": 14})
    return figure.update_layout(margin_t=48)
