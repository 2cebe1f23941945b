"""The Prometheus of the tests scrapes what it is told to, evaluates its rules, and is gone afterwards."""

from __future__ import annotations

import math
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge, start_http_server

from tests.prometheus_server import PrometheusServer, free_port
from tests.waiting import HANG_S

_RULES = """
groups:
  - name: test
    rules:
      - alert: TooHigh
        expr: test_level_ratio > 0.5
"""


def test_it_scrapes_answers_queries_fires_alerts_and_stops(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    Gauge("test_level_ratio", "A level.", registry=registry).set(0.75)
    port = free_port()
    page, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    rules = tmp_path / "rules.yml"
    rules.write_text(_RULES)
    try:
        with PrometheusServer(
            {"job-a": [f"127.0.0.1:{port}"]}, tmp_path / "prometheus", [rules], 0.2
        ) as server:
            deadline = time.monotonic() + HANG_S
            while not server.alerts() and time.monotonic() < deadline:
                time.sleep(0.05)
            assert [alert["labels"]["alertname"] for alert in server.alerts()] == ["TooHigh"]
            assert server.value('test_level_ratio{job="job-a"}') == 0.75
            assert server.query("test_level_ratio")[0].labels["instance"] == f"127.0.0.1:{port}"
            assert server.value("scalar(test_level_ratio)") == 0.75
            assert math.isnan(server.value("test_unknown_ratio"))
            assert server.targets_up() == {f"127.0.0.1:{port}": True}
            with pytest.raises(AssertionError, match="parse error"):
                server.query("sum(")
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"{server.url}/-/ready", timeout=HANG_S)
    finally:
        page.shutdown()
        page.server_close()
        thread.join()


def test_a_broken_rule_is_told_with_the_reason(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(_RULES.replace("> 0.5", "> > 0.5"))
    with (
        pytest.raises(AssertionError, match="could not parse expression"),
        PrometheusServer({}, tmp_path / "prometheus", [rules]),
    ):
        pass
