"""User state: decayed sums of article vectors, recent clicks and exposures.

Clicks feed every head of :mod:`freshet.models.users.head_sums` but the last, skips (shown and not clicked)
feed the last.

Guarantees, up to float32 rounding:

- The state does not depend on the order in which the events of different sources arrive; a late event counts
  with its true age. An event at or before its source's last applied offset changes nothing.
- :meth:`UserState.merge` equals the state of both event lists, which must be disjoint.
- All memory is bounded; the newest entries are kept. The exposures of an article are counted from 0 again
  once it is no longer among the ``max_exposures`` most recently shown.
- An event that is published again changes nothing while its mark is among the last ``MAX_MARKS``.
- :meth:`UserState.from_bytes` returns a state that continues exactly like the one written.

Choices:

- **Skips of articles without a vector are not counted**; clicks on them are parked until they have one.
- **History has no times**: its clicks are taken as ``HISTORY_SPACING_S`` apart, the newest that long before
  the first event, so that recent clicks weigh more.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.counts import MAX_TIME_S, Source
from freshet.models.users.codec import StoredState, decode, encode
from freshet.models.users.exposures import Exposures
from freshet.models.users.head_sums import HeadSums
from freshet.models.users.newest_clicks import Click, keep_newest
from freshet.models.users.pooling import Pooling, VectorLookup
from freshet.models.users.user_share import MAX_MARKS, Counted, bounded

__all__ = ["HISTORY_SPACING_S", "Pooling", "Source", "UserState", "VectorLookup"]

HISTORY_SPACING_S = 6 * 3_600.0
ERASURE = ("user-erased", 0)
"""Source whose offset is the time of the erasure after which a state began."""
MAX_CONTEXT_CLICKS = 50


class UserState:
    """State of one user, made by :meth:`empty`, :meth:`from_bytes` or :meth:`merge`.

    >>> from freshet.models.articles.catalog import ArticleCatalog
    >>> catalog = ArticleCatalog(d=2)
    >>> row = catalog.put_vector("N1", [1.0, 0.0])
    >>> pooling = Pooling(2, (7_200.0,), 86_400.0, 1.0, max_recent_clicks=50, max_exposures=200)
    >>> state = UserState.empty(pooling)
    >>> state.apply_click(("clicks", 0, 17), 1_700_000_000.0, "N1", catalog, impression_known=False)
    True
    >>> state.vectors(1_700_000_000.0, np.zeros(2, np.float32)).tolist()
    [[0.5, 0.0], [0.0, 0.0]]
    """

    __slots__ = (
        "_folded_revision",
        "_heads",
        "_marks",
        "_offsets",
        "_parked",
        "_recent",
        "_shown",
        "_skips_due",
        "clicks",
        "pooling",
    )

    def __init__(self, pooling: Pooling) -> None:
        self.pooling = pooling
        self.clicks = 0
        """Number of clicks ever applied, including the history's."""
        self._heads = HeadSums(pooling)
        self._recent: list[Click] = []
        self._parked: list[Click] = []
        self._shown = Exposures(pooling.max_exposures, {})
        self._offsets: dict[tuple[str, int], int] = {}
        self._marks = array("Q")
        self._folded_revision: object = None
        self._skips_due = False

    @classmethod
    def empty(cls, pooling: Pooling, erased_ms: int | None = None) -> UserState:
        """State of a new user, with the population's vectors.

        Args:
            pooling: The bundle's pooling.
            erased_ms: Time of the user's erasure, Unix milliseconds. No history seeds such a state, because
                its clicks may be older.
        """
        state = cls(pooling)
        if erased_ms is not None:
            state._offsets[ERASURE] = erased_ms
        return state

    @property
    def bundle(self) -> str:
        """Version of the vectors that the state is made of."""
        return self.pooling.bundle

    @property
    def reference_s(self) -> float:
        """Time of the newest event applied, Unix seconds; minus infinity before the first."""
        return self._heads.reference_s

    @property
    def erased_ms(self) -> int:
        """Time of the erasure after which this state began, Unix milliseconds; -1 without one."""
        return self._offsets.get(ERASURE, -1)

    @property
    def is_blank(self) -> bool:
        """Whether no event was ever applied."""
        return not (self._offsets.keys() - {ERASURE} or self.clicks)

    @property
    def parked(self) -> int:
        """Number of clicks that wait for their article's vector."""
        return len(self._parked)

    @property
    def offsets(self) -> dict[tuple[str, int], int]:
        """Last offset applied of each (stream, partition)."""
        return dict(self._offsets)

    def has_applied(self, source: Source) -> bool:
        """Whether the event of ``source``, or a later one of its partition, was applied already."""
        stream, partition, offset = source
        return offset <= self._offsets.get((stream, partition), -1)

    @property
    def exposures(self) -> dict[str, int]:
        """Times shown by article, least recently shown first; counts stop at 255."""
        return self._shown.counts()

    def recent_clicks(self) -> list[tuple[str, float]]:
        """Recent clicks, the oldest first: news id and time."""
        return [(news_id, time_s) for time_s, news_id in self._recent]

    @property
    def recent(self) -> Sequence[Click]:
        """Times and news ids of recent clicks, the oldest first; the list changes with the state."""
        return self._recent

    def context(self, time_s: float) -> tuple[str, ...]:
        """Distinct recent articles clicked before ``time_s``, the oldest first.

        The result does not depend on whether or when the click at ``time_s`` itself is applied.
        """
        before = dict.fromkeys([news_id for clicked_s, news_id in self._recent if clicked_s < time_s])
        return tuple(before)[-MAX_CONTEXT_CLICKS:]

    def counted(
        self,
        source: Source,
        time_s: float,
        shown: Collection[str],
        clicked: Collection[str],
        mark: int | None = None,
    ) -> Counted:
        """The part of an event that counts in common statistics; call it before the event is applied.

        A record that was applied already is returned whole: the statistics ignore its offset themselves.
        """
        if self.has_applied(source):
            return Counted(shown, clicked)
        if mark is not None and mark in self._marks:
            return Counted((), (), sorted({*shown, *clicked}), teaches=False)
        return bounded(time_s, shown, clicked, self._recent, self.pooling.max_recent_clicks, self._shown)

    def apply_impression(  # noqa: PLR0917 - source and time, what, with what: one order everywhere
        self,
        source: Source,
        time_s: float,
        candidates: Sequence[str],
        clicked: Collection[str],
        catalog: VectorLookup,
        history: Sequence[str] = (),
        *,
        mark: int | None = None,
    ) -> bool:
        """Count a slate: an exposure of each candidate, and its click or skip.

        A repeated candidate counts once. ``history`` seeds the state if nothing was ever applied to it.
        ``mark`` comes from :func:`~freshet.models.users.user_share.mark_of`.

        Returns:
            False if this source's offset, or an event with this mark, has been applied already; only the
            offset is changed then.

        Raises:
            ValueError: ``time_s`` is not between 1970 and the year 10000; nothing is changed then.
        """
        untouched = not (self._offsets or self.clicks)
        if not self._accept(source, time_s, mark):
            return False
        if history and untouched:
            self._seed(time_s, history, catalog)
        weights = self._heads.advance(time_s)
        # Sorted, because sums of floats in the order of a set would differ from process to process.
        slate = sorted(set(candidates))
        self._shown.add_slate(slate, time_s)
        clicks = sorted(set(clicked))
        for news_id in clicks:
            self._click(time_s, news_id, catalog, weights)
        if not catalog.vectors_held:
            return True
        rows = catalog.rows([news_id for news_id in slate if news_id not in clicks])
        rows = rows[catalog.has_vector[rows]]
        if len(rows):
            self._heads.add_skips(catalog.vectors.take(rows, axis=0), weights[-1])
        return True

    def apply_click(
        self,
        source: Source,
        time_s: float,
        news_id: str,
        catalog: VectorLookup,
        *,
        impression_known: bool,
        mark: int | None = None,
    ) -> bool:
        """Count a click.

        Args:
            source: Where the event came from.
            time_s: Event time, Unix seconds.
            news_id: The clicked article.
            catalog: The articles' vectors.
            impression_known: Whether an impression shows the article without the click, now or later: its
                skip is taken back.
            mark: The event's mark.

        Returns:
            False if the event has been applied already, as for :meth:`apply_impression`.

        Raises:
            ValueError: ``time_s`` is not between 1970 and the year 10000; nothing is changed then.
        """
        if not self._accept(source, time_s, mark):
            return False
        weights = self._heads.advance(time_s)
        row, skip = self._click(time_s, news_id, catalog, weights)
        if impression_known and row >= 0:
            self._heads.take_back_skip(catalog.vectors[row], weights[-1] * skip)
        return True

    def seed_history(self, time_s: float, history: Sequence[str], catalog: VectorLookup) -> bool:
        """Seed a new user's state with earlier clicks, the oldest first, ``HISTORY_SPACING_S`` apart.

        Returns:
            Whether the state changed.
        """
        if self._offsets or self.clicks or not history:
            return False
        self._seed(time_s, history, catalog)
        return True

    def fold_parked(self, catalog: VectorLookup) -> bool:
        """Count the parked clicks whose articles have a vector now, with their true ages.

        The skips of a state that is being rebuilt are counted too, once.

        Returns:
            Whether a click was counted.
        """
        if self._skips_due:
            self._skips_due = False
            self._count_skips(catalog)
        if not self._parked or catalog.revision is self._folded_revision:
            return False
        self._folded_revision = catalog.revision
        rows = catalog.rows([news_id for _, news_id in self._parked])
        known = catalog.has_vector[rows]  # (n,)
        changed = bool(known.any())
        if changed:
            times_s = np.array([time_s for time_s, _ in self._parked])[known]
            self._heads.add_past_clicks(catalog.vectors[rows[known]], times_s)
            self._parked = [click for click, folded in zip(self._parked, known, strict=True) if not folded]
        del self._parked[: max(0, len(self._parked) - self._max_parked)]
        return changed

    def _count_skips(self, catalog: VectorLookup) -> None:
        """Rebuild the head of skips: each article counts as often as it was shown, less its recent clicks."""
        skipped = dict(self._shown.last_shown())
        for _, news_id in self._recent:
            if news_id in skipped:
                count, last_s = skipped[news_id]
                skipped[news_id] = count - 1, last_s
        counted = [(news_id, count, last_s) for news_id, (count, last_s) in skipped.items() if count > 0]
        rows = catalog.rows([news_id for news_id, _, _ in counted])
        known = catalog.has_vector[rows]
        if not known.any():
            return
        counts = np.array([count for _, count, _ in counted], np.float64)[known]
        times_s = np.array([last_s for _, _, last_s in counted])[known]
        self._heads.replace_skips(catalog.vectors[rows[known]], counts, times_s)

    def settle(self, now_s: float) -> None:
        """Take events dated after ``now_s`` as of now; otherwise new events would weigh almost nothing."""
        self._heads.reference_s = min(self._heads.reference_s, now_s)

    def weights(self, now_s: float) -> NDArray[np.float64]:
        """Evidence Z of each head (heads,) at ``now_s``, in fresh events."""
        return self._heads.evidence(now_s)

    def vectors(self, now_s: float, population: NDArray[np.float32]) -> NDArray[np.float32]:
        """The user's vectors (heads, d) at ``now_s``, or as of the newest event if that is later.

        Args:
            now_s: Event time, Unix seconds.
            population: The vector of a head without evidence: (d,), or (heads, d).
        """
        return self._heads.vectors(now_s, population)

    def merge(self, other: UserState) -> UserState:
        """State of both users' events together, for example when a visitor logs in.

        Raises:
            ValueError: The two poolings differ.
        """
        if self.pooling != other.pooling:
            raise ValueError("two states of different poolings cannot be merged: rebuild one of them first")
        merged = UserState(self.pooling)
        merged.clicks = self.clicks + other.clicks
        merged._heads = self._heads.merge(other._heads)
        merged._recent = sorted(self._recent + other._recent)[-self.pooling.max_recent_clicks :]
        merged._parked = sorted(self._parked + other._parked)[-self._max_parked :]
        merged._shown = self._shown.merge(other._shown)
        merged._offsets = self._offsets.copy()
        for key, offset in other._offsets.items():
            merged._offsets[key] = max(offset, merged._offsets.get(key, -1))
        merged._marks = (self._marks + other._marks)[-MAX_MARKS:]
        return merged

    def rebuild(self, pooling: Pooling, catalog: VectorLookup) -> UserState:
        """Rebuild the state for other vectors or half-lives, from recent and parked clicks and exposures.

        Older clicks are lost from the sums; exposures, offsets and the number of clicks are kept. All skips
        of an article count as of its last exposure, because earlier times are not kept. Clicks on articles
        without a vector in ``catalog`` are parked, skips of them are not counted.
        """
        stored = self._stored()
        rebuilt = UserState._restored(stored._replace(fingerprint=~pooling.fingerprint), pooling)
        rebuilt.fold_parked(catalog)
        return rebuilt

    def to_bytes(self) -> bytes:
        """Encode the state in the format of :mod:`freshet.models.users.codec`."""
        return encode(self._stored())

    @classmethod
    def from_bytes(cls, value: bytes, pooling: Pooling) -> UserState:
        """Decode a state that :meth:`to_bytes` encoded.

        If its vectors or half-lives differ from those of ``pooling``, the next :meth:`fold_parked` rebuilds
        it like :meth:`rebuild`.

        Raises:
            ValueError: The bytes are not a user's state, are damaged, or of another version.
        """
        return cls._restored(decode(value), pooling)

    @property
    def _max_parked(self) -> int:
        return max(self.pooling.max_parked, self.pooling.max_recent_clicks)

    def _stored(self) -> StoredState:
        return StoredState(
            self.pooling.fingerprint,
            self._heads.reference_s,
            self.clicks,
            self._heads.weights,
            self._heads.sums,
            self._recent,
            self._parked,
            self._shown.packed,
            self._shown.gone,
            self._offsets,
            list(self._marks),
        )

    @classmethod
    def _restored(cls, stored: StoredState, pooling: Pooling) -> UserState:
        state = cls.__new__(cls)
        state.pooling = pooling
        state.clicks = stored.clicks
        state._skips_due = stored.fingerprint != pooling.fingerprint
        state._folded_revision = None
        if state._skips_due:
            state._heads = HeadSums(pooling, stored.reference_s)
            oldest = stored.recent[0] if stored.recent else (math.inf, "")
            older = [click for click in stored.parked if click < oldest]
            state._parked = [*older, *stored.recent][-state._max_parked :]
        else:
            state._heads = HeadSums(pooling, stored.reference_s, stored.sums, stored.weights)
            state._parked = stored.parked
        state._recent = stored.recent[-pooling.max_recent_clicks :]
        state._shown = Exposures(pooling.max_exposures, stored.shown, stored.gone)
        state._offsets = stored.offsets
        state._marks = array("Q", stored.marks)
        return state

    def _accept(self, source: Source, time_s: float, mark: int | None) -> bool:
        """Advance the source's offset; False if it, or the mark, has been applied already."""
        if self.has_applied(source):
            return False
        if not 0.0 <= time_s < MAX_TIME_S:
            raise ValueError(f"an event at {time_s} s is not between 1970 and the year 10000")
        stream, partition, offset = source
        self._offsets[stream, partition] = offset
        if mark is None:
            return True
        if mark in self._marks:
            return False
        self._marks.append(mark)
        del self._marks[:-MAX_MARKS]
        return True

    def _seed(self, time_s: float, history: Sequence[str], catalog: VectorLookup) -> None:
        n = len(history)
        clicks = list(zip([time_s - HISTORY_SPACING_S * i for i in range(n, 0, -1)], history, strict=True))
        self._heads.reference_s = clicks[-1][0]
        self.clicks = n
        self._recent = clicks[-self.pooling.max_recent_clicks :]
        self._parked = clicks
        self._folded_revision = None
        self.fold_parked(catalog)

    def _click(
        self, time_s: float, news_id: str, catalog: VectorLookup, weights: list[float]
    ) -> tuple[int, float]:
        """Count or park a click; return the article's row, -1 without a vector, and a skip's weight."""
        self.clicks += 1
        keep_newest(self._recent, (time_s, news_id), self.pooling.max_recent_clicks)
        row = catalog.row(news_id)
        if row < 0 or not catalog.has_vector[row]:
            keep_newest(self._parked, (time_s, news_id), self._max_parked)
            return -1, 1.0
        return row, self._heads.add_click(catalog.vectors[row], weights)
