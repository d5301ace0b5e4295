"""The widgets of the explorer: a canvas for every plot, and nglview's stage for the molecule.

What a change of the state costs in a browser is mostly the way to it: widgets send each trait of
theirs in a message of its own. `Together` gathers all of them into one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anywidget
import nglview
import numpy as np
import traitlets
from ipywidgets import Widget
from ipywidgets.widgets.widget import _remove_buffers

Pick = Callable[[dict[str, Any]], None]


def _script(name: str) -> Path:
    return Path(__file__).with_name(name)


class _Drawn(anywidget.AnyWidget):
    """Something that a script draws from ``data``."""

    data = traitlets.Dict().tag(sync=True)

    def show(self, data: dict[str, Any]) -> None:
        """Draw ``data``; arrays travel as they lie in memory, which is ten times quicker."""
        self.data = {
            name: value.tobytes() if isinstance(value, np.ndarray) else value
            for name, value in data.items()
        }


class Panel(_Drawn):
    """A plot of what `explorer.drawing` returns; ``picked`` is what was clicked last."""

    _esm = _script("panel.js")

    picked = traitlets.Dict().tag(sync=True, echo_update=False)
    height = traitlets.Int(380).tag(sync=True)
    webgl = traitlets.Unicode("").tag(sync=True)  # "yes" or "no", once a browser has said so


class Molecule(_Drawn):
    """The molecule in 3D, as of `drawing.molecule_data`: it is drawn in the views of ``widget``.

    nglview's own way of drawing is not used: it waits up to 0.1 s before it sends anything, and
    sends everything that was ever drawn once more each time.
    """

    _esm = _script("molecule.js")

    stage = traitlets.Unicode().tag(sync=True)  # the id of ``widget``

    def __init__(self, on_atom: Callable[[str], None], height: int = 420) -> None:
        self.widget = nglview.NGLWidget()
        self.widget.layout.height = f"{height}px"
        self.widget.layout.width = "100%"
        self._on_atom = on_atom
        self.widget.observe(self._picked, "picked")
        self.widget.on_msg(self._told)
        super().__init__(stage=self.widget.model_id)

    def _told(self, _, message: dict[str, Any], __) -> None:
        if message.get("type") == "request_loaded":  # another view was opened
            self.send("draw")

    def _picked(self, change) -> None:
        if name := (change["new"] or {}).get("sphere"):
            self._on_atom(name)


class Together(anywidget.AnyWidget):
    """Sends the changes of many widgets in one message; it is not seen itself."""

    _esm = _script("together.js")

    ready = traitlets.Bool(False).tag(sync=True)  # a browser takes such messages

    @contextmanager
    def sending(self, senders: Sequence[Widget]) -> Iterator[None]:
        """What these widgets would send inside the block leaves in one message at its end."""
        if not self.ready:
            yield
            return
        changed: dict[Widget, set[str]] = {}

        def noted(widget: Widget, key: str | set[str] | None = None) -> None:
            keys = widget.keys if key is None else {key} if isinstance(key, str) else key
            changed.setdefault(widget, set()).update(keys)

        for widget in senders:
            widget.send_state = noted.__get__(widget)
        try:
            yield
        finally:
            for widget in senders:
                del widget.send_state
            self._send_changes(changed)

    def _send_changes(self, changed: dict[Widget, set[str]]) -> None:
        updates, sent = [], []
        for widget, keys in changed.items():
            state, paths, buffers = _remove_buffers(widget.get_state(keys))
            updates.append({"model_id": widget.model_id, "state": state, "buffer_paths": paths})
            sent += buffers
        if updates:
            self.send(updates, sent)
