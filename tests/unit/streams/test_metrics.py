"""The metrics keep Prometheus' conventions, and none is declared that nobody sets."""

from __future__ import annotations

import re
import socket
import urllib.request

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from freshet.streams import metrics
from freshet.streams.monitoring import endpoint
from tests.repository import ROOT
from tests.waiting import HANG_S

METRICS = {
    name: metric for name, metric in vars(metrics).items() if isinstance(metric, Counter | Gauge | Histogram)
}
UNITS = (
    "_seconds",
    "_total",
    "_ratio",
    "_bytes",
    "_events",
    "_texts",
    "_articles",
    "_users",
    "_candidates",
    "_partitions",
    "_breakers",
    "_info",
)
"""What a name may end with: a base unit, or what is counted."""


def _name(metric: Counter | Gauge | Histogram) -> str:
    (family,) = metric.describe()
    return family.name + ("_total" if isinstance(metric, Counter) else "")


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_named_as_prometheus_asks(name: str) -> None:
    full = _name(METRICS[name])
    assert re.fullmatch(r"freshet_[a-z0-9_]+", full)
    assert full.endswith(UNITS), full
    (family,) = METRICS[name].describe()
    assert family.documentation.endswith(".")


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_set_somewhere(name: str) -> None:
    sources = [path for folder in ("streams", "workers") for path in (ROOT / folder).rglob("*.py")]
    uses = [path for path in sources if f"metrics.{name}" in path.read_text(encoding="utf-8")]
    assert uses, f"{name} is declared and never set"


def test_the_endpoint_serves_them_on_loopback() -> None:
    port = _free_port()
    endpoint.serve("127.0.0.1", port, ready=lambda: True)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=HANG_S) as page:
        families = {family.name for family in text_string_to_metric_families(page.read().decode())}
    expected = {metric.describe()[0].name for metric in METRICS.values()}
    assert expected <= families


def test_the_metrics_are_process_wide() -> None:
    assert isinstance(REGISTRY, CollectorRegistry)
    names = [metric.describe()[0].name for metric in METRICS.values()]
    assert len(names) == len(set(names))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
