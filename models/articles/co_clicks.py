"""Which articles are clicked by those who lately clicked which others: bounded counts, and what they say.

``count(b, a)`` is the number of clicks on a by users among whose recent clicks, the click's **context**,
was b (item-to-item collaborative filtering; Linden, Smith, York, IEEE Internet Computing 2003; directed,
because news is read in one order). Of two candidates, the better one is that which those with the same recent
clicks preferred; counts that popularity explains say nothing, so they are set against it in two ways.

Each article keeps the ``MAX_CONTEXT`` articles that joined its contexts last. The counts do not depend on the
order of clicks as long as that bound is not reached. A count takes 8 bytes, and the counts of an article lie
side by side: looking a user's clicks up in one dictionary for each candidate was a fifth of all that ranking
took, spent waiting for memory.
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
"""Articles in the contexts of one article's clicks; those that joined first go."""


def trim(counts: dict[str, int]) -> list[tuple[str, int]]:
    """Take what joined first out of an article's counts, if they are more than ``MAX_CONTEXT``; gives it."""
    excess = len(counts) - MAX_CONTEXT
    if excess <= 0:
        return []
    gone = list(islice(counts.items(), excess))
    for name, _ in gone:
        del counts[name]
    return gone


MAX_COUNT: Final = 1 << 30
"""More clicks of one article after those on one other are told apart by nobody; a count has 32 bits."""
_NUMBER, _COUNT = 0, 1
_NONE: Final[NDArray[np.int32]] = np.empty((2, 0), np.int32)


class CoClicks:
    """The counts of all articles."""

    def __init__(self) -> None:
        self._contexts: dict[str, NDArray[np.int32]] = {}
        """Of each clicked article (2, k): its contexts' numbers, in the order of joining, and counts."""
        self._names: list[str] = []
        """By number; one that is free has none."""
        self._number_of: dict[str, int] = {}
        self._free: list[int] = []
        self._clicks: NDArray[np.int64] = np.zeros(1_024, np.int64)
        """Of each context, by number, the sum of its counts."""

    def contexts(self, news_id: str) -> Mapping[str, int]:
        """The counts of an article's clicks by context, the one that joined first first."""
        numbers, counts = self._contexts.get(news_id, _NONE).tolist()
        names = self._names
        return {names[number]: count for number, count in zip(numbers, counts, strict=True)}

    def add(self, news_id: str, context: Iterable[str]) -> None:
        """Count a click on ``news_id`` after those on ``context``, distinct articles."""
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
        """Take what an article's counts are now, each at least 1."""
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
        """How much a user's recent clicks speak for each candidate.

        With n(b, a) the counts, n(b) their sum over a, c(a) the clicks on a and c those on all articles:

        - surprise: the sum over b of log(1 + n(b, a) c / ((n(b) + 5) (c(a) + 5))), a pointwise mutual
          information, shrunk and kept positive (Church, Hanks, Computational Linguistics 1990);
        - cosine: the sum over b of n(b, a) / sqrt((n(b) + 1) (c(a) + 1)) (Sarwar et al., WWW 2001).

        Args:
            ids: The candidates, distinct.
            recent: What the user has lately clicked, distinct.
            clicks: Shape (n,): on each candidate.
            all_clicks: Those on all articles.

        Returns:
            Surprise and cosine, shape (n, 2); None if no candidate shares anything.
        """
        numbers = kernels.rows_of(self._number_of, recent)
        get = self._contexts.get
        return kernels.co_click_scores(
            [get(news_id) for news_id in ids], numbers, self._clicks, clicks, all_clicks
        )

    def _numbers(self, names: Sequence[str]) -> NDArray[np.int64]:
        """The numbers of contexts, given out where one has none."""
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
        """Take counts (2, k) out of the sums, and forget contexts that have none left."""
        numbers = counts[_NUMBER]
        self._clicks[numbers] -= counts[_COUNT]
        for number in numbers[self._clicks[numbers] == 0].tolist():
            del self._number_of[self._names[number]]
            self._names[number] = ""
            self._free.append(number)
