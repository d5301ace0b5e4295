"""From a record and a state to what each view draws: plain functions, plain values.

Nothing here knows of widgets. Each function returns a dictionary that a view's script draws as it
stands, matrices as arrays and all else as plain values; all views of one state are drawn on one
scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from so3krates_lite.drawing import figures, look
from so3krates_lite.drawing.scene import (
    atom_radius,
    best_view,
    element_colour,
    find_bonds,
    is_large,
    tube_width,
)
from so3krates_lite.drawing.tubes import RINGS, attention_tubes
from so3krates_lite.explorer.state import ViewState
from so3krates_lite.record import analysis, wording
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.blocks import BLOCKS

MANY_ATOMS = 60  # beyond, tubes have fewer pieces and atoms no labels
MOST_PAIRS = 4000  # in a plot of points
GREY, CHOSEN, INK = (0.62, 0.65, 0.69), (0.12, 0.13, 0.16), (0.13, 0.15, 0.18)


def limit_of(record: AttentionRecord, state: ViewState) -> float:
    """End of the scale of all views."""
    return wording.scale_limit(record, state.block, state.quantity, state.limit)


def title_of(record: AttentionRecord, state: ViewState) -> str:
    """Block, layer and channel in words."""
    channel = record.channel_names(state.block)[state.channel]
    return f"{state.block} attention, layer {state.layer} · {channel}"


def values_of(record: AttentionRecord, state: ViewState) -> Float[np.ndarray, "pairs"]:
    """The shown number of each directed pair of the state's frame."""
    return record.select(state.block, state.layer, state.channel, state.quantity, state.frame)


def is_shown(record: AttentionRecord, state: ViewState) -> np.ndarray:
    """Which directed pairs of the frame are drawn: the chosen atom's, above the threshold."""
    keep = is_large(values_of(record, state), limit_of(record, state), state.threshold)
    return keep & _chosen(record, state)


def _chosen(record: AttentionRecord, state: ViewState) -> np.ndarray:
    pairs, index = record.neighbours(state.block), record.pairs(state.frame, state.block)
    chosen = np.ones(len(index), bool)
    other = "sender" if state.role == "receiver" else "receiver"
    for atom, end in ((state.atom, state.role), (state.partner, other)):
        if atom is not None:
            chosen &= getattr(pairs, end)[index] == atom
    return chosen


# -- the molecule ---------------------------------------------------------------------------------


def atom_colours(record: AttentionRecord, state: ViewState) -> list[tuple[float, float, float]]:
    """Elements' colours, those of charges or of deviations; once an atom is chosen, what it attends
    to or who attends to it.

    A value's colour is grey as far as it is small, and takes the colour of the sign as it is large;
    several periodic images add up. Charges and deviations have one scale for all frames.
    """
    real = record.numbers[state.frame] > 0
    numbers = record.numbers[state.frame][real]
    if state.atom is None and state.colour == "charge" and record.charges is not None:
        end = float(np.abs(record.charges).max(initial=0)) or 1.0
        return [_between(float(q), end) for q in record.charges[state.frame][real]]
    if state.atom is None and state.colour == "deviation" and record.forces_std is not None:
        end = float(record.forces_std.max(initial=0)) or 1.0
        return [_between(float(s), end, False) for s in record.forces_std[state.frame][real]]
    if state.atom is None:
        return [_rgb(element_colour(int(z))) for z in numbers]
    matrix = record.matrix(state.frame, state.block, state.layer, state.channel, state.quantity)
    row = matrix[state.atom] if state.role == "receiver" else matrix[:, state.atom]
    signed, limit = state.quantity != "contribution", limit_of(record, state)
    return [
        CHOSEN if k == state.atom and value == 0 else _between(float(value), limit, signed)
        for k, value in enumerate(row)
    ]


def _between(value: float, limit: float, signed: bool = True) -> tuple[float, float, float]:
    """Grey at zero, the colour of the value's sign at the limit."""
    *rgb, alpha = look.rgba(value, limit, signed)
    red, green, blue = (alpha * c + (1 - alpha) * g for c, g in zip(rgb, GREY, strict=True))
    return red, green, blue


@lru_cache(maxsize=128)
def _rgb(text: str) -> tuple[float, float, float]:
    return look.parts_of_colour(text)[:3]


def molecule_data(record: AttentionRecord, state: ViewState) -> dict[str, Any]:
    """Atoms, bonds and tubes as arrays, for the script that makes shapes of them.

    A tube is thick at the atom that asks and thin at the one that answers; its cross-section is the
    size on the scale of all views, its colour the sign.
    """
    real = record.numbers[state.frame] > 0
    numbers = record.numbers[state.frame][real]
    first = record.positions[0][record.numbers[0] > 0]
    turn, centre = best_view(first), (first.max(0) + first.min(0)) / 2
    places = (record.positions[state.frame][real] - centre) @ turn.T
    labels = wording.atom_labels(numbers)
    colours = np.array(atom_colours(record, state), np.float32)
    dark = colours @ np.float32([0.299, 0.587, 0.114]) > 0.55
    radii = np.array([atom_radius(int(z)) for z in numbers], np.float32)
    if state.atom is not None:
        radii[state.atom] *= 1.18
    return {
        "labels": labels,
        "written": len(numbers) <= MANY_ATOMS,
        "places": places.astype(np.float32),
        "radii": radii,
        "colours": colours,
        "inks": np.where(dark[:, None], INK, 1).astype(np.float32),
        "bonds": find_bonds(numbers, places).tolist(),
        "bond_colour": GREY,
        **_tubes(record, state, places, turn, labels),
    }


def _tubes(
    record: AttentionRecord,
    state: ViewState,
    places: Float[np.ndarray, "atoms 3"],
    turn: Float[np.ndarray, "3 3"],
    labels: Sequence[str],
) -> dict[str, Any]:
    """What is drawn of the directed pairs: their names, colours, curves and widths."""
    keep = is_shown(record, state)
    pairs = record.neighbours(state.block)
    index = record.pairs(state.frame, state.block)[keep]
    values, limit = values_of(record, state)[keep], limit_of(record, state)
    place = np.cumsum(record.numbers[state.frame] > 0) - 1  # padding may stand between atoms
    receiver, sender = place[pairs.receiver[index]], place[pairs.sender[index]]
    tubes = attention_tubes(places[receiver], pairs.vector[index] @ turn.T, places.mean(0))
    pieces = 3 if len(places) > MANY_ATOMS else 9 if len(index) <= 100 else 6
    rings = np.linspace(0, RINGS - 1, pieces).round().astype(int)
    kinds = np.full(len(index), 2) if state.quantity == "contribution" else (values > 0).astype(int)
    names = [
        f"{labels[i]} attends to {labels[j]}: {value:+.3g}"
        for i, j, value in zip(receiver, sender, values, strict=True)
    ]
    return {
        "tubes": list(zip(names, kinds.tolist(), strict=True)),
        "tube_colours": [_rgb(colour) for colour in (look.NEGATIVE, look.POSITIVE, look.MAGNITUDE)],
        "paths": tubes.path[:, rings].astype(np.float32),
        "taper": tubes.taper[rings].tolist(),
        "widths": tube_width(values, limit).astype(np.float32),
    }


def still_molecule(record: AttentionRecord, state: ViewState) -> str:
    """The molecule as an ``<img>``, where nothing can turn."""
    from so3krates_lite.drawing.scene import scene
    from so3krates_lite.drawing.stills import molecule_image

    picture = scene(record, state.frame, state.block)
    values, limit = values_of(record, state), limit_of(record, state)
    keep = is_shown(record, state)
    return molecule_image(picture, values, limit, keep, title_of(record, state))


# -- the plots ------------------------------------------------------------------------------------


def matrix_data(record: AttentionRecord, state: ViewState) -> dict[str, Any]:
    """Rows ask, columns answer."""
    matrix = record.matrix(state.frame, state.block, state.layer, state.channel, state.quantity)
    numbers = record.numbers[state.frame]
    return {
        "kind": "matrix",
        "title": title_of(record, state),
        "labels": wording.atom_labels(numbers[: len(matrix)]),
        "values": matrix.astype(np.float32),
        "chosen": marked(state),
        **_scale(record, state),
    }


def marked(state: ViewState) -> dict[str, int | None]:
    """Which atom asks and which answers, as far as they are chosen."""
    other = "sender" if state.role == "receiver" else "receiver"
    return {"receiver": None, "sender": None, state.role: state.atom, other: state.partner}


def _scale(record: AttentionRecord, state: ViewState) -> dict[str, Any]:
    signed = state.quantity != "contribution"
    return {
        "limit": limit_of(record, state),
        "signed": signed,
        "scale": look.DIVERGING if signed else look.SEQUENTIAL,
        "unit": wording.AXIS[state.block][state.quantity],
    }


def distance_data(
    record: AttentionRecord, state: ViewState, against: str = "distance"
) -> dict[str, Any]:
    """Each directed pair of the frame as a point, against its distance or SPHC distance."""
    pairs, index = record.neighbours(state.block), record.pairs(state.frame, state.block)
    values = values_of(record, state)
    chosen = _chosen(record, state)
    kept = slice(None)
    if len(index) > MOST_PAIRS:  # the chosen and the largest stay
        kept = np.lexsort((-np.abs(values), ~chosen))[:MOST_PAIRS]
    index, values, chosen = index[kept], values[kept], chosen[kept]
    if against == "distance":
        x = pairs.distance[index]
    else:
        x = analysis.sphc_distances(record, state.block, layer=state.layer, frame=state.frame)[kept]
    kinds = wording.element_pairs(record, index, state.block)
    ends = {kind: kind.split(" ← ") for kind in set(kinds)}
    both = {kind: " ".join(sorted(pair)) for kind, pair in ends.items()}
    names = _with_colours([both[kind] for kind in kinds], values)
    number = {k: names.index(name) if name in names else len(names) - 1 for k, name in both.items()}
    turned = {kind: pair != sorted(pair) for kind, pair in ends.items()}
    envelope = None
    local = BLOCKS[state.block].listed == "local"
    if against == "distance" and state.quantity == "weighted" and local:
        r, phi = figures.cutoff_curve(record, 60)
        most = record.select(state.block, state.layer, state.channel, "coefficient", state.frame)
        most = float(np.abs(most).max(initial=0.0))
        envelope = {"x": look.digits(r), "y": look.digits(most * phi)}
    title = "distance r (Å)" if against == "distance" else "SPHC distance X (no unit)"
    reach = figures.reach_of(record, x) if against == "distance" else float(x.max(initial=1e-9))
    return points(
        x,
        values,
        pairs.receiver[index],
        pairs.sender[index],
        group=[number[kind] for kind in kinds],
        open=[turned[kind] for kind in kinds],
        groups=[name.replace(" ", " – ") for name in names],
        bright=chosen.tolist(),
        title=title_of(record, state),
        labels=wording.atom_labels(record.numbers[state.frame]),
        envelope=envelope,
        x_title=title,
        x_end=record.cutoff if local and against == "distance" else 1.03 * reach,
        **_scale(record, state),
    )


def _with_colours(kinds: Sequence[str], values: Float[np.ndarray, "pairs"]) -> list[str]:
    """The kinds of pairs, as far as there are colours: the weaker ones of many are "others"."""
    names, most = sorted(set(kinds)), len(look.PALETTE)
    if len(names) <= most:
        return names
    strongest = dict.fromkeys(names, 0.0)
    for kind, value in zip(kinds, np.abs(values), strict=True):
        strongest[kind] = max(strongest[kind], float(value))
    first = sorted(names, key=lambda name: (-strongest[name], name))[: most - 1]
    return [*sorted(first), "others"]


def points(
    x: Float[np.ndarray, "pairs"],
    y: Float[np.ndarray, "pairs"],
    receiver: Int[np.ndarray, "pairs"],
    sender: Int[np.ndarray, "pairs"],
    **more: Any,
) -> dict[str, Any]:
    """Directed pairs as points; ``more`` are titles, the scale, and what differs from all alike."""
    return {
        "kind": "points",
        "x": look.digits(x),
        "y": look.digits(y),
        "receiver": receiver.tolist(),
        "sender": sender.tolist(),
        "group": [0] * len(x),
        "groups": [],
        "open": [False] * len(x),
        "bright": [True] * len(x),
        "envelope": None,
        "palette": list(look.PALETTE),
        **more,
    }


def overview_data(record: AttentionRecord, state: ViewState) -> dict[str, Any]:
    """Every layer and channel of the block as a small matrix, on the one scale."""
    every = {"layer": None, "channel": None, "frame": state.frame}
    matrices = analysis.matrix(record, state.block, state.quantity, **every)
    matrices = np.moveaxis(matrices, -1, 1) / limit_of(record, state)
    steps = np.round(127 * np.clip(matrices, -1, 1)).astype(np.int8)  # colours do not tell more
    return {
        "kind": "overview",
        "title": f"{state.block} attention: all layers and channels",
        "channels": record.channel_names(state.block),
        "size": steps.shape[-1],
        "layers": len(steps),
        "steps": np.ascontiguousarray(steps),
        "chosen": [state.layer, state.channel],
        **_scale(record, state),
    }


def series_data(
    record: AttentionRecord, state: ViewState, along: np.ndarray | None = None, x_title: str = ""
) -> dict[str, Any]:
    """The chosen pair, or all that the chosen atom sends and receives, frame by frame.

    Args:
        along: one number per frame for the horizontal axis, such as a dihedral angle; None: the
            frame's number
        x_title: what ``along`` is, with its unit
    """
    shown = {name: getattr(state, name) for name in ("block", "quantity", "layer", "channel")}

    def series(receiver: int | None = None, sender: int | None = None) -> np.ndarray:
        return np.nan_to_num(analysis.series(record, receiver, sender, **shown))

    labels = wording.atom_labels(record.numbers[state.frame])
    one, other = (marked(state)[end] for end in ("receiver", "sender"))
    if one is not None and other is not None:
        lines = {
            f"{labels[one]} attends to {labels[other]}": series(one, other),
            f"{labels[other]} attends to {labels[one]}": series(other, one),
        }
    elif state.atom is not None:
        lines = {
            f"all that {labels[state.atom]} receives": series(receiver=state.atom),
            f"all that {labels[state.atom]} sends": series(sender=state.atom),
        }
    else:
        frame = record.neighbours(state.block).frame
        values = record.select(state.block, state.layer, state.channel, state.quantity)
        sizes = np.bincount(frame, np.abs(values), minlength=len(record))
        lines = {"sum over all pairs": series(), "sum of sizes": sizes}
    x = np.arange(len(record)) if along is None else np.asarray(along, float)
    end = float(max(np.abs(values).max(initial=0.0) for values in lines.values())) or 1.0
    return {
        "kind": "series",
        "title": title_of(record, state),
        "x": look.digits(x),
        "lines": [{"name": name, "y": look.digits(values)} for name, values in lines.items()],
        "palette": list(look.PALETTE),
        "frame": state.frame,
        "x_title": x_title or "frame",
        **(_scale(record, state) | {"limit": end}),
    }


def sentence(record: AttentionRecord, state: ViewState) -> str:
    """What is drawn, in words: how many pairs, where the scale ends, which is the strongest."""
    values, keep = values_of(record, state), is_shown(record, state)
    chosen = _chosen(record, state)
    text = (
        f"{int(keep.sum())} of {int(chosen.sum())} directed pairs drawn; the scale ends at "
        f"{limit_of(record, state):.3g}"
    )
    text += " (freed)." if state.limit else " for every layer, channel and frame of this block."
    if chosen.any():
        labels = wording.atom_labels(record.numbers[state.frame])
        index = np.flatnonzero(chosen)
        best = index[np.abs(values[index]).argmax()]
        pairs, where = record.neighbours(state.block), record.pairs(state.frame, state.block)
        one, other = pairs.receiver[where[best]], pairs.sender[where[best]]
        number = (
            f"{values[best]:+.3g}" if state.quantity != "contribution" else f"{values[best]:.3g}"
        )
        text += f" Strongest: {labels[one]} attends to {labels[other]} with {number}."
        if not keep.any():
            text += " That is below what is drawn: lower the threshold, or free the scale."
    if state.colour == "charge" and record.charges is not None and state.atom is None:
        numbers = record.numbers[state.frame]
        labels, q = wording.atom_labels(numbers), record.charges[state.frame][numbers > 0]
        low, high = q.argmin(), q.argmax()
        text += (
            f" Atoms are coloured by partial charge, from {q[low]:+.2f} e ({labels[low]}, blue) to "
            f"{q[high]:+.2f} e ({labels[high]}, orange)."
        )
    if state.colour == "deviation" and record.forces_std is not None and state.atom is None:
        numbers = record.numbers[state.frame]
        labels, std = wording.atom_labels(numbers), record.forces_std[state.frame][numbers > 0]
        most = std.argmax()
        text += (
            f" Atoms are coloured by how far the members of the ensemble lie apart in the force on "
            f"them, most for {labels[most]} with {std[most]:.3g} eV/Å; the scale ends at "
            f"{record.forces_std.max():.3g}. Attention is that of one member."
        )
    return text
