"""Spectra from dynamics above the lines of the Hessian."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float

from so3krates_lite.drawing.look import PALETTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class HasLines(Protocol):
    """A spectrum, such as `simulate.spectra.Spectrum`."""

    wavenumber: Float[np.ndarray, "points"]
    intensity: Float[np.ndarray, "points"]
    unit: str


class Overlay(NamedTuple):
    """The same spectrum from dynamics and, if known, from the Hessian."""

    dynamics: HasLines
    harmonic: HasLines | None


def spectra_figure(spectra: Mapping[str, Overlay], highest: float = 4000.0) -> Figure:
    """A panel for each spectrum: dynamics filled, harmonic lines above it.

    Args:
        spectra: by title; both of an overlay in one unit
        highest: end of the axis, cm^-1
    """
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        len(spectra), 1, figsize=(9.6, 0.6 + 2.6 * len(spectra)), sharex=True, squeeze=False
    )
    for ax, (title, (dynamics, harmonic)) in zip(panels[:, 0], spectra.items(), strict=True):
        x, y = dynamics.wavenumber, dynamics.intensity
        ax.fill_between(x, y, color=PALETTE[0], alpha=0.45, label="dynamics")
        ax.plot(x, y, color=PALETTE[0], lw=0.8)
        if harmonic is not None:
            x, y = harmonic.wavenumber, harmonic.intensity
            ax.plot(x, y, color=PALETTE[4], lw=1, label="harmonic")
        ax.set(title=title, ylabel=dynamics.unit, xlim=(0, highest), ylim=(0, None))
    panels[0, 0].legend()
    panels[-1, 0].set_xlabel("wave number (cm⁻¹)")
    return figure
