"""Orders of channels and pairs: which is strongest, and whether two orders agree."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from so3krates_lite.errors import UserError
from so3krates_lite.record.attention_record import AttentionRecord


def rank_correlation(a: Float[np.ndarray, "pairs"], b: Float[np.ndarray, "pairs"]) -> float:
    """Spearman's rank correlation: 1, the same order; 0, none; -1, the opposite one."""
    from scipy.stats import spearmanr

    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or a.size < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        raise UserError("A rank correlation needs two lists of equal length that both vary.")
    return float(spearmanr(a, b).statistic)


def verdict(correlation: float, pairs: int) -> str:
    """What a rank correlation of attention and effect allows one to say."""
    if abs(correlation) < 0.3:
        found = "hardly orders the pairs as their effect does: do not read importance from it here"
    elif correlation > 0.7:
        found = "orders the pairs much as their effect does, in this frame and this network"
    elif correlation > 0:
        found = "and effect agree in part: single pairs may be far off"
    else:
        found = "and effect run against each other here"
    return (
        f"Over {pairs} directed pairs the size of attention {found} (Spearman {correlation:+.2f}). "
        "The effect is that of switching a coefficient off inside this network, one at a time; it "
        "says nothing of what the real molecule would do, and pairs that stand in for each other "
        "both look unimportant."
    )


def strongest_channel(record: AttentionRecord, block: str | None = None) -> tuple[int, int]:
    """Layer and channel that hold the largest ``weighted`` value: where a reader should begin."""
    peaks = [
        [
            np.abs(record.select(block, layer, channel)).max(initial=0.0)
            for channel in range(record.n_channels(block))
        ]
        for layer in range(record.n_layers)
    ]
    layer, channel = np.unravel_index(np.argmax(peaks), np.shape(peaks))
    return int(layer), int(channel)
