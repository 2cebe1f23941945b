"""Reads the answers to a replay's own requests, from before the first one is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer

from freshet.models.events.events import EventError, Recommendation
from freshet.streams.kafka.topics import RECOMMENDATIONS
from freshet.workers.replay.connections import Connections
from freshet.workers.replay.pacing import POLL_S
from freshet.workers.replay.report import ReplayError


class AnswerReader:
    """Collects answers by request id; those of users whom nobody asked about are dropped undecoded."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._expected: dict[str, bytes] = {}
        self._users: dict[bytes, int] = {}
        self._answers: list[tuple[Recommendation, float]] = []
        self._arrived = asyncio.Event()
        self._failure: Exception | None = None
        self.unreadable = 0
        """Records on the topic, for users asked about, that were no recommendation."""

    def expect(self, request_id: str, user_id: str) -> None:
        """Collect the answer to a request that is about to be sent."""
        key = user_id.encode()
        self._expected[request_id] = key
        self._users[key] = self._users.get(key, 0) + 1

    def forget(self, request_id: str) -> None:
        """Wait no longer for an answer, or for a second one."""
        key = self._expected.pop(request_id, None)
        if key is not None:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key]

    def take(self) -> list[tuple[Recommendation, float]]:
        """The answers that have come since the last call, with their monotonic times of arrival.

        Raises:
            ReplayError: The topic cannot be read any more.
        """
        if self._failure is not None:
            raise ReplayError(f"reading the recommendations failed: {self._failure}") from self._failure
        self._arrived.clear()
        answers, self._answers = self._answers, []
        return answers

    async def wait(self, timeout_s: float) -> None:
        """Return when there is something to take, or after ``timeout_s``."""
        try:
            await asyncio.wait_for(self._arrived.wait(), timeout_s)
        except TimeoutError:
            return

    async def read(self) -> None:
        """Read for ever; run it as a task and cancel it."""
        try:
            while True:
                polled = await self._consumer.getmany(timeout_ms=round(POLL_S * 1_000))
                now = time.monotonic()
                for records in polled.values():
                    for record in records:
                        if record.key in self._users:
                            self._collect(record.value, now)
                if self._answers:
                    self._arrived.set()
        except Exception as error:
            self._failure = error
            self._arrived.set()

    def _collect(self, value: bytes | None, now: float) -> None:
        try:
            answer = Recommendation.from_json(value)
        except EventError:
            self.unreadable += 1
            return
        if answer.request_id in self._expected:
            self.forget(answer.request_id)
            self._answers.append((answer, now))


@asynccontextmanager
async def answers(connections: Connections) -> AsyncIterator[AnswerReader]:
    """An :class:`AnswerReader` that reads everything published on ``recommendations`` from now on."""
    async with connections.reader(RECOMMENDATIONS, at_end=True) as consumer:
        reader = AnswerReader(consumer)
        task = asyncio.create_task(reader.read(), name="replay-answers")
        try:
            yield reader
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
