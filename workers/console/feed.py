"""Reads the stream for the console, from where its newest records are, and goes on reading.

No consumer group is joined and nothing is committed. Of each topic only the newest records are read, so that
the console of a large stream starts as soon as that of a small one. While Kafka does not answer, it tries
again; :attr:`StreamFeed.problem` says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from freshet.models.events.events import (
    ArticleStats,
    ArticleVector,
    Click,
    Control,
    EventError,
    Impression,
    parse_vector_key,
    to_unix_s,
)
from freshet.streams.errors import FreshetError, KafkaUnreachable
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.consumers import kafka_consumer
from freshet.streams.kafka.forwarding import is_forwarded
from freshet.streams.kafka.reachability import unreachable, wait_for_broker
from freshet.streams.kafka.topic_history import partitions_of
from freshet.streams.kafka.topics import Topic
from freshet.streams.settings import Settings
from freshet.workers.console.clock import StreamClock
from freshet.workers.console.memory import MAX_ARTICLES, StreamMemory
from freshet.workers.processes.background_thread import BackgroundThread

log = logging.getLogger(__name__)

OWN = "console-"
"""Prefix of the ids of the console's own impressions."""

_EVENTS: Mapping[Topic, int] = {topics.IMPRESSIONS: 2_000, topics.CLICKS: 2_000}
"""Number of latest records to read first of each topic that gives the stream's time."""
_ALL: Mapping[Topic, int] = {
    **_EVENTS,
    topics.CONTROL: MAX_ARTICLES,
    topics.ARTICLE_VECTORS: MAX_ARTICLES,
    topics.ARTICLE_STATS: MAX_ARTICLES,
}
_CONNECT_TIMEOUT_S = 2.0
_POLL_MS = 200
_ALIVE_POLLS = 10
"""Polls without a record after which the broker is asked whether it is there."""
_RETRY_S = 1.0
_JOIN_TIMEOUT_S = 10.0


class StreamFeed(BackgroundThread):
    """A context manager with a thread that reads the stream into a memory and a clock."""

    def __init__(self, settings: Settings, memory: StreamMemory, clock: StreamClock) -> None:
        super().__init__("console-feed", _JOIN_TIMEOUT_S)
        self._settings = settings
        self._memory = memory
        self._clock = clock
        self._handlers: dict[str, Callable[[Any], None]] = {
            topic_name(settings, topics.CONTROL.name): self._control,
            topic_name(settings, topics.ARTICLE_VECTORS.name): self._vector,
            topic_name(settings, topics.ARTICLE_STATS.name): self._stats,
            topic_name(settings, topics.IMPRESSIONS.name): self._impression,
            topic_name(settings, topics.CLICKS.name): self._click,
        }
        self._positions: dict[TopicPartition, int] = {}
        self.problem: str | None = None
        """Why nothing is read, and what to do; ``None`` while reading, and while it is not known."""

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except FreshetError as error:
                self.problem = str(error)
            except KafkaError as error:
                self.problem = unreachable(self._settings, error)
            except Exception:
                log.exception("reading the stream failed")
                self.problem = "The console failed at reading the stream; its log says where. It tries again."
            self._stop.wait(_RETRY_S)

    def _follow(self) -> None:
        wait_for_broker(self._settings, _CONNECT_TIMEOUT_S)
        consumer = kafka_consumer(
            self._settings,
            auto_offset_reset="latest",
            bootstrap_timeout_ms=round(_CONNECT_TIMEOUT_S * 1_000),
        )
        try:
            ends = self._assign(consumer, _EVENTS)
            self.problem = None
            while any(consumer.position(partition) < end for partition, end in ends.items()):
                if self._stop.is_set():
                    return
                self._read(consumer)
            self._clock.known.set()
            self._assign(consumer, _ALL)
            quiet = 0
            while not self._stop.is_set():
                quiet = 0 if self._read(consumer) else quiet + 1
                if quiet >= _ALIVE_POLLS:
                    # kafka-python says nothing while it looks for a broker that has gone.
                    wait_for_broker(self._settings, _CONNECT_TIMEOUT_S)
                    quiet = 0
        finally:
            consumer.close()

    def _read(self, consumer: KafkaConsumer) -> bool:
        """Poll once; whether there was anything."""
        polled = consumer.poll(timeout_ms=_POLL_MS)
        for partition, records in polled.items():
            for record in records:
                self._handle(record)
            self._positions[partition] = records[-1].offset + 1
        return bool(polled)

    def _assign(self, consumer: KafkaConsumer, read: Mapping[Topic, int]) -> dict[TopicPartition, int]:
        """Go on where reading ended; at first, with the newest records. Gives the present ends.

        Raises:
            KafkaUnreachable: A topic does not exist, or the broker does not tell where one ends.
        """
        newest: dict[TopicPartition, int] = {}
        for topic, records in read.items():
            of_topic = partitions_of(consumer, self._settings, topic)
            newest |= dict.fromkeys(of_topic, -(-records // len(of_topic)))
        partitions = list(newest)
        consumer.assign(partitions)
        beginnings = consumer.beginning_offsets(partitions)
        ends: dict[TopicPartition, int] = consumer.end_offsets(partitions)
        if not beginnings.keys() & ends.keys() == newest.keys():
            # kafka-python leaves out what the broker would not tell, as of a topic just made.
            raise KafkaUnreachable(unreachable(self._settings, "it does not tell where its topics end"))
        for partition, end in ends.items():
            start = max(beginnings[partition], end - newest[partition])
            held = self._positions.get(partition, -1)
            self._positions[partition] = held if start <= held <= end else start
            consumer.seek(partition, self._positions[partition])
        return ends

    def _handle(self, record: Any) -> None:
        if is_forwarded(record):
            return  # its original comes too
        try:
            self._handlers[record.topic](record)
        except EventError:
            # The workers make it a dead letter; the page shows how many there are.
            return

    def _control(self, record: Any) -> None:
        if record.value is None:
            return
        control = Control.from_json(record.value)
        if control.kind == "article-withdrawn":
            self._memory.withdraw(control.subject)
        elif control.kind == "user-erased":
            self._memory.erase(control.subject, to_unix_s(control.time))

    def _vector(self, record: Any) -> None:
        if record.value is None:
            self._memory.remove_article(*parse_vector_key(record.key))
        else:
            self._memory.put_article(ArticleVector.from_json(record.value))

    def _stats(self, record: Any) -> None:
        if record.value is not None:
            self._memory.put_stats(ArticleStats.from_json(record.value))

    def _impression(self, record: Any) -> None:
        impression = Impression.from_json(record.value)
        time_s = to_unix_s(impression.time)
        if not impression.impression_id.startswith(OWN):
            self._clock.heard(time_s, record.timestamp / 1_000)
        self._memory.add_visit(impression.user_id, time_s)
        for news_id in impression.clicked:
            self._memory.add_click(impression.user_id, news_id, time_s)

    def _click(self, record: Any) -> None:
        click = Click.from_json(record.value)
        time_s = to_unix_s(click.time)
        if not (click.impression_id or "").startswith(OWN):
            self._clock.heard(time_s, record.timestamp / 1_000)
        self._memory.add_click(click.user_id, click.news_id, time_s)
