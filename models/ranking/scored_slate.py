"""Distinct candidates with their scores, in an order that says nothing about them.

The order is that of a hash of their ids, which also orders candidates of equal score: neither the order in
which candidates were named nor that in which ids were given out (often that of time) can reach a ranking.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from freshet.models import kernels
from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.ranking.features import features
from freshet.models.users.view import UserView


class Ranker(Protocol):
    """What turns features into scores."""

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores (n,) of candidates with features (n, len(FEATURES))."""
        ...


@dataclass(frozen=True, slots=True)
class ScoredSlate:
    """Distinct candidates in their canonical order, with features and scores."""

    ids: list[str]
    rows: NDArray[np.int64]
    """Shape (n,): rows of the catalog, -1 where unknown."""
    features: NDArray[np.float32]
    """Shape (n, len(FEATURES))."""
    scores: NDArray[np.float64]
    """Shape (n,)."""

    def best_first(self) -> NDArray[np.intp]:
        """Positions by falling score; ties keep the canonical order."""
        return np.argsort(-self.scores, kind="stable")

    def take(self, positions: NDArray[np.intp]) -> ScoredSlate:
        """Only the candidates at ``positions`` (m,); rising ones keep the canonical order."""
        return replace(
            self,
            ids=[self.ids[i] for i in positions.tolist()],
            rows=self.rows[positions],
            features=self.features[positions],
            scores=self.scores[positions],
        )


_MAX_KEYS = 1 << 16
_keys: dict[str, int] = {}
"""Hashes that order candidates, of ids lately seen."""


def score_slate(
    candidates: Iterable[str], user: UserView, catalog: ArticleCatalog, ranker: Ranker, now_s: float
) -> ScoredSlate:
    """Score each distinct candidate; what :func:`rank` serves and the evaluation measures.

    Args:
        candidates: News ids in any order; that of the result does not depend on it.
        user: For whom.
        catalog: What is known of articles.
        ranker: How features add up.
        now_s: Event time, Unix seconds.
    """
    if len(_keys) >= _MAX_KEYS:
        _keys.clear()
    ids = kernels.canonical_order(candidates, _keys)
    rows = catalog.rows(ids)
    x = features(catalog, rows, ids, user, now_s)
    return ScoredSlate(ids, rows, x, ranker.score(x))
