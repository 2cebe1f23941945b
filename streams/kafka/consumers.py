"""Makes every Kafka consumer of freshet, with either client library, so that all of them keep four rules.

- Only committed records are read: none of a transaction that was aborted, or is still open. The end of a
  partition is then its last stable offset, for :meth:`end_offsets` too.
- No batch of records stops a partition, see :mod:`freshet.streams.kafka.record_batches`.
- A consumer of aiokafka stops, whatever it is doing at the time.
- The library never commits offsets by itself; the caller does, who knows what is done.
"""

from __future__ import annotations

import asyncio
from typing import Any

import kafka.record.default_records
import kafka.record.legacy_records
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import consumer, fetcher
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch
from kafka import KafkaConsumer
from kafka.consumer.fetcher import Fetcher

from freshet.streams.kafka.connection import MAX_REQUEST_BYTES, client_config
from freshet.streams.kafka.record_batches import FetchedBatches, Library
from freshet.streams.settings import Settings

ISOLATION_LEVEL = "read_committed"
_CANCEL_AGAIN_S = 0.1

_AIOKAFKA = Library(DefaultRecordBatch, LegacyRecordBatch)
_KAFKA_PYTHON = Library(
    kafka.record.default_records.DefaultRecordBatch, kafka.record.legacy_records.LegacyRecordBatch
)


def kafka_consumer(settings: Settings, *topics: str, **options: Any) -> KafkaConsumer:
    """A consumer of kafka-python, subscribed to ``topics`` (full names) if there are any."""
    consumer = KafkaConsumer(
        *topics, **_config(settings), allow_auto_create_topics=False, metrics_enabled=False, **options
    )
    consumer._fetcher.PartitionRecords = _KafkaPythonRecords
    return consumer


def aiokafka_consumer(settings: Settings, **options: Any) -> AIOKafkaConsumer:
    """A consumer of aiokafka, not yet started."""
    mend_aiokafka()
    return AIOKafkaConsumer(**_config(settings), **options)


def mend_aiokafka() -> None:
    """Patch aiokafka, so that every consumer of this process keeps this module's rules.

    The library offers no other place for it than the names in its modules.
    """
    consumer.Fetcher = _Fetcher
    fetcher.MemoryRecords = _Bytes
    fetcher.PartitionRecords = _AiokafkaRecords


def _config(settings: Settings) -> dict[str, Any]:
    return client_config(settings) | {
        "enable_auto_commit": False,
        "isolation_level": ISOLATION_LEVEL,
        "max_partition_fetch_bytes": MAX_REQUEST_BYTES,
    }


class _KafkaPythonRecords(Fetcher.PartitionRecords):  # type: ignore[misc] # kafka-python carries no types
    def __init__(self, offset: int, tp: Any, records: Any, **options: Any) -> None:
        batches = FetchedBatches(_KAFKA_PYTHON, records._buffer, tp.topic, tp.partition, offset)
        super().__init__(offset, tp, batches, **options)


class _Bytes:
    """Bytes fetched from a partition, undecoded: only :class:`_AiokafkaRecords` knows from which."""

    def __init__(self, data: bytes | None) -> None:
        self.data = data or b""

    def has_next(self) -> bool:
        return bool(self.data)

    def size_in_bytes(self) -> int:
        return len(self.data)


class _AiokafkaRecords(fetcher.PartitionRecords):  # type: ignore[misc] # aiokafka carries no types
    def __init__(self, tp: Any, records: _Bytes, aborted: Any, offset: int, *options: Any) -> None:
        batches = FetchedBatches(_AIOKAFKA, records.data, tp.topic, tp.partition, offset)
        super().__init__(tp, batches, aborted, offset, *options)


class _Fetcher(fetcher.Fetcher):  # type: ignore[misc] # aiokafka carries no types
    async def close(self) -> None:
        # While the routine abandons the requests of revoked partitions, it takes its own cancellation for one
        # of theirs and goes on; whoever closes the consumer would wait for ever.
        while not self._fetch_task.done():
            self._fetch_task.cancel()
            await asyncio.wait({self._fetch_task}, timeout=_CANCEL_AGAIN_S)
        # A request that is cancelled before it begins, or while it waits after an error, ends as cancelled;
        # super() would take that for a cancellation of its own, and leave the consumer half closed.
        for request in self._pending_tasks:
            request.cancel()
        await asyncio.gather(*self._pending_tasks, return_exceptions=True)
        self._pending_tasks.clear()
        await super().close()
