"""Features of a log's articles, as the article tower reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from freshet.models.datasets.impression_log import ArticleTable
from freshet.models.embedding.bundle import Feature
from freshet.models.embedding.feature_tower import FeatureRows, FeatureTower, rows_of, value_rows
from freshet.models.ports import FloatMatrix


def table_values(articles: ArticleTable) -> Mapping[Feature, Sequence[str]]:
    """Every feature's values (n,) of the articles of a log."""
    return {
        "category": articles.categories,
        "subcategory": articles.subcategories,
        "entity": articles.entities,
        "news_id": articles.ids,
    }


def feature_rows(
    articles: ArticleTable, features: Sequence[Feature], vocabularies: Mapping[str, Sequence[str]]
) -> FeatureRows:
    """The rows of a log's articles by vocabulary, for training."""
    values = table_values(articles)
    return {
        feature: rows_of(value_rows(vocabularies.get(feature, ())), values[feature]) for feature in features
    }


def table_vectors(
    tower: FeatureTower, articles: ArticleTable, text_vectors: FloatMatrix | None = None
) -> FloatMatrix:
    """Vectors (n, d), float32, of all articles of a log by ``tower``.

    Args:
        tower: The article tower.
        articles: The ``n`` articles.
        text_vectors: (n, d_text), zeros without text; ``None`` only if the tower reads no text.

    Raises:
        ValueError: ``text_vectors`` is missing or has another shape.
    """
    return tower.vectors_of(table_values(articles), text_vectors, len(articles))
