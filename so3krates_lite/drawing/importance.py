"""Figures of what matters inside a network: curves of deletion, parts by atoms, probes, maps.

Plain functions from arrays; what they mean is said where they are computed, in `interpret`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from so3krates_lite.drawing.look import (
    GRID,
    MAGNITUDE,
    PALETTE,
    SEQUENTIAL,
    TEXT,
    parts_of_colour,
    styled,
)
from so3krates_lite.errors import UserError

if TYPE_CHECKING:
    import plotly.graph_objects as go

# what is tested stands out, what it is measured by is grey
DASHES = {"distance": "dash", "random": "dot", "one by one, energy": "dashdot"}
DASHES |= {"one by one, forces": "dashdot"}


def deletion_curves(
    fraction: Float[np.ndarray, "steps"],
    deletion: Mapping[str, Float[np.ndarray, "frames steps"]],
    insertion: Mapping[str, Float[np.ndarray, "frames steps"]],
    *,
    answer: str = "forces",
    bands: Sequence[str] = ("attention", "random"),
    title: str = "",
) -> go.Figure:
    """Two panels: pairs taken away in each method's order, and pairs put back in it.

    Lines are means over frames, bands of the methods ``bands`` one standard deviation to each side.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    names = ("pairs taken away", "pairs put back")
    figure = make_subplots(cols=2, subplot_titles=names, horizontal_spacing=0.09)
    coloured = [name for name in deletion if name not in DASHES]
    for name in deletion:
        plain = name in DASHES
        colour = TEXT if plain else PALETTE[coloured.index(name) % len(PALETTE)]
        line = {"color": colour, "width": 1.6 if plain else 2.4, "dash": DASHES.get(name, "solid")}
        for col, curves in enumerate((deletion[name], insertion[name]), start=1):
            mean, spread = curves.mean(axis=0), curves.std(axis=0)
            if name in bands and len(curves) > 1:
                red, green, blue, _ = parts_of_colour(colour)
                shade = f"rgba({red * 255:.0f},{green * 255:.0f},{blue * 255:.0f},0.16)"
                figure.add_trace(
                    go.Scatter(
                        x=np.concatenate([fraction, fraction[::-1]]),
                        y=np.concatenate([mean + spread, (mean - spread)[::-1]]),
                        fill="toself",
                        fillcolor=shade,
                        line={"width": 0},
                        legendgroup=name,
                        showlegend=False,
                        hoverinfo="skip",
                    ),
                    row=1,
                    col=col,
                )
            figure.add_trace(
                go.Scatter(
                    x=fraction,
                    y=mean,
                    mode="lines",
                    line=line,
                    name=name,
                    legendgroup=name,
                    showlegend=col == 1,
                    hovertemplate=f"%{{x:.0%}} of the pairs: %{{y:.3f}}<extra>{name}</extra>",
                ),
                row=1,
                col=col,
            )
    figure.update_xaxes(title="share of the pairs", tickformat=".0%", range=[0, 1])
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title=f"change of {answer} / change with none", col=1)
    figure.update_annotations(font_size=13)
    head = {"title": {"text": title, "font_size": 14}} if title else {}
    styled(figure, height=420, margin_t=72 if title else 44, **head)
    return figure.update_layout(legend={"orientation": "h", "y": -0.24, "itemsizing": "trace"})


def many_body_bars(
    sizes: Mapping[str, Float[np.ndarray, "_orders"]], *, title: str = ""
) -> go.Figure:
    """Typical size of the parts of one atom, of two, …, for one or several models; eV."""
    import plotly.graph_objects as go

    if not sizes:
        raise UserError("There is nothing to draw: give the sizes of at least one model.")
    figure = go.Figure()
    for n, (name, size) in enumerate(sizes.items()):
        figure.add_trace(
            go.Scatter(
                x=np.arange(1, len(size) + 1),
                y=size,
                mode="lines+markers",
                name=name,
                line={"color": PALETTE[n % len(PALETTE)], "width": 2},
                marker={"size": 7},
                hovertemplate="%{x} atoms: %{y:.3g} eV<extra>" + name + "</extra>",
            )
        )
    figure.update_xaxes(title="atoms in the part", dtick=1)
    figure.update_yaxes(title="root mean square of the parts (eV)", type="log", dtick=1)
    figure.update_yaxes(exponentformat="power")
    head = {"title": {"text": title, "font_size": 14}} if title else {}
    return styled(
        figure, height=400, showlegend=len(sizes) > 1, margin_t=56 if title else 28, **head
    )


def probe_map(
    scores: Float[np.ndarray, "targets places"],
    targets: Sequence[str],
    places: Sequence[str],
    *,
    title: str = "",
) -> go.Figure:
    """What is known where: one row per target, one column per layer and kind of features.

    1 is known exactly, 0 no better than guessing; what is below is drawn as 0.
    """
    import plotly.graph_objects as go

    text = [["" if np.isnan(v) else f"{v:.2f}" for v in row] for row in scores]
    figure = go.Figure(
        go.Heatmap(
            z=np.where(np.isnan(scores), np.nan, np.clip(scores, 0, 1)),
            x=list(places),
            y=list(targets),
            zmin=0,
            zmax=1,
            colorscale=SEQUENTIAL,
            text=text,
            texttemplate="%{text}",
            xgap=1,
            ygap=1,
            hovertemplate="%{y} from %{x}: %{text}<extra></extra>",
            colorbar={"thickness": 12, "outlinewidth": 0, "title": {"text": "held out"}},
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    figure.update_xaxes(showgrid=False, ticks="", tickangle=-45)
    head = {"title": {"text": title, "font_size": 14}} if title else {}
    height = 150 + 34 * len(targets)
    figure = styled(figure, height=height, margin_t=56 if title else 28, **head)
    return figure.update_yaxes(ticks="").update_xaxes(ticks="")


def sphc_map(
    places: Float[np.ndarray, "atoms 2"],
    kinds: Sequence[str],
    names: Sequence[str],
    *,
    shares: Sequence[float] = (),
    title: str = "",
) -> go.Figure:
    """Atoms by the first two principal components of their chi, coloured by what they are.

    Args:
        places: from `interpret.similarity.principal`
        kinds: what decides the colour: an element, or surroundings in words
        names: of each atom, for the pointer
        shares: of the variance, along both axes
    """
    import plotly.graph_objects as go

    figure, kinds = go.Figure(), np.array(kinds)
    symbols = ("circle", "diamond", "square", "cross")
    for n, kind in enumerate(dict.fromkeys(sorted(kinds.tolist()))):
        pick = np.flatnonzero(kinds == kind)
        figure.add_trace(
            go.Scatter(
                x=places[pick, 0],
                y=places[pick, 1],
                mode="markers",
                name=kind,
                text=[names[k] for k in pick],
                marker={
                    "color": PALETTE[n % len(PALETTE)],
                    "symbol": symbols[n // len(PALETTE) % len(symbols)],
                    "size": 6 if len(kinds) > 300 else 8,
                    "opacity": 0.6 if len(kinds) > 300 else 0.85,
                },
                hovertemplate="%{text}<extra>" + kind + "</extra>",
            )
        )
    told = [f" ({share:.0%} of the variance)" for share in shares] or ["", ""]
    figure.update_xaxes(title=f"first component{told[0]}", zeroline=False)
    figure.update_yaxes(title=f"second component{told[1]}", zeroline=False)
    head = {"title": {"text": title, "font_size": 14}} if title else {}
    return styled(figure, height=460, margin_t=56 if title else 28, **head)


def near_and_far(
    distance: Float[np.ndarray, "pairs"],
    apart: Float[np.ndarray, "pairs"],
    names: Sequence[str],
    *,
    same: Sequence[bool] = (),
    title: str = "",
) -> go.Figure:
    """Pairs of atoms by their distance in space and how far apart their surroundings are.

    Args:
        distance: Å
        apart: between the chi of both
        names: of each pair
        same: which pairs are of one element; they are drawn bold
    """
    import plotly.graph_objects as go

    marked = np.array(same, bool) if len(same) else np.ones(len(distance), bool)
    figure = go.Figure()
    for pick, name, colour in (
        (~marked, "different elements", GRID),
        (marked, "same element", MAGNITUDE),
    ):
        figure.add_trace(
            go.Scatter(
                x=distance[pick],
                y=apart[pick],
                mode="markers",
                name=name,
                text=[names[k] for k in np.flatnonzero(pick)],
                marker={"color": colour, "size": 7},
                hovertemplate="%{text}<br>%{x:.2f} Å in space, %{y:.3f} in SPHC space"
                "<extra></extra>",
            )
        )
    figure.update_xaxes(title="distance in space (Å)", rangemode="tozero")
    figure.update_yaxes(title="distance of surroundings, in SPHC space", rangemode="tozero")
    head = {"title": {"text": title, "font_size": 14}} if title else {}
    shown = bool(len(same))
    return styled(figure, height=420, showlegend=shown, margin_t=56 if title else 28, **head)
