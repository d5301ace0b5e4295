"""The explorer's questions to the model: does what is shown matter, and does it turn along?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from so3krates_lite.drawing import look
from so3krates_lite.explorer.drawing import points
from so3krates_lite.explorer.state import ViewState
from so3krates_lite.interpret import switching
from so3krates_lite.potential import Potential
from so3krates_lite.record import ranking, wording
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.structures.frames import Frames


class Tested(NamedTuple):
    """An answer in words, and a plot of it."""

    text: str
    data: dict[str, Any]


def pairs_tested(
    potential: Potential, frame: Frames, record: AttentionRecord, state: ViewState
) -> Tested:
    """Every pair of the shown layer and channel switched off: attention against the effect."""
    where = {"block": state.block, "layer": state.layer, "channel": state.channel}
    found = switching.effects_of_pairs(potential, frame, **where)
    shown = np.abs(
        record.matrix(state.frame, state.block, state.layer, state.channel, state.quantity)
    )[found.receiver, found.sender]
    effect = 1e3 * found.effect.force_size
    correlation = ranking.rank_correlation(shown, effect)
    away = found.receiver != found.sender
    stiff = switching.sensitivity(potential, frame)[found.receiver, found.sender]
    with_stiff = ranking.rank_correlation(shown[away], stiff[away])
    text = (
        f"{ranking.verdict(correlation, len(shown))} Against the sensitivity ∂F/∂r of the "
        f"receiver's force to the sender's place: {with_stiff:+.2f}."
    )
    data = points(
        shown,
        effect,
        found.receiver,
        found.sender,
        title=f"|{state.quantity}| against effect, Spearman {correlation:+.2f}",
        labels=wording.atom_labels(frame.numbers[0]),
        x_title=f"size of what is shown: {wording.AXIS[state.block][state.quantity]}",
        x_end=1.05 * float(shown.max()),
        limit=float(effect.max()),
        signed=False,
        scale=look.SEQUENTIAL,
        unit="change of forces (meV/Å)",
    )
    return Tested(text, data)


def chosen_tested(
    potential: Potential, frame: Frames, record: AttentionRecord, state: ViewState
) -> str:
    """The chosen pair, all pairs of the chosen atom, or the whole channel switched off."""
    labels = wording.atom_labels(frame.numbers[0])
    atoms = range(len(labels))
    pairs, what = None, "The whole channel"
    if state.atom is not None:
        others = atoms if state.partner is None else [state.partner]
        pairs = [(state.atom, k) if state.role == "receiver" else (k, state.atom) for k in others]
        verb = "attends to" if state.role == "receiver" else "is attended by"
        other = "anything" if state.partner is None else labels[state.partner]
        what = f"That {labels[state.atom]} {verb} {other}"
    where = {"block": state.block, "layer": state.layer, "channel": state.channel}
    effect = switching.switch_off(potential, frame, pairs=pairs, **where)
    name = record.channel_names(state.block)[state.channel]
    moved = np.linalg.norm(effect.forces[0], axis=-1)
    return (
        f"{what}, in layer {state.layer}, {name}, switched off: the energy changes by "
        f"{1e3 * effect.energy[0]:+.3g} meV, the forces by {1e3 * effect.force_size[0]:.3g} meV/Å "
        f"in all, most on {labels[int(moved.argmax())]} ({1e3 * moved.max():.3g} meV/Å). "
        f"Everything else of the network is as it was."
    )


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
    potential: Potential, frame: Frames, record: AttentionRecord, seed: int = 0
) -> str:
    """The same as a sentence."""
    found = turned(potential, frame, seed)
    text = (
        "The molecule was turned at random and everything computed anew, in float64. Attention "
        f"changed by {found.attention:.1e} of its largest value"
    )
    if found.sphc is None:
        return text + ": it is made of distances alone. (This model has no SPHCs.)"
    return (
        f"{text}; the SPHCs moved by {found.moved:.2g} of theirs, and differ from the Wigner "
        f"matrices times the old ones by {found.sphc:.1e}."
    )
