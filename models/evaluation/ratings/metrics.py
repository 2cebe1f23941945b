r"""Root mean squared error of predicted ratings.

RMSE :math:`= \sqrt{\frac{1}{n} \sum_i (\hat r_i - r_i)^2}`, the metric of the Netflix Prize (Bennett and
Lanning, 2007). It does not measure the order of a list: a predictor of each item's mean has a low RMSE.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freshet.models.evaluation.ranking_metrics import (
    DEFAULT_CONFIDENCE,
    DEFAULT_RESAMPLES,
    Estimate,
    bootstrap,
)


def rmse(predicted: ArrayLike, given: ArrayLike) -> float:
    """Root mean squared error of ratings (n,).

    Raises:
        ValueError: The shapes differ, there is no rating, or a number is not finite.

    >>> rmse([4.0, 2.0], [5.0, 3.0])
    1.0
    """
    return float(np.sqrt(squared_errors(predicted, given).mean()))


def rmse_estimate(
    predicted: ArrayLike,
    given: ArrayLike,
    *,
    resamples: int = DEFAULT_RESAMPLES,
    confidence: float = DEFAULT_CONFIDENCE,
    seed: int = 0,
) -> Estimate:
    """Estimate :func:`rmse` with a bootstrap interval over ratings; the root keeps the percentiles' order."""
    errors = squared_errors(predicted, given)
    low, high = bootstrap(errors[:, None], resamples=resamples, confidence=confidence, seed=seed)
    return Estimate(float(np.sqrt(errors.mean())), float(np.sqrt(low[0])), float(np.sqrt(high[0])))


def squared_errors(predicted: ArrayLike, given: ArrayLike) -> NDArray[np.float64]:
    """Squared errors (n,); arguments and errors are those of :func:`rmse`."""
    guess, rating = np.asarray(predicted, np.float64), np.asarray(given, np.float64)
    if guess.ndim != 1 or guess.shape != rating.shape or not len(guess):
        raise ValueError(
            f"ratings must be two vectors of one length above 0, got {guess.shape}, {rating.shape}"
        )
    if not (np.isfinite(guess).all() and np.isfinite(rating).all()):
        raise ValueError("a rating is not finite")
    errors: NDArray[np.float64] = (guess - rating) ** 2
    return errors
