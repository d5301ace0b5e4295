"""Progress of a training run: a bar in a terminal, a live curve in a notebook, silence under
test."""

from __future__ import annotations

import io
import math
import sys
import time
from typing import Any, Protocol, runtime_checkable

from so3krates_lite.training.config import TrainConfig
from so3krates_lite.units import KCAL_PER_MOL

Row = dict[str, float]


@runtime_checkable
class Progress(Protocol):
    """What the training loop tells once per epoch."""

    def start(self, metrics: list[Row], settings: TrainConfig) -> None: ...

    def update(self, row: Row) -> None: ...

    def close(self) -> None: ...


def progress_for_here() -> Progress:
    """A live curve in a notebook, else a bar."""
    return NotebookProgress() if _in_notebook() else TerminalProgress()


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell"


def describe(row: Row) -> str:
    """Loss and errors of an epoch in a few words, in kcal/mol."""
    force = row["valid_force_mae_eV_A"] / KCAL_PER_MOL
    energy = row["valid_energy_mae_eV"] / KCAL_PER_MOL
    return (
        f"loss {row['valid_loss']:.2e}, forces {force:.3f} kcal/mol/Å, energy {energy:.3f} kcal/mol"
    )


class Silent:
    """Shows nothing."""

    def start(self, metrics: list[Row], settings: TrainConfig) -> None:
        pass

    def update(self, row: Row) -> None:
        pass

    def close(self) -> None:
        pass


class TerminalProgress(Silent):
    """A bar with validation errors and the time left."""

    def start(self, metrics: list[Row], settings: TrainConfig) -> None:
        from tqdm import tqdm

        self._settings, self._trained_s = settings, 0.0
        total = settings.epochs
        self._bar = tqdm(total=total, initial=len(metrics), unit="epoch", desc="compiling")
        if settings.max_minutes:
            self._bar.total = None  # how many epochs fit into the time is not known yet

    def update(self, row: Row) -> None:
        if self._settings.max_minutes and row["trained_s"] > self._trained_s:
            left = 60 * self._settings.max_minutes - row["trained_s"]
            epochs_left = math.ceil(max(left, 0) / (row["trained_s"] - self._trained_s))
            self._bar.total = min(self._settings.epochs, self._bar.n + 1 + epochs_left)
        self._trained_s = row["trained_s"]
        self._bar.set_description("training", refresh=False)
        self._bar.set_postfix_str(describe(row), refresh=False)
        self._bar.update()

    def close(self) -> None:
        self._bar.close()


class NotebookProgress(Silent):
    """A learning curve that is redrawn at most every two seconds."""

    every_s = 2.0

    def start(self, metrics: list[Row], settings: TrainConfig) -> None:
        from IPython.display import HTML, display

        self._rows = list(metrics)
        self._drawn = 0.0
        self._handle: Any = display(HTML("compiling …"), display_id=True)

    def update(self, row: Row) -> None:
        self._rows.append(row)
        if time.monotonic() - self._drawn > self.every_s:
            self._draw()

    def close(self) -> None:
        if self._rows:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import Image
        from matplotlib.figure import Figure

        from so3krates_lite.drawing.look import PALETTE

        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axes = figure.subplots()
        epochs = [row["epoch"] for row in self._rows]
        for key, label, colour in (
            ("valid_force_mae_eV_A", "force MAE (kcal/mol/Å)", PALETTE[0]),
            ("valid_energy_mae_eV", "energy MAE (kcal/mol)", PALETTE[4]),
        ):
            values = [row[key] / KCAL_PER_MOL for row in self._rows]
            axes.semilogy(epochs, values, label=label, color=colour)
        axes.set(xlabel="epoch", ylabel="validation error", title=describe(self._rows[-1]))
        axes.title.set_fontsize(9)
        axes.legend(frameon=False)
        axes.grid(alpha=0.3, which="both")
        # a finished picture, so that it does not matter which of matplotlib's backends is active
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=120)
        self._handle.update(Image(picture.getvalue(), width=640))
        self._drawn = time.monotonic()
