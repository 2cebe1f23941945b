"""An outbox on a real broker: what is added is delivered, in order, whatever its size."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from freshet.streams.kafka.connection import MAX_REQUEST_BYTES, topic_name
from freshet.streams.kafka.outbox import Outbox
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from tests.integration.stream_harness import read_all

pytestmark = pytest.mark.broker


@pytest.fixture
async def outbox(settings: Settings) -> AsyncIterator[Outbox]:
    ensure_topics(settings)
    outbox = Outbox(settings)
    await outbox.start()
    yield outbox
    await outbox.stop()


async def test_records_of_many_requests_arrive_in_order(settings: Settings, outbox: Outbox) -> None:
    topic = topic_name(settings, "clicks")
    wanted = [(f"K{i}".encode(), bytes([i]) * 90_000) for i in range(40)]
    for key, value in wanted:
        outbox.add_record(topic, 1, key, value)
    outbox.add_record(topic, 2, b"gone", None)
    assert await outbox.flush() == {(topic, 1): 39, (topic, 2): 0}
    assert await outbox.flush() == {}
    records = await read_all(settings, topic)
    assert [(r.key, r.value) for r in records if r.partition == 1] == wanted
    assert [(r.key, r.value) for r in records if r.partition == 2] == [(b"gone", None)]


async def test_a_record_larger_than_a_request_is_refused_with_its_place(
    settings: Settings, outbox: Outbox
) -> None:
    outbox.add_record("t", 3, b"key", b"x" * MAX_REQUEST_BYTES)
    with pytest.raises(ValueError, match=r"a record for t\[3\], with a key of 3 and a value of \d+ bytes"):
        await outbox.flush()


async def test_the_largest_record_is_delivered(settings: Settings, outbox: Outbox) -> None:
    topic = topic_name(settings, "clicks")
    outbox.add_record(topic, 0, b"small", b"1")
    outbox.add_record(topic, 0, b"large", b"x" * (MAX_REQUEST_BYTES - 1_000))
    outbox.add_record(topic, 0, b"small", b"2")
    assert await outbox.flush() == {(topic, 0): 2}
    assert [len(record.value) for record in await read_all(settings, topic)] == [
        1,
        MAX_REQUEST_BYTES - 1_000,
        1,
    ]
