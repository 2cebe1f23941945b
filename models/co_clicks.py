"""Which articles are clicked by those who lately clicked which others: bounded counts, and what they say.

``count(b, a)`` is the number of clicks on a by users among whose recent clicks, the click's **context**,
was b (item-to-item collaborative filtering; Linden, Smith, York, IEEE Internet Computing 2003; directed,
because news is read in one order). Of two candidates, the better one is that which those with the same recent
clicks preferred; counts that popularity explains say nothing, so they are set against it in two ways.

Each article keeps the ``MAX_CONTEXT`` articles that joined its contexts last. The counts do not depend on the
order of clicks as long as that bound is not reached.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import log1p, sqrt

import numpy as np
from numpy.typing import NDArray

MAX_CONTEXT = 500
"""Articles in the contexts of one article's clicks; those that joined first go."""

_PRIOR_CLICKS = 5.0
"""Clicks added to each article's, so that one shared click of two rare articles is no law."""
_NONE: Mapping[str, int] = {}


def count_context(counts: dict[str, int], news_id: str, context: Iterable[str]) -> list[str]:
    """Count a click on ``news_id`` in the counts (context to clicks) of that article.

    Returns:
        What had to go because there are more than ``MAX_CONTEXT``.
    """
    for before in context:
        if before != news_id:
            counts[before] = counts.get(before, 0) + 1
    excess = len(counts) - MAX_CONTEXT
    gone = [name for name, _ in zip(counts, range(excess), strict=False)] if excess > 0 else []
    for name in gone:
        del counts[name]
    return gone


class CoClicks:
    """The counts of all articles, by context."""

    def __init__(self) -> None:
        self._contexts: dict[str, dict[str, int]] = {}
        """Of each clicked article the counts by context."""
        self._clicked_after: dict[str, dict[str, int]] = {}
        """The same counts by context first."""
        self._context_clicks: dict[str, int] = {}
        """Of each context the sum of its counts."""

    def contexts(self, news_id: str) -> Mapping[str, int]:
        """The counts of an article's clicks by context, the one that joined first first."""
        return self._contexts.get(news_id, _NONE)

    def add(self, news_id: str, context: Collection[str]) -> None:
        """Count a click on ``news_id`` after those on ``context``, distinct articles."""
        counts = self._contexts.setdefault(news_id, {})
        held = {name: counts.get(name, 0) for name in context if name != news_id}
        gone = count_context(counts, news_id, context)
        for name, before in held.items():
            self._set(name, news_id, before, counts.get(name, 0))
        for name in gone:
            if name not in held:
                self._set(name, news_id, self._clicked_after.get(name, _NONE).get(news_id, 0), 0)

    def replace(self, news_id: str, counts: Mapping[str, int]) -> None:
        """Take what an article's counts are now."""
        held = self._contexts.get(news_id, {})
        for name in held.keys() | counts.keys():
            self._set(name, news_id, held.get(name, 0), counts.get(name, 0))
        if counts:
            self._contexts[news_id] = dict(counts)
        else:
            self._contexts.pop(news_id, None)

    def scores(
        self, ids: Sequence[str], recent: Iterable[str], clicks: NDArray[np.float64], all_clicks: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How much a user's recent clicks speak for each candidate.

        With n(b, a) the counts, n(b) their sum over a, c(a) the clicks on a and c those on all articles:

        - surprise: the sum over b of log(1 + n(b, a) c / ((n(b) + 5) (c(a) + 5))), a pointwise mutual
          information, shrunk and kept positive (Church, Hanks, Computational Linguistics 1990);
        - cosine: the sum over b of n(b, a) / sqrt((n(b) + 1) (c(a) + 1)) (Sarwar et al., WWW 2001).

        Args:
            ids: The candidates, distinct.
            recent: What the user has lately clicked, distinct.
            clicks: Shape (n,): the clicks on each candidate.
            all_clicks: Those on all articles.

        Returns:
            Surprise and cosine, each of shape (n,); zeros where nothing is shared.
        """
        surprise, cosine = np.zeros(len(ids)), np.zeros(len(ids))
        after = [(b, counts) for b in recent if (counts := self._clicked_after.get(b))]
        if not after:
            return surprise, cosine
        candidates = set(ids)
        found: dict[str, list[tuple[int, int]]] = {}
        for b, counts in after:
            for a in counts.keys() & candidates:
                found.setdefault(a, []).append((counts[a], self._context_clicks[b]))
        if not found:
            return surprise, cosine
        clicked: list[float] = clicks.tolist()
        for i, a in enumerate(ids):
            for shared, of_context in found.get(a, ()):
                surprise[i] += log1p(
                    shared * all_clicks / ((of_context + _PRIOR_CLICKS) * (clicked[i] + _PRIOR_CLICKS))
                )
                cosine[i] += shared / sqrt((of_context + 1.0) * (clicked[i] + 1.0))
        return surprise, cosine

    def _set(self, context: str, news_id: str, before: int, now: int) -> None:
        """Change one count in what is kept by context."""
        if before == now:
            return
        total = self._context_clicks.get(context, 0) + now - before
        after = self._clicked_after.setdefault(context, {})
        if now:
            after[news_id] = now
        else:
            after.pop(news_id, None)
        if total:
            self._context_clicks[context] = total
        else:
            self._context_clicks.pop(context, None)
            self._clicked_after.pop(context, None)
