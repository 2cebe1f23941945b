"""What the client decides without a broker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from freshet.models.events.events import Article, EventError
from freshet.streams.client import Freshet
from freshet.streams.errors import KafkaUnreachable
from freshet.streams.kafka.outbox import partition_of


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


@pytest.fixture
def unconnected() -> Freshet:
    """A client that could not send anything: what it is asked has to be refused before."""
    return object.__new__(Freshet)


LISTS: dict[str, Callable[[Freshet, Any], object]] = {
    "candidates": lambda client, value: client.impression("U1", value),
    "clicked": lambda client, value: client.impression("U1", ["A", "1"], value),
    "history": lambda client, value: client.impression("U1", ["A1"], history=value),
    "candidates to rank": lambda client, value: client.recommend("U1", candidates=value),
    "history of a request": lambda client, value: client.recommend("U1", history=value),
    "rules": lambda client, value: client.recommend("U1", rules=value),
}


@pytest.mark.parametrize("call", LISTS.values(), ids=LISTS)
@pytest.mark.parametrize("value", ["A1", "", b"A1", {"A1": 1}, 5], ids=repr)
def test_one_value_where_a_list_is_meant_is_refused(
    unconnected: Freshet, call: Callable[[Freshet, Any], object], value: object
) -> None:
    with pytest.raises(EventError, match=rf"got one {type(value).__name__}, must be a list"):
        call(unconnected, value)


def test_a_set_is_refused_where_the_order_matters(unconnected: Freshet) -> None:
    with pytest.raises(EventError, match="candidates: got a set"):
        LISTS["candidates"](unconnected, {"A1", "A2"})
    with pytest.raises(EventError, match="history: got a frozenset"):
        LISTS["history"](unconnected, frozenset({"A1"}))


def test_a_list_of_articles_is_not_published_as_one(unconnected: Freshet) -> None:
    article: Any = Article(news_id="A1", published_at=datetime.now(UTC))
    with pytest.raises(EventError, match=r"got a list, must be Articles; .*publish\(\*list\)"):
        unconnected.publish([article])
