"""Distinct candidates with their scores, in an order that carries no information about them.

That order is a hash of the ids and also breaks ties: neither the order in which candidates were named nor
that in which ids were issued (often that of time) can influence a ranking.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from freshet.models import kernels
from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.ranking.features import features
from freshet.models.users.view import UserView

_MAX_ORDER_KEYS = 1 << 16


class Ranker(Protocol):
    """Turns features into scores."""

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores (n,) of candidates with features (n, len(FEATURES))."""
        ...


@dataclass(frozen=True, slots=True)
class ScoredSlate:
    """Distinct candidates in canonical order, with features and scores: what a learner takes."""

    ids: list[str]
    rows: NDArray[np.int64]
    """Shape (n,): rows of the catalog, -1 where unknown."""
    features: NDArray[np.float32]
    """Shape (n, len(FEATURES))."""
    scores: NDArray[np.float64]
    """Shape (n,)."""

    def best_first(self) -> NDArray[np.intp]:
        """Positions (n,) by falling score; ties keep the canonical order."""
        return np.argsort(-self.scores, kind="stable")


def score_slate(
    candidates: Iterable[str], user: UserView, catalog: ArticleCatalog, ranker: Ranker, now_s: float
) -> ScoredSlate:
    """Scores each distinct candidate, for answers, for learning and for the evaluation alike.

    Args:
        candidates: News ids in any order; the result does not depend on it.
        user: The reader for whom the candidates are ranked.
        catalog: Vectors, labels and statistics of the articles.
        ranker: Turns features into scores.
        now_s: Event time, Unix seconds.
    """
    keys = catalog.order_keys
    if len(keys) >= _MAX_ORDER_KEYS:
        keys.clear()
    ids = kernels.canonical_order(candidates, keys)  # n distinct ids
    rows = catalog.rows(ids)  # (n,)
    x = features(catalog, rows, ids, user, now_s)  # (n, F)
    return ScoredSlate(ids, rows, x, ranker.score(x))
