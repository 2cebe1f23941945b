"""What the client decides without a broker."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from freshet.streams.client import Freshet
from freshet.streams.errors import KafkaUnreachable
from freshet.streams.outbox import partition_of


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40), st.integers(1, 64))
def test_the_partition_of_a_user_is_that_of_the_workers_producer(user_id: str, partitions: int) -> None:
    """Faust's producer is aiokafka's; the console tools' is Java's, which both follow."""
    numbers = list(range(partitions))
    assert partition_of(user_id, partitions) == DefaultPartitioner()(user_id.encode(), numbers, numbers)


def test_a_kafka_that_does_not_answer_is_named() -> None:
    with pytest.raises(KafkaUnreachable, match=r"127\.0\.0\.1:1 does not answer.*freshet up"):
        Freshet(bootstrap_servers="127.0.0.1:1", connect_timeout_s=0.5)


def test_an_address_without_a_port_is_named() -> None:
    with pytest.raises(KafkaUnreachable, match=r"broker-1 .*host:port"):
        Freshet(bootstrap_servers="broker-1", connect_timeout_s=0.5)
