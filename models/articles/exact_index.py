"""Exact :class:`~freshet.models.ports.ArticleIndex` in NumPy: it scores every article.

It is the floor that approximate indexes are measured against, and the index of offline evaluation. Every
answer is deterministic: equal scores are ordered by news id, whatever the order of the writes. All methods
may be called from several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.statistics_columns import doubled
from freshet.models.ports import EVERYTHING, ArticleFilter, FloatMatrix, FloatVector, Hit, IndexedArticle

_FIRST_CAPACITY = 1_024
_ROW = np.dtype(
    [
        ("published_at_s", np.float64),
        ("popularity", np.float64),
        ("category", np.int32),
        ("language", np.int32),
        ("withdrawn", np.bool_),
    ],
    align=True,
)
"""Fields of an article that queries read; category and language are codes."""


class ExactIndex:
    """Articles in arrays that grow by doubling; a search is one matrix product.

    Args:
        d: The vectors' dimension.

    Raises:
        ValueError: ``d`` is not positive.
    """

    def __init__(self, d: int) -> None:
        if d < 1:
            raise ValueError(f"d must be at least 1, got {d}")
        self._d = d
        self._lock = threading.RLock()
        self._articles: list[IndexedArticle] = []
        self._slots: dict[str, int] = {}
        self._codes: dict[str, int] = {}
        self._vectors: FloatMatrix = np.zeros((_FIRST_CAPACITY, d), np.float32)
        self._rows = np.zeros(_FIRST_CAPACITY, _ROW)

    @property
    def d(self) -> int:
        """The vectors' dimension."""
        return self._d

    def upsert(self, articles: Sequence[IndexedArticle]) -> None:
        """Insert, or replace whole, by ``news_id``. The last of two with one id wins.

        Raises:
            ValueError: A vector has another dimension or is not finite; nothing was written.
        """
        vectors = [self._checked(article) for article in articles]
        with self._lock:
            for article, vector in zip(articles, vectors, strict=True):
                slot = self._slots.setdefault(article.news_id, len(self._articles))
                if slot == len(self._articles):
                    self._articles.append(article)
                    if slot == len(self._rows):
                        self._vectors, self._rows = doubled(self._vectors, 0.0), doubled(self._rows, 0)
                self._articles[slot] = article
                self._vectors[slot] = vector
                self._rows[slot] = (
                    article.published_at_s,
                    article.popularity,
                    self._code(article.category),
                    self._code(article.language),
                    article.withdrawn,
                )

    def delete(self, news_ids: Sequence[str]) -> None:
        """Forget articles; unknown ids are ignored."""
        with self._lock:
            for news_id in news_ids:
                slot = self._slots.pop(news_id, None)
                if slot is None:
                    continue
                last = len(self._articles) - 1
                moved = self._articles.pop()
                if slot != last:
                    self._articles[slot] = moved
                    self._slots[moved.news_id] = slot
                    self._vectors[slot], self._rows[slot] = self._vectors[last], self._rows[last]

    def set_popularity(self, popularity: Mapping[str, float]) -> None:
        """Update popularities; unknown ids are ignored."""
        with self._lock:
            for news_id in popularity.keys() & self._slots.keys():
                self._rows["popularity"][self._slots[news_id]] = popularity[news_id]

    def set_withdrawn(self, news_ids: Sequence[str], withdrawn: bool = True) -> None:
        """Hide articles from every query, or show them again; unknown ids are ignored."""
        with self._lock:
            self._rows["withdrawn"][self._known(news_ids)] = withdrawn

    def search(self, queries: FloatMatrix, k: int, where: ArticleFilter = EVERYTHING) -> list[list[Hit]]:
        """Find the ``k`` best articles by dot product for each row of ``queries`` (h, d), best first.

        Raises:
            ValueError: ``queries`` has another shape.
        """
        queries = np.asarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self._d:  # noqa: PLR2004 - a matrix
            raise ValueError(f"queries must have the shape (h, {self._d}), got {queries.shape}")
        with self._lock:
            slots = self._allowed(where)
            n = len(self._articles)
            # One product over all rows is faster than copying the allowed rows out first.
            scores = queries @ self._vectors[:n].T  # (h, n)
            return [self._best(row[slots].astype(np.float64), slots, k) for row in scores]

    def trending(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        """Find the ``k`` most popular articles with a popularity above 0, best first."""
        with self._lock:
            slots = self._allowed(where)
            popularity = self._rows["popularity"][slots]
            return self._best(popularity[popularity > 0], slots[popularity > 0], k)

    def newest(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        """Find the ``k`` articles published last, newest first."""
        with self._lock:
            slots = self._allowed(where)
            return self._best(self._rows["published_at_s"][slots], slots, k)

    def get(self, news_ids: Sequence[str]) -> dict[str, IndexedArticle]:
        """Return the known articles of ``news_ids``, withdrawn ones included."""
        with self._lock:
            return {self._articles[slot].news_id: self._article(slot) for slot in self._known(news_ids)}

    def count(self) -> int:
        """Number of articles in the index, withdrawn ones included."""
        with self._lock:
            return len(self._articles)

    def close(self) -> None:
        """Do nothing: the index lives in memory only."""

    def _checked(self, article: IndexedArticle) -> FloatVector:
        vector = np.asarray(article.vector, np.float32)
        if vector.shape != (self._d,):
            raise ValueError(
                f"article {article.news_id}: the vector has the shape {vector.shape}, "
                f"but this index holds ({self._d},)"
            )
        if not np.isfinite(vector).all():
            raise ValueError(f"article {article.news_id}: the vector is not finite")
        return vector

    def _known(self, news_ids: Iterable[str]) -> list[int]:
        return [self._slots[news_id] for news_id in news_ids if news_id in self._slots]

    def _code(self, name: str) -> int:
        return self._codes.setdefault(name, len(self._codes))

    def _has(self, column: str, names: Iterable[str]) -> NDArray[np.bool_]:
        """Mask (n,) of the articles whose category or language is among ``names``."""
        codes = [self._codes[name] for name in names if name in self._codes]
        return np.isin(self._rows[column][: len(self._articles)], codes)

    def _allowed(self, where: ArticleFilter) -> NDArray[np.intp]:
        rows = self._rows[: len(self._articles)]
        allowed = ~rows["withdrawn"]
        if where.categories:
            allowed &= self._has("category", where.categories)
        if where.exclude_categories:
            allowed &= ~self._has("category", where.exclude_categories)
        if where.languages:
            allowed &= self._has("language", where.languages)
        if where.published_after_s is not None:
            allowed &= rows["published_at_s"] >= where.published_after_s
        if where.published_before_s is not None:
            allowed &= rows["published_at_s"] <= where.published_before_s
        allowed[self._known(where.exclude_ids)] = False
        return np.flatnonzero(allowed)

    def _best(self, scores: NDArray[np.float64], slots: NDArray[np.intp], k: int) -> list[Hit]:
        """The ``k`` best of ``slots`` (n,) by ``scores`` (n,), equal ones by news id."""
        if k < 1 or not len(slots):
            return []
        if k < len(slots):
            # Everything that ties with the k-th best stays in, so that the id decides among them.
            kept = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
            scores, slots = scores[kept], slots[kept]
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        hits = [
            Hit(self._articles[slot].news_id, score)
            for slot, score in zip(slots[order].tolist(), ranked.tolist(), strict=True)
        ]
        if (ranked[1:] == ranked[:-1]).any():
            hits.sort(key=lambda hit: (-hit.score, hit.news_id))
        return hits[:k]

    def _article(self, slot: int) -> IndexedArticle:
        row = self._rows[slot]
        return replace(
            self._articles[slot],
            vector=self._vectors[slot].copy(),
            withdrawn=bool(row["withdrawn"]),
            popularity=float(row["popularity"]),
        )
