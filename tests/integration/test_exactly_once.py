"""A worker killed with SIGKILL and restarted ends with exactly what its events say, each counted once.

Some are published twice, and one user clicks and is shown an article far more often than counts.
"""

from __future__ import annotations

import shutil
import signal
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.counts import ArticleCounts
from freshet.models.events.events import (
    Click,
    Impression,
    Recommendation,
    RecommendationRequest,
    from_unix_s,
    to_unix_s,
)
from freshet.models.users.state import UserState
from freshet.models.users.user_share import MAX_CLICKS_AN_HOUR, mark_of
from freshet.streams.kafka.connection import client_config, topic_name
from freshet.streams.kafka.forwarding import is_forwarded, origin_of
from freshet.streams.kafka.outbox import partition_of
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from freshet.streams.state.serving import pooling
from tests.integration.stream_harness import (
    BUNDLE,
    START_S,
    StreamProcess,
    committed,
    end_offsets,
    keyed,
    read_all,
    send,
    stream_process,
    vectors,
    wait_for,
    wait_until_drained,
)

pytestmark = pytest.mark.broker

_ARTICLES = 60
_USERS = 80
_IMPRESSIONS = 3_000
_END_S = START_S + _IMPRESSIONS * 7.0
_TWICE = 10
"""Every so many events, one is published a second time."""
_OBSESSED = "U-obsessed"
_OBSESSED_EVERY = 5
"""Their impressions among those of the others: 100 an hour, each with a click on the same article."""


def _events(seed: int = 1) -> list[Impression | Click]:
    """Impressions with clicks and histories for half of the users, clicks on their own for the others.

    A history seeds a user never seen, and which of two topics shows a user first is a matter of chance: so
    users with a history have no events on the other topic.
    """
    random = np.random.default_rng(seed)
    events: list[Impression | Click] = []
    for i in range(_IMPRESSIONS):
        user = int(random.integers(_USERS))
        whole = user % 2 == 0
        slate = tuple(f"N{j}" for j in random.choice(_ARTICLES + 5, size=8, replace=False))
        time = from_unix_s(START_S + i * 7.0)
        impression = Impression(
            impression_id=f"I{i}",
            user_id=f"U{user}",
            time=time,
            candidates=slate,
            clicked=slate[:1] if whole and i % 3 else (),
            history=tuple(f"N{j}" for j in random.integers(_ARTICLES, size=4)) if whole else (),
        )
        events.append(impression)
        if not whole:
            click = Click(user_id=f"U{user}", news_id=slate[3], time=time, impression_id=f"I{i}")
            events.append(click)
        if i % _OBSESSED_EVERY == 0:
            again = impression.model_copy(
                update={"user_id": _OBSESSED, "candidates": ("N0", *slate), "clicked": ("N0",), "history": ()}
            )
            events.append(again)
        if i % _TWICE == 0:
            events.append(events[-1])
    return events


def _crc32_partition_of(user_id: str, partitions: int) -> int:
    """Where librdkafka puts a key if it is not told otherwise."""
    return zlib.crc32(user_id.encode()) % partitions


def _expected(
    settings: Settings, lies_on: Callable[[str, int], int] = partition_of
) -> tuple[dict[str, UserState], dict[str, ArticleCounts]]:
    """What the events say, applied one by one without a stream; ``lies_on`` is how they were partitioned."""
    catalog = ArticleCatalog(settings.dimension)
    for article in vectors(settings, _ARTICLES):
        catalog.put_article(article.news_id, article.vector, to_unix_s(article.published_at))
    pool = replace(pooling(settings), bundle=BUNDLE)
    users: dict[str, UserState] = {}
    counts: dict[str, ArticleCounts] = {}
    offsets: Counter[tuple[str, int]] = Counter()
    for event in _events():
        topic = "impressions" if isinstance(event, Impression) else "clicks"
        partition = lies_on(event.user_id, settings.partitions)
        source = (topic, partition, offsets[topic, partition])
        offsets[topic, partition] += 1
        time_s, mark = to_unix_s(event.time), mark_of(event)
        state = users.setdefault(event.user_id, UserState.empty(pool))
        if isinstance(event, Impression):
            shown, clicked, slate = event.candidates, event.clicked, len(set(event.candidates))
        else:
            shown, clicked, slate = (), (event.news_id,), 0
        counted = state.counted(source, time_s, shown, clicked, mark)
        for news_id in {*counted.shown, *counted.clicked}:
            happened = int(news_id in counted.shown), int(news_id in counted.clicked)
            counts.setdefault(news_id, ArticleCounts()).apply(source, time_s, *happened, slate)
        for news_id in counted.left_out:
            counts[news_id].pass_over(source)
        if isinstance(event, Impression):
            state.apply_impression(source, time_s, shown, clicked, catalog, history=event.history, mark=mark)
        else:
            state.apply_click(source, time_s, event.news_id, catalog, impression_known=True, mark=mark)
    return users, counts


async def _run(settings: Settings, data_dir: Path, kills: int, keep_store: bool) -> None:
    """Let a worker handle the events, and kill it ``kills`` times on the way."""
    # Small batches, so that a kill falls between many writes.
    environment = {"FRESHET_BATCH_EVENTS": "20"}
    ensure_topics(settings)
    # Known from the start: when an article becomes known is a matter of time.
    await send(settings, [keyed("article-vectors", v, v.key) for v in vectors(settings, _ARTICLES)])
    with stream_process(settings, data_dir, **environment) as first:
        worker = first
        await send(
            settings,
            [
                keyed("impressions" if isinstance(event, Impression) else "clicks", event, event.user_id)
                for event in _events()
            ],
        )
        try:
            for _ in range(kills):
                await _wait_for_progress(settings, worker, 1_000)
                worker.kill()
                if not keep_store:
                    shutil.rmtree(data_dir / "tables")
                worker = StreamProcess(settings, data_dir, **environment)
            await wait_until_drained(settings, [worker], ["impressions", "clicks", "slate-batches"])
        finally:
            assert worker.stop() == 0, "a worker that is told to stop ends without an error"


async def _wait_for_progress(settings: Settings, worker: StreamProcess, records: int) -> None:
    """Wait until the worker has published ``records`` more user vectors: it is then in mid-stream."""
    async with end_offsets(settings, "user-vectors") as published:
        start = await published()

        async def far_enough() -> bool:
            return await published() >= start + records

        await wait_for(far_enough, f"{records} more user vectors", [worker])
        # Else it goes on, on a busy machine to the end, while the group is asked.
        worker.process.send_signal(signal.SIGSTOP)
        done, total = await committed(settings, "impressions")
        assert done < total, "the worker is in mid-stream when it is killed"


async def _table(settings: Settings, table: str) -> dict[str, bytes]:
    changelog = f"{settings.topic_prefix}stream-{table}-changelog"
    records = await read_all(settings, changelog)
    for record in records:
        assert record.partition == partition_of(record.key.decode(), settings.partitions)
    return {record.key.decode(): record.value for record in records}


def _assert_users(settings: Settings, stored: dict[str, bytes], expected: dict[str, UserState]) -> None:
    assert stored.keys() == expected.keys()
    population = np.zeros(settings.dimension, np.float32)
    for user_id, b in expected.items():
        a = UserState.from_bytes(stored[user_id], b.pooling)
        assert a.offsets == b.offsets, user_id
        assert a.clicks == b.clicks, user_id
        assert a.recent_clicks() == b.recent_clicks(), user_id
        assert a.exposures == b.exposures, user_id
        # Impressions and clicks are two topics: their order, and so the rounding of a sum, may differ.
        np.testing.assert_allclose(a.weights(_END_S), b.weights(_END_S), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            a.vectors(_END_S, population), b.vectors(_END_S, population), rtol=1e-4, atol=1e-5
        )


def _assert_counts(
    stored: dict[str, bytes], expected: dict[str, ArticleCounts], *, of_copies: bool = False
) -> None:
    assert stored.keys() == expected.keys()
    for news_id, b in expected.items():
        a = ArticleCounts.from_bytes(stored[news_id])
        # Counts know a copy by its own offset, which is a matter of chance.
        assert of_copies or a.offsets == b.offsets, news_id
        np.testing.assert_allclose(_flat(a), _flat(b), rtol=1e-9)


def _flat(counts: ArticleCounts) -> list[float]:
    clicks, impressions = counts.at(_END_S)
    times = [counts.time_s, counts.first_seen_s, counts.clicked_at_s]
    return [*times, *clicks, *impressions, *counts.expected_at(_END_S)]


@pytest.mark.parametrize(
    ("kills", "keep_store"),
    [(0, True), (2, True), (2, False)],
    ids=["undisturbed", "killed, with its store", "killed, with an empty store"],
)
async def test_a_worker_ends_with_what_its_events_say(
    settings: Settings, tmp_path: Path, kills: int, keep_store: bool
) -> None:
    await _run(settings, tmp_path / "worker", kills, keep_store)
    users, counts = _expected(settings)
    impressions = sum(isinstance(event, Impression) for event in _events())
    assert (await committed(settings, "impressions"))[0] == impressions
    _assert_users(settings, await _table(settings, "user-state"), users)
    _assert_counts(await _table(settings, "article-counts"), counts)
    hours = _IMPRESSIONS * 7.0 / 3_600
    clicks_of_all = sum("N0" in event.clicked for event in _events() if isinstance(event, Impression))
    assert counts["N0"].at(_END_S)[0][-1] < clicks_of_all / 2
    assert users[_OBSESSED].clicks > 10 * hours * MAX_CLICKS_AN_HOUR, "what counts is a small part of it"


async def test_events_on_other_partitions_than_their_users_count_once_where_the_user_is(
    settings: Settings, tmp_path: Path
) -> None:
    """All published by CRC32, as librdkafka does; the worker is killed between forwarding and committing."""
    data_dir, environment = tmp_path / "worker", {"FRESHET_BATCH_EVENTS": "20"}
    ensure_topics(settings)
    await send(settings, [keyed("article-vectors", v, v.key) for v in vectors(settings, _ARTICLES)])
    events = _events()
    # Before the worker starts, so that no copy lies between them and their offsets are known.
    for partition in range(settings.partitions):
        await send(
            settings,
            [
                keyed("impressions" if isinstance(event, Impression) else "clicks", event, event.user_id)
                for event in events
                if _crc32_partition_of(event.user_id, settings.partitions) == partition
            ],
            partition,
        )
    with stream_process(settings, data_dir, **environment) as first:
        worker = first
        try:
            while not await _is_forwarded_and_not_committed(settings):
                async with end_offsets(settings, "impressions") as published:
                    before = await published()

                    async def more(before: int = before) -> bool:
                        return await published() > before

                    await wait_for(more, "an impression to be forwarded", [worker])
                    worker.kill()
                worker = StreamProcess(settings, data_dir, **environment)
            await wait_until_drained(settings, [worker], ["impressions", "clicks", "slate-batches"])
            answer = await _ask_on_the_wrong_partition(settings, worker, "U7")
        finally:
            assert worker.stop() == 0
    users, counts = _expected(settings, _crc32_partition_of)
    _assert_users(settings, await _table(settings, "user-state"), users)
    _assert_counts(await _table(settings, "article-counts"), counts, of_copies=True)
    assert answer.user_clicks == users["U7"].clicks > 0
    origins = [origin_of(record) for record in await _copies(settings)]
    assert len(origins) > len(set(origins)), "the kill had some forwarded twice"
    assert not await read_all(settings, f"{settings.topic_prefix}dead-letters")


async def _copies(settings: Settings) -> list[Any]:
    records = await read_all(settings, topic_name(settings, "impressions"))
    return [record for record in records if is_forwarded(record)]


async def _is_forwarded_and_not_committed(settings: Settings) -> bool:
    """Whether a killed worker had forwarded an impression that its group will read again."""
    name = topic_name(settings, "impressions")
    consumer = AIOKafkaConsumer(
        **client_config(settings), group_id=f"{settings.topic_prefix}stream", enable_auto_commit=False
    )
    await consumer.start()
    try:
        done = [await consumer.committed(TopicPartition(name, p)) or 0 for p in range(settings.partitions)]
    finally:
        await consumer.stop()
    origins = [origin_of(copy) for copy in await _copies(settings)]
    return any(origin is not None and origin[1] >= done[origin[0]] for origin in origins)


async def _ask_on_the_wrong_partition(
    settings: Settings, worker: StreamProcess, user_id: str
) -> Recommendation:
    wrong = (partition_of(user_id, settings.partitions) + 1) % settings.partitions
    request = RecommendationRequest(request_id="R1", user_id=user_id, time=from_unix_s(_END_S), k=3)
    await send(settings, [keyed("recommendation-requests", request, user_id)], wrong)

    async def answers() -> list[Recommendation]:
        records = await read_all(settings, f"{settings.topic_prefix}recommendations")
        return [Recommendation.from_json(record.value) for record in records]

    (answer,) = await wait_for(answers, "the answer", [worker])
    return answer
