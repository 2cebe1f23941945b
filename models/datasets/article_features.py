"""Converts a log's articles to the features that the article tower reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from freshet.models.datasets.impression_log import ArticleTable
from freshet.models.embedding.bundle import Feature
from freshet.models.embedding.feature_tower import FeatureRows, FeatureTower, rows_of, value_rows
from freshet.models.ports import FloatMatrix


def table_values(articles: ArticleTable) -> Mapping[Feature, Sequence[str]]:
    """Return the values (n,) of every feature of the articles of a log."""
    return {
        "category": articles.categories,
        "subcategory": articles.subcategories,
        "entity": articles.entities,
        "news_id": articles.ids,
    }


def feature_rows(
    articles: ArticleTable, features: Sequence[Feature], vocabularies: Mapping[str, Sequence[str]]
) -> FeatureRows:
    """Look up the embedding rows of a log's articles in the vocabularies, for training."""
    values = table_values(articles)
    return {
        feature: rows_of(value_rows(vocabularies.get(feature, ())), values[feature]) for feature in features
    }


def table_vectors(
    tower: FeatureTower, articles: ArticleTable, text_vectors: FloatMatrix | None = None
) -> FloatMatrix:
    """Compute the vectors (n, d), float32, of all articles of a log by ``tower``.

    Args:
        tower: The article tower.
        articles: The ``n`` articles.
        text_vectors: Shape (n, d_text), zeros without text; ``None`` only if the tower reads no text.

    Raises:
        ValueError: ``text_vectors`` is missing or has another shape.
    """
    return tower.vectors_of(table_values(articles), text_vectors, len(articles))
