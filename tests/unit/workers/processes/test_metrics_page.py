"""A page of metrics gives totals, and quantiles as Prometheus itself estimates them."""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from freshet.workers.processes.metrics_page import Buckets, MetricsPage


def page_of(registry: CollectorRegistry) -> MetricsPage:
    return MetricsPage(generate_latest(registry).decode())


def test_totals_add_up_the_samples_that_carry_the_labels() -> None:
    registry = CollectorRegistry()
    events = Counter("events_total", "Events.", ["topic", "partition"], registry=registry)
    events.labels("clicks", "0").inc(2)
    events.labels("clicks", "1").inc(3)
    events.labels("articles", "0").inc(7)
    page = page_of(registry)
    assert page.total("events_total") == 12
    assert page.total("events_total", topic="clicks") == 5
    assert page.total("no_such_total") == 0


def test_a_histogram_is_summed_over_its_other_labels() -> None:
    registry = CollectorRegistry()
    seconds = Histogram("seconds", "Time.", ["kind"], buckets=(0.1, 1.0), registry=registry)
    seconds.labels("a").observe(0.05)
    seconds.labels("b").observe(0.5)
    buckets = page_of(registry).buckets("seconds")
    assert buckets == Buckets([0.1, 1.0, math.inf], [1.0, 2.0, 2.0])
    assert page_of(registry).buckets("seconds", kind="b").counts == [0.0, 1.0, 1.0]


@pytest.mark.parametrize(("q", "seconds"), [(0.25, 0.05), (0.5, 0.1), (0.75, 0.55), (1.0, 1.0)])
def test_quantiles_are_linear_within_a_bucket(q: float, seconds: float) -> None:
    assert Buckets([0.1, 1.0, math.inf], [2.0, 4.0, 4.0]).quantile(q) == pytest.approx(seconds)


def test_a_quantile_above_the_last_bound_is_that_bound() -> None:
    assert Buckets([0.1, 1.0, math.inf], [0.0, 0.0, 3.0]).quantile(0.99) == 1.0


def test_without_observations_there_is_no_quantile() -> None:
    assert Buckets([], []).quantile(0.5) is None
    assert Buckets([0.1, math.inf], [0.0, 0.0]).quantile(0.5) is None


def test_the_difference_of_two_pages_is_what_happened_between_them() -> None:
    now = Buckets([0.1, 1.0, math.inf], [2.0, 5.0, 5.0])
    assert now.since(Buckets([0.1, 1.0, math.inf], [2.0, 2.0, 2.0])).counts == [0.0, 3.0, 3.0]
    assert now.since(Buckets([], [])) == now
