"""The connections that a replay holds: an outbox to publish, an admin to look, consumers to read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from freshet.streams.kafka.connection import client_config, topic_name
from freshet.streams.kafka.consumers import aiokafka_consumer
from freshet.streams.kafka.outbox import Outbox
from freshet.streams.kafka.reachability import missing, unreachable
from freshet.streams.kafka.topics import TOPICS, Topic
from freshet.streams.settings import Settings
from freshet.workers.replay.report import ReplayError


@dataclass(frozen=True, slots=True)
class Connections:
    """Connected clients; all topics of the design exist."""

    settings: Settings
    outbox: Outbox
    admin: AIOKafkaAdminClient

    async def partitions(self, topic: Topic) -> list[TopicPartition]:
        """All partitions of ``topic``."""
        name = topic_name(self.settings, topic.name)
        return [TopicPartition(name, number) for number in range(await self.outbox.partitions(name))]

    @asynccontextmanager
    async def reader(self, topic: Topic, *, at_end: bool) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer of all partitions of ``topic``, outside any group, placed at their beginning or end.

        Placed means placed: from the end it reads everything that is published from now on, nothing earlier.
        """
        async with self._consumer(await self.partitions(topic)) as consumer:
            partitions = list(consumer.assignment())
            offsets = await (consumer.end_offsets if at_end else consumer.beginning_offsets)(partitions)
            for partition, offset in offsets.items():
                consumer.seek(partition, offset)
            yield consumer

    @asynccontextmanager
    async def offsets(self, topic: Topic) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer that can be asked for the offsets of ``topic`` and reads nothing."""
        async with self._consumer(await self.partitions(topic)) as consumer:
            consumer.pause(*consumer.assignment())
            yield consumer

    @asynccontextmanager
    async def _consumer(self, partitions: list[TopicPartition]) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = aiokafka_consumer(self.settings, auto_offset_reset="none")
        await consumer.start()
        try:
            consumer.assign(partitions)
            # aiokafka 0.14 raises CancelledError from stop() where its own task has not had its first turn.
            await asyncio.sleep(0)
            yield consumer
        finally:
            await consumer.stop()


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Connections]:
    """Connect, and disconnect at the end.

    Raises:
        ReplayError: No broker answers, or a topic does not exist.
    """
    outbox = Outbox(settings)
    admin = AIOKafkaAdminClient(**client_config(settings))
    try:
        try:
            await admin.start()
            existing = set(await admin.list_topics())
            await outbox.start()
        except KafkaError as error:
            raise ReplayError(unreachable(settings, error)) from error
        for topic in TOPICS:
            name = topic_name(settings, topic.name)
            if name not in existing:
                raise ReplayError(missing(settings, name))
        yield Connections(settings, outbox, admin)
    finally:
        await outbox.stop()
        await admin.close()
