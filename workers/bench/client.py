"""The client that measures answers: requests at their scheduled times, and when each answer came.

Open loop: a request is sent when it is due, whether the ones before are answered or not, and its latency
counts from when it was due. So a stall is paid for by every request that it delays (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from freshet.models.events.events import RecommendationRequest
from freshet.streams.kafka.connection import client_config, topic_name
from freshet.streams.kafka.topics import RECOMMENDATIONS, REQUESTS, Topic
from freshet.streams.settings import Settings
from freshet.workers.replay.connections import connect

ANSWER_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and the time at which it came."""

    received_s: float
    """Time of receipt, by the running loop's clock."""
    value: dict[str, Any]


class BenchClient:
    """Publishes and asks on one connection. Made by :func:`bench_client`."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self._settings = settings
        self._producer = producer
        self._loop = asyncio.get_running_loop()
        self._awaited: dict[str, asyncio.Future[Answer]] = {}

    async def publish(self, topic: Topic, key: str, value: bytes) -> None:
        """Publish one record and wait until it is acknowledged."""
        await self._producer.send_and_wait(topic_name(self._settings, topic.name), value, key=key.encode())

    async def submit(self, request: RecommendationRequest) -> asyncio.Future[Answer]:
        """Send a request; the future holds its answer."""
        future = self._awaited[request.request_id] = self._loop.create_future()
        name = topic_name(self._settings, REQUESTS.name)
        await self._producer.send(name, request.to_json(), key=request.user_id.encode())
        return future

    async def ask(self, request: RecommendationRequest) -> Answer:
        """Send a request and wait for its answer.

        Raises:
            TimeoutError: None came.
        """
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await (await self.submit(request))

    async def latencies_s(self, requests: Sequence[RecommendationRequest], rate_per_s: float) -> list[float]:
        """Seconds from when each request was due, ``rate_per_s`` a second, to its answer.

        Raises:
            TimeoutError: A request was not answered.
        """
        return [took_s for took_s, _ in await self.answers(requests, rate_per_s)]

    async def answers(
        self, requests: Sequence[RecommendationRequest], rate_per_s: float
    ) -> list[tuple[float, Answer]]:
        """Return seconds from when each request was due to its answer, each with the answer.

        Raises:
            TimeoutError: A request was not answered.
        """
        started_s = self._loop.time()
        due_s = [started_s + number / rate_per_s for number in range(len(requests))]
        futures = []
        for request, due in zip(requests, due_s, strict=True):
            if (wait_s := due - self._loop.time()) > 0:
                await asyncio.sleep(wait_s)
            futures.append(await self.submit(request))
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            answers = await asyncio.gather(*futures)
        return [(answer.received_s - due, answer) for answer, due in zip(answers, due_s, strict=True)]

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            for batch in (await consumer.getmany(timeout_ms=1_000)).values():
                now_s = self._loop.time()
                for record in batch:
                    value = orjson.loads(record.value)
                    future = self._awaited.pop(value["request_id"], None)
                    if future is not None and not future.done():
                        future.set_result(Answer(now_s, value))


@asynccontextmanager
async def bench_client(settings: Settings) -> AsyncIterator[BenchClient]:
    """Connect to the topics of ``settings``, and disconnect at the end."""
    producer = AIOKafkaProducer(**client_config(settings), linger_ms=0)
    await producer.start()
    try:
        client = BenchClient(settings, producer)
        async with (
            connect(settings) as connections,
            connections.reader(RECOMMENDATIONS, at_end=True) as consumer,
        ):
            reading = asyncio.create_task(client._read(consumer))
            try:
                yield client
            finally:
                reading.cancel()
    finally:
        await producer.stop()


def request_id() -> str:
    """A new one."""
    return uuid.uuid4().hex
