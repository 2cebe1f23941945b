"""Mean vector of clicked articles: the prior of every user, updated once a second."""

from __future__ import annotations

import time

import numpy as np

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.trending import population_vector
from freshet.models.ports import FloatVector

_INTERVAL_S = 1.0


class Population:
    """Population vector (d,) of a catalog, at most a second old.

    Args:
        catalog: Vectors and clicks of articles.
    """

    def __init__(self, catalog: ArticleCatalog) -> None:
        self._catalog = catalog
        self._vector: FloatVector = np.zeros(catalog.d, np.float32)
        self._measured_at = -np.inf

    def __call__(self, now_s: float) -> FloatVector:
        """Vector (d,) as of ``now_s`` (Unix seconds)."""
        now = time.monotonic()
        if now - self._measured_at >= _INTERVAL_S:
            self._vector = population_vector(self._catalog, now_s)
            self._measured_at = now
        return self._vector
