"""How often each article was shown to a user, for the articles shown most recently.

Articles are ordered by the time they were last shown, then by id, whatever the order in which that became
known; only the first ``limit`` from the end are kept. A count starts anew once its article has fallen out.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

COUNT_BITS = 8
MAX_COUNT = (1 << COUNT_BITS) - 1


class Exposures:
    """Bounded counts of exposures.

    ``packed`` maps an article to ``last shown in ms << COUNT_BITS | times shown``. One number for both, which
    the new articles of a slate share, takes no memory of its own.

    Args:
        limit: The most articles kept.
        packed: In the order above.
    """

    __slots__ = ("limit", "packed")

    def __init__(self, limit: int, packed: dict[str, int]) -> None:
        self.limit = limit
        self.packed = packed
        self._trim()

    def counts(self) -> dict[str, int]:
        """Times shown by article, the one shown longest ago first; counts stop at 255."""
        return {news_id: packed & MAX_COUNT for news_id, packed in self.packed.items()}

    def last_shown(self) -> dict[str, tuple[int, float]]:
        """Times shown and when last, in Unix seconds, by article."""
        return {
            news_id: (packed & MAX_COUNT, (packed >> COUNT_BITS) / 1_000)
            for news_id, packed in self.packed.items()
        }

    def add_slate(self, slate: Iterable[str], time_s: float) -> None:
        """Count an exposure of each article of a sorted slate without repetitions."""
        shown = self.packed
        first = (int(time_s * 1_000) << COUNT_BITS) + 1
        newest = next(reversed(shown.values()), -1)
        if first >> COUNT_BITS <= newest >> COUNT_BITS:
            for news_id in slate:
                self._add(news_id, first)
            self._order()
            return
        # A new slate goes to the end whole, and the order holds.
        pop = shown.pop
        for news_id in slate:
            count = pop(news_id, 0) & MAX_COUNT
            shown[news_id] = first + min(count, MAX_COUNT - 1) if count else first
        self._trim()

    def merge(self, other: Exposures) -> Exposures:
        """The exposures of both."""
        merged = Exposures(self.limit, self.packed.copy())
        for news_id, packed in other.packed.items():
            merged._add(news_id, packed)
        merged._order()
        return merged

    def _add(self, news_id: str, packed: int) -> None:
        held = self.packed.get(news_id, 0)
        count = min((held & MAX_COUNT) + (packed & MAX_COUNT), MAX_COUNT)
        last_shown_ms = max(held >> COUNT_BITS, packed >> COUNT_BITS)
        self.packed[news_id] = last_shown_ms << COUNT_BITS | count

    def _order(self) -> None:
        self.packed = dict(
            sorted(self.packed.items(), key=lambda exposure: (exposure[1] >> COUNT_BITS, exposure[0]))
        )
        self._trim()

    def _trim(self) -> None:
        excess = len(self.packed) - self.limit
        if excess > 0:
            for news_id in list(islice(self.packed, excess)):
                del self.packed[news_id]
