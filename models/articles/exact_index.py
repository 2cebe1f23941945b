"""An :class:`~freshet.models.ports.ArticleIndex` in NumPy that scores every article exactly.

It is the floor that approximate indexes are measured against, and the index of offline evaluation. Every
answer is deterministic: equal scores are ordered by news id, whatever the order of the writes. All methods
may be called from several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from freshet.models.ports import EVERYTHING, ArticleFilter, FloatMatrix, FloatVector, Hit, IndexedArticle

_FIRST_CAPACITY = 1_024


class ExactIndex:
    """Articles in columns that grow by doubling; a search is one matrix product.

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
        self._published_at_s = np.zeros(_FIRST_CAPACITY)
        self._popularity = np.zeros(_FIRST_CAPACITY)
        self._category = np.zeros(_FIRST_CAPACITY, np.int32)
        self._language = np.zeros(_FIRST_CAPACITY, np.int32)
        self._withdrawn = np.zeros(_FIRST_CAPACITY, np.bool_)

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
                slot = self._slots.get(article.news_id)
                if slot is None:
                    slot = len(self._articles)
                    self._reserve(slot + 1)
                    self._slots[article.news_id] = slot
                    self._articles.append(article)
                else:
                    self._articles[slot] = article
                self._vectors[slot] = vector
                self._published_at_s[slot] = article.published_at_s
                self._popularity[slot] = article.popularity
                self._category[slot] = self._code(article.category)
                self._language[slot] = self._code(article.language)
                self._withdrawn[slot] = article.withdrawn

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
                    for column in self._columns():
                        column[slot] = column[last]

    def set_popularity(self, popularity: Mapping[str, float]) -> None:
        """Change what ``trending`` sorts by; unknown ids are ignored."""
        with self._lock:
            for news_id, value in popularity.items():
                slot = self._slots.get(news_id)
                if slot is not None:
                    self._popularity[slot] = value

    def set_withdrawn(self, news_ids: Sequence[str], withdrawn: bool = True) -> None:
        """Hide articles from every query, or show them again; unknown ids are ignored."""
        with self._lock:
            for news_id in news_ids:
                slot = self._slots.get(news_id)
                if slot is not None:
                    self._withdrawn[slot] = withdrawn

    def search(self, queries: FloatMatrix, k: int, where: ArticleFilter = EVERYTHING) -> list[list[Hit]]:
        """For each row of ``queries`` (h, d), the ``k`` articles with the largest dot product, best first.

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
            scores = queries @ self._vectors[:n].T
            return [self._best(row[slots].astype(np.float64), slots, k) for row in scores]

    def trending(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        """The ``k`` most popular articles with a popularity above 0, best first."""
        with self._lock:
            slots = self._allowed(where)
            slots = slots[self._popularity[slots] > 0]
            return self._best(self._popularity[slots], slots, k)

    def newest(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        """The ``k`` articles published last, newest first."""
        with self._lock:
            slots = self._allowed(where)
            return self._best(self._published_at_s[slots], slots, k)

    def get(self, news_ids: Sequence[str]) -> dict[str, IndexedArticle]:
        """The articles of ``news_ids`` that the index knows, withdrawn ones included."""
        with self._lock:
            return {
                news_id: self._article(self._slots[news_id]) for news_id in news_ids if news_id in self._slots
            }

    def count(self) -> int:
        """How many articles the index holds, withdrawn ones included."""
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

    def _columns(self) -> tuple[NDArray[np.generic], ...]:
        return (
            self._vectors,
            self._published_at_s,
            self._popularity,
            self._category,
            self._language,
            self._withdrawn,
        )

    def _reserve(self, n: int) -> None:
        capacity = len(self._withdrawn)
        if n <= capacity:
            return
        self._vectors = np.concatenate([self._vectors, np.zeros_like(self._vectors)])
        self._published_at_s = np.concatenate([self._published_at_s, np.zeros(capacity)])
        self._popularity = np.concatenate([self._popularity, np.zeros(capacity)])
        self._category = np.concatenate([self._category, np.zeros(capacity, np.int32)])
        self._language = np.concatenate([self._language, np.zeros(capacity, np.int32)])
        self._withdrawn = np.concatenate([self._withdrawn, np.zeros(capacity, np.bool_)])

    def _code(self, name: str) -> int:
        return self._codes.setdefault(name, len(self._codes))

    def _known_codes(self, names: Iterable[str]) -> list[int]:
        return [self._codes[name] for name in names if name in self._codes]

    def _allowed(self, where: ArticleFilter) -> NDArray[np.intp]:
        n = len(self._articles)
        allowed = ~self._withdrawn[:n]
        if where.categories:
            allowed &= np.isin(self._category[:n], self._known_codes(where.categories))
        if where.exclude_categories:
            allowed &= ~np.isin(self._category[:n], self._known_codes(where.exclude_categories))
        if where.languages:
            allowed &= np.isin(self._language[:n], self._known_codes(where.languages))
        if where.published_after_s is not None:
            allowed &= self._published_at_s[:n] >= where.published_after_s
        if where.published_before_s is not None:
            allowed &= self._published_at_s[:n] <= where.published_before_s
        for news_id in where.exclude_ids:
            slot = self._slots.get(news_id)
            if slot is not None:
                allowed[slot] = False
        return np.flatnonzero(allowed)

    def _best(self, scores: NDArray[np.float64], slots: NDArray[np.intp], k: int) -> list[Hit]:
        if k < 1 or not len(slots):
            return []
        if k < len(slots):
            # Everything that ties with the k-th best stays in, so that the id decides among them.
            kth = np.partition(scores, len(scores) - k)[len(scores) - k]
            kept = scores >= kth
            scores, slots = scores[kept], slots[kept]
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        chosen, values = slots[order].tolist(), ranked.tolist()
        if (ranked[1:] == ranked[:-1]).any():
            by_id = sorted(
                zip(values, chosen, strict=True), key=lambda pair: (-pair[0], self._articles[pair[1]].news_id)
            )
            values, chosen = [value for value, _ in by_id], [slot for _, slot in by_id]
        return [self._hit(slot, value) for slot, value in zip(chosen[:k], values[:k], strict=True)]

    def _hit(self, slot: int, score: float) -> Hit:
        return Hit(self._articles[slot].news_id, score)

    def _article(self, slot: int) -> IndexedArticle:
        article = self._articles[slot]
        return IndexedArticle(
            news_id=article.news_id,
            vector=self._vectors[slot].copy(),
            published_at_s=article.published_at_s,
            title=article.title,
            category=article.category,
            subcategory=article.subcategory,
            language=article.language,
            withdrawn=bool(self._withdrawn[slot]),
            popularity=float(self._popularity[slot]),
        )
