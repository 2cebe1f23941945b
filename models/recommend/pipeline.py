"""The way from a request to an answer, with nothing but a catalog, candidates, a ranker and the time.

One function per step: candidates, scores, maximal marginal relevance, exploration, editorial rules, items.
The stream and the offline evaluation run the same code. Guarantees:

- The answer does not depend on the order in which a request names its candidates: they are ranked in a
  fixed order of their ids' hashes, which also orders candidates of equal score.
- Articles that are withdrawn or that the request's filters exclude are never recommended, even where the
  index is behind the catalog. Candidates that the request names are all ranked: the caller has chosen them.
- Exploration depends on nothing random: its seed is a hash of the request's id.
- Editorial rules have the last word, see :mod:`freshet.models.recommend.editorial.enforcement`. Articles that
  are pinned, buried or hidden take no part in diversity and exploration, so that the propensities of all
  others stay exact. Where rules count topics, exploration alone does not decide the list, and the
  propensities are left out.
- Without an explanation (``explain`` of the request) an item is its id, its score and, where it was chosen,
  its propensity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.events.events import MAX_CANDIDATES, RecommendationRequest
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.scored_slate import score_slate
from freshet.models.recommend.candidates import REQUEST, Eligibility, Source, editorial_candidates
from freshet.models.recommend.diversity import maximal_marginal_relevance
from freshet.models.recommend.editorial.enforcement import enforce, reorder
from freshet.models.recommend.editorial.rule_book import EMPTY_BOOK, RuleBook, RuledArticles
from freshet.models.recommend.exploration.policy import Explorer
from freshet.models.recommend.items import items_of
from freshet.models.recommend.slate import Slate
from freshet.models.users.view import UserView

OnStep = Callable[[str], object]
"""Receives the name of each step when it is over."""


def ignore_step(step: str) -> None:
    """Measures nothing."""


_POOL_PER_PICK: Final = 5
"""Only the best ``k`` times this many candidates are diversified: one further down is never picked."""


def recommend(
    request: RecommendationRequest,
    user: UserView,
    catalog: ArticleCatalog,
    ranker: LinearRanker,
    now_s: float,
    *,
    source: Source | None = None,
    explorer: Explorer | None = None,
    book: RuleBook = EMPTY_BOOK,
    on_step: OnStep = ignore_step,
) -> Slate:
    """The user's best ``request.k`` articles, or a ranking of the candidates that the request names.

    Maximal marginal relevance orders the list, except for what exploration and editorial rules change. The
    score of an item is the ranker's, before all of these. A ranking of named candidates keeps all of them,
    best first, except for rules about single articles; it needs no source.

    Args:
        request: What is asked for.
        user: The reader.
        catalog: Vectors, labels and statistics of the articles.
        ranker: Turns features into scores.
        now_s: Event time, Unix seconds.
        source: Finds candidates: :func:`~freshet.models.recommend.candidates.from_index`, ``from_cache`` or
            ``from_catalog``.
        explorer: Chooses slots for articles that little is known about.
        book: Editorial rules for all answers; the request's own come after them.
        on_step: Called when each of "candidates", "rank", "choose" and "explain" is over.

    Raises:
        IndexUnavailable: The source's index did not answer.
        ValueError: The request names no candidates, and there is no source.

    >>> from freshet.models.events.events import from_unix_s
    >>> from freshet.models.recommend.candidates import from_catalog
    >>> catalog = ArticleCatalog(d=2)
    >>> rows = [catalog.put_article(f"N{hour}", None, published_at_s=hour * 3_600.0) for hour in (1, 2, 3)]
    >>> user = UserView.of(None, 10_800.0, np.zeros(2, np.float32))
    >>> request = RecommendationRequest(request_id="R1", user_id="U1", time=from_unix_s(10_800.0), k=2)
    >>> slate = recommend(request, user, catalog, LinearRanker(), 10_800.0, source=from_catalog)
    >>> [item.news_id for item in slate.items]
    ['N3', 'N2']
    """
    slate = Slate(request, user, catalog, ranker, now_s, book.active(now_s, request.rules))
    if request.candidates is not None:
        slate = replace(slate, sources=dict.fromkeys(request.candidates, (REQUEST,)))
        slate = _score(slate, request.candidates)
        on_step("rank")
        return _with_items(_rank_all(slate))
    if source is None:
        raise ValueError(f"request {request.request_id} names no candidates to rank")
    eligible = Eligibility.of(request, user, now_s)
    found = source(slate, eligible.narrowed(slate.rules, now_s))
    on_step("candidates")
    if slate.rules:
        found = editorial_candidates(slate, found, eligible)
    slate = _score(replace(slate, sources=found), eligible.admit(found, catalog))
    on_step("rank")
    if slate.rules:
        slate = _choose_under_rules(slate, explorer)
    else:
        slate = _explore(_diversify(slate), request.k, explorer)
    on_step("choose")
    slate = _with_items(slate)
    on_step("explain")
    return slate


def _score(slate: Slate, candidates: Iterable[str]) -> Slate:
    scored = score_slate(candidates, slate.user, slate.catalog, slate.ranker, slate.now_s)
    ruled = RuledArticles()
    if slate.rules:
        ruled = RuledArticles.of(scored.ids, scored.rows, slate.catalog, slate.now_s)
    return replace(slate, scored=scored, ruled=ruled, order=scored.best_first())


def _rank_all(slate: Slate) -> Slate:
    """Shows every candidate; nothing is chosen, so no propensity is known."""
    ranked = reorder(slate) if slate.rules else replace(slate, picks=slate.order)
    m = len(ranked.picks)
    return replace(ranked, propensities=np.full(m, np.nan), explored=np.zeros(m, np.bool_))


def _diversify(slate: Slate) -> Slate:
    """Moves the ``k`` picks of maximal marginal relevance to the front of the order."""
    request, scored, order = slate.request, slate.scored, slate.order
    if request.diversity == 0:
        return slate
    pool = order[: request.k * _POOL_PER_PICK]  # (p,)
    vectors = slate.catalog.vectors[scored.rows[pool]]  # (p, d)
    picks = pool[maximal_marginal_relevance(scored.scores[pool], vectors, request.k, request.diversity)]
    return replace(slate, order=np.concatenate([picks, _without(slate, picks)]))


def _without(slate: Slate, picks: NDArray[np.intp]) -> NDArray[np.intp]:
    """The order without ``picks``."""
    left = np.ones(len(slate.scored.ids), np.bool_)
    left[picks] = False
    return slate.order[left[slate.order]]


def _explore(slate: Slate, k: int, explorer: Explorer | None) -> Slate:
    """Picks ``k`` articles of the order: the first ones, or the explorer's choice."""
    if explorer is None:
        return slate.exploit(k)
    chosen = explorer.choose(slate, k, seed_of(slate.request.request_id)) if k > 0 else slate.exploit(0)
    if len(slate.order) > MAX_CANDIDATES:
        return chosen
    ids = slate.scored.ids
    return replace(chosen, drawn_from=tuple(ids[i] for i in np.sort(slate.order).tolist()))


def _choose_under_rules(slate: Slate, explorer: Explorer | None) -> Slate:
    """Diversifies and explores the articles that no rule places, then applies the rules to the ranking."""
    rules, k = slate.rules, slate.request.k
    hidden_or_buried = rules.removed(slate.ruled).keys() | rules.buried(slate.ruled).keys()
    to_pin = {pin.news_id for pin in rules.pins if pin.position <= k}
    pinned = {i for i, news_id in enumerate(slate.scored.ids) if news_id in to_pin} - hidden_or_buried
    placed = np.isin(slate.order, [*pinned, *hidden_or_buried])  # (n,)

    free = replace(slate, order=slate.order[~placed])
    chosen = _explore(_diversify(free), max(0, k - len(pinned)), explorer)
    rest = _without(chosen, chosen.picks)
    edited = enforce(replace(chosen, order=np.concatenate([chosen.picks, rest, slate.order[placed]])))

    is_free = ~np.isin(edited.picks, list(pinned))  # (m,)
    propensities = np.ones(len(edited.picks))
    if not (rules.limits or rules.quotas) and np.array_equal(edited.picks[is_free], chosen.picks):
        propensities[is_free] = chosen.propensities
    elif explorer is not None:
        propensities[is_free] = np.nan  # the rules have changed what exploration drew
    explored = np.isin(edited.picks, chosen.picks[chosen.explored])
    return replace(edited, propensities=propensities, explored=explored)


def _with_items(slate: Slate) -> Slate:
    return replace(slate, items=items_of(slate))


def seed_of(request_id: str) -> int:
    """A number from 0 to 2 ** 64 - 1, the same for a request whenever and wherever it is answered."""
    return int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=8).digest())
