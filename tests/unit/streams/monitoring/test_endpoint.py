"""The endpoint tells Prometheus, and whoever restarts a process, what they ask for."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest

from freshet.streams.errors import PortUnavailable
from freshet.streams.monitoring import endpoint
from tests.waiting import HANG_S


class Process(SimpleNamespace):
    """A process' state, as a test sets it."""

    url: str
    ready: bool
    reason: str | None
    silent_s: float
    lost: str | None = None

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=HANG_S) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def process() -> Process:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    state = Process(url=f"http://127.0.0.1:{port}", ready=False, reason=None, silent_s=0.0)
    endpoint.serve(
        "127.0.0.1",
        port,
        ready=lambda: state.ready,
        unhealthy=lambda: state.reason,
        unready=lambda: state.lost,
        silent_s=lambda: state.silent_s,
    )
    return state


def test_a_process_that_starts_is_healthy_and_not_ready(process: Process) -> None:
    assert process.get("/healthz") == (200, "ok\n")
    assert process.get("/readyz") == (503, "starting\n")


def test_a_process_that_can_do_its_work_is_ready(process: Process) -> None:
    process.ready = True
    assert process.get("/readyz") == (200, "ok\n")


def test_a_process_that_should_be_restarted_says_why_and_is_not_ready(process: Process) -> None:
    process.ready, process.reason = True, "the consumer hangs"
    assert process.get("/healthz") == (503, "the consumer hangs\n")
    assert process.get("/readyz") == (503, "the consumer hangs\n")
    process.reason = None
    assert process.get("/healthz") == (200, "ok\n")


def test_a_process_that_has_lost_its_partitions_is_healthy_and_not_ready(process: Process) -> None:
    process.ready, process.lost = True, "no member of its group"
    assert process.get("/healthz") == (200, "ok\n")
    assert process.get("/readyz") == (503, "no member of its group\n")


def test_a_process_whose_broker_is_silent_says_for_how_long_and_is_soon_not_ready(process: Process) -> None:
    process.ready, process.silent_s = True, 7.0
    assert process.get("/readyz") == (200, "Kafka has not answered for 7 s\n")
    process.silent_s = 31.4
    assert process.get("/readyz") == (503, "Kafka has not answered for 31 s\n")
    assert process.get("/healthz") == (200, "Kafka has not answered for 31 s\n"), "no restart would help"


def test_a_port_in_use_is_refused_with_its_number_and_the_setting(process: Process) -> None:
    port = int(process.url.rpartition(":")[2])
    with pytest.raises(PortUnavailable, match=rf"port {port}: Address already in use.*FRESHET_METRICS_PORT"):
        endpoint.serve("127.0.0.1", port, ready=lambda: True)
    with pytest.raises(PortUnavailable, match="FRESHET_METRICS_HOST"):
        endpoint.serve("no.such.host.invalid", port, ready=lambda: True)


def test_the_metrics_are_where_prometheus_looks_and_nowhere_else(process: Process) -> None:
    status, text = process.get("/metrics")
    assert status == 200
    assert "freshet_events_total" in text
    assert process.get("/")[0] == 404


def test_port_0_serves_nothing() -> None:
    def never() -> bool:
        raise AssertionError("nobody asks")

    endpoint.serve("no such host", 0, ready=never)
