"""The picture of errors over deviations shows what it was given, beside the diagonal."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from so3krates_lite.drawing.deviations import draw_deviations


def test_every_curve_is_drawn_beside_the_diagonal_on_equal_axes():
    stated = np.array([0.01, 0.02, 0.1])
    curves = {"four members": (stated, 2 * stated), "last layer": (3 * stated, stated)}
    ax = Figure().subplots()
    draw_deviations(ax, curves)
    diagonal, *lines = ax.lines
    assert np.array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    for line, (name, (x, y)) in zip(lines, curves.items(), strict=True):
        assert line.get_label() == name
        assert np.array_equal(line.get_xdata(), x) and np.array_equal(line.get_ydata(), y)
    assert ax.get_xscale() == ax.get_yscale() == "log" and ax.get_xlim() == ax.get_ylim()
    assert "eV/Å" in ax.get_xlabel()
