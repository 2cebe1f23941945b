"""Examines publishers' partitioners: whether the latest records are where murmur2 puts their keys."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.consumers import kafka_consumer
from freshet.streams.kafka.forwarding import REMEDY, is_forwarded
from freshet.streams.kafka.outbox import partition_of
from freshet.streams.kafka.topics import TOPICS, Topic
from freshet.streams.settings import Settings
from freshet.workers.doctor.finding import Finding

_LATEST = 200
"""Number of records read per partition."""
_READ_S = 3.0
"""Time limit per topic."""
_POLL_MS = 200


def examine_partitioners(settings: Settings) -> Iterator[Finding]:
    """Yield a finding for each topic of clients with records in other partitions than murmur2's.

    Raises:
        KafkaError: The broker refused a request.
    """
    looked_at, elsewhere_at_all = 0, False
    with closing(kafka_consumer(settings)) as consumer:
        for topic in TOPICS:
            if topic.published_by != "clients":
                continue
            partitions = consumer.partitions_for_topic(topic_name(settings, topic.name)) or set()
            records = _latest(consumer, settings, topic, partitions)
            looked_at += len(records)
            wrong = [record for record in records if record.partition != _home(record, len(partitions))]
            if wrong:
                elsewhere_at_all = True
                yield _finding(topic, wrong, len(records), len(partitions))
    if not elsewhere_at_all:
        yield Finding(
            "partitioners", "ok", f"all of the latest {looked_at} records lie where murmur2 puts them"
        )


def _finding(topic: Topic, wrong: list[Any], of: int, partitions: int) -> Finding:
    how = "lie elsewhere than murmur2 puts their keys"
    if all(record.partition == zlib.crc32(record.key) % partitions for record in wrong):
        how += ", where CRC32 does, librdkafka's default"
    then = (
        "they are forwarded to their users' partitions, which costs time"
        if topic.keyed_by_user
        else "the order of one key's records is kept within a partition only"
    )
    text = f"{topic.name}: {len(wrong)} of the latest {of} records {how}; {then}"
    return Finding("partitioners", "warn", text, f"{REMEDY[0].upper()}{REMEDY[1:]}.")


def _home(record: Any, partitions: int) -> int:
    try:
        return partition_of(record.key.decode(), partitions)
    except UnicodeDecodeError:
        return int(record.partition)  # A dead letter, whose partition does not matter.


def _latest(consumer: KafkaConsumer, settings: Settings, topic: Topic, numbers: set[int]) -> list[Any]:
    """Read the latest records that have a key and are not forwarded by workers."""
    partitions = [TopicPartition(topic_name(settings, topic.name), number) for number in sorted(numbers)]
    consumer.assign(partitions)
    beginnings, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    for partition in partitions:
        consumer.seek(partition, max(beginnings[partition], ends[partition] - _LATEST))
    deadline = time.monotonic() + _READ_S
    records: list[Any] = []
    while time.monotonic() < deadline and any(
        consumer.position(partition) < ends[partition] for partition in partitions
    ):
        for polled in consumer.poll(timeout_ms=_POLL_MS).values():
            records += [record for record in polled if record.key is not None and not is_forwarded(record)]
    return records
