"""The part of an article index that is the same in Qdrant Edge and on a Qdrant server."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from freshet.models.ports import EVERYTHING, ArticleFilter, FloatMatrix, Hit, IndexedArticle
from freshet.streams.index import qdrant_points
from freshet.streams.index.remembered_lists import RememberedLists


class QdrantIndex(ABC):
    """An :class:`~freshet.models.ports.ArticleIndex` in Qdrant.

    It checks arguments before anything is written, gives points their ids, and remembers the lists of the
    trending and the newest. An adapter supplies the calls of its library, which get arguments that are valid.

    Args:
        d: The vectors' dimension.
        max_list_age_s: Seconds for which a list is given again; unlimited where every write passes here.
    """

    def __init__(self, d: int, max_list_age_s: float = math.inf) -> None:
        self._d = d
        self._lists = RememberedLists(max_list_age_s)
        self._longest = 0.0
        """Length of the longest vector known; new vectors are lifted to it."""
        self._closed = False

    @property
    def d(self) -> int:
        """The vectors' dimension."""
        return self._d

    def upsert(self, articles: Sequence[IndexedArticle]) -> None:
        """Insert, or replace whole, by ``news_id``. The last of two with one id wins.

        Raises:
            ValueError: A vector has another dimension, or a number is not finite; nothing was written.
            IndexUnavailable: The index did not answer; some of the articles may have been written.
        """
        self._upsert(qdrant_points.last_of_each(articles, self._d))

    def delete(self, news_ids: Sequence[str]) -> None:
        """Forget articles; unknown ids are ignored."""
        if news_ids:
            self._delete(qdrant_points.point_ids(news_ids))

    def set_popularity(self, popularity: Mapping[str, float]) -> None:
        """Change what ``trending`` sorts by; unknown ids are ignored.

        Raises:
            ValueError: A popularity is not finite; nothing was written.
        """
        if popularity:
            self._set_popularity(qdrant_points.by_value(popularity))

    def set_withdrawn(self, news_ids: Sequence[str], withdrawn: bool = True) -> None:
        """Hide articles from every query, or show them again; unknown ids are ignored."""
        if news_ids:
            self._set_withdrawn(qdrant_points.point_ids(news_ids), withdrawn)

    def search(self, queries: FloatMatrix, k: int, where: ArticleFilter = EVERYTHING) -> list[list[Hit]]:
        """Find, for each row of ``queries`` (h, d), the ``k`` articles of largest dot product, best first.

        Raises:
            ValueError: ``queries`` has another shape or is not finite.
            IndexUnavailable: The index did not answer.
        """
        rows = qdrant_points.checked_queries(queries, self._d)
        return self._search(rows, k, where) if k >= 1 and rows else [[] for _ in rows]

    def trending(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        """The ``k`` most popular articles with a popularity above 0, best first."""
        return self._first("popularity", k, where)

    def newest(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        """The ``k`` articles published last, newest first."""
        return self._first("published_at_s", k, where)

    def get(self, news_ids: Sequence[str]) -> dict[str, IndexedArticle]:
        """The articles of ``news_ids`` that the index knows, withdrawn ones included."""
        return self._get(qdrant_points.point_ids(news_ids)) if news_ids else {}

    def _first(self, field: str, k: int, where: ArticleFilter) -> list[Hit]:
        if k < 1:
            return []
        return self._lists.first(k, (field, where), lambda limit: self._sorted(field, limit, where))

    @abstractmethod
    def _upsert(self, articles: Sequence[IndexedArticle]) -> None: ...

    @abstractmethod
    def _delete(self, points: Sequence[str]) -> None: ...

    @abstractmethod
    def _set_popularity(self, groups: Mapping[float, Sequence[str]]) -> None: ...

    @abstractmethod
    def _set_withdrawn(self, points: Sequence[str], withdrawn: bool) -> None: ...

    @abstractmethod
    def _search(self, rows: Sequence[list[float]], k: int, where: ArticleFilter) -> list[list[Hit]]: ...

    @abstractmethod
    def _sorted(self, field: str, k: int, where: ArticleFilter) -> list[Hit]:
        """The first ``k`` by ``field``, descending; of the popularity, those above 0."""

    @abstractmethod
    def _get(self, points: Sequence[str]) -> dict[str, IndexedArticle]: ...
