"""Stream workers as processes of their own, and what a test sees of them from outside: only topics."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import RecordMetadata

from freshet.models.events.events import ArticleVector, Event, from_unix_s
from freshet.streams.kafka.connection import MAX_REQUEST_BYTES, client_config, topic_name
from freshet.streams.kafka.consumers import aiokafka_consumer
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from freshet.workers.processes.kafka.broker import LocalKafka
from tests.waiting import HANG_S

START_S = 1_767_000_000.0
"""When the tests' events begin, Unix seconds."""
BUNDLE = "test-bundle"

T = TypeVar("T")
Record = tuple[str, bytes | None, bytes | None]
"""Topic without prefix, key, value."""


def settings_for(kafka: LocalKafka, data_dir: Path, dimension: int = 16) -> Settings:
    """Settings with topics of their own, for the tests of one module to share."""
    return Settings(
        bootstrap_servers=kafka.bootstrap_servers,
        topic_prefix=f"t{uuid.uuid4().hex[:8]}.",
        data_dir=data_dir,
        partitions=4,
        dimension=dimension,
        metrics_port=0,
    )


class StreamProcess:
    """One ``freshet stream``, started as a user would."""

    def __init__(self, settings: Settings, data_dir: Path, **environment: str) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self.log_file = data_dir / "stream.log"
        options = {
            "FRESHET_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "FRESHET_TOPIC_PREFIX": settings.topic_prefix,
            "FRESHET_PARTITIONS": str(settings.partitions),
            "FRESHET_DIMENSION": str(settings.dimension),
            "FRESHET_DATA_DIR": str(data_dir),
            "FRESHET_METRICS_PORT": "0",
        }
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "freshet.workers", "stream"],
                env=os.environ | options | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is flushed."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit code, and prints the end of the log if it is not 0."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=HANG_S)
        if status:
            print(self.log_file.read_text(errors="replace")[-10_000:])
        return status

    def check(self) -> None:
        """Fail with the end of the log if the worker has ended."""
        if self.process.poll() is not None:
            tail = self.log_file.read_text(errors="replace")[-3_000:]
            raise AssertionError(f"the worker ended with {self.process.returncode}:\n{tail}")


@contextmanager
def stream_process(settings: Settings, data_dir: Path, **environment: str) -> Iterator[StreamProcess]:
    """A stream worker that is stopped at the end, whatever happened."""
    ensure_topics(settings)
    worker = StreamProcess(settings, data_dir, **environment)
    try:
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.kill()


async def wait_for(probe: Callable[[], Any], what: str, workers: Sequence[StreamProcess] = ()) -> Any:
    """The first true value of ``probe`` (a coroutine function); fails when a worker ends or time runs out."""
    end = time.monotonic() + HANG_S
    while True:
        value = await probe()
        if value:
            return value
        for worker in workers:
            worker.check()
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {HANG_S:g} s")
        await asyncio.sleep(0.05)


async def send(
    settings: Settings, records: Iterable[Record], partition: int | None = None
) -> list[RecordMetadata]:
    """Publish in order; the same records on two sets of topics get the same partitions and offsets.

    Args:
        settings: Where.
        records: What.
        partition: Of all records; by default the keys decide.

    Returns:
        Where each record lies.
    """
    producer = AIOKafkaProducer(
        **client_config(settings), enable_idempotence=True, linger_ms=5, max_request_size=MAX_REQUEST_BYTES
    )
    await producer.start()
    try:
        sent = [
            await producer.send(topic_name(settings, topic), value, key=key, partition=partition)
            for topic, key, value in records
        ]
        return await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def read_all(settings: Settings, topic: str) -> list[Any]:
    """Every record on a topic (by full name), in the order of each partition."""
    consumer = aiokafka_consumer(settings)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, p) for p in range(settings.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        records: list[Any] = []
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                records.extend(batch)
        return records
    finally:
        await consumer.stop()


async def events_on(settings: Settings, topic: str, event: type[Event]) -> list[Any]:
    """The decoded events on a topic (by short name)."""
    return [event.from_json(record.value) for record in await read_all(settings, topic_name(settings, topic))]


async def committed(settings: Settings, topic: str) -> tuple[int, int]:
    """Of the stream's group: events committed and events published on a topic (by short name)."""
    name = topic_name(settings, topic)
    partitions = [TopicPartition(name, p) for p in range(settings.partitions)]
    consumer = aiokafka_consumer(settings, group_id=f"{settings.topic_prefix}stream")
    await consumer.start()
    try:
        consumer.assign(partitions)
        done = [await consumer.committed(tp) or 0 for tp in partitions]
        return sum(done), sum((await consumer.end_offsets(partitions)).values())
    finally:
        await consumer.stop()


@asynccontextmanager
async def end_offsets(settings: Settings, topic: str) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """A probe of how many records were ever published on a topic (by short name)."""
    consumer = aiokafka_consumer(settings)
    await consumer.start()
    partitions = [TopicPartition(topic_name(settings, topic), p) for p in range(settings.partitions)]

    async def published() -> int:
        return sum((await consumer.end_offsets(partitions)).values())

    try:
        yield published
    finally:
        await consumer.stop()


async def wait_until_drained(
    settings: Settings, workers: Sequence[StreamProcess], topics: Sequence[str]
) -> None:
    """Wait until the stream has committed everything that is on ``topics``, in their order."""
    for topic in topics:

        async def drained(topic: str = topic) -> bool:
            done, published = await committed(settings, topic)
            return done == published > 0

        await wait_for(drained, f"{topic} to be consumed", workers)


def vectors(settings: Settings, n: int, seed: int = 0, bundle: str = BUNDLE) -> list[ArticleVector]:
    """``n`` articles N0.. with random unit vectors, published an hour before the events begin."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n, settings.dimension)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return [
        ArticleVector(
            news_id=f"N{i}",
            bundle=bundle,
            vector=tuple(row.tolist()),
            published_at=from_unix_s(START_S - 3_600),
            title=f"Article {i}",
            category=f"c{i % 3}",
        )
        for i, row in enumerate(rows)
    ]


def keyed(topic: str, event: Event, key: str) -> Record:
    """A record for :func:`send`."""
    return topic, key.encode(), event.to_json()
