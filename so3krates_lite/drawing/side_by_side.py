"""Figures that set views against each other, or attention against its effect.

Two matrices and their difference, and the question whether attention matters: each says below it
what its numbers are, on which scale, and what may not be read from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from so3krates_lite.drawing.all_layers import (
    _captioned,
    _colours,
    _end,
    _matrix,
    _matrix_axes,
    _panels,
    is_signed,
    view_name,
)
from so3krates_lite.drawing.look import PALETTE
from so3krates_lite.errors import UserError
from so3krates_lite.record import analysis
from so3krates_lite.record.analysis import Choices
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.wording import AXIS, FORMULA, atom_labels

if TYPE_CHECKING:
    import plotly.graph_objects as go


def comparison(
    record_a: AttentionRecord,
    record_b: AttentionRecord,
    choose_a: Mapping[str, Any] | None = None,
    choose_b: Mapping[str, Any] | None = None,
    *,
    names: tuple[str, str] = ("A", "B"),
    shared: bool | None = None,
    limit: float | None = None,
) -> go.Figure:
    """Two matrices and their difference A − B: heads, layers, frames, models or architectures.

    Args:
        choose_a, choose_b: as for `analysis.difference`.
        names: what to call the two.
        shared: True: one scale for all three panels, where a colour is the same number. False: each
            side as a part of its own largest size, and A − B of these parts; the hover tells the
            numbers. By default shared where block, quantity and ways of combining are the same, so
            that an untrained model's weak attention looks weak.
        limit: end of a shared scale; by default the larger one of the two sides.
    """
    records = record_a, record_b
    A, B = sides = [Choices.of(c, r) for c, r in zip((choose_a, choose_b), records, strict=True)]
    if shared is None:
        kinds = [[w for w in side[:4] if isinstance(w, str)] for side in sides]
        shared = kinds[0] == kinds[1]
    ends = [side.limit(record) or 1.0 for side, record in zip(sides, records, strict=True)]
    end = _end(limit, max(ends)) if shared else 1.0
    A_less_B = analysis.difference(*records, A._asdict(), B._asdict(), relative=not shared)
    signed = all(is_signed(s.quantity, s.layer, s.channel, s.frame) for s in sides)
    labels = atom_labels(record_a.numbers[0 if isinstance(A.frame, str) else A.frame])
    titles = [
        "<br>".join([f"{name}: {s.block}", *view_name(r, s.block, s.layer, s.channel).split(" · ")])
        for name, r, s in zip(names, records, sides, strict=True)
    ]
    names = (*names, f"{names[0]} − {names[1]}")
    figure = _panels([*titles, names[2]], 0.06)
    for n, name in enumerate(names):
        if n == 2:
            panel = _matrix(A_less_B, labels, name, "coloraxis" if signed else "coloraxis2")
        else:
            raw = analysis.matrix(records[n], **sides[n]._asdict())
            z = (
                (raw, labels, name, "coloraxis")
                if shared
                else (raw / ends[n], labels, name, "coloraxis", raw)
            )
            panel = _matrix(*z)
        figure.add_trace(panel, row=1, col=n + 1)
        _matrix_axes(figure, labels, 1, n + 1)
    figure.update_xaxes(tickfont_size=10).update_yaxes(tickfont_size=10)
    unit = AXIS[A.block][A.quantity] if shared else "part of its own largest size"
    scales = {"coloraxis": _colours(end, signed, unit)}
    if not signed:
        unit = "<br>".join(wrap(unit, 24))
        scales["coloraxis"] = _colours(end, False, unit, len=0.48, y=0.76)
        scales["coloraxis2"] = _colours(end, True, "difference", len=0.48, y=0.24)
    formulas = [FORMULA[side.block][side.quantity] for side in sides]
    about = "; ".join(f"{name}: {text}" for name, text in zip(names[:2], formulas, strict=True))
    about = formulas[0] if formulas[0] == formulas[1] else about
    fixed = "over all layers, channels and frames"
    scale = f"One scale for all three, to {end:.3g}, the largest size of either {fixed}."
    if not shared:
        scale = (
            f"Two scales, each centred on zero: colour 1 is {ends[0]:.3g} in {names[0]} and "
            f"{ends[1]:.3g} in {names[1]}, its largest {fixed}; {names[2]} is of these parts."
        )
    if beyond := sum(int((np.abs(t.z) > end * (1 + 1e-9)).sum()) for t in figure.data):
        scale += f" {beyond} cell(s) lie beyond the end and have its colour."
    caption = f"Rows ask, columns answer. Shown: {about}. {scale}"
    _captioned(figure, "two views and their difference", caption, 350, room=44, **scales)
    return figure.update_xaxes(ticks="").update_yaxes(ticks="").update_layout(margin_t=104)


def causal_figure(
    attention: Float[np.ndarray, "pairs"],
    effect: Float[np.ndarray, "pairs"],
    sensitivity: Float[np.ndarray, "pairs"] | None = None,
    labels: Sequence[str] | None = None,
    *,
    effect_name: str = "effect of switching it off on the forces (eV/Å)",
    attention_name: str = "size of attention (no unit)",
) -> go.Figure:
    """Does attention matter? Its size against what switching it off changes, per directed pair.

    Args:
        attention: any sign; its size is drawn.
        effect: of switching that pair off, any sign; its size is drawn.
        sensitivity: |dF_i / dr_j| of the same pairs, eV/Å²: how the force on the one that asks
            follows the place of the one that answers. With it, a second panel.
        labels: a name of each pair for the hover.

    Raises:
        UserError: the arrays are not one number for each pair.
    """
    import plotly.graph_objects as go

    from so3krates_lite.record.ranking import rank_correlation, verdict

    x = np.abs(np.asarray(attention, float))
    panels = {effect_name: effect}
    if sensitivity is not None:
        panels["sensitivity |dF/dr| (eV/Å²)"] = sensitivity
    names = [f"pair {n}" for n in range(x.size)] if labels is None else list(labels)
    figure, ranks = _panels([""] * len(panels), 0.13), []
    for col, (name, values) in enumerate(panels.items(), start=1):
        y = np.abs(np.asarray(values, float))
        if x.ndim != 1 or y.shape != x.shape or not np.isfinite([x, y]).all():
            raise UserError(
                f"{name}: found shape {y.shape} for attention of shape {x.shape}; expected is one "
                "finite number for each pair."
            )
        try:
            ranks.append(rank_correlation(x, y))
        except UserError:  # fewer than three pairs, or all of one size
            ranks.append(None)
        marker = {"color": PALETTE[(0, 4)[col - 1]], "size": 8, "opacity": 0.75}
        hover = "%{text}<br>attention %{x:.4g}: %{y:.4g}<extra></extra>"
        dots = {"mode": "markers", "text": names, "hovertemplate": hover, "showlegend": False}
        figure.add_trace(go.Scatter(x=x, y=y, marker=marker, **dots), row=1, col=col)
        top = 1.06 * y.max(initial=0.0) or 1.0
        figure.update_yaxes(title=name, range=[-0.02 * top, top], row=1, col=col)
    reach = 1.06 * x.max(initial=0.0) or 1.0
    figure.update_xaxes(title=attention_name, range=[-0.02 * reach, reach])
    stated = ["not defined" if rank is None else f"{rank:+.2f}" for rank in ranks]
    title = f"attention against effect: Spearman's rank correlation {stated[0]}"
    caption = f"{x.size} directed pairs: attention or effect has one size for all, and so no order."
    if ranks[0] is not None:
        caption = verdict(ranks[0], x.size)
    if len(panels) > 1:
        title += f"; against sensitivity {stated[1]}"
        caption += (
            " Sensitivity is one number for both directions of a pair and sums up every way by "
            "which one atom acts on the other, with or without attention."
        )
    return _captioned(figure, title, caption, 400)
