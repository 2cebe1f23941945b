"""Asks the stream to erase a user, waits for it, and reports what was erased, what expires and what stays.

Guarantee: a receipt is complete only if, after the request, the last record of the user on ``user-vectors``
and on the changelog of the users' states is a tombstone, or of a user who has begun again. An incomplete
erasure has been requested all the same: workers carry it out when they run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from pydantic import ValidationError

from freshet.models.events.events import Control, EventError, UserVector, refusal
from freshet.models.users.codec import decode
from freshet.models.users.erasures import erased_ms_of
from freshet.models.users.state import ERASURE
from freshet.streams.client.timeouts import checked_timeout_s
from freshet.streams.errors import KafkaUnreachable, PublishFailed
from freshet.streams.kafka.connection import client_config, topic_name
from freshet.streams.kafka.consumers import kafka_consumer
from freshet.streams.kafka.outbox import partition_of
from freshet.streams.kafka.partitioned_table import USER_STATE, changelog_name
from freshet.streams.kafka.reachability import missing, wait_for_broker
from freshet.streams.kafka.topic_admin import read_configs
from freshet.streams.kafka.topics import CONTROL, DEAD_LETTERS, RANKER_EXAMPLES, SLATES, TOPICS, USER_VECTORS
from freshet.streams.settings import Settings

_CONNECT_TIMEOUT_S = 10.0
_SEND_TIMEOUT_S = 30.0
_POLL_MS = 100
_FOR_EVER_MS = 1 << 62
"""Threshold of no limit, for which Kafka uses the largest 64-bit number."""


@dataclass(frozen=True, slots=True)
class Erased:
    """A partition whose record of the user was deleted."""

    topic: str
    partition: int
    offset: int
    """Offset of the tombstone, or of the first record of a user who has begun again."""
    earlier_gone_by: datetime | None
    """Time by which Kafka has removed the earlier records from its disks; unset: it sets no limit."""


@dataclass(frozen=True, slots=True)
class Expiring:
    """A topic or partition that keeps every user's records for a limited time."""

    topic: str
    partition: int | None
    """Unset where the user's records cannot be distinguished from others: they do not carry the id."""
    before_offset: int | None
    """End of the user's erased records."""
    gone_by: datetime | None
    """Time by which the records are gone; unset: the topic keeps them for ever."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A place that keeps data, and the reason."""

    where: str
    why: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """Outcome of one erasure."""

    user_id: str
    erased_at: datetime
    """Time up to which events are erased."""
    complete: bool
    """Whether a worker has carried it out; else the next one that runs does."""
    control_topic: str
    control_partition: int
    control_offset: int
    erased: tuple[Erased, ...]
    expiring: tuple[Expiring, ...]
    kept: tuple[Kept, ...]
    version: int = 1


def erase_user(settings: Settings, user_id: str, timeout_s: float = 60.0) -> Receipt:
    """Erase a user from every worker, and wait until the one that holds the user's state has done it.

    Args:
        settings: Where Kafka is.
        user_id: The user to erase.
        timeout_s: Seconds to wait for the worker.

    Raises:
        EventError: ``user_id`` cannot be a user's id.
        ValueError: ``timeout_s`` is negative, or no number.
        KafkaUnreachable: No broker answers, or there are no topics.
        PublishFailed: Kafka did not acknowledge the request.
    """
    checked_timeout_s("timeout_s", timeout_s)
    try:
        control = Control(kind="user-erased", subject=user_id, time=datetime.now(UTC))
    except ValidationError as error:
        raise EventError(refusal("user-erased", error)) from error
    wait_for_broker(settings, _CONNECT_TIMEOUT_S)
    with closing(kafka_consumer(settings)) as consumer:
        ends = _ends(consumer, settings, user_id)
        by_topic = {partition.topic: partition for partition in ends}
        names = (topic_name(settings, USER_VECTORS.name), changelog_name(settings, USER_STATE))
        watched = [by_topic[name] for name in names]
        consumer.assign(watched)
        for partition in watched:
            consumer.seek(partition, ends[partition])
        sent = _publish(settings, control)
        found = _wait(consumer, watched, control, timeout_s)
    anonymous = [topic_name(settings, topic.name) for topic in (SLATES, RANKER_EXAMPLES)]
    configs = read_configs(settings, [*by_topic, *anonymous])
    return Receipt(
        user_id=user_id,
        erased_at=control.time,
        complete=len(found) == len(watched),
        control_topic=sent.topic,
        control_partition=sent.partition,
        control_offset=sent.offset,
        erased=tuple(
            Erased(
                partition.topic,
                partition.partition,
                found[partition],
                _later(control.time, int(configs[partition.topic]["max.compaction.lag.ms"])),
            )
            for partition in watched
            if partition in found
        ),
        expiring=tuple(_expiring(ends, anonymous, configs, control.time)),
        kept=_kept(settings),
    )


def _ends(consumer: KafkaConsumer, settings: Settings, user_id: str) -> dict[TopicPartition, int]:
    """Find the ends of the topics that carry users' ids, in one user's partition."""
    known = [topic.name for topic in TOPICS if topic.keyed_by_user or topic is DEAD_LETTERS]
    names = [*(topic_name(settings, name) for name in known), changelog_name(settings, USER_STATE)]
    partitions = []
    for name in names:
        numbers = consumer.partitions_for_topic(name)
        if not numbers:
            raise KafkaUnreachable(missing(settings, name))
        partitions.append(TopicPartition(name, partition_of(user_id, len(numbers))))
    ends: dict[TopicPartition, int] = consumer.end_offsets(partitions)
    return ends


def _publish(settings: Settings, control: Control) -> Any:
    """Publish the erasure and a tombstone for the user's pushed lists; returns the erasure's place."""
    topic = topic_name(settings, CONTROL.name)
    pushed = control.model_copy(update={"kind": "push-off"}).key
    with closing(KafkaProducer(**client_config(settings), acks="all", metrics_enabled=False)) as producer:
        try:
            sent = producer.send(topic, key=control.key.encode(), value=control.to_json())
            gone = producer.send(topic, key=pushed.encode(), value=None)
            gone.get(timeout=_SEND_TIMEOUT_S)
            return sent.get(timeout=_SEND_TIMEOUT_S)
        except KafkaError as error:
            raise PublishFailed(f"{topic}: the erasure was not acknowledged: {error}") from error


def _wait(
    consumer: KafkaConsumer, watched: list[TopicPartition], control: Control, timeout_s: float
) -> dict[TopicPartition, int]:
    """Find, on each of ``watched``, the offset of the last record that shows the user erased."""
    key = control.subject.encode()
    found: dict[TopicPartition, int] = {}
    deadline = time.monotonic() + timeout_s
    while len(found) < len(watched) and time.monotonic() < deadline:
        for partition, records in consumer.poll(timeout_ms=_POLL_MS).items():
            for record in records:
                if record.key != key:
                    continue
                if _is_of_after(partition, watched, record.value, control):
                    found.setdefault(partition, record.offset)
                else:
                    found.pop(partition, None)
    return found


def _is_of_after(
    partition: TopicPartition, watched: list[TopicPartition], value: bytes | None, control: Control
) -> bool:
    if value is None:
        return True
    if partition == watched[0]:
        return UserVector.from_json(value).time > control.time
    offsets = decode(value).offsets
    return offsets.get(ERASURE, -1) >= erased_ms_of(control) and len(offsets) > 1


def _expiring(
    ends: Mapping[TopicPartition, int],
    anonymous: Sequence[str],
    configs: Mapping[str, Mapping[str, str]],
    at: datetime,
) -> list[Expiring]:
    def gone_by(name: str) -> datetime | None:
        # Kafka deletes a segment when its last record is old enough, and fills one for so long.
        kept_ms = int(configs[name]["retention.ms"])
        return None if kept_ms < 0 else _later(at, kept_ms + int(configs[name]["segment.ms"]))

    expiring = [
        Expiring(partition.topic, partition.partition, end, gone_by(partition.topic))
        for partition, end in ends.items()
        if "delete" in configs[partition.topic]["cleanup.policy"]
    ]
    return expiring + [Expiring(name, None, None, gone_by(name)) for name in anonymous if name in configs]


def _later(at: datetime, after_ms: int) -> datetime | None:
    return None if after_ms > _FOR_EVER_MS else at + timedelta(milliseconds=after_ms)


def _kept(settings: Settings) -> tuple[Kept, ...]:
    return (
        Kept(
            topic_name(settings, CONTROL.name),
            "the erasure itself, with the id and its time: it keeps older events from bringing the user back",
        ),
        Kept("article statistics, co-clicks, the ranker's weights", "sums over all users, without ids"),
        Kept(
            "workers' data folders",
            "deleted values until RocksDB compacts them away; copies of partitions that a worker no longer "
            "owns, until it owns them again",
        ),
        Kept(
            "outside of freshet",
            "folders of `freshet log`, backups, what consumers of the topics have stored",
        ),
    )
