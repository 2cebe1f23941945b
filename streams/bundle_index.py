"""The index of the bundle being served, opened when that bundle is known and the index answers.

A stream worker learns the bundle from the first article vector; until then there is nothing to find, and
every query finds nothing. Where opening fails, every call raises :class:`IndexUnavailable` and now and then
tries again: an index that is down when a worker starts is no worse than one that goes down later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from freshet.models.ports import (
    EVERYTHING,
    ArticleFilter,
    ArticleIndex,
    FloatMatrix,
    Hit,
    IndexedArticle,
    IndexUnavailable,
)
from freshet.streams.settings import Settings

_RETRY_S = 1.0


class BundleIndex:
    """An :class:`ArticleIndex` that is empty until :meth:`open` names its bundle.

    Args:
        d: The vectors' dimension.
        opener: Opens the index of a bundle; may raise :class:`IndexUnavailable`.
    """

    def __init__(self, d: int, opener: Callable[[str], ArticleIndex]) -> None:
        self._d = d
        self._opener = opener
        self._index: ArticleIndex | None = None
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
            self._bundle = bundle

    def upsert(self, articles: Sequence[IndexedArticle]) -> None:
        """See :meth:`ArticleIndex.upsert`.

        Raises:
            RuntimeError: No bundle was named.
        """
        index = self._opened()
        if index is None:
            raise RuntimeError("no bundle is open: open() comes before upsert()")
        index.upsert(articles)

    def delete(self, news_ids: Sequence[str]) -> None:
        """See :meth:`ArticleIndex.delete`."""
        if (index := self._opened()) is not None:
            index.delete(news_ids)

    def set_popularity(self, popularity: Mapping[str, float]) -> None:
        """See :meth:`ArticleIndex.set_popularity`."""
        if (index := self._opened()) is not None:
            index.set_popularity(popularity)

    def set_withdrawn(self, news_ids: Sequence[str], withdrawn: bool = True) -> None:
        """See :meth:`ArticleIndex.set_withdrawn`."""
        if (index := self._opened()) is not None:
            index.set_withdrawn(news_ids, withdrawn)

    def search(self, queries: FloatMatrix, k: int, where: ArticleFilter = EVERYTHING) -> list[list[Hit]]:
        """See :meth:`ArticleIndex.search`."""
        index = self._opened()
        return [[] for _ in queries] if index is None else index.search(queries, k, where)

    def trending(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        """See :meth:`ArticleIndex.trending`."""
        index = self._opened()
        return [] if index is None else index.trending(k, where)

    def newest(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        """See :meth:`ArticleIndex.newest`."""
        index = self._opened()
        return [] if index is None else index.newest(k, where)

    def get(self, news_ids: Sequence[str]) -> dict[str, IndexedArticle]:
        """See :meth:`ArticleIndex.get`."""
        index = self._opened()
        return {} if index is None else index.get(news_ids)

    def count(self) -> int:
        """See :meth:`ArticleIndex.count`."""
        index = self._opened()
        return 0 if index is None else index.count()

    def close(self) -> None:
        """See :meth:`ArticleIndex.close`."""
        with self._lock:
            if self._index is not None:
                self._index.close()
            self._index = self._bundle = None

    def _opened(self) -> ArticleIndex | None:
        if self._index is not None or self._bundle is None:
            return self._index
        with self._lock:
            if self._index is None and self._bundle is not None:
                if time.monotonic() < self._next_try:
                    raise IndexUnavailable(f"the index of bundle {self._bundle} did not open")
                try:
                    self._index = self._opener(self._bundle)
                except IndexUnavailable:
                    self._next_try = time.monotonic() + _RETRY_S
                    raise
            return self._index


def index_of(settings: Settings, d: int, *, serves: bool = True) -> BundleIndex:
    """The index that ``settings`` ask for: a Qdrant server, or Qdrant Edge below the data folder.

    Args:
        settings: Where it is.
        d: The vectors' dimension.
        serves: Whether this process answers from it: on a server its bundle is then the one in service.
    """

    def edge(bundle: str) -> ArticleIndex:
        from freshet.streams.edge_index import EdgeIndex  # noqa: PLC0415  # not needed with a server

        return EdgeIndex(settings.data_dir / "index", d, bundle=bundle)

    def server(bundle: str) -> ArticleIndex:
        from freshet.streams.server_index import ServerIndex  # noqa: PLC0415  # gRPC loads slowly

        assert settings.qdrant_url is not None
        key = settings.qdrant_api_key
        index = ServerIndex(
            settings.qdrant_url,
            d,
            bundle=bundle,
            api_key=None if key is None else key.get_secret_value(),
            timeout_s=settings.qdrant_timeout_s,
        )
        if serves:
            index.promote()
        return index

    return BundleIndex(d, edge if settings.qdrant_url is None else server)
