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

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from so3krates_lite.drawing.look import DIVERGING, PALETTE, SEQUENTIAL, TEXT, styled
from so3krates_lite.errors import UserError
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.blocks import BLOCKS
from so3krates_lite.record.wording import AXIS, atom_labels, element_pairs, scale_limit

if TYPE_CHECKING:
    import plotly.graph_objects as go


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
    """The cutoff function φ(r) of the model on a grid from 0 to the cutoff.

    Returns r (Å) and φ, each of shape (points,).
    """
    if not np.isfinite(record.cutoff):
        raise UserError("This record's model has no cutoff, and so no cutoff curve.")
    from so3krates_lite.basis import CUTOFFS  # imported here: it brings jax along
    from so3krates_lite.runtime.settings import precision_context

    r = np.linspace(0.0, record.cutoff, points)
    with precision_context(np.dtype(np.float64)):
        return r, np.asarray(CUTOFFS[record.cutoff_kind](r, record.cutoff))


def reach_of(record: AttentionRecord, distance: Float[np.ndarray, "pairs"]) -> float:
    """Å to show of a distance axis: all pairs, and the cutoff, if there is one."""
    return float(np.max(distance, initial=record.cutoff if np.isfinite(record.cutoff) else 1.0))


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
    pairs, local = record.neighbours(block), BLOCKS[block].listed == "local"
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
