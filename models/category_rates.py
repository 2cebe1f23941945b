"""How much each category is clicked at the moment, against what its showings would predict.

Reading the whole catalog, the rates are computed anew only when ``INTERVAL_S`` of event time have passed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

INTERVAL_S = 3_600.0
HALF_LIFE = 2
"""Which of the catalog's counts: 24 hours."""
_PRIOR = 5.0
"""Clicks at the expected rate that count as seen of every category."""


@dataclass(frozen=True, slots=True)
class CategoryRates:
    """Of each code (0 is the empty name), the share of all clicks and the logarithm of its lift."""

    share: NDArray[np.float64]
    """Shape (categories,): the share of all clicks, shrunk towards an equal one."""
    lift: NDArray[np.float64]
    """Shape (categories,): log of clicks over expected clicks, both shrunk; 0 for the empty name."""

    @classmethod
    def of(
        cls,
        codes: NDArray[np.int32],
        names: int,
        clicks_of_articles: NDArray[np.float64],
        expected_of_articles: NDArray[np.float64],
    ) -> Self:
        """The rates of ``names`` codes, from those of n articles (n,) and their counts (n,)."""
        clicks = np.bincount(codes, clicks_of_articles, names)
        expected = np.bincount(codes, expected_of_articles, names)
        total = clicks.sum()
        expected *= (total + 1.0) / (expected.sum() + 1.0)
        lift = np.log((clicks + _PRIOR) / (expected + _PRIOR))
        lift[0] = 0.0
        share = (clicks + 1.0) / (total + names)
        return cls(share, lift)


class CurrentRates:
    """The rates of categories and of subcategories as of lately."""

    def __init__(self) -> None:
        self._at_s = -math.inf
        self._names = (0, 0)
        self._rates: tuple[CategoryRates, CategoryRates] | None = None

    def fresh(self, names: tuple[int, int], now_s: float) -> tuple[CategoryRates, CategoryRates] | None:
        """What was computed for so many names at most ``INTERVAL_S`` from ``now_s``, if anything was."""
        if names == self._names and abs(now_s - self._at_s) < INTERVAL_S:
            return self._rates
        return None

    def compute(
        self,
        codes: tuple[NDArray[np.int32], NDArray[np.int32]],
        names: tuple[int, int],
        clicks: NDArray[np.float64],
        expected: NDArray[np.float64],
        now_s: float,
    ) -> tuple[CategoryRates, CategoryRates]:
        """The rates of categories and of subcategories.

        Args:
            codes: The n articles' categories and subcategories.
            names: How many there are of each.
            clicks: Shape (n,): of each article, as of ``now_s``, at the half-life :data:`HALF_LIFE`.
            expected: Expected clicks, of the same.
            now_s: Event time, Unix seconds.
        """
        self._rates = (
            CategoryRates.of(codes[0], names[0], clicks, expected),
            CategoryRates.of(codes[1], names[1], clicks, expected),
        )
        self._at_s, self._names = now_s, names
        return self._rates
