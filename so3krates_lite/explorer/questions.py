"""The explorer's questions to the model: what does the chosen do, once changed; what turns along?

Plain functions: each takes the frame, its record and the view's state, and gives an answer in
words, plots of it, and a table of its numbers. Which pairs and heads count is asked in
`importance`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from so3krates_lite.errors import UserError
from so3krates_lite.explorer.state import ViewState
from so3krates_lite.interpret.baselines import ZERO, Baseline, channels_of
from so3krates_lite.interpret.interventions import STATES, Place, intervene, shapes_of
from so3krates_lite.potential import Potential
from so3krates_lite.record import wording
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.blocks import BLOCKS
from so3krates_lite.structures.frames import Frames

BASELINES = {
    "zero": "zero",
    "mean": "the mean over the frames",
    "frame": "what the second frame has",
}
# "chi" is the paper's name of the SPHCs
CHANGED = {"coefficients": "attention coefficients", "x": "features x", "chi": "SPHCs χ"}

Table = dict[str, Any]  # columns of one length, and what is the same in all lines as it stands


class Tested(NamedTuple):
    """An answer in words, the data of up to two plots of it, and its numbers."""

    text: str
    plots: tuple[dict[str, Any], ...]
    table: Table


def amount(eV: float, per: str = "", sign: bool = False) -> str:
    """In meV, or in eV from 1 eV on; ``per`` is what follows the unit, such as "/Å"."""
    value, unit = (1e3 * eV, "meV") if abs(eV) < 1 else (eV, "eV")
    return f"{value:{'+' if sign else ''}.3g} {unit}{per}"


class Stand(NamedTuple):
    """What stands in for what is taken away, and how that is said after "is" or "are"."""

    baseline: Baseline = ZERO
    said: str = "switched off"


SWITCHED_OFF = Stand()


def stand_in(kind: str, frames: Frames, shown: int, second: int = 0) -> Stand:
    """What is put in a coefficient's place, by a name of `BASELINES`.

    Args:
        shown: the frame that is changed
        second: the frame that "frame" takes values from

    Raises:
        UserError: an unknown name, a second frame that does not exist or is the shown one, or
            no frames to take a mean over
    """
    if kind == "zero":
        return SWITCHED_OFF
    if kind == "mean":
        if len(frames) < 2:
            raise UserError("A mean needs several frames: open the explorer on some, or take zero.")
        return Stand(Baseline("mean", frames), f"set to the mean over the {len(frames)} frames")
    if kind != "frame":
        raise UserError(f"Unknown '{kind}': choose one of {', '.join(BASELINES)}.")
    if not 0 <= second < len(frames):
        raise UserError(f"The second frame {second} does not exist: there are {len(frames)}.")
    if second == shown:
        raise UserError(
            f"The second frame is the shown one, {shown}: choose another, there are {len(frames)}."
        )
    return Stand(Baseline("patch", frames[second]), f"taken from frame {second}")


def about(
    what: str, record: AttentionRecord, state: ViewState, stand: Stand | None = None
) -> Table:
    """The columns of every table: what was asked of which view."""
    channel = record.channel_names(state.block)[state.channel]
    where = {"block": state.block, "layer": state.layer, "channel": channel}
    found: Table = {"table": what, "frame": state.frame, **where}
    return found | ({"instead": stand.said} if stand else {})


def chosen_tested(
    potential: Potential,
    frame: Frames,
    record: AttentionRecord,
    state: ViewState,
    stand: Stand = SWITCHED_OFF,
    what: str = "coefficients",
) -> Tested:
    """The chosen pair, all that the chosen atom takes part in, or the whole channel, changed.

    Args:
        what: a name of `CHANGED`; x and χ are those that the shown layer leaves, of the chosen atom
            or of all

    Raises:
        UserError: the model has no such features
    """
    labels = wording.atom_labels(frame.numbers[0])
    place, named = _place(potential, record, state, labels, what)
    effect = intervene(potential, frame, [place], stand.baseline)
    energy, forces = float(effect.energy[0]), np.linalg.norm(effect.forces[0], axis=-1)
    most = int(forces.argmax())
    text = (
        f"{named}, {stand.said}: the energy changes by {amount(energy, sign=True)}, the forces by "
        f"{amount(effect.force_size[0], '/Å')} in all, most on {labels[most]} "
        f"({amount(forces[most], '/Å')}). Everything else of the network is as it was."
    )
    table = about("changed", record, state, stand) | {
        "changed": what,
        "of": named,
        "change_of_energy_eV": energy,
        "atom": np.arange(len(labels)),
        "change_of_force_eV_per_A": forces[: len(labels)],
    }
    return Tested(text, (), table)


def patched(
    potential: Potential,
    frames: Frames,
    record: AttentionRecord,
    state: ViewState,
    second: int,
    what: str = "coefficients",
) -> Tested:
    """The same with values of a second frame, beside what the two frames differ by as a whole.

    Features of another geometry belong to it: with forces the values are held while atoms move.
    """
    stand = stand_in("frame", frames, state.frame, second)
    shown = frames[state.frame]
    found = chosen_tested(potential, shown, record, state, stand, what)
    energy = potential.predict(frames[[state.frame, second]], allow_unknown_elements=True).energy
    apart = float(energy[1] - energy[0])
    text = (
        f"{found.text} As a whole, frame {second} lies {amount(apart, sign=True)} from frame "
        f"{state.frame}."
    )
    table = found.table | {"table": "patch", "second_frame": second, "frames_apart_eV": apart}
    return Tested(text, (), table)


def _place(
    potential: Potential,
    record: AttentionRecord,
    state: ViewState,
    labels: list[str],
    what: str,
) -> tuple[Place, str]:
    """Where the network is changed, and what that is in words."""
    layer, channel = state.layer, state.channel
    name = record.channel_names(state.block)[channel]
    if what == "coefficients":
        pairs, named = None, "The whole channel"
        if state.atom is not None:
            others = range(len(labels)) if state.partner is None else [state.partner]
            asks = state.role == "receiver"
            pairs = [(state.atom, k) if asks else (k, state.atom) for k in others]
            verb = "attends to" if asks else "is attended by"
            other = "anything" if state.partner is None else labels[state.partner]
            named = f"That {labels[state.atom]} {verb} {other}"
        return Place(state.block, layer, channel, pairs), f"{named}, in layer {layer}, {name}"
    known = [each for each in STATES if each in shapes_of(potential.config, 1, states=True)]
    if what not in known:
        raise UserError(
            f"This model has no {CHANGED.get(what, what)}: choose {' or '.join(known)}."
        )
    # heads (or orders) share x among them, degrees χ; of the other kind all are meant
    owner = next(iter(channels_of(potential.config))) if what == "x" else "geometric"
    own = BLOCKS[owner].channels == BLOCKS[state.block].channels
    atoms, whose = None, "all atoms"
    if state.atom is not None:
        atoms, whose = [state.atom], labels[state.atom]
    part = f", {name}" if own else ""
    place = Place(what, layer + 1, channel if own else None, atoms=atoms)
    return place, f"The {CHANGED[what]} of {whose} after layer {layer}{part}"


class Turned(NamedTuple):
    """Largest deviations after a rotation, relative to the largest value of each."""

    attention: float
    sphc: float | None  # of the rotated SPHCs from the Wigner matrices times the SPHCs
    moved: float | None  # how far the SPHCs themselves have moved


def turned(potential: Potential, frame: Frames, seed: int = 0) -> Turned:
    """Turn a frame at random, and compare attention and SPHCs before and after, in float64."""
    import e3x
    import jax.numpy as jnp
    from scipy.spatial.transform import Rotation

    from so3krates_lite.harmonics import columns_of_degrees
    from so3krates_lite.runtime.settings import precision_context

    exact = potential.astype("float64")
    turn = Rotation.random(random_state=seed).as_matrix()
    image = frame.replace(positions=frame.positions @ turn.T)
    before, after = (exact.attention(each, allow_unknown_elements=True) for each in (frame, image))
    # pairs are listed in the order of their atoms, in both alike
    worst = max(
        np.abs(after.attention(name).weighted - before.attention(name).weighted).max()
        / max(np.abs(before.attention(name).weighted).max(), 1e-300)
        for name in before.blocks
    )
    if before.sphc is None:
        return Turned(float(worst), None, None)
    degrees = before.degrees
    with precision_context(np.dtype(np.float64)):
        D = np.asarray(e3x.so3.wigner_d(jnp.asarray(turn.T), max(degrees), cartesian_order=False))
    keep = columns_of_degrees(degrees)
    expected = before.sphc @ D[np.ix_(keep, keep)]
    size = np.abs(before.sphc).max()
    return Turned(
        float(worst),
        float(np.abs(after.sphc - expected).max() / size),
        float(np.abs(after.sphc - before.sphc).max() / size),
    )


def turned_tested(
    potential: Potential, frame: Frames, record: AttentionRecord, state: ViewState
) -> Tested:
    """The same in words; the frame's number is the seed."""
    found = turned(potential, frame, state.frame)
    table = {"table": "turned", "frame": state.frame, **found._asdict()}
    text = (
        "The molecule was turned at random and everything computed anew, in float64. Attention "
        f"changed by {found.attention:.1e} of its largest value"
    )
    if found.sphc is None:
        text += ": it is made of distances alone. (This model has no SPHCs.)"
        return Tested(text, (), table)
    text += (
        f"; the SPHCs moved by {found.moved:.2g} of theirs, and differ from the Wigner "
        f"matrices times the old ones by {found.sphc:.1e}."
    )
    return Tested(text, (), table)
