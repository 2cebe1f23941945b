"""Reads the topic ``recommendations`` from its end: by request id, or as a stream.

No consumer group is joined and no offset committed, so any number of clients read side by side, and none of
them sees answers from before it began. Records that cannot be decoded are logged and skipped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from freshet.models.events.events import EventError, Recommendation
from freshet.streams.errors import ClientClosed, FreshetError, KafkaUnreachable
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.consumers import kafka_consumer
from freshet.streams.kafka.outbox import partition_of
from freshet.streams.kafka.reachability import missing, unreachable, wait_for_broker
from freshet.streams.kafka.topics import RECOMMENDATIONS
from freshet.streams.settings import Settings

log = logging.getLogger(__name__)

_POLL_MS = 200
"""The longest that closing takes; a poll returns earlier when records arrive."""


def open_at_end(settings: Settings, connect_timeout_s: float, user_id: str | None = None) -> KafkaConsumer:
    """Open a consumer of the recommendations from now on: of every user, or of one user's partition.

    Raises:
        KafkaUnreachable: No broker answers, or the topic does not exist.
    """
    topic = topic_name(settings, RECOMMENDATIONS.name)
    timeout_ms = round(connect_timeout_s * 1_000)
    wait_for_broker(settings, connect_timeout_s)
    try:
        with ExitStack() as on_failure:
            consumer = kafka_consumer(settings, auto_offset_reset="latest", bootstrap_timeout_ms=timeout_ms)
            on_failure.callback(consumer.close)
            numbers = sorted(consumer.partitions_for_topic(topic))
            if not numbers:
                raise KafkaUnreachable(missing(settings, topic))
            if user_id is not None:
                numbers = [numbers[partition_of(user_id, len(numbers))]]
            partitions = [TopicPartition(topic, number) for number in numbers]
            consumer.assign(partitions)
            # Seeking now, not at the first poll: what is answered between the two must be seen.
            for partition, offset in consumer.end_offsets(partitions, timeout_ms=timeout_ms).items():
                consumer.seek(partition, offset)
            on_failure.pop_all()
    except KafkaError as error:
        raise KafkaUnreachable(unreachable(settings, error)) from error
    return consumer


def _decode(record: Any) -> Recommendation | None:
    try:
        return Recommendation.from_json(record.value)
    except EventError as error:
        log.warning("%s[%d]@%d skipped: %s", record.topic, record.partition, record.offset, error)
        return None


class Answers:
    """A background thread that reads every user's recommendations and resolves those expected.

    It reads all partitions: a request for a user of another partition then needs no new position, which would
    cost up to a fetch's wait, and no agreement on the partitioner. Records of users for whom no answer is
    expected are skipped undecoded.
    """

    def __init__(self, settings: Settings, connect_timeout_s: float) -> None:
        self._consumer = open_at_end(settings, connect_timeout_s)
        self._lock = threading.Lock()
        self._expected: dict[str, tuple[bytes, Future[Recommendation]]] = {}
        self._users: dict[bytes, int] = {}
        self._failure: BaseException | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="freshet-answers", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> bool:
        """Whether reading ended with an error; the futures expected then carry it."""
        return self._failure is not None

    def expect(self, request_id: str, user_id: str) -> Future[Recommendation]:
        """Return the future answer to a request that is about to be sent; cancel it to stop waiting.

        Raises:
            FreshetError: Reading has ended.
            ValueError: An answer to this request id is awaited already.
        """
        future: Future[Recommendation] = Future()
        key = user_id.encode()
        with self._lock:
            if self._failure is not None:
                raise FreshetError(f"reading the recommendations failed: {self._failure}") from self._failure
            if self._closing.is_set():
                raise ClientClosed("the client is closed")
            if request_id in self._expected:
                raise ValueError(f"request id {request_id!r} is awaited already; each request needs its own")
            self._expected[request_id] = (key, future)
            self._users[key] = self._users.get(key, 0) + 1
        future.add_done_callback(lambda _: self._forget(request_id))
        return future

    def close(self) -> None:
        """Stop reading; answers still awaited fail with :class:`ClientClosed`."""
        self._closing.set()
        self._thread.join()

    def _forget(self, request_id: str) -> None:
        with self._lock:
            key, _ = self._expected.pop(request_id)
            if self._users[key] == 1:
                del self._users[key]
            else:
                self._users[key] -= 1

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                for records in self._consumer.poll(timeout_ms=_POLL_MS).values():
                    for record in records:
                        if record.key in self._users:
                            self._resolve(record)
        except Exception as error:
            log.exception("reading the recommendations failed")
            self._end(error, FreshetError(f"reading the recommendations failed: {error}"))
        else:
            self._end(None, ClientClosed("the client was closed before the answer came"))
        finally:
            self._consumer.close()

    def _resolve(self, record: Any) -> None:
        answer = _decode(record)
        if answer is None:
            return
        with self._lock:
            _, future = self._expected.get(answer.request_id, (b"", None))
        if future is not None and future.set_running_or_notify_cancel():
            future.set_result(answer)

    def _end(self, failure: BaseException | None, error: FreshetError) -> None:
        with self._lock:
            self._failure = failure
            self._closing.set()
            futures = [future for _, future in self._expected.values()]
        for future in futures:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)


class Subscription(Iterator[Recommendation], AbstractContextManager["Subscription"]):
    """An iterator over the recommendations from its creation on; for one thread at a time.

    It ends when it is closed, or when nothing came for ``timeout_s``.
    """

    def __init__(
        self, settings: Settings, connect_timeout_s: float, user_id: str | None, timeout_s: float | None
    ) -> None:
        self._key = None if user_id is None else user_id.encode()
        self._timeout_s = timeout_s
        self._consumer = open_at_end(settings, connect_timeout_s, user_id)
        self._read: list[Recommendation] = []
        self._closed = False

    def __next__(self) -> Recommendation:
        """Wait for the next recommendation.

        Raises:
            StopIteration: None came for ``timeout_s``, or the subscription is closed.
            FreshetError: Kafka refuses to be read.
        """
        deadline = None if self._timeout_s is None else time.monotonic() + self._timeout_s
        while not self._read:
            wait_ms = _POLL_MS
            if deadline is not None:
                wait_ms = min(wait_ms, round((deadline - time.monotonic()) * 1_000))
            if self._closed or wait_ms <= 0:
                raise StopIteration
            try:
                polled = self._consumer.poll(timeout_ms=wait_ms)
            except KafkaError as error:
                raise FreshetError(f"reading the recommendations failed: {error}") from error
            records = [record for records in polled.values() for record in records]
            answers = [_decode(record) for record in records if self._key in (None, record.key)]
            # Read from the end: the list's last element is the next to hand out.
            self._read = [answer for answer in reversed(answers) if answer is not None]
        return self._read.pop()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading; only the thread that iterates may call this."""
        if not self._closed:
            self._closed = True
            self._consumer.close()
