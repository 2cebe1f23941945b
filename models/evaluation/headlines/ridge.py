"""Ridge regression of click rates on text vectors, within tests: the baseline of headline ranking.

With x the text vectors and y the logarithm of the smoothed click rates, both centred within each test by
impressions (weights n), the weights are those that minimise

    sum_i n_i (y_i - w . x_i)^2 / sum_i n_i + penalty * s * |w|^2

where x is scaled to unit variance first and s is the mean of its variances within tests (Hoerl and Kennard,
"Ridge Regression", Technometrics 1970). Centring leaves out what differs between tests: story, hour, page.
It is linear, so it knows each direction of the text vectors, and no combination of them.
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
"""Smoothing: each arm has so many clicks more, at its test's own click rate."""
_TINY = 1e-3
"""A dimension that hardly varies is no feature; dividing by its deviation would make it one."""


@dataclass(frozen=True)
class RidgeBaseline:
    """The chosen penalty, what it came to on the validation tests, and the scores of the later ones."""

    penalty: float
    validation_accuracy: float
    scores: NDArray[np.float64]
    """Shape (arms of the later tests,)."""


def log_click_rates(tests: HeadlineTests) -> NDArray[np.float64]:
    """Logarithms of smoothed click rates (arms,), centred within each test: what a model is to predict."""
    test = tests.test_of_arm
    clicks, shown = tests.clicks.astype(np.float64), tests.impressions.astype(np.float64)
    whole = (np.bincount(test, clicks) + 1.0) / (np.bincount(test, shown) + 1.0)
    rate = (clicks + PRIOR_CLICKS) / (shown + PRIOR_CLICKS / whole[test])
    centred: NDArray[np.float64] = _centred(np.log(rate)[:, None], tests)[:, 0]
    return centred


def ridge_weights(tests: HeadlineTests, text_vectors: FloatMatrix, penalty: float) -> NDArray[np.float64]:
    """The weights (d,) of the text vectors (arms, d); see the module.

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
    """Choose the penalty by the pairwise accuracy on ``validation``, then fit anew on all before ``later``.

    Args:
        train: The earliest tests.
        validation: Those after them.
        later: Those to be scored.
        text_vectors: (arms, d) of each of the three.
        penalties: To choose from.
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
    """Columns (arms, c) less their mean over each test's impressions."""
    shown = tests.impressions[:, None].astype(np.float64)
    starts = tests.arm_start[:-1]
    means = np.add.reduceat(columns * shown, starts) / np.add.reduceat(shown, starts)
    return np.asarray(columns - means[tests.test_of_arm], np.float64)
