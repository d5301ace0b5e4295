"""The kinds of attention that there are: what their channels are, and in what words they are told.

A network says by its configuration which blocks it has. What a block's channels are, which pairs it
lists, how its three quantities come about and what they are called in tables, pictures and reports,
all of that stands in one table, `BLOCKS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_SIZE = "norm of what the pair adds to the receiver"
_SIZE_AXIS = "size of the contribution (model units)"
_COEFFICIENT = "α = q·w·k / √f, before the cutoff"
_COEFFICIENT_AXIS = "attention coefficient α (dimensionless)"
_SCALED_PRODUCT = """The coefficient is a scaled product of query, filter and key; times the
cutoff it is the factor in front of the neighbour's message; the contribution is the norm of what
the pair then adds. Feature attention has heads, geometric attention one channel for each degree;
the spherical block is what the geometric attention adds for pairs near in SPHC space, at any
distance."""


@dataclass(frozen=True)
class Block:
    """One kind of attention.

    Args:
        channels: what lists its channels in a configuration (a number, or a tuple of names)
        listed: its pairs: those within the cutoff, those of the spherical neighbourhood, or all
        formula, axis: by quantity, how it is computed and what stands beside an axis
        explained: the three quantities in sentences, and the other blocks of such a model
        streams: whether each channel has layers of its own, which meet at the end only
    """

    channels: Literal["heads", "degrees", "orders"]
    listed: Literal["local", "spherical", "all"]
    formula: dict[str, str]
    axis: dict[str, str]
    explained: str
    streams: bool = False

    @property
    def channel(self) -> str:
        """What one channel is: a head, a degree or an order."""
        return self.channels[:-1]


_LOCAL = (
    "local",
    {
        "coefficient": _COEFFICIENT,
        "weighted": "α · φ(r), the factor in front of the message",
        "contribution": _SIZE,
    },
    {
        "coefficient": _COEFFICIENT_AXIS,
        "weighted": "attention α·φ(r) (dimensionless)",
        "contribution": _SIZE_AXIS,
    },
    _SCALED_PRODUCT,
)
BLOCKS = {
    "feature": Block("heads", *_LOCAL),
    "geometric": Block("degrees", *_LOCAL),
    "spherical": Block(
        "degrees",
        "spherical",
        {
            "coefficient": _COEFFICIENT,
            "weighted": "α · φ_χ, with the nearness φ_χ in SPHC space",
            "contribution": _SIZE,
        },
        {
            "coefficient": _COEFFICIENT_AXIS,
            "weighted": "attention α·φ_χ (dimensionless)",
            "contribution": _SIZE_AXIS,
        },
        _SCALED_PRODUCT,
    ),
    "correlation": Block(
        "orders",
        "all",
        {
            "coefficient": "C = Δ Σ g·g′·…, the correlation over all chains of atoms from i to j",
            "weighted": "α = C / number of orders, the factor in front of the message",
            "contribution": _SIZE,
        },
        {
            "coefficient": "correlation C (no unit)",
            "weighted": "attention α (no unit)",
            "contribution": _SIZE_AXIS,
        },
        """The coefficient is a correlation of geometry: a sum over all chains of atoms from the one
that asks to the one that answers, two atoms long in order 2, three in order 3. Divided by the
number of orders it is the factor in front of the other atom's message; the contribution is the norm
of what the pair then adds. Every atom attends to every atom, also to itself: a loop.""",
        streams=True,
    ),
    "given": Block(
        "heads",
        "all",
        {
            "coefficient": "the number before any cutoff, as the other code states it",
            "weighted": "the pair's weight, as the other code states it",
            "contribution": "size of what the pair adds, as the other code states it",
        },
        {
            "coefficient": "coefficient of another code",
            "weighted": "weight of another code",
            "contribution": "size, by another code",
        },
        """The numbers come from another code. The weight is what it multiplies the other atom's
message by; where it states no coefficient before the cutoff that is the same number, and where it
states no size of what the pair adds, the size of the weight stands there.""",
    ),
}
