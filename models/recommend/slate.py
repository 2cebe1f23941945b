"""One request's slate, carried from its candidates to the items of its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.events.editorial_rules import UnmetRule
from freshet.models.events.events import RecommendationRequest, RecommendedArticle
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.scored_slate import ScoredSlate
from freshet.models.recommend.editorial.rule_book import NO_RULES, ActiveRules, RuledArticles
from freshet.models.users.view import UserView

Candidates = Mapping[str, Sequence[str]]
"""Sources of each candidate, by news id."""


def _nothing_scored() -> ScoredSlate:
    return ScoredSlate([], np.zeros(0, np.int64), np.zeros((0, 0), np.float32), np.zeros(0))


def _no_positions() -> NDArray[np.intp]:
    return np.zeros(0, np.intp)


@dataclass(frozen=True, slots=True)
class Slate:
    """A request and what was decided for it so far; each step returns a copy with its own fields set.

    Positions are row numbers of ``scored``, which has n candidates; m of them are shown.
    """

    request: RecommendationRequest
    user: UserView
    catalog: ArticleCatalog
    ranker: LinearRanker
    now_s: float
    """Event time, Unix seconds."""
    rules: ActiveRules = NO_RULES
    """Editorial rules in force, the request's own included."""

    sources: Candidates = field(default_factory=dict)
    scored: ScoredSlate = field(default_factory=_nothing_scored)
    """Candidates with features and scores: what the learner takes, unlike all else of a slate."""
    ruled: RuledArticles = field(default_factory=RuledArticles)
    """Labels and ages (n,) of the candidates; empty where no rule is in force."""
    order: NDArray[np.intp] = field(default_factory=_no_positions)
    """Shape (<= n,): positions that may be shown, best first; the first k are the greedy list."""
    picks: NDArray[np.intp] = field(default_factory=_no_positions)
    """Shape (m,): positions shown, in the order shown."""
    propensities: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """Shape (m,): probability of each pick at its position, given the candidates; NaN where unknown."""
    explored: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    """Shape (m,): picks that exploration chose."""
    drawn_from: tuple[str, ...] = ()
    """News ids that exploration could choose from, in the order of ``scored``; empty without exploration."""
    moved_by: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Names of the editorial rules that put a position where it is."""
    unmet: tuple[UnmetRule, ...] = ()
    """Editorial rules that could not be fulfilled."""
    items: list[RecommendedArticle] = field(default_factory=list)
    """The m articles of the answer, in the order shown."""

    def exploit(self, k: int) -> Self:
        """The slate that shows the first ``k`` of its order for certain."""
        picks = self.order[:k]
        return replace(
            self, picks=picks, propensities=np.ones(len(picks)), explored=np.zeros(len(picks), np.bool_)
        )
