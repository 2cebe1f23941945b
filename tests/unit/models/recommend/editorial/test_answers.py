"""Editorial rules hold in whole answers, wherever their candidates come from, and are explained."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.exact_index import ExactIndex
from freshet.models.articles.trending import population_vector
from freshet.models.events.editorial_rules import AtMost, Bury, Embargo, MaxAge, Pin, Quota, Withdraw
from freshet.models.events.events import RecommendationRequest, RecommendedArticle, from_unix_s
from freshet.models.ports import IndexedArticle
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.scored_slate import score_slate
from freshet.models.recommend.candidates import from_cache, from_catalog, from_index
from freshet.models.recommend.editorial.rule_book import RuleBook
from freshet.models.recommend.explanations import head_contributions, most_similar_clicks
from freshet.models.recommend.pipeline import recommend
from freshet.models.recommend.slate import Slate
from freshet.models.users.pooling import Pooling
from freshet.models.users.state import UserState
from freshet.models.users.view import UserView

D = 8
N = 200
NOW_S = 1_700_000_000.0
HOUR_S = 3_600.0
POOLING = Pooling(
    d=D,
    half_lives_s=(2 * HOUR_S, 168 * HOUR_S),
    negative_half_life_s=24 * HOUR_S,
    prior_weight=1.0,
    max_recent_clicks=20,
    max_exposures=50,
)
RANKER = LinearRanker()
WAYS = ("index", "cache", "fallback")


def at(hours: float) -> datetime:
    return from_unix_s(NOW_S + hours * HOUR_S)


def world() -> tuple[ArticleCatalog, ExactIndex]:
    """The old half of the articles is of the category ``rare``, subcategory ``curling``."""
    random = np.random.default_rng(3)
    catalog, index = ArticleCatalog(D), ExactIndex(D)
    for i in range(N):
        vector = random.normal(size=D).astype(np.float32)
        vector /= np.linalg.norm(vector)
        category, subcategory = ("rare", "curling") if i >= N - 5 else (("news", "sports")[i % 2], "")
        article = IndexedArticle(
            f"N{i}",
            vector,
            NOW_S - i * HOUR_S,
            f"Title {i}",
            category,
            subcategory,
            popularity=0.0 if category == "rare" else 1.0 + i % 7,
        )
        index.upsert([article])
        catalog.put_article(
            article.news_id,
            vector,
            article.published_at_s,
            title=article.title,
            category=category,
            subcategory=subcategory,
        )
    return catalog, index


CATALOG, INDEX = world()


def reader(*clicked: str) -> UserView:
    state = UserState.empty(POOLING)
    if clicked:
        state.apply_impression(("impressions", 0, 0), NOW_S - HOUR_S, (*clicked, "N4"), clicked, CATALOG)
    return UserView.of(state, NOW_S, population_vector(CATALOG, NOW_S))


USER = reader("N3", "N50")


def request(**fields: Any) -> RecommendationRequest:
    values: dict[str, Any] = {"request_id": "r", "user_id": "u", "time": from_unix_s(NOW_S), **fields}
    return RecommendationRequest(**values)


def answer(way: str, asked: RecommendationRequest, book: RuleBook, **more: Any) -> Slate:
    source = {
        "index": from_index(INDEX),
        "cache": from_cache({f"N{i}": ("2h",) for i in range(N)}),
        "fallback": from_catalog,
    }[way]
    return recommend(asked, USER, CATALOG, RANKER, NOW_S, source=source, book=book, **more)


def ids(found: Slate) -> list[str]:
    return [item.news_id for item in found.items]


@pytest.mark.parametrize("way", WAYS)
def test_rules_hold_however_the_candidates_were_found(way: str) -> None:
    plain = ids(answer(way, request(k=6), RuleBook()))
    book = RuleBook(
        [
            Pin(name="lead", news_id="N90", position=2),
            Withdraw(name="gone", news_ids=(plain[0],)),
            Embargo(name="wait", news_ids=(plain[1],), until=at(1)),
            Bury(name="low", news_ids=(plain[2],)),
            MaxAge(name="old", max_age_s=60 * HOUR_S, categories=("sports",)),
            Quota(name="rare", subcategory="curling", at_least=1),
        ]
    )

    found = answer(way, request(k=6), book)

    shown = ids(found)
    assert len(shown) == 6
    assert shown[1] == "N90"
    assert not set(shown) & set(plain[:3])
    assert any(int(news_id[1:]) >= N - 5 for news_id in shown)
    assert all(
        int(news_id[1:]) <= 60 or int(news_id[1:]) % 2 == 0 or int(news_id[1:]) >= 195 for news_id in shown
    )
    assert found.unmet == ()
    rules = {item.news_id: item.rules for item in found.items}
    assert rules.pop("N90") == ("lead",)
    assert [names for names in rules.values() if names] == [("rare",)]


@pytest.mark.parametrize("way", WAYS)
def test_rules_of_a_request_hold_in_its_answer_alone(way: str) -> None:
    asked = request(k=4, rules=(AtMost(name="spread", per="category", at_most=2),))
    categories = [item.category for item in answer(way, asked, RuleBook()).items]
    assert max(categories.count(category) for category in categories) == 2
    assert len(categories) == 4


def test_a_pinned_article_that_the_request_excludes_is_not_shown_and_the_answer_says_so() -> None:
    book = RuleBook([Pin(name="a", news_id="N3"), Pin(name="b", news_id="nowhere")])
    found = answer("index", request(), book)
    assert not {"N3", "nowhere"} & set(ids(found))
    assert {unmet.rule: unmet.reason for unmet in found.unmet} == dict.fromkeys("ab", "it is not to be shown")


def test_a_maximum_age_of_all_leaves_a_full_list_of_younger_ones() -> None:
    found = answer("index", request(k=30), RuleBook([MaxAge(name="fresh", max_age_s=40 * HOUR_S)]))
    assert len(found.items) == 30
    assert all(int(news_id[1:]) <= 40 for news_id in ids(found))


def test_given_candidates_are_all_ranked_and_only_rules_of_single_articles_move_them() -> None:
    named = tuple(f"N{i}" for i in range(10))
    plain = ids(recommend(request(candidates=named), USER, CATALOG, RANKER, NOW_S))
    book = RuleBook(
        [
            Pin(name="lead", news_id=plain[5]),
            Bury(name="low", news_ids=(plain[1],)),
            Withdraw(name="gone", news_ids=(plain[0],)),
            AtMost(name="spread", per="category", at_most=1),
        ]
    )

    found = recommend(request(candidates=named), USER, CATALOG, RANKER, NOW_S, book=book)

    moved = {plain[5], plain[1], plain[0]}
    kept = [news_id for news_id in plain if news_id not in moved]
    assert ids(found) == [plain[5], *kept, plain[1], plain[0]]
    assert {item.news_id: item.rules for item in found.items if item.rules} == {
        plain[5]: ("lead",),
        plain[1]: ("low",),
        plain[0]: ("gone",),
    }
    assert [unmet.rule for unmet in found.unmet] == ["spread"]


def test_without_rules_a_ranking_is_one_by_score() -> None:
    named = tuple(f"N{i}" for i in range(30))
    scores = [item.score for item in recommend(request(candidates=named), USER, CATALOG, RANKER, NOW_S).items]
    assert scores == sorted(scores, reverse=True)


class _SwapsTheFirstTwo:
    """An explorer that has always the same idea, and says that it is one of two."""

    def choose(self, slate: Slate, k: int, seed: int) -> Slate:
        picks = slate.order[:k].copy()
        picks[[0, 1]] = picks[[1, 0]]
        places = np.arange(k)
        return replace(slate, picks=picks, propensities=np.where(places < 2, 0.5, 1.0), explored=places == 1)


def test_exploration_has_a_place_in_the_list_and_keeps_its_propensities_beside_a_pin() -> None:
    plain = ids(answer("index", request(k=4, diversity=0.0), RuleBook()))
    book = RuleBook([Pin(name="lead", news_id="N90", position=2)])

    found = answer("index", request(k=5, diversity=0.0), book, explorer=_SwapsTheFirstTwo())

    assert ids(found) == [plain[1], "N90", plain[0], *plain[2:4]]
    assert [item.propensity for item in found.items] == [0.5, 1.0, 0.5, 1.0, 1.0]
    assert ["exploration" in item.sources for item in found.items] == [False, False, True, False, False]
    assert set(ids(found)) - {"N90"} < set(found.drawn_from)
    assert "N90" not in found.drawn_from
    assert answer("index", request(k=5), book).drawn_from == ()


def test_where_rules_count_topics_the_propensities_of_exploration_are_unknown() -> None:
    book = RuleBook([AtMost(name="spread", per="category", at_most=2), Pin(name="lead", news_id="N90")])
    found = answer("index", request(k=4), book, explorer=_SwapsTheFirstTwo())
    assert [item.propensity for item in found.items] == [1.0, None, None, None]
    assert {item.propensity for item in answer("index", request(k=4), book).items} == {1.0}


def test_without_an_explanation_rules_hold_unexplained() -> None:
    book = RuleBook([Pin(name="lead", news_id="N90"), Quota(name="q", category="none", at_least=1)])
    full, bare = (answer("index", request(explain=explain), book) for explain in (True, False))
    assert bare.items == [
        RecommendedArticle(news_id=item.news_id, score=item.score, propensity=1.0) for item in full.items
    ]
    assert bare.unmet == full.unmet != ()


def test_details_show_values_heads_and_every_rule_that_concerns_an_article() -> None:
    book = RuleBook([AtMost(name="spread", per="category", at_most=9), Pin(name="lead", news_id="N90")])

    items = answer("index", request(k=5, details=True), book).items

    assert items[0].rules == ("lead", "spread")
    assert all("spread" in item.rules for item in items)
    for item in items:
        of_heads = sum(item.interests.values())
        of_dots = sum(term for name, term in item.reasons.items() if name.startswith("dot_"))
        assert of_heads == pytest.approx(of_dots)
        assert set(item.interests) <= {"2h", "7d", "skips"}
        for name, weight in RANKER.weights.items():
            assert item.reasons.get(name, 0.0) == pytest.approx(weight * item.features.get(name, 0.0))


def test_what_is_like_a_recent_click_names_it_and_what_is_not_names_none() -> None:
    catalog, _ = world()
    clicked = catalog.vectors[catalog.row("N50")]
    catalog.put_article("like", clicked + np.float32(0.05), NOW_S)
    catalog.put_article("unlike", -clicked, NOW_S)
    catalog.put_article("no vector", None, NOW_S)
    user = reader("N3", "N50")
    rows = catalog.rows(["like", "unlike", "no vector", "unknown", "N50"])

    because = most_similar_clicks(rows, user, catalog)

    assert because[0] == "N50"
    assert because[1] != "N50"
    assert because[2:4] == [None, None]
    assert because[4] != "N50", "an article is not like itself"
    assert most_similar_clicks(rows, reader(), catalog) == [None] * 5


def test_heads_of_one_name_are_added_up() -> None:
    stranger = UserView.of(None, NOW_S, CATALOG.vectors[5].copy())
    scored = score_slate(["N1", "N2"], stranger, CATALOG, RANKER, NOW_S)
    slate = Slate(request(), stranger, CATALOG, RANKER, NOW_S, scored=scored, picks=np.arange(2))
    for of_heads in head_contributions(slate):
        assert set(of_heads) == {"population", "skips"}
