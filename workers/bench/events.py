"""The events that benchmarks are made of: impressions of MIND's size, article vectors, and publishing them.

An impression has 37 candidates, a click, and a history of 30 ids, about 1.5 KB of JSON. At any one time two
thousand articles are shown, some much more often than others, and they are replaced by and by: in MIND,
70,000 impressions of a day show 5,400 articles. The same seed gives the same events.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import numpy as np
import orjson

from freshet.models.events.events import ArticleVector, from_unix_s
from freshet.models.kernels.unit_norm import to_unit_norm
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.outbox import Outbox, partition_of
from freshet.streams.kafka.topics import ARTICLE_VECTORS, Topic
from freshet.streams.settings import Settings

CANDIDATES = 37
"""Candidates of an impression and of a request to rank: MIND's mean."""
HISTORY = 30
BUNDLE = "bench"

_FLUSH_RECORDS = 2_000
_SKEW = 0.8
"""Exponent of an article's rank in its share of exposures."""
_ON_SHOW = 2_000
"""Articles shown at one time."""
_SPAN_S = 3_600.0
"""The time that the impressions span; they end a minute before now."""

KeyedValue = tuple[str, bytes]


def article_id(row: int) -> str:
    """Return an id of 15 characters, between MIND's short numbers and the UUIDs of many publishers."""
    return f"news-{row:010d}"


def user_id(row: int) -> str:
    """Return an id of 15 characters."""
    return f"user-{row:010d}"


def impressions(count: int, users: int, articles: int, seed: int = 7) -> Iterator[KeyedValue]:
    """``count`` impressions in the order of time, with their users' ids."""
    rng = np.random.default_rng(seed)
    on_show = min(articles, _ON_SHOW)
    share = 1.0 / np.arange(1, on_show + 1) ** _SKEW
    bounds = np.cumsum(rng.permutation(share / share.sum()))
    bounds[-1] = 1.0
    start_s = time.time() - 60.0 - _SPAN_S
    for number in range(count):
        first = (articles - on_show) * number // count
        shown = first + np.unique(np.searchsorted(bounds, rng.random(3 * CANDIDATES)))
        candidates = [article_id(row) for row in rng.permutation(shown)[:CANDIDATES].tolist()]
        history = [article_id(first + row) for row in np.searchsorted(bounds, rng.random(HISTORY)).tolist()]
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
    vectors = to_unit_norm(vectors)
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
        yield article.key, article.to_json()


async def publish(settings: Settings, topic: Topic, events: Iterable[KeyedValue]) -> int:
    """Publish ``events`` by their keys' partitions, wait until all are delivered, and return their number."""
    name = topic_name(settings, topic.name)
    outbox = Outbox(settings)
    await outbox.start()
    count = 0
    try:
        for count, (key, value) in enumerate(events, 1):
            outbox.add_record(name, partition_of(key, settings.partitions), key.encode(), value)
            if count % _FLUSH_RECORDS == 0:
                await outbox.flush()
        await outbox.flush()
    finally:
        await outbox.stop()
    return count


async def publish_articles(settings: Settings, count: int) -> None:
    """Publish ``count`` articles with their vectors, for the stream workers to know before they start."""
    await publish(settings, ARTICLE_VECTORS, article_vectors(count, settings.dimension))
