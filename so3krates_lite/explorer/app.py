"""The explorer in a notebook: linked views of one record, each a plain redraw of one state."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np
import traitlets

from so3krates_lite.ensemble import Ensemble, load_potential
from so3krates_lite.errors import UserError
from so3krates_lite.explorer import drawing
from so3krates_lite.explorer.panel import Molecule, Panel, Together
from so3krates_lite.explorer.state import ViewState, after_pick, colours_of, followed
from so3krates_lite.explorer.testing import ROW, Testing
from so3krates_lite.potential import Potential
from so3krates_lite.record import wording
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.parts import QUANTITIES
from so3krates_lite.record.ranking import strongest_channel
from so3krates_lite.report.write import write_report
from so3krates_lite.structures.frames import Frames

if TYPE_CHECKING:
    from ase import Atoms

log = logging.getLogger(__name__)

QUANTITY_NAMES = {
    "weighted": "attention",
    "coefficient": "raw coefficient",
    "contribution": "size of the contribution",
}
ALL = -1  # of a dropdown; the value None would choose nothing there
ROLE_NAMES = {"receiver": "what it attends to", "sender": "who attends to it"}


class Explorer(widgets.VBox):
    """Linked views of attention: the molecule in 3D, the matrix, plots, the frames.

    ``state`` holds all choices; setting it redraws every view. Two explorers are linked by
    `link_to`, a state is kept by ``state.save`` and taken up by assigning what `ViewState.load`
    gives.

    Args:
        record: what is explored
        potential, frames: where it comes from, for the views that compute anew; None: those are
            left out
        along, along_title: one number per frame for the view over frames, and what it is
        title: a heading
    """

    state = traitlets.Instance(ViewState)

    def __init__(
        self,
        record: AttentionRecord,
        potential: Potential | None = None,
        frames: Frames | None = None,
        *,
        along: np.ndarray | None = None,
        along_title: str = "",
        title: str = "",
    ) -> None:
        self.record, self.potential, self.frames = record, potential, frames
        self.along, self.along_title, self.title = along, along_title, title
        self.redraw_ms: dict[str, float] = {}  # of the last redraw, by view, on this side
        self._quiet = False
        layer, channel = strongest_channel(record)
        self._message = widgets.HTML()
        self._said = widgets.HTML()
        self._make_controls()
        self._make_views()
        self._together = Together()
        self._together.observe(self._guarded(lambda change: self.redraw()), "ready")
        super().__init__(self._layout_children())
        self.state = ViewState(record.blocks[0], layer, channel).checked(record)

    # -- parts ------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        record = self.record

        def dropdown(name: str, options) -> widgets.Dropdown:
            box = widgets.Dropdown(
                options=options, description=name, layout={"width": "auto", "min_width": "120px"}
            )
            box.style.description_width = "auto"
            return box

        self.controls: dict[str, widgets.Widget] = {
            "block": dropdown("block", list(record.blocks)),
            "layer": dropdown("layer", [(f"{k}", k) for k in range(record.n_layers)]),
            "channel": dropdown("channel", [("", 0)]),
            "quantity": dropdown("shown", [(QUANTITY_NAMES[q], q) for q in QUANTITIES]),
            "colour": dropdown("atoms by", colours_of(record)),
            "atom": dropdown("atom", [("all", ALL)]),
            "role": dropdown("role", [(text, role) for role, text in ROLE_NAMES.items()]),
            "threshold": widgets.FloatSlider(
                min=0, max=0.5, step=0.01, description="hide below", readout_format=".0%"
            ),
            "frame": widgets.IntSlider(min=0, max=len(record) - 1, description="frame"),
        }
        self.controls["quantity"].value = "weighted"
        self.controls["block"].layout.display = None if len(record.blocks) > 1 else "none"
        if len(colours_of(record)) == 1:
            self.controls["colour"].layout.display = "none"
        self._play = widgets.Play(min=0, max=len(record) - 1, interval=150)
        # no link in the browser: each would tell the kernel what it has just heard from it
        self._play.observe(self._guarded(lambda change: self._set("frame", change["new"])), "value")
        self._freed = widgets.Checkbox(description="own scale for this view", indent=False)
        for name, box in self.controls.items():
            box.observe(self._guarded(lambda change, n=name: self._set(n, change["new"])), "value")
        self._freed.observe(self._guarded(lambda change: self._free(change["new"])), "value")

    def _make_views(self) -> None:
        self.molecule = Molecule(self._guarded(self._pick_atom))
        self._still = widgets.HTML()
        self.panels = {
            "matrix": Panel(height=420),
            "overview": Panel(height=400),
            "distance": Panel(height=360),
        }
        if self.record.sphc is not None:
            self.panels["sphc"] = Panel(height=360)
        if len(self.record) > 1:
            self.panels["series"] = Panel(height=260)
        for panel in self.panels.values():
            panel.observe(self._guarded(lambda change: self._pick(change["new"])), "picked")
        self.panels["matrix"].observe(self._guarded(self._told_of_webgl), "webgl")
        self.tests = Testing(self)

    def _layout_children(self) -> list[widgets.Widget]:
        box = self.controls
        names = ("block", "layer", "channel", "quantity", "colour", "atom", "role", "threshold")
        chosen = widgets.Box([*(box[name] for name in names), self._freed], layout=ROW)
        half = {"flex": "1 1 420px", "min_width": "360px"}

        def side_by_side(*views: widgets.Widget) -> widgets.Box:
            boxes = [widgets.VBox([view], layout=half) for view in views]
            return widgets.Box(boxes, layout=ROW | {"align_items": "flex-start"})

        self._stage = widgets.VBox([self.molecule.widget])
        children: list[widgets.Widget] = []
        if self.title:
            children.append(widgets.HTML(f"<h3 style='margin:0'>{escape(self.title)}</h3>"))
        children += [chosen]
        if len(self.record) > 1:
            children.append(widgets.HBox([self._play, box["frame"]]))
        children += [
            self._message,
            side_by_side(self._stage, self.panels["matrix"]),
            self._said,
            side_by_side(self.panels["distance"], self.panels.get("sphc", self.panels["overview"])),
        ]
        last = [self.panels["overview"]] if "sphc" in self.panels else []
        children += [side_by_side(*last, self.tests), self.tests.plots]
        if "series" in self.panels:
            children.append(self.panels["series"])
        children.append(self._formulas())
        return children

    def _formulas(self) -> widgets.Widget:
        self._formula = widgets.HTML()
        fold = widgets.Accordion([self._formula], selected_index=None)
        fold.set_title(0, "What is shown? Formula and unit")
        return fold

    # -- state ------------------------------------------------------------------------------------

    def _guarded(self, callback: Callable) -> Callable:
        """The callback; an exception becomes a sentence on the screen, not only a hidden log."""

        def safe(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except UserError as error:
                self._tell(str(error))
            except Exception as error:
                log.exception("the explorer could not do what was asked")
                self._tell(f"That did not work: {type(error).__name__}: {error}")

        return safe

    def _tell(self, text: str) -> None:
        style = "border-left:4px solid #d55e00;padding:4px 12px"
        self._message.value = f"<div role='alert' style='{style}'>{escape(text)}</div>"

    def _set(self, name: str, value: Any) -> None:
        if self._quiet:
            return
        value = None if name == "atom" and value == ALL else value
        change = {name: value} | ({"partner": None} if name in ("atom", "role") else {})
        self.state = dataclasses.replace(self.state, **change).checked(self.record)

    def _free(self, freed: bool) -> None:
        if self._quiet:
            return
        values = drawing.values_of(self.record, self.state)
        limit = float(np.abs(values).max(initial=0.0)) or None
        self.state = dataclasses.replace(self.state, limit=limit if freed else None)

    def _pick(self, picked: dict[str, Any]) -> None:
        if picked:
            self.state = after_pick(self.state, picked).checked(self.record)

    def _pick_atom(self, name: str) -> None:
        labels = wording.atom_labels(self.record.numbers[self.state.frame])
        if name in labels:
            self._pick({"atom": labels.index(name)})

    @traitlets.observe("state")
    def _state_changed(self, change) -> None:
        self._guarded(self.redraw)()

    def redraw(self) -> None:
        """Draw every view anew from `state`."""
        state = self.state.checked(self.record)
        texts = [self._message, self._said, self._formula, self._still]
        choices = [self._play, *self.controls.values(), self._freed]
        with self._together.sending([*choices, *texts, *self.panels.values(), self.molecule]):
            self._redraw(state)

    def _redraw(self, state: ViewState) -> None:
        self._message.value = ""
        self._show_choices(state)
        draw = {"molecule": lambda: self._draw_molecule(state)}
        made: dict[str, Callable[[], dict]] = {
            "matrix": lambda: drawing.matrix_data(self.record, state),
            "overview": lambda: drawing.overview_data(self.record, state),
            "distance": lambda: drawing.distance_data(self.record, state),
            "sphc": lambda: drawing.distance_data(self.record, state, "sphc"),
            "series": lambda: drawing.series_data(self.record, state, self.along, self.along_title),
        }
        for name, panel in self.panels.items():
            draw[name] = lambda panel=panel, name=name: panel.show(made[name]())
        for name, step in draw.items():
            begin = time.perf_counter()
            step()
            self.redraw_ms[name] = 1e3 * (time.perf_counter() - begin)
        self._said.value = f"<p>{escape(drawing.sentence(self.record, state))}</p>"
        formula = wording.FORMULA[state.block][state.quantity]
        unit = wording.AXIS[state.block][state.quantity]
        self._formula.value = (
            f"<p>Shown: <b>{escape(formula)}</b>. Axis and scale: {escape(unit)}.</p><p>Attention "
            "is signed and not normalised: no softmax, and rows need not sum to one. Rows and "
            "thick ends ask, columns and thin ends answer. One scale serves all layers, channels "
            "and frames of a block, unless it is freed above.</p>"
        )

    def _draw_molecule(self, state: ViewState) -> None:
        if self._stage.children[0] is self._still:
            self._still.value = drawing.still_molecule(self.record, state)
        else:
            self.molecule.show(drawing.molecule_data(self.record, state))

    def _told_of_webgl(self, change) -> None:
        if change["new"] == "no":
            self.show_still(
                "This browser has no WebGL, which the turning molecule needs: a still picture is "
                "shown instead. All other views work."
            )

    def show_still(self, why: str) -> None:
        """A picture in place of the turning molecule, with the reason."""
        self._stage.children = (self._still, widgets.HTML(f"<p>{escape(why)}</p>"))
        self.redraw()

    def _show_choices(self, state: ViewState) -> None:
        """Bring the controls to the state without their callbacks."""
        self._quiet = True
        try:
            labels = wording.atom_labels(self.record.numbers[state.frame])
            names = self.record.channel_names(state.block)
            options = {
                "channel": [(name, k) for k, name in enumerate(names)],
                "atom": [("all", ALL), *((name, k) for k, name in enumerate(labels))],
            }
            for name, wanted in options.items():
                if list(self.controls[name].options) != wanted:
                    self.controls[name].options = wanted
            self._play.value = state.frame
            for name, box in self.controls.items():
                value = getattr(state, name)
                box.value = ALL if value is None else value
            self._freed.value = state.limit is not None
        finally:
            self._quiet = False

    # -- for the user -----------------------------------------------------------------------------

    def link_to(self, other: Explorer) -> traitlets.link:
        """Keep two explorers at the same choices; ``unlink()`` of the result parts them again.

        What the record of one does not have, such as a block or a frame, stays as it was there.
        """
        ways = (
            lambda state: followed(state, other.state, other.record),
            lambda state: followed(state, self.state, self.record),
        )
        return traitlets.link((self, "state"), (other, "state"), transform=ways)

    def export_numbers(self, path: str | Path) -> Path:
        """Attention as shown and all answers so far as .csv, .json or .npz; see `numbers`."""
        return self.tests.export(path)

    def export(self, path: str | Path) -> Path:
        """One HTML page of the shown frame that turns and opens offline."""
        title = self.title or "Attention"
        return write_report(path, title=title, record=self.record, frame=self.state.frame)


def explore(
    model: Potential | AttentionRecord | str | Path,
    atoms: Atoms | Sequence[Atoms] | Frames | str | Path | None = None,
    *,
    along: np.ndarray | Sequence[float] | None = None,
    along_title: str = "",
    title: str = "",
) -> Explorer:
    """Open the explorer on a molecule or a trajectory.

    Args:
        model: a potential, its file, run folder or bundled name; or an attention record
        atoms: one structure, several, frames, or a file or data set's name; not needed with a
            record
        along: one number per frame, such as a dihedral angle, for the view over frames
        along_title: what it is, with its unit
        title: a heading

    Raises:
        UserError: there is nothing to explore, or ``along`` does not fit the frames
    """
    potential = frames = None
    if isinstance(model, AttentionRecord):
        record = model
    else:
        potential = model if isinstance(model, Potential) else load_potential(model)
        if atoms is None:
            raise UserError("explore needs a structure beside the model: pass atoms or a file.")
        frames = _as_frames(atoms)
        record = potential.attention(frames)
        if isinstance(potential, Ensemble):  # what is switched off is so in the member shown
            potential = potential.member(0)
    if along is not None:
        along = np.asarray(along, float)
        if along.shape != (len(record),):
            raise UserError(
                f"along has shape {along.shape}, but there are {len(record)} frames: give one "
                f"number for each."
            )
    return Explorer(record, potential, frames, along=along, along_title=along_title, title=title)


def _as_frames(atoms) -> Frames:
    if isinstance(atoms, Frames):
        return atoms
    if isinstance(atoms, str | Path):
        from so3krates_lite.datasets import load

        return load(atoms)
    return Frames.from_atoms(atoms if isinstance(atoms, list | tuple) else [atoms])
