"""Impressions whose slates can be ranked right or wrong: those with both a click and a skip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.impression_log import ImpressionLog


def rankable_impressions(log: ImpressionLog, most: int | None = None) -> NDArray[np.int64]:
    """Positions of the impressions with a click and a skip, at most ``most`` of them, spread evenly."""
    clicks_before = np.concatenate([np.zeros(1, np.int64), np.cumsum(log.clicked)])
    clicks = np.diff(clicks_before[log.slate_start])  # (impressions,)
    both = np.flatnonzero((clicks > 0) & (clicks < np.diff(log.slate_start)))
    if most is not None and len(both) > most:
        both = both[np.linspace(0, len(both) - 1, most).astype(np.int64)]
    return both


def candidate_slots(
    log: ImpressionLog, positions: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Slots (n,) of the candidates of some impressions in the log, and the row of ``positions`` of each."""
    starts = log.slate_start[positions]
    sizes = log.slate_start[positions + 1] - starts
    row = np.repeat(np.arange(len(positions)), sizes)
    before = np.cumsum(sizes) - sizes
    return np.arange(len(row)) + (starts - before)[row], row
