"""What attention is called: formulas, axes and names of atoms, the same in all pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from so3krates_lite.errors import UserError
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.blocks import BLOCKS

# by block and quantity
FORMULA = {name: block.formula for name, block in BLOCKS.items()}
AXIS = {name: block.axis for name, block in BLOCKS.items()}


def atom_labels(numbers: Sequence[int] | Int[np.ndarray, "atoms"]) -> list[str]:
    """Element and index, counted from 0 as in the arrays: ``C0``, ``C1``, ``O2`` …"""
    from ase.data import chemical_symbols

    return [f"{chemical_symbols[int(z)]}{i}" for i, z in enumerate(numbers) if z > 0]


def element_pairs(
    record: AttentionRecord, index: np.ndarray, block: str | None = None
) -> list[str]:
    """``C ← H`` (C asks, H answers) for each chosen directed pair of the block's list."""
    from ase.data import chemical_symbols as symbols

    pairs = record.neighbours(block)
    z_i = record.numbers[pairs.frame[index], pairs.receiver[index]]
    z_j = record.numbers[pairs.frame[index], pairs.sender[index]]
    return [f"{symbols[i]} ← {symbols[j]}" for i, j in zip(z_i, z_j, strict=True)]


def scale_limit(
    record: AttentionRecord, block: str | None, quantity: str, limit: float | None = None
) -> float:
    """End of the colour scale: ``limit`` if given, else the largest size in the whole block."""
    if limit is not None and not (np.isfinite(limit) and limit > 0):
        raise UserError(f"limit is {limit}: the end of a colour scale must be more than 0.")
    return limit or record.limit(block, quantity) or 1.0
