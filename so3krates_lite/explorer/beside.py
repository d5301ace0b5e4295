"""Two explorers side by side: before and after training, two models, two geometries.

Both follow each other's choices as far as each has what is chosen. Between them stands the
difference, pair by pair, where both show the same atoms and the same kind of attention.
"""

from __future__ import annotations

import dataclasses
from html import escape
from typing import Any

import ipywidgets as widgets
import numpy as np

from so3krates_lite.drawing import look
from so3krates_lite.errors import UserError
from so3krates_lite.explorer.app import Explorer, explore
from so3krates_lite.explorer.drawing import limit_of, marked, title_of
from so3krates_lite.explorer.panel import Panel
from so3krates_lite.explorer.state import ViewState, followed
from so3krates_lite.explorer.testing import ROW
from so3krates_lite.interpret.rankings import agreement_of_order
from so3krates_lite.record import analysis, wording
from so3krates_lite.record.attention_record import AttentionRecord


def compare_records(
    one: AttentionRecord,
    other: AttentionRecord,
    state: ViewState,
    other_state: ViewState | None = None,
    *,
    names: tuple[str, str] = ("A", "B"),
    shared: bool = True,
) -> tuple[dict[str, Any], str]:
    """The matrix of differences, A - B, of what two views show, and the same in words.

    Args:
        other_state: what is shown of the second record; None: the same as of the first
        names: what to call the two
        shared: the numbers themselves are compared; else each as a part of its largest size,
            which is how two architectures, or two blocks, can be

    Raises:
        UserError: the two are not the same elements in the same order
    """
    states = (state, other_state or state)
    chosen = [
        {name: getattr(each, name) for name in ("block", "quantity", "layer", "channel", "frame")}
        for each in states
    ]
    A_less_B = analysis.difference(one, other, *chosen, relative=not shared)
    sides = [
        record.matrix(s.frame, s.block, s.layer, s.channel, s.quantity)
        for record, s in zip((one, other), states, strict=True)
    ]
    labels = wording.atom_labels(one.numbers[state.frame])
    listed = np.logical_or(*(side != 0 for side in sides))
    limit = max(limit_of(one, states[0]), limit_of(other, states[1])) if shared else 1.0
    unit = wording.AXIS[state.block][state.quantity] if shared else "part of the largest size"
    titles = [title_of(record, s) for record, s in zip((one, other), states, strict=True)]
    data = {
        "kind": "matrix",
        "title": f"{names[0]} − {names[1]}: {' less '.join(dict.fromkeys(titles))}",
        "labels": labels,
        "values": A_less_B.astype(np.float32),
        "chosen": marked(state),
        "between": " asks ",
        "limit": limit,
        "signed": True,
        "scale": look.DIVERGING,
        "unit": f"difference, {unit}",
    }
    i, j = np.unravel_index(np.abs(A_less_B).argmax(), A_less_B.shape)
    correlation = agreement_of_order(*(side[listed] for side in sides))
    text = f"{names[0]} shows {titles[0]}; {names[1]}, {titles[1]}. " if len({*titles}) > 1 else ""
    text += (
        f"{names[0]} − {names[1]} over {int(listed.sum())} pairs: root mean square "
        f"{np.sqrt(np.mean(A_less_B[listed] ** 2)) if listed.any() else 0:.3g}; largest where "
        f"{labels[i]} asks {labels[j]}, {A_less_B[i, j]:+.3g}. Their sizes agree in order by "
        f"{correlation:+.2f} (Spearman). "
    )
    text += (
        f"The scale ends at {limit:.3g}, the larger end of the two."
        if shared
        else "Each side counts as a part of its own largest size."
    )
    return data, text


class SideBySide(widgets.VBox):
    """Two linked explorers and their difference; ``one``, ``other``, ``difference`` are its parts.

    With one scale for both, a colour is the same number on either side.
    """

    def __init__(self, one: Explorer, other: Explorer, names: tuple[str, str] = ("A", "B")) -> None:
        self.one, self.other, self.names = one, other, names
        self.difference = Panel(height=420)
        self.difference.observe(one._guarded(lambda change: one._pick(change["new"])), "picked")
        self._said = widgets.HTML()
        alike = one.record.blocks == other.record.blocks
        self.linked = widgets.Checkbox(value=True, description="both follow", indent=False)
        self.shared = widgets.Checkbox(
            value=alike, description="one scale for both", indent=False, disabled=not alike
        )
        self._busy = False
        for view in (one, other):
            view._freed.layout.display = "none"  # "one scale for both" says it
            view.observe(view._guarded(lambda change: self._adjust(change["owner"])), "state")
        for box in (self.linked, self.shared):
            box.observe(one._guarded(lambda change: self._adjust(one)), "value")
        half = {"flex": "1 1 480px", "min_width": "380px"}
        views = [widgets.VBox([view], layout=half) for view in (one, other)]
        between = widgets.VBox([self._said, self.difference], layout={"max_width": "620px"})
        super().__init__(
            [
                widgets.Box([self.linked, self.shared], layout=ROW),
                between,
                widgets.Box(views, layout=ROW | {"align_items": "flex-start"}),
            ]
        )
        first = one
        if alike:  # where the stronger of the two is strongest
            first = max((one, other), key=lambda view: view.record.limit(view.state.block))
        self._adjust(first)

    def _adjust(self, changed: Explorer) -> None:
        """Let the other view follow the changed one, set both scales, draw the difference."""
        if self._busy:
            return
        views = [changed, self.other if changed is self.one else self.one]
        states = [view.state for view in views]
        if self.linked.value:
            states[1] = followed(*states, views[1].record)
        plain = [dataclasses.replace(state, limit=None) for state in states]
        ends = [limit_of(view.record, state) for view, state in zip(views, plain, strict=True)]
        end = max(ends) if self.shared.value else None
        self._busy = True
        try:
            for view, state in zip(views, plain, strict=True):
                view.state = dataclasses.replace(state, limit=end)
        finally:
            self._busy = False
        self.redraw()

    def redraw(self) -> None:
        """The difference of what both show, or a sentence why there is none."""
        one, other = self.one, self.other
        try:
            data, text = compare_records(
                one.record,
                other.record,
                one.state,
                other.state,
                names=self.names,
                shared=self.shared.value,
            )
        except UserError as error:
            data, text = {}, f"No difference is shown. {error}"
        if data:
            self.difference.show(data)
        self.difference.layout.display = None if data else "none"
        self._said.value = f"<p role='status' style='max-width:46em'>{escape(text)}</p>"


def explore_two(
    model: Any,
    other: Any,
    atoms: Any = None,
    other_atoms: Any = None,
    *,
    names: tuple[str, str] = ("A", "B"),
) -> SideBySide:
    """Open two explorers side by side, which follow each other, and their difference.

    >>> explore_two("ethanol-gfn2", "ethanol-gfn2-geomatt", "ethanol-gfn2")  # two models
    >>> explore_two(potential, potential, reactant, product)  # two geometries
    >>> explore_two(Potential.random(potential.config), potential, frames)  # before training

    Args:
        model, other: a potential, its file, run folder or bundled name; or an attention record
        atoms: as for `explore`, of the first; not needed with a record
        other_atoms: of the second; None: the same
        names: what to call the two

    Raises:
        UserError: as `explore` does
    """
    atoms_of = (atoms, atoms if other_atoms is None else other_atoms)
    views = [
        explore(each, of, title=name)
        for each, of, name in zip((model, other), atoms_of, names, strict=True)
    ]
    return SideBySide(*views, names)
