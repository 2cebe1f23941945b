"""Keeps a copy of compacted topics in step: reads them to their end, then follows them.

There is no consumer group and nothing is committed: each process reads the whole of the topics, from the
beginning, in the order of each partition's offsets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from freshet.streams.kafka.consumers import aiokafka_consumer
from freshet.streams.settings import Settings

_POLL_MS = 200
_MAX_RECORDS = 2_000
_CATCH_UP_S = 30.0
_LOOK_S = 1.0
"""Interval between two updates of :attr:`CompactedTopics.read`."""


class CompactedTopics:
    """A K-table's source: gives every record to ``apply``, and every poll's end to ``settle``.

    Args:
        settings: Where Kafka is, and the number of partitions.
        topics: Full names.
        apply: Applies one record.
        settle: Completes the records of a poll, such as by flushing; also called after an empty poll.
        reports_catching_up: Update :attr:`read` while catching up too, so that a hanging reader is noticed;
            not for topics whose ``settle`` may take long.
    """

    def __init__(
        self,
        settings: Settings,
        topics: Iterable[str],
        apply: Callable[[Any], None],
        settle: Callable[[], Awaitable[object]],
        *,
        reports_catching_up: bool = False,
    ) -> None:
        self._settings = settings
        self._partitions = [
            TopicPartition(topic, partition) for topic in topics for partition in range(settings.partitions)
        ]
        self._apply = apply
        self._settle = settle
        self._reports_catching_up = reports_catching_up
        self._consumer: AIOKafkaConsumer | None = None
        self._next_look_s = 0.0
        self._looked = asyncio.Event()
        self.complete = False
        """True once all records that were there at the start have been applied."""
        self.caught_up = asyncio.Event()
        """Set once :attr:`complete`, after that poll's ``settle``."""
        self.read: dict[TopicPartition, int] = {}
        """First offset not yet applied of each partition; empty until it is reported."""

    async def run(self) -> None:
        """Read and follow until cancelled.

        Raises:
            KafkaError: The broker cannot be reached at the start.
        """
        consumer = aiokafka_consumer(self._settings, auto_offset_reset="earliest")
        try:
            await consumer.start()
            consumer.assign(self._partitions)
            await consumer.seek_to_beginning(*self._partitions)
            self._consumer = consumer
            await self._follow(consumer)
        finally:
            self._consumer = None
            await consumer.stop()

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        missing = dict(await consumer.end_offsets(self._partitions))
        while True:
            batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)
            for records in batches.values():
                for record in records:
                    self._apply(record)
            for partition in list(missing):
                if await consumer.position(partition) >= missing[partition]:
                    del missing[partition]
            self.complete = not missing
            await self._settle()
            due = time.monotonic() >= self._next_look_s or (self.complete and not self.caught_up.is_set())
            if due and (self.complete or self._reports_catching_up):
                self._next_look_s = time.monotonic() + _LOOK_S
                self.read = {tp: await consumer.position(tp) for tp in self._partitions}
                self._looked.set()
                if self.complete:
                    self.caught_up.set()

    async def catch_up(self) -> None:
        """Wait until every record that is on the topics now has been applied.

        Raises:
            KafkaError: The broker does not say where the topics end.
            TimeoutError: It took more than half a minute.
        """
        async with asyncio.timeout(_CATCH_UP_S):
            await self.caught_up.wait()
            assert self._consumer is not None, "it was running when it caught up"
            ends = await self._consumer.end_offsets(self._partitions)
            while any(self.read[partition] < end for partition, end in ends.items()):
                self._next_look_s = 0.0
                self._looked.clear()
                await self._looked.wait()
