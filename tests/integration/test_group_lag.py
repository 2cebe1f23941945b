"""The broker tells how far groups are behind, whether or not any of their members lives."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from freshet.models.events.events import Click, from_unix_s
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import client_config, topic_name
from freshet.streams.kafka.consumers import aiokafka_consumer
from freshet.streams.kafka.group_lag import GroupLag, embedding_group, stream_group
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from tests.integration.stream_harness import START_S, keyed, send, wait_for

pytestmark = pytest.mark.broker


async def test_a_groups_lag_is_what_it_has_not_committed(settings: Settings) -> None:
    ensure_topics(settings)
    group, read = stream_group(settings)
    clicks = topic_name(settings, topics.CLICKS.name)
    click = Click(user_id="U1", news_id="N1", time=from_unix_s(START_S))
    records = [keyed(topics.CLICKS.name, click, "U1")] * 20
    broker = GroupLag(settings)
    groups = {group: read} | dict([embedding_group(settings, "b1")])

    def lags() -> dict[str, int]:
        """By topic, of those that have some."""
        found: dict[str, int] = {}
        for tp, position in broker.positions(groups).items():
            found[tp.topic] = found.get(tp.topic, 0) + position.lag
        return {topic: lag for topic, lag in found.items() if lag}

    async def coordinated() -> bool:
        try:
            return not lags()
        except KafkaError:
            return False  # a new broker creates the topic of offsets when it is first asked

    try:
        await wait_for(coordinated, "the broker's coordinator of groups")
        await send(settings, records, partition=2)
        assert lags() == {clicks: 20}, "a group that nobody has joined yet is behind by everything"
        consumer = aiokafka_consumer(settings, group_id=group)
        await consumer.start()
        try:
            consumer.assign([TopicPartition(clicks, 2)])
            await consumer.commit({TopicPartition(clicks, 2): 13})
        finally:
            await consumer.stop()
        assert lags() == {clicks: 7}
        admin = KafkaAdminClient(**client_config(settings))
        try:
            admin.delete_records({TopicPartition(clicks, 2): 16})
        finally:
            admin.close()
        assert lags() == {clicks: 4}, "what is kept no longer will not be read"
        (position,) = broker.positions_at({(clicks, 2): 18}).values()
        assert position.lag == 2
    finally:
        broker.close()
