"""A running worker that knows two clusters of articles, and a client of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from freshet.models.events.events import (
    ArticleVector,
    Recommendation,
    from_unix_s,
)
from freshet.streams.client import Freshet
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from tests.integration.stream_harness import (
    BUNDLE,
    START_S,
    StreamProcess,
    keyed,
    send,
    stream_process,
    wait_for,
)
from tests.waiting import HANG_S

CLUSTER = 15
CATEGORIES = ("sport", "politics")
NOW = from_unix_s(START_S)


def article(news_id: str, category: str, age_s: float = 3_600.0, seed: int = 0) -> ArticleVector:
    """An article near the axis of its category."""
    vector = 0.15 * np.random.default_rng(seed).normal(size=16)
    vector[CATEGORIES.index(category)] += 1.0
    vector /= np.linalg.norm(vector)
    return ArticleVector(
        news_id=news_id,
        bundle=BUNDLE,
        vector=tuple(vector.tolist()),
        published_at=from_unix_s(START_S - age_s),
        title=f"{category} {news_id}",
        category=category,
    )


def articles() -> list[ArticleVector]:
    """S0.. are sport and P0.. politics; the higher the number, the older, by an hour each."""
    return [
        article(f"{category[0].upper()}{i}", category, 3_600.0 * (i + 1), seed=100 * len(category) + i)
        for category in CATEGORIES
        for i in range(CLUSTER)
    ]


class World:
    """A worker that knows the articles, and a client."""

    def __init__(self, settings: Settings, worker: StreamProcess, client: Freshet) -> None:
        self.settings = settings
        self.worker = worker
        self.client = client

    def recommend(self, user_id: str, k: int = 10, **asked: object) -> Recommendation:
        """What the worker answers in the time of the tests."""
        return self.client.recommend(user_id, k, **({"time": NOW} | asked), timeout_s=HANG_S)

    def click(self, user_id: str, *news_ids: str) -> None:
        """Publish clicks, a second apart and before the time of the requests."""
        for i, news_id in enumerate(news_ids):
            self.client.click(user_id, news_id, time=from_unix_s(START_S - 60.0 + i))

    async def after_clicks(self, user_id: str, clicks: int, k: int = 10, **asked: object) -> Recommendation:
        """The first answer that rests on ``clicks`` clicks."""

        async def answer() -> Recommendation | None:
            found = self.recommend(user_id, k, **asked)
            assert found.user_clicks <= clicks
            return found if found.user_clicks == clicks else None

        return await wait_for(answer, f"{clicks} clicks of {user_id}", [self.worker])

    async def until(self, probe: Callable[[], Any], what: str) -> Any:
        """Wait for the worker."""
        return await wait_for(probe, what, [self.worker])


@contextmanager
def served(settings: Settings, **environment: str) -> Iterator[World]:
    """A worker that has read the articles."""
    ensure_topics(settings)
    asyncio.run(send(settings, [keyed("article-vectors", a, a.key) for a in articles()]))
    with (
        stream_process(settings, settings.data_dir, **environment) as worker,
        Freshet(settings) as client,
    ):
        world = World(settings, worker, client)
        world.recommend("U-first")
        yield world
        assert worker.stop() == 0


def ids_of(answer: Recommendation) -> list[str]:
    return [item.news_id for item in answer.items]


def categories_of(answer: Recommendation) -> set[str]:
    return {item.category for item in answer.items}
