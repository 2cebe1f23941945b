"""Candidates: which articles may answer a request, and where they come from.

Guarantee: what a request excludes, and what is withdrawn, is no candidate, even where the index is behind the
catalog. Candidates carry their sources by news id, in the order in which they were found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from freshet.models.recommend.editorial.rule_book import ActiveRules, RuledArticles, meant
from freshet.models.users.view import UserView

TRENDING: Final = "trending"
NEWEST: Final = "newest"
REQUEST: Final = "request"
EXPLORATION: Final = "exploration"
BURST: Final = "burst"
PINNED: Final = "pinned"
QUOTA: Final = "quota"
OF_ONE_LIST: Final = frozenset({EXPLORATION, PINNED, QUOTA})
"""Sources that say what put an article on a list, not where it would be found again."""

PER_HEAD: Final = 100
"""Candidates asked of the index for each interest head; at least ``k``."""
PER_LIST: Final = 50
"""Candidates asked of the trending and of the newest; at least ``k``."""

_MAX_DROPPED: Final = 100
"""Excluded articles that are asked of the index and dropped; more are excluded by the index."""

Candidates = Mapping[str, Sequence[str]]
"""Where each candidate came from, by news id."""


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Which articles may answer one request."""

    where: ArticleFilter
    excluded: frozenset[str]
    """The ids of ``where.exclude_ids``."""

    @classmethod
    def of(cls, request: RecommendationRequest, user: UserView, now_s: float) -> Self:
        """What ``request`` allows of articles published until ``now_s`` (Unix seconds)."""
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
        """Without most of what ``rules`` hide, so that it takes no candidate's place.

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
        """Which ``rows`` (n,) satisfy the filter, its ids aside.

        -1, an article that the catalog does not know, is left to the index. An unknown date is neither too
        early nor too late.
        """
        where = self.where
        allowed: NDArray[np.bool_] = ~catalog.withdrawn[rows]
        for names, column, keep in (
            (where.categories, "category", True),
            (where.exclude_categories, "category", False),
            (where.languages, "language", True),
        ):
            if names:
                known: Sequence[str] = getattr(catalog, f"{column}_names")
                codes = [code for code, name in enumerate(known) if name in names]
                allowed &= np.isin(getattr(catalog, column)[rows], codes) == keep
        published_at_s = catalog.published_at_s[rows]
        if where.published_after_s is not None:
            allowed &= ~(published_at_s < where.published_after_s)
        if where.published_before_s is not None:
            allowed &= ~(published_at_s > where.published_before_s)
        allowed[rows < 0] = True
        return allowed

    def admit(self, candidates: Candidates, catalog: ArticleCatalog) -> list[str]:
        """The candidates that may answer, in their order."""
        ids = [news_id for news_id in candidates if news_id not in self.excluded]
        allowed = self.allows(catalog, catalog.rows(ids)).tolist()
        return [news_id for news_id, keep in zip(ids, allowed, strict=True) if keep]


def index_candidates(
    k: int,
    eligibility: Eligibility,
    *,
    user: UserView,
    catalog: ArticleCatalog,
    index: ArticleSearch,
    now_s: float,
) -> Candidates:
    """The nearest to each interest head, the trending and the newest.

    Args:
        k: The length of the list wanted; no source is asked for fewer.
        eligibility: What may answer.
        user: For whom.
        catalog: What is known of articles.
        index: Where they are found.
        now_s: Event time, Unix seconds.

    Raises:
        IndexUnavailable: The index did not answer.
    """
    asked, more = _asked(eligibility.where, catalog, now_s)
    per_head, per_list = max(k, PER_HEAD), max(k, PER_LIST)
    lists: list[tuple[str, list[Hit], int]] = []
    heads = [head for head in range(len(user.vectors) - 1) if user.vectors[head].any()]
    if heads:
        found = index.search(user.vectors[heads], per_head + more, asked)
        lists += [(user.head_names[head], hits, per_head) for head, hits in zip(heads, found, strict=True)]
    lists.append((TRENDING, index.trending(per_list + more, asked), per_list))
    lists.append((NEWEST, index.newest(per_list + more, asked), per_list))
    merged: dict[str, list[str]] = {}
    excluded = eligibility.excluded
    for source, hits, wanted in lists:
        for news_id in [news_id for news_id, _ in hits if news_id not in excluded][:wanted]:
            sources = merged.get(news_id)
            if sources is None:
                merged[news_id] = [source]
            elif source not in sources:
                sources.append(source)
    return merged


def with_bursts(found: Candidates, bursts: Sequence[str], catalog: ArticleCatalog) -> Candidates:
    """``found``, and those of ``bursts`` that have been announced: the index may not have found them."""
    if not bursts:
        return found
    merged = {news_id: list(sources) for news_id, sources in found.items()}
    dated = ~np.isnan(catalog.published_at_s[catalog.rows(bursts)])
    for news_id, announced in zip(bursts, dated.tolist(), strict=True):
        if announced:
            merged.setdefault(news_id, []).append(BURST)
    return merged


def catalog_candidates(
    k: int, eligibility: Eligibility, *, catalog: ArticleCatalog, now_s: float, topic: Quota | None = None
) -> Candidates:
    """The trending and the newest of the catalog's dated articles, of one topic or all, without an index."""
    n = len(catalog.ids)
    allowed = eligibility.allows(catalog, np.arange(n))
    if topic is not None and topic.category is not None:
        allowed &= catalog.category[:n] == _code(catalog.category_names, topic.category)
    elif topic is not None:
        allowed &= catalog.subcategory[:n] == _code(catalog.subcategory_names, topic.subcategory)
    allowed &= ~np.isnan(catalog.published_at_s[:n])
    for row in catalog.rows(sorted(eligibility.excluded)):
        if row >= 0:
            allowed[row] = False
    rows = np.flatnonzero(allowed)
    popularity = trending_scores(catalog, now_s)[rows]
    clicked = popularity > 0
    merged: dict[str, list[str]] = {}
    for source, values, among in (
        (TRENDING, popularity[clicked], rows[clicked]),
        (NEWEST, catalog.published_at_s[rows], rows),
    ):
        for row in among[largest(values, max(k, PER_HEAD))].tolist():
            merged.setdefault(catalog.ids[row], []).append(source)
    return merged


def largest(values: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """The positions (count,) of the largest of ``values``, best first; of equal ones the first.

    Sorting all of a catalog takes longer than everything else that a degraded answer needs.
    """
    among = np.arange(len(values))
    if count < len(values):
        among = np.flatnonzero(values >= np.partition(values, -count)[-count])
    best: NDArray[np.intp] = among[np.argsort(-values[among], kind="stable")[:count]]
    return best


def editorial_candidates(
    found: Candidates,
    rules: ActiveRules,
    k: int,
    eligibility: Eligibility,
    *,
    catalog: ArticleCatalog,
    now_s: float,
) -> Candidates:
    """``found``, and what rules want beside it: pinned articles, and more of a topic that has too few."""
    merged = {news_id: list(sources) for news_id, sources in found.items()}
    for pin in rules.pins:
        if catalog.row(pin.news_id) >= 0:
            merged.setdefault(pin.news_id, []).append(PINNED)
    if rules.quotas:
        ids = eligibility.admit(merged, catalog)
        articles = RuledArticles.of(ids, catalog.rows(ids), catalog, now_s)
        apart = rules.removed(articles).keys() | rules.buried(articles).keys()
        for quota in rules.quotas:
            have = sum(i not in apart for i in meant(quota, articles))
            if have < least_of(quota, k):
                wanted = eligibility.narrowed(rules, now_s)
                for news_id in catalog_candidates(k, wanted, catalog=catalog, now_s=now_s, topic=quota):
                    merged.setdefault(news_id, [QUOTA])
    return merged


def _code(names: Sequence[str], name: str | None) -> int:
    """A category's or subcategory's code; -1, which no article has, where the catalog has none of it."""
    return names.index(name) if name in names else -1


def _asked(where: ArticleFilter, catalog: ArticleCatalog, now_s: float) -> tuple[ArticleFilter, int]:
    """What to ask the index for ``where``, and how many articles more, for those that are dropped here.

    The few articles that a user has clicked, and a date that excludes nothing, take the index longer than all
    else (a search of 10,000 articles 5.5 ms instead of 2 ms); the result is the same.
    """
    more = len(where.exclude_ids)
    if more > _MAX_DROPPED:
        more = 0
    else:
        where = replace(where, exclude_ids=())
    if catalog.newest_published_at_s <= now_s:
        where = replace(where, published_before_s=None)
    return where, more
