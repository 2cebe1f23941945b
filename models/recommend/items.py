"""The items of an answer: bare, or with everything that explains them.

Guarantee: an explanation is computed for the articles shown only, and only on request.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from math import isnan
from typing import Any

from freshet.models.events.events import RecommendedArticle, from_unix_s
from freshet.models.ranking.features import FEATURES
from freshet.models.recommend.candidates import EXPLORATION
from freshet.models.recommend.explanations import head_contributions, most_similar_clicks
from freshet.models.recommend.slate import Slate


def items_of(slate: Slate) -> list[RecommendedArticle]:
    """The articles shown: id, score and propensity, and as much explanation as the request asks for."""
    picks, request = slate.picks, slate.request
    explanations: Iterator[dict[str, Any]] = _explanations(slate) if request.explain else repeat({})
    details = _details(slate) if request.explain and request.details else repeat({})
    return [
        RecommendedArticle(
            news_id=slate.scored.ids[i],
            score=score,
            propensity=None if isnan(propensity) else propensity,
            **explanation | detail,
        )
        for i, score, propensity, explanation, detail in zip(
            picks.tolist(),
            slate.scored.scores[picks].tolist(),
            slate.propensities.tolist(),
            explanations,
            details,
            strict=False,
        )
    ]


def _explanations(slate: Slate) -> Iterator[dict[str, Any]]:
    """Labels of each article shown, the sources that found it, and the reasons for its position."""
    scored, catalog, picks = slate.scored, slate.catalog, slate.picks
    rows = scored.rows[picks]  # (m,)
    columns = (
        picks.tolist(),
        rows.tolist(),
        catalog.published_at_s[rows].tolist(),
        slate.explored.tolist(),
        slate.ranker.contributions(scored.features[picks]).tolist(),  # m lists of F terms
        most_similar_clicks(rows, slate.user, catalog),
    )
    for i, row, published_at_s, explored, contributions, because in zip(*columns, strict=True):
        sources = tuple(slate.sources[scored.ids[i]])
        yield {
            "title": catalog.titles[row] if row >= 0 else "",
            "category": catalog.category_names[catalog.category[row]],
            "published_at": None if isnan(published_at_s) else from_unix_s(published_at_s),
            "sources": (*sources, EXPLORATION) if explored else sources,
            "reasons": _not_zero(contributions),
            "rules": slate.moved_by.get(i, ()),
            "because": because,
        }


def _details(slate: Slate) -> Iterator[dict[str, Any]]:
    """Feature values, contributions of the user's heads, and every rule that matches the article."""
    values = slate.scored.features[slate.picks].tolist()  # m lists of F values
    matching = slate.rules.matching(slate.ruled)
    for i, of_features, interests in zip(
        slate.picks.tolist(), values, head_contributions(slate), strict=True
    ):
        yield {
            "features": _not_zero(of_features),
            "interests": interests,
            "rules": tuple(dict.fromkeys((*slate.moved_by.get(i, ()), *matching.get(i, ())))),
        }


def _not_zero(of_features: Sequence[float]) -> dict[str, float]:
    return {name: value for name, value in zip(FEATURES, of_features, strict=True) if value}
