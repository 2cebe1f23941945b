"""The items of an answer, from positions in a scored slate: bare, or with all that explains them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freshet.models.candidates import Candidates
from freshet.models.catalog import ArticleCatalog
from freshet.models.events import RecommendedArticle, from_unix_s
from freshet.models.ranking import FEATURES, LinearRanker
from freshet.models.scored_slate import ScoredSlate


def bare_items(slate: ScoredSlate, picks: NDArray[np.intp]) -> list[RecommendedArticle]:
    """The id and the score of each of ``picks`` (n,), positions in ``slate``."""
    scores: list[float] = slate.scores[picks].tolist()
    return [
        RecommendedArticle(news_id=slate.ids[i], score=score)
        for i, score in zip(picks.tolist(), scores, strict=True)
    ]


def explained_items(
    slate: ScoredSlate,
    picks: NDArray[np.intp],
    sources: Candidates,
    catalog: ArticleCatalog,
    ranker: LinearRanker,
) -> list[RecommendedArticle]:
    """As :func:`bare_items`, with what the article is, where it came from and what its score is made of."""
    rows: list[int] = slate.rows[picks].tolist()
    scores: list[float] = slate.scores[picks].tolist()
    contributions: list[list[float]] = ranker.contributions(slate.features[picks]).tolist()
    items = []
    for i, row, score, terms in zip(picks.tolist(), rows, scores, contributions, strict=True):
        published_at_s = float(catalog.published_at_s[row])
        items.append(
            RecommendedArticle(
                news_id=slate.ids[i],
                score=score,
                title=catalog.titles[row] if row >= 0 else "",
                category=catalog.category_names[catalog.category[row]],
                published_at=None if np.isnan(published_at_s) else from_unix_s(published_at_s),
                sources=tuple(sources[slate.ids[i]]),
                reasons={name: term for name, term in zip(FEATURES, terms, strict=True) if term},
            )
        )
    return items
