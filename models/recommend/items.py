"""The items of an answer, from positions in a scored slate: bare, or with all that explains them.

Guarantee: what explains an item is computed for the items shown only, and only where it was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.events.editorial_rules import UnmetRule
from freshet.models.events.events import RecommendedArticle, from_unix_s
from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.scored_slate import ScoredSlate
from freshet.models.recommend.candidates import EXPLORATION, Candidates
from freshet.models.recommend.editorial.rule_book import ActiveRules, RuledArticles
from freshet.models.recommend.explanations import head_contributions, likest_clicks
from freshet.models.users.view import UserView


@dataclass(frozen=True, slots=True)
class Shown:
    """Which candidates of a slate are shown, and what put them there."""

    picks: NDArray[np.intp]
    """Shape (n,): positions in the slate, in the order shown."""
    propensities: Sequence[float | None]
    """Of each pick at its position; ``None`` where it is not known."""
    explored: frozenset[int] = frozenset()
    """Positions in the slate that exploration chose."""
    moved_by: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Names of the rules that put a position of the slate where it is."""
    unmet: tuple[UnmetRule, ...] = ()


def bare_items(slate: ScoredSlate, shown: Shown) -> list[RecommendedArticle]:
    """The id, the score and the propensity of each article shown."""
    scores: list[float] = slate.scores[shown.picks].tolist()
    return [
        RecommendedArticle(news_id=slate.ids[i], score=score, propensity=propensity)
        for i, score, propensity in zip(shown.picks.tolist(), scores, shown.propensities, strict=True)
    ]


def explained_items(
    slate: ScoredSlate,
    shown: Shown,
    sources: Candidates,
    *,
    user: UserView,
    catalog: ArticleCatalog,
    ranker: LinearRanker,
) -> list[RecommendedArticle]:
    """As :func:`bare_items`, with what an article is, where it came from, and why it is where it is."""
    picks = shown.picks
    rows: list[int] = slate.rows[picks].tolist()
    scores: list[float] = slate.scores[picks].tolist()
    contributions: list[list[float]] = ranker.contributions(slate.features[picks]).tolist()
    because = likest_clicks(slate.rows[picks], user, catalog)
    items = []
    for n, i in enumerate(picks.tolist()):
        news_id, row = slate.ids[i], rows[n]
        published_at_s = float(catalog.published_at_s[row])
        items.append(
            RecommendedArticle(
                news_id=news_id,
                score=scores[n],
                title=catalog.titles[row] if row >= 0 else "",
                category=catalog.category_names[catalog.category[row]],
                published_at=None if np.isnan(published_at_s) else from_unix_s(published_at_s),
                sources=(*sources[news_id], EXPLORATION) if i in shown.explored else tuple(sources[news_id]),
                reasons=_not_zero(contributions[n]),
                rules=shown.moved_by.get(i, ()),
                because=because[n],
                propensity=shown.propensities[n],
            )
        )
    return items


def detailed_items(
    items: Sequence[RecommendedArticle],
    slate: ScoredSlate,
    shown: Shown,
    rules: ActiveRules,
    *,
    user: UserView,
    catalog: ArticleCatalog,
    ranker: LinearRanker,
    now_s: float,
) -> list[RecommendedArticle]:
    """Explained ``items`` with features, heads, and every rule that concerns them."""
    values: list[list[float]] = slate.features[shown.picks].tolist()
    interests = head_contributions(slate, shown.picks, user, catalog, ranker)
    concerning = rules.concerning(RuledArticles.of(slate.ids, slate.rows, catalog, now_s))
    return [
        item.model_copy(
            update={
                "features": _not_zero(of_features),
                "interests": of_heads,
                "rules": tuple(dict.fromkeys((*item.rules, *concerning[i]))),
            }
        )
        for item, i, of_features, of_heads in zip(items, shown.picks.tolist(), values, interests, strict=True)
    ]


def _not_zero(of_features: Sequence[float]) -> dict[str, float]:
    return {name: value for name, value in zip(FEATURES, of_features, strict=True) if value}
