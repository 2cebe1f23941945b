"""A copy of a compacted topic is complete before it is used, and says how far it has read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from freshet.streams.kafka import compacted_topic
from freshet.streams.kafka.compacted_topic import CompactedTopics
from freshet.streams.settings import Settings

_TP = TopicPartition("t.control", 0)


class Broker:
    """A consumer of one partition, which gives one record with each poll."""

    def __init__(self, end: int) -> None:
        self.end = end
        self._position = 0
        self.stopped = False

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        self.stopped = True

    def assign(self, partitions: list[TopicPartition]) -> None:
        assert partitions == [_TP]

    async def seek_to_beginning(self, *_: TopicPartition) -> None:
        self._position = 0

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self.end)

    async def position(self, _: TopicPartition) -> int:
        return self._position

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0.001)
        if self._position == self.end:
            return {}
        self._position += 1
        return {_TP: [SimpleNamespace(offset=self._position - 1)]}


class Copy:
    """What a follower keeps, and what it knew at the end of each poll."""

    def __init__(self, broker: Broker, **options: Any) -> None:
        self.applied: list[int] = []
        self.settled: list[tuple[int, bool]] = []
        settings = Settings(partitions=1, topic_prefix="t.")
        self.topics = CompactedTopics(
            settings,
            ["t.control"],
            lambda record: self.applied.append(record.offset),
            self._settle,
            **options,
        )

    async def _settle(self) -> None:
        self.settled.append((len(self.applied), self.topics.complete))


@pytest.fixture
def broker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker(end=getattr(request, "param", 3))
    monkeypatch.setattr(compacted_topic, "aiokafka_consumer", lambda *_, **__: broker)
    return broker


@pytest.fixture
async def copy(broker: Broker) -> AsyncIterator[Copy]:
    copy = Copy(broker)
    running = asyncio.create_task(copy.topics.run())
    yield copy
    running.cancel()
    await asyncio.wait([running])
    assert broker.stopped


async def test_it_is_caught_up_when_all_that_was_there_is_applied_and_settled(copy: Copy) -> None:
    assert copy.topics.read == {}
    async with asyncio.timeout(5.0):
        await copy.topics.caught_up.wait()
    assert copy.applied == [0, 1, 2]
    assert copy.settled[:3] == [(1, False), (2, False), (3, True)]
    assert copy.topics.read == {_TP: 3}


async def test_a_reader_that_hangs_while_catching_up_has_reported_where(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Copy(broker, reports_catching_up=True)
    hanging = asyncio.Event()
    get_one = broker.getmany

    async def hang(**_: Any) -> dict[TopicPartition, list[Any]]:
        if copy.applied:
            hanging.set()
            await asyncio.Event().wait()
        return await get_one()

    monkeypatch.setattr(broker, "getmany", hang)
    running = asyncio.create_task(copy.topics.run())
    async with asyncio.timeout(5.0):
        await hanging.wait()
    assert copy.topics.read == {_TP: 1}
    assert not copy.topics.caught_up.is_set()
    running.cancel()
    await asyncio.wait([running])


async def test_catching_up_waits_for_what_came_since(copy: Copy, broker: Broker) -> None:
    async with asyncio.timeout(5.0):
        await copy.topics.caught_up.wait()
        broker.end = 8
        await copy.topics.catch_up()
    assert copy.applied == list(range(8))


@pytest.mark.parametrize("broker", [0], indirect=True)
async def test_an_empty_topic_is_caught_up(copy: Copy) -> None:
    async with asyncio.timeout(5.0):
        await copy.topics.catch_up()
    assert copy.applied == []
