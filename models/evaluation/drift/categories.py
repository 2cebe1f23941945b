"""Drift of categories: the population stability index.

    PSI = sum over categories of (p - q) ln(p / q),

with p and q a category's share after and before (Siddiqi 2006, "Credit Risk Scorecards"). It is the sum of
the two Kullback-Leibler divergences (Jeffreys 1946): symmetric, and 0 for equal shares. Usually a PSI below
0.1 is read as stable, up to 0.25 as a moderate shift, and above as a significant shift.

Counts are smoothed, p = (count + 0.5) / (total + 0.5 bins), because a category with no count on one side
would make the PSI infinite. Where nothing has changed, the PSI of n and m independent events is about (bins -
1) (1/n + 1/m) on average (Yurdakul 2018, "Statistical Properties of Population Stability Index"); read it
beside that number. Slots that show one article a thousand times are not independent, and vary more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MODERATE_PSI = 0.1
SIGNIFICANT_PSI = 0.25
SMOOTHING = 0.5
"""Pseudo-count added to each category."""

Reading = Literal["stable", "moderate shift", "significant shift"]
_Counts = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CategoryCount:
    """One category in two periods."""

    category: str
    before: float
    after: float
    """Count, not smoothed."""
    psi: float
    """Term of the sum."""


@dataclass(frozen=True, slots=True)
class CategoryShift:
    """Population stability index of categories, with the counts."""

    psi: float
    by_chance: float
    """Mean PSI if nothing has changed; a PSI below it is no evidence of a shift."""
    before: float
    """Total count before."""
    after: float
    counts: tuple[CategoryCount, ...]
    """Categories, the largest term of the sum first."""

    @property
    def reading(self) -> Reading:
        """Usual reading by the limits 0.1 and 0.25."""
        if self.psi < MODERATE_PSI:
            return "stable"
        return "moderate shift" if self.psi <= SIGNIFICANT_PSI else "significant shift"


def category_shift(before: Mapping[str, float], after: Mapping[str, float]) -> CategoryShift:
    """Compute the population stability index of two counts of categories.

    Args:
        before: Count of each category; decayed counts need not be whole numbers.
        after: Later counts.

    Raises:
        ValueError: A count is negative or not finite, or the counts of one side are all 0.

    >>> shift = category_shift({"sport": 90, "news": 10}, {"sport": 50, "news": 50})
    >>> round(shift.psi, 2), shift.reading
    (0.85, 'significant shift')
    """
    names = sorted(before.keys() | after.keys())
    a = np.array([before.get(name, 0.0) for name in names], np.float64)
    b = np.array([after.get(name, 0.0) for name in names], np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all() and (a >= 0).all() and (b >= 0).all()):
        raise ValueError("a category's count is negative or not finite")
    if not a.sum() > 0 or not b.sum() > 0:
        raise ValueError(f"{a.sum():g} counted before and {b.sum():g} after: shares need both")
    parts = psi_parts(a, b)
    order = np.argsort(-parts, kind="stable").tolist()
    bins = int(((a > 0) | (b > 0)).sum())
    # A single category cannot shift, and the reciprocal of a count that has decayed to almost 0 is infinite.
    by_chance = 0.0 if bins == 1 else (bins - 1) * (1.0 / float(a.sum()) + 1.0 / float(b.sum()))
    return CategoryShift(
        float(parts.sum()),
        by_chance,
        float(a.sum()),
        float(b.sum()),
        tuple(CategoryCount(names[i], float(a[i]), float(b[i]), float(parts[i])) for i in order),
    )


def psi_parts(before: _Counts, after: _Counts) -> _Counts:
    """Terms (bins,) of the population stability index of counts (bins,).

    Bins that are empty on both sides do not count: their term is 0, and they are not smoothed.
    """
    used = (before > 0) | (after > 0)
    bins = int(used.sum())
    q = (before[used] + SMOOTHING) / (before.sum() + SMOOTHING * bins)
    p = (after[used] + SMOOTHING) / (after.sum() + SMOOTHING * bins)
    parts = np.zeros(len(before))
    parts[used] = (p - q) * np.log(p / q)
    return parts
