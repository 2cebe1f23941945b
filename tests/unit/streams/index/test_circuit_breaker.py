"""A breaker opens at what fails twice in a row, asks in the background, and closes when it is answered."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from freshet.models.ports import IndexUnavailable
from freshet.streams.index import circuit_breaker
from freshet.streams.index.circuit_breaker import CircuitBreaker
from freshet.streams.metrics import INDEX_OPEN_BREAKERS
from tests.waiting import HANG_S


class Server:
    """Refuses until it is up; each time it is asked, it waits to be let go on."""

    def __init__(self) -> None:
        self.error: Exception | None = IndexUnavailable("refused")
        self.asked = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.by: set[str] = set()

    def __call__(self) -> None:
        error = self.error
        self.by.add(threading.current_thread().name)
        self.asked.release()
        assert self.go_on.acquire(timeout=HANG_S)
        if error is not None:
            raise error

    def answer(self, times: int = 1) -> None:
        """Let the next probes go on, and return when they have begun."""
        for _ in range(times):
            self.go_on.release()
            assert self.asked.acquire(timeout=HANG_S)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def breaker(server: Server) -> Iterator[CircuitBreaker]:
    breaker = CircuitBreaker("cb", server)
    yield breaker
    breaker.stop()
    server.go_on.release(100)


def is_open(breaker: CircuitBreaker) -> bool:
    try:
        breaker.check()
    except IndexUnavailable:
        return True
    return False


def closed(breaker: CircuitBreaker) -> None:
    """Wait until it has closed, and its thread has ended."""
    for thread in threading.enumerate():
        if thread.name == "probe-cb":
            thread.join(HANG_S)
    assert not is_open(breaker)


def test_one_failure_among_successes_does_not_open_it(breaker: CircuitBreaker, server: Server) -> None:
    for _ in range(5):
        breaker.failed("this query alone")
        breaker.succeeded()
    assert not is_open(breaker)
    assert not server.by


def test_two_failures_in_a_row_open_it_until_the_server_answers_a_probe(
    breaker: CircuitBreaker, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "freshet")
    for _ in range(200):
        breaker.failed("refused at all times")
    with pytest.raises(IndexUnavailable, match="index of bundle cb is out of order: refused at all times"):
        breaker.check()
    assert INDEX_OPEN_BREAKERS.labels("cb")._value.get() == 1
    server.answer(times=3)
    assert is_open(breaker)
    server.error = None
    server.answer()
    closed(breaker)
    assert server.by == {"probe-cb"}, "no caller asks a server that is out of order"
    assert INDEX_OPEN_BREAKERS.labels("cb")._value.get() == 0
    said = [record.message for record in caplog.records]
    assert len(said) == 2, "once that it opened and once that it closed"
    assert "refused at all times" in said[0]
    assert "is back" in said[1]


def test_what_nobody_foresaw_is_said_once_and_the_probes_go_on(
    breaker: CircuitBreaker, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.error = ValueError("of another dimension")
    breaker.open("not opened yet")
    server.answer(times=3)
    server.error = None
    server.answer()
    closed(breaker)
    (unforeseen,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert unforeseen.exc_info is not None


def test_one_that_opens_again_soon_waits_longer_and_longer(
    breaker: CircuitBreaker, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    class Stopped(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            return False

    now_s = 1_000.0
    monkeypatch.setattr(breaker, "_stopped", Stopped())
    monkeypatch.setattr(circuit_breaker.time, "monotonic", lambda: now_s)
    server.error = None
    for _ in range(9):
        breaker.open("again")
        server.answer()
        closed(breaker)
    assert waited == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    now_s += 60.0
    breaker.open("a day later, so to say")
    server.answer()
    closed(breaker)
    assert waited[-1] == 0.0


def test_a_stopped_breaker_asks_nobody_and_has_no_metric(breaker: CircuitBreaker, server: Server) -> None:
    breaker.stop()
    breaker.stop()
    breaker.open("too late")
    assert not is_open(breaker)
    assert not server.by
    assert not [s for m in INDEX_OPEN_BREAKERS.collect() for s in m.samples if s.labels["bundle"] == "cb"]
