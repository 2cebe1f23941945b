"""Writer of an index's changes: keeps them while the index is unavailable, and retries."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.trending import popularity_of
from freshet.models.ports import ArticleIndex, IndexedArticle, IndexUnavailable

log = logging.getLogger(__name__)

_RETRY_S = 1.0


class IndexWriter:
    """Collects changes of one index, of which each article's last one counts.

    Args:
        index: The index.
        catalog: Statistics of the articles.
        name: Name of the index in the log.
    """

    def __init__(self, index: ArticleIndex, catalog: ArticleCatalog, name: str = "the index") -> None:
        self._index = index
        self._catalog = catalog
        self._name = name
        self.articles: dict[str, IndexedArticle | None] = {}
        """Entries to write, by news id; ``None`` deletes one."""
        self.withdrawn: set[str] = set()
        """News ids to hide."""
        self.popularity: dict[str, float] = {}
        """Popularities to write, by news id."""
        self._next_write_s = 0.0
        self._refused = False

    async def write(self) -> dict[str, float]:
        """Write all changes, unless the index is unavailable; returns the written entries' popularities."""
        articles, withdrawn, popularity = self.articles, self.withdrawn, self.popularity
        if not (articles or withdrawn or popularity) or time.monotonic() < self._next_write_s:
            return {}
        self.articles, self.withdrawn, self.popularity = {}, set(), {}
        try:
            written = await asyncio.to_thread(self._write, articles, withdrawn, popularity)
        except IndexUnavailable as error:
            if not self._refused:
                log.warning("%s is unavailable, trying again every %g s: %s", self._name, _RETRY_S, error)
            self._refused = True
            self._next_write_s = time.monotonic() + _RETRY_S
            # Changes may have come while the thread was writing.
            self.articles = articles | self.articles
            self.withdrawn |= withdrawn
            self.popularity = popularity | self.popularity
            return {}
        self._refused = False
        return written

    def _write(
        self, articles: dict[str, IndexedArticle | None], withdrawn: set[str], popularity: dict[str, float]
    ) -> dict[str, float]:
        entries = [
            replace(article, popularity=popularity_of(self._catalog, news_id))
            for news_id, article in articles.items()
            if article is not None
        ]
        if entries:
            self._index.upsert(entries)
        if deleted := [news_id for news_id, article in articles.items() if article is None]:
            self._index.delete(deleted)
        if withdrawn:
            self._index.set_withdrawn(sorted(withdrawn))
        if popularity:
            self._index.set_popularity(popularity)
        return {entry.news_id: entry.popularity for entry in entries}
