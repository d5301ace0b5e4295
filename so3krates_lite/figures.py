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

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

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
FORMULA = {
    "coefficient": "α = q·w·k / √f, before the cutoff",
    "weighted": "α · φ(r), the factor in front of the message",
    "contribution": "norm of what the pair adds to the receiver",
}
AXIS = {
    "coefficient": "attention coefficient α (dimensionless)",
    "weighted": "attention α·φ(r) (dimensionless)",
    "contribution": "size of the contribution (model units)",
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def atom_labels(numbers: Sequence[int]) -> list[str]:
    """Element and index, counted from 0 as in the arrays: ``C0``, ``C1``, ``O2`` …"""
    from ase.data import chemical_symbols

    return [f"{chemical_symbols[int(z)]}{i}" for i, z in enumerate(numbers) if z > 0]


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
    )
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure.update_layout(**layout)


def _columns(metrics) -> dict[str, np.ndarray]:
    if not isinstance(metrics, Mapping):
        rows = list(metrics)
        names = list(dict.fromkeys(name for row in rows for name in row))
        metrics = {name: [row.get(name) for row in rows] for name in names}

    def number(value) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            return np.nan  # an empty cell of a CSV file: not measured in this epoch

    return {name: np.array([number(v) for v in values]) for name, values in metrics.items()}


def learning_curve(metrics: Sequence[Mapping] | Mapping[str, Sequence]) -> go.Figure:
    """Energy and force MAE against the epoch, on logarithmic axes, one panel for each.

    Args:
        metrics: rows of a run's ``metrics.csv`` (as ``csv.DictReader`` gives them), or a mapping
            of columns. Read are ``epoch`` and every ``{train,valid}_{energy,force}_mae_<unit>``
            with unit ``eV``, ``eV_A``, ``meV`` …; where there is none, the two losses.

    Raises:
        UserError: there is no column ``epoch``, or nothing to draw.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    columns = _columns(metrics)
    if "epoch" not in columns:
        raise UserError(f"Metrics need a column 'epoch'; found {', '.join(columns) or 'nothing'}.")
    panels: dict[str, list[tuple[str, str]]] = {}
    for kind in ("force", "energy"):
        for name in columns:
            part, _, unit = name.partition(f"_{kind}_mae_")
            if part in ("train", "valid") and unit and np.isfinite(columns[name]).any():
                unit = (
                    unit.replace("eV_A", "eV/Å").replace("kcal_mol", "kcal/mol").replace("_", "/")
                )
                panels.setdefault(f"{kind} MAE ({unit})", []).append((part, name))
    if not panels:
        losses = [(part, f"{part}_loss") for part in ("train", "valid")]
        panels = {"loss (dimensionless)": [p for p in losses if p[1] in columns]}
    if not any(panels.values()):
        raise UserError(f"No energy, force or loss column among the metrics: {', '.join(columns)}.")

    figure = make_subplots(rows=len(panels), cols=1, shared_xaxes=True, vertical_spacing=0.07)
    look = {"train": (PALETTE[0], "dot", "training"), "valid": (PALETTE[4], "solid", "validation")}
    seen: set[str] = set()
    for row, (title, curves) in enumerate(panels.items(), start=1):
        for part, name in curves:
            colour, dash, label = look[part]
            known = np.isfinite(columns[name]) & (columns[name] > 0)
            figure.add_trace(
                go.Scatter(
                    x=columns["epoch"][known],
                    y=columns[name][known],
                    name=label,
                    legendgroup=part,
                    showlegend=part not in seen,
                    mode="lines+markers" if known.sum() < 40 else "lines",
                    line={"color": colour, "width": 2, "dash": dash},
                    hovertemplate="epoch %{x}: %{y:.4g}<extra>" + label + "</extra>",
                ),
                row=row,
                col=1,
            )
            seen.add(part)
        figure.update_yaxes(title=title, type="log", row=row, col=1, exponentformat="power")
        figure.update_yaxes(dtick="D2", row=row, col=1)
    figure.update_xaxes(title="epoch", row=len(panels), col=1)
    legend = {"x": 0.99, "xanchor": "right", "y": 0.99, "yanchor": "top"}
    return styled(figure, height=200 + 170 * len(panels), legend=legend)


def parity(
    reference: np.ndarray,
    predicted: np.ndarray,
    *,
    quantity: str = "force",
    unit: str = "eV",
    max_points: int = 4000,
) -> go.Figure:
    """Predicted against reference values, and the errors below on their own scale.

    Args:
        reference, predicted: energies (eV) or force components (eV/Å), any equal shape.
        quantity: ``'force'`` or ``'energy'``. Energies are shown relative to the reference mean.
        unit: an energy unit such as ``'eV'`` or ``'kcal/mol'``; forces are that per Å.
        max_points: at most so many points are drawn (every n-th); MAE and RMSE use all.

    Raises:
        UserError: shapes differ, nothing to show, or an unknown quantity or unit.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    from so3krates_lite.units import ENERGY_UNITS, convert

    if quantity not in ("force", "energy"):
        raise UserError(f"Unknown quantity '{quantity}': choose 'force' or 'energy'.")
    if unit not in ENERGY_UNITS:
        raise UserError(f"Unknown unit '{unit}': choose one of {', '.join(ENERGY_UNITS)}.")
    if np.shape(reference) != np.shape(predicted) or not np.size(reference):
        raise UserError(
            f"Parity needs two arrays of one shape, found {np.shape(reference)} "
            f"and {np.shape(predicted)}."
        )
    x, y = (convert(np.ravel(values), "eV", unit) for values in (reference, predicted))
    if quantity == "energy":
        x, y = x - x.mean(), y - x.mean()
    error = y - x
    label = unit if quantity == "energy" else f"{unit}/Å"
    what = "energy − mean" if quantity == "energy" else "force component"
    step = max(1, -(-x.size // max_points))
    shown = slice(None, None, step)

    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.72, 0.28], vertical_spacing=0.05
    )
    ends = np.array([min(x.min(), y.min()), max(x.max(), y.max())])
    ends = ends + np.array([-0.04, 0.04]) * (np.ptp(ends) or 1.0)
    line = {"color": TEXT, "width": 1.2, "dash": "dash"}
    for row, level in ((1, ends), (2, np.zeros(2))):
        figure.add_trace(
            go.Scatter(x=ends, y=level, mode="lines", line=line, hoverinfo="skip"), row=row, col=1
        )
    marker = {"color": PALETTE[0], "size": 5, "opacity": 0.45 if x.size > 300 else 0.75}
    for row, values, name in ((1, y, "predicted"), (2, error, "error")):
        figure.add_trace(
            go.Scatter(
                x=x[shown].astype(np.float32),
                y=values[shown].astype(np.float32),
                mode="markers",
                marker=marker,
                hovertemplate=f"reference %{{x:.4g}} {label}<br>{name} %{{y:.4g}} {label}"
                "<extra></extra>",
            ),
            row=row,
            col=1,
        )
    text = (
        f"MAE {np.abs(error).mean():.3g} {label}<br>RMSE {np.sqrt((error**2).mean()):.3g} {label}"
        f"<br>{x.size:,} values" + (f", 1 in {step} drawn" if step > 1 else "")
    )
    figure.add_annotation(
        text=text,
        xref="x domain",
        yref="y domain",
        x=0.02,
        y=0.98,
        align="left",
        showarrow=False,
        font={"size": 13},
    )
    bound = 1.08 * np.abs(error).max() or 1.0
    figure.update_xaxes(range=ends)
    figure.update_xaxes(title=f"reference {what} ({label})", row=2, col=1)
    figure.update_yaxes(title=f"predicted ({label})", range=ends, row=1, col=1)
    figure.update_yaxes(title=f"error ({label})", range=[-bound, bound], nticks=4, row=2, col=1)
    return styled(figure, height=540, showlegend=False)


def scale_limit(
    record: AttentionRecord, block: str, quantity: str, limit: float | None = None
) -> float:
    """End of the colour scale: ``limit`` if given, else the largest size in the whole block."""
    if limit is not None and not (np.isfinite(limit) and limit > 0):
        raise UserError(f"limit is {limit}: the end of a colour scale must be more than 0.")
    return limit or record.limit(block, quantity) or 1.0


def attention_matrix(
    record: AttentionRecord,
    frame: int = 0,
    block: str = "feature",
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
    figure.data[0].colorbar.title.text = AXIS[quantity]
    styled(figure, height=460, title={"text": f"{block} attention, {name}", "font_size": 14})
    return figure.update_xaxes(ticks="").update_yaxes(ticks="").update_layout(margin_t=48)


def cutoff_curve(record: AttentionRecord, points: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """The cutoff function φ(r) on a grid, read off the record itself.

    φ is ``weighted / coefficient`` of feature attention, which is local in every variant. The
    known ends φ(0) = 1 and φ(cutoff) = 0 are added, and a monotone cubic joins the points.
    Returns r (Å) and φ, each of shape (points,).
    """
    from scipy.interpolate import PchipInterpolator

    a = record.feature.coefficient.reshape(-1, record.distance.size, record.feature.n_channels)
    a = np.moveaxis(a, 1, 0).reshape(record.distance.size, -1)
    b = np.moveaxis(record.feature.weighted, 1, 0).reshape(record.distance.size, -1)
    best = np.abs(a).argmax(axis=1) if a.size else np.zeros(0, dtype=int)
    rows = np.arange(len(best))
    good = (np.abs(a[rows, best]) > 1e-6) & (record.distance < 0.995 * record.cutoff)
    r = record.distance[good]
    phi = b[rows, best][good] / a[rows, best][good]
    # one value per 0.02 Å, so that a trajectory costs no more than a frame
    bins, where = np.unique(np.round(r / 0.02).astype(int), return_inverse=True)
    count = np.bincount(where, minlength=len(bins))
    r = np.bincount(where, r, minlength=len(bins)) / count
    phi = np.bincount(where, phi, minlength=len(bins)) / count
    grid = np.linspace(0.0, record.cutoff, points)
    curve = PchipInterpolator(np.r_[0.0, r, record.cutoff], np.r_[1.0, phi, 0.0])
    return grid, np.clip(curve(grid), 0.0, 1.0)


def element_pairs(record: AttentionRecord, index: np.ndarray) -> list[str]:
    """``C ← H`` (C asks, H answers) for each chosen directed pair."""
    from ase.data import chemical_symbols as symbols

    z_i = record.numbers[record.frame[index], record.receiver[index]]
    z_j = record.numbers[record.frame[index], record.sender[index]]
    return [f"{symbols[i]} ← {symbols[j]}" for i, j in zip(z_i, z_j, strict=True)]


def attention_against_distance(
    record: AttentionRecord,
    frame: int | None = None,
    block: str = "feature",
    layer: int = 0,
    channel: int = 0,
    quantity: str = "weighted",
    *,
    limit: float | None = None,
    max_points: int = 5000,
) -> go.Figure:
    """Attention of each directed pair against its distance, coloured by element pair.

    Full and open markers of one colour are the two directions of the same two elements. For
    ``weighted``, grey lines show ±max|α|·φ(r), which no pair of this layer and channel can leave
    (non-local pairs of the geometric block excepted).

    Args:
        frame: one frame, or None for all frames of the record (every n-th pair if too many).
        limit: half height of the fixed axis; by default the block's largest size.
    """
    import plotly.graph_objects as go

    end = scale_limit(record, block, quantity, limit)
    values = record.select(block, layer, channel, quantity)
    index = np.arange(len(values)) if frame is None else record.pairs(frame)
    strongest = np.abs(record.select(block, layer, channel, "coefficient")[index]).max(initial=0.0)
    index = index[:: max(1, -(-len(index) // max_points))]
    figure = go.Figure()
    if quantity == "weighted" and len(index):
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
    kinds = element_pairs(record, index)
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
            for i, j in zip(record.receiver[pick], record.sender[pick], strict=True)
        ]
        figure.add_trace(
            go.Scatter(
                x=record.distance[pick],
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
    far = max(record.cutoff, float(record.distance[index].max(initial=0.0)))
    figure.update_xaxes(title="distance r (Å)", range=[0, 1.02 * far])
    figure.update_yaxes(title=AXIS[quantity], range=[low, 1.06 * end], zeroline=True)
    name = f"layer {layer % record.n_layers} · {record.channel_names(block)[channel]}"
    styled(figure, height=460, title={"text": f"{block} attention, {name}", "font_size": 14})
    return figure.update_layout(margin_t=48, legend={"orientation": "v", "itemsizing": "constant"})
