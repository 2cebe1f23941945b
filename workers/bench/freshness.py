"""Measures the time from a click to the next request's vector, and from an article to its recommendation.

**Click**: a click is published; once Kafka has acknowledged it, its user asks, again and again, until an
answer rests on the click. Counted from when the click was sent to when that answer came; the floor is what
Kafka itself takes to pass a record through. **Article**: articles are published at a constant rate to a real
embedding worker; once an article's vector is on its topic, requests for its category ask for it until the
answer contains it. Counted from when the article was due to that answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer

from freshet.models.datasets.synthetic.world import SynthConfig, build_world
from freshet.models.events.events import Article, Click, Filters, RecommendationRequest, parse_vector_key
from freshet.streams.kafka.connection import client_config, topic_name
from freshet.streams.kafka.topics import ARTICLE_VECTORS, ARTICLES, CLICKS, RANKER_WEIGHTS
from freshet.streams.settings import Settings
from freshet.workers.bench.client import ANSWER_TIMEOUT_S, bench_client, request_id
from freshet.workers.bench.events import article_id, user_id
from freshet.workers.bench.ground import BenchGround
from freshet.workers.bench.latency import prepare, wait_until_answered
from freshet.workers.bench.report import BenchReport, Figure, Machine, percentile_ms
from freshet.workers.bench.throughput import drained
from freshet.workers.processes.worker_process import embedding_worker, stream_worker
from freshet.workers.replay.connections import connect

TARGET_CLICK_P99_MS = 1_000.0
TARGET_ARTICLE_P99_MS = 2_000.0

SECONDS = 30.0

_USERS = 1_000
_CLICKS_PER_S = 20.0
_ARTICLE_DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class _Clicks:
    times_s: list[float] = field(default_factory=list)
    """Click sent to answer received."""
    floor_s: list[float] = field(default_factory=list)
    """Record sent to record read."""
    requests: list[int] = field(default_factory=list)
    """Number of requests until the click had an effect, for each click."""


@dataclass(frozen=True, slots=True)
class _Articles:
    times_s: list[float] = field(default_factory=list)
    """Article due to answer received."""
    vector_s: list[float] = field(default_factory=list)
    """Article due to vector read from its topic."""


def run(
    ground: BenchGround,
    seconds: float = SECONDS,
    articles_per_s: float = 20.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BenchReport:
    """Click for ``seconds``, then publish articles for as long.

    Args:
        ground: Where.
        seconds: Each.
        articles_per_s: Published.
        progress: Told how many clicks and articles are done, and of how many.

    Raises:
        WorkerError: A process ended.
        TimeoutError: Something was never answered.
    """
    machine = Machine.here()
    settings = ground.settings("freshness")
    # Without vectors: the worker serves the bundle that it meets first, to be the embedding worker's.
    asyncio.run(prepare(settings, _USERS, articles=0))
    total = round(seconds * _CLICKS_PER_S) + round(seconds * articles_per_s)
    with stream_worker(settings) as worker:
        asyncio.run(drained(settings, worker, 5 * _USERS))
        clicks = asyncio.run(_clicked(settings, seconds, lambda done: progress(done, total)))
        worker.check()
        with embedding_worker(settings) as embedding:
            published = asyncio.run(
                _published(
                    settings,
                    seconds,
                    articles_per_s,
                    lambda done: progress(len(clicks.times_s) + done, total),
                )
            )
            embedding.check()
        worker.check()
    return _report(clicks, published, machine, {"seconds": seconds, "articles_per_s": articles_per_s})


async def _clicked(settings: Settings, seconds: float, progress: Callable[[int], None]) -> _Clicks:
    measured = _Clicks()
    loop = asyncio.get_running_loop()
    async with bench_client(settings) as client, _round_trips(settings) as round_trip:
        await wait_until_answered(client, user_id(0))
        await round_trip()
        started_s = loop.time()
        for number in range(round(seconds * _CLICKS_PER_S)):
            await asyncio.sleep(max(0.0, started_s + number / _CLICKS_PER_S - loop.time()))
            user = user_id(number % _USERS)
            known: int = (await client.ask(_question(user))).value["user_clicks"]
            click = Click(user_id=user, news_id=article_id(number), time=datetime.now(UTC))
            clicked_s = loop.time()
            await client.publish(CLICKS, user, click.to_json())
            for asked in range(1, 10_000):
                answer = await client.ask(_question(user))
                if answer.value["user_clicks"] > known:
                    measured.times_s.append(answer.received_s - clicked_s)
                    measured.requests.append(asked)
                    break
            measured.floor_s.append(await round_trip())
            progress(number + 1)
    return measured


async def _published(
    settings: Settings, seconds: float, per_s: float, progress: Callable[[int], None]
) -> _Articles:
    measured = _Articles()
    loop = asyncio.get_running_loop()
    count = round(seconds * per_s)
    warm_up = 16
    world = build_world(
        SynthConfig(users=20, articles=max(100, count + warm_up), impressions=1), lambda share: None
    )
    texts = list(zip(world.articles.titles, world.articles.abstracts, strict=True))
    vector_seen: dict[str, asyncio.Event] = {}

    async def one(number: int, due_s: float) -> tuple[float, float]:
        news_id = f"F{number}"
        title, abstract = texts[number]
        seen = vector_seen[news_id] = asyncio.Event()
        article = Article(
            news_id=news_id,
            published_at=datetime.now(UTC),
            title=title,
            abstract=abstract,
            category=f"fresh-{number}",
            language="en",
        )
        await client.publish(ARTICLES, news_id, article.to_json())
        await seen.wait()
        vector_s = loop.time() - due_s
        while True:
            answer = await client.ask(_question(user_id(number % _USERS), category=article.category))
            if any(item["news_id"] == news_id for item in answer.value["items"]):
                return vector_s, answer.received_s - due_s

    async def follow() -> None:
        async with (
            connect(settings) as connections,
            connections.reader(ARTICLE_VECTORS, at_end=True) as consumer,
        ):
            following.set()
            while True:
                for batch in (await consumer.getmany(timeout_ms=1_000)).values():
                    for record in batch:
                        vector_seen[parse_vector_key(record.key)[1]].set()

    following = asyncio.Event()
    async with bench_client(settings) as client:
        follower = asyncio.create_task(follow())
        await following.wait()
        async with asyncio.timeout(_ARTICLE_DEADLINE_S):  # until the worker has loaded its model
            await asyncio.gather(*(one(number, loop.time()) for number in range(warm_up)))
        started_s = loop.time()
        tasks = []
        for number in range(count):
            due_s = started_s + number / per_s
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            tasks.append(asyncio.create_task(one(warm_up + number, due_s)))
            progress(number + 1)
        async with asyncio.timeout(_ARTICLE_DEADLINE_S):
            for vector_s, answered_s in await asyncio.gather(*tasks):
                measured.vector_s.append(vector_s)
                measured.times_s.append(answered_s)
        follower.cancel()
    return measured


@asynccontextmanager
async def _round_trips(settings: Settings) -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """A function that passes a record through Kafka and gives the seconds from sending it to reading it."""
    loop = asyncio.get_running_loop()
    producer = AIOKafkaProducer(**client_config(settings), linger_ms=0)
    await producer.start()
    try:
        # Among this run's own topics the one that no worker of it reads.
        topic = topic_name(settings, RANKER_WEIGHTS.name)
        async with (
            connect(settings) as connections,
            connections.reader(RANKER_WEIGHTS, at_end=True) as consumer,
        ):

            async def round_trip() -> float:
                sent_s = loop.time()
                await producer.send(topic, b"round trip", key=b"bench")
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await consumer.getone()
                return loop.time() - sent_s

            yield round_trip
    finally:
        await producer.stop()


def _question(user: str, category: str | None = None) -> RecommendationRequest:
    filters = Filters() if category is None else Filters(categories=(category,))
    return RecommendationRequest(
        request_id=request_id(), user_id=user, time=datetime.now(UTC), filters=filters
    )


def _report(clicks: _Clicks, articles: _Articles, machine: Machine, sizes: dict[str, float]) -> BenchReport:
    click_p99, article_p99 = percentile_ms(clicks.times_s, 99), percentile_ms(articles.times_s, 99)
    floor_what = "a record through Kafka"
    floor_p50, floor_p99 = percentile_ms(clicks.floor_s, 50), percentile_ms(clicks.floor_s, 99)
    what_click, what_article = "click to the next request's vector", "article to its recommendation"
    figures = [
        Figure(f"{what_click}, p50", percentile_ms(clicks.times_s, 50), "ms", floor_p50, floor_what),
        Figure(
            f"{what_click}, p99",
            click_p99,
            "ms",
            floor_p99,
            floor_what,
            f"< {TARGET_CLICK_P99_MS:,.0f} ms",
            click_p99 < TARGET_CLICK_P99_MS,
        ),
        Figure(f"{what_article}, p50", percentile_ms(articles.times_s, 50), "ms", floor_p50, floor_what),
        Figure(
            f"{what_article}, p99",
            article_p99,
            "ms",
            floor_p99,
            floor_what,
            f"< {TARGET_ARTICLE_P99_MS:,.0f} ms",
            article_p99 < TARGET_ARTICLE_P99_MS,
        ),
    ]
    first = sum(asked == 1 for asked in clicks.requests) / max(1, len(clicks.requests))
    details = {
        "clicks": len(clicks.times_s),
        "used_by_the_first_request_share": first,
        "articles": len(articles.times_s),
        "article_to_vector_p50_ms": percentile_ms(articles.vector_s, 50),
        "article_to_vector_p99_ms": percentile_ms(articles.vector_s, 99),
    }
    return BenchReport("freshness", figures, machine, sizes | details)
