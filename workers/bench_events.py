"""The events that benchmarks are made of: impressions of MIND's size, article vectors, and publishing them.

An impression has 37 candidates, a click, and a history of 30 ids: 1.0 to 1.5 KB of JSON, as MIND's have. What
is shown is skewed, as on a front page: half of all exposures go to a few percent of the articles. The same
seed gives the same events.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import numpy as np
import orjson

from freshet.models.events import ArticleVector, from_unix_s
from freshet.streams.kafka import topic_name
from freshet.streams.outbox import Outbox, partition_of
from freshet.streams.settings import Settings
from freshet.streams.topics import ARTICLE_VECTORS, Topic

CANDIDATES = 37
"""Of an impression and of a request to rank: the mean of MIND."""
HISTORY = 30
BUNDLE = "bench"

_FLUSH_RECORDS = 2_000
_SKEW = 0.8
"""Exponent of an article's rank in its share of exposures."""
_SPAN_S = 3_600.0
"""The time that the impressions span; they end a minute before now."""

KeyedValue = tuple[str, bytes]


def article_id(row: int) -> str:
    """As long as MIND's."""
    return f"N{10_000 + row}"


def user_id(row: int) -> str:
    """As long as MIND's."""
    return f"U{100_000 + row}"


def impressions(count: int, users: int, articles: int, seed: int = 7) -> Iterator[KeyedValue]:
    """``count`` impressions in the order of time, with their users' ids."""
    rng = np.random.default_rng(seed)
    share = 1.0 / np.arange(1, articles + 1) ** _SKEW
    bounds = np.cumsum(share / share.sum())
    start_s = time.time() - 60.0 - _SPAN_S
    for number in range(count):
        shown = np.unique(np.searchsorted(bounds, rng.random(3 * CANDIDATES)).clip(max=articles - 1))
        candidates = [article_id(row) for row in rng.permutation(shown)[:CANDIDATES].tolist()]
        history = [article_id(row) for row in np.searchsorted(bounds, rng.random(HISTORY)).tolist()]
        user = user_id(int(rng.integers(users)))
        yield (
            user,
            orjson.dumps(
                {
                    "version": 1,
                    "impression_id": f"I{number}",
                    "user_id": user,
                    "time": from_unix_s(start_s + _SPAN_S * number / count),
                    "candidates": candidates,
                    "clicked": candidates[:1],
                    "history": history,
                }
            ),
        )


def article_vectors(count: int, d: int, seed: int = 7) -> Iterator[KeyedValue]:
    """``count`` articles with clustered unit vectors, published within the last day."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(100, d))
    vectors = centres[rng.integers(100, size=count)] + rng.normal(scale=0.7, size=(count, d))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    now_s = time.time()
    ages_s = 7_200.0 + 80_000.0 * rng.random(count)
    for row in range(count):
        article = ArticleVector(
            news_id=article_id(row),
            bundle=BUNDLE,
            vector=tuple(vectors[row].astype(np.float32).tolist()),
            published_at=from_unix_s(now_s - float(ages_s[row])),
            title="A headline of an article that is as long as most of them are",
            category=f"category-{row % 18}",
            language="en",
        )
        yield article.news_id, article.to_json()


async def publish(settings: Settings, topic: Topic, events: Iterable[KeyedValue]) -> int:
    """Publish ``events`` by their keys' partitions, wait until all are delivered, and return their number."""
    name = topic_name(settings, topic.name)
    outbox = Outbox(settings)
    await outbox.start()
    count = 0
    try:
        for count, (key, value) in enumerate(events, 1):
            outbox.add(name, partition_of(key, settings.partitions), key.encode(), value)
            if count % _FLUSH_RECORDS == 0:
                await outbox.flush()
        await outbox.flush()
    finally:
        await outbox.stop()
    return count


async def publish_articles(settings: Settings, count: int) -> None:
    """Publish ``count`` articles with their vectors, for the stream workers to know before they start."""
    await publish(settings, ARTICLE_VECTORS, article_vectors(count, settings.dimension))
