"""The index of the bundle being served, opened when that bundle is known and the index answers.

A stream worker learns the bundle from the first article vector; until then every query finds nothing. Where
opening fails, every call raises :class:`IndexUnavailable`, and one call per second tries again: an index that
is down when a worker starts is no worse than one that goes down later.

Requests search by :meth:`BundleIndex.answering`, behind a circuit breaker. They never wait for an index that
is being opened, nor open one that is elsewhere.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from freshet.models.articles.exact_index import ExactIndex
from freshet.models.ports import (
    EVERYTHING,
    ArticleFilter,
    ArticleIndex,
    ArticleSearch,
    FloatMatrix,
    Hit,
    IndexedArticle,
    IndexUnavailable,
)
from freshet.streams.index.circuit_breaker import CircuitBreaker
from freshet.streams.settings import Settings

_RETRY_S = 1.0
_PROBED = 50
"""Articles that a probe asks of each list, about as many as an answer."""

Found = TypeVar("Found")


class BundleIndex:
    """An :class:`ArticleIndex` that is empty until :meth:`open` names its bundle.

    Args:
        d: The vectors' dimension.
        opener: Opens the index of a bundle; may raise :class:`IndexUnavailable`.
        answer_timeout_s: The most that the searches for one answer may take together, in an index elsewhere.
    """

    def __init__(
        self, d: int, opener: Callable[[str], ArticleIndex], *, answer_timeout_s: float = math.inf
    ) -> None:
        self._d = d
        self._opener = opener
        self.answer_timeout_s = answer_timeout_s
        self._breaker: CircuitBreaker | None = None
        self._index: ArticleIndex | None = None
        self._empty = ExactIndex(d)
        self._bundle: str | None = None
        self._next_try = 0.0
        self._lock = threading.Lock()

    @property
    def d(self) -> int:
        """The vectors' dimension."""
        return self._d

    def open(self, bundle: str) -> None:
        """Serve ``bundle``; opening the same one again changes nothing.

        Raises:
            ValueError: Another bundle is open.
        """
        with self._lock:
            if self._bundle not in {None, bundle}:
                raise ValueError(f"bundle {self._bundle} is open, {bundle} cannot be mixed with it")
            if self._bundle is None:
                self._breaker = CircuitBreaker(bundle, self._probe)
            self._bundle = bundle

    def prepare(self) -> None:
        """Open the index now, not at the first call; where that fails, go on trying in the background."""
        try:
            self._opened()
        except IndexUnavailable as error:
            if self._breaker is not None:
                self._breaker.open(error)

    @contextmanager
    def answering(self, deadline_s: float = math.inf) -> Iterator[ArticleSearch]:
        """Give the searches for one answer, behind the circuit breaker.

        Args:
            deadline_s: When nobody waits for the answer any more, by :func:`time.monotonic`.

        Raises:
            IndexUnavailable: The index is out of order, fails or is late; or it is later than ``deadline_s``.
        """
        breaker = self._breaker
        if breaker is None:
            yield self
            return
        breaker.check()
        if self._index is None and math.isfinite(self.answer_timeout_s):
            breaker.open("it has not been opened yet")
            breaker.check()
        searches = _TimedSearches(self, self.answer_timeout_s, deadline_s)
        try:
            yield searches
        except IndexUnavailable as error:
            if not searches.abandoned:
                breaker.failed(error)
            raise
        breaker.succeeded()

    def upsert(self, articles: Sequence[IndexedArticle]) -> None:
        """See :meth:`ArticleIndex.upsert`.

        Raises:
            RuntimeError: No bundle was named.
        """
        index = self._opened()
        if index is self._empty:
            raise RuntimeError("no bundle is open: open() comes before upsert()")
        index.upsert(articles)

    def delete(self, news_ids: Sequence[str]) -> None:
        """See :meth:`ArticleIndex.delete`."""
        self._opened().delete(news_ids)

    def set_popularity(self, popularity: Mapping[str, float]) -> None:
        """See :meth:`ArticleIndex.set_popularity`; raises at once while the breaker is open."""
        self._opened_for_updates().set_popularity(popularity)

    def set_withdrawn(self, news_ids: Sequence[str], withdrawn: bool = True) -> None:
        """See :meth:`ArticleIndex.set_withdrawn`; raises at once while the breaker is open."""
        self._opened_for_updates().set_withdrawn(news_ids, withdrawn)

    def search(self, queries: FloatMatrix, k: int, where: ArticleFilter = EVERYTHING) -> list[list[Hit]]:
        """See :meth:`ArticleIndex.search`."""
        return self._opened().search(queries, k, where)

    def trending(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        """See :meth:`ArticleIndex.trending`."""
        return self._opened().trending(k, where)

    def newest(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        """See :meth:`ArticleIndex.newest`."""
        return self._opened().newest(k, where)

    def get(self, news_ids: Sequence[str]) -> dict[str, IndexedArticle]:
        """See :meth:`ArticleIndex.get`."""
        return self._opened().get(news_ids)

    def count(self) -> int:
        """See :meth:`ArticleIndex.count`."""
        return self._opened().count()

    def close(self) -> None:
        """See :meth:`ArticleIndex.close`."""
        with self._lock:
            if self._breaker is not None:
                self._breaker.stop()
            if self._index is not None:
                self._index.close()
            self._index = self._bundle = self._breaker = None

    def _probe(self) -> None:
        """Open the index and ask it what an answer asks, in the time of one."""
        searches = _TimedSearches(self._opened(), self.answer_timeout_s)
        searches.search(np.ones((1, self._d), np.float32), _PROBED)
        searches.trending(_PROBED)
        searches.newest(_PROBED)

    def _opened_for_updates(self) -> ArticleIndex:
        # The callers keep updates and come again; waiting here would only occupy threads.
        if self._breaker is not None:
            self._breaker.check()
        return self._opened()

    def _opened(self) -> ArticleIndex:
        """The bundle's index, opened now if it is not; an empty one before any bundle is named."""
        if self._index is not None or self._bundle is None:
            return self._index or self._empty
        with self._lock:
            if self._index is None and self._bundle is not None:
                if time.monotonic() < self._next_try:
                    raise IndexUnavailable(f"the index of bundle {self._bundle} did not open")
                try:
                    self._index = self._opener(self._bundle)
                except IndexUnavailable:
                    self._next_try = time.monotonic() + _RETRY_S
                    raise
            return self._index or self._empty


class _TimedSearches:
    """Searches for one answer, with a limit on the time that they take together.

    Args:
        index: The index to search.
        timeout_s: The limit.
        deadline_s: When nobody waits for the answer any more.
    """

    def __init__(self, index: ArticleSearch, timeout_s: float, deadline_s: float = math.inf) -> None:
        self._index = index
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self._spent_s = 0.0
        self.abandoned = False
        """Whether nobody waited any more, which says nothing about the index."""

    def search(self, queries: FloatMatrix, k: int, where: ArticleFilter = EVERYTHING) -> list[list[Hit]]:
        return self._timed(lambda: self._index.search(queries, k, where))

    def trending(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        return self._timed(lambda: self._index.trending(k, where))

    def newest(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        return self._timed(lambda: self._index.newest(k, where))

    def _timed(self, search: Callable[[], Found]) -> Found:
        began_s = time.monotonic()
        if began_s >= self._deadline_s:
            self.abandoned = True
            raise IndexUnavailable("the answer could not wait for its searches to begin")
        found = search()
        self._spent_s += time.monotonic() - began_s
        if self._spent_s > self._timeout_s:
            raise IndexUnavailable(f"the searches for one answer took more than {self._timeout_s:g} s")
        return found


def index_of(settings: Settings, d: int, *, serves: bool = True) -> BundleIndex:
    """Make the index that ``settings`` ask for: a Qdrant server, or Qdrant Edge below the data folder.

    Args:
        settings: The server's address, or the data folder.
        d: The vectors' dimension.
        serves: Whether this process answers from it; a server then serves this bundle under its alias.
    """

    def edge(bundle: str) -> ArticleIndex:
        from freshet.streams.index.edge_index import EdgeIndex

        return EdgeIndex(settings.data_dir / "index", d, bundle=bundle)

    def server(bundle: str) -> ArticleIndex:
        from freshet.streams.index.server_index import ServerIndex

        assert settings.qdrant_url is not None
        key = settings.qdrant_api_key
        index = ServerIndex(
            settings.qdrant_url,
            d,
            bundle=bundle,
            grpc_port=settings.qdrant_grpc_port,
            api_key=None if key is None else key.get_secret_value(),
            timeout_s=settings.qdrant_timeout_s,
            search_timeout_s=settings.qdrant_search_timeout_s,
        )
        if serves:
            try:
                index.promote()
            except BaseException:
                index.close()
                raise
        return index

    if settings.qdrant_url is None:
        return BundleIndex(d, edge)
    return BundleIndex(d, server, answer_timeout_s=settings.qdrant_search_timeout_s)
