"""Curves of how good a model is: errors while it learns, and predicted against reference values.

Errors shrink by factors, not by amounts, so a learning curve has a logarithmic axis. In a parity
plot a good model is a thin diagonal on which nothing can be read any more; the errors are therefore
drawn a second time below it, on a scale of their own. The look is that of
:mod:`so3krates_lite.drawing.figures`, and plotly is imported only when a figure is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from so3krates_lite.drawing.look import PALETTE, TEXT, styled
from so3krates_lite.errors import UserError

if TYPE_CHECKING:
    import plotly.graph_objects as go


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
