"""Distinct candidates with their scores, in an order that says nothing about them.

The order is that of a hash of their ids, which also orders candidates of equal score: neither the order in
which candidates were named nor that in which ids were given out can reach a ranking.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from freshet.models.catalog import ArticleCatalog
from freshet.models.features import features
from freshet.models.user_view import UserView


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


class _CanonicalKeys(dict[str, str]):
    """What orders candidates: a hash, because ids are often given out in the order of time; then the id.

    As text, hash and id are compared at once, in a third of the time of a pair. It remembers a bounded number
    of keys; a least-recently-used cache would write to its list at every reading.
    """

    def __missing__(self, news_id: str) -> str:
        if len(self) >= _MAX_KEYS:
            self.clear()
        key = zlib.crc32(news_id.encode()).to_bytes(4, "big").decode("latin-1") + news_id
        self[news_id] = key
        return key


_MAX_KEYS = 1 << 16
_canonical_key = _CanonicalKeys().__getitem__


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
    ids = sorted(set(candidates), key=_canonical_key)
    rows = catalog.rows(ids)
    x = features(catalog, rows, ids, user, now_s)
    return ScoredSlate(ids, rows, x, ranker.score(x))
