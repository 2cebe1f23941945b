"""An article's clicks, impressions and expected clicks, decayed at several half-lives, each counted once.

The counts are sums of ``2 ** (-age / half_life)``, kept exactly: they do not depend on the order of events
across sources (up to rounding), a late event counts with its true age, and an event at or before the last
offset applied of its source changes nothing.

Forward decay (Cormode, Shkapenyuk, Srivastava, Xu, "Forward decay", ICDE 2009): an event is added with the
weight ``2 ** ((t - L) / half_life)`` for a landmark L before it, and the sums are scaled down when they are
read. All events of a slate share that weight, so an event costs a few additions and no power. L is the start
of the newest event's UTC day, so weights stay below 2^48 and nothing overflows.

Beside the decayed counts stand the counts of co-clicks (:mod:`freshet.models.articles.co_clicks`), which do
not decay.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable
from functools import lru_cache

import orjson

from freshet.models.articles.catalog import STATS_HALF_LIVES_S
from freshet.models.articles.co_clicks import trim

Source = tuple[str, int, int]
"""Where an event came from: stream (a topic's name), partition, offset."""

Counts = tuple[float, ...]
"""One count for each of ``STATS_HALF_LIVES_S``."""

MAX_TIME_S = 253_402_300_800.0
"""The year 10000; nothing that happens before 1970 or after is an event."""

_DAY_S = 86_400.0
_NO_DAY = -1
_VERSION = 2
_HEADER = struct.Struct("<BHiHdd8d")
"""Version, sources, day, length of the streams' names, last and first event's time, the first eight sums."""
_MORE = struct.Struct("<d4dI")
"""Since version 2, after the header: last click's time, sums of expected clicks, bytes of the contexts."""
_SOURCE = struct.Struct("<BHq")
_CHECKSUM = struct.Struct("<I")

_SHORT_S, _MIDDLE_S, _LONG_S = (half_life for half_life in STATS_HALF_LIVES_S if half_life is not None)


@lru_cache(maxsize=4_096)
def _weights(time_s: float) -> tuple[int, float, float, float]:
    """The day of ``time_s`` and its weights relative to that day's start."""
    if not 0.0 <= time_s < MAX_TIME_S:
        raise ValueError(f"an event at {time_s} s is not between 1970 and the year 10000")
    day = int(time_s // _DAY_S)
    ahead_s = time_s - day * _DAY_S
    return day, 2.0 ** (ahead_s / _SHORT_S), 2.0 ** (ahead_s / _MIDDLE_S), 2.0 ** (ahead_s / _LONG_S)


@lru_cache(maxsize=4_096)
def _shared(key: tuple[str, int]) -> tuple[str, int]:
    """One object for equal keys: every article has the same few, a third of its memory."""
    return key


class ArticleCounts:
    """The statistics of one article."""

    __slots__ = (
        "_clicks",
        "_clicks_long",
        "_clicks_middle",
        "_clicks_short",
        "_day",
        "_expected",
        "_expected_long",
        "_expected_middle",
        "_expected_short",
        "_impressions",
        "_impressions_long",
        "_impressions_middle",
        "_impressions_short",
        "_offsets",
        "clicked_at_s",
        "contexts",
        "first_seen_s",
        "time_s",
    )

    def __init__(self) -> None:
        self.time_s = -math.inf
        """The newest event's time; minus infinity before the first."""
        self.first_seen_s = math.inf
        """The oldest event's time; infinity before the first."""
        self._day = _NO_DAY
        self._clicks_short = self._clicks_middle = self._clicks_long = self._clicks = 0.0
        self._impressions_short = self._impressions_middle = self._impressions_long = 0.0
        self._impressions = 0.0
        self._expected_short = self._expected_middle = self._expected_long = self._expected = 0.0
        self.clicked_at_s = -math.inf
        """The newest click's time; minus infinity before the first."""
        self.contexts: dict[str, int] = {}
        """Clicks by what their users had clicked lately."""
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
            slate: How many articles the slate showed; 0 where that is unknown: no click is expected then.
            context: What the user had lately clicked before, distinct.

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
        day, short, middle, long = _weights(time_s)
        offsets[key] = offset
        if day != self._day:
            if day > self._day:
                self._move_to(day)
            else:
                behind_s = (self._day - day) * _DAY_S
                short *= 2.0 ** (-behind_s / _SHORT_S)
                middle *= 2.0 ** (-behind_s / _MIDDLE_S)
                long *= 2.0 ** (-behind_s / _LONG_S)
        if shown:
            self._impressions_short += short * shown
            self._impressions_middle += middle * shown
            self._impressions_long += long * shown
            self._impressions += shown
            if slate:
                expected = shown / slate
                self._expected_short += short * expected
                self._expected_middle += middle * expected
                self._expected_long += long * expected
                self._expected += expected
        if clicked:
            if time_s > self.clicked_at_s:  # noqa: PLR1730 - max() costs a call at every click
                self.clicked_at_s = time_s
            contexts = self.contexts
            for before in context:
                contexts[before] = contexts.get(before, 0) + 1
            trim(contexts)
            self._clicks_short += short * clicked
            self._clicks_middle += middle * clicked
            self._clicks_long += long * clicked
            self._clicks += clicked
        # Not max() and min(): two calls are a fifth of the time of an event.
        if time_s > self.time_s:  # noqa: PLR1730 - max() costs a call, 37 times an impression
            self.time_s = time_s
        if time_s < self.first_seen_s:  # noqa: PLR1730 - max() costs a call, 37 times an impression
            self.first_seen_s = time_s
        return True

    def pass_over(self, source: Source) -> None:
        """Take an event of ``source`` as applied, and count nothing of it."""
        stream, partition, offset = source
        key = _shared((stream, partition))
        self._offsets[key] = max(offset, self._offsets.get(key, offset))

    def settle(self, now_s: float) -> None:
        """Take what is dated after ``now_s`` as of now: until then, nothing new would count for anything.

        What was counted before the events from the future stays as small as it is at their time.
        """
        if self.time_s > now_s:
            self._decay(self.time_s - now_s)
            self.time_s = now_s
            self.clicked_at_s = min(self.clicked_at_s, now_s)
            self.first_seen_s = min(self.first_seen_s, now_s)

    def at(self, now_s: float) -> tuple[Counts, Counts]:
        """Clicks and impressions as of ``now_s``, or as of the newest event if that is later."""
        if self._day == _NO_DAY:
            return (0.0,) * 4, (0.0,) * 4
        ahead_s = max(now_s, self.time_s) - self._day * _DAY_S
        short = 2.0 ** (-ahead_s / _SHORT_S)
        middle = 2.0 ** (-ahead_s / _MIDDLE_S)
        long = 2.0 ** (-ahead_s / _LONG_S)
        return (
            (
                self._clicks_short * short,
                self._clicks_middle * middle,
                self._clicks_long * long,
                self._clicks,
            ),
            (
                self._impressions_short * short,
                self._impressions_middle * middle,
                self._impressions_long * long,
                self._impressions,
            ),
        )

    def expected_at(self, now_s: float) -> Counts:
        """Expected clicks, as :meth:`at` gives clicks and impressions."""
        if self._day == _NO_DAY:
            return (0.0,) * 4
        ahead_s = max(now_s, self.time_s) - self._day * _DAY_S
        return (
            self._expected_short * 2.0 ** (-ahead_s / _SHORT_S),
            self._expected_middle * 2.0 ** (-ahead_s / _MIDDLE_S),
            self._expected_long * 2.0 ** (-ahead_s / _LONG_S),
            self._expected,
        )

    def merge(self, other: ArticleCounts) -> ArticleCounts:
        """The statistics of both event lists together; no event may be in both."""
        merged = ArticleCounts()
        for part in (self, other):
            if part._day > merged._day:
                merged._move_to(part._day)
        for part in (self, other):
            behind_s = (merged._day - part._day) * _DAY_S
            short = 2.0 ** (-behind_s / _SHORT_S)
            middle = 2.0 ** (-behind_s / _MIDDLE_S)
            long = 2.0 ** (-behind_s / _LONG_S)
            merged._clicks_short += part._clicks_short * short
            merged._clicks_middle += part._clicks_middle * middle
            merged._clicks_long += part._clicks_long * long
            merged._clicks += part._clicks
            merged._impressions_short += part._impressions_short * short
            merged._impressions_middle += part._impressions_middle * middle
            merged._impressions_long += part._impressions_long * long
            merged._impressions += part._impressions
            merged._expected_short += part._expected_short * short
            merged._expected_middle += part._expected_middle * middle
            merged._expected_long += part._expected_long * long
            merged._expected += part._expected
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
        body = _HEADER.pack(
            _VERSION,
            len(sources),
            self._day,
            len(names),
            self.time_s,
            self.first_seen_s,
            self._clicks_short,
            self._clicks_middle,
            self._clicks_long,
            self._clicks,
            self._impressions_short,
            self._impressions_middle,
            self._impressions_long,
            self._impressions,
        )
        contexts = orjson.dumps(self.contexts) if self.contexts else b""
        body += _MORE.pack(
            self.clicked_at_s,
            self._expected_short,
            self._expected_middle,
            self._expected_long,
            self._expected,
            len(contexts),
        )
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
        (
            _,
            n_sources,
            counts._day,
            names_bytes,
            counts.time_s,
            counts.first_seen_s,
            counts._clicks_short,
            counts._clicks_middle,
            counts._clicks_long,
            counts._clicks,
            counts._impressions_short,
            counts._impressions_middle,
            counts._impressions_long,
            counts._impressions,
        ) = _HEADER.unpack_from(value)
        begin, contexts_bytes = _HEADER.size, 0
        if value[0] > 1:
            if end < begin + _MORE.size:
                raise ValueError(f"article statistics of {len(value)} bytes, too short")
            (
                counts.clicked_at_s,
                counts._expected_short,
                counts._expected_middle,
                counts._expected_long,
                counts._expected,
                contexts_bytes,
            ) = _MORE.unpack_from(value, begin)
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
        """Make the sums relative to the start of a later day."""
        if self._day != _NO_DAY:
            self._decay((day - self._day) * _DAY_S)
        self._day = day

    def _decay(self, passed_s: float) -> None:
        """Make the sums as small as they are ``passed_s`` later."""
        short = 2.0 ** (-passed_s / _SHORT_S)
        middle = 2.0 ** (-passed_s / _MIDDLE_S)
        long = 2.0 ** (-passed_s / _LONG_S)
        self._clicks_short *= short
        self._clicks_middle *= middle
        self._clicks_long *= long
        self._impressions_short *= short
        self._impressions_middle *= middle
        self._impressions_long *= long
        self._expected_short *= short
        self._expected_middle *= middle
        self._expected_long *= long
