"""Pairwise accuracy of a bundle on later headline tests, beside ridge regression on frozen text vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.article_features import table_vectors
from freshet.models.datasets.headline_tests import HeadlineTests
from freshet.models.datasets.impression_log import ArticleTable
from freshet.models.embedding.bundle import ENCODER_FOLDER, Bundle, BundleError
from freshet.models.embedding.feature_tower import FeatureTower, weight_of
from freshet.models.embedding.text.encoder import TransformerEncoder
from freshet.models.evaluation.bundle_scorer import user_mix
from freshet.models.evaluation.headlines.pairwise import PairwiseAccuracy, pairwise_accuracy
from freshet.models.evaluation.headlines.ridge import ridge_baseline
from freshet.models.ports import FloatMatrix

RIDGE_ENCODER = "minilm"
DEFAULT_UNTIL = 0.75
DEFAULT_VALIDATION = 0.2


@dataclass(frozen=True)
class RidgeReport:
    """Ridge regression on frozen text vectors, the baseline."""

    encoder: str
    penalty: float
    """Penalty with the best accuracy on tests before the measured ones."""
    significant_pairs: PairwiseAccuracy
    all_pairs: PairwiseAccuracy


@dataclass(frozen=True)
class HeadlineReport:
    """Accuracies of a bundle and of the baseline on the same later tests."""

    tests: int
    headlines: int
    first_week: int
    """First measured week, YYYYWW."""
    last_week: int
    significant_pairs: PairwiseAccuracy
    all_pairs: PairwiseAccuracy
    ridge: RidgeReport


def headline_scores(bundle: Bundle, headlines: Sequence[str]) -> NDArray[np.float32]:
    """Score headlines (n,) float32 for the population: dot products of their vectors with a new user's.

    Raises:
        BundleError: The bundle has no text encoder or no population.
        ValueError: The text encoder is not available.
    """
    manifest = bundle.manifest
    spec = manifest.encoder
    if spec is None or not manifest.tower.uses_text:
        raise BundleError(f"{bundle.folder}: {bundle.id} reads no text: it cannot rank headlines")
    if not manifest.user.population:
        raise BundleError(f"{bundle.folder}: {bundle.id} knows no population: it cannot rank without a user")
    longest = spec.extra.get("max_tokens")
    encoder = TransformerEncoder(
        str(bundle.folder / ENCODER_FOLDER) if spec.tuned else spec.name,
        pooling=spec.pooling,
        max_tokens=int(longest) if longest else None,
    )
    texts = encoder.encode([(headline, "") for headline in headlines])
    vectors = table_vectors(FeatureTower(bundle), _articles(headlines), texts)
    heads = manifest.user.heads
    population = weight_of(bundle, "user.population", (heads, manifest.d))
    scores: NDArray[np.float32] = vectors @ (user_mix(bundle, heads) @ population)
    return scores


def evaluate_headlines(bundle: Bundle, tests: HeadlineTests, until: float | None = None) -> HeadlineReport:
    """Measure a bundle on the weeks after its training, beside ridge regression fitted before them.

    Args:
        bundle: A bundle trained on the earlier weeks of ``tests``.
        tests: All weeks.
        until: Share of the weeks before the measured ones; by default that of the bundle's training.

    Raises:
        BundleError: The bundle cannot score headlines.
        ValueError: There are too few weeks, or no significant pair among them.
    """
    trained_until = bundle.manifest.training.settings.get("until", DEFAULT_UNTIL)
    before, later = tests.split_weeks(float(trained_until) if until is None else until)
    train, validation = before.split_weeks(1.0 - DEFAULT_VALIDATION)
    parts = (train, validation, later)
    baseline = ridge_baseline(*parts, frozen_vectors(parts))
    scores = headline_scores(bundle, later.headlines)
    return HeadlineReport(
        len(later),
        len(later.headlines),
        int(later.week.min()),
        int(later.week.max()),
        pairwise_accuracy(later, scores),
        pairwise_accuracy(later, scores, significant_only=False),
        RidgeReport(
            RIDGE_ENCODER,
            baseline.penalty,
            pairwise_accuracy(later, baseline.scores),
            pairwise_accuracy(later, baseline.scores, significant_only=False),
        ),
    )


def frozen_vectors(parts: Sequence[HeadlineTests]) -> list[FloatMatrix]:
    """Encode the headlines of each part into text vectors (arms, d) by the pretrained encoder."""
    encoder = TransformerEncoder(RIDGE_ENCODER)
    return [encoder.encode([(headline, "") for headline in part.headlines]) for part in parts]


def _articles(headlines: Sequence[str]) -> ArticleTable:
    n = len(headlines)
    return ArticleTable(
        ids=tuple(f"headline-{number}" for number in range(n)),
        announced=np.ones(n, np.bool_),
        titles=list(headlines),
        abstracts=[""] * n,
        categories=[""] * n,
        subcategories=[""] * n,
        entities=[""] * n,
    )
