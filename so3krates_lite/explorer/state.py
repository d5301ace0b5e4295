"""What the explorer shows: one frozen state, checked against the record it belongs to."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from so3krates_lite.config import known_fields
from so3krates_lite.errors import UserError
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.parts import QUANTITIES
from so3krates_lite.runtime.files import write_atomically

ROLES = ("receiver", "sender")
COLOURS = ("element", "charge", "deviation")


@dataclass(frozen=True)
class ViewState:
    """The choices that all views share.

    Args:
        block, layer, channel, quantity, frame: as of `AttentionRecord.select`
        atom: the chosen atom; None: all
        partner: a second atom, where a pair was chosen; None: none
        role: whether ``atom`` asks ("receiver") or answers ("sender")
        threshold: pairs below this fraction of the scale's end are not drawn
        limit: end of the colour scale; None: the largest size in the whole block
        colour: of atoms while none is chosen: by "element", by partial "charge", or by the
            "deviation" of forces over the members of an ensemble
    """

    block: str
    layer: int = 0
    channel: int = 0
    quantity: str = "weighted"
    frame: int = 0
    atom: int | None = None
    partner: int | None = None
    role: str = "receiver"
    threshold: float = 0.05
    limit: float | None = None
    colour: str = "element"

    def checked(self, record: AttentionRecord) -> ViewState:
        """The state itself, if it fits the record; else a `UserError` that names the choice.

        Layers and channels that another block has and this one lacks are set back to 0.
        """
        state = self
        for name, size in (
            ("layer", record.n_layers),
            ("channel", record.n_channels(self.block)),
        ):
            if not 0 <= getattr(state, name) < size:
                state = dataclasses.replace(state, **{name: 0})
        if self.quantity not in QUANTITIES:
            raise UserError(f"Unknown quantity '{self.quantity}': {', '.join(QUANTITIES)}.")
        if not 0 <= self.frame < len(record):
            raise UserError(f"Frame {self.frame} does not exist: there are {len(record)}.")
        atoms = record.n_atoms(self.frame)
        for name in ("atom", "partner"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < atoms:
                raise UserError(f"Atom {value} does not exist: the frame has {atoms} atoms.")
        if self.role not in ROLES:
            raise UserError(f"Unknown role '{self.role}': choose {' or '.join(ROLES)}.")
        if self.colour not in COLOURS:
            raise UserError(f"Unknown colour '{self.colour}': choose {' or '.join(COLOURS)}.")
        if self.colour not in colours_of(record):
            state = dataclasses.replace(state, colour="element")
        if not 0 <= self.threshold <= 1:
            raise UserError(f"threshold is {self.threshold}: give a fraction from 0 to 1.")
        if self.limit is not None and not self.limit > 0:
            raise UserError(f"limit is {self.limit}: the end of a scale is more than 0.")
        return state

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ViewState:
        """The inverse of `to_dict`; an unknown name is an error."""
        return cls(**known_fields(cls, values, "explorer's state"))

    def save(self, path: str | Path) -> None:
        """Write the state as JSON."""
        write_atomically(Path(path), json.dumps(self.to_dict(), indent=1).encode())

    @classmethod
    def load(cls, path: str | Path) -> ViewState:
        """Read what `save` wrote."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise UserError(f"There is no file {path}: check the path.") from None
        except (ValueError, TypeError) as error:  # UserError is a ValueError
            raise UserError(f"{path} is not a saved state of the explorer: {error}") from None


def followed(state: ViewState, own: ViewState, record: AttentionRecord) -> ViewState:
    """What a view of another ``record`` shows when it follows ``state``.

    What the record does not have, a block, a frame or an atom, stays as in the view's ``own``.
    """
    kept: dict[str, Any] = {}
    if state.block not in record.blocks:
        names = ("block", "layer", "channel", "limit")
        kept = {name: getattr(own, name) for name in names}
    if state.frame >= len(record):
        kept["frame"] = own.frame
    atoms = record.n_atoms(kept.get("frame", state.frame))
    if max(-1 if k is None else k for k in (state.atom, state.partner)) >= atoms:
        kept |= {"atom": None, "partner": None}
    return dataclasses.replace(state, **kept).checked(record)


def colours_of(record: AttentionRecord) -> list[str]:
    """What atoms can be coloured by."""
    known = {"charge": record.charges, "deviation": record.forces_std}
    return [name for name in COLOURS if name == "element" or known[name] is not None]


def after_pick(state: ViewState, picked: dict[str, Any]) -> ViewState:
    """The state after a click: on an atom, a pair, a layer's channel (perhaps of a block), a frame.

    A second click on the chosen atom shows all atoms again.
    """
    change: dict[str, Any] = {}
    if "atom" in picked:
        again = picked["atom"] == state.atom and state.partner is None
        change = {"atom": None if again else int(picked["atom"]), "partner": None}
    elif "receiver" in picked:
        one, other = int(picked["receiver"]), int(picked["sender"])
        atom, partner = (one, other) if state.role == "receiver" else (other, one)
        again = (state.atom, state.partner) == (atom, partner)
        change = {"atom": None, "partner": None} if again else {"atom": atom, "partner": partner}
    elif "layer" in picked:
        change = {"layer": int(picked["layer"]), "channel": int(picked["channel"])}
        change |= {"block": picked["block"]} if "block" in picked else {}
    elif "frame" in picked:
        change = {"frame": int(picked["frame"])}
    return dataclasses.replace(state, **change)
