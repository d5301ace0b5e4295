"""The part of the explorer that asks: controls, buttons, an answer in words and plots of it.

What is asked of the model are plain functions of `questions` and `importance`; here are only the
choices that they take, and what has been found so far, for `numbers.write_tables`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from so3krates_lite.explorer import importance, numbers, questions
from so3krates_lite.explorer.drawing import title_of
from so3krates_lite.explorer.panel import Panel
from so3krates_lite.explorer.questions import BASELINES, CHANGED, Stand, Table, Tested
from so3krates_lite.explorer.state import ViewState
from so3krates_lite.interpret.rankings import METHODS

if TYPE_CHECKING:
    from so3krates_lite.explorer.app import Explorer

ROW = {"display": "flex", "flex_flow": "row wrap", "align_items": "center"}
# name of an action: what stands on its button, and what the button does
BUTTONS = {
    "matter": (
        "Does it matter? All pairs",
        "every pair of this layer and channel is changed alone: attention against the effect",
    ),
    "attribution": ("Attribution", "the method's scores beside attention, pair by pair"),
    "curve": ("Deletion curve", "pairs of the block are taken away, most important first"),
    "heads": ("Heads by cost", "every head of every layer is changed alone, the dearest first"),
    "chosen": ("Switch the chosen off", "the chosen pair, atom, or whole channel"),
    "patch": ("Patch", "the chosen pair, atom, or whole channel has the second frame's values"),
    "turn": ("Turn the molecule", "attention stays, SPHCs turn"),
    "export": ("Export", "attention as shown and all answers so far, to the file"),
}
OF_THE_CHOSEN = ("chosen", "patch")  # whose answer depends on the chosen atom


class Testing(widgets.VBox):
    """Buttons that ask the model, and what it answered.

    ``actions`` hold what each button asks, ``plots`` two panels that stand elsewhere, ``found`` the
    tables of all answers by what was asked. With a record alone there is only the export.
    """

    def __init__(self, view: Explorer) -> None:
        self.view = view
        self.found: dict[str, Table] = {}
        self.actions: dict[str, Callable[[], Tested]] = {}
        self._asked: tuple[str, tuple] | None = None
        self.answer = widgets.HTML()
        self.panels = [Panel(height=400) for _ in range(2)]
        for panel in self.panels:
            panel.layout.display = "none"
            panel.observe(view._guarded(lambda change: view._pick(change["new"])), "picked")
        half = {"flex": "1 1 420px", "min_width": "360px"}
        self.plots = widgets.Box([widgets.VBox([p], layout=half) for p in self.panels], layout=ROW)
        self.controls = self._make_controls()
        asks = view.potential is not None and view.frames is not None
        if asks:
            self._make_actions()
        view.observe(view._guarded(lambda change: self._follow(change["new"])), "state")
        heading = "Does attention matter? Test it" if asks else "The numbers"
        shown = ["file"] if not asks else [n for n in self.controls if n != "file"]
        rows = [widgets.Box([self.controls[name] for name in shown], layout=ROW)]
        buttons = [self._button(name) for name in (*self.actions, "export")]
        rows.append(widgets.Box(buttons, layout=ROW))
        if asks:
            rows[-1].children = (*buttons[:-1], self.controls["file"], buttons[-1])
        super().__init__([widgets.HTML(f"<b>{heading}</b>"), *rows, self.answer])

    def _make_controls(self) -> dict[str, widgets.Widget]:
        def described(kind: type, name: str, **more: Any) -> widgets.Widget:
            box = kind(description=name, layout={"width": "auto", "min_width": "120px"}, **more)
            box.style.description_width = "auto"
            return box

        def dropdown(name: str, options: dict[str, str], tip: str) -> widgets.Dropdown:
            named = [(text, key) for key, text in options.items()]
            return described(widgets.Dropdown, name, options=named, tooltip=tip)

        most = max(len(self.view.record) - 1, 0)
        has_sphcs = self.view.record.sphc is not None
        changed = {key: text for key, text in CHANGED.items() if key != "chi" or has_sphcs}
        controls = {
            "method": dropdown(
                "method", {name: name for name in METHODS}, "which claim of importance is tested"
            ),
            "instead": dropdown("in its place", BASELINES, "what stands in for what is taken away"),
            "second": described(
                widgets.BoundedIntText, "second frame", min=0, max=most, value=min(1, most)
            ),
            "changed": dropdown(
                "changed", changed, "what of the chosen is switched off or patched"
            ),
            "follow": widgets.Checkbox(description="ask again when the view changes", indent=False),
            "file": described(widgets.Text, "file", value="explorer.csv"),
        }
        controls["method"].value = importance.SHARES[0]
        if len(self.view.record) < 2:
            controls["second"].layout.display = "none"
        return controls

    def _make_actions(self) -> None:
        view, control = self.view, self.controls

        def given() -> tuple:
            return view.potential, view.frames[view.state.frame], view.record, view.state

        def stand() -> Stand:
            return questions.stand_in(
                control["instead"].value, view.frames, view.state.frame, control["second"].value
            )

        def method() -> str:
            return control["method"].value

        self.actions = {
            "matter": lambda: importance.pairs_tested(*given(), method(), stand()),
            "attribution": lambda: importance.attribution_tested(*given(), method(), stand()),
            "curve": lambda: importance.curve_tested(*given(), method(), stand()),
            "heads": lambda: importance.heads_tested(*given(), stand()),
            "chosen": lambda: questions.chosen_tested(*given(), stand(), control["changed"].value),
            "patch": lambda: questions.patched(
                view.potential,
                view.frames,
                view.record,
                view.state,
                control["second"].value,
                control["changed"].value,
            ),
            "turn": lambda: questions.turned_tested(*given()),
        }

    def _button(self, name: str) -> widgets.Button:
        text, tip = BUTTONS[name]
        made = widgets.Button(description=text, tooltip=tip, layout={"width": "auto"})
        run = self._export if name == "export" else lambda: self.ask(name)
        made.on_click(self.view._guarded(lambda _: run()))
        return made

    # -- asking -----------------------------------------------------------------------------------

    def ask(self, name: str) -> Tested:
        """Ask what a button asks, show the answer and keep its numbers."""
        self.answer.value = "<i>computing …</i>"
        try:
            found = self.actions[name]()
        except Exception:
            self.answer.value = ""
            raise
        state = self.view.state
        self._asked = name, _asked_of(name, state)
        self.found[numbers.key_of(found.table)] = found.table
        self._say(f"Frame {state.frame}, {title_of(self.view.record, state)}.", found.text)
        for n, panel in enumerate(self.panels):
            shown = n < len(found.plots)
            if shown:
                panel.show(importance.marked_anew(found.plots[n], state))
            panel.layout.display = None if shown else "none"
        return found

    def _say(self, first: str, text: str) -> None:
        self.answer.value = (
            f"<p role='status' style='max-width:46em'><b>{escape(first)}</b> {escape(text)}</p>"
        )

    def _follow(self, state: ViewState) -> None:
        """Mark another choice in the plots, or ask again, if that is wished for."""
        if self._asked is None:
            return
        name, asked = self._asked
        if self.controls["follow"].value and asked != _asked_of(name, state):
            self.ask(name)
            return
        for panel in self.panels:
            if panel.layout.display is None:
                panel.data = importance.marked_anew(panel.data, state)

    def export(self, path: str | Path) -> Path:
        """Write attention as shown, and the numbers of all answers so far; see `numbers`."""
        view = self.view
        tables = [numbers.attention_table(view.record, view.state), *self.found.values()]
        return numbers.write_tables(path, tables, view.title)

    def _export(self) -> None:
        path = self.export(self.controls["file"].value)
        told = f"{len(self.found)} answer(s)" if self.found else "no answers yet"
        self._say(f"Written: {path}.", f"Attention as shown, and {told}.")


def _asked_of(name: str, state: ViewState) -> tuple:
    """What of a state the answer to a question depends on."""
    names = ["block", "layer", "channel", "quantity", "frame"]
    names += ["atom", "partner", "role"] if name in OF_THE_CHOSEN else []
    return tuple(dataclasses.asdict(state)[each] for each in names)
