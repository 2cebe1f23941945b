"""Watches a running system while it is fed: its metrics, and which articles are clicked now.

One background thread reads the Prometheus endpoint and the topic ``article-stats``; :attr:`DemoMonitor.view`
is what it saw last. An endpoint that does not answer for a moment leaves the last view standing.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from kafka import TopicPartition

from freshet.models.articles.trending import TRENDING_HALF_LIFE_S, clicks_left
from freshet.models.events.events import ArticleStats, to_unix_s
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.consumers import kafka_consumer
from freshet.streams.kafka.topics import ARTICLE_STATS, IMPRESSIONS
from freshet.streams.settings import Settings
from freshet.workers.processes.background_thread import BackgroundThread
from freshet.workers.processes.metrics_page import Buckets, MetricsPage, MetricsUnavailable

_EVERY_S = 0.8
_RATE_PAGES = 4
"""Rates are those of about the last three seconds."""
_JOIN_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Trending:
    """An article that is clicked now."""

    news_id: str
    clicks: float
    """Clicks, decayed with ``TRENDING_HALF_LIFE_S``."""


@dataclass(frozen=True, slots=True)
class MonitorView:
    """The system as it was seen last, ``None`` where unknown yet. Latencies are those since the start."""

    impressions_per_s: float | None = None
    applied: int = 0
    """Impressions with clicks, and clicks, that have changed a vector."""
    request_p50_s: float | None = None
    request_p99_s: float | None = None
    click_to_vector_p50_s: float | None = None
    click_to_vector_p99_s: float | None = None
    auc: float | None = None
    """Of the last 1,000 answers whose clicks are known."""
    aucs: tuple[float, ...] = ()
    """The same, over time."""
    trending: tuple[Trending, ...] = field(default=())


class DemoMonitor(BackgroundThread):
    """A context manager; the thread ends with it.

    Args:
        settings: Where Kafka and the endpoint are.
        start: Latencies and clicks are counted from this page on.
        top: How many trending articles to name.
    """

    def __init__(self, settings: Settings, start: MetricsPage, top: int = 5) -> None:
        super().__init__("demo-monitor", _JOIN_TIMEOUT_S)
        self._settings = settings
        self._start = start
        self._top = top
        self._impressions = topic_name(settings, IMPRESSIONS.name)
        self._counted: deque[tuple[float, float]] = deque(maxlen=_RATE_PAGES)
        self._clicks: dict[str, tuple[float, float]] = {}
        self._aucs: list[float] = []
        self.view = MonitorView()

    def _run(self) -> None:
        consumer = kafka_consumer(self._settings)
        try:
            topic = topic_name(self._settings, ARTICLE_STATS.name)
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            looked_s = 0.0
            while not self._stop.is_set():
                for records in consumer.poll(timeout_ms=200).values():
                    self._count(records)
                if time.monotonic() - looked_s >= _EVERY_S:
                    looked_s = time.monotonic()
                    self._look(looked_s)
        finally:
            consumer.close()

    def _count(self, records: list[Any]) -> None:
        for record in records:
            stats = ArticleStats.from_json(record.value)
            for count in stats.counts:
                if count.half_life_s == TRENDING_HALF_LIFE_S:
                    self._clicks[stats.news_id] = to_unix_s(stats.time), count.clicks

    def _look(self, now_s: float) -> None:
        try:
            page = MetricsPage.read(self._settings.metrics_host, self._settings.metrics_port)
        except MetricsUnavailable:
            # It shares two cores with what it measures: the next look will do.
            return
        self._counted.append((now_s, page.total("freshet_events_total", topic=self._impressions)))
        (first_s, first), (last_s, last) = self._counted[0], self._counted[-1]
        if (auc := page.total("freshet_rolling_auc_ratio")) > 0:
            self._aucs.append(auc)
        requests = self._since_start(page, "freshet_request_seconds")
        clicks = self._since_start(page, "freshet_click_to_vector_seconds")
        self.view = MonitorView(
            impressions_per_s=(last - first) / (last_s - first_s) if last_s > first_s else None,
            applied=round(clicks.count),
            request_p50_s=requests.quantile(0.5),
            request_p99_s=requests.quantile(0.99),
            click_to_vector_p50_s=clicks.quantile(0.5),
            click_to_vector_p99_s=clicks.quantile(0.99),
            auc=self._aucs[-1] if self._aucs else None,
            aucs=tuple(self._aucs),
            trending=self._trending(),
        )

    def _since_start(self, page: MetricsPage, histogram: str) -> Buckets:
        return page.buckets(histogram).since(self._start.buckets(histogram))

    def _trending(self) -> tuple[Trending, ...]:
        # A copy of each count at one moment: the latest of which any article was clicked.
        now_s = max((time_s for time_s, _ in self._clicks.values()), default=0.0)
        clicks = {
            news_id: clicks_left(count, time_s, now_s) for news_id, (time_s, count) in self._clicks.items()
        }
        best = sorted(clicks, key=lambda news_id: (-clicks[news_id], news_id))[: self._top]
        return tuple(Trending(news_id, clicks[news_id]) for news_id in best)
