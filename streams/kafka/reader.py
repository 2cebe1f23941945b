"""Reads the event partitions that this worker owns, in the order of offsets, from the committed one on.

Each agent has a reader of its own, so that none waits for another's backlog. A batch is what has arrived: one
record when idle, many under load. No record waits for a batch to fill.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP

from freshet.streams.kafka.consumers import aiokafka_consumer
from freshet.streams.kafka.progress import Progress
from freshet.streams.settings import Settings

log = logging.getLogger(__name__)

_QUIET_S = 2.5
"""Time without records after which a reader asks the broker for the ends, and after as long again whether it
got there: aiokafka's consumers can hang after a broker's restart, with no sign of it."""
_POLL_MS = 200
"""Time after which a reader notices a rebalance when nothing arrives."""


class RecordBatch(NamedTuple):
    """Records that were read under one assignment of partitions."""

    generation: int
    records: list[Any]


class RecordReader:
    """Reads some topics for one agent.

    Args:
        settings: Where Kafka is.
        progress: Says which partitions may be read, and from which offset.
        topics: Their full names.
    """

    def __init__(self, settings: Settings, progress: Progress, topics: Collection[str]) -> None:
        self._settings = settings
        self._progress = progress
        self._topics = frozenset(topics)

    async def batches(self, max_records: int) -> AsyncIterator[RecordBatch]:
        """Yield what has arrived, at most ``max_records`` at a time, until cancelled.

        By the time a batch is looked at, its partitions may have been revoked; ask
        :meth:`Progress.may_handle`.
        """
        self._progress.came_back(self)
        consumer = aiokafka_consumer(self._settings, auto_offset_reset="earliest")
        await consumer.start()
        generation = -1
        read: dict[TopicPartition, int] = {}
        quiet_since_s = 0.0
        waiting: Mapping[TopicPartition, int] = {}
        try:
            while True:
                self._progress.came_back(self)
                if generation != self._progress.generation:
                    generation = self._progress.generation
                    starts = await self._progress.starts(self._topics)
                    if generation != self._progress.generation:
                        continue
                    read = {TopicPartition(*tp): offset for tp, offset in starts.items()}
                    consumer.assign(list(read))
                    for partition, offset in read.items():
                        consumer.seek(partition, offset)
                    quiet_since_s, waiting = time.monotonic(), {}
                if not read:
                    await asyncio.sleep(_POLL_MS / 1_000)
                    continue
                fetched = await consumer.getmany(timeout_ms=_POLL_MS, max_records=max_records)
                if generation == self._progress.generation:
                    await self._note_positions(consumer, read, fetched)
                if fetched:
                    quiet_since_s, waiting = time.monotonic(), {}
                    yield RecordBatch(
                        generation, [record for records in fetched.values() for record in records]
                    )
                elif time.monotonic() - quiet_since_s > _QUIET_S:
                    quiet_since_s = time.monotonic()
                    missed = [tp for tp, end in waiting.items() if await consumer.position(tp) < end]
                    if missed:
                        log.warning(
                            "records of %s have waited for %.1f s and none come: reading again from the "
                            "committed ones",
                            ", ".join(f"{tp.topic}[{tp.partition}]" for tp in missed),
                            _QUIET_S,
                        )
                        generation = -1
                    else:
                        waiting = await _ends(consumer, list(read))
        finally:
            await consumer.stop()

    async def _note_positions(
        self,
        consumer: AIOKafkaConsumer,
        read: dict[TopicPartition, int],
        fetched: Mapping[TopicPartition, Sequence[Any]],
    ) -> None:
        """Report the positions of ``consumer``, which may lie beyond its records, and update ``read``."""
        for partition, before in read.items():
            records = fetched.get(partition)
            behind = records[-1].offset + 1 if records else before
            read[partition] = await consumer.position(partition)
            if read[partition] > behind:
                self._progress.found_empty(TP(*partition), behind, read[partition])
            self._progress.found_end(partition, consumer.last_stable_offset(partition))


async def _ends(consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> Mapping[TopicPartition, int]:
    """Return the ends of the readable records; empty while the broker does not answer."""
    try:
        ends: Mapping[TopicPartition, int] = await consumer.end_offsets(partitions)
    except KafkaError as error:
        log.warning("the broker does not say whether there are records: %s", error)
        return {}
    return ends
