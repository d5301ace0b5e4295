"""Sliders under plotly's figures, which move without Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from so3krates_lite.drawing.look import TEXT
from so3krates_lite.record.attention_record import AttentionRecord

if TYPE_CHECKING:
    import plotly.graph_objects as go


def showing(
    names: Sequence[str], owner: Sequence[int | None], traces: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """A slider's steps, each of which shows its own traces.

    Args:
        names: what the slider says of each step
        owner: the step that shows a trace; None: each does
        traces: whose owners these are, where they are not all
    """
    steps = []
    for shown, name in enumerate(names):
        seen = {"visible": [step in (None, shown) for step in owner]}
        arguments = [seen, list(traces)] if traces else [seen]
        steps.append({"label": name, "method": "restyle", "args": arguments})
    return steps


def layer_slider(
    record: AttentionRecord,
    block: str,
    view: Callable[[int, int], go.Figure],
    values: str,
    digits: int,
) -> go.Figure:
    """The figures ``view(layer, channel)`` of a block under one slider.

    Args:
        values: the key of each trace that differs between them, such as "y"
        digits: to which it is rounded, which keeps a page light
    """
    views = {
        f"{layer} · {name}": view(layer, channel)
        for layer in range(record.n_layers)
        for channel, name in enumerate(record.channel_names(block))
    }
    steps = [
        {
            "label": label,
            "method": "update",
            "args": [
                {values: [np.round(trace[values], digits).tolist() for trace in figure.data]},
                {"title.text": figure.layout.title.text},
            ],
        }
        for label, figure in views.items()
    ]
    current = {"prefix": "layer ", "font": {"color": TEXT}}
    slider = {"steps": steps, "currentvalue": current, "pad": {"t": 44}, "font": {"size": 11}}
    return next(iter(views.values())).update_layout(sliders=[slider], height=560)
