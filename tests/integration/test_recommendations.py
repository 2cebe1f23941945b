"""What a user of a running worker sees: events in, recommendations out, on a real broker.

The articles lie in two clusters, one for each of two categories, so that an interest shows in every answer.
All tests share one worker, each with users of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer

from freshet.models.events import (
    Article,
    ArticleStats,
    ArticleVector,
    Click,
    Control,
    Filters,
    Recommendation,
    RecommendedArticle,
    SlateBatch,
    UserVector,
    from_unix_s,
)
from freshet.models.ranking import LinearRanker
from freshet.streams.client import Freshet
from freshet.streams.kafka import client_config, topic_name
from freshet.streams.settings import Settings
from freshet.streams.topic_admin import ensure_topics
from freshet.workers.local_kafka import LocalKafka
from tests.integration.stream_harness import (
    BUNDLE,
    START_S,
    StreamProcess,
    committed,
    events_on,
    keyed,
    read_all,
    send,
    settings_for,
    stream_process,
    wait_for,
)

pytestmark = pytest.mark.broker

_CLUSTER = 15
_CATEGORIES = ("sport", "politics")
_ANSWER_S = 30.0
_NOW = from_unix_s(START_S)


def article(news_id: str, category: str, age_s: float = 3_600.0, seed: int = 0) -> ArticleVector:
    """An article near the axis of its category."""
    vector = 0.15 * np.random.default_rng(seed).normal(size=16)
    vector[_CATEGORIES.index(category)] += 1.0
    vector /= np.linalg.norm(vector)
    return ArticleVector(
        news_id=news_id,
        bundle=BUNDLE,
        vector=tuple(vector.tolist()),
        published_at=from_unix_s(START_S - age_s),
        title=f"{category} {news_id}",
        category=category,
    )


def _articles() -> list[ArticleVector]:
    """S0.. are sport and P0.. politics; the higher the number, the older, by an hour each."""
    return [
        article(f"{category[0].upper()}{i}", category, 3_600.0 * (i + 1), seed=100 * len(category) + i)
        for category in _CATEGORIES
        for i in range(_CLUSTER)
    ]


class World:
    """A worker that knows the articles, and a client."""

    def __init__(self, settings: Settings, worker: StreamProcess, client: Freshet) -> None:
        self.settings = settings
        self.worker = worker
        self.client = client

    def recommend(self, user_id: str, k: int = 10, **asked: object) -> Recommendation:
        """What the worker answers in the time of the tests."""
        return self.client.recommend(user_id, k, **({"time": _NOW} | asked), timeout_s=_ANSWER_S)

    def click(self, user_id: str, *news_ids: str) -> None:
        """Publish clicks, a second apart and before the time of the requests."""
        for i, news_id in enumerate(news_ids):
            self.client.click(user_id, news_id, time=from_unix_s(START_S - 60.0 + i))

    async def after_clicks(self, user_id: str, clicks: int, k: int = 10, **asked: object) -> Recommendation:
        """The first answer that rests on ``clicks`` clicks."""

        async def answer() -> Recommendation | None:
            found = self.recommend(user_id, k, **asked)
            assert found.user_clicks <= clicks
            return found if found.user_clicks == clicks else None

        return await wait_for(answer, f"{clicks} clicks of {user_id}", [self.worker])

    async def until(self, probe: object, what: str) -> object:
        """Wait for the worker."""
        return await wait_for(probe, what, [self.worker])


@contextmanager
def served(settings: Settings, **environment: str) -> Iterator[World]:
    """A worker that has read the articles."""
    ensure_topics(settings)
    asyncio.run(send(settings, [keyed("article-vectors", a, a.news_id) for a in _articles()]))
    with (
        stream_process(settings, settings.data_dir, **environment) as worker,
        Freshet(settings) as client,
    ):
        world = World(settings, worker, client)
        world.recommend("U-first")
        yield world
        assert worker.stop() == 0


@pytest.fixture(scope="module")
def world(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with served(settings_for(kafka, tmp_path_factory.mktemp("recommendations"))) as world:
        yield world


def _ids(answer: Recommendation) -> list[str]:
    return [item.news_id for item in answer.items]


def _categories(answer: Recommendation) -> set[str]:
    return {item.category for item in answer.items}


async def test_a_click_changes_the_next_recommendation(world: World) -> None:
    before = world.recommend("U-click", diversity=0.0)
    assert _categories(before) == set(_CATEGORIES)
    assert before.user_clicks == 0
    world.click("U-click", "P14")
    after = await world.after_clicks("U-click", 1, diversity=0.0)
    assert _categories(after) == {"politics"}
    assert _ids(after) != _ids(before)
    world.click("U-click", "P13", "P12")
    assert _categories(await world.after_clicks("U-click", 3, diversity=0.0)) == {"politics"}


async def test_what_a_user_has_clicked_is_left_out_unless_asked_for(world: World) -> None:
    world.click("U-seen", "P1", "P2")
    after = await world.after_clicks("U-seen", 2, k=100)
    assert not {"P1", "P2"} & set(_ids(after))
    assert len(after.items) >= 2 * _CLUSTER - 2
    assert {"P1", "P2"} <= set(_ids(world.recommend("U-seen", k=100, exclude_seen=False)))


def test_a_user_never_seen_gets_the_answer_of_the_population(world: World) -> None:
    one, other = (world.recommend(user, explain=True) for user in ("U-never", "U-neither"))
    assert one.user_clicks == 0
    assert one.items
    assert _ids(one) == _ids(other)
    sources = {source for item in one.items for source in item.sources}
    assert sources <= {"population", "trending", "newest"}


def test_an_answer_says_what_it_answers_and_what_made_it(world: World) -> None:
    answer = world.recommend("U-name")
    assert answer.request_id
    assert (answer.user_id, answer.time) == ("U-name", _NOW)
    assert (answer.bundle, answer.ranker) == (BUNDLE, LinearRanker().id)
    assert answer.degraded is None
    assert not answer.pushed


@pytest.mark.parametrize("k", [1, 7, 200])
def test_at_most_k_articles_each_once(world: World, k: int) -> None:
    ids = _ids(world.recommend("U-k", k=k))
    assert len(ids) == len(set(ids))
    assert len(ids) == k if k < 2 * _CLUSTER else len(ids) >= 2 * _CLUSTER


@pytest.mark.parametrize(
    ("filters", "allowed"),
    [
        (Filters(categories=("sport",)), {f"S{i}" for i in range(_CLUSTER)}),
        (Filters(exclude_categories=("sport",)), {f"P{i}" for i in range(_CLUSTER)}),
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
        news_id for news_id in _ids(world.recommend("U-filter", k=200, filters=filters)) if "-" not in news_id
    }
    assert found == allowed


async def test_diversity_mixes_what_an_interest_would_not(world: World) -> None:
    world.click("U-mix", "P3", "P4", "P5")
    alike = await world.after_clicks("U-mix", 3, k=5, diversity=0.0)
    assert _categories(alike) == {"politics"}
    assert _categories(world.recommend("U-mix", k=5, diversity=1.0)) == set(_CATEGORIES)


async def test_given_candidates_are_all_ranked_known_or_not(world: World) -> None:
    world.click("U-rank", "P6")
    await world.after_clicks("U-rank", 1)
    candidates = ["N-unknown", "S1", "P1", "S2", "P2", "N-other"]
    answer = world.recommend("U-rank", k=1, candidates=candidates, filters=Filters(categories=("sport",)))
    ids = _ids(answer)
    assert sorted(ids) == sorted(candidates)
    assert max(ids.index("P1"), ids.index("P2")) < min(ids.index("S1"), ids.index("S2"))
    assert [item.score for item in answer.items] == sorted((i.score for i in answer.items), reverse=True)
    for item in answer.items:
        assert item.sources == ("request",)
        assert sum(item.reasons.values()) == pytest.approx(item.score, abs=1e-5)
    again = world.recommend("U-rank", candidates=candidates[::-1])
    assert _ids(again) == ids, "the order of the candidates says nothing"


def test_a_history_in_the_request_stands_in_for_a_user_never_seen(world: World) -> None:
    answer = world.recommend("U-told", diversity=0.0, history=["P7", "P8", "P9"])
    assert answer.user_clicks == 3
    assert _categories(answer) == {"politics"}
    assert not {"P7", "P8", "P9"} & set(_ids(answer))
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
    assert _categories(answer) == {"politics"}

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
    vectors = {a.news_id: np.array(a.vector) for a in _articles()}
    world.click("U-vector", "S3", "S3")
    world.client.impression("U-vector", ["S4", "N-shown"], ["N-shown"], time=_NOW)

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
    assert stats.time == stats.first_seen == _NOW


async def test_slate_batches_may_come_twice(world: World) -> None:
    async def stats_of(news_id: str) -> ArticleStats | None:
        events = await events_on(world.settings, "article-stats", ArticleStats)
        return {event.news_id: event for event in events}.get(news_id)

    world.client.impression("U-twice", ["N-twice", "N-twice"], ["N-twice"], time=_NOW)
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
    world.click("U-parked", "P-late")
    before = await world.after_clicks("U-parked", 1, candidates=["S1", "P1"])
    gap_before = _gap(before)
    late = article("P-late", "politics", 7_200.0, seed=9)
    await send(world.settings, [keyed("article-vectors", late, late.news_id)])

    async def moved() -> bool:
        return _gap(world.recommend("U-parked", candidates=["S1", "P1"])) > gap_before + 0.1

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
            world.click("U-push", "P10")
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
            assert not {"P10", news_id} & set(_ids(got))


async def test_a_withdrawn_article_disappears_even_if_it_is_published_again(world: World) -> None:
    gone = article("P-gone", "politics", 60.0, seed=3)
    await send(world.settings, [keyed("article-vectors", gone, gone.news_id)])

    async def listed() -> bool:
        return "P-gone" in _ids(world.recommend("U-withdraw", k=200))

    async def hidden() -> bool:
        return not await listed()

    await world.until(listed, "the new article")
    world.client.withdraw("P-gone")
    await world.until(hidden, "the article to disappear")
    changed = gone.model_copy(update={"title": "changed"})
    await send(world.settings, [keyed("article-vectors", changed, gone.news_id)])

    async def renamed() -> bool:
        (item,) = world.recommend("U-withdraw", candidates=["P-gone"]).items
        return item.title == "changed"

    await world.until(renamed, "the changed article")
    assert not await listed()


def test_trending_articles_survive_a_restart_and_an_update(kafka: LocalKafka, tmp_path: Path) -> None:
    settings = settings_for(kafka, tmp_path)

    def found(world: World) -> RecommendedArticle:
        return {item.news_id: item for item in world.recommend("U-any", k=200).items}["S5"]

    async def trending(world: World) -> bool:
        return "trending" in found(world).sources

    with served(settings) as world:
        world.click("U-fan", "S5")
        asyncio.run(world.until(partial(trending, world), "the clicked article to trend"))
    with served(settings) as world:
        assert asyncio.run(trending(world)), "known as soon as the worker answers"
        changed = article("S5", "sport", seed=77).model_copy(update={"title": "changed"})
        asyncio.run(send(settings, [keyed("article-vectors", changed, "S5")]))

        async def renamed() -> bool:
            return found(world).title == "changed" and await trending(world)

        asyncio.run(world.until(renamed, "the update"))


def test_without_an_index_answers_come_and_say_so(kafka: LocalKafka, tmp_path: Path) -> None:
    settings = settings_for(kafka, tmp_path)
    ensure_topics(settings)
    withdrawn = Control(kind="article-withdrawn", subject="S1", time=_NOW)
    asyncio.run(send(settings, [keyed("control", withdrawn, "S1")]))
    with served(settings, FRESHET_QDRANT_URL="http://127.0.0.1:9") as world:
        answer = world.recommend("U1", k=100, filters=Filters(categories=("sport",)))
        assert answer.degraded == "trending"
        assert set(_ids(answer)) == {f"S{i}" for i in range(_CLUSTER)} - {"S1"}
        ranked = world.recommend("U1", candidates=["S1", "P1", "N-unknown"])
        assert ranked.degraded is None
        assert len(ranked.items) == 3
        world.click("U1", "P1")
        assert asyncio.run(world.after_clicks("U1", 1)).degraded == "trending"
        fresh = article("S-fresh", "sport", age_s=1.0)
        asyncio.run(send(settings, [keyed("article-vectors", fresh, "S-fresh")]))

        async def listed() -> bool:
            return "S-fresh" in _ids(world.recommend("U1", k=100))

        asyncio.run(world.until(listed, "an article published while the index is down"))


@contextmanager
def _embedding_process(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    options = {
        "FRESHET_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "FRESHET_TOPIC_PREFIX": settings.topic_prefix,
        "FRESHET_PARTITIONS": str(settings.partitions),
        "FRESHET_DIMENSION": str(settings.dimension),
        "FRESHET_METRICS_PORT": "0",
    }
    with (settings.data_dir / "embed.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "freshet.workers", "embed", "--threads=1"],
            env=os.environ | options,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


async def test_an_article_is_recommendable_after_publication_until_it_is_withdrawn(
    kafka: LocalKafka, tmp_path: Path
) -> None:
    settings = settings_for(kafka, tmp_path, dimension=64)
    ensure_topics(settings)
    with (
        stream_process(settings, tmp_path) as worker,
        _embedding_process(settings) as embedding,
        Freshet(settings) as client,
    ):

        def publish(news_id: str, title: str) -> None:
            client.publish(Article(news_id=news_id, published_at=_NOW, title=title, category="news"))

        async def titles() -> dict[str, str]:
            assert embedding.poll() is None, (tmp_path / "embed.log").read_text()[-3_000:]
            answer = client.recommend("U1", k=50, time=_NOW, timeout_s=_ANSWER_S)
            return {item.news_id: item.title for item in answer.items}

        async def has(news_id: str, title: str | None) -> bool:
            return (await titles()).get(news_id) == title

        football = "The striker scores twice in the cup final"
        publish("A1", football)
        publish("A2", "Parliament votes on the new budget")
        await wait_for(partial(has, "A1", football), "the first article", [worker])
        await wait_for(partial(has, "A2", "Parliament votes on the new budget"), "the second", [worker])
        client.click("U1", "A2", time=_NOW)
        publish("A3", "The goalkeeper saves the cup for the home team")
        publish("A4", "Senators reject the finance minister's budget")
        for news_id in ("A3", "A4"):

            async def there(news_id: str = news_id) -> bool:
                return news_id in await titles()

            await wait_for(there, news_id, [worker])
        ranked = client.recommend("U1", candidates=["A3", "A4"], time=_NOW, timeout_s=_ANSWER_S)
        assert _ids(ranked) == ["A4", "A3"], "texts about one thing lie near each other"
        publish("A1", "Correction: the final was postponed")
        await wait_for(partial(has, "A1", "Correction: the final was postponed"), "the update", [worker])
        client.withdraw("A1")
        await wait_for(partial(has, "A1", None), "the article to disappear", [worker])
