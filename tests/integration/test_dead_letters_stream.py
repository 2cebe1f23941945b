"""What no agent can handle ends in ``dead-letters``, once, with its place and a reason; the rest is handled.

Every bad record stands between two good ones. A green run does not say that every malformed record is
refused, only that each kind listed here is, and that no record listed here stops a worker.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from freshet.models.events.events import (
    MAX_CANDIDATES,
    ArticleStats,
    ArticleVector,
    Click,
    Control,
    DeadLetter,
    DecayedCount,
    Filters,
    Impression,
    Recommendation,
    RecommendationRequest,
    SlateBatch,
    SlateEvent,
    UserVector,
    from_unix_s,
)
from freshet.streams.client import Freshet
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from freshet.workers.processes.kafka.broker import LocalKafka
from tests.integration.malformed_records import (
    BAD,
    CLICK,
    FOLLOWED,
    LONGEST_KEY,
    USER_TOPICS,
    VECTOR,
    Bad,
    json_of,
)
from tests.integration.stream_harness import (
    BUNDLE,
    START_S,
    Record,
    StreamProcess,
    events_on,
    keyed,
    read_all,
    send,
    settings_for,
    stream_process,
    vectors,
    wait_for,
    wait_until_drained,
)
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker

_ARTICLES = 20
_NOW = from_unix_s(START_S)
_KEPT_KEY_BYTES = 1_024


class World:
    """A worker that has been given every good and every bad record."""

    def __init__(self, settings: Settings, worker: StreamProcess) -> None:
        self.settings = settings
        self.worker = worker
        self.placed: dict[str, tuple[str, int, int]] = {}
        """Topic, partition and offset of each bad record."""
        self.letters: dict[tuple[str, int, int], list[DeadLetter]] = defaultdict(list)

    async def feed(self) -> None:
        """Publish everything and wait until it is handled."""
        # The worker that owns a partition of the statistics takes whatever it finds there, once it has
        # published some itself, for its own: so they come first.
        await self._feed(FOLLOWED)
        await self._feed((*USER_TOPICS, "slate-batches"))
        await wait_until_drained(self.settings, [self.worker], [*USER_TOPICS, "slate-batches"])

    async def _feed(self, topics: Sequence[str]) -> None:
        for topic in topics:
            bads = [bad for bad in BAD if bad.topic == topic]
            records: list[Record] = []
            for i, bad in enumerate(bads):
                records += [self.good(topic, i), (topic, bad.key, bad.value)]
            placed = await send(self.settings, [*records, self.good(topic, len(bads))])
            for bad, at in zip(bads, placed[1::2], strict=False):
                self.placed[str(bad)] = (topic, at.partition, at.offset)

        async def lettered() -> bool:
            self.letters.clear()
            for letter in await events_on(self.settings, "dead-letters", DeadLetter):
                self.letters[letter.source, letter.partition, letter.offset].append(letter)
            return set(self.placed.values()) <= self.letters.keys()

        await wait_for(lettered, "a letter for every bad record", [self.worker])

    async def statistics(self) -> dict[str, ArticleStats]:
        """The newest statistics of each article."""
        bad = {at[1:] for at in self.placed.values() if at[0] == "article-stats"}
        records = await read_all(self.settings, topic_name(self.settings, "article-stats"))
        good = [ArticleStats.from_json(r.value) for r in records if (r.partition, r.offset) not in bad]
        return {stats.news_id: stats for stats in good}

    def good(self, topic: str, i: int) -> Record:  # noqa: PLR0911 - one for each topic
        """The ``i``-th good record of a topic."""
        # Hours apart: of one user an article counts only so often in an hour.
        time_s = from_unix_s(START_S + 3_600.0 * i)
        match topic:
            case "clicks":
                return keyed(topic, Click(user_id="U1", news_id="N1", time=time_s), "U1")
            case "impressions":
                shown = ("N1", "N2")
                return keyed(
                    topic,
                    Impression(impression_id=f"I{i}", user_id="U1", time=time_s, candidates=shown),
                    "U1",
                )
            case "recommendation-requests":
                return keyed(
                    topic, RecommendationRequest(request_id=f"R{i}", user_id="U1", time=time_s), "U1"
                )
            case "slate-batches":
                event = SlateEvent(offset=10**6 + i, time_s=START_S, clicked=("N-slate",))
                return keyed(topic, SlateBatch(source="clicks", partition=3, events=(event,)), "0")
            case "control":
                return keyed(topic, Control(kind="push-on", subject=f"P{i}", time=time_s), f"push:P{i}")
            case "article-vectors":
                vector = vectors(self.settings, _ARTICLES)[i % _ARTICLES]
                return keyed(topic, vector.model_copy(update={"title": f"good {i}"}), vector.key)
            case _:
                count = DecayedCount(clicks=1.0, impressions=2.0)
                stats = ArticleStats(
                    news_id=f"M{i}", time=time_s, counts=(count,) * 4, first_seen=from_unix_s(START_S)
                )
                return keyed(topic, stats, stats.news_id)


@pytest.fixture(scope="module")
def world(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = settings_for(kafka, tmp_path_factory.mktemp("dead-letters"))
    ensure_topics(settings)
    # The only vector at first is of no use: what it calls its bundle must not decide which one is served.
    stray = json_of(VECTOR, news_id="N0", bundle="stray", vector=[1.0])
    asyncio.run(send(settings, [("article-vectors", b"stray/N0", stray)]))
    with stream_process(settings, settings.data_dir) as worker:
        world = World(settings, worker)
        asyncio.run(wait_for(partial(events_on, settings, "dead-letters", DeadLetter), "a letter", [worker]))
        asyncio.run(world.feed())
        yield world
        assert worker.stop() == 0


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[Freshet]:
    with Freshet(world.settings) as client:
        yield client


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_bad_record_becomes_one_letter_that_says_where_and_why(world: World, bad: Bad) -> None:
    letters = world.letters[world.placed[str(bad)]]
    assert len(letters) == 1
    (letter,) = letters
    assert re.search(bad.reason, letter.reason), letter.reason
    assert letter.value_bytes == len(bad.value or b"")
    kept = None if letter.value is None else b64decode(letter.value)
    assert kept == (None if bad.value is None else bad.value[: DeadLetter.MAX_DEAD_VALUE_BYTES])


async def test_good_records_beside_bad_ones_are_all_handled(world: World) -> None:
    def bads(topic: str) -> int:
        return sum(bad.topic == topic for bad in BAD)

    latest = {v.user_id: v for v in await events_on(world.settings, "user-vectors", UserVector)}
    assert latest.keys() == {"U1"}
    assert latest["U1"].clicks == bads("clicks") + 1
    answered = {a.request_id for a in await events_on(world.settings, "recommendations", Recommendation)}
    assert answered == {f"R{i}" for i in range(bads("recommendation-requests") + 1)}
    stats = await world.statistics()
    assert stats["N-slate"].counts[-1].clicks == bads("slate-batches") + 1
    assert stats["N1"].counts[-1].impressions == bads("impressions") + 1
    assert "N-never" not in stats, "nothing of a refused batch is counted"


async def test_nothing_else_became_a_letter(world: World) -> None:
    letters = [letter for at in world.letters.values() for letter in at]
    assert len(letters) == len(BAD) + 1
    assert [letter.reason for letter in letters if "1 dimensions" in letter.reason], "the stray first vector"


def test_a_first_vector_that_is_refused_does_not_decide_the_bundle(client: Freshet) -> None:
    answer = client.recommend("U-bundle", time=_NOW, timeout_s=HANG_S)
    assert answer.bundle == BUNDLE
    assert answer.items


def test_fields_that_nobody_knows_yet_are_no_fault(world: World, client: Freshet) -> None:
    value = json_of(CLICK, user_id="U-new", dwell_time_s=42.0, device={"kind": "phone"})
    asyncio.run(send(world.settings, [("clicks", b"U-new", value)]))

    async def counted() -> bool:
        return client.recommend("U-new", time=_NOW, timeout_s=HANG_S).user_clicks == 1

    asyncio.run(wait_for(counted, "the click of a newer producer", [world.worker]))


def test_the_largest_legal_impressions_are_counted(world: World, client: Freshet) -> None:
    """Ids of 128 characters of four bytes: on their way to the statistics they are grouped by article."""
    ids = tuple("\U0001f4f0" * 120 + f"{i:08d}" for i in range(MAX_CANDIDATES))
    impressions = [
        Impression(impression_id="I-huge", user_id=f"U-huge{i}", time=_NOW, candidates=ids) for i in range(12)
    ]
    asyncio.run(send(world.settings, [keyed("impressions", event, event.user_id) for event in impressions]))

    async def counted() -> bool:
        stats = await world.statistics()
        return all(news_id in stats and stats[news_id].counts[-1].impressions == 12 for news_id in ids)

    asyncio.run(wait_for(counted, "every candidate of the huge impressions", [world.worker]))
    ranked = client.recommend("U-huge0", candidates=ids, time=_NOW, timeout_s=HANG_S)
    assert {item.news_id for item in ranked.items} == set(ids)


def test_an_answer_too_large_for_a_record_goes_without_its_reasons(world: World, client: Freshet) -> None:
    ids = [f"L{i}" for i in range(MAX_CANDIDATES)]
    vector = (0.25,) * world.settings.dimension
    articles = [
        ArticleVector(news_id=i, bundle=BUNDLE, vector=vector, published_at=_NOW, title="T" * 1_000)
        for i in ids
    ]
    asyncio.run(send(world.settings, [keyed("article-vectors", a, a.key) for a in articles]))

    async def known() -> bool:
        items = client.recommend("U-long", candidates=ids[-50:], time=_NOW, timeout_s=HANG_S).items
        return all(item.title for item in items)

    asyncio.run(wait_for(known, "the articles with long titles", [world.worker]))
    ranked = client.recommend("U-long", candidates=ids, time=_NOW, timeout_s=HANG_S)
    assert {item.news_id for item in ranked.items} == set(ids)
    assert not any(item.reasons for item in ranked.items)


@pytest.mark.parametrize(
    "asked",
    [
        {"k": 200, "diversity": 1.0},
        {"filters": Filters(max_age_s=1e308)},
        {"filters": Filters(max_age_s=5e-324)},
        {"filters": Filters(categories=("no such",), languages=("xx",))},
        {"filters": Filters(exclude_ids=tuple(f"X{i}" for i in range(MAX_CANDIDATES)))},
        {"history": ["N-unknown"] * 1_000},
        {"candidates": ["N1"] * 1_000},
        {"time": from_unix_s(0.0)},
    ],
    ids=[
        "most",
        "any age",
        "no age",
        "nothing fits",
        "much excluded",
        "long history",
        "one candidate",
        "1970",
    ],
)
def test_an_odd_request_is_answered(world: World, client: Freshet, asked: dict[str, Any]) -> None:
    answer = client.recommend("U-odd", **({"time": _NOW} | asked), timeout_s=HANG_S)
    assert answer.degraded is None
    world.worker.check()


def test_letters_keep_the_start_of_a_long_key(world: World) -> None:
    long = [bad for bad in BAD if len(bad.key or b"") == LONGEST_KEY]
    for bad in long:
        (letter,) = world.letters[world.placed[str(bad)]]
        assert letter.key is not None
        assert b64decode(letter.key).startswith(b"K" * _KEPT_KEY_BYTES)
