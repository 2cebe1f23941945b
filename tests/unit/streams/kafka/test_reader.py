"""A reader begins anew when records wait and do not come, and not when one has only just arrived."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from faust.types import TP

from freshet.streams.kafka import reader as record_reader
from freshet.streams.kafka.progress import Progress
from freshet.streams.kafka.reader import RecordReader
from freshet.streams.settings import Settings
from tests.waiting import HANG_S

CLICKS_0 = TopicPartition("clicks", 0)
RECORD = SimpleNamespace(topic="clicks", partition=0, offset=0)


class Consumer:
    """A consumer to which a record comes after some looks at the end, or never."""

    def __init__(self, comes_after_looks: int) -> None:
        self.comes_after_looks = comes_after_looks
        self.looks = 0
        self.seeks = 0
        self.at = 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def assign(self, partitions: Collection[TopicPartition]) -> None: ...

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.seeks += 1

    async def getmany(self, **_: Any) -> Mapping[TopicPartition, list[Any]]:
        await asyncio.sleep(0.001)
        # Whoever reads again from the committed offset gets what waits.
        if self.at or (self.looks < self.comes_after_looks and self.seeks == 1):
            return {}
        self.at = 1
        return {CLICKS_0: [RECORD]}

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        self.looks += 1
        return dict.fromkeys(partitions, 1)

    async def position(self, partition: TopicPartition) -> int:
        return self.at

    def last_stable_offset(self, partition: TopicPartition) -> int:
        return 1


class Standing:
    """What a reader sees of :class:`Progress`: one partition, from its beginning."""

    generation = 0

    async def starts(self, names: Collection[str]) -> Mapping[TP, int]:
        return {TP(*CLICKS_0): 0}

    def came_back(self, reader: RecordReader) -> None: ...

    def found_end(self, tp: TP, end: int | None) -> None: ...

    def found_empty(self, tp: TP, start: int, end: int) -> None: ...


async def read_one(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_reader, "_QUIET_S", 0.01)
    monkeypatch.setattr(record_reader, "aiokafka_consumer", lambda *_, **__: consumer)
    reader = RecordReader(Settings(), cast(Progress, Standing()), ["clicks"])
    async with asyncio.timeout(HANG_S):
        async for batch in reader.batches(10):
            assert batch.records == [RECORD]
            return


async def test_a_record_that_arrives_while_the_end_is_asked_for_is_no_stall(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = Consumer(comes_after_looks=1)
    with caplog.at_level(logging.WARNING):
        await read_one(consumer, monkeypatch)
    assert consumer.looks == 1
    assert consumer.seeks == 1
    assert not caplog.records


async def test_records_that_wait_and_do_not_come_are_read_anew_and_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = Consumer(comes_after_looks=1_000)
    with caplog.at_level(logging.WARNING):
        await read_one(consumer, monkeypatch)
    assert consumer.seeks == 2
    assert "records of clicks[0] have waited" in caplog.text
