"""Ridge regression of click rates on text vectors within tests, the baseline of headline ranking.

With x the text vectors and y the logarithm of the smoothed click rates, both centred within each test by
impressions (weights n), the weights are those that minimise

    sum_i n_i (y_i - w . x_i)^2 / sum_i n_i + penalty * s * |w|^2

where x is scaled to unit variance first and s is the mean of its variances within tests (Hoerl and Kennard,
"Ridge Regression", Technometrics 1970). Centring removes differences between tests: story, hour, page. The
model is linear in the text vectors, without interactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.headline_tests import HeadlineTests
from freshet.models.evaluation.headlines.pairwise import pairwise_accuracy
from freshet.models.ports import FloatMatrix

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
PRIOR_CLICKS = 20.0
"""Smoothing: clicks added to each arm, at its test's own click rate."""
_TINY = 1e-3
"""Lower bound of deviations, relative to the largest value: dividing by less would inflate noise."""


@dataclass(frozen=True)
class RidgeBaseline:
    """Ridge regression with the penalty chosen on the validation tests."""

    penalty: float
    validation_accuracy: float
    scores: NDArray[np.float64]
    """Shape (arms of the later tests,): their scores."""


def log_click_rates(tests: HeadlineTests) -> NDArray[np.float64]:
    """Logarithms of smoothed click rates (arms,), centred within each test: the target of the regression."""
    test = tests.test_of_arm
    clicks, shown = tests.clicks.astype(np.float64), tests.impressions.astype(np.float64)
    whole = (np.bincount(test, clicks) + 1.0) / (np.bincount(test, shown) + 1.0)
    rate = (clicks + PRIOR_CLICKS) / (shown + PRIOR_CLICKS / whole[test])
    centred: NDArray[np.float64] = _centred(np.log(rate)[:, None], tests)[:, 0]
    return centred


def ridge_weights(tests: HeadlineTests, text_vectors: FloatMatrix, penalty: float) -> NDArray[np.float64]:
    """Fit the weights (d,) of text vectors (arms, d).

    Raises:
        ValueError: There is not one vector for each arm, or the penalty is not positive.
    """
    if len(text_vectors) != len(tests.headlines):
        raise ValueError(f"{len(tests.headlines)} headlines need as many vectors, got {len(text_vectors)}")
    if not penalty > 0.0:
        raise ValueError(f"penalty is {penalty}, it must be positive")
    deviation = np.maximum(text_vectors.std(axis=0, dtype=np.float64), _TINY * np.abs(text_vectors).max())
    x = _centred(text_vectors / deviation, tests)
    weighted = x * (tests.impressions / tests.impressions.sum())[:, None]
    squares = x.T @ weighted
    d = len(squares)
    regular = squares + penalty * np.trace(squares) / d * np.eye(d)
    weights: NDArray[np.float64] = np.linalg.solve(regular, weighted.T @ log_click_rates(tests)) / deviation
    return weights


def ridge_baseline(
    train: HeadlineTests,
    validation: HeadlineTests,
    later: HeadlineTests,
    text_vectors: Sequence[FloatMatrix],
    penalties: Sequence[float] = PENALTIES,
) -> RidgeBaseline:
    """Choose the penalty by pairwise accuracy on ``validation``, then refit on all tests before ``later``.

    Args:
        train: The earliest tests.
        validation: The tests after them.
        later: The tests to score.
        text_vectors: Text vectors (arms, d) of each of the three.
        penalties: Candidate penalties.
    """
    vectors, held, scored = text_vectors
    accuracies = [
        pairwise_accuracy(validation, held @ ridge_weights(train, vectors, penalty), resamples=1).accuracy
        for penalty in penalties
    ]
    best = int(np.argmax(accuracies))
    together = train.joined(validation)
    weights = ridge_weights(together, np.concatenate((vectors, held)), penalties[best])
    return RidgeBaseline(penalties[best], accuracies[best], scored @ weights)


def _centred(columns: NDArray[np.floating], tests: HeadlineTests) -> NDArray[np.float64]:
    """Subtract from columns (arms, c) their mean over each test's impressions."""
    shown = tests.impressions[:, None].astype(np.float64)
    starts = tests.arm_start[:-1]
    means = np.add.reduceat(columns * shown, starts) / np.add.reduceat(shown, starts)
    return np.asarray(columns - means[tests.test_of_arm], np.float64)
