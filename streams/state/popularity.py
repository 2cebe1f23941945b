"""What the index sorts trending articles by."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from freshet.models.articles.catalog import STATS_HALF_LIVES_S, ArticleCatalog
from freshet.models.articles.trending import TRENDING_HALF_LIFE_S

_TRENDING_COUNT = STATS_HALF_LIVES_S.index(TRENDING_HALF_LIFE_S)

FRESHENED = 500
"""More than any answer takes of the trending: an index that may be behind is told of so many at first."""


def popularity(clicks: Sequence[float], time_s: float) -> float:
    """0 without clicks, else a value that never needs an update while nothing is clicked.

    Decayed clicks fall by the same factor for every article, so ``log2(clicks) + time / half_life`` keeps
    their order however long ago each was computed (forward decay: Cormode et al., ICDE 2009).

    Args:
        clicks: Decayed at each of ``STATS_HALF_LIVES_S``.
        time_s: As of when, Unix seconds.
    """
    recent = clicks[_TRENDING_COUNT]
    return math.log2(recent) + time_s / TRENDING_HALF_LIFE_S if recent > 0 else 0.0


def popularity_of(catalog: ArticleCatalog, news_id: str) -> float:
    """The popularity of one article of a catalog."""
    row = catalog.row(news_id)
    clicks: list[float] = catalog.clicks[row].tolist()
    return popularity(clicks, float(catalog.stats_time_s[row]))


def most_popular(catalog: ArticleCatalog, n: int) -> dict[str, float]:
    """The ``n`` articles of the highest popularity above 0, with it."""
    rows = np.flatnonzero(catalog.clicks[: len(catalog.ids), _TRENDING_COUNT] > 0)
    values = np.log2(catalog.clicks[rows, _TRENDING_COUNT])
    values += catalog.stats_time_s[rows] / TRENDING_HALF_LIFE_S
    best = np.argsort(-values, kind="stable")[:n]
    return {catalog.ids[rows[i]]: float(values[i]) for i in best}
