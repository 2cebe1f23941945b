"""Reads which bundles were promoted, from the topic ``control``, and promotes one.

Two promotions at the same moment leave the later one in service, everywhere; clocks may differ, so that a
promotion is always dated after the last one that its publisher has seen.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from kafka import KafkaConsumer, TopicPartition

from freshet.models.events import Control, EventError
from freshet.models.promotions import promotions_of
from freshet.streams import topics
from freshet.streams.client import Freshet
from freshet.streams.errors import KafkaUnreachable
from freshet.streams.kafka import client_config, topic_name
from freshet.streams.settings import Settings

_TIMEOUT_S = 30.0
_POLL_MS = 200
_STEP = timedelta(microseconds=1)


def read_promotions(settings: Settings) -> list[Control]:
    """Every promotion and rollback so far, the first one first.

    Records that cannot be read are left to the stream workers, which bury them.

    Raises:
        KafkaUnreachable: No broker answers in time, or the topic ``control`` does not exist.
    """
    name = topic_name(settings, topics.CONTROL.name)
    consumer = KafkaConsumer(**client_config(settings), enable_auto_commit=False, metrics_enabled=False)
    try:
        numbers = consumer.partitions_for_topic(name)
        if not numbers:
            raise KafkaUnreachable(
                f"{settings.bootstrap_servers} has no topic {name}: start `freshet up` or `freshet stream`"
            )
        partitions = [TopicPartition(name, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        controls: list[Control] = []
        deadline = time.monotonic() + _TIMEOUT_S
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            if time.monotonic() > deadline:
                raise KafkaUnreachable(f"{name} could not be read within {_TIMEOUT_S:g} s")
            for records in consumer.poll(timeout_ms=_POLL_MS).values():
                for record in records:
                    try:
                        controls.append(Control.from_json(record.value))
                    except EventError:
                        continue
        return promotions_of(controls)
    finally:
        consumer.close()


def promote(settings: Settings, bundle: str, *, rollback: bool = False) -> Control:
    """Publish that ``bundle`` is to be served from now on.

    Args:
        settings: Where Kafka is.
        bundle: A bundle's id, or :data:`freshet.models.promotions.UNTRAINED`.
        rollback: Whether this takes the latest promotion back.

    Raises:
        KafkaUnreachable: No broker answers, or the topic ``control`` does not exist.
        PublishFailed: Kafka did not acknowledge it.
        ValidationError: ``bundle`` cannot be a bundle's id.
    """
    earlier = read_promotions(settings)
    now = datetime.now(UTC)
    at = max(now, earlier[-1].time + _STEP) if earlier else now
    control = Control(kind="bundle-promoted", subject=bundle, time=at, rollback=rollback or None)
    with Freshet(settings) as client:
        client.control(control)
    return control
