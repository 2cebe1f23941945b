"""Pairwise accuracy of headline scores: the share of pairs ordered as their click-through rates are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from freshet.models.datasets.headline_tests import HeadlineTests, headline_pairs
from freshet.models.evaluation.ranking_metrics import DEFAULT_CONFIDENCE, DEFAULT_RESAMPLES


@dataclass(frozen=True)
class PairwiseAccuracy:
    """Share of pairs that the scores order as the test does."""

    accuracy: float
    low: float
    """Lower end of the accuracy's interval, from a bootstrap over tests."""
    high: float
    pairs: int
    """Measured pairs."""
    share: float
    """Share of the measured pairs among all pairs with unequal click rates."""
    tests: int
    """Tests with a measured pair."""


def pairwise_accuracy(
    tests: HeadlineTests,
    scores: ArrayLike,
    significant_only: bool = True,
    *,
    resamples: int = DEFAULT_RESAMPLES,
    confidence: float = DEFAULT_CONFIDENCE,
    seed: int = 0,
) -> PairwiseAccuracy:
    """Measure the share of pairs of arms of one test whose arm with the higher click rate scores higher.

    Every pair counts once, and a tie of scores one half. By default only pairs count whose click rates differ
    significantly: two-proportion z-test with pooled variance, two-sided p < 0.05, not corrected for the
    number of pairs (:func:`headline_pairs`). About 1 in 20 pairs without a difference passes that test by
    chance, so that a perfect model stays below 1. The interval is a percentile bootstrap over whole tests,
    because the pairs of a test share arms.

    Args:
        tests: The headline tests.
        scores: Shape (arms,), larger is better.
        significant_only: False to count all pairs with unequal click rates.
        resamples: Number of bootstrap samples.
        confidence: Coverage of the interval, between 0 and 1.
        seed: Seed of the resampling.

    Raises:
        ValueError: There is not one score for each arm, a score is not finite, or no pair is left.
    """
    score = np.asarray(scores, np.float64)
    if score.shape != tests.impressions.shape:
        raise ValueError(f"{len(tests.impressions)} headlines need as many scores, got shape {score.shape}")
    if not np.isfinite(score).all():
        raise ValueError(f"{int((~np.isfinite(score)).sum())} of {len(score)} scores are not finite")
    every = headline_pairs(tests)
    pairs = every.significant() if significant_only else every
    if not len(pairs):
        kind = "significantly" if significant_only else "at all"
        raise ValueError(f"{tests.source}: no two headlines of a test have click rates that differ {kind}")
    right = (np.sign(score[pairs.better] - score[pairs.worse]) + 1.0) / 2
    right_by_test = np.bincount(pairs.test, weights=right, minlength=len(tests))
    pairs_by_test = np.bincount(pairs.test, minlength=len(tests))
    measured = pairs_by_test > 0
    columns = np.column_stack((right_by_test, pairs_by_test))[measured]
    random = np.random.default_rng(seed)
    n = len(columns)
    drawn = np.array([np.bincount(random.integers(0, n, n), minlength=n) @ columns for _ in range(resamples)])
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], (tail, 1.0 - tail))
    return PairwiseAccuracy(
        float(right.mean()), float(low), float(high), len(pairs), len(pairs) / len(every), n
    )
