"""A partition with records and no progress is noticed, and only that is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError
from prometheus_client import REGISTRY

from freshet.streams.kafka.group_lag import Position
from freshet.streams.kafka.group_place import GroupDescription, Member
from freshet.streams.monitoring import watchdog
from freshet.streams.monitoring.watchdog import (
    Stalls,
    Watchdog,
    broker_silent_s,
    unhealthy_reason,
    unready_reason,
)
from freshet.streams.settings import Settings

CLICKS_0, CLICKS_1 = TopicPartition("clicks", 0), TopicPartition("clicks", 1)
GROUPS = {"stream": ["clicks"]}


def test_records_without_progress_are_a_stall_from_when_they_were_seen() -> None:
    stalls = Stalls()
    stalls.note({CLICKS_0: Position(5, 5)}, 0.0)
    stalls.note({CLICKS_0: Position(5, 5)}, 100.0)
    stalls.note({CLICKS_0: Position(5, 9)}, 102.0)
    assert stalls.lag_events("clicks") == 4
    assert stalls.stalled_s("clicks", 110.0) == 10.0, "not from when the last record was done"


def test_progress_ends_a_stall_however_many_records_wait() -> None:
    stalls = Stalls()
    stalls.note({CLICKS_0: Position(5, 900)}, 0.0)
    stalls.note({CLICKS_0: Position(6, 900)}, 50.0)
    assert stalls.stalled_s("clicks", 51.0) == 1.0


def test_a_group_that_was_set_back_begins_anew() -> None:
    stalls = Stalls()
    stalls.note({CLICKS_0: Position(5, 9)}, 0.0)
    stalls.note({CLICKS_0: Position(0, 9)}, 50.0)
    assert stalls.stalled_s("clicks", 50.0) == 0.0


def test_without_records_nothing_is_stalled() -> None:
    stalls = Stalls()
    stalls.note({CLICKS_0: Position(5, 5)}, 0.0)
    assert stalls.stalled_s("clicks", 1_000.0) == 0.0
    assert stalls.stalled_s("unknown", 1_000.0) == 0.0


def test_the_worst_partition_stands_for_the_topic() -> None:
    stalls = Stalls()
    for now_s in (0.0, 30.0):
        stalls.note({CLICKS_0: Position(int(now_s), 99), CLICKS_1: Position(5, 6)}, now_s)
    assert stalls.stalled_s("clicks", 30.0) == 30.0


def test_a_partition_that_was_not_looked_at_is_forgotten() -> None:
    stalls = Stalls()
    stalls.note({CLICKS_0: Position(0, 9)}, 0.0)
    stalls.note({}, 10.0)
    stalls.note({CLICKS_0: Position(0, 9)}, 20.0)
    assert stalls.stalled_s("clicks", 25.0) == 5.0


@pytest.fixture
def mine() -> set[TopicPartition]:
    return {CLICKS_0}


@pytest.fixture
def dog(mine: set[TopicPartition], monkeypatch: pytest.MonkeyPatch) -> Iterator[Watchdog]:
    """A watchdog that runs as far as anybody can tell; the tests look for it."""
    dog = Watchdog(Settings(), lambda: GROUPS, lambda: mine, unhealthy_s=60.0)
    monkeypatch.setattr(watchdog, "_running", [dog])
    yield dog


def test_a_worker_whose_partition_has_stalled_for_a_minute_is_unhealthy(dog: Watchdog) -> None:
    dog.look({CLICKS_0: Position(5, 9)}, 0.0)
    dog.look({CLICKS_0: Position(5, 9)}, 59.0)
    assert unhealthy_reason() is None
    dog.look({CLICKS_0: Position(5, 9)}, 61.0)
    assert (reason := unhealthy_reason()) is not None
    assert reason.startswith("no record of clicks[0] was done for 61 s")
    dog.look({CLICKS_0: Position(6, 9)}, 62.0)
    assert unhealthy_reason() is None, "it goes on"


def test_another_workers_partition_is_no_reason_to_restart_this_one(
    dog: Watchdog, mine: set[TopicPartition]
) -> None:
    for now_s in (0.0, 100.0):
        dog.look({CLICKS_0: Position(9, 9), CLICKS_1: Position(5, 9)}, now_s)
    assert unhealthy_reason() is None
    mine.clear()
    dog.look({CLICKS_0: Position(5, 9), CLICKS_1: Position(5, 9)}, 200.0)
    assert unhealthy_reason() is None, "a worker without partitions has nothing to get done"


def test_a_topic_that_is_read_outside_the_group_may_stall_too(monkeypatch: pytest.MonkeyPatch) -> None:
    dog = Watchdog(Settings(), dict, frozenset, lambda: {("control", 0): 5})
    monkeypatch.setattr(watchdog, "_running", [dog])
    for now_s in (0.0, 100.0):
        dog.look({TopicPartition("control", 0): Position(5, 6)}, now_s)
    assert (reason := unhealthy_reason()) is not None
    assert reason.startswith("no record of control[0] was done for 100 s")


def test_a_broker_that_does_not_answer_is_no_reason_to_restart(dog: Watchdog) -> None:
    for now_s in (0.0, 100.0):
        dog.look({CLICKS_0: Position(5, 9)}, now_s)
    assert unhealthy_reason() is not None
    dog.blind()
    assert unhealthy_reason() is None


def test_a_worker_that_is_no_member_of_its_group_is_first_unready_then_unhealthy(dog: Watchdog) -> None:
    place = Member("stream", ["clicks"], "w1", frozenset()), GroupDescription(True, {}, frozenset({CLICKS_0}))
    session_s = Settings().session_timeout_s
    for sessions, unready, unhealthy in ((0, False, False), (4, True, False), (7, True, True)):
        dog.look({}, sessions * session_s, place)
        assert (unready_reason() is not None, unhealthy_reason() is not None) == (unready, unhealthy)
    assert (reason := unhealthy_reason()) is not None
    assert reason == "this worker is not a member of the consumer group stream, for 70 s"


def test_a_group_that_shares_its_partitions_out_for_long_is_no_reason_to_restart(dog: Watchdog) -> None:
    place = (
        Member("stream", ["clicks"], "w1", frozenset()),
        GroupDescription(False, {"w1": frozenset()}, frozenset()),
    )
    for now_s in (0.0, 1_000.0):
        dog.look({}, now_s, place)
    assert unready_reason() == "the consumer group stream is sharing its partitions out, for 1000 s"
    assert unhealthy_reason() is None


def test_a_watchdog_that_fails_is_no_good_news(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Broker:
        def __init__(self, settings: Settings) -> None:
            """Answer whatever is asked."""

        def positions(self, groups: watchdog.Groups) -> dict[TopicPartition, Position]:
            return {}

        def positions_at(self, read: Mapping[TopicPartition, int]) -> dict[TopicPartition, Position]:
            return {}

        def close(self) -> None:
            """Do nothing."""

    def groups() -> watchdog.Groups:
        asked.append(len(asked))
        if asked[-1] == 0:
            raise TypeError("a defect")
        return GROUPS

    monkeypatch.setattr(watchdog, "GroupLag", Broker)
    said: list[str | None] = []
    with Watchdog(Settings(), groups, frozenset, interval_s=0.05) as dog:
        while not said or said[-1] is not None or len(asked) < 2:
            said.append(dog.reason)
            time.sleep(0.001)
    assert any(reason is not None and "TypeError('a defect')" in reason for reason in said)
    assert said[-1] is None, "it looks on"


def test_everybodys_partitions_are_on_the_metrics(dog: Watchdog) -> None:
    for now_s in (0.0, 7.0):
        dog.look({CLICKS_0: Position(5, 9), CLICKS_1: Position(5, 15)}, now_s)
    assert REGISTRY.get_sample_value("freshet_group_lag_events", {"topic": "clicks"}) == 14
    assert REGISTRY.get_sample_value("freshet_consumer_stalled_seconds", {"topic": "clicks"}) == 7


def test_a_watchdog_looks_on_after_the_broker_has_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    connections: list[Broker] = []

    class Broker:
        def __init__(self, settings: Settings) -> None:
            self.closed = False
            connections.append(self)
            if len(connections) == 1:
                raise KafkaTimeoutError("no answer")

        def positions(self, groups: watchdog.Groups) -> dict[TopicPartition, Position]:
            if len(connections) == 2:
                raise KafkaTimeoutError("no answer any more")
            return {CLICKS_0: Position(0, 1)}

        def positions_at(self, read: Mapping[TopicPartition, int]) -> dict[TopicPartition, Position]:
            return {tp: Position(offset, offset) for tp, offset in read.items()}

        def close(self) -> None:
            self.closed = True

    monkeypatch.setattr(watchdog, "GroupLag", Broker)
    with Watchdog(Settings(), lambda: GROUPS, lambda: {CLICKS_0}, interval_s=0.001, unhealthy_s=0.0):
        while unhealthy_reason() is None:
            time.sleep(0.001)
    assert [broker.closed for broker in connections] == [False, True, True]
    assert unhealthy_reason() is None, "a watchdog that has stopped says nothing"


def test_a_broker_that_does_not_answer_is_silent_until_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = False

    class Broker:
        def __init__(self, settings: Settings) -> None:
            if not answers:
                raise KafkaTimeoutError("no answer")

        def positions(self, groups: watchdog.Groups) -> dict[TopicPartition, Position]:
            return {}

        def positions_at(self, read: Mapping[TopicPartition, int]) -> dict[TopicPartition, Position]:
            return {}

        def close(self) -> None: ...

    monkeypatch.setattr(watchdog, "GroupLag", Broker)
    with Watchdog(Settings(), lambda: GROUPS, set, interval_s=0.01):
        assert broker_silent_s() == 0.0, "it was not asked yet"
        while broker_silent_s() < 0.1:
            time.sleep(0.01)
        answers = True
        while broker_silent_s():
            time.sleep(0.01)
    assert broker_silent_s() == 0.0, "a watchdog that has stopped says nothing"
