"""Reading for the console: where it begins, that it survives what a broker does, and what it remembers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaConnectionError

from freshet.models.events.events import (
    ArticleVector,
    Click,
    Control,
    Event,
    Impression,
    from_unix_s,
    vector_key,
)
from freshet.streams.settings import Settings
from freshet.workers.console import feed as console_feed
from freshet.workers.console.clock import StreamClock
from freshet.workers.console.feed import OWN, StreamFeed
from freshet.workers.console.memory import StreamMemory
from tests.waiting import HANG_S

NOW_S = 1_800_000_000.0
LONG_AGO_S = NOW_S - 90 * 86_400.0


class Broker:
    """Kafka as far as the feed sees it: one partition for each topic, whose records a test appends."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Any]] = {
            f"freshet.{name}": []
            for name in ("impressions", "clicks", "control", "article-vectors", "article-stats")
        }
        self.failures: list[Callable[[], Any]] = []
        """What the next polls do instead."""
        self.untold: set[str] = set()
        """Topics whose ends are not told, once."""
        self.opened = 0
        self.read: list[tuple[str, int]] = []

    def append(self, topic: str, event: Event | None, key: str = "") -> None:
        records = self.topics[f"freshet.{topic}"]
        value = None if event is None else event.to_json()
        records.append(
            SimpleNamespace(
                topic=f"freshet.{topic}",
                offset=len(records),
                key=key.encode(),
                value=value,
                timestamp=NOW_S * 1_000,
                headers=(),
            )
        )

    def consumer(self, **_: Any) -> Consumer:
        self.opened += 1
        return Consumer(self)


class Consumer:
    """What the feed takes of a KafkaConsumer."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.at: dict[TopicPartition, int] = {}

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0} if topic in self.broker.topics else set()

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.at = dict.fromkeys(partitions, 0)

    def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        untold, self.broker.untold = self.broker.untold, set()
        return {tp: len(self.broker.topics[tp.topic]) for tp in partitions if tp.topic not in untold}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.at[partition] = offset

    def position(self, partition: TopicPartition) -> int:
        return self.at[partition]

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        if self.broker.failures:
            self.broker.failures.pop()()
        found = {}
        # The last first: the order of partitions is the broker's.
        for partition, offset in reversed(self.at.items()):
            records = self.broker.topics[partition.topic][offset:]
            if records:
                found[partition] = records
                self.at[partition] = offset + len(records)
                self.broker.read += [(record.topic, record.offset) for record in records]
        if not found:
            threading.Event().wait(timeout_ms / 10_000)
        return found

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()
    monkeypatch.setattr(console_feed, "kafka_consumer", lambda *_, **__: broker.consumer())
    monkeypatch.setattr(console_feed, "wait_for_broker", lambda *_: None)
    monkeypatch.setattr(console_feed, "_RETRY_S", 0.01)
    return broker


class Reading:
    """A feed that runs, and what it tells."""

    def __init__(self) -> None:
        self.memory = StreamMemory()
        self.clock = StreamClock(lambda: NOW_S)
        self.feed = StreamFeed(Settings(), self.memory, self.clock)

    def until(self, probe: Callable[[], Any]) -> None:
        deadline = time.monotonic() + HANG_S
        while not probe():
            assert time.monotonic() < deadline, "it did not happen"
            threading.Event().wait(0.005)


@pytest.fixture
def reading(broker: Broker) -> Reading:
    del broker  # its place is taken first
    return Reading()


def click(user_id: str, time_s: float = LONG_AGO_S, impression_id: str | None = None) -> Click:
    return Click(user_id=user_id, news_id="N1", time=from_unix_s(time_s), impression_id=impression_id)


def users(reading: Reading) -> set[str]:
    return {user["user_id"] for user in reading.memory.users("", 1_000)}


def test_the_time_of_the_stream_is_known_before_all_else_is_read(broker: Broker, reading: Reading) -> None:
    broker.append("article-vectors", None, vector_key("b1", "N9"))
    broker.append("clicks", click("U1"))
    with reading.feed:
        assert reading.clock.known.wait(HANG_S)
        reading.until(lambda: ("freshet.article-vectors", 0) in broker.read)
        assert broker.read[0] == ("freshet.clicks", 0)
        assert reading.clock.now_s == LONG_AGO_S


def test_only_the_newest_events_are_read(broker: Broker, reading: Reading) -> None:
    for i in range(2_010):
        broker.append("clicks", click(f"U{i}"))
    with reading.feed:
        reading.until(lambda: ("freshet.clicks", 2_009) in broker.read)
    assert min(offset for _, offset in broker.read) == 10


def test_the_consoles_own_clicks_do_not_tell_the_time(broker: Broker, reading: Reading) -> None:
    broker.append("clicks", click("U1", LONG_AGO_S))
    broker.append("clicks", click("U2", NOW_S, impression_id=f"{OWN}1"))
    with reading.feed:
        reading.until(lambda: users(reading) == {"U1", "U2"})
    assert not reading.clock.live


def test_clicks_within_impressions_are_clicks(broker: Broker, reading: Reading) -> None:
    shown = Impression(
        impression_id="I1",
        user_id="U1",
        time=from_unix_s(NOW_S),
        candidates=("N1", "N2"),
        clicked=("N2",),
    )
    broker.append("impressions", shown)
    with reading.feed:
        reading.until(lambda: reading.memory.clicks_of("U1"))
    assert [each["news_id"] for each in reading.memory.clicks_of("U1")] == ["N2"]


def test_instructions_and_tombstones_are_obeyed(broker: Broker, reading: Reading) -> None:
    for news_id in ("N1", "N2", "N3"):
        article = ArticleVector(
            news_id=news_id, bundle="b1", vector=(1.0,), published_at=from_unix_s(LONG_AGO_S)
        )
        broker.append("article-vectors", article, article.key)
    broker.append("article-vectors", None, vector_key("b1", "N2"))
    broker.append("clicks", click("U1"))
    for kind, subject in (("article-withdrawn", "N3"), ("user-erased", "U1")):
        control = Control(kind=kind, subject=subject, time=from_unix_s(NOW_S))
        broker.append("control", control, control.key)
    with reading.feed:
        reading.until(lambda: len(reading.memory.newest(5, NOW_S)) == 1 and not users(reading))
    assert reading.memory.newest(5, NOW_S)[0]["news_id"] == "N1"


def test_what_cannot_be_read_is_left_to_the_workers(broker: Broker, reading: Reading) -> None:
    broker.append("clicks", click("U1"))
    broker.topics["freshet.clicks"][0].value = b"not JSON"
    broker.append("clicks", click("U2"))
    with reading.feed:
        reading.until(lambda: users(reading) == {"U2"})
    assert reading.feed.problem is None


def test_after_a_failure_it_goes_on_where_it_was_and_reads_nothing_twice(
    broker: Broker, reading: Reading
) -> None:
    broker.append("clicks", click("U1"))

    def fail() -> None:
        raise KafkaConnectionError("gone")

    with reading.feed:
        reading.until(lambda: users(reading) == {"U1"} and reading.clock.known.is_set())
        broker.failures.append(fail)
        reading.until(lambda: not broker.failures)
        broker.append("clicks", click("U2"))
        reading.until(lambda: users(reading) == {"U1", "U2"})
    assert broker.opened == 2
    assert broker.read.count(("freshet.clicks", 0)) == 1


@pytest.mark.parametrize("failure", [KafkaConnectionError("gone"), ZeroDivisionError("a bug")])
def test_a_failure_is_told_until_it_is_over(
    broker: Broker, reading: Reading, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_feed, "_RETRY_S", 60.0)

    def fail() -> None:
        raise failure

    broker.append("clicks", click("U1"))
    broker.failures.append(fail)
    with reading.feed:
        reading.until(lambda: reading.feed.problem)
        assert "Kafka at" in str(reading.feed.problem) or "log says where" in str(reading.feed.problem)


def test_a_topic_whose_end_is_not_told_yet_is_asked_for_again(broker: Broker, reading: Reading) -> None:
    broker.untold = {"freshet.clicks"}
    broker.append("clicks", click("U1"))
    with reading.feed:
        reading.until(lambda: users(reading) == {"U1"})
    assert broker.opened == 2


def test_a_missing_topic_is_told_with_what_to_do(broker: Broker, reading: Reading) -> None:
    del broker.topics["freshet.article-stats"]
    with reading.feed:
        reading.until(lambda: reading.feed.problem)
        assert "no topic freshet.article-stats" in str(reading.feed.problem)
