"""What is being clicked, of everything that a catalog knows: which articles are trending, and their mean.

Both read all rows of the catalog, so ask for them once in a while and not for each slate. Clicks are read as
of the moment, so that what was clicked long ago counts as little as it should.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog

TRENDING_HALF_LIFE_S = 10_800.0
TRENDING_PRIOR_IMPRESSIONS = 50.0
"""A click-through rate counts as trending by ``n / (n + this)`` of itself, n being its impressions."""
POPULATION_HALF_LIFE_S = 86_400.0


def trending_scores(catalog: ArticleCatalog, now_s: float) -> NDArray[np.float64]:
    """How much each row (len(ids),) is clicked at ``now_s``: clicks / (impressions + prior), from 0 up.

    Both decay with a half-life of 3 hours and the prior shrinks towards 0, so that a score rests on
    evidence that is recent. Withdrawn articles have 0.
    """
    n, head = len(catalog.ids), _nearest(catalog.half_lives_s, TRENDING_HALF_LIFE_S)
    decay = catalog.statistics.decay(catalog.stats_time_s[:n], now_s, head)
    clicks, impressions = (kind[:n, head] * decay for kind in (catalog.clicks, catalog.impressions))
    scores: NDArray[np.float64] = clicks / (impressions + TRENDING_PRIOR_IMPRESSIONS)
    scores[catalog.withdrawn[:n]] = 0.0
    return scores


def population_vector(catalog: ArticleCatalog, now_s: float) -> NDArray[np.float32]:
    """The mean (d,) of all vectors, weighted by clicks with a half-life of 24 hours.

    Without clicks every vector counts the same; without vectors it is zero. Cache it for some seconds.
    """
    if not catalog.vectors_held:
        return np.zeros(catalog.d, np.float32)
    n, head = len(catalog.ids), _nearest(catalog.half_lives_s, POPULATION_HALF_LIFE_S)
    rows = np.flatnonzero(catalog.statistics.clicked[:n] & catalog.has_vector[:n])
    weights = catalog.clicks[rows, head] * catalog.statistics.decay(catalog.stats_time_s[rows], now_s, head)
    total = float(weights.sum())
    if total <= 0.0:
        rows, total = np.flatnonzero(catalog.has_vector[:n]), float(catalog.vectors_held)
        weights = np.ones(len(rows))
    mean: NDArray[np.float32] = (weights / total).astype(np.float32) @ catalog.vectors[rows]
    return mean


def _nearest(half_lives_s: tuple[float | None, ...], half_life_s: float) -> int:
    """Which of ``half_lives_s`` is the nearest to ``half_life_s``, as a ratio."""
    return min(
        range(len(half_lives_s)),
        key=lambda j: abs(math.log((half_lives_s[j] or math.inf) / half_life_s)),
    )
