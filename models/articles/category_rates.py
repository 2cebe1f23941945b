"""Click rates of categories, relative to what their impressions predict.

Rates read the whole catalog, so they are computed again only after ``INTERVAL_S`` of event time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.label_columns import LabelColumns
from freshet.models.articles.statistics_columns import StatisticsColumns
from freshet.models.kernels.statistics_layout import CLICKS, EXPECTED, LAST_EVENT

INTERVAL_S = 3_600.0
HALF_LIFE = 2
"""Index of the catalog's count used here: 24 hours."""
_PRIOR = 5.0
"""Clicks at the expected rate, added to every category's own."""


@dataclass(frozen=True, slots=True)
class CategoryRates:
    """Share of clicks and logarithm of the lift, for each category code (0 is the empty name)."""

    share: NDArray[np.float64]
    """Share of all clicks, shrunk towards an equal one, shape (categories,)."""
    lift: NDArray[np.float64]
    """Log of clicks over expected clicks, both shrunk; 0 for the empty name. Shape (categories,)."""

    @classmethod
    def of(
        cls,
        codes: NDArray[np.int32],
        names: int,
        clicks_of_articles: NDArray[np.float64],
        expected_of_articles: NDArray[np.float64],
    ) -> Self:
        """Rates of ``names`` categories, from n articles' codes (n,) and counts (n,)."""
        clicks = np.bincount(codes, clicks_of_articles, names)  # (names,)
        expected = np.bincount(codes, expected_of_articles, names)
        total = clicks.sum()
        expected *= (total + 1.0) / (expected.sum() + 1.0)
        lift = np.log((clicks + _PRIOR) / (expected + _PRIOR))
        lift[0] = 0.0
        share = (clicks + 1.0) / (total + names)
        return cls(share, lift)


class CurrentRates:
    """Recent rates of a catalog's categories and subcategories, from its labels and statistics."""

    def __init__(self, labels: LabelColumns, statistics: StatisticsColumns) -> None:
        self._labels = labels
        self._statistics = statistics
        self._at_s = -math.inf
        self._names = (0, 0)
        self._rates: tuple[CategoryRates, CategoryRates] | None = None

    def at(self, rows: int, now_s: float) -> tuple[CategoryRates, CategoryRates]:
        """Rates of categories and of subcategories, at most ``INTERVAL_S`` away from ``now_s``.

        Args:
            rows: Number of rows in use or freed.
            now_s: Event time, Unix seconds.
        """
        labels = self._labels
        names = (len(labels.categories.by_code), len(labels.subcategories.by_code))
        if self._rates is None or names != self._names or not abs(now_s - self._at_s) < INTERVAL_S:
            statistics = self._statistics
            left = statistics.decay(statistics.times_s[:rows, LAST_EVENT], now_s, HALF_LIFE)
            clicks, expected = (statistics.of(kind)[:rows, HALF_LIFE] * left for kind in (CLICKS, EXPECTED))
            self._rates = (
                CategoryRates.of(labels.category[:rows], names[0], clicks, expected),
                CategoryRates.of(labels.subcategory[:rows], names[1], clicks, expected),
            )
            self._at_s, self._names = now_s, names
        return self._rates
