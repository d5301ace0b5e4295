"""Errors over the deviations that were stated for them: on the diagonal where both are equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from so3krates_lite.drawing.look import PALETTE, TEXT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Bins = Float[np.ndarray, "bins"]


def draw_deviations(ax: Axes, curves: Mapping[str, tuple[Bins, Bins]], unit: str = "eV/Å") -> None:
    """Root mean square error over the deviation stated, bin by bin, both logarithmic.

    A curve along the diagonal is calibrated; one that runs beside it is so up to a factor; one that
    is flat tells nothing. Above the diagonal errors are larger than was said.

    Args:
        ax: where to draw
        curves: deviation and error of each bin, by name (`training.calibration.binned`)
        unit: of both
    """
    values = np.concatenate([np.concatenate(pair) for pair in curves.values()])
    ends = np.array([values.min() / 1.3, values.max() * 1.3])
    ax.loglog(ends, ends, color=TEXT, linewidth=1, linestyle="--")
    ax.annotate(
        "error = deviation",
        (ends[0] * 1.2, ends[0] * 1.2),
        (5, -4),
        textcoords="offset points",
        va="top",
        color=TEXT,
        fontsize=8,
    )
    for k, (name, (stated, found)) in enumerate(curves.items()):
        style = {"color": PALETTE[k % len(PALETTE)], "marker": "osD^v"[k % 5], "markersize": 5}
        ax.loglog(stated, found, label=name, **style)
    steps = np.array([m * 10.0**k for k in range(-6, 4) for m in (1, 2, 5)])
    shown = steps[(steps >= ends[0]) & (steps <= ends[1])]
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(shown, [f"{tick:g}" for tick in shown])
    ax.minorticks_off()
    ax.set(xlim=ends, ylim=ends, aspect="equal")
    ax.set(xlabel=f"deviation stated ({unit})", ylabel=f"RMS error ({unit})")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize=9)
