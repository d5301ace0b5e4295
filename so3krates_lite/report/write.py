"""One page that holds everything: errors, learning curve, parity, and attention to explore.

The page is a single file. plotly's script is inside it once, nothing is loaded from anywhere (a
content policy in the page makes the browser refuse it), so it opens offline and can be sent by
mail. It is written beside its place and moved there when complete: a report that fails leaves the
old one as it was. Its templates, style and script are the files beside this one.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np

from so3krates_lite.drawing import error_curves, figures, look
from so3krates_lite.errors import UserError
from so3krates_lite.record import wording
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.blocks import BLOCKS
from so3krates_lite.record.parts import QUANTITIES
from so3krates_lite.record.ranking import strongest_channel
from so3krates_lite.runtime.files import write_atomically

if TYPE_CHECKING:
    import plotly.graph_objects as go

THRESHOLD = 0.08
QUANTITY_NAMES = {
    "weighted": "attention × cutoff",
    "coefficient": "raw coefficient",
    "contribution": "size of the contribution",
}


def write_report(
    path: str | os.PathLike,
    *,
    title: str,
    metrics: Sequence[Mapping] | Mapping[str, Sequence] | None = None,
    table: Sequence[Mapping] | None = None,
    parity: tuple | Mapping[str, tuple] | None = None,
    record: AttentionRecord | None = None,
    facts: Mapping[str, object] | None = None,
    notes: Sequence[str] = (),
    unit: str = "kcal/mol",
    frame: int = 0,
    library: str | None = None,
) -> Path:
    """Write one standalone HTML page; whatever is not given is left out.

    Args:
        path: the file to write, complete or not at all.
        title: the page's heading.
        metrics: rows (or columns) of a run's metrics, see :func:`error_curves.learning_curve`.
        table: rows of errors; keys are the headings and carry the units.
        parity: (reference, predicted) forces in eV/Å, or a mapping with ``'force'`` (eV/Å) and/or
            ``'energy'`` (eV).
        record: attention; one frame of it is drawn.
        facts: what a reader needs to judge the numbers: data, hardware, times, seeds, versions.
        notes: sentences, e.g. what the numbers can and cannot be compared with.
        unit: energy unit of the parity figures; forces are that per Å.
        frame: which frame of ``record``.
        library: where the page finds plotly's script, for several pages that share one file on a
            site; None: inside the page, which then loads nothing.

    Returns:
        The path.

    Raises:
        UserError: something given cannot be drawn; nothing is written then.
    """
    path = Path(path)
    if parity is not None and not isinstance(parity, Mapping):
        parity = {"force": tuple(parity)}
    for kind in parity or {}:
        if kind not in ("force", "energy"):
            raise UserError(f"parity has '{kind}': it may hold 'force' and 'energy'.")
    body = []
    if table:
        body.append(_section("errors", "How good it is", _table(table)))
    cards = []
    if metrics:
        say = "Mean absolute errors while it learnt, on logarithmic axes."
        cards.append(_card("curve", "Learning curve", say, error_curves.learning_curve(metrics)))
    for kind, (reference, predicted) in (parity or {}).items():
        what = {"force": "forces", "energy": "energies"}[kind]
        say = f"Predicted against reference {what}; below, the errors on a scale of their own."
        picture = error_curves.parity(reference, predicted, quantity=kind, unit=unit)
        cards.append(_card(kind, f"{what.capitalize()}, predicted and reference", say, picture))
    if cards:
        body.append(f'<div class="pair">{"".join(cards)}</div>')
    if record is not None:
        body.append(_attention(record, frame))
    if notes:
        lines = "".join(f"<p>{escape(str(note))}</p>" for note in notes)
        body.append(_section("notes", "What to keep in mind", lines))
    if facts:
        lines = "".join(
            f"<dt>{escape(str(key))}</dt><dd>{escape(_number(value))}</dd>"
            for key, value in facts.items()
        )
        body.append(_section("facts", "How it was made", f"<dl>{lines}</dl>"))
    write_atomically(path, _page(title, "\n".join(body), library).encode())
    return path


def _page(title: str, body: str, library: str | None) -> str:
    own = {"style": _file("page.css"), "script": _file("page.js")}
    said = "It is complete and loads nothing." if library is None else "It loads plotly's script."
    return _filled(
        "page.html",
        policy=look.policy(library),
        title=escape(title),
        body=body,
        library=look.plotly_script(library),
        said=said,
        **own,
    )


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _filled(template: str, **parts: str) -> str:
    """A template of this folder with its parts, which are HTML already."""
    return Template(_file(template)).substitute(parts)


def _section(name: str, heading: str, content: str) -> str:
    return (
        f'<section id="{name}" aria-labelledby="{name}-heading">'
        f'<h2 id="{name}-heading">{escape(heading)}</h2>{content}</section>'
    )


def _json(data: object) -> str:
    # "<" may not stand in a script as it is: "</script>" or "<!--" would end it
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", r"\u003c")


def _figure(name: str, figure: go.Figure, description: str, hidden: bool = False) -> str:
    data = figure.to_json().replace("<", r"\u003c")
    return (
        f'<div id="figure-{name}" role="img" aria-label="{escape(description, quote=True)}"'
        f"{' hidden' if hidden else ''}></div>"
        f'<script type="application/json" id="data-{name}">{data}</script>'
    )


def _card(name: str, heading: str, say: str, figure: go.Figure) -> str:
    content = f'<p class="lead">{escape(say)}</p>' + _figure(name, figure, f"{heading}: {say}")
    return _section(name, heading, content)


def _number(value: object) -> str:
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def _table(rows: Sequence[Mapping]) -> str:
    """Keys of the rows are the headings; numbers to the right, words to the left."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    words = {name for name in names if any(isinstance(row.get(name), str) for row in rows)}

    def cell(tag: str, name: str, text: str, scope: str = "") -> str:
        kind = ' class="word"' if name in words else ""
        return f"<{tag}{kind}{scope}>{escape(text)}</{tag}>"

    head = "".join(cell("th", name, name, ' scope="col"') for name in names)
    lines = []
    for row in rows:
        first, *rest = names
        line = cell("th", first, _number(row.get(first)), ' scope="row"')
        line += "".join(cell("td", name, _number(row.get(name))) for name in rest)
        lines.append(f"<tr>{line}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _payload(record: AttentionRecord, pictures: dict, start: dict, traces: list[dict]) -> dict:
    """What the page's script needs to redraw the views; numbers rounded to four digits."""
    from so3krates_lite.drawing import scene, tubes

    def values(block: str, quantity: str) -> list:
        pairs = pictures[scene.neighbourhood(block)].pairs
        if len(pairs) == 0:
            return [[]] * record.n_layers
        chosen = [
            record.select(block, layer, channel, quantity)[pairs]
            for layer in range(record.n_layers)
            for channel in range(record.n_channels(block))
        ]
        shape = (record.n_layers, record.n_channels(block), len(pairs))
        return look.digits(np.reshape(chosen, shape).transpose(0, 2, 1))

    def listed(picture: scene.Scene) -> dict:
        tubes, pairs = picture.tubes, len(picture.pairs)
        ends = picture.positions[picture.sender] - picture.positions[picture.receiver]
        reach = figures.reach_of(record, np.linalg.norm(ends, axis=-1))
        return {
            "receiver": picture.receiver.tolist(),
            "sender": picture.sender.tolist(),
            "path": tubes.path.reshape(pairs, -1).round(3).tolist(),
            # one byte per number: an offset is no longer than one, and a tube no wider than 0.12 Å
            "offset": base64.b64encode((127 * tubes.offset).round().astype(np.int8)).decode(),
            "reach": reach,
        }

    picture = pictures["local"]
    lists = {name: listed(each) for name, each in pictures.items()}
    if np.isfinite(record.cutoff):
        lists["local"]["reach"] = record.cutoff
    return {
        "labels": picture.labels,
        "layers": record.n_layers,
        "channels": {block: record.channel_names(block) for block in record.blocks},
        "list_of": {block: scene.neighbourhood(block) for block in record.blocks},
        "lists": lists,
        "faces": picture.tubes.faces.tolist(),
        "sides": tubes.SIDES,
        "widest": scene.WIDEST,
        "diverging": look.DIVERGING,
        "sequential": look.SEQUENTIAL,
        "axis": {block: wording.AXIS[block] for block in record.blocks},
        "formula": {block: wording.FORMULA[block] for block in record.blocks},
        "values": {
            block: {quantity: values(block, quantity) for quantity in QUANTITIES}
            for block in record.blocks
        },
        "limit": {b: {q: record.limit(b, q) or 1.0 for q in QUANTITIES} for b in record.blocks},
        "phi": _envelope(record),
        "traces": traces,
        "start": start,
    }


def _envelope(record: AttentionRecord) -> list[float] | None:
    """The cutoff on the grid of the distance figure, for a model that has one."""
    if not np.isfinite(record.cutoff):
        return None
    return figures.cutoff_curve(record)[1].round(4).tolist()


def _attention(record: AttentionRecord, frame: int) -> str:
    from so3krates_lite.drawing import molecule3d, scene, stills

    first = record.blocks[0]
    pictures = {
        scene.neighbourhood(block): scene.scene(record, frame, block) for block in record.blocks
    }
    picture = pictures["local"]
    layer, channel = strongest_channel(record)
    end = wording.scale_limit(record, first, "weighted")
    values = record.select(first, layer, channel, "weighted", frame)
    keep = scene.chosen_pairs(picture, values, end, THRESHOLD)
    where = {"frame": frame, "block": first, "layer": layer, "channel": channel}
    # the page's script draws the tubes: here there are none yet
    turning = molecule3d.molecule_figure(record, **where, threshold=np.inf, choose=None)
    matrix = figures.attention_matrix(record, **where)
    distance, traces = None, []
    for name, each in pictures.items():
        shown = {**where, "block": "spherical" if name == "spherical" else first}
        if name == "spherical":
            shown["channel"] = 0
        drawn = figures.attention_against_distance(record, **shown, max_points=10**9)
        place = {int(pair): n for n, pair in enumerate(each.pairs)}
        dots = [trace for trace in drawn.data if trace.mode == "markers"]
        traces += [
            {"list": name, "pairs": [place[int(pair)] for pair in trace.customdata]}
            for trace in dots
        ]
        if distance is None:
            distance = drawn
        else:
            distance.add_traces([trace.update(visible=False) for trace in dots])
    start = {"block": first, "layer": layer, "channel": channel, "quantity": "weighted"}
    name = f"layer {layer}, {record.channel_names()[channel]}"
    say = f"Molecule of {len(picture.labels)} atoms with the {first} attention of {name}"
    still = stills.molecule_image(picture, values, end, keep, say)
    options = "".join(
        f'<option value="{key}">{escape(text)}</option>' for key, text in QUANTITY_NAMES.items()
    )
    blocks = "".join(f'<option value="{block}">{block}</option>' for block in record.blocks)
    payload = _json(_payload(record, pictures, start, traces))
    content = _filled(
        "attention.html",
        blocks=blocks,
        options=options,
        threshold=f"{100 * THRESHOLD:.0f}",
        molecule=_figure("molecule", turning, say + ", to be turned", hidden=True),
        still=still,
        name=escape(name),
        matrix=_figure("matrix", matrix, "Attention of each atom to each other atom"),
        distance=_figure(
            "distance", distance, "Attention of each directed pair against its distance"
        ),
        formula=escape(wording.FORMULA[first]["weighted"]),
        explained=BLOCKS[first].explained,
        payload=payload,
    )
    return _section("attention-view", "What it attends to", content)
