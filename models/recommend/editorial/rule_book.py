"""Editorial rules: which of them hold at a moment, and which articles each of them means.

:mod:`freshet.models.recommend.editorial.enforcement` says what they do to a list.
"""

from __future__ import annotations

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
    """What rules look at, of n candidates."""

    ids: Sequence[str]
    categories: Sequence[str]
    """Empty where unknown, here and in the next."""
    subcategories: Sequence[str]
    ages_s: Sequence[float]
    """Infinite where unknown."""

    @classmethod
    def of(cls, ids: Sequence[str], rows: NDArray[np.int64], catalog: ArticleCatalog, now_s: float) -> Self:
        """Of ``ids`` (n), with their ``rows`` (n,) in ``catalog``, at ``now_s`` (Unix seconds)."""
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
    """The rules that hold at one moment, by what they do, each kind in the order of precedence."""

    removals: tuple[Withdraw | Embargo | MaxAge, ...] = ()
    limits: tuple[AtMost | Quota, ...] = ()
    """Upper bounds."""
    burials: tuple[Bury, ...] = ()
    pins: tuple[Pin, ...] = ()
    quotas: tuple[Quota, ...] = ()
    """Lower bounds."""

    def __bool__(self) -> bool:
        return bool(self.removals or self.limits or self.burials or self.pins or self.quotas)

    def removed(self, articles: RuledArticles) -> dict[int, str]:
        """Which candidates are not shown, with the name of the strongest rule that says so."""
        return _first_to_mean(self.removals, articles)

    def buried(self, articles: RuledArticles) -> dict[int, str]:
        """Which candidates stand below all others, likewise."""
        return _first_to_mean(self.burials, articles)

    def concerning(self, articles: RuledArticles) -> list[tuple[str, ...]]:
        """For each candidate the names of all rules that mean it, the strongest first."""
        names: list[dict[str, None]] = [{} for _ in articles.ids]
        for rule in (*self.removals, *self.limits, *self.burials, *self.pins, *self.quotas):
            for i in meant(rule, articles):
                names[i][rule.name] = None
        return [tuple(each) for each in names]


class RuleBook:
    """Rules in force, prepared once for many answers.

    Args:
        rules: In any order.
    """

    def __init__(self, rules: Iterable[EditorialRule] = ()) -> None:
        self.rules = tuple(sorted(rules, key=_by_name))

    def active(self, now_s: float, request_rules: Iterable[EditorialRule] = ()) -> ActiveRules:
        """What holds at ``now_s`` (Unix seconds), with the rules of a request after these."""
        rules = (*self.rules, *sorted(request_rules, key=_by_name))
        if not rules:
            return NO_RULES
        rules = tuple(rule for rule in rules if _holds(rule, now_s))
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


def _holds(rule: EditorialRule, now_s: float) -> bool:
    return (rule.since is None or rule.since.timestamp() <= now_s) and (
        rule.until is None or now_s < rule.until.timestamp()
    )


def meant(rule: EditorialRule, articles: RuledArticles) -> list[int]:
    """The candidates that a rule is about, rising."""
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
    """The category or subcategory that a rule counts each candidate as; empty where it does not count it."""
    if isinstance(rule, AtMost):
        return articles.categories if rule.per == "category" else articles.subcategories
    if rule.category is not None:
        return [name if name == rule.category else "" for name in articles.categories]
    return [name if name == rule.subcategory else "" for name in articles.subcategories]


def _first_to_mean(
    rules: Sequence[Withdraw | Embargo | MaxAge | Bury], articles: RuledArticles
) -> dict[int, str]:
    """The candidates that any of ``rules`` means, with the name of the first that does."""
    names: dict[int, str] = {}
    for rule in rules:
        for i in meant(rule, articles):
            names.setdefault(i, rule.name)
    return names


NO_RULES: Final = ActiveRules()
EMPTY_BOOK: Final = RuleBook()
