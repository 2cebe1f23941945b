"""Statistics columns of a catalog: decayed counts, times, and sums over all rows.

Counts and times are one array each, because they are read and written together: on a slate of forty articles
a call of NumPy costs more than what it computes. Guarantees:

- Counts hold as of their row's last event; they can be read as of any later time.
- :meth:`StatisticsColumns.all_at` equals the sum over all rows, up to rounding, at the cost of one row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from freshet.models import kernels
from freshet.models.kernels import in_numpy
from freshet.models.kernels.statistics_layout import CLICKS, KINDS, LAST_EVENT, PUBLISHED, TIMES, decayed

_T = TypeVar("_T", bound=np.generic)


def doubled(column: NDArray[_T], fill: Any) -> NDArray[_T]:
    """Copy of an array with twice the rows, the new ones filled with ``fill``."""
    grown: NDArray[_T] = np.full((2 * len(column), *column.shape[1:]), fill, column.dtype)
    grown[: len(column)] = column
    return grown


class StatisticsColumns:
    """Counts and times by row; the last row, index -1, is never written and stands for unknown articles.

    Args:
        half_lives_s: Half-lives of the H counts of each kind; ``None`` does not decay.
        capacity: Number of rows.
    """

    def __init__(self, half_lives_s: tuple[float | None, ...], capacity: int) -> None:
        heads = len(half_lives_s)
        self.counts: NDArray[np.float64] = np.zeros((capacity, KINDS * heads))
        """Counts of each row, kind by kind, shape (capacity, KINDS * H)."""
        self.times_s: NDArray[np.float64] = np.full((capacity, TIMES), np.nan)
        self.clicked: NDArray[np.bool_] = np.zeros(capacity, np.bool_)
        """Rows that have clicks, shape (capacity,): few, so reading only them is fast."""
        self.rates_per_s: NDArray[np.float64] = np.array(
            [0.0 if half_life is None else 1.0 / half_life for half_life in half_lives_s]
        )
        """1 / half-life, 0 for none, shape (H,)."""
        self._growth: NDArray[np.float64] = np.tile(-self.rates_per_s, KINDS)
        """Logarithm (base 2) of each count's growth per second, shape (KINDS * H,)."""
        self.sums: NDArray[np.float64] = np.zeros((KINDS, heads))
        self.newest_s = -math.inf
        """The time of the sums; no row's last event is later."""
        self.newest_published_at_s = -math.inf
        """Latest publication time of any row; minus infinity while none is known."""

    def of(self, kind: int) -> NDArray[np.float64]:
        """Counts (capacity, H) of one kind, as of each row's last event."""
        heads = len(self.rates_per_s)
        return self.counts[:, kind * heads : (kind + 1) * heads]

    def grow(self) -> None:
        """Double the capacity."""
        self.counts = doubled(self.counts, 0.0)
        self.times_s = doubled(self.times_s, np.nan)
        self.clicked = doubled(self.clicked, False)

    def decay(
        self, time_s: NDArray[np.float64], now_s: float, head: int | None = None
    ) -> NDArray[np.float64]:
        """Decay factors at ``now_s`` of counts as of ``time_s`` (n,): (n, KINDS * H), or (n,) of a head."""
        age_s = np.fmax(now_s - time_s, 0.0)
        left: NDArray[np.float64] = (
            age_s[:, None] * self._growth if head is None else age_s * -self.rates_per_s[head]
        )
        return np.exp2(left, out=left)

    def at(self, rows: NDArray[np.int64], now_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Counts (n, KINDS * H) of ``rows`` (n,) as of ``now_s``, and times (n, TIMES).

        Counts of a row whose last event is after ``now_s`` are not changed.
        """
        counts, times_s = self.counts.take(rows, axis=0), self.times_s.take(rows, axis=0)
        counts *= self.decay(times_s[:, LAST_EVENT], now_s)
        return counts, times_s

    def all_at(self, now_s: float) -> NDArray[np.float64]:
        """Sums over all rows as of ``now_s``, shape (KINDS, H)."""
        sums: NDArray[np.float64] = self.sums * decayed(self.rates_per_s, now_s - self.newest_s)
        return np.maximum(sums, 0.0, out=sums)

    def publish(self, row: int, time_s: float) -> None:
        """Store a row's publication time; NaN if it is unknown."""
        self.times_s[row, PUBLISHED] = time_s
        self.newest_published_at_s = max(self.newest_published_at_s, time_s)

    def put(self, row: int, time_s: float, counts: Sequence[Sequence[float]]) -> None:
        """Replace a row's counts by those as of ``time_s``, H of each kind."""
        self._advance(time_s)
        self._take_out(row)
        of_row = np.array(counts, np.float64)
        self._add(time_s, of_row)
        self.counts[row] = of_row.reshape(-1)
        self.times_s[row, LAST_EVENT] = time_s
        self.clicked[row] = bool(of_row[CLICKS].any())

    def clear(self, row: int) -> None:
        """Forget a row."""
        self._take_out(row)
        self.counts[row] = 0.0
        self.times_s[row] = np.nan
        self.clicked[row] = False

    def count(
        self,
        rows: NDArray[np.int64],
        clicked: NDArray[np.bool_],
        time_s: float,
        slate: int | None = None,
    ) -> None:
        """Count a slate of distinct ``rows`` (n,), clicked where ``clicked`` (n,) is true.

        ``slate`` is the number of articles shown, where it is not n: too rare for a fast kernel.
        """
        kernel = kernels.count_slate if slate is None else partial(in_numpy.count_slate, slate=slate)
        self.newest_s = kernel(
            rows,
            clicked,
            time_s,
            self.counts,
            self.times_s,
            self.clicked,
            self.rates_per_s,
            self.sums,
            self.newest_s,
        )

    def _take_out(self, row: int) -> None:
        time_s = float(self.times_s[row, LAST_EVENT])
        if not math.isnan(time_s):
            self._add(time_s, -self.counts[row].reshape(KINDS, -1))

    def _advance(self, time_s: float) -> None:
        if time_s > self.newest_s:
            self.sums *= decayed(self.rates_per_s, time_s - self.newest_s)
            self.newest_s = time_s

    def _add(self, time_s: float, counts: NDArray[np.float64]) -> None:
        """Add a row's counts (KINDS, H), as of ``time_s``, to the sums."""
        self.sums += counts * decayed(self.rates_per_s, self.newest_s - time_s)
