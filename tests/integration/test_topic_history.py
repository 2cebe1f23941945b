"""A topic is read once, from a moment on, up to where it ended; what Kafka has deleted is noticed."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from kafka import KafkaAdminClient, TopicPartition

from freshet.models.events.events import Click, Control, from_unix_s
from freshet.streams.errors import KafkaUnreachable
from freshet.streams.kafka.connection import client_config, topic_name
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.kafka.topic_history import kept_since, read_controls, read_topic
from freshet.streams.kafka.topics import CLICKS, CONTROL
from freshet.streams.settings import Settings
from tests.integration.stream_harness import START_S, keyed, send

pytestmark = pytest.mark.broker


def clicks(*news_ids: str) -> list[tuple[str, bytes | None, bytes | None]]:
    return [
        keyed(
            "clicks",
            Click(user_id=f"U-{news_id}", news_id=news_id, time=from_unix_s(START_S)),
            f"U-{news_id}",
        )
        for news_id in news_ids
    ]


def read_ids(settings: Settings, since: datetime | None = None) -> set[str]:
    return {Click.from_json(record.value).news_id for record in read_topic(settings, CLICKS, since=since)}


def a_later_moment() -> datetime:
    """Kafka's timestamps are of whole milliseconds."""
    before = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 <= before + 1:
        time.sleep(0.001)
    return datetime.now(UTC)


def test_reads_from_a_moment_on_and_notices_what_was_deleted(settings: Settings) -> None:
    ensure_topics(settings)
    assert read_ids(settings) == set()
    old = {f"old{i}" for i in range(20)}
    asyncio.run(send(settings, clicks(*sorted(old))))
    between = a_later_moment()
    new = {f"new{i}" for i in range(20)}
    asyncio.run(send(settings, clicks(*sorted(new))))

    assert read_ids(settings) == old | new
    assert read_ids(settings, between) == new
    assert read_ids(settings, datetime.now(UTC) + timedelta(days=1)) == set()
    seen: list[tuple[int, int]] = []
    assert len(list(read_topic(settings, CLICKS, on_progress=lambda *at: seen.append(at)))) == 40
    assert seen[-1] == (40, 40)

    long_ago = between - timedelta(days=1)
    assert kept_since(settings, CLICKS, long_ago) is None
    admin = KafkaAdminClient(**client_config(settings))
    try:
        name = topic_name(settings, CLICKS.name)
        offsets = {TopicPartition(name, partition): 3 for partition in range(settings.partitions)}
        admin.delete_records(offsets)
    finally:
        admin.close()
    kept = kept_since(settings, CLICKS, long_ago)
    assert kept is not None
    assert long_ago < kept <= datetime.now(UTC)
    assert kept_since(settings, CLICKS, datetime.now(UTC) + timedelta(days=1)) is None
    assert read_ids(settings, long_ago) < old | new


def test_instructions_that_cannot_be_read_are_passed_over(settings: Settings) -> None:
    ensure_topics(settings)
    controls = [
        Control(kind=kind, subject="U1", time=from_unix_s(START_S)) for kind in ("push-on", "push-off")
    ]
    records = [keyed("control", control, control.key) for control in controls]
    asyncio.run(send(settings, [records[0], ("control", b"x", b"{"), ("control", b"y", None), records[1]]))
    assert read_controls(settings) == controls


def test_a_topic_that_is_not_there_is_named(settings: Settings) -> None:
    with pytest.raises(KafkaUnreachable, match=rf"no topic {settings.topic_prefix}control"):
        list(read_topic(settings, CONTROL))
