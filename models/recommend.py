"""From a request to a ranked answer, with nothing but a catalog, an index, a ranker and the time.

The steps, each a function of its own: candidates, filters, scores, maximal marginal relevance, exploration,
items. The same code serves the stream and the offline evaluation. Guarantees:

- The answer does not depend on the order in which a request names its candidates: they are ranked in a
  fixed order of their ids' hashes, which also orders candidates of equal score.
- Withdrawn articles, and those that a request's filters exclude, are never recommended, even where the index
  is behind the catalog. Given candidates are all ranked: whoever names them has chosen them.
- Exploration depends on nothing that is random: its seed is a hash of the request's id.
- Without an explanation (``explain`` of the request) an item is its id, its score and, where it was chosen,
  its propensity, nothing else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from freshet.models.candidates import (
    EXPLORATION,
    REQUEST,
    Candidates,
    Eligibility,
    catalog_candidates,
    index_candidates,
)
from freshet.models.catalog import ArticleCatalog
from freshet.models.diversity import maximal_marginal_relevance
from freshet.models.events import RecommendationRequest, RecommendedArticle
from freshet.models.exploration import Explored, Explorer
from freshet.models.ports import ArticleIndex
from freshet.models.ranking import LinearRanker
from freshet.models.recommendation_items import bare_items, explained_items
from freshet.models.scored_slate import ScoredSlate, score_slate
from freshet.models.user_view import UserView

_POOL_PER_PICK: Final = 5
"""Only this many times ``k`` of the best candidates are diversified: one far down the ranking is no pick."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was recommended, and what it was chosen from."""

    items: list[RecommendedArticle]
    """In the order shown."""
    slate: ScoredSlate
    """All candidates that were ranked."""
    picks: NDArray[np.intp]
    """Shape (len(items),): the items' positions in ``slate``."""


def rank(
    request: RecommendationRequest,
    user: UserView,
    catalog: ArticleCatalog,
    ranker: LinearRanker,
    now_s: float,
) -> Answer:
    """Every distinct candidate that ``request`` names, best first.

    Raises:
        ValueError: The request names no candidates.
    """
    if request.candidates is None:
        raise ValueError(f"request {request.request_id} names no candidates to rank")
    slate = score_slate(request.candidates, user, catalog, ranker, now_s)
    picks = slate.best_first()
    if not request.explain:
        return Answer(bare_items(slate, picks), slate, picks)
    sources = {news_id: (REQUEST,) for news_id in slate.ids}
    return Answer(explained_items(slate, picks, sources, catalog, ranker), slate, picks)


def recommend(  # noqa: PLR0917 - with an index, one more than its two siblings
    request: RecommendationRequest,
    user: UserView,
    catalog: ArticleCatalog,
    index: ArticleIndex,
    ranker: LinearRanker,
    now_s: float,
    *,
    explorer: Explorer | None = None,
) -> Answer:
    """The user's best ``request.k`` articles; the candidates' ranking where the request names some.

    Candidates are the nearest to each interest head, the trending and the newest; they are ranked, and the
    best of them diversified. The order of the answer is that of maximal marginal relevance; an item's score
    is the ranker's, before it.

    Raises:
        IndexUnavailable: The index did not answer.
    """
    if request.candidates is not None:
        return rank(request, user, catalog, ranker, now_s)
    eligibility = Eligibility.of(request, user, now_s)
    found = index_candidates(request.k, eligibility, user=user, catalog=catalog, index=index, now_s=now_s)
    return _chosen(request, found, eligibility, user, catalog, ranker, now_s, explorer)


def recommend_from(  # noqa: PLR0917 - as its siblings
    request: RecommendationRequest,
    candidates: Candidates,
    user: UserView,
    catalog: ArticleCatalog,
    ranker: LinearRanker,
    now_s: float,
    *,
    explorer: Explorer | None = None,
) -> Answer:
    """As :func:`recommend`, without an index: the best of candidates found earlier.

    Args:
        request: What is wanted; its filters and exclusions hold here too.
        candidates: Where each came from, by news id.
        user: For whom.
        catalog: What is known of articles.
        ranker: How features add up.
        now_s: Event time, Unix seconds.
        explorer: Which slots go to articles that little is known of.
    """
    eligibility = Eligibility.of(request, user, now_s)
    return _chosen(request, candidates, eligibility, user, catalog, ranker, now_s, explorer)


def trending_fallback(
    request: RecommendationRequest,
    user: UserView,
    catalog: ArticleCatalog,
    ranker: LinearRanker,
    now_s: float,
    *,
    explorer: Explorer | None = None,
) -> Answer:
    """As :func:`recommend`, without an index: from the catalog's trending and newest articles."""
    if request.candidates is not None:
        return rank(request, user, catalog, ranker, now_s)
    eligibility = Eligibility.of(request, user, now_s)
    found = catalog_candidates(request.k, eligibility, catalog=catalog, now_s=now_s)
    return _chosen(request, found, eligibility, user, catalog, ranker, now_s, explorer)


def _chosen(  # noqa: PLR0917 - what its three callers are given, and what they found
    request: RecommendationRequest,
    candidates: Candidates,
    eligibility: Eligibility,
    user: UserView,
    catalog: ArticleCatalog,
    ranker: LinearRanker,
    now_s: float,
    explorer: Explorer | None,
) -> Answer:
    """Filter the candidates found, score, diversify, explore, describe."""
    slate = score_slate(eligibility.admit(candidates, catalog), user, catalog, ranker, now_s)
    order = _diversified(slate, request, catalog)
    explored = _explored(slate, order, request, catalog, now_s, explorer)
    if not request.explain:
        items = bare_items(slate, explored.picks)
    else:
        items = explained_items(slate, explored.picks, candidates, catalog, ranker)
    for i, propensity in enumerate(explored.propensities.tolist()):
        items[i] = items[i].model_copy(update={"propensity": propensity})
    if request.explain:
        for i in np.flatnonzero(explored.explored).tolist():
            items[i] = items[i].model_copy(update={"sources": (*items[i].sources, EXPLORATION)})
    return Answer(items, slate, explored.picks)


def _diversified(
    slate: ScoredSlate, request: RecommendationRequest, catalog: ArticleCatalog
) -> NDArray[np.intp]:
    """All positions of ``slate``: first the ``k`` picks of maximal marginal relevance, then the best."""
    order = slate.best_first()
    if request.diversity == 0:
        return order
    pool = order[: request.k * _POOL_PER_PICK]
    picks = pool[
        maximal_marginal_relevance(
            slate.scores[pool], catalog.vectors[slate.rows[pool]], request.k, request.diversity
        )
    ]
    return np.concatenate([picks, order[~np.isin(order, picks)]])


def _explored(  # noqa: PLR0917 - what Explorer.choose needs
    slate: ScoredSlate,
    order: NDArray[np.intp],
    request: RecommendationRequest,
    catalog: ArticleCatalog,
    now_s: float,
    explorer: Explorer | None,
) -> Explored:
    """The ``k`` to show; without an explorer the first of ``order``, for certain."""
    if explorer is not None:
        return explorer.choose(slate, order, request.k, catalog, now_s, seed_of(request.request_id))
    picks = order[: request.k]
    return Explored(picks, np.ones(len(picks)), np.zeros(len(picks), np.bool_))


def seed_of(request_id: str) -> int:
    """A number from 0 to 2 ** 64 - 1 that is the same for a request whenever and wherever it is answered."""
    return int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=8).digest())
