"""Which pairs, which heads? Methods that claim to know, beside attention and on trial.

Attention is one claim of what matters, a share of the energy (`interpret.attribution`) another.
Shown beside each other, for one layer and channel, each has a scale of its own: they have no unit
in common. Judged are they by what happens when pairs go: one at a time, in the order that each
method gives, and a whole head at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from so3krates_lite.drawing import look
from so3krates_lite.explorer.drawing import marked, matrix_data, points, title_of
from so3krates_lite.explorer.questions import SWITCHED_OFF, Stand, Tested, about, amount
from so3krates_lite.explorer.state import ViewState
from so3krates_lite.interpret import switching
from so3krates_lite.interpret.attribution import Attribution, integrated_gradients
from so3krates_lite.interpret.baselines import channels_of
from so3krates_lite.interpret.evidence import ANSWERS, faithfulness
from so3krates_lite.interpret.interventions import Place, intervene
from so3krates_lite.interpret.rankings import ALONE, METHODS, agreement_of_order
from so3krates_lite.potential import Potential
from so3krates_lite.record import ranking, wording
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.structures.frames import Frames

MOST_BARS = 24
SHARES = ("integrated gradients", "gradient x attention")
# so that lines are told apart without their colours
DASHES = {
    "attention": [],
    "integrated gradients": [9, 4],
    "distance": [9, 3, 2, 3],
    "random": [2, 4],
}


class Scores(NamedTuple):
    """What a method says of each directed pair of one layer and channel.

    Args:
        matrix: [receiver, sender], 0 where there is no pair
        limit: end of its scale
        unit: what stands beside the scale
        signed: whether a score has a sign
        told: what there is to say of how it was found
    """

    matrix: Float[np.ndarray, "atoms atoms"]
    limit: float
    unit: str
    signed: bool
    told: str = ""


def scored(
    potential: Potential,
    frame: Frames,
    record: AttentionRecord,
    state: ViewState,
    method: str,
    stand: Stand = SWITCHED_OFF,
) -> Scores:
    """Scores of the pairs of the shown layer and channel by a method of `rankings.METHODS`.

    Shares and effects are in meV or meV/Å; "attention" is the quantity that is shown.
    """
    block, layer, channel = state.block, state.layer, state.channel
    if method in ("attention", "contribution"):
        quantity = state.quantity if method == "attention" else method
        matrix = record.matrix(state.frame, block, layer, channel, quantity)
        limit = wording.scale_limit(record, block, quantity)
        return Scores(matrix, limit, wording.AXIS[block][quantity], quantity != "contribution")
    if method in SHARES:
        found = integrated_gradients(potential, frame, block=block, baseline=stand.baseline)
        held = (found.shares if method == SHARES[0] else found.slopes)[block] * 1e3
        n = int(frame.n_atoms[0])
        told = _completeness(found, block) if method == SHARES[0] else ""
        limit = float(np.abs(held).max()) or 1.0
        unit = "share of the energy (meV)"
        return Scores(held[layer, :n, :n, channel], limit, unit, True, told)
    pairs = switching.pairs_of(record.frames(state.frame), block)
    at, matrix = tuple(pairs.T), np.zeros((int(frame.n_atoms[0]),) * 2)
    unit, signed = "", False
    if method in ALONE.values():
        where = [Place(block, layer, channel, pair[None]) for pair in pairs]
        effect = intervene(potential, frame, where, stand.baseline)
        signed = method == ALONE["energy"]
        matrix[at] = 1e3 * (-effect.energy if signed else effect.force_size)
        unit = "worth in energy (meV)" if signed else "change of forces (meV/Å)"
    elif method == "distance":
        index, listed = record.pairs(state.frame, block), record.neighbours(block)
        ends = listed.receiver[index], listed.sender[index]
        np.maximum.at(matrix, ends, 1 / (1 + listed.distance[index]))
        unit = "1 / (1 + distance in Å)"
    else:
        matrix[at] = np.random.default_rng(0).permutation(len(pairs)) + 1.0
        unit = "a random order"
    return Scores(matrix, float(np.abs(matrix).max(initial=0)) or 1.0, unit, signed)


def _completeness(found: Attribution, block: str) -> str:
    """Whether the shares sum to what they are shares of."""
    text = (
        f"The shares of all pairs of the {block} block sum to {found.change + found.error:+.4f} "
        f"eV, and the change that they share out is {found.change:+.4f} eV: completeness error "
        f"{1e3 * found.error:+.2g} meV."
    )
    if found.is_complete:
        return text
    return (
        f"{text} They are NOT complete: the integral is not found with {found.points} points. Read "
        f"shares smaller than {1e3 * abs(found.error):.2g} meV as nothing."
    )


def attribution_tested(
    potential: Potential,
    frame: Frames,
    record: AttentionRecord,
    state: ViewState,
    method: str = SHARES[0],
    stand: Stand = SWITCHED_OFF,
) -> Tested:
    """A method's scores beside what is shown, pair by pair: two matrices, a scale each."""
    scores = scored(potential, frame, record, state, method, stand)
    shown = matrix_data(record, state)
    data = shown | {
        "title": f"{method}: layer {state.layer} · {title_of(record, state).split(' · ')[-1]}",
        "values": scores.matrix.astype(np.float32),
        "between": " asks ",
        "limit": scores.limit,
        "signed": scores.signed,
        "scale": look.DIVERGING if scores.signed else look.SEQUENTIAL,
        "unit": scores.unit,
    }
    at = tuple(switching.pairs_of(record.frames(state.frame), state.block).T)
    attention = record.matrix(state.frame, state.block, state.layer, state.channel, state.quantity)
    by_size = agreement_of_order(attention[at], scores.matrix[at])
    text = f"{scores.told} Of {len(at[0])} pairs here, sizes of attention and of {method} agree in "
    text += f"order by {by_size:+.2f} (Spearman). "
    best = int(np.abs(scores.matrix[at]).argmax())
    labels = wording.atom_labels(frame.numbers[0])
    one, other = (labels[end[best]] for end in at)
    text += f"Largest, {scores.unit}: {one} asks {other}, {scores.matrix[at][best]:.3g}."
    table = about("attribution", record, state, stand) | {
        "method": method,
        "unit": scores.unit,
        "receiver": at[0],
        "sender": at[1],
        state.quantity: attention[at],
        "score": scores.matrix[at],
    }
    return Tested(text.strip(), (shown, data), table)


def pairs_tested(
    potential: Potential,
    frame: Frames,
    record: AttentionRecord,
    state: ViewState,
    method: str = "attention",
    stand: Stand = SWITCHED_OFF,
) -> Tested:
    """Every pair of the shown layer and channel changed alone: what is shown against the effect.

    With another ``method`` its scores stand in the plot as rings, beside attention's dots.
    """
    where = {"block": state.block, "layer": state.layer, "channel": state.channel}
    found = switching.effects_of_pairs(potential, frame, **where, baseline=stand.baseline)
    at, effect = (found.receiver, found.sender), 1e3 * found.effect.force_size
    names = ["attention"] if method == "attention" else ["attention", method]
    sizes = [
        np.abs(scored(potential, frame, record, state, name, stand).matrix)[at] for name in names
    ]
    correlation = ranking.rank_correlation(sizes[0], effect)
    text = f"{ranking.verdict(correlation, len(effect))} "
    if len(names) > 1:
        text += f"By {method}: {agreement_of_order(sizes[1], effect):+.2f}. "
    stiff, away = switching.sensitivity(potential, frame)[at], at[0] != at[1]
    with_stiff = ranking.rank_correlation(sizes[0][away], stiff[away])
    text += (
        f"Attention against the sensitivity ∂F/∂r of the receiver's force to the sender's place: "
        f"{with_stiff:+.2f}."
    )
    x, x_title = sizes[0], f"size of what is shown: {wording.AXIS[state.block][state.quantity]}"
    if len(names) > 1:
        x = np.concatenate([size / (size.max() or 1.0) for size in sizes])
        x_title = "size, as a share of the largest"
    again = len(names)
    data = points(
        x,
        np.tile(effect, again),
        np.tile(at[0], again),
        np.tile(at[1], again),
        group=np.repeat(range(again), len(effect)).tolist(),
        groups=names if again > 1 else [],
        rings=[1],
        open=np.repeat([False, True][:again], len(effect)).tolist(),
        bright=[True] * (again * len(effect)),
        title=f"|{state.quantity}| against effect, Spearman {correlation:+.2f}",
        labels=wording.atom_labels(frame.numbers[0]),
        x_title=x_title,
        x_end=1.05 * float(x.max()) or 1.0,
        between=" asks ",
        limit=(1.15 if again > 1 else 1.0) * float(effect.max()) or 1.0,  # room for the legend
        signed=False,
        scale=look.SEQUENTIAL,
        unit="change of forces (meV/Å)",
    )
    table = about("one by one", record, state, stand) | {
        "receiver": at[0],
        "sender": at[1],
        state.quantity: sizes[0],
        "change_of_energy_eV": found.effect.energy,
        "change_of_forces_eV_per_A": found.effect.force_size,
    }
    if len(names) > 1:
        table |= {"method": method, "score": sizes[1]}
    return Tested(text, (data,), table)


def curve_tested(
    potential: Potential,
    frame: Frames,
    record: AttentionRecord,
    state: ViewState,
    method: str = SHARES[0],
    stand: Stand = SWITCHED_OFF,
) -> Tested:
    """Pairs of the block taken away in each method's order, and put back in it.

    Drawn are attention, integrated gradients, ``method``, distance and random; the table has all.
    """
    found = faithfulness(
        potential, frame, block=state.block, baseline=stand.baseline, stability=False
    )
    names = list(dict.fromkeys(["attention", SHARES[0], method, "distance", "random"]))
    rows = [METHODS.index(name) for name in names]
    both = {"taken away": found.deletion["forces"], "put back": found.insertion["forces"]}
    plots = tuple(_curves(found.fraction, names, v[rows, 0], how) for how, v in both.items())
    area, gap = found.area()[:, 0], found.gap()[:, 0]
    told = "; ".join(f"{METHODS[n]} {area[n]:.2f}, gap {gap[n]:+.2f}" for n in rows)
    text = (
        f"With all {found.n_pairs[0]:.0f} pairs of the {state.block} block {stand.said} the forces "
        f"change by {found.whole['forces'][0]:.3g} eV/Å. Area below the curve of taking away, and "
        f"how far that of putting back lies below it (0 by chance, the larger the better): {told}. "
        f"One frame is one case: interpret.faithfulness asks many. Integrated gradients miss the "
        f"change of energy by {found.incomplete[0]:.1e} of it."
    )
    shape = len(METHODS), len(found.fraction)
    method_of, step = (index.reshape(-1) for index in np.indices(shape))
    columns = {
        f"{curve}_{answer}": getattr(found, curve)[answer][:, 0].reshape(-1)
        for curve in ("deletion", "insertion")
        for answer in ANSWERS
    }
    table: dict[str, Any] = {
        "table": "curves",
        "frame": state.frame,
        "block": state.block,
        "instead": stand.said,
        "method": np.array(METHODS)[method_of],
        "share_of_pairs": found.fraction[step],
        **columns,
    }
    return Tested(text, plots, table)


def _curves(
    fraction: Float[np.ndarray, "steps"],
    names: list[str],
    curves: Float[np.ndarray, "methods steps"],
    how: str,
) -> dict[str, Any]:
    lines = [
        {"name": name, "y": look.digits(y), "dash": DASHES.get(name, [4, 3])}
        for name, y in zip(names, curves, strict=True)
    ]
    return {
        "kind": "curves",
        "title": f"Pairs {how}, most important first",
        "x": look.digits(100 * fraction),
        "lines": lines,
        "palette": list(look.PALETTE),
        "x_title": f"share of the pairs {how} (%)",
        "x_end": 100.0,
        "limit": float(curves.max()) or 1.0,
        "signed": False,
        "low_legend": how == "taken away",
        "unit": "change of forces / change without any",
    }


def heads_tested(
    potential: Potential,
    frame: Frames,
    record: AttentionRecord,
    state: ViewState,
    stand: Stand = SWITCHED_OFF,
) -> Tested:
    """Every head, degree or order of every layer and block changed alone, the dearest first."""
    layers = range(potential.config.layers)
    where = [
        (block, layer, channel)
        for block, channels in channels_of(potential.config).items()
        for layer in layers
        for channel in range(channels)
    ]
    effect = intervene(potential, frame, [Place(*place) for place in where], stand.baseline)
    order = np.argsort(-effect.force_size, kind="stable")
    where = [where[n] for n in order]
    energy, forces = effect.energy[order], effect.force_size[order]
    names = [f"{b} {k} · {record.channel_names(b)[c]}" for b, k, c in where]
    here = where.index((state.block, state.layer, state.channel))
    text = (
        f"Each layer's heads, degrees or orders {stand.said}, one at a time, {len(names)} in all. "
        f"Dearest: {names[0]}, the forces change by {amount(forces[0], '/Å')}, the energy by "
        f"{amount(energy[0], sign=True)}. Cheapest: {names[-1]}, {amount(forces[-1], '/Å')}. The "
        f"shown one is number {here + 1} ({amount(forces[here], '/Å')}). A click on a bar shows it."
    )
    if len(names) > MOST_BARS:
        text += f" Drawn are the first {MOST_BARS}."
    picks = [{"block": b, "layer": k, "channel": c} for b, k, c in where]
    data = {
        "kind": "bars",
        "title": f"Heads, degrees, orders {stand.said}, one at a time",
        "names": names[:MOST_BARS],
        "values": look.digits(1e3 * forces[:MOST_BARS]),
        "said": [
            f"{name}: the energy changes by {amount(each, sign=True)}"
            for name, each in zip(names, energy, strict=True)
        ],
        "picks": picks[:MOST_BARS],
        "chosen": here,
        "limit": 1e3 * float(forces.max()) or 1.0,
        "signed": False,
        "colour": look.MAGNITUDE,
        "unit": "change of forces (meV/Å)",
    }
    blocks, at, channels = zip(*where, strict=True)
    table = {
        "table": "heads",
        "frame": state.frame,
        "instead": stand.said,
        "block": np.array(blocks),
        "layer": np.array(at),
        "channel": np.array(
            [record.channel_names(b)[c] for b, c in zip(blocks, channels, strict=True)]
        ),
        "change_of_energy_eV": energy,
        "change_of_forces_eV_per_A": forces,
    }
    return Tested(text, (data,), table)


def marked_anew(data: dict[str, Any], state: ViewState) -> dict[str, Any]:
    """A plot that was drawn before, with the choices of another state marked."""
    if data.get("kind") == "matrix":
        return data | {"chosen": marked(state)}
    if data.get("kind") == "bars":
        here = {name: getattr(state, name) for name in ("block", "layer", "channel")}
        return data | {"chosen": data["picks"].index(here) if here in data["picks"] else None}
    if data.get("kind") == "points":
        ends = {name: end for name, end in marked(state).items() if end is not None}
        bright = [
            all(data[name][k] == end for name, end in ends.items()) for k in range(len(data["x"]))
        ]
        return data | {"bright": bright}
    return data
