"""The widgets of the explorer: a canvas for every plot, and nglview's stage for the molecule."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import nglview
import numpy as np
import traitlets

Pick = Callable[[dict[str, Any]], None]


class Panel(anywidget.AnyWidget):
    """A plot of what `explorer.drawing` returns; ``picked`` is what was clicked last."""

    _esm = Path(__file__).with_name("panel.js")

    data = traitlets.Dict().tag(sync=True)
    picked = traitlets.Dict().tag(sync=True)
    height = traitlets.Int(380).tag(sync=True)
    webgl = traitlets.Unicode("").tag(sync=True)  # "yes" or "no", once a browser has said so

    def show(self, data: dict[str, Any]) -> None:
        """Draw ``data``; arrays travel as they lie in memory, which is ten times quicker."""
        self.data = {
            name: value.tobytes() if isinstance(value, np.ndarray) else value
            for name, value in data.items()
        }


# Run in the browser, where `this` is nglview's view. The molecule is one component of shapes that
# is replaced as a whole; a click tells the name of the atom that was hit.
_DRAW = """
const stage = this.stage, begin = performance.now();
if (!this.attention_explorer) {
  this.attention_explorer = true;
  const near = {clipNear: 0, clipFar: 100, clipDist: 0, fogNear: 100, fogFar: 100};
  stage.setParameters({tooltip: true, ...near});
  stage.mouseControls.remove("clickPick-left");  // a click chooses, and does not move the view
  for (const part of [stage.viewer.renderer.domElement, stage.viewer.container]) {
    part.style.backgroundColor = "transparent";
  }
  this.$pickingInfo && this.$pickingInfo.hide();
  stage.signals.clicked.add((proxy) => {
    const name = proxy && proxy.sphere && proxy.sphere.name;
    if (!name) return;
    this.picks = (this.picks || 0) + 1;
    this.model.set("picked", {sphere: name, count: this.picks});
    this.touch();
  });
}
const first = stage.getComponentsByName("molecule").list.length === 0;
stage.getComponentsByName("molecule").dispose();
const shape = new NGL.Shape("molecule", {labelParams: {attachment: "middle-center", zOffset: 1}});
const add = {sphere: shape.addSphere, cylinder: shape.addCylinder, text: shape.addText};
for (const [kind, ...values] of SHAPES) add[kind].apply(shape, values);
stage.addComponentFromObject(shape).addRepresentation("buffer", {});
if (first) stage.autoView(0);
stage.viewer.container.dataset.ms = (performance.now() - begin).toFixed(1);
stage.viewer.container.dataset.count = 1 + Number(stage.viewer.container.dataset.count || 0);
"""


class MoleculeView:
    """The molecule in 3D. Everything of a frame goes to the view in one message."""

    def __init__(self, on_atom: Callable[[str], None], height: int = 420) -> None:
        self.widget = nglview.NGLWidget()
        self.widget.layout.height = f"{height}px"
        self.widget.layout.width = "100%"
        self._on_atom = on_atom
        self.widget.observe(self._picked, "picked")

    def draw(self, shapes: list[list[Any]]) -> None:
        """Replace what is shown by ``shapes``, as of `drawing.molecule_shapes`."""
        text = json.dumps(shapes, separators=(",", ":"))
        self.widget._js(_DRAW.replace("SHAPES", text))

    def _picked(self, change) -> None:
        if name := (change["new"] or {}).get("sphere"):
            self._on_atom(name)
