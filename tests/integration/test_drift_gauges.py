"""A running worker shows on its metrics that readers click other things, and that new vectors are longer."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from freshet.models.events.events import ArticleVector, Click, from_unix_s
from freshet.streams.kafka import topics
from freshet.workers.processes.kafka.broker import LocalKafka
from freshet.workers.processes.metrics_page import MetricsPage, MetricsUnavailable
from tests.integration.stream_harness import (
    BUNDLE,
    START_S,
    keyed,
    send,
    settings_for,
    stream_process,
    vectors,
    wait_for,
)

pytestmark = pytest.mark.broker

DAY_S = 86_400.0


def _articles(known: list[ArticleVector]) -> list[ArticleVector]:
    """The second half is new and three times as long."""
    half = len(known) // 2
    return [
        article.model_copy(
            update={
                "published_at": from_unix_s(START_S - (0.5 * DAY_S if i >= half else 20 * DAY_S)),
                "vector": tuple(x * (3.0 if i >= half else 1.0) for x in article.vector),
                "category": "politics" if i % 2 else "sport",
                "bundle": BUNDLE,
            }
        )
        for i, article in enumerate(known)
    ]


def test_drift_is_seen_on_the_metrics_of_a_running_worker(kafka: LocalKafka, tmp_path: Path) -> None:
    settings = settings_for(kafka, tmp_path)
    articles = _articles(vectors(settings, 40))
    clicks = [
        Click(user_id=f"U{i}", news_id=f"N{2 * (i % 10) + late}", time=from_unix_s(START_S - age_s + i))
        for late, age_s in ((0, 10 * DAY_S), (1, 0.0))
        for i in range(60)
    ]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with stream_process(
        settings, tmp_path, FRESHET_METRICS_PORT=str(port), FRESHET_DRIFT_INTERVAL_S="0.2"
    ) as worker:
        asyncio.run(send(settings, [keyed(topics.ARTICLE_VECTORS.name, a, a.key) for a in articles]))
        asyncio.run(send(settings, [keyed(topics.CLICKS.name, click, click.user_id) for click in clicks]))

        async def seen() -> MetricsPage | None:
            try:
                page = MetricsPage.read("127.0.0.1", port)
            except MetricsUnavailable:
                return None  # not started yet; a worker that has ended fails the test
            sampled = page.total("freshet_drift_sampled_articles", articles="new")
            # Not a number while too few clicks are known.
            return page if sampled == 20 and page.total("freshet_drift_categories_psi_ratio") > 0.25 else None

        page = asyncio.run(wait_for(seen, "the drift", [worker]))
        assert page.total("freshet_drift_sampled_articles", articles="older") == 20
        assert page.total("freshet_drift_norm_shift_ratio") == pytest.approx(2.0, rel=1e-4)
        assert 0 < page.total("freshet_drift_centroid_shift_ratio") < 2
        assert 0 < page.total("freshet_drift_novelty_ratio", articles="new") < 2
        assert worker.stop() == 0
