"""Sends the effects of one step together, one record batch for each partition, and waits for delivery.

Handing aiokafka ready-made batches costs a few microseconds a record, where its ``send`` costs tens; a step
of the user agent writes two records for every user it touched, so this is what bounds its throughput.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2
from aiokafka.structs import RecordMetadata

from freshet.streams.kafka.connection import MAX_REQUEST_BYTES, client_config
from freshet.streams.kafka.headers import NO_HEADERS, Headers
from freshet.streams.settings import Settings

Record = tuple[bytes | None, bytes | None, Headers, int | None]
"""Key, value, headers and timestamp."""


@lru_cache(maxsize=1 << 20)
def partition_of(key: str, partitions: int) -> int:
    """The partition that every Kafka client's default partitioner (murmur2) gives to ``key``."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)


class Outbox:
    """Collects records for known partitions and delivers them in the order added.

    Each task needs an outbox of its own: a record that another task's flush took away would be acknowledged
    before it is delivered.

    Args:
        settings: Where Kafka is.
        allow: Awaited before records are sent; an exception from it drops them.
    """

    def __init__(self, settings: Settings, allow: Callable[[], Awaitable[None]] | None = None) -> None:
        self._settings = settings
        self._allow = allow
        self._producer: AIOKafkaProducer | None = None
        self._records: defaultdict[tuple[str, int], list[Record]] = defaultdict(list)

    async def start(self) -> None:
        """Connect. Idempotent producing keeps order and uniqueness over retries."""
        producer = AIOKafkaProducer(
            **client_config(self._settings),
            acks="all",
            enable_idempotence=True,
            max_request_size=MAX_REQUEST_BYTES,
            max_batch_size=MAX_REQUEST_BYTES,
            linger_ms=0,
        )
        await producer.start()
        self._producer = producer

    async def stop(self) -> None:
        """Send the records under way and disconnect."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    def add_record(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = NO_HEADERS,
        *,
        timestamp_ms: int | None = None,
    ) -> None:
        """Put one record into the next flush, by default as of now; a ``value`` of ``None`` deletes."""
        self._records[topic, partition].append((key, value, headers, timestamp_ms))

    async def partitions(self, topic: str) -> int:
        """Number of partitions of ``topic``."""
        return len(await self._running.partitions_for(topic))

    async def flush(self) -> dict[tuple[str, int], int]:
        """Deliver everything added since the last flush.

        Returns:
            For each (topic, partition) the offset of the last record written.

        Raises:
            PartitionsLost: ``allow`` forbids it; nothing was sent.
            KafkaError: A batch could not be delivered, after the producer's own retries.
            ValueError: A record is larger than a request may be.
        """
        records, self._records = self._records, defaultdict(list)
        if records and self._allow is not None:
            await self._allow()
        sent: list[tuple[tuple[str, int], int, asyncio.Future[RecordMetadata]]] = []
        for (topic, partition), items in records.items():
            batch: Any = self._running.create_batch()
            size = 0
            for key, value, headers, timestamp in items:
                if batch.append(key=key, value=value, timestamp=timestamp, headers=list(headers)) is None:
                    future = await self._running.send_batch(batch, topic, partition=partition)
                    sent.append(((topic, partition), size, future))
                    batch, size = self._running.create_batch(), 0
                    # An empty batch takes any record.
                    batch.append(key=key, value=value, timestamp=timestamp, headers=list(headers))
                if not size and batch.size() > MAX_REQUEST_BYTES:
                    raise ValueError(
                        f"a record for {topic}[{partition}], with a key of {len(key or b'')} and a value of "
                        f"{len(value or b'')} bytes, is larger than the {MAX_REQUEST_BYTES} bytes a request "
                        "may hold"
                    )
                size += 1
            sent.append(
                ((topic, partition), size, await self._running.send_batch(batch, topic, partition=partition))
            )
        last: dict[tuple[str, int], int] = {}
        for target, size, future in sent:
            metadata = await future
            last[target] = metadata.offset + size - 1
        return last

    @property
    def _running(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise RuntimeError("the outbox is used before start() or after stop()")
        return self._producer
