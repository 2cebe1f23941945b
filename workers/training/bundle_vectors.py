"""Article vectors of a log from a bundle; texts are encoded first where its tower reads them."""

from __future__ import annotations

from collections.abc import Callable

from freshet.models.datasets.article_features import table_vectors
from freshet.models.datasets.impression_log import ArticleTable
from freshet.models.embedding.bundle import Bundle
from freshet.models.embedding.feature_tower import FeatureTower
from freshet.models.ports import FloatMatrix
from freshet.streams.settings import Settings
from freshet.workers.training.text_vectors import CACHE_FOLDER, ChosenEncoder, text_vectors_of


def bundle_vectors(
    bundle: Bundle,
    articles: ArticleTable,
    settings: Settings,
    progress: Callable[[int, int], None] | None = None,
) -> FloatMatrix:
    """Compute vectors (articles, d), float32; zeros where the bundle knows nothing of an article.

    Args:
        bundle: Bundle of the article tower.
        articles: Articles of a log.
        settings: Folder of the cached text vectors, and location of the encoder.
        progress: Called with the texts encoded and the number of texts.

    Raises:
        BundleError: The bundle's weights do not fit its manifest.
        TextVectorsUnavailable: Its text encoder is not here.
    """
    tower = FeatureTower(bundle)
    text_vectors = None
    if tower.d_text:
        encoder = ChosenEncoder.of_bundle(bundle, settings)
        cache = settings.data_dir / CACHE_FOLDER
        text_vectors = text_vectors_of(articles, encoder, cache_dir=cache, progress=progress)
    return table_vectors(tower, articles, text_vectors)
