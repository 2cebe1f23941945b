"""Conversion of ``article-vectors`` records into the entries of a catalog and an index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.events.events import ArticleVector, EventError, to_unix_s
from freshet.models.ports import FloatVector, IndexedArticle


def checked_vector(numbers: Sequence[float], d: int) -> FloatVector:
    """Vector (d,) of a record, float32.

    Raises:
        EventError: The vector has another dimension, or is not finite in float32.
    """
    if len(numbers) != d:
        raise EventError(
            f"ArticleVector: {len(numbers)} dimensions, this worker is set to {d} (FRESHET_DIMENSION)"
        )
    with np.errstate(over="ignore"):  # an overflow is refused below
        vector = np.array(numbers, np.float32)
    if not np.isfinite(vector).all():
        raise EventError("ArticleVector: the vector is not finite in float32")
    return vector


def indexed_article(article: ArticleVector, vector: FloatVector, *, withdrawn: bool) -> IndexedArticle:
    """Index entry of an article, without its popularity."""
    return IndexedArticle(
        article.news_id,
        vector,
        to_unix_s(article.published_at),
        article.title,
        article.category,
        article.subcategory,
        article.language,
        withdrawn=withdrawn,
    )


def put_article(catalog: ArticleCatalog, article: ArticleVector, vector: FloatVector) -> int:
    """Add or replace an article in a catalog, and return its row."""
    return catalog.put_article(
        article.news_id,
        vector,
        to_unix_s(article.published_at),
        title=article.title,
        category=article.category,
        subcategory=article.subcategory,
        language=article.language,
    )
