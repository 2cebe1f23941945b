"""Candidates: which articles may answer a request, and the sources that find them.

A source is an index (:func:`from_index`), an earlier answer (:func:`from_cache`) or the catalog
(:func:`from_catalog`). Guarantee: articles that are withdrawn or that the request excludes are no candidates,
even where the index is behind the catalog.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.trending import trending_scores
from freshet.models.events.editorial_rules import MaxAge, Quota
from freshet.models.events.events import RecommendationRequest
from freshet.models.ports import ArticleFilter, ArticleSearch, Hit
from freshet.models.recommend.editorial.enforcement import least_of
from freshet.models.recommend.editorial.rule_book import ActiveRules, RuledArticles, matches
from freshet.models.recommend.slate import Candidates, Slate
from freshet.models.users.view import UserView

TRENDING: Final = "trending"
NEWEST: Final = "newest"
REQUEST: Final = "request"
EXPLORATION: Final = "exploration"
BURST: Final = "burst"
PINNED: Final = "pinned"
QUOTA: Final = "quota"
OF_ONE_LIST: Final = frozenset({EXPLORATION, PINNED, QUOTA})
"""Sources that put an article on one list only and would not find it again."""

PER_HEAD: Final = 100
"""Candidates that the index is asked for by each interest head; at least ``k``."""
PER_LIST: Final = 50
"""Trending and newest candidates that the index is asked for, each; at least ``k``."""

_MAX_DROPPED: Final = 100
"""Most excluded articles that are dropped here; the index excludes larger numbers itself."""


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Conditions that an article must meet to answer one request."""

    where: ArticleFilter
    excluded: frozenset[str]
    """The ids of ``where.exclude_ids``."""

    @classmethod
    def of(cls, request: RecommendationRequest, user: UserView, now_s: float) -> Self:
        """The filter of ``request``, for articles published until ``now_s`` (Unix seconds)."""
        wanted = request.filters
        excluded = set(wanted.exclude_ids)
        if request.exclude_seen:
            excluded.update(user.seen)
            excluded.update(request.history)
        where = ArticleFilter(
            categories=wanted.categories,
            exclude_categories=wanted.exclude_categories,
            languages=wanted.languages,
            published_after_s=None if wanted.max_age_s is None else now_s - wanted.max_age_s,
            published_before_s=now_s,
            exclude_ids=tuple(sorted(excluded)),
        )
        return cls(where, frozenset(excluded))

    def narrowed(self, rules: ActiveRules, now_s: float) -> Self:
        """A stricter filter, without most articles that ``rules`` hide: they would take candidates' places.

        Rules that the index cannot check are left to :mod:`freshet.models.recommend.editorial.enforcement`.
        """
        if not rules.removals:
            return self
        excluded, categories = set(self.excluded), set(self.where.exclude_categories)
        after_s = [] if self.where.published_after_s is None else [self.where.published_after_s]
        for rule in rules.removals:
            if not isinstance(rule, MaxAge):
                excluded.update(rule.news_ids)
                categories.update(rule.categories)
            elif not (rule.categories or rule.subcategories):
                after_s.append(now_s - rule.max_age_s)
        where = replace(
            self.where,
            exclude_ids=tuple(sorted(excluded)),
            exclude_categories=tuple(sorted(categories)),
            published_after_s=max(after_s, default=None),
        )
        return replace(self, where=where, excluded=frozenset(excluded))

    def allows(self, catalog: ArticleCatalog, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each of ``rows`` (n,) passes the filter, its ids aside.

        Row -1, an article that the catalog does not know, passes: the index decides. An unknown date is
        neither too early nor too late.
        """
        where = self.where
        allowed: NDArray[np.bool_] = ~catalog.withdrawn[rows]
        for names, column, by_code, keep in (
            (where.categories, catalog.category, catalog.category_names, True),
            (where.exclude_categories, catalog.category, catalog.category_names, False),
            (where.languages, catalog.language, catalog.labels.languages.by_code, True),
        ):
            if names:
                codes = [code for code, name in enumerate(by_code) if name in names]
                allowed &= np.isin(column[rows], codes) == keep
        published_at_s = catalog.published_at_s[rows]
        if where.published_after_s is not None:
            allowed &= ~(published_at_s < where.published_after_s)
        if where.published_before_s is not None:
            allowed &= ~(published_at_s > where.published_before_s)
        allowed[rows < 0] = True
        return allowed

    def admit(self, candidates: Candidates, catalog: ArticleCatalog) -> list[str]:
        """News ids of the candidates that may answer, in their order."""
        ids = [news_id for news_id in candidates if news_id not in self.excluded]
        allowed = self.allows(catalog, catalog.rows(ids)).tolist()
        return [news_id for news_id, keep in zip(ids, allowed, strict=True) if keep]


Source = Callable[[Slate, Eligibility], Candidates]
"""Finds candidates for a slate's request among the eligible articles."""


def from_index(index: ArticleSearch, bursts: Sequence[str] = ()) -> Source:
    """The nearest to each interest head, the trending and the newest of ``index``, and articles in a burst.

    Args:
        index: Where articles are searched.
        bursts: Articles that are clicked far more than expected just now; the index may not have found them.

    The source raises ``IndexUnavailable`` where the index does not answer.
    """

    def source(slate: Slate, eligible: Eligibility) -> Candidates:
        user, excluded = slate.user, eligible.excluded
        asked, more = _index_filter(eligible.where, slate.catalog, slate.now_s)
        per_head, per_list = max(slate.request.k, PER_HEAD), max(slate.request.k, PER_LIST)
        lists: list[tuple[str, list[Hit], int]] = []
        heads = [head for head in range(len(user.vectors) - 1) if user.vectors[head].any()]
        if heads:
            found = index.search(user.vectors[heads], per_head + more, asked)
            lists += [
                (user.head_names[head], hits, per_head) for head, hits in zip(heads, found, strict=True)
            ]
        lists.append((TRENDING, index.trending(per_list + more, asked), per_list))
        lists.append((NEWEST, index.newest(per_list + more, asked), per_list))
        merged: dict[str, list[str]] = {}
        for name, hits, wanted in lists:
            for news_id in [news_id for news_id, _ in hits if news_id not in excluded][:wanted]:
                sources = merged.setdefault(news_id, [])
                if name not in sources:
                    sources.append(name)
        return with_bursts(merged, bursts, slate.catalog)

    return source


def with_bursts(found: Candidates, bursts: Sequence[str], catalog: ArticleCatalog) -> Candidates:
    """``found``, and those of ``bursts`` that have been announced."""
    if not bursts:
        return found
    merged = {news_id: list(sources) for news_id, sources in found.items()}
    announced = ~np.isnan(catalog.published_at_s[catalog.rows(bursts)])
    for news_id in itertools.compress(bursts, announced):
        merged.setdefault(news_id, []).append(BURST)
    return merged


def from_cache(found: Candidates) -> Source:
    """Candidates found for an earlier answer."""
    return lambda slate, eligible: found


def from_catalog(slate: Slate, eligible: Eligibility, topic: Quota | None = None) -> Candidates:
    """The trending and the newest of the catalog's dated articles, of one topic or all; needs no index."""
    catalog = slate.catalog
    n = len(catalog.ids)
    allowed = eligible.allows(catalog, np.arange(n))  # (n,)
    if topic is not None and topic.category is not None:
        allowed &= catalog.category[:n] == _code(catalog.category_names, topic.category)
    elif topic is not None:
        allowed &= catalog.subcategory[:n] == _code(catalog.subcategory_names, topic.subcategory)
    allowed &= ~np.isnan(catalog.published_at_s[:n])
    excluded = catalog.rows(list(eligible.excluded))
    allowed[excluded[excluded >= 0]] = False
    rows = np.flatnonzero(allowed)
    popularity = trending_scores(catalog, slate.now_s)[rows]
    clicked = popularity > 0
    merged: dict[str, list[str]] = {}
    for source, values, among in (
        (TRENDING, popularity[clicked], rows[clicked]),
        (NEWEST, catalog.published_at_s[rows], rows),
    ):
        for row in among[largest(values, max(slate.request.k, PER_HEAD))].tolist():
            merged.setdefault(catalog.ids[row], []).append(source)
    return merged


def largest(values: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Positions (count,) of the largest of ``values`` (n,), largest first; the first of equal ones.

    Sorting a whole catalog takes longer than everything else that a degraded answer needs.

    >>> largest(np.array([1.0, 3.0, 2.0, 3.0]), 2).tolist()
    [1, 3]
    """
    among = np.arange(len(values))
    if count < len(values):
        among = np.flatnonzero(values >= np.partition(values, -count)[-count])
    best: NDArray[np.intp] = among[np.argsort(-values[among], kind="stable")[:count]]
    return best


def editorial_candidates(slate: Slate, found: Candidates, eligible: Eligibility) -> Candidates:
    """``found``, the articles that rules pin, and more of each topic of which a quota demands more."""
    catalog, rules = slate.catalog, slate.rules
    merged = {news_id: list(sources) for news_id, sources in found.items()}
    for pin in rules.pins:
        if catalog.row(pin.news_id) >= 0:
            merged.setdefault(pin.news_id, []).append(PINNED)
    if rules.quotas:
        ids = eligible.admit(merged, catalog)
        articles = RuledArticles.of(ids, catalog.rows(ids), catalog, slate.now_s)
        not_counted = rules.removed(articles).keys() | rules.buried(articles).keys()
        for quota in rules.quotas:
            have = sum(i not in not_counted for i in matches(quota, articles))
            if have < least_of(quota, slate.request.k):
                for news_id in from_catalog(slate, eligible.narrowed(rules, slate.now_s), quota):
                    merged.setdefault(news_id, [QUOTA])
    return merged


def _code(names: Sequence[str], name: str | None) -> int:
    """Code of a category or subcategory; -1, which no article has, where the catalog does not know it."""
    return names.index(name) if name in names else -1


def _index_filter(where: ArticleFilter, catalog: ArticleCatalog, now_s: float) -> tuple[ArticleFilter, int]:
    """The filter for the index, and how many extra articles to ask for because some are dropped here.

    The few articles that a user has clicked, and a date that excludes nothing, slow the index down more than
    all else (a search of 10,000 articles takes 5.5 ms instead of 2 ms); the result is the same.
    """
    more = len(where.exclude_ids)
    if more > _MAX_DROPPED:
        more = 0
    else:
        where = replace(where, exclude_ids=())
    if catalog.newest_published_at_s <= now_s:
        where = replace(where, published_before_s=None)
    return where, more
