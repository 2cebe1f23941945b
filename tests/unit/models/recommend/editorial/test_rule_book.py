"""No list breaks an editor's rule, whatever the ranking and the rules; what gives way is told."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

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
    parse_rule,
)
from freshet.models.events.events import Control, EventError, RecommendationRequest, from_unix_s
from freshet.models.ranking.linear import LinearRanker
from freshet.models.recommend.editorial.enforcement import enforce, reorder
from freshet.models.recommend.editorial.rule_book import RuleBook, RuledArticles
from freshet.models.recommend.slate import Slate
from freshet.models.users.view import UserView

NOW_S = 1_700_000_000.0
HOUR_S = 3_600.0
CATEGORIES = ("", "news", "sports", "travel")
SUBCATEGORIES = ("", "golf", "tennis")
IDS = [f"N{i}" for i in range(12)]


def at(hours: float) -> datetime:
    return from_unix_s(NOW_S + hours * HOUR_S)


def listing(*categories: str, ages_h: list[float] | None = None) -> RuledArticles:
    n = len(categories)
    ages_s = [HOUR_S * age for age in ages_h or [1.0] * n]
    return RuledArticles(IDS[:n], categories, [""] * n, ages_s)


def slate_of(
    articles: RuledArticles,
    order: Sequence[int],
    rules: Iterable[EditorialRule],
    k: int = 5,
    now_s: float = NOW_S,
) -> Slate:
    """A ranking that rules are applied to; nothing else of the slate matters."""
    request = RecommendationRequest(request_id="r", user_id="u", time=from_unix_s(now_s), k=k)
    user = UserView.of(None, now_s, np.zeros(1, np.float32))
    return Slate(
        request,
        user,
        ArticleCatalog(1),
        LinearRanker(),
        now_s,
        RuleBook(rules).active(now_s),
        ruled=articles,
        order=np.array(order, np.intp),
    )


def shown(
    articles: RuledArticles, *rules: EditorialRule, k: int = 5, now_s: float = NOW_S
) -> tuple[list[int], Slate]:
    enforced = enforce(slate_of(articles, range(len(articles.ids)), rules, k, now_s))
    return enforced.picks.tolist(), enforced


def reasons(enforced: Slate) -> dict[str, str]:
    return {unmet.rule: unmet.reason for unmet in enforced.unmet}


names = st.sampled_from(["a", "b", "c", "d", "e", "f"])
labels = st.sampled_from(CATEGORIES[1:])
sublabels = st.sampled_from(SUBCATEGORIES[1:])
some_ids = st.lists(st.sampled_from([*IDS, "unknown"]), min_size=1, max_size=3).map(tuple)
shares = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.75, 1.0])
counts = st.integers(0, 4)


@st.composite
def quotas(draw: st.DrawFn) -> Quota:
    topic = draw(
        st.fixed_dictionaries({"category": labels}) | st.fixed_dictionaries({"subcategory": sublabels})
    )
    bounds: dict[str, Any] = {}
    for suffix, values in (("", counts), ("_share", shares)):
        low, high = sorted((draw(values), draw(values)))
        if draw(st.booleans()):
            bounds[f"at_least{suffix}"] = low
        if draw(st.booleans()):
            bounds[f"at_most{suffix}"] = high
    return Quota(name=draw(names), **topic, **(bounds or {"at_most": 1}))


pins = st.builds(
    Pin,
    name=names,
    news_id=st.sampled_from([*IDS, "unknown"]),
    position=st.integers(1, 8),
    since=st.none() | st.sampled_from([at(-1), at(1)]),
)
rules_of_any_kind = st.one_of(
    pins,
    st.builds(Bury, name=names, news_ids=some_ids)
    | st.builds(Bury, name=names, subcategories=sublabels.map(lambda label: (label,))),
    st.builds(Embargo, name=names, news_ids=some_ids, until=st.sampled_from([at(-1), at(1)])),
    st.builds(Withdraw, name=names, news_ids=some_ids, until=st.none() | st.sampled_from([at(-1), at(1)])),
    st.builds(MaxAge, name=names, max_age_s=st.sampled_from([HOUR_S, 10 * HOUR_S]))
    | st.builds(
        MaxAge,
        name=names,
        max_age_s=st.sampled_from([HOUR_S, 10 * HOUR_S]),
        categories=labels.map(lambda label: (label,)),
    ),
    st.builds(
        AtMost, name=names, per=st.sampled_from(["category", "subcategory"]), at_most=st.integers(1, 3)
    ),
    quotas(),
)
any_rules = st.lists(rules_of_any_kind, max_size=6, unique_by=lambda rule: rule.name)


@st.composite
def listings(draw: st.DrawFn) -> RuledArticles:
    n = draw(st.integers(0, len(IDS)))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=n, max_size=n))

    return RuledArticles(
        IDS[:n],
        column(st.sampled_from(CATEGORIES)),
        column(st.sampled_from(SUBCATEGORIES)),
        column(st.sampled_from([0.0, 5 * HOUR_S, 20 * HOUR_S, math.inf])),
    )


def in_force(rules: list[EditorialRule]) -> list[EditorialRule]:
    return [
        rule
        for rule in rules
        if (rule.since is None or rule.since <= at(0)) and (rule.until is None or at(0) < rule.until)
    ]


def hidden(articles: RuledArticles, rules: list[EditorialRule]) -> set[int]:
    """Written once more, from the rules' description."""
    found = set()
    for rule in in_force(rules):
        for i, news_id in enumerate(articles.ids):
            category = articles.categories[i]
            if isinstance(rule, Withdraw | Embargo) and news_id in rule.news_ids:
                found.add(i)
            if (
                isinstance(rule, MaxAge)
                and articles.ages_s[i] > rule.max_age_s
                and (not rule.categories or category in rule.categories)
            ):
                found.add(i)
    return found


def buried(articles: RuledArticles, rules: list[EditorialRule]) -> set[int]:
    return {
        i
        for rule in in_force(rules)
        if isinstance(rule, Bury)
        for i, news_id in enumerate(articles.ids)
        if news_id in rule.news_ids or articles.subcategories[i] in rule.subcategories
    }


def exceeded(articles: RuledArticles, rules: list[EditorialRule], order: list[int]) -> list[str]:
    """The limits that a list breaks."""
    broken = []
    categories = Counter(articles.categories[i] for i in order if articles.categories[i])
    subcategories = Counter(articles.subcategories[i] for i in order if articles.subcategories[i])
    for rule in in_force(rules):
        if isinstance(rule, AtMost):
            held = categories if rule.per == "category" else subcategories
            if held and max(held.values()) > rule.at_most:
                broken.append(rule.name)
        if isinstance(rule, Quota):
            have = categories[rule.category] if rule.category else subcategories[rule.subcategory or ""]
            if rule.at_most is not None and have > rule.at_most:
                broken.append(rule.name)
            if rule.at_most_share is not None and have > rule.at_most_share * len(order) + 1e-9:
                broken.append(rule.name)
    return broken


@given(listings(), any_rules, st.integers(1, 8), st.randoms(use_true_random=False))
@settings(max_examples=400)
def test_no_hard_rule_is_broken_and_nothing_else_changes_its_order(
    articles: RuledArticles, rules: list[EditorialRule], k: int, random: Any
) -> None:
    ranking = list(range(len(articles.ids)))
    random.shuffle(ranking)

    enforced = enforce(slate_of(articles, ranking, rules, k))

    order = enforced.picks.tolist()
    unmet = {unmet.rule for unmet in enforced.unmet}
    below = buried(articles, rules)
    assert len(set(order)) == len(order) <= k
    assert not set(order) & hidden(articles, rules)
    assert exceeded(articles, rules, order) == []
    assert [i in below for i in order] == sorted(i in below for i in order)
    pinned = {rule.news_id: rule for rule in in_force(rules) if isinstance(rule, Pin)}
    for rule in in_force(rules):
        if isinstance(rule, Pin) and rule.name not in unmet:
            assert articles.ids[order[rule.position - 1]] == rule.news_id
        if isinstance(rule, Quota) and rule.name not in unmet:
            topic = articles.categories if rule.category else articles.subcategories
            have = sum(topic[i] == (rule.category or rule.subcategory) for i in order)
            assert have >= (rule.at_least or 0)
            assert have >= (rule.at_least_share or 0.0) * len(order) - 1e-9
    others = [i for i in order if articles.ids[i] not in pinned]
    for tier in (False, True):
        kept = [i for i in others if (i in below) is tier]
        assert kept == [i for i in ranking if i in kept]
    # Whoever is left out of a short list has no place: it is hidden, or a limit would be broken.
    if len(order) < k and not any(isinstance(rule, Quota) for rule in rules):
        for i in set(ranking) - set(order) - hidden(articles, rules):
            assert exceeded(articles, rules, [*order, i])


@given(listings(), any_rules, st.integers(1, 8))
def test_the_order_in_which_rules_come_changes_nothing(
    articles: RuledArticles, rules: list[EditorialRule], k: int
) -> None:
    ranking = range(len(articles.ids))
    forwards, backwards = (enforce(slate_of(articles, ranking, of, k)) for of in (rules, reversed(rules)))
    assert forwards.picks.tolist() == backwards.picks.tolist()
    assert forwards.moved_by == backwards.moved_by
    assert forwards.unmet == backwards.unmet


@given(listings(), any_rules)
def test_a_ranking_of_given_candidates_keeps_them_all(
    articles: RuledArticles, rules: list[EditorialRule]
) -> None:
    ranking = list(range(len(articles.ids)))

    order = reorder(slate_of(articles, ranking, rules)).picks.tolist()

    assert sorted(order) == ranking
    below, last = buried(articles, rules), hidden(articles, rules)
    tiers = [2 if i in last else 1 if i in below else 0 for i in order]
    assert tiers == sorted(tiers)
    pinned = {rule.news_id for rule in rules if isinstance(rule, Pin)}
    for tier in range(3):
        kept = [i for i, of in zip(order, tiers, strict=True) if of == tier and articles.ids[i] not in pinned]
        assert kept == sorted(kept)


@given(listings(), st.integers(1, 8))
def test_without_rules_the_list_is_the_ranking(articles: RuledArticles, k: int) -> None:
    ranking = list(range(len(articles.ids)))[::-1]
    enforced = enforce(slate_of(articles, ranking, [], k))
    assert (enforced.picks.tolist(), enforced.moved_by, enforced.unmet) == (ranking[:k], {}, ())


def test_a_pin_stands_at_its_position_and_says_so() -> None:
    order, enforced = shown(listing(*["news"] * 8), Pin(name="lead", news_id="N7", position=2))
    assert order == [0, 7, 1, 2, 3]
    assert enforced.moved_by == {7: ("lead",)}


def test_the_second_pin_of_a_position_takes_the_next() -> None:
    first, second = (Pin(name=name, news_id=news_id) for name, news_id in (("a", "N6"), ("b", "N7")))
    order, enforced = shown(listing(*["news"] * 8), second, first)
    assert order == [6, 7, 0, 1, 2]
    assert reasons(enforced) == {"b": "it stands at 2, not at 1"}


def test_a_pin_that_cannot_be_says_why() -> None:
    articles = listing("news", "sports", "sports", "news", "news")
    _, enforced = shown(
        articles,
        Pin(name="1", news_id="N0", position=9),
        Pin(name="2", news_id="elsewhere"),
        Pin(name="3", news_id="N1"),
        Pin(name="4", news_id="N2"),
        Pin(name="5", news_id="N3"),
        Pin(name="6", news_id="N4"),
        Withdraw(name="gone", news_ids=("N3",)),
        Bury(name="low", news_ids=("N4",)),
        Quota(name="few", category="sports", at_most=1),
    )
    assert reasons(enforced) == {
        "1": "the list ends at 5, and no position from 9 on is free",
        "2": "it is not to be shown",
        "4": "few allows no more of sports",
        "5": "gone hides it",
        "6": "low buries it",
        "few": "for its limit the list has 3 of 5 articles",
    }


def test_an_embargo_and_a_withdrawal_end_with_the_time_of_the_event() -> None:
    articles = listing("news", "news", "news")
    rules = (
        Embargo(name="e", news_ids=("N0",), until=at(1)),
        Withdraw(name="w", categories=("news",), since=at(2), until=at(3)),
    )
    assert shown(articles, *rules)[0] == [1, 2]
    assert shown(articles, *rules, now_s=NOW_S + HOUR_S)[0] == [0, 1, 2]
    assert shown(articles, *rules, now_s=NOW_S + 2 * HOUR_S)[0] == []
    assert shown(articles, *rules, now_s=NOW_S + 3 * HOUR_S)[0] == [0, 1, 2]


def test_a_maximum_age_is_of_all_or_of_a_category_and_an_unknown_age_is_too_old() -> None:
    articles = listing("news", "sports", "news", "news", ages_h=[30, 30, 5, math.inf])
    day = 24 * HOUR_S
    assert shown(articles, MaxAge(name="a", max_age_s=day))[0] == [2]
    assert shown(articles, MaxAge(name="a", max_age_s=day, categories=("news",)))[0] == [1, 2]


def test_a_lower_bound_brings_the_best_of_its_topic_and_names_itself() -> None:
    articles = listing("news", "news", "sports", "news", "news", "news", "sports", "sports")
    order, enforced = shown(articles, Quota(name="some-sports", category="sports", at_least_share=0.4))
    assert order == [0, 1, 2, 3, 6]
    assert enforced.moved_by == {6: ("some-sports",)}
    assert enforced.unmet == ()


def test_a_lower_bound_without_articles_says_so() -> None:
    _, enforced = shown(listing("news", "travel"), Quota(name="q", category="travel", at_least=2))
    assert reasons(enforced) == {"q": "1 of 2 articles of travel: no other may be shown"}


def test_a_share_is_of_the_list_as_it_is() -> None:
    articles = listing("sports", "sports", "sports", "sports", "news", "news")
    order, enforced = shown(articles, Quota(name="half", category="sports", at_most_share=0.5), k=10)
    assert order == [0, 1, 4, 5]
    assert reasons(enforced) == {"half": "for its limit the list has 4 of 10 articles"}


def test_at_most_n_of_one_topic() -> None:
    articles = listing("sports", "sports", "news", "sports", "", "", "")
    order, _ = shown(articles, AtMost(name="spread", per="category", at_most=1), k=6)
    assert order == [0, 2, 4, 5, 6]


def test_buried_articles_fill_a_list_that_would_be_short() -> None:
    articles = listing("news", "sports", "news")
    order, enforced = shown(articles, Bury(name="low", categories=("news",)), k=2)
    assert order == [1, 0]
    assert enforced.moved_by == {0: ("low",)}


def test_the_rules_of_a_request_come_after_those_in_force() -> None:
    articles = listing(*["news"] * 4)
    book = RuleBook([Pin(name="z", news_id="N3")])
    rules = book.active(NOW_S, [Pin(name="a", news_id="N2")])
    assert enforce(replace(slate_of(articles, range(4), [], 4), rules=rules)).picks.tolist() == [3, 2, 0, 1]


def test_rules_about_numbers_do_not_apply_to_given_candidates() -> None:
    rules = [Quota(name="q", category="news", at_most=0), Pin(name="p", news_id="elsewhere")]
    enforced = reorder(slate_of(listing("news", "news"), [1, 0], rules))
    assert enforced.picks.tolist() == [1, 0]
    assert reasons(enforced) == {"q": "a ranking keeps all its candidates"}


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({"kind": "bury", "name": "b"}, "name news_ids, categories or subcategories"),
        ({"kind": "embargo", "name": "e", "news_ids": ["N1"]}, "needs until"),
        ({"kind": "quota", "name": "q", "category": "news"}, "needs at_least"),
        ({"kind": "quota", "name": "q", "at_most": 1}, "of a category or of a subcategory"),
        ({"kind": "quota", "name": "q", "category": "n", "at_least": 3, "at_most": 1}, "cannot be met"),
        ({"kind": "pin", "name": "p", "news_id": "N1", "position": 0}, "greater than or equal to 1"),
        ({"kind": "promote", "name": "p"}, "kind"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(rule: dict[str, Any], complaint: str) -> None:
    with pytest.raises(EventError, match=complaint):
        parse_rule(json.dumps(rule))


@given(rules_of_any_kind)
def test_a_rule_is_read_as_it_was_written(rule: EditorialRule) -> None:
    control = Control(kind="rule-set", subject=rule.name, time=at(0), rule=rule)
    assert Control.from_json(control.to_json()) == control
    assert parse_rule(rule.model_dump_json()) == rule


def test_a_rule_is_set_under_its_own_name() -> None:
    with pytest.raises(ValidationError, match="its name as the subject"):
        Control(kind="rule-set", subject="other", time=at(0), rule=Pin(name="lead", news_id="N1"))
