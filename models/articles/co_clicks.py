"""Co-click counts: how often an article is clicked after another, and scores of candidates from them.

``count(b, a)`` is the number of clicks on a by users who had recently clicked b; a click's **context** is its
user's recent clicks (item-to-item collaborative filtering; Linden, Smith, York, IEEE Internet Computing 2003;
directed, because news is read in one order). Popular articles have high counts with everything, so two scores
compare the counts with popularity.

Each article keeps the ``MAX_CONTEXT`` articles that joined its contexts last. The counts do not depend on the
order of clicks as long as that bound is not reached. A count takes 8 bytes, and an article's counts are
contiguous: with one dictionary per candidate, look-ups took a fifth of the time of ranking.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from freshet.models import kernels
from freshet.models.articles.statistics_columns import doubled

MAX_CONTEXT = 500
"""Maximum number of articles in one article's contexts; those that joined first are dropped."""


def trim(counts: dict[str, int]) -> list[tuple[str, int]]:
    """Remove and return what joined an article's counts first, if there are more than ``MAX_CONTEXT``."""
    excess = len(counts) - MAX_CONTEXT
    if excess <= 0:
        return []
    gone = list(islice(counts.items(), excess))
    for name, _ in gone:
        del counts[name]
    return gone


MAX_COUNT: Final = 1 << 30
"""Upper bound of a count, which has 32 bits."""
_NUMBER, _COUNT = 0, 1
_NONE: Final[NDArray[np.int32]] = np.empty((2, 0), np.int32)


class CoClicks:
    """Co-click counts of all articles."""

    def __init__(self) -> None:
        self._contexts: dict[str, NDArray[np.int32]] = {}
        """Numbers of each clicked article's contexts, in the order of joining, and their counts, (2, k)."""
        self._names: list[str] = []
        """Context ids by number; empty where the number is free."""
        self._number_of: dict[str, int] = {}
        self._free: list[int] = []
        self._clicks: NDArray[np.int64] = np.zeros(1_024, np.int64)
        """Sum of each context's counts, by number."""

    def contexts(self, news_id: str) -> Mapping[str, int]:
        """Counts of an article's clicks by context, in the order of joining."""
        numbers, counts = self._contexts.get(news_id, _NONE).tolist()
        names = self._names
        return {names[number]: count for number, count in zip(numbers, counts, strict=True)}

    def add_click(self, news_id: str, context: Iterable[str]) -> None:
        """Count a click on ``news_id`` after clicks on ``context``, distinct articles."""
        numbers = self._numbers([before for before in context if before != news_id])
        if not len(numbers):
            return
        held = self._contexts.get(news_id, _NONE)
        counts = kernels.add_co_clicks(held, numbers, self._clicks)
        if counts is held:
            return
        excess = counts.shape[1] - MAX_CONTEXT
        if excess > 0:
            gone, counts = counts[:, :excess], counts[:, excess:].copy()
            self._take_out(gone)
        self._contexts[news_id] = counts

    def replace(self, news_id: str, counts: Mapping[str, int]) -> None:
        """Replace an article's counts by ``counts``, each at least 1."""
        before = self._contexts.pop(news_id, _NONE)
        if counts:
            numbers = self._numbers(list(counts))
            held = np.array([numbers, [min(count, MAX_COUNT) for count in counts.values()]], np.int32)
            self._contexts[news_id] = held
            self._clicks[numbers] += held[_COUNT]
        self._take_out(before)

    def scores(
        self, ids: Sequence[str], recent: Iterable[str], clicks: NDArray[np.float64], all_clicks: float
    ) -> NDArray[np.float64] | None:
        """Scores of candidates by how often they were clicked after the user's recent clicks.

        With n(b, a) the counts, n(b) their sum over a, c(a) the clicks on a and c those on all articles:

        - surprise: the sum over b of log(1 + n(b, a) c / ((n(b) + 5) (c(a) + 5))), a pointwise mutual
          information, shrunk and kept positive (Church, Hanks, Computational Linguistics 1990);
        - cosine: the sum over b of n(b, a) / sqrt((n(b) + 1) (c(a) + 1)) (Sarwar et al., WWW 2001).

        Args:
            ids: The candidates, distinct.
            recent: The user's recent clicks, distinct.
            clicks: Clicks on each candidate, shape (n,).
            all_clicks: Clicks on all articles.

        Returns:
            Surprise and cosine, shape (n, 2); None if no candidate has any count with ``recent``.
        """
        numbers = kernels.rows_of(self._number_of, recent)
        get = self._contexts.get
        return kernels.co_click_scores(
            [get(news_id) for news_id in ids], numbers, self._clicks, clicks, all_clicks
        )

    def _numbers(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Numbers (n,) of the contexts ``names``, assigned where one is new."""
        numbers = kernels.rows_of(self._number_of, names)
        for i in (numbers < 0).nonzero()[0].tolist():
            if self._free:
                numbers[i] = self._free.pop()
                self._names[numbers[i]] = names[i]
            else:
                numbers[i] = len(self._names)
                self._names.append(names[i])
                if len(self._names) > len(self._clicks):
                    self._clicks = doubled(self._clicks, 0)
            self._number_of[names[i]] = int(numbers[i])
        return numbers

    def _take_out(self, counts: NDArray[np.int32]) -> None:
        """Subtract counts (2, k) from the sums, and forget contexts without any left."""
        numbers = counts[_NUMBER]
        self._clicks[numbers] -= counts[_COUNT]
        for number in numbers[self._clicks[numbers] == 0].tolist():
            del self._number_of[self._names[number]]
            self._names[number] = ""
            self._free.append(number)
