"""The embedding worker: articles in; vectors in the index and on ``article-vectors`` out.

Guarantees: a record's offset is committed only after its vector is in the index and acknowledged on
``article-vectors``, or its dead letter is acknowledged, so no crash and no outage loses an article. A
redelivered article gives the same vector again, up to the rounding of the encoder's number format, because
texts in another batch get another padding. An outage of the index or of Kafka stops the commits, never the
worker's membership in its group.

Workers with the same bundle share the partitions of ``articles``. Another bundle is another consumer group,
which reads all articles from the beginning.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kafka import KafkaProducer, TopicPartition
from kafka.errors import CommitFailedError, KafkaError
from kafka.structs import OffsetAndMetadata

from freshet.models.embedding.content_tower import ContentTower
from freshet.models.events.events import vector_key
from freshet.models.ports import ArticleIndex, IndexUnavailable, TextEncoder
from freshet.streams import metrics
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import MAX_REQUEST_BYTES, client_config, topic_name
from freshet.streams.kafka.consumers import kafka_consumer
from freshet.streams.kafka.group_lag import embedding_group
from freshet.streams.kafka.group_place import Member
from freshet.streams.kafka.headers import NO_HEADERS, Headers
from freshet.streams.kafka.reachability import wait_for_broker
from freshet.streams.records.dead_letters import dead_record, report_dead_letter
from freshet.streams.records.log_context import handling
from freshet.streams.records.tracing import EMBED, RecordTraces
from freshet.streams.settings import Settings
from freshet.workers.processes.embedding.batch import ArticleBatch, Embedded, Refused, embed

log = logging.getLogger(__name__)

_AGENT = "embedding"
_CONNECT_TIMEOUT_S = 30.0
_POLL_MS = 250
"""The longest that a stop waits for the next record."""
_PAUSED_POLL_MS = 100
_MAX_ARTICLES = 256
"""The most articles of one poll: about a second's work for two CPU cores."""
_FIRST_ARTICLES = 16
"""Articles of the first poll, before it is known how long the encoder takes for them."""
_BATCHES_IN_AN_INTERVAL = 10
"""The least polls in ``max_poll_interval_s``: a member that polls too late is expelled, and would embed the
same articles for ever."""
_SEND_TIMEOUT_MS = 10_000
"""Limit of one delivery, far below the five minutes after which a member that does not poll is expelled."""
_RECONNECT_MS = 1_000
"""The longest pause between two attempts to connect; the default of 30 s would let articles age."""
_FIRST_RETRY_S = 0.2
_LAST_RETRY_S = 5.0
_REPORT_EVERY_S = 10.0


class EmbeddingWorker:
    """One member of the consumer group that embeds articles.

    Args:
        settings: Where Kafka is, and the topics' prefix.
        encoder: The encoder of texts to text vectors.
        tower: The tower from text vectors to article vectors.
        index: The index to write to; without it vectors only go to ``article-vectors``.

    Raises:
        ValueError: The index holds vectors of another dimension than the tower makes.
    """

    def __init__(
        self,
        settings: Settings,
        encoder: TextEncoder,
        tower: ContentTower,
        index: ArticleIndex | None = None,
    ) -> None:
        if index is not None and index.d != tower.d:
            raise ValueError(f"the index holds {index.d} dimensions, bundle {tower.bundle} has {tower.d}")
        self._settings = settings
        self._encoder = encoder
        self._tower = tower
        self._index = index
        self._articles = topic_name(settings, topics.ARTICLES.name)
        self._vectors = topic_name(settings, topics.ARTICLE_VECTORS.name)
        self._dead_letters = topic_name(settings, topics.DEAD_LETTERS.name)
        self._group, _ = embedding_group(settings, tower.bundle)
        self._traces = RecordTraces(settings, EMBED)
        self._stopping = threading.Event()
        self._positions: dict[TopicPartition, int] = {}
        """Committed offsets of the partitions assigned."""
        self._owned: frozenset[TopicPartition] = frozenset()
        self._waiting = False
        self._max_articles = _FIRST_ARTICLES
        # The name under which a broker describes this member, and no other.
        self._client_id = f"freshet-embed-{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        self._consumer: Any = None
        self._producer: Any = None
        self.ready = threading.Event()
        """An event, set while partitions are assigned: an article published then is embedded at once."""

    def run(self) -> None:
        """Work in this thread until :meth:`stop`, then commit what is done and leave the group.

        Raises:
            KafkaUnreachable: No broker answers at the start.
            Exception: The encoder fails on every text, or the index refuses what it is given. Nothing of
                the batch is committed.
        """
        metrics.count_from_zero([self._articles], committed=True)
        wait_for_broker(self._settings, _CONNECT_TIMEOUT_S)
        self._producer = KafkaProducer(
            **client_config(self._settings) | {"request_timeout_ms": _SEND_TIMEOUT_MS},
            acks="all",
            max_request_size=MAX_REQUEST_BYTES,
            allow_auto_create_topics=False,
            max_block_ms=_SEND_TIMEOUT_MS,
            delivery_timeout_ms=2 * _SEND_TIMEOUT_MS,
            reconnect_backoff_max_ms=_RECONNECT_MS,
            metrics_enabled=False,
        )
        try:
            self._consumer = kafka_consumer(
                self._settings,
                self._articles,
                client_id=self._client_id,
                group_id=self._group,
                auto_offset_reset="earliest",
                max_poll_records=_MAX_ARTICLES,
                session_timeout_ms=round(self._settings.session_timeout_s * 1_000),
                heartbeat_interval_ms=round(self._settings.session_timeout_s / 3 * 1_000),
                max_poll_interval_ms=round(self._settings.max_poll_interval_s * 1_000),
                reconnect_backoff_max_ms=_RECONNECT_MS,
            )
            try:
                self._work()
            finally:
                self.ready.clear()
                self._consumer.close(autocommit=False)
        finally:
            self._producer.close(timeout=10)

    def stop(self) -> None:
        """Let :meth:`run` return when the batch at hand is done. Thread-safe; repeated calls do nothing."""
        self._stopping.set()

    def owned(self) -> frozenset[TopicPartition]:
        """Partitions whose articles this worker has to embed. Thread-safe.

        There are none during an outage of the index or of Kafka, in which no worker can embed any.
        """
        return frozenset() if self._waiting else self._owned

    def member(self) -> Member:
        """This worker's place in its group. Thread-safe."""
        return Member(
            group=self._group,
            topics=[self._articles],
            name=self._client_id,
            reading=frozenset((tp.topic, tp.partition) for tp in self._owned),
        )

    def _work(self) -> None:
        # A leader that joins before it knows the topic's partitions gives none to anybody, and was seen to
        # leave it at that on a busy machine.
        while not self._stopping.is_set() and not self._consumer.partitions_for_topic(self._articles):
            self._stopping.wait(_FIRST_RETRY_S)
        reported_s, embedded = time.monotonic(), 0
        while not self._stopping.is_set():
            polled = self._consumer.poll(timeout_ms=_POLL_MS, max_records=self._max_articles)
            self._note_assignment()
            read = self._read()
            if polled:
                records = [record for records in polled.values() for record in records]
                embedded += self._handle(records, read)
            elif read != self._positions:  # markers of transactions, say: nothing to embed
                self._commit(read)
            self._measure_lag()
            elapsed_s = time.monotonic() - reported_s
            if elapsed_s >= _REPORT_EVERY_S:
                if embedded:
                    log.info("embedded %d articles, %.1f/s", embedded, embedded / elapsed_s)
                reported_s, embedded = time.monotonic(), 0

    def _read(self) -> dict[TopicPartition, int]:
        """Return the first offset of each partition that has been neither polled nor passed over."""
        assigned = self._consumer.assignment()
        found = {partition: self._consumer.position(partition, timeout_ms=0) for partition in assigned}
        return {partition: offset for partition, offset in found.items() if offset is not None}

    def _handle(self, records: Sequence[Any], read: Mapping[TopicPartition, int]) -> int:
        """Embed, write, and commit ``read``; return the number of articles embedded. A stop returns early."""
        started = time.perf_counter()
        metrics.EVENTS.labels(self._articles).inc(len(records))
        for record in records:
            self._traces.begin(record)
        batch = ArticleBatch.of(records)
        embedded, refused = embed(list(batch.articles.values()), self._encoder, self._tower)
        self._fit_polls(len(records), time.perf_counter() - started)
        self._traces.end_step("embed")
        if embedded:
            metrics.EMBED_SECONDS.observe(time.perf_counter() - started)
            metrics.EMBEDDED_TEXTS.inc(len(embedded))
        refused = batch.refused + refused
        deleted = sorted(batch.deleted)
        if not (
            self._until_available(lambda: self._write_index(embedded, deleted))
            and self._until_available(lambda: self._publish(embedded, deleted, refused))
        ):
            return 0
        self._commit(read, records)

        now_s = time.time()
        for item in embedded:
            age_s = now_s - item.record.timestamp / 1_000
            metrics.PUBLISHED_TO_RECOMMENDABLE_SECONDS.observe(max(0.0, age_s))
        for refusal in refused:
            trace = self._traces.of(refusal.record)
            with handling(refusal.record, trace=trace):
                report_dead_letter(refusal.record, refusal.reason, trace)
        self._traces.done("commit")
        metrics.BATCH_EVENTS.labels(_AGENT).observe(len(records))
        metrics.PROCESSING_SECONDS.labels(_AGENT).observe(time.perf_counter() - started)
        return len(embedded)

    def _fit_polls(self, articles: int, took_s: float) -> None:
        """Size the next poll so that its articles are embedded well within the poll interval."""
        if took_s > self._settings.max_poll_interval_s / _BATCHES_IN_AN_INTERVAL:
            self._max_articles = max(1, self._max_articles // 2)
        elif articles >= self._max_articles:
            self._max_articles = min(_MAX_ARTICLES, 2 * self._max_articles)

    def _write_index(self, embedded: Sequence[Embedded], deleted: Sequence[str]) -> None:
        if self._index is None:
            return
        if embedded:
            # An upsert replaces the whole article, and these two are not the embedding's to decide.
            known = self._index.get([item.article.news_id for item in embedded])
            self._index.upsert([item.indexed(known.get(item.article.news_id)) for item in embedded])
        if deleted:
            self._index.delete(deleted)
        self._traces.end_step("index")

    def _publish(
        self, embedded: Sequence[Embedded], deleted: Sequence[str], refused: Sequence[Refused]
    ) -> None:
        records: list[tuple[str, bytes | None, Headers]] = []
        for item in embedded:
            event = item.event()
            records.append((event.key, event.to_json(), self._traces.headers(item.record)))
        records += [(vector_key(self._tower.bundle, news_id), None, NO_HEADERS) for news_id in deleted]
        sent = [
            self._producer.send(self._vectors, key=key.encode(), value=value, headers=list(headers))
            for key, value, headers in records
        ]
        sent += [self._send_dead_letter(refusal) for refusal in refused]
        self._producer.flush()
        for record in sent:
            record.get(timeout=0)
        self._traces.end_step("deliver")

    def _send_dead_letter(self, refusal: Refused) -> Any:
        key, value = dead_record(refusal.record, refusal.reason, self._settings.topic_prefix)
        headers = list(self._traces.headers(refusal.record))
        return self._producer.send(self._dead_letters, key=key, value=value, headers=headers)

    def _commit(self, read: Mapping[TopicPartition, int], records: Sequence[Any] = ()) -> None:
        # A partition that was taken away during an outage is another worker's by now.
        mine = self._consumer.assignment()
        done = {partition: offset for partition, offset in read.items() if partition in mine}
        due = {
            partition: OffsetAndMetadata(offset, "", -1)
            for partition, offset in done.items()
            if offset != self._positions.get(partition, 0)
        }
        try:
            if due:
                self._consumer.commit(due, timeout_ms=10_000)
                committed = sum(TopicPartition(record.topic, record.partition) in done for record in records)
                metrics.COMMITTED.labels(self._articles).inc(committed)
            self._positions |= done
        except CommitFailedError as error:
            log.warning("the group has rebalanced, these articles will be embedded again: %s", error)
        except KafkaError as error:
            log.warning("offsets were not committed, the next commit covers them: %r", error)

    def _until_available(self, write: Callable[[], None]) -> bool:
        """Repeat ``write`` until its target is available; return false if stopped before that."""
        delay_s = _FIRST_RETRY_S
        while True:
            try:
                write()
                self._waiting = False
                return True
            except (IndexUnavailable, KafkaError) as error:
                self._waiting = True
                log.warning("not available, trying again in %.1f s: %r", delay_s, error)
            self._stay_in_group(delay_s)
            if self._stopping.is_set():
                return False
            delay_s = min(2 * delay_s, _LAST_RETRY_S)

    def _stay_in_group(self, seconds: float) -> None:
        """Wait and poll without taking records, because a member that does not poll is expelled."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._stopping.is_set():
            self._consumer.pause(*self._consumer.assignment())
            polled = self._consumer.poll(timeout_ms=_PAUSED_POLL_MS)
            # Only of partitions that were assigned during this very poll.
            for partition, records in polled.items():
                self._consumer.seek(partition, records[0].offset)
        self._consumer.resume(*self._consumer.paused())

    def _note_assignment(self) -> None:
        assigned = self._consumer.assignment()
        self._owned = frozenset(assigned)
        if assigned and not self.ready.is_set():
            log.info("embedding %s with bundle %s", self._articles, self._tower.bundle)
            self.ready.set()
        elif not assigned:
            self.ready.clear()
        for partition in self._positions.keys() - assigned:
            del self._positions[partition]
            metrics.LAG.remove(partition.topic, str(partition.partition))

    def _measure_lag(self) -> None:
        assigned = self._consumer.assignment()
        for partition, position in self._positions.items():
            end = self._consumer.highwater(partition) if partition in assigned else None
            if end is not None:
                metrics.LAG.labels(partition.topic, str(partition.partition)).set(max(0, end - position))
