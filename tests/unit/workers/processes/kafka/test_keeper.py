"""A broker that dies is started again, not for ever, and not once the system stops."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import cast

import pytest

from freshet.workers.errors import BrokerFailed
from freshet.workers.processes.kafka import keeper as kafka_keeper
from freshet.workers.processes.kafka.broker import LocalKafka
from freshet.workers.processes.kafka.keeper import MAX_STARTS, KafkaKeeper
from tests.waiting import HANG_S


class Broker:
    """What the keeper sees of a :class:`LocalKafka`."""

    def __init__(self, *, can_start: bool = True) -> None:
        self.log_file = Path("broker.log")
        self.exit_status = 137
        self.can_start = can_start
        self.alive = True
        self.starts = 0
        self.started = threading.Semaphore(0)

    def is_running(self) -> bool:
        return self.alive

    def start(self) -> None:
        self.starts += 1
        self.started.release()
        if not self.can_start:
            raise BrokerFailed("no room on the disk")
        self.alive = True

    def stop(self) -> None:
        self.alive = False


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_keeper, "_POLL_S", 0.001)
    monkeypatch.setattr(kafka_keeper, "_PAUSE_S", 0.001)


def keeper(broker: Broker) -> KafkaKeeper:
    return KafkaKeeper(cast(LocalKafka, broker))


def test_a_broker_that_dies_again_and_again_is_given_up() -> None:
    broker = Broker()
    with keeper(broker) as kept:
        for _ in range(MAX_STARTS):
            broker.alive = False
            assert broker.started.acquire(timeout=HANG_S)
        broker.alive = False
        with pytest.raises(BrokerFailed, match=r"ended with status 137, after 3 restarts within 10 minutes"):
            kept.given_up.result(HANG_S)
    assert broker.starts == MAX_STARTS


def test_a_broker_that_dies_now_and_then_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_keeper, "PERIOD_S", 0.0)
    broker = Broker()
    with keeper(broker) as kept:
        for _ in range(3 * MAX_STARTS):
            broker.alive = False
            assert broker.started.acquire(timeout=HANG_S)
        assert not kept.given_up.done()


def test_one_that_cannot_be_started_is_given_up_with_the_reason() -> None:
    broker = Broker(can_start=False)
    with keeper(broker) as kept:
        broker.alive = False
        with pytest.raises(BrokerFailed, match="no room on the disk"):
            kept.given_up.result(HANG_S)
    assert broker.starts == MAX_STARTS


def test_a_system_that_stops_has_its_broker_stopped_for_good() -> None:
    broker = Broker()
    with keeper(broker) as kept:
        pass
    assert not broker.alive
    assert broker.starts == 0
    assert not kept.given_up.done()
