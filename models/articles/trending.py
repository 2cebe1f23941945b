"""Trending scores, popularity, and the mean vector of the clicked articles of a catalog.

Most functions here read all rows of the catalog: call them once in a while and not for each slate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import STATS_HALF_LIVES_S, ArticleCatalog

TRENDING_HALF_LIFE_S = 10_800.0
TRENDING_COUNT = STATS_HALF_LIVES_S.index(TRENDING_HALF_LIFE_S)
"""Index of the trending half-life in ``STATS_HALF_LIVES_S``."""
TRENDING_PRIOR_IMPRESSIONS = 50.0
"""Impressions without a click, added to each article's own, so that a high score needs evidence."""
POPULATION_HALF_LIFE_S = 86_400.0
FRESHENED = 500
"""Number of most popular articles to send to an index that may be stale: more than any answer takes."""


def trending_scores(catalog: ArticleCatalog, now_s: float) -> NDArray[np.float64]:
    """Trending score of each row (len(ids),) at ``now_s``: clicks / (impressions + prior), from 0 up.

    Both decay with a half-life of 3 hours and the prior shrinks towards 0, so that a score rests on
    evidence that is recent. Withdrawn articles have 0.
    """
    n, head = len(catalog.ids), catalog.nearest_count(TRENDING_HALF_LIFE_S)
    decay = catalog.statistics.decay(catalog.stats_time_s[:n], now_s, head)  # (n,)
    clicks, impressions = (kind[:n, head] * decay for kind in (catalog.clicks, catalog.impressions))
    scores: NDArray[np.float64] = clicks / (impressions + TRENDING_PRIOR_IMPRESSIONS)
    scores[catalog.withdrawn[:n]] = 0.0
    return scores


def popularity(clicks: Sequence[float], time_s: float) -> float:
    """Popularity, which an index sorts trending articles by: constant between clicks, 0 without any.

    Decayed clicks fall by the same factor for every article, so ``log2(clicks) + time / half_life`` keeps
    their order however long ago each was computed (forward decay: Cormode et al., ICDE 2009).

    Args:
        clicks: Decayed at each of ``STATS_HALF_LIVES_S``.
        time_s: As of when, Unix seconds.
    """
    recent = clicks[TRENDING_COUNT]
    return math.log2(recent) + time_s / TRENDING_HALF_LIFE_S if recent > 0 else 0.0


def popularity_of(catalog: ArticleCatalog, news_id: str) -> float:
    """Popularity of one article of a catalog."""
    row = catalog.row(news_id)
    return popularity(catalog.clicks[row].tolist(), float(catalog.stats_time_s[row]))


def most_popular(catalog: ArticleCatalog, n: int = FRESHENED) -> dict[str, float]:
    """The ``n`` articles of the highest popularity above 0, with it."""
    rows = np.flatnonzero(catalog.clicks[: len(catalog.ids), TRENDING_COUNT] > 0)
    values = np.log2(catalog.clicks[rows, TRENDING_COUNT])
    values += catalog.stats_time_s[rows] / TRENDING_HALF_LIFE_S
    best = np.argsort(-values, kind="stable")[:n]
    return {catalog.ids[rows[i]]: float(values[i]) for i in best}


def clicks_left(clicks: float, time_s: float, now_s: float) -> float:
    """Decay clicks as of ``time_s`` to ``now_s``, at the trending half-life; a time ahead is taken as now."""
    return clicks * math.pow(2.0, min(0.0, time_s - now_s) / TRENDING_HALF_LIFE_S)


def population_vector(catalog: ArticleCatalog, now_s: float) -> NDArray[np.float32]:
    """Mean (d,) of all article vectors, weighted by clicks with a half-life of 24 hours.

    Without clicks every vector counts the same; without vectors it is zero. Cache it for some seconds.
    """
    if not catalog.vectors_held:
        return np.zeros(catalog.d, np.float32)
    n, head = len(catalog.ids), catalog.nearest_count(POPULATION_HALF_LIFE_S)
    rows = np.flatnonzero(catalog.statistics.clicked[:n] & catalog.has_vector[:n])
    weights = catalog.clicks[rows, head] * catalog.statistics.decay(catalog.stats_time_s[rows], now_s, head)
    total = float(weights.sum())
    if total <= 0.0:
        rows, total = np.flatnonzero(catalog.has_vector[:n]), float(catalog.vectors_held)
        weights = np.ones(len(rows))
    mean: NDArray[np.float32] = (weights / total).astype(np.float32) @ catalog.vectors[rows]
    return mean
