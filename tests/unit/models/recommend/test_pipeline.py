"""Answers keep what a request asks, say why, and depend on nothing that they must not see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.exact_index import ExactIndex
from freshet.models.articles.trending import population_vector
from freshet.models.events.events import Filters, RecommendationRequest, RecommendedArticle, from_unix_s
from freshet.models.ports import EVERYTHING, ArticleFilter, FloatMatrix, Hit, IndexedArticle, IndexUnavailable
from freshet.models.ranking.linear import LinearRanker
from freshet.models.recommend.candidates import from_catalog, from_index, largest
from freshet.models.recommend.pipeline import recommend
from freshet.models.users.pooling import Pooling
from freshet.models.users.state import UserState
from freshet.models.users.view import UserView

D = 8
N = 120
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
CATEGORIES = ("news", "sports", "travel")
RANKER = LinearRanker()


def articles() -> list[IndexedArticle]:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(N, D)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        IndexedArticle(
            f"N{i}",
            vectors[i],
            NOW_S - i * HOUR_S,
            title=f"Title {i}",
            category=CATEGORIES[i % 3],
            language=("en", "pt")[i % 2],
            popularity=float(i % 7),
        )
        for i in range(N)
    ]


def catalog_and_index() -> tuple[ArticleCatalog, ExactIndex]:
    catalog, index = ArticleCatalog(D), ExactIndex(D)
    known = articles()
    index.upsert(known)
    for article in known:
        catalog.put_article(
            article.news_id,
            article.vector,
            article.published_at_s,
            title=article.title,
            category=article.category,
            language=article.language,
        )
    for i in range(0, N, 2):
        shown = float(1 + i % 11)
        catalog.put_stats(f"N{i}", NOW_S - HOUR_S, [i % 3] * 4, [shown] * 4, NOW_S - i * HOUR_S)
    return catalog, index


@pytest.fixture
def world() -> tuple[ArticleCatalog, ExactIndex]:
    return catalog_and_index()


CATALOG, INDEX = catalog_and_index()


def request(**fields: Any) -> RecommendationRequest:
    values: dict[str, Any] = {"request_id": "r", "user_id": "u", "time": from_unix_s(NOW_S), **fields}
    return RecommendationRequest(**values)


def reader(catalog: ArticleCatalog, clicked: tuple[str, ...] = ("N3", "N50")) -> UserView:
    state = UserState.empty(POOLING)
    state.apply_impression(
        ("impressions", 0, 0), NOW_S - HOUR_S, (*clicked, "N4", "N9"), clicked, catalog, history=()
    )
    return UserView.of(state, NOW_S, population_vector(catalog, NOW_S))


def answered(
    asked: RecommendationRequest, user: UserView, catalog: ArticleCatalog, index: ExactIndex
) -> list[RecommendedArticle]:
    return recommend(asked, user, catalog, RANKER, NOW_S, source=from_index(index)).items


def ids(items: list[RecommendedArticle]) -> list[str]:
    return [item.news_id for item in items]


@given(st.permutations([*(f"N{i}" for i in range(30)), "unknown-1", "unknown-2", "unknown-3"]))
@settings(max_examples=25)
def test_the_order_of_candidates_changes_nothing(candidates: list[str]) -> None:
    user = reader(CATALOG)

    items = recommend(request(candidates=tuple(candidates)), user, CATALOG, RANKER, NOW_S).items

    named_in_order = tuple(sorted(candidates))
    assert items == recommend(request(candidates=named_in_order), user, CATALOG, RANKER, NOW_S).items
    assert sorted(ids(items)) == sorted(candidates)


def test_ties_follow_neither_the_position_nor_the_name(world: tuple[ArticleCatalog, ExactIndex]) -> None:
    catalog, _ = world
    unknown = tuple(f"U{i:03}" for i in range(200))

    items = recommend(request(candidates=unknown), reader(catalog), catalog, RANKER, NOW_S).items

    assert len({item.score for item in items}) == 1
    order = np.array([int(news_id[1:]) for news_id in ids(items)])
    # Neither the order of the request nor of the names (nor its reverse): no correlation with either.
    assert abs(np.corrcoef(order, np.arange(200))[0, 1]) < 0.2


def test_candidates_are_all_ranked_once_whatever_k_and_the_filters(
    world: tuple[ArticleCatalog, ExactIndex],
) -> None:
    catalog, index = world
    catalog.set_withdrawn("N1", True)
    asked = request(
        candidates=("N1", "N2", "N3", "N2", "unknown"), k=1, filters=Filters(categories=("travel",))
    )

    items = answered(asked, reader(catalog), catalog, index)

    assert sorted(ids(items)) == ["N1", "N2", "N3", "unknown"]
    assert all(item.sources == ("request",) for item in items)
    assert [item.score for item in items] == sorted((item.score for item in items), reverse=True)


def test_reasons_sum_to_the_score_and_articles_are_described(
    world: tuple[ArticleCatalog, ExactIndex],
) -> None:
    catalog, index = world

    items = answered(request(k=20), reader(catalog), catalog, index)

    for item in items:
        i = int(item.news_id[1:])
        assert sum(item.reasons.values()) == pytest.approx(item.score)
        assert item.title == f"Title {i}"
        assert item.category == CATEGORIES[i % 3]
        assert item.published_at == from_unix_s(NOW_S - i * HOUR_S)
        assert set(item.sources) <= {"2h", "7d", "trending", "newest"}
        assert item.sources
    assert {source for item in items for source in item.sources} == {"2h", "7d", "trending", "newest"}


def test_without_an_explanation_the_ranking_is_the_same_and_the_items_are_bare(
    world: tuple[ArticleCatalog, ExactIndex],
) -> None:
    catalog, index = world
    user = reader(catalog)

    full = answered(request(), user, catalog, index)
    bare = answered(request(explain=False), user, catalog, index)

    assert bare == [
        RecommendedArticle(news_id=item.news_id, score=item.score, propensity=1.0) for item in full
    ]


def test_an_answer_has_k_distinct_articles_that_the_user_has_not_clicked(
    world: tuple[ArticleCatalog, ExactIndex],
) -> None:
    catalog, index = world
    user = reader(catalog)

    items = answered(request(k=N - 10), user, catalog, index)
    assert len(set(ids(items))) == len(items) == N - 10
    assert not {"N3", "N50"} & set(ids(items))

    everything = answered(request(k=N, exclude_seen=False), user, catalog, index)
    assert {"N3", "N50"} <= set(ids(everything))


@pytest.mark.parametrize("answer", ["index", "fallback"])
def test_filters_hold(world: tuple[ArticleCatalog, ExactIndex], answer: str) -> None:
    catalog, index = world
    user = reader(catalog)

    def numbers(filters: Filters) -> set[int]:
        asked = request(k=50, filters=filters)
        items = (
            answered(asked, user, catalog, index)
            if answer == "index"
            else recommend(asked, user, catalog, RANKER, NOW_S, source=from_catalog).items
        )
        assert items
        return {int(news_id[1:]) for news_id in ids(items)}

    assert all(i % 3 == 1 for i in numbers(Filters(categories=("sports", "no such"))))
    assert all(i % 3 != 1 for i in numbers(Filters(exclude_categories=("sports",))))
    assert all(i % 2 == 1 for i in numbers(Filters(languages=("pt",))))
    assert all(i <= 5 for i in numbers(Filters(max_age_s=5 * HOUR_S)))
    assert not {7, 8} & numbers(Filters(exclude_ids=("N7", "N8")))


@pytest.mark.parametrize("answer", ["index", "fallback"])
def test_what_is_withdrawn_or_not_yet_published_never_appears(
    world: tuple[ArticleCatalog, ExactIndex], answer: str
) -> None:
    catalog, index = world
    catalog.set_withdrawn("N0", True)
    catalog.put_article("future", np.ones(D, np.float32), NOW_S + HOUR_S)
    index.upsert([replace(articles()[0], news_id="future", published_at_s=NOW_S - HOUR_S)])
    user, asked = reader(catalog), request(k=N)

    items = (
        answered(asked, user, catalog, index)
        if answer == "index"
        else recommend(asked, user, catalog, RANKER, NOW_S, source=from_catalog).items
    )

    assert len(items) > 10
    assert not {"N0", "future"} & set(ids(items))


def test_a_click_brings_articles_like_it(world: tuple[ArticleCatalog, ExactIndex]) -> None:
    catalog, index = world
    near = articles()[0].vector
    for i in range(3):
        catalog.put_article(f"like-{i}", near + 0.01 * i, NOW_S - HOUR_S)
        index.upsert([IndexedArticle(f"like-{i}", near + np.float32(0.01 * i), NOW_S - HOUR_S)])
    asked = request(k=10, diversity=0.0)

    def place(user: UserView) -> int:
        order = ids(answered(request(k=N, diversity=0.0), user, catalog, index))
        return min(order.index(f"like-{i}") for i in range(3))

    before = reader(catalog, ("N60",))
    after = reader(catalog, ("N60", "N0"))

    assert place(after) < place(before)
    assert answered(asked, after, catalog, index)


def test_a_user_never_seen_gets_the_populations_answer(world: tuple[ArticleCatalog, ExactIndex]) -> None:
    catalog, index = world
    population = population_vector(catalog, NOW_S)

    stranger = answered(request(), UserView.of(None, NOW_S, population), catalog, index)
    blank = answered(request(), UserView.of(UserState.empty(POOLING), NOW_S, population), catalog, index)

    assert len(stranger) == 10
    assert ids(stranger) == ids(blank)
    assert any("population" in item.sources for item in stranger)


def test_an_index_ahead_of_the_catalog_is_answered_with_what_is_known(
    world: tuple[ArticleCatalog, ExactIndex],
) -> None:
    _, index = world
    empty = ArticleCatalog(D)

    items = recommend(
        request(),
        UserView.of(None, NOW_S, np.zeros(D, np.float32)),
        empty,
        RANKER,
        NOW_S,
        source=from_index(index),
    ).items

    assert len(items) == 10


def test_diversity_changes_the_list_but_not_its_first_item(
    world: tuple[ArticleCatalog, ExactIndex],
) -> None:
    catalog, index = world
    user = reader(catalog)

    def spread(diversity: float) -> tuple[list[str], float]:
        found = ids(answered(request(diversity=diversity), user, catalog, index))
        vectors = catalog.vectors[catalog.rows(found)]
        return found, float((vectors @ vectors.T)[np.triu_indices(len(found), 1)].mean())

    plain, alike = spread(0.0)
    diverse, less_alike = spread(0.8)
    assert plain[0] == diverse[0]
    assert less_alike < alike


class _NoIndex(ExactIndex):
    def search(self, queries: FloatMatrix, k: int, where: ArticleFilter = EVERYTHING) -> list[list[Hit]]:
        raise IndexUnavailable("down")


def test_an_index_that_is_down_is_told_and_the_catalog_still_answers(
    world: tuple[ArticleCatalog, ExactIndex],
) -> None:
    catalog, _ = world
    user = reader(catalog)

    with pytest.raises(IndexUnavailable):
        recommend(request(), user, catalog, RANKER, NOW_S, source=from_index(_NoIndex(D)))
    items = recommend(request(), user, catalog, RANKER, NOW_S, source=from_catalog).items

    assert len(items) == 10
    assert {source for item in items for source in item.sources} <= {"trending", "newest"}


def test_an_empty_catalog_is_answered_with_nothing() -> None:
    user = UserView.of(None, NOW_S, np.zeros(D, np.float32))

    assert answered(request(), user, ArticleCatalog(D), ExactIndex(D)) == []
    assert recommend(request(), user, ArticleCatalog(D), RANKER, NOW_S, source=from_catalog).items == []


def test_ranking_needs_candidates(world: tuple[ArticleCatalog, ExactIndex]) -> None:
    with pytest.raises(ValueError, match="names no candidates"):
        recommend(request(), reader(world[0]), world[0], RANKER, NOW_S)


@given(st.lists(st.integers(0, 5).map(float), max_size=40), st.integers(1, 50))
def test_the_largest_of_a_catalog_are_those_that_sorting_all_of_it_gives(
    values: list[float], count: int
) -> None:
    column = np.array(values)
    assert largest(column, count).tolist() == np.argsort(-column, kind="stable")[:count].tolist()
