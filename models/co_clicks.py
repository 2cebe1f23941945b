"""Which articles are clicked by those who lately clicked which others: bounded counts, and what they say.

``count(b, a)`` is the number of clicks on a by users among whose recent clicks, the click's **context**,
was b (item-to-item collaborative filtering; Linden, Smith, York, IEEE Internet Computing 2003; directed,
because news is read in one order). Of two candidates, the better one is that which those with the same recent
clicks preferred; counts that popularity explains say nothing, so they are set against it in two ways.

Each article keeps the ``MAX_CONTEXT`` articles that joined its contexts last. The counts do not depend on the
order of clicks as long as that bound is not reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from math import log1p, sqrt

MAX_CONTEXT = 500
"""Articles in the contexts of one article's clicks; those that joined first go."""

_PRIOR_CLICKS = 5.0
"""Clicks added to each article's, so that one shared click of two rare articles is no law."""
_NONE: Mapping[str, int] = {}


def trim(counts: dict[str, int]) -> list[tuple[str, int]]:
    """Take what joined first out of an article's counts, if they are more than ``MAX_CONTEXT``; gives it."""
    excess = len(counts) - MAX_CONTEXT
    if excess <= 0:
        return []
    gone = list(islice(counts.items(), excess))
    for name, _ in gone:
        del counts[name]
    return gone


class CoClicks:
    """The counts of all articles."""

    def __init__(self) -> None:
        self._contexts: dict[str, dict[str, int]] = {}
        """Of each clicked article the counts by context."""
        self._context_clicks: dict[str, int] = {}
        """Of each context the sum of its counts."""

    def contexts(self, news_id: str) -> Mapping[str, int]:
        """The counts of an article's clicks by context, the one that joined first first."""
        return self._contexts.get(news_id, _NONE)

    def add(self, news_id: str, context: Iterable[str]) -> None:
        """Count a click on ``news_id`` after those on ``context``, distinct articles."""
        counts = self._contexts.get(news_id)
        if counts is None:
            counts = self._contexts[news_id] = {}
        totals = self._context_clicks
        for before in context:
            if before != news_id:
                counts[before] = counts.get(before, 0) + 1
                totals[before] = totals.get(before, 0) + 1
        for name, count in trim(counts):
            self._add_total(name, -count)

    def replace(self, news_id: str, counts: Mapping[str, int]) -> None:
        """Take what an article's counts are now."""
        held = self._contexts.get(news_id, _NONE)
        for name, count in counts.items():
            before = held.get(name, 0)
            if count != before:
                self._add_total(name, count - before)
        for name in held.keys() - counts.keys():
            self._add_total(name, -held[name])
        if counts:
            self._contexts[news_id] = dict(counts)
        else:
            self._contexts.pop(news_id, None)

    def scores(
        self, ids: Sequence[str], recent: Iterable[str], clicks: Sequence[float], all_clicks: float
    ) -> tuple[list[float], list[float]] | None:
        """How much a user's recent clicks speak for each candidate.

        With n(b, a) the counts, n(b) their sum over a, c(a) the clicks on a and c those on all articles:

        - surprise: the sum over b of log(1 + n(b, a) c / ((n(b) + 5) (c(a) + 5))), a pointwise mutual
          information, shrunk and kept positive (Church, Hanks, Computational Linguistics 1990);
        - cosine: the sum over b of n(b, a) / sqrt((n(b) + 1) (c(a) + 1)) (Sarwar et al., WWW 2001).

        Args:
            ids: The candidates, distinct.
            recent: What the user has lately clicked, distinct.
            clicks: On each candidate.
            all_clicks: Those on all articles.

        Returns:
            Surprise and cosine, n of each; None if no candidate shares anything.
        """
        totals, contexts = self._context_clicks, self._contexts
        known = {
            b: (all_clicks / (total + _PRIOR_CLICKS), 1.0 / sqrt(total + 1.0))
            for b in recent
            if (total := totals.get(b))
        }
        if not known:
            return None
        surprise, cosine = [0.0] * len(ids), [0.0] * len(ids)
        found, names = False, list(known)
        for i, a in enumerate(ids):
            counts = contexts.get(a)
            if counts is None:
                continue
            # In the order of the user's clicks, in which sums of floats are the same in every process.
            shared = list(filter(counts.__contains__, names))
            if not shared:
                continue
            found = True
            clicked = clicks[i]
            scale = 1.0 / (clicked + _PRIOR_CLICKS)
            of_surprise = of_cosine = 0.0
            for b in shared:
                count, (lift, root) = counts[b], known[b]
                of_surprise += log1p(count * lift * scale)
                of_cosine += count * root
            surprise[i], cosine[i] = of_surprise, of_cosine / sqrt(clicked + 1.0)
        return (surprise, cosine) if found else None

    def _add_total(self, context: str, count: int) -> None:
        total = self._context_clicks.get(context, 0) + count
        if total > 0:
            self._context_clicks[context] = total
        else:
            self._context_clicks.pop(context, None)
