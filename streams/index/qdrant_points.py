"""Articles as Qdrant points, the same in Qdrant Edge and on a Qdrant server.

A point's id is the UUID (version 5) of its news id, so that an article always meets its own point; the
payload carries everything but the vector, the news id included. The vector has one coordinate more than the
article's, see :mod:`freshet.models.articles.inner_product`.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import numpy as np

from freshet.models.articles import inner_product
from freshet.models.ports import ArticleFilter, FloatMatrix, Hit, IndexedArticle

_NAMESPACE = uuid.UUID("5f7b0c9e-64a9-5d0f-9a3c-0d2f6f1f7a11")

FIELD_TYPES: Mapping[str, Literal["keyword", "float", "bool"]] = {
    "category": "keyword",
    "language": "keyword",
    "published_at_s": "float",
    "popularity": "float",
    "withdrawn": "bool",
}
"""The payload fields that queries filter or sort by, each with an index."""

HIT_FIELDS = ["news_id"]
"""The payload fields that a :class:`Hit` is made of: reading three takes a search half as long again."""

Condition = TypeVar("Condition")
"""A condition on a point, in the types of one library."""

_LONGEST_NAME = 200


def bundle_name(bundle: str) -> str:
    """Quote ``bundle`` for a folder's or collection's name: no separators, at most 200 characters."""
    name = quote(bundle, safe="")
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 33]}-{hashlib.sha256(bundle.encode()).hexdigest()[:32]}"


@lru_cache(maxsize=1 << 17)
def point_id(news_id: str) -> str:
    """The id of an article's point."""
    return str(uuid.uuid5(_NAMESPACE, news_id))


def point_ids(news_ids: Iterable[str]) -> list[str]:
    """The ids of several articles' points."""
    return [point_id(news_id) for news_id in news_ids]


def kept_time(time_s: float) -> float:
    """Round Unix seconds to the microsecond: neither a float of them nor an event's time resolves more.

    Payloads are stored as JSON and read back by a parser that is exact for mantissas below 2**53
    and can be off by the last bit beyond: an inclusive bound would then miss its own article.
    """
    return round(float(time_s), 6)


def kept_popularity(value: float) -> float:
    """Round a popularity to 15 significant digits, which come back from a payload as they went in."""
    return float(f"{value:.15g}")


def kept_bounds(where: ArticleFilter) -> tuple[float | None, float | None]:
    """The earliest and the latest publication time that ``where`` allows, as payloads keep them."""
    after_s, before_s = where.published_after_s, where.published_before_s
    return (
        None if after_s is None else kept_time(after_s),
        None if before_s is None else kept_time(before_s),
    )


def conditions(
    where: ArticleFilter,
    any_of: Callable[[str, Sequence[str]], Condition],
    between: Callable[[str, float | None, float | None], Condition],
    has_id: Callable[[Sequence[str]], Condition],
) -> tuple[list[Condition], list[Condition]]:
    """Translate ``where`` into the conditions that must hold and those that must not.

    Args:
        where: The filter; its ban on withdrawn articles is left to the caller.
        any_of: Makes the condition that a field has one of several values.
        between: Makes the condition that a field lies within two inclusive bounds, either of which may be
            missing.
        has_id: Makes the condition that a point is one of several.
    """
    must, must_not = [], []
    if where.categories:
        must.append(any_of("category", where.categories))
    if where.exclude_categories:
        must_not.append(any_of("category", where.exclude_categories))
    if where.languages:
        must.append(any_of("language", where.languages))
    after_s, before_s = kept_bounds(where)
    if after_s is not None or before_s is not None:
        must.append(between("published_at_s", after_s, before_s))
    if where.exclude_ids:
        must_not.append(has_id(point_ids(where.exclude_ids)))
    return must, must_not


def payload(article: IndexedArticle) -> dict[str, Any]:
    """Everything about ``article`` but its vector."""
    return {
        "news_id": article.news_id,
        "published_at_s": kept_time(article.published_at_s),
        "title": article.title,
        "category": article.category,
        "subcategory": article.subcategory,
        "language": article.language,
        "withdrawn": bool(article.withdrawn),
        "popularity": kept_popularity(article.popularity),
    }


def article(fields: Mapping[str, Any], vector: object) -> IndexedArticle:
    """The article of a point's payload and lifted vector."""
    known = {**fields, "withdrawn": bool(fields["withdrawn"])}
    return IndexedArticle(vector=np.asarray(vector, np.float32)[:-1], **known)


def hit(fields: Mapping[str, Any] | None, score: float) -> Hit:
    """A hit from the ``HIT_FIELDS`` of a point."""
    if fields is None:
        raise ValueError("the point has no payload; it was not written by freshet")
    return Hit(fields["news_id"], score)


def last_of_each(articles: Iterable[IndexedArticle], d: int) -> list[IndexedArticle]:
    """Keep the last of ``articles`` for each id, and check it.

    Raises:
        ValueError: A vector has another dimension than ``d``, or a number is not finite.
    """
    kept = {article.news_id: article for article in articles}
    for one in kept.values():
        shape = np.shape(one.vector)
        if shape != (d,):
            raise ValueError(
                f"article {one.news_id}: the vector has the shape {shape}, but this index holds ({d},)"
            )
        if not np.isfinite(one.vector).all():
            raise ValueError(f"article {one.news_id}: the vector is not finite")
        if not np.isfinite((one.published_at_s, one.popularity)).all():
            raise ValueError(f"article {one.news_id}: the publication time or popularity is not finite")
    return list(kept.values())


def checked_queries(queries: FloatMatrix, d: int) -> list[list[float]]:
    """Check ``queries`` (h, d) and lift them to rows of d + 1 numbers, as Qdrant takes them.

    Raises:
        ValueError: ``queries`` has another shape or is not finite.
    """
    matrix = np.asarray(queries, np.float32)
    if matrix.ndim != 2 or matrix.shape[1] != d:  # noqa: PLR2004 - a matrix
        raise ValueError(f"queries must have the shape (h, {d}), got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("queries must be finite")
    rows: list[list[float]] = inner_product.lifted_queries(matrix).tolist()
    return rows


def vectors(articles: Sequence[IndexedArticle], length: float) -> list[list[float]]:
    """The vectors of ``articles``, lifted to ``length``, as Qdrant takes them."""
    matrix = np.asarray([article.vector for article in articles], np.float32)  # (n, d)
    rows: list[list[float]] = inner_product.lifted(matrix, length).tolist()  # (n, d + 1)
    return rows


def longest(vectors: Sequence[object]) -> float:
    """The length of the longest of ``vectors``, lifted or not; 0 where there are none."""
    return inner_product.longest(np.asarray(vectors, np.float32)) if vectors else 0.0


def by_value(popularity: Mapping[str, float]) -> dict[float, list[str]]:
    """Group point ids by their new popularity: one Qdrant operation sets one payload on many points.

    Raises:
        ValueError: A popularity is not finite.
    """
    groups: dict[float, list[str]] = {}
    for news_id, value in popularity.items():
        if not np.isfinite(value):
            raise ValueError(f"article {news_id}: the popularity is not finite")
        groups.setdefault(kept_popularity(value), []).append(point_id(news_id))
    return groups
