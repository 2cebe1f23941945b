"""Statistics of one article: clicks, impressions and expected clicks, decayed at several half-lives.

The counts are sums of ``2 ** (-age / half_life)``. They do not depend on the order of events across sources
(up to rounding), a late event counts with its true age, and an event at or before the last offset applied of
its source changes nothing.

Forward decay (Cormode, Shkapenyuk, Srivastava, Xu, "Forward decay", ICDE 2009): an event is added with the
weight ``2 ** ((t - L) / half_life)`` for a landmark L before it, and the sums are scaled down when they are
read. All events of a slate share that weight, so an event costs a few additions and no power. L is the start
of the newest event's UTC day, so weights stay below 2^48 and nothing overflows.

The sums lie in one list, in the order of :mod:`freshet.models.kernels.statistics_layout`: clicks at H
half-lives, then impressions, then expected clicks. Co-click counts
(:mod:`freshet.models.articles.co_clicks`) are kept beside them and do not decay.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable
from functools import lru_cache
from operator import add, mul

import orjson

from freshet.models.articles.catalog import STATS_HALF_LIVES_S
from freshet.models.articles.co_clicks import trim
from freshet.models.kernels.statistics_layout import EXPECTED, KINDS

Source = tuple[str, int, int]
"""Origin of an event: stream (a topic's name), partition, offset."""

Counts = tuple[float, ...]
"""Shape (H,): one count for each of ``STATS_HALF_LIVES_S``."""

MAX_TIME_S = 253_402_300_800.0
"""The year 10000; nothing that happens before 1970 or after is an event."""

_H = len(STATS_HALF_LIVES_S)
_SHORT_S, _MIDDLE_S, _LONG_S = (half_life for half_life in STATS_HALF_LIVES_S if half_life is not None)
_DAY_S = 86_400.0
_NO_DAY = -1
_VERSION = 2
_HEADER = struct.Struct(f"<BHiHdd{EXPECTED * _H}d")
"""Version, number of sources, day, length of the streams' names, last and first event's time, sums of clicks
and of impressions."""
_MORE = struct.Struct(f"<d{_H}dI")
"""Fields that version 2 adds: last click's time, sums of expected clicks, bytes of the contexts."""
_SOURCE = struct.Struct("<BHq")
_CHECKSUM = struct.Struct("<I")


def _left_after(passed_s: float) -> Counts:
    """Decay factors (H,) after ``passed_s``; growth factors if that is negative."""
    return (2.0 ** (-passed_s / _SHORT_S), 2.0 ** (-passed_s / _MIDDLE_S), 2.0 ** (-passed_s / _LONG_S), 1.0)


@lru_cache(maxsize=4_096)
def _additions(time_s: float, day: int, shown: int, clicked: int, slate: int) -> tuple[int, Counts]:
    """Additions (KINDS * H,) of an event to sums as of the start of a day, which is returned first.

    The day is ``day`` or the event's own, whichever is later. The result is cached, because an event is
    counted for each article of its slate.
    """
    if not 0.0 <= time_s < MAX_TIME_S:
        raise ValueError(f"an event at {time_s} s is not between 1970 and the year 10000")
    day_of_event = int(time_s // _DAY_S)
    weights = _left_after(day_of_event * _DAY_S - time_s)
    if day_of_event < day:
        weights = tuple(map(mul, weights, _left_after((day - day_of_event) * _DAY_S)))
    expected = shown / slate if slate else 0.0
    # Clicks, impressions, expected clicks.
    added = [weight * count for count in (clicked, shown, expected) for weight in weights]
    return max(day, day_of_event), tuple(added)


@lru_cache(maxsize=4_096)
def _shared(key: tuple[str, int]) -> tuple[str, int]:
    """One object for equal keys: every article has the same few, a third of its memory."""
    return key


class ArticleCounts:
    """Decayed counts of one article; each event counts once."""

    __slots__ = ("_day", "_offsets", "_sums", "clicked_at_s", "contexts", "first_seen_s", "time_s")

    def __init__(self) -> None:
        self.time_s = -math.inf
        """The newest event's time; minus infinity before the first."""
        self.first_seen_s = math.inf
        """The oldest event's time; infinity before the first."""
        self._day = _NO_DAY
        self._sums = [0.0] * (KINDS * _H)
        """Sums relative to the start of ``_day``, kind by kind."""
        self.clicked_at_s = -math.inf
        """The newest click's time; minus infinity before the first."""
        self.contexts: dict[str, int] = {}
        """Clicks by article that their users had clicked recently."""
        self._offsets: dict[tuple[str, int], int] = {}

    @property
    def offsets(self) -> dict[tuple[str, int], int]:
        """The last offset applied of each (stream, partition)."""
        return dict(self._offsets)

    def apply(  # noqa: PLR0917 - source and time, what, in which surroundings
        self,
        source: Source,
        time_s: float,
        shown: int,
        clicked: int,
        slate: int = 0,
        context: Iterable[str] = (),
    ) -> bool:
        """Count an event: ``shown`` impressions and ``clicked`` clicks at ``time_s``.

        Args:
            source: Where the event came from.
            time_s: Event time, Unix seconds.
            shown: Impressions.
            clicked: Clicks.
            slate: Number of articles in the slate; 0 where it is unknown, and no click is expected then.
            context: The user's recent clicks before this event, distinct.

        Returns:
            False if this source's offset has been applied already; nothing is changed then.

        Raises:
            ValueError: ``time_s`` is not between 1970 and the year 10000; nothing is changed then.
        """
        stream, partition, offset = source
        key = (stream, partition)
        offsets = self._offsets
        held = offsets.get(key)
        if held is None:
            key = _shared(key)
        elif offset <= held:
            return False
        day, added = _additions(time_s, self._day, shown, clicked, slate)
        offsets[key] = offset
        if day != self._day:
            self._move_to(day)
        self._sums = list(map(add, self._sums, added))
        if clicked:
            if time_s > self.clicked_at_s:  # noqa: PLR1730 - max() costs a call at every click
                self.clicked_at_s = time_s
            contexts = self.contexts
            for before in context:
                contexts[before] = contexts.get(before, 0) + 1
            trim(contexts)
        # Not max() and min(): two calls are a fifth of the time of an event.
        if time_s > self.time_s:  # noqa: PLR1730 - max() costs a call, 37 times an impression
            self.time_s = time_s
        if time_s < self.first_seen_s:  # noqa: PLR1730 - max() costs a call, 37 times an impression
            self.first_seen_s = time_s
        return True

    def pass_over(self, source: Source) -> None:
        """Mark an event of ``source`` as applied without counting it."""
        stream, partition, offset = source
        key = _shared((stream, partition))
        self._offsets[key] = max(offset, self._offsets.get(key, offset))

    def settle(self, now_s: float) -> None:
        """Take events dated after ``now_s`` as of now; otherwise new events would weigh almost nothing.

        Counts from before the events from the future stay decayed to their time.
        """
        if self.time_s > now_s:
            self._decay(self.time_s - now_s)
            self.time_s = now_s
            self.clicked_at_s = min(self.clicked_at_s, now_s)
            self.first_seen_s = min(self.first_seen_s, now_s)

    def at(self, now_s: float) -> tuple[Counts, Counts]:
        """Clicks and impressions as of ``now_s``, or as of the newest event if that is later."""
        counts = self._at(now_s)
        return counts[:_H], counts[_H : EXPECTED * _H]

    def expected_at(self, now_s: float) -> Counts:
        """Expected clicks as of ``now_s``, or as of the newest event if that is later."""
        return self._at(now_s)[EXPECTED * _H :]

    def merge(self, other: ArticleCounts) -> ArticleCounts:
        """The statistics of both event lists together; no event may be in both."""
        merged = ArticleCounts()
        merged._day = max(self._day, other._day)
        for part in (self, other):
            left = _left_after((merged._day - part._day) * _DAY_S) * KINDS
            merged._sums = [a + b * share for a, b, share in zip(merged._sums, part._sums, left, strict=True)]
            merged.clicked_at_s = max(merged.clicked_at_s, part.clicked_at_s)
            for before, count in part.contexts.items():
                merged.contexts[before] = merged.contexts.get(before, 0) + count
            trim(merged.contexts)
            merged.time_s = max(merged.time_s, part.time_s)
            merged.first_seen_s = min(merged.first_seen_s, part.first_seen_s)
            for key, offset in part._offsets.items():
                merged._offsets[key] = max(offset, merged._offsets.get(key, -1))
        return merged

    def to_bytes(self) -> bytes:
        """The statistics as bytes, the same for the same statistics; no float is rounded."""
        sources = sorted(self._offsets.items())
        streams = sorted({stream for (stream, _), _ in sources})
        names = "\n".join(streams).encode()
        contexts = orjson.dumps(self.contexts) if self.contexts else b""
        body = _HEADER.pack(
            _VERSION,
            len(sources),
            self._day,
            len(names),
            self.time_s,
            self.first_seen_s,
            *self._sums[: EXPECTED * _H],
        )
        body += _MORE.pack(self.clicked_at_s, *self._sums[EXPECTED * _H :], len(contexts))
        code = {stream: index for index, stream in enumerate(streams)}
        body += names + contexts
        body += b"".join(
            _SOURCE.pack(code[stream], partition, offset) for (stream, partition), offset in sources
        )
        return body + _CHECKSUM.pack(zlib.crc32(body))

    @classmethod
    def from_bytes(cls, value: bytes) -> ArticleCounts:
        """The statistics that :meth:`to_bytes` encoded.

        Raises:
            ValueError: The bytes are not an article's statistics, are damaged, or of another version.
        """
        if len(value) < _HEADER.size + _CHECKSUM.size:
            raise ValueError(f"article statistics of {len(value)} bytes, too short")
        if value[0] not in {1, _VERSION}:
            raise ValueError(f"article statistics of version {value[0]}, this program reads 1 and {_VERSION}")
        end = len(value) - _CHECKSUM.size
        if _CHECKSUM.unpack_from(value, end)[0] != zlib.crc32(value[:end]):
            raise ValueError(f"article statistics of {len(value)} bytes are damaged: their checksum differs")
        counts = cls()
        _, n_sources, counts._day, names_bytes, counts.time_s, counts.first_seen_s, *sums = (
            _HEADER.unpack_from(value)
        )
        counts._sums[: len(sums)] = sums
        begin, contexts_bytes = _HEADER.size, 0
        if value[0] > 1:
            if end < begin + _MORE.size:
                raise ValueError(f"article statistics of {len(value)} bytes, too short")
            counts.clicked_at_s, *expected, contexts_bytes = _MORE.unpack_from(value, begin)
            counts._sums[EXPECTED * _H :] = expected
            begin += _MORE.size
        names_end = begin + names_bytes
        start = names_end + contexts_bytes
        if end - start != n_sources * _SOURCE.size:
            raise ValueError(f"article statistics of {len(value)} bytes do not hold {n_sources} sources")
        streams = value[begin:names_end].decode().split("\n")
        if contexts_bytes:
            counts.contexts = orjson.loads(value[names_end:start])
        for code, partition, offset in _SOURCE.iter_unpack(value[start:end]):
            counts._offsets[_shared((streams[code], partition))] = offset
        return counts

    def _move_to(self, day: int) -> None:
        """Rebase the sums on the start of a later day."""
        if self._day != _NO_DAY:
            self._decay((day - self._day) * _DAY_S)
        self._day = day

    def _decay(self, passed_s: float) -> None:
        self._sums = list(map(mul, self._sums, _left_after(passed_s) * KINDS))

    def _at(self, now_s: float) -> Counts:
        """The sums (KINDS * H,) as of ``now_s``."""
        if self._day == _NO_DAY:
            return tuple(self._sums)
        left = _left_after(max(now_s, self.time_s) - self._day * _DAY_S)
        return tuple(map(mul, self._sums, left * KINDS))
