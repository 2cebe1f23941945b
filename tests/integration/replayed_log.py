"""A folder to replay, the replay of it, and what that has put on the topics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from freshet.models.datasets.mind import behaviors_line, news_line
from freshet.models.events.events import Article, Event, Impression, from_unix_s
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.consumers import aiokafka_consumer
from freshet.streams.kafka.topics import IMPRESSIONS, Topic
from freshet.streams.settings import Settings
from freshet.workers.replay.report import ReplayOptions, ReplayReport
from freshet.workers.replay.run import replay
from tests.waiting import HANG_S

E = TypeVar("E", bound=Event)

START_S = 1_573_290_000.0
QUICK = {"wait_for_vectors": False, "answer_timeout_s": HANG_S}


def impression(number: int, users: int = 7) -> Impression:
    candidates = tuple(f"N{(number + step) % 10}" for step in range(4))
    return Impression(
        impression_id=f"I{number}",
        user_id=f"U{number * 5 % users}",
        time=from_unix_s(START_S + number),
        candidates=candidates,
        clicked=(candidates[number % 4],),
        history=("N1", "N2"),
    )


def mind_folder(path: Path, impressions: int, users: int = 7) -> Path:
    """A folder whose lines are not in the order of time."""
    path.mkdir()
    articles = [
        Article(news_id=f"N{n}", published_at=from_unix_s(0), title=f"Title {n}", category="news")
        for n in range(10)
    ]
    (path / "news.tsv").write_text("".join(map(news_line, articles)))
    numbers = sorted(range(impressions), key=lambda n: n * 7_919 % 1_009)
    (path / "behaviors.tsv").write_text("".join(behaviors_line(impression(n, users)) for n in numbers))
    return path


async def run(settings: Settings, folder: Path, **options: object) -> ReplayReport:
    return await asyncio.to_thread(replay, settings, folder, ReplayOptions(**(QUICK | options)))


@asynccontextmanager
async def reading(settings: Settings, topic: Topic) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of the whole topic from its beginning."""
    consumer = aiokafka_consumer(settings)
    await consumer.start()
    try:
        name = topic_name(settings, topic.name)
        consumer.assign([TopicPartition(name, number) for number in range(settings.partitions)])
        await consumer.seek_to_beginning()
        yield consumer
    finally:
        await consumer.stop()


async def all_of(settings: Settings, topic: Topic, event: type[E]) -> list[E]:
    """Everything on a topic, each partition in its order."""
    async with reading(settings, topic) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        events = []
        async with asyncio.timeout(HANG_S):
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    events += [event.from_json(record.value) for record in records]
        return events


async def ids(settings: Settings) -> list[str]:
    """The ids of the impressions published so far."""
    return [event.impression_id for event in await all_of(settings, IMPRESSIONS, Impression)]


async def revealed(consumer: AIOKafkaConsumer) -> int:
    """How many records its topic has by now."""
    return sum((await consumer.end_offsets(consumer.assignment())).values())
