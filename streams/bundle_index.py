"""The index of the bundle being served, opened when that bundle is known.

A stream worker learns the bundle from the first article vector; until then there is nothing to find, and every
query finds nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from freshet.models.ports import EVERYTHING, ArticleFilter, ArticleIndex, FloatMatrix, Hit, IndexedArticle
from freshet.streams.settings import Settings


class BundleIndex:
    """An :class:`ArticleIndex` that is empty until :meth:`open` names its bundle.

    Args:
        d: The vectors' dimension.
        opener: Opens the index of a bundle.
    """

    def __init__(self, d: int, opener: Callable[[str], ArticleIndex]) -> None:
        self._d = d
        self._opener = opener
        self._index: ArticleIndex | None = None
        self._bundle: str | None = None
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
            if self._bundle == bundle:
                return
            if self._bundle is not None:
                raise ValueError(f"the index of bundle {self._bundle} is open, {bundle} cannot be mixed with it")
            self._index = self._opener(bundle)
            self._bundle = bundle

    def upsert(self, articles: Sequence[IndexedArticle]) -> None:
        """See :meth:`ArticleIndex.upsert`.

        Raises:
            RuntimeError: No bundle is open.
        """
        if self._index is None:
            raise RuntimeError("no bundle is open: open() comes before upsert()")
        self._index.upsert(articles)

    def delete(self, news_ids: Sequence[str]) -> None:
        """See :meth:`ArticleIndex.delete`."""
        if self._index is not None:
            self._index.delete(news_ids)

    def set_popularity(self, popularity: Mapping[str, float]) -> None:
        """See :meth:`ArticleIndex.set_popularity`."""
        if self._index is not None:
            self._index.set_popularity(popularity)

    def set_withdrawn(self, news_ids: Sequence[str], withdrawn: bool = True) -> None:
        """See :meth:`ArticleIndex.set_withdrawn`."""
        if self._index is not None:
            self._index.set_withdrawn(news_ids, withdrawn)

    def search(self, queries: FloatMatrix, k: int, where: ArticleFilter = EVERYTHING) -> list[list[Hit]]:
        """See :meth:`ArticleIndex.search`."""
        return [[] for _ in queries] if self._index is None else self._index.search(queries, k, where)

    def trending(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        """See :meth:`ArticleIndex.trending`."""
        return [] if self._index is None else self._index.trending(k, where)

    def newest(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        """See :meth:`ArticleIndex.newest`."""
        return [] if self._index is None else self._index.newest(k, where)

    def get(self, news_ids: Sequence[str]) -> dict[str, IndexedArticle]:
        """See :meth:`ArticleIndex.get`."""
        return {} if self._index is None else self._index.get(news_ids)

    def count(self) -> int:
        """See :meth:`ArticleIndex.count`."""
        return 0 if self._index is None else self._index.count()

    def close(self) -> None:
        """See :meth:`ArticleIndex.close`."""
        with self._lock:
            if self._index is not None:
                self._index.close()
                self._index = None


def index_of(settings: Settings) -> BundleIndex:
    """The index that ``settings`` ask for: a Qdrant server, or Qdrant Edge below the data folder."""

    def opener(bundle: str) -> ArticleIndex:
        if settings.qdrant_url is not None:
            from freshet.streams.server_index import ServerIndex  # noqa: PLC0415  # gRPC loads slowly

            key = settings.qdrant_api_key
            server = ServerIndex(
                settings.qdrant_url,
                settings.dimension,
                bundle=bundle,
                api_key=None if key is None else key.get_secret_value(),
                timeout_s=settings.qdrant_timeout_s,
            )
            server.promote()
            return server
        from freshet.streams.edge_index import EdgeIndex  # noqa: PLC0415  # not needed with a server

        return EdgeIndex(settings.data_dir / "index", settings.dimension, bundle=bundle)

    return BundleIndex(settings.dimension, opener)
