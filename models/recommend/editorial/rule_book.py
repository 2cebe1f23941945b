"""Editorial rules: which are in force at a moment, and which articles each of them matches.

:mod:`freshet.models.recommend.editorial.enforcement` applies them to a list.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.events.editorial_rules import (
    AtMost,
    Bury,
    EditorialRule,
    Embargo,
    MaxAge,
    Pin,
    Quota,
    Withdraw,
)


@dataclass(frozen=True, slots=True)
class RuledArticles:
    """Labels and ages of n candidates: all that editorial rules look at."""

    ids: Sequence[str] = ()
    categories: Sequence[str] = ()
    """Categories, empty where unknown."""
    subcategories: Sequence[str] = ()
    """Subcategories, empty where unknown."""
    ages_s: Sequence[float] = ()
    """Seconds since published, else since first seen; infinite where unknown."""

    @classmethod
    def of(cls, ids: Sequence[str], rows: NDArray[np.int64], catalog: ArticleCatalog, now_s: float) -> Self:
        """Looks up ``ids`` by their ``rows`` (n,) in ``catalog``, with ages at ``now_s`` (Unix seconds)."""
        published_at_s = catalog.published_at_s[rows]
        since_s = np.where(np.isnan(published_at_s), catalog.first_seen_s[rows], published_at_s)
        ages_s = np.where(np.isnan(since_s), np.inf, now_s - since_s)
        return cls(
            ids,
            [catalog.category_names[code] for code in catalog.category[rows].tolist()],
            [catalog.subcategory_names[code] for code in catalog.subcategory[rows].tolist()],
            ages_s.tolist(),
        )


@dataclass(frozen=True, slots=True)
class ActiveRules:
    """Rules in force at one moment, by kind, each kind in the order of precedence."""

    removals: tuple[Withdraw | Embargo | MaxAge, ...] = ()
    limits: tuple[AtMost | Quota, ...] = ()
    """Upper bounds on topics."""
    burials: tuple[Bury, ...] = ()
    pins: tuple[Pin, ...] = ()
    quotas: tuple[Quota, ...] = ()
    """Lower bounds on topics."""

    def __bool__(self) -> bool:
        return bool(self.removals or self.limits or self.burials or self.pins or self.quotas)

    def removed(self, articles: RuledArticles) -> dict[int, str]:
        """Positions of candidates that are not shown, with the name of the strongest rule for each."""
        return _first_match(self.removals, articles)

    def buried(self, articles: RuledArticles) -> dict[int, str]:
        """Positions of candidates that rank below all others, with the strongest rule's name."""
        return _first_match(self.burials, articles)

    def matching(self, articles: RuledArticles) -> dict[int, list[str]]:
        """Names of all rules that match a candidate, by its position, the strongest first."""
        names: defaultdict[int, list[str]] = defaultdict(list)
        for rule in (*self.removals, *self.limits, *self.burials, *self.pins, *self.quotas):
            for i in matches(rule, articles):
                names[i].append(rule.name)
        return names


class RuleBook:
    """Editorial rules, sorted once for many answers.

    Args:
        rules: Rules in any order.

    >>> from freshet.models.events.editorial_rules import Pin
    >>> book = RuleBook([Pin(name="lead", news_id="N1")])
    >>> [pin.news_id for pin in book.active(now_s=0.0).pins]
    ['N1']
    """

    def __init__(self, rules: Iterable[EditorialRule] = ()) -> None:
        self.rules = tuple(sorted(rules, key=_by_name))

    def active(self, now_s: float, request_rules: Iterable[EditorialRule] = ()) -> ActiveRules:
        """The rules in force at ``now_s`` (Unix seconds); those of a request come after the book's own."""
        rules = (*self.rules, *sorted(request_rules, key=_by_name))
        if not rules:
            return NO_RULES
        rules = tuple(rule for rule in rules if _is_in_force(rule, now_s))
        return ActiveRules(
            removals=tuple(rule for rule in rules if isinstance(rule, Withdraw | Embargo | MaxAge)),
            limits=tuple(
                rule
                for rule in rules
                if isinstance(rule, AtMost) or (isinstance(rule, Quota) and rule.bounded_above)
            ),
            burials=tuple(rule for rule in rules if isinstance(rule, Bury)),
            pins=tuple(rule for rule in rules if isinstance(rule, Pin)),
            quotas=tuple(rule for rule in rules if isinstance(rule, Quota) and rule.bounded_below),
        )


def _by_name(rule: EditorialRule) -> tuple[str, str]:
    return rule.name, rule.model_dump_json()


def _is_in_force(rule: EditorialRule, now_s: float) -> bool:
    return (rule.since is None or rule.since.timestamp() <= now_s) and (
        rule.until is None or now_s < rule.until.timestamp()
    )


def matches(rule: EditorialRule, articles: RuledArticles) -> list[int]:
    """Positions of the candidates that a rule matches, in rising order."""
    if isinstance(rule, Pin):
        return [i for i, news_id in enumerate(articles.ids) if news_id == rule.news_id]
    if isinstance(rule, AtMost | Quota):
        return [i for i, topic in enumerate(topics(rule, articles)) if topic]
    chosen: set[int] = set()
    for names, column in (
        (rule.categories, articles.categories),
        (rule.subcategories, articles.subcategories),
    ):
        if names:
            chosen.update(i for i, name in enumerate(column) if name in names)
    if not isinstance(rule, MaxAge):
        news_ids = frozenset(rule.news_ids)
        chosen.update(i for i, news_id in enumerate(articles.ids) if news_id in news_ids)
        return sorted(chosen)
    everything = not (rule.categories or rule.subcategories)
    old = (i for i, age_s in enumerate(articles.ages_s) if age_s > rule.max_age_s)
    return [i for i in old if everything or i in chosen]


def topics(rule: AtMost | Quota, articles: RuledArticles) -> Sequence[str]:
    """The category or subcategory under which a rule counts each candidate; empty where it does not count."""
    if isinstance(rule, AtMost):
        return articles.categories if rule.per == "category" else articles.subcategories
    if rule.category is not None:
        return [name if name == rule.category else "" for name in articles.categories]
    return [name if name == rule.subcategory else "" for name in articles.subcategories]


def _first_match(
    rules: Sequence[Withdraw | Embargo | MaxAge | Bury], articles: RuledArticles
) -> dict[int, str]:
    """Positions of the candidates that any of ``rules`` matches, with the name of the first that does."""
    names: dict[int, str] = {}
    for rule in rules:
        for i in matches(rule, articles):
            names.setdefault(i, rule.name)
    return names


NO_RULES: Final = ActiveRules()
EMPTY_BOOK: Final = RuleBook()
