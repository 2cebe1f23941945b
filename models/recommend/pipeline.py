"""From a request to a ranked answer, with nothing but a catalog, an index, a ranker and the time.

The steps, each a function of its own: candidates, filters, scores, maximal marginal relevance, exploration,
editorial rules, items. The same code serves the stream and the offline evaluation. Guarantees:

- The answer does not depend on the order in which a request names its candidates: they are ranked in a
  fixed order of their ids' hashes, which also orders candidates of equal score.
- Withdrawn articles, and those that a request's filters exclude, are never recommended, even where the index
  is behind the catalog. Given candidates are all ranked: whoever names them has chosen them.
- Exploration depends on nothing that is random: its seed is a hash of the request's id.
- Editorial rules have the last word, see :mod:`freshet.models.recommend.editorial.enforcement`. What is
  pinned, buried or hidden has no part in diversity and exploration, so the propensities of all other items
  stay right. Where rules count topics, what exploration drew is not all that decides, and the propensities
  are left out.
- Without an explanation (``explain`` of the request) an item is its id, its score and, where it was chosen,
  its propensity, nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.events.editorial_rules import UnmetRule
from freshet.models.events.events import MAX_CANDIDATES, RecommendationRequest, RecommendedArticle
from freshet.models.ports import ArticleSearch
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.scored_slate import ScoredSlate, score_slate
from freshet.models.recommend.candidates import (
    REQUEST,
    Candidates,
    Eligibility,
    catalog_candidates,
    editorial_candidates,
    index_candidates,
    with_bursts,
)
from freshet.models.recommend.diversity import maximal_marginal_relevance
from freshet.models.recommend.editorial.enforcement import enforce, reorder
from freshet.models.recommend.editorial.rule_book import EMPTY_BOOK, ActiveRules, RuleBook, RuledArticles
from freshet.models.recommend.exploration.policy import Explored, Explorer
from freshet.models.recommend.items import Shown, bare_items, detailed_items, explained_items
from freshet.models.users.view import UserView

Lap = Callable[[str], object]
"""Told the name of each step when it is over."""


def unmeasured(step: str) -> None:
    """Nobody asks how long the steps take."""


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
    unmet: tuple[UnmetRule, ...] = ()
    """Editorial rules that could not be fulfilled."""
    drawn_from: tuple[str, ...] = ()
    """What exploration could choose from, in the slate's order; empty where nothing was drawn."""


def rank(
    request: RecommendationRequest,
    user: UserView,
    catalog: ArticleCatalog,
    ranker: LinearRanker,
    now_s: float,
    *,
    book: RuleBook = EMPTY_BOOK,
    lap: Lap = unmeasured,
) -> Answer:
    """Every distinct candidate that ``request`` names, best first, but for the rules about single articles.

    Raises:
        ValueError: The request names no candidates.
    """
    if request.candidates is None:
        raise ValueError(f"request {request.request_id} names no candidates to rank")
    rules = book.active(now_s, request.rules)
    slate = score_slate(request.candidates, user, catalog, ranker, now_s)
    lap("rank")
    picks = slate.best_first()
    unknown = [None] * len(picks)
    shown = Shown(picks, unknown)
    if rules:
        articles = RuledArticles.of(slate.ids, slate.rows, catalog, now_s)
        enforced = reorder(articles, picks.tolist(), rules)
        picks = np.array(enforced.order, np.intp)
        shown = Shown(picks, unknown, moved_by=enforced.moved_by, unmet=enforced.unmet)
    sources = {news_id: (REQUEST,) for news_id in slate.ids} if request.explain else {}
    return _answer(_Question(request, user, catalog, ranker, now_s, rules, lap), slate, shown, sources)


def recommend(  # noqa: PLR0917 - with an index, one more than its two siblings
    request: RecommendationRequest,
    user: UserView,
    catalog: ArticleCatalog,
    index: ArticleSearch,
    ranker: LinearRanker,
    now_s: float,
    *,
    explorer: Explorer | None = None,
    book: RuleBook = EMPTY_BOOK,
    bursts: Sequence[str] = (),
    lap: Lap = unmeasured,
) -> Answer:
    """The user's best ``request.k`` articles; the candidates' ranking where the request names some.

    Candidates are the nearest to each interest head, the trending and the newest; they are ranked, and the
    best of them diversified. The order of the answer is that of maximal marginal relevance, but for what
    exploration and the rules change; an item's score is the ranker's, before all that.

    Args:
        request: What is wanted.
        user: For whom.
        catalog: What is known of articles.
        index: Where candidates are found.
        ranker: How features add up.
        now_s: Event time, Unix seconds.
        explorer: Which slots go to articles that little is known of.
        book: The editorial rules in force; the request's own come after them.
        bursts: Articles that are clicked far more than expected just now: candidates too.
        lap: Told when the steps "candidates", "rank", "choose" and "explain" are over.

    Raises:
        IndexUnavailable: The index did not answer.
    """
    if request.candidates is not None:
        return rank(request, user, catalog, ranker, now_s, book=book, lap=lap)
    rules = book.active(now_s, request.rules)
    question = _Question(request, user, catalog, ranker, now_s, rules, lap)
    eligibility = Eligibility.of(request, user, now_s)
    wanted = eligibility.narrowed(rules, now_s)
    found = index_candidates(request.k, wanted, user=user, catalog=catalog, index=index, now_s=now_s)
    lap("candidates")
    return _chosen(question, with_bursts(found, bursts, catalog), eligibility, explorer)


def recommend_from(  # noqa: PLR0917 - as its siblings
    request: RecommendationRequest,
    candidates: Candidates,
    user: UserView,
    catalog: ArticleCatalog,
    ranker: LinearRanker,
    now_s: float,
    *,
    explorer: Explorer | None = None,
    book: RuleBook = EMPTY_BOOK,
    lap: Lap = unmeasured,
) -> Answer:
    """As :func:`recommend`, without an index: the best of ``candidates`` found earlier.

    The request's filters and exclusions hold here too.
    """
    rules = book.active(now_s, request.rules)
    question = _Question(request, user, catalog, ranker, now_s, rules, lap)
    return _chosen(question, candidates, Eligibility.of(request, user, now_s), explorer)


def trending_fallback(
    request: RecommendationRequest,
    user: UserView,
    catalog: ArticleCatalog,
    ranker: LinearRanker,
    now_s: float,
    *,
    explorer: Explorer | None = None,
    book: RuleBook = EMPTY_BOOK,
    lap: Lap = unmeasured,
) -> Answer:
    """As :func:`recommend`, without an index: from the catalog's trending and newest articles."""
    if request.candidates is not None:
        return rank(request, user, catalog, ranker, now_s, book=book, lap=lap)
    rules = book.active(now_s, request.rules)
    question = _Question(request, user, catalog, ranker, now_s, rules, lap)
    eligibility = Eligibility.of(request, user, now_s)
    wanted = eligibility.narrowed(rules, now_s)
    found = catalog_candidates(request.k, wanted, catalog=catalog, now_s=now_s)
    lap("candidates")
    return _chosen(question, found, eligibility, explorer)


@dataclass(frozen=True, slots=True)
class _Question:
    """A request, with all that its answer depends on beside the candidates."""

    request: RecommendationRequest
    user: UserView
    catalog: ArticleCatalog
    ranker: LinearRanker
    now_s: float
    rules: ActiveRules
    lap: Lap


def _chosen(
    question: _Question, candidates: Candidates, eligibility: Eligibility, explorer: Explorer | None
) -> Answer:
    """Filter the candidates found, score, diversify, explore, obey, describe."""
    request, catalog, now_s, rules = question.request, question.catalog, question.now_s, question.rules
    if rules:
        candidates = editorial_candidates(
            candidates, rules, request.k, eligibility, catalog=catalog, now_s=now_s
        )
    admitted = eligibility.admit(candidates, catalog)
    slate = score_slate(admitted, question.user, catalog, question.ranker, now_s)
    question.lap("rank")
    drawn_from = slate.ids
    if rules:
        shown, drawn_from = _obedient(slate, question, explorer)
    else:
        order = _diversified(slate, question)
        explored = _explored(slate, order, request.k, question, explorer)
        tried = frozenset(explored.picks[explored.explored].tolist())
        shown = Shown(explored.picks, explored.propensities.tolist(), tried)
    question.lap("choose")
    answer = _answer(question, slate, shown, candidates)
    question.lap("explain")
    if explorer is None or len(drawn_from) > MAX_CANDIDATES:
        return answer
    return replace(answer, drawn_from=tuple(drawn_from))


def _diversified(slate: ScoredSlate, question: _Question) -> NDArray[np.intp]:
    """All positions of ``slate``: first the ``k`` picks of maximal marginal relevance, then the best."""
    order, request = slate.best_first(), question.request
    if request.diversity == 0:
        return order
    pool = order[: request.k * _POOL_PER_PICK]
    vectors = question.catalog.vectors[slate.rows[pool]]
    picks = pool[maximal_marginal_relevance(slate.scores[pool], vectors, request.k, request.diversity)]
    return np.concatenate([picks, _without(order, picks)])


def _without(order: NDArray[np.intp], picks: NDArray[np.intp]) -> NDArray[np.intp]:
    """``order``, a permutation, without ``picks``."""
    left = np.ones(len(order), np.bool_)
    left[picks] = False
    return order[left[order]]


def _explored(
    slate: ScoredSlate, order: NDArray[np.intp], k: int, question: _Question, explorer: Explorer | None
) -> Explored:
    """The ``k`` to show; without an explorer the first of ``order``, for certain."""
    if explorer is not None and k > 0:
        seed = seed_of(question.request.request_id)
        return explorer.choose(slate, order, k, question.catalog, question.now_s, seed)
    picks = order[:k]
    return Explored(picks, np.ones(len(picks)), np.zeros(len(picks), np.bool_))


def _obedient(slate: ScoredSlate, question: _Question, explorer: Explorer | None) -> tuple[Shown, list[str]]:
    """What is shown under rules: all that they are silent about diversified and explored, then the rules.

    Gives also the ids of those that exploration could choose from.
    """
    rules, k = question.rules, question.request.k
    articles = RuledArticles.of(slate.ids, slate.rows, question.catalog, question.now_s)
    apart = rules.removed(articles).keys() | rules.buried(articles).keys()
    wanted = {pin.news_id for pin in rules.pins if pin.position <= k}
    pinned = {i for i, news_id in enumerate(slate.ids) if news_id in wanted and i not in apart}
    plain = np.array([i for i in range(len(slate.ids)) if i not in apart and i not in pinned], np.intp)
    part = slate.take(plain)
    order = _diversified(part, question)
    explored = _explored(part, order, max(0, k - len(pinned)), question, explorer)
    chosen = plain[explored.picks].tolist()
    rest = plain[_without(order, explored.picks)].tolist()
    ranking = [*chosen, *rest, *(i for i in slate.best_first().tolist() if i in apart or i in pinned)]
    enforced = enforce(articles, ranking, k, rules)
    propensities: list[float | None] = [
        1.0 if explorer is None or i in pinned else None for i in enforced.order
    ]
    if not (rules.limits or rules.quotas) and [i for i in enforced.order if i not in pinned] == chosen:
        drawn = iter(explored.propensities.tolist())
        propensities = [1.0 if i in pinned else next(drawn) for i in enforced.order]
    shown = Shown(
        np.array(enforced.order, np.intp),
        propensities,
        frozenset(plain[explored.picks[explored.explored]].tolist()),
        enforced.moved_by,
        enforced.unmet,
    )
    return shown, part.ids


def _answer(question: _Question, slate: ScoredSlate, shown: Shown, sources: Candidates) -> Answer:
    """Describe what is shown, as far as the request asks for it."""
    request = question.request
    if not request.explain:
        return Answer(bare_items(slate, shown), slate, shown.picks, shown.unmet)
    user, catalog, ranker = question.user, question.catalog, question.ranker
    items = explained_items(slate, shown, sources, user=user, catalog=catalog, ranker=ranker)
    if request.details:
        items = detailed_items(
            items,
            slate,
            shown,
            question.rules,
            user=user,
            catalog=catalog,
            ranker=ranker,
            now_s=question.now_s,
        )
    return Answer(items, slate, shown.picks, shown.unmet)


def seed_of(request_id: str) -> int:
    """A number from 0 to 2 ** 64 - 1 that is the same for a request whenever and wherever it is answered."""
    return int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=8).digest())
