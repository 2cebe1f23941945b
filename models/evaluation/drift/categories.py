"""Whether categories occur as often as they did: the population stability index, and what it rests on.

    PSI = sum over categories of (p - q) ln(p / q),

with p and q a category's share after and before (Siddiqi 2006, "Credit Risk Scorecards"): the sum of the
two Kullback-Leibler divergences (Jeffreys 1946), so it is symmetric, and 0 where shares agree. The usual
reading: below 0.1 stable, up to 0.25 a moderate shift, above it a significant one.

A category that one side lacks would make it infinite, so counts are smoothed: p = (count + 0.5) / (total +
0.5 bins). Smoothing makes small samples look more alike than they are. Chance makes them look less alike:
with n and m counted, PSI is about (bins - 1) (1/n + 1/m) on average where nothing has changed (Yurdakul 2018,
"Statistical Properties of Population Stability Index"). Read it beside that number. It takes events for
independent ones; slots that show one article a thousand times are not, and vary more.
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
"""Added to each count: what a category is worth that one side has never seen."""

Reading = Literal["stable", "moderate shift", "significant shift"]
_Counts = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CategoryCount:
    """One category in two periods."""

    category: str
    before: float
    after: float
    """How often; not smoothed."""
    psi: float
    """Its part of the sum."""


@dataclass(frozen=True, slots=True)
class CategoryShift:
    """The population stability index of categories, with what it rests on."""

    psi: float
    by_chance: float
    """What PSI is on average where nothing but chance differs; one that is not above it says nothing."""
    before: float
    """Counted in all, before."""
    after: float
    counts: tuple[CategoryCount, ...]
    """The largest part of the sum first."""

    @property
    def reading(self) -> Reading:
        """The usual one, by 0.1 and 0.25."""
        if self.psi < MODERATE_PSI:
            return "stable"
        return "moderate shift" if self.psi <= SIGNIFICANT_PSI else "significant shift"


def category_shift(before: Mapping[str, float], after: Mapping[str, float]) -> CategoryShift:
    """The population stability index of how often each category occurs, see the module.

    Args:
        before: How often each category occurs; counts may have decayed, and be no whole numbers.
        after: The same, later.

    Raises:
        ValueError: A count is negative or not finite, or one side has counted nothing.
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
    # What has decayed to next to nothing has an infinite reciprocal, and no chance moves a single category.
    by_chance = 0.0 if bins == 1 else (bins - 1) * (1.0 / float(a.sum()) + 1.0 / float(b.sum()))
    return CategoryShift(
        float(parts.sum()),
        by_chance,
        float(a.sum()),
        float(b.sum()),
        tuple(CategoryCount(names[i], float(a[i]), float(b[i]), float(parts[i])) for i in order),
    )


def psi_parts(before: _Counts, after: _Counts) -> _Counts:
    """Each bin's part (bins,) of the population stability index of counts (bins,).

    Bins that are empty on both sides are no bins: their part is 0, and they are not smoothed.
    """
    used = (before > 0) | (after > 0)
    bins = int(used.sum())
    q = (before[used] + SMOOTHING) / (before.sum() + SMOOTHING * bins)
    p = (after[used] + SMOOTHING) / (after.sum() + SMOOTHING * bins)
    parts = np.zeros(len(before))
    parts[used] = (p - q) * np.log(p / q)
    return parts
