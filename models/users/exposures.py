"""Exposures: how often each article was shown to a user, in total and within an hour.

Articles are ordered by the time they were last shown, then by id, whatever the order of arrival; only the
last ``limit`` are kept. An article that was dropped is counted from 0 again.

The count of an hour is never too low: an article that is not held begins with the highest count that a
dropped one had in that hour (Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and top-k
elements in data streams", ICDT 2005). The hour is the clock hour in which the article was last shown; a late
exposure counts there too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice

HOUR_S = 3_600
COUNT_BITS = 8
MAX_COUNT = (1 << COUNT_BITS) - 1
IN_HOUR_BITS = 4
MAX_IN_HOUR = (1 << IN_HOUR_BITS) - 1
TIME_SHIFT = COUNT_BITS + IN_HOUR_BITS
_HOUR_MS = HOUR_S * 1_000
_IN_HOUR = MAX_IN_HOUR << COUNT_BITS
_ONCE_IN_HOUR = 1 << COUNT_BITS


class Exposures:
    """Bounded counts of exposures.

    ``packed`` maps an article to ``last shown in ms << TIME_SHIFT | shown in that hour << COUNT_BITS | times
    shown``. The new articles of a slate share one number object, which saves memory.

    >>> exposures = Exposures(limit=100, packed={})
    >>> exposures.add_slate(["N1", "N2"], 1_700_000_000.0)
    >>> exposures.add_slate(["N1"], 1_700_000_060.0)
    >>> exposures.counts()
    {'N2': 1, 'N1': 2}

    Args:
        limit: Maximum number of articles kept.
        packed: Articles in the order of exposure.
        gone: Newest hour (since 1970) in which a dropped article was shown, and the highest count in an hour
            of any dropped article.
    """

    __slots__ = ("gone", "limit", "packed")

    def __init__(self, limit: int, packed: dict[str, int], gone: tuple[int, int] = (-1, 0)) -> None:
        self.limit = limit
        self.packed = packed
        self.gone = gone
        self._trim()

    def counts(self) -> dict[str, int]:
        """Times shown by article, least recently shown first; counts stop at 255."""
        return {news_id: packed & MAX_COUNT for news_id, packed in self.packed.items()}

    def last_shown(self) -> dict[str, tuple[int, float]]:
        """Times shown and time of the last exposure, Unix seconds, by article."""
        return {
            news_id: (packed & MAX_COUNT, (packed >> TIME_SHIFT) / 1_000)
            for news_id, packed in self.packed.items()
        }

    def shown_in_hour(self, slate: Collection[str], time_s: float, times: int) -> set[str]:
        """Articles of ``slate`` that were shown at least ``times`` (at most 15) in the hour of ``time_s``."""
        hour = int(time_s) // HOUR_S
        held_from = hour * _HOUR_MS << TIME_SHIFT
        least = times << COUNT_BITS
        get = self.packed.get
        found = {
            news_id
            for news_id in slate
            if (packed := get(news_id, 0)) >= held_from and packed & _IN_HOUR >= least
        }
        if hour <= self.gone[0] and self.gone[1] >= times:
            found.update(news_id for news_id in slate if news_id not in self.packed)
        return found

    def add_slate(self, slate: Iterable[str], time_s: float) -> None:
        """Count an exposure of each article of a sorted slate without duplicates."""
        shown = self.packed
        time_ms = int(time_s * 1_000)
        hour = time_ms // _HOUR_MS
        before = self.gone[1] if hour <= self.gone[0] else 0
        stamp = time_ms << TIME_SHIFT
        first = stamp | min(before + 1, MAX_IN_HOUR) << COUNT_BITS | 1
        newest = next(reversed(shown.values()), -1)
        if time_ms <= newest >> TIME_SHIFT:
            for news_id in slate:
                # An article that is held has its own count of the hour.
                self._add(news_id, stamp | _ONCE_IN_HOUR | 1 if news_id in shown else first)
            self._order()
            return
        # The newest slate goes to the end, and the order holds.
        held_from = hour * _HOUR_MS << TIME_SHIFT
        pop = shown.pop
        for news_id in slate:
            held = pop(news_id, 0)
            if held:
                in_hour = _ONCE_IN_HOUR
                if held >= held_from:
                    in_hour = min((held & _IN_HOUR) + _ONCE_IN_HOUR, _IN_HOUR)
                shown[news_id] = stamp | in_hour | min((held & MAX_COUNT) + 1, MAX_COUNT)
            else:
                shown[news_id] = first
        self._trim()

    def merge(self, other: Exposures) -> Exposures:
        """Exposures of both users together."""
        gone = max(self.gone[0], other.gone[0]), max(self.gone[1], other.gone[1])
        merged = Exposures(self.limit, self.packed.copy(), gone)
        for news_id, packed in other.packed.items():
            merged._add(news_id, packed)
        merged._order()
        return merged

    def _add(self, news_id: str, packed: int) -> None:
        held = self.packed.get(news_id, 0)
        if not held:
            self.packed[news_id] = packed
            return
        held_ms, shown_ms = held >> TIME_SHIFT, packed >> TIME_SHIFT
        count = min((held & MAX_COUNT) + (packed & MAX_COUNT), MAX_COUNT)
        in_hour = packed & _IN_HOUR
        if held_ms // _HOUR_MS >= shown_ms // _HOUR_MS:
            in_hour = min((held & _IN_HOUR) + in_hour, _IN_HOUR)
        self.packed[news_id] = max(held_ms, shown_ms) << TIME_SHIFT | in_hour | count

    def _order(self) -> None:
        self.packed = dict(
            sorted(self.packed.items(), key=lambda exposure: (exposure[1] >> TIME_SHIFT, exposure[0]))
        )
        self._trim()

    def _trim(self) -> None:
        excess = len(self.packed) - self.limit
        if excess > 0:
            gone = list(islice(self.packed.items(), excess))
            for news_id, _ in gone:
                del self.packed[news_id]
            hour = (gone[-1][1] >> TIME_SHIFT) // _HOUR_MS
            most = max([packed & _IN_HOUR for _, packed in gone]) >> COUNT_BITS
            held_hour, held_most = self.gone
            self.gone = (hour, most) if hour > held_hour else (held_hour, max(held_most, most))
