"""What a user of a running worker sees: events in, recommendations out, on a real broker.

The articles lie in two clusters, one for each of two categories, so that an interest shows in every answer.
All tests share one worker, each with users of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer

from freshet.models.events.events import (
    ArticleStats,
    Click,
    Filters,
    Recommendation,
    SlateBatch,
    UserVector,
    from_unix_s,
)
from freshet.models.ranking.linear import LinearRanker
from freshet.streams.kafka.connection import client_config, topic_name
from freshet.workers.processes.kafka.broker import LocalKafka
from tests.integration.served_world import (
    CATEGORIES,
    CLUSTER,
    NOW,
    World,
    article,
    articles,
    categories_of,
    ids_of,
    served,
)
from tests.integration.stream_harness import (
    BUNDLE,
    START_S,
    committed,
    events_on,
    keyed,
    read_all,
    send,
    settings_for,
)

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def world(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with served(settings_for(kafka, tmp_path_factory.mktemp("recommendations"))) as world:
        yield world


async def test_a_click_changes_the_next_recommendation(world: World) -> None:
    before = world.recommend("U-click", diversity=0.0)
    assert categories_of(before) == set(CATEGORIES)
    assert before.user_clicks == 0
    world.click("U-click", "P14")
    after = await world.after_clicks("U-click", 1, diversity=0.0)
    assert categories_of(after) == {"politics"}
    assert ids_of(after) != ids_of(before)
    world.click("U-click", "P13", "P12")
    assert categories_of(await world.after_clicks("U-click", 3, diversity=0.0)) == {"politics"}


async def test_what_a_user_has_clicked_is_left_out_unless_asked_for(world: World) -> None:
    world.click("U-seen", "P1", "P2")
    after = await world.after_clicks("U-seen", 2, k=100)
    assert not {"P1", "P2"} & set(ids_of(after))
    assert len(after.items) >= 2 * CLUSTER - 2
    assert {"P1", "P2"} <= set(ids_of(world.recommend("U-seen", k=100, exclude_seen=False)))


async def test_a_user_never_seen_gets_the_answer_of_the_population(world: World) -> None:
    # Statistics of earlier clicks may arrive between two requests: once all are in, the answers agree.
    async def answers() -> tuple[Recommendation, Recommendation] | None:
        one, other = (world.recommend(user, explain=True) for user in ("U-never", "U-neither"))
        return (one, other) if ids_of(one) == ids_of(other) else None

    one, _ = await world.until(answers, "two users never seen to get one answer")
    assert one.user_clicks == 0
    assert one.items
    sources = {source for item in one.items for source in item.sources}
    assert sources <= {"population", "trending", "newest"}


def test_an_answer_says_what_it_answers_and_what_made_it(world: World) -> None:
    answer = world.recommend("U-name")
    assert answer.request_id
    assert (answer.user_id, answer.time) == ("U-name", NOW)
    assert (answer.bundle, answer.ranker) == (BUNDLE, LinearRanker().id)
    assert answer.degraded is None
    assert not answer.pushed


@pytest.mark.parametrize("k", [1, 7, 200])
def test_at_most_k_articles_each_once(world: World, k: int) -> None:
    ids = ids_of(world.recommend("U-k", k=k))
    assert len(ids) == len(set(ids))
    assert len(ids) == k if k < 2 * CLUSTER else len(ids) >= 2 * CLUSTER


@pytest.mark.parametrize(
    ("filters", "allowed"),
    [
        (Filters(categories=("sport",)), {f"S{i}" for i in range(CLUSTER)}),
        (Filters(exclude_categories=("sport",)), {f"P{i}" for i in range(CLUSTER)}),
        (Filters(max_age_s=3 * 3_600.0 + 1), {"S0", "S1", "S2", "P0", "P1", "P2"}),
        (
            Filters(categories=("politics",), exclude_ids=tuple(f"P{i}" for i in range(13))),
            {"P13", "P14"},
        ),
    ],
    ids=["category", "not a category", "age", "category and ids"],
)
def test_filters_hold(world: World, filters: Filters, allowed: set[str]) -> None:
    found = {
        news_id
        for news_id in ids_of(world.recommend("U-filter", k=200, filters=filters))
        if "-" not in news_id
    }
    assert found == allowed


async def test_diversity_mixes_what_an_interest_would_not(world: World) -> None:
    world.click("U-mix", "P3", "P4", "P5")
    alike = await world.after_clicks("U-mix", 3, k=5, diversity=0.0)
    assert categories_of(alike) == {"politics"}
    assert categories_of(world.recommend("U-mix", k=5, diversity=1.0)) == set(CATEGORIES)


async def test_given_candidates_are_all_ranked_known_or_not(world: World) -> None:
    world.click("U-rank", "P6")
    await world.after_clicks("U-rank", 1)
    candidates = ["N-unknown", "S1", "P1", "S2", "P2", "N-other"]
    answer = world.recommend("U-rank", k=1, candidates=candidates, filters=Filters(categories=("sport",)))
    ids = ids_of(answer)
    assert sorted(ids) == sorted(candidates)
    assert max(ids.index("P1"), ids.index("P2")) < min(ids.index("S1"), ids.index("S2"))
    assert [item.score for item in answer.items] == sorted((i.score for i in answer.items), reverse=True)
    for item in answer.items:
        assert item.sources == ("request",)
        assert sum(item.reasons.values()) == pytest.approx(item.score, abs=1e-5)
    again = world.recommend("U-rank", candidates=candidates[::-1])
    assert ids_of(again) == ids, "the order of the candidates says nothing"


def test_a_history_in_the_request_stands_in_for_a_user_never_seen(world: World) -> None:
    answer = world.recommend("U-told", diversity=0.0, history=["P7", "P8", "P9"])
    assert answer.user_clicks == 3
    assert categories_of(answer) == {"politics"}
    assert not {"P7", "P8", "P9"} & set(ids_of(answer))
    assert world.recommend("U-told").user_clicks == 0, "it is not kept"


async def test_the_history_of_a_first_impression_seeds_the_user(world: World) -> None:
    for i in range(2):
        world.client.impression(
            "U-seed",
            ["S1", "S2"],
            time=from_unix_s(START_S - 30 + i),
            impression_id=f"I-seed{i}",
            history=["P7", "P8", "P9"],
        )
    answer = await world.after_clicks("U-seed", 3, diversity=0.0)
    assert categories_of(answer) == {"politics"}

    async def both() -> bool:
        done, published = await committed(world.settings, "impressions")
        return done == published

    await world.until(both, "the second impression")
    assert world.recommend("U-seed").user_clicks == 3, "a user once seen is not seeded again"


async def test_clicks_of_a_transactional_producer_count_and_hold_nothing_up(world: World) -> None:
    """A transaction's end takes an offset of its own, which no reader ever sees."""
    producer = AIOKafkaProducer(**client_config(world.settings), transactional_id="t-clicks")
    await producer.start()
    try:
        for i in range(2):
            event = Click(user_id="U-transaction", news_id=f"P{i}", time=from_unix_s(START_S - 60.0 + i))
            async with producer.transaction():
                topic = topic_name(world.settings, "clicks")
                await producer.send_and_wait(topic, event.to_json(), key=b"U-transaction")
    finally:
        await producer.stop()
    world.click("U-transaction", "P2")
    await world.after_clicks("U-transaction", 3)


async def test_user_vectors_and_article_stats_follow_the_events(world: World) -> None:
    vectors = {a.news_id: np.array(a.vector) for a in articles()}
    world.click("U-vector", "S3", "S3")
    world.client.impression("U-vector", ["S4", "N-shown"], ["N-shown"], time=NOW)

    async def vector() -> UserVector | None:
        events = await events_on(world.settings, "user-vectors", UserVector)
        of_user = [event for event in events if event.user_id == "U-vector"]
        return of_user[-1] if of_user and of_user[-1].clicks == 3 else None

    got = await world.until(vector, "the vector after all three clicks")
    assert isinstance(got, UserVector)
    assert got.bundle == BUNDLE
    assert [head.name for head in got.heads][-1] == "skips"
    interest, skips = np.array(got.heads[0].vector), np.array(got.heads[-1].vector)
    assert interest @ vectors["S3"] > 0.5
    assert interest @ vectors["S3"] > interest @ vectors["P3"]
    assert skips @ vectors["S4"] > skips @ vectors["P4"]
    # Two clicks on articles with a vector, a minute old at most; the third article has none.
    assert got.heads[0].weight == pytest.approx(2.0, rel=0.01)

    async def counted() -> ArticleStats | None:
        events = await events_on(world.settings, "article-stats", ArticleStats)
        stats = {event.news_id: event for event in events}
        return stats.get("N-shown")

    stats = await world.until(counted, "the statistics of what was shown")
    assert isinstance(stats, ArticleStats)
    assert [(c.clicks, c.impressions) for c in stats.counts] == [(pytest.approx(1.0),) * 2] * 4
    assert stats.time == stats.first_seen == NOW


async def test_slate_batches_may_come_twice(world: World) -> None:
    async def stats_of(news_id: str) -> ArticleStats | None:
        events = await events_on(world.settings, "article-stats", ArticleStats)
        return {event.news_id: event for event in events}.get(news_id)

    world.client.impression("U-twice", ["N-twice", "N-twice"], ["N-twice"], time=NOW)
    once = await world.until(partial(stats_of, "N-twice"), "the statistics")
    topic = f"{world.settings.topic_prefix}slate-batches"
    records = [r for r in await read_all(world.settings, topic) if b"N-twice" in r.value]
    assert SlateBatch.from_json(records[0].value).events[0].shown == ("N-twice",)
    repeated = [("slate-batches", record.key, record.value) for record in records * 2]
    # The key's partition is not the target's own: the same articles meet the same counts only there.
    await send(world.settings, repeated, partition=records[0].partition)

    async def drained() -> bool:
        done, published = await committed(world.settings, "slate-batches")
        return done == published

    await world.until(drained, "the repeated batches")
    again = await stats_of("N-twice")
    assert isinstance(once, ArticleStats)
    assert again is not None
    assert again.counts == once.counts
    assert again.counts[-1].clicks == again.counts[-1].impressions == 1.0


async def test_a_parked_click_counts_once_its_article_has_a_vector(world: World) -> None:
    # Popularity and the population move all scores while the worker reads what earlier tests sent: only the
    # difference between two users who are asked about together is the click's. Those tests clicked politics
    # mostly, so that a click on sport moves its user far.
    world.click("U-parked", "S-late")
    await world.after_clicks("U-parked", 1, candidates=["S1", "P1"])

    def towards_sport() -> float:
        other, parked = (
            _gap(world.recommend(user, candidates=["S1", "P1"])) for user in ("U-unmoved", "U-parked")
        )
        return other - parked

    async def alike() -> bool:
        return abs(towards_sport()) < 1e-3

    async def moved() -> bool:
        return towards_sport() > 0.2

    await world.until(alike, "the parked click to count for nothing yet")
    late = article("S-late", "sport", 7_200.0, seed=9)
    await send(world.settings, [keyed("article-vectors", late, late.key)])
    await world.until(moved, "the parked click to move the user")
    assert world.recommend("U-parked").user_clicks == 1


def _gap(answer: Recommendation) -> float:
    """How much the first politics article's score exceeds the first sport article's."""
    scores = {item.news_id: item.score for item in answer.items}
    return scores["P1"] - scores["S1"]


async def test_with_push_on_each_click_leads_to_a_fresh_list(world: World) -> None:
    world.client.set_push("U-push", True)
    with world.client.subscribe("U-push", timeout_s=1.0) as pushed:
        clicks = 0

        async def on() -> bool:
            # Control and clicks are two topics: the first clicks may come before the word that push is on.
            nonlocal clicks
            clicks += 1
            world.client.click("U-push", "P10", time=from_unix_s(START_S - 120.0 + clicks))
            return next(pushed, None) is not None

        async def fresh() -> Recommendation | None:
            found = next(pushed, None)
            return found if found is not None and found.user_clicks == clicks else None

        await world.until(on, "a first list")
        for news_id in ("P11", "P12"):
            clicks += 1
            world.click("U-push", news_id)
            got = await world.until(fresh, "a list that rests on the click")
            assert isinstance(got, Recommendation)
            assert got.pushed
            assert got.degraded is None
            assert got.items
            assert not {"P10", news_id} & set(ids_of(got))


async def test_a_withdrawn_article_disappears_even_if_it_is_published_again(world: World) -> None:
    gone = article("P-gone", "politics", 60.0, seed=3)
    await send(world.settings, [keyed("article-vectors", gone, gone.key)])

    async def listed() -> bool:
        return "P-gone" in ids_of(world.recommend("U-withdraw", k=200))

    async def hidden() -> bool:
        return not await listed()

    await world.until(listed, "the new article")
    world.client.withdraw("P-gone")
    await world.until(hidden, "the article to disappear")
    changed = gone.model_copy(update={"title": "changed"})
    await send(world.settings, [keyed("article-vectors", changed, gone.key)])

    async def renamed() -> bool:
        (item,) = world.recommend("U-withdraw", candidates=["P-gone"]).items
        return item.title == "changed"

    await world.until(renamed, "the changed article")
    assert not await listed()
