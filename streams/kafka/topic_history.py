"""Reads a topic once, up to its present end: for reports, and for the instructions of operators.

No consumer group, nothing is committed; the records of each partition come in their order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import datetime, timedelta
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from freshet.models.events.control import Control
from freshet.models.events.wire import EventError
from freshet.streams.errors import KafkaUnreachable
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.consumers import kafka_consumer
from freshet.streams.kafka.forwarding import is_forwarded
from freshet.streams.kafka.reachability import missing, wait_for_broker
from freshet.streams.kafka.record_batches import UndecodableBatch
from freshet.streams.kafka.topics import Topic
from freshet.streams.settings import Settings

_CONNECT_TIMEOUT_S = 10.0
_STALLED_S = 30.0
_POLL_MS = 200


def read_topic(
    settings: Settings,
    topic: Topic,
    *,
    since: datetime | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Any]:
    """Read every record of ``topic`` from ``since`` (by Kafka's timestamps) to the topic's present end.

    Copies that workers forwarded are left out, since their originals come too. Batches that cannot be decoded
    are logged and left out.

    Args:
        settings: Where Kafka is.
        topic: The topic to read.
        since: The earliest time; without it, the topic is read from its beginning.
        on_progress: Called with the number of offsets passed, and of all.

    Raises:
        KafkaUnreachable: No broker answers, the topic does not exist, or nothing came for half a minute.
    """
    with closing(_consumer(settings)) as consumer:
        partitions = partitions_of(consumer, settings, topic)
        consumer.assign(partitions)
        starts = _offsets_at(consumer, partitions, since)
        ends = consumer.end_offsets(partitions)
        for partition, start in starts.items():
            consumer.seek(partition, start)
        total = sum(max(0, end - starts[partition]) for partition, end in ends.items())
        positions = dict(starts)
        deadline = time.monotonic() + _STALLED_S
        while any(positions[partition] < end for partition, end in ends.items()):
            for records in consumer.poll(timeout_ms=_POLL_MS).values():
                for record in records:
                    partition = TopicPartition(record.topic, record.partition)
                    undecodable = isinstance(record.value, UndecodableBatch)
                    if record.offset < ends[partition] and not undecodable and not is_forwarded(record):
                        yield record
            now = {partition: consumer.position(partition) for partition in partitions}
            if now != positions:
                deadline = time.monotonic() + _STALLED_S
                positions = now
                passed = sum(
                    min(now[partition], ends[partition]) - starts[partition] for partition in partitions
                )
                on_progress(max(0, passed), total)
            elif time.monotonic() > deadline:
                raise KafkaUnreachable(
                    f"{topic_name(settings, topic.name)} could not be read: nothing came for {_STALLED_S:g} s"
                )


def kept_since(settings: Settings, topic: Topic, since: datetime) -> datetime | None:
    """Return the time of the oldest record of ``topic``, if records after ``since`` may have been deleted.

    Raises:
        KafkaUnreachable: No broker answers, or the topic does not exist.
    """
    with closing(_consumer(settings)) as consumer:
        partitions = partitions_of(consumer, settings, topic)
        consumer.assign(partitions)
        beginnings = consumer.beginning_offsets(partitions)
        at = _offsets_at(consumer, partitions, since)
        # A partition that lost nothing begins at 0; one that still has something from before has it all.
        cut = [p for p in partitions if beginnings[p] > 0 and at[p] <= beginnings[p]]
        if not cut:
            return None
        found = consumer.offsets_for_times({partition: 0 for partition in cut})
        stamps = [each.timestamp for each in found.values() if each is not None]
        return datetime.fromtimestamp(max(stamps) / 1_000, since.tzinfo) if stamps else None


def read_controls(settings: Settings) -> list[Control]:
    """Every instruction that is on ``control``, those of one key in their order.

    Records that cannot be read are skipped: the stream workers make them dead letters.

    Raises:
        KafkaUnreachable: No broker answers in time, or the topic ``control`` does not exist.
    """
    controls: list[Control] = []
    for record in read_topic(settings, topics.CONTROL):
        with suppress(EventError):
            controls.append(Control.from_json(record.value))
    return controls


def _consumer(settings: Settings) -> KafkaConsumer:
    wait_for_broker(settings, _CONNECT_TIMEOUT_S)
    return kafka_consumer(settings)


def partitions_of(consumer: KafkaConsumer, settings: Settings, topic: Topic) -> list[TopicPartition]:
    """All partitions of ``topic``, by number.

    Raises:
        KafkaUnreachable: The topic does not exist.
    """
    name = topic_name(settings, topic.name)
    numbers = consumer.partitions_for_topic(name)
    if not numbers:
        raise KafkaUnreachable(missing(settings, name))
    return [TopicPartition(name, number) for number in sorted(numbers)]


def _offsets_at(
    consumer: KafkaConsumer, partitions: list[TopicPartition], since: datetime | None
) -> dict[TopicPartition, int]:
    """Find the first offset at or after ``since`` in each partition; its end where there is none."""
    if since is None:
        beginnings: dict[TopicPartition, int] = consumer.beginning_offsets(partitions)
        return beginnings
    epoch = datetime.fromtimestamp(0, since.tzinfo)
    stamp_ms = max(0, (since - epoch) // timedelta(milliseconds=1))
    found = consumer.offsets_for_times({partition: stamp_ms for partition in partitions})
    ends = consumer.end_offsets(partitions)
    return {
        partition: ends[partition] if found.get(partition) is None else found[partition].offset
        for partition in partitions
    }
