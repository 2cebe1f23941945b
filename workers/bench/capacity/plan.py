"""Plans what a site of a given size needs: memory, disk, Kafka, partitions and workers.

Sizes of records are exact: each is built by the code that writes it. What a worker can do, and what it holds
in memory, are the constants below, each measured by the command named beside it, on one machine; whoever
plans for another measures there and scales. What is neither is an argument of :class:`Site`, with the default
that the documents explain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from freshet.streams.kafka import topics
from freshet.streams.kafka.topics import Topic
from freshet.workers.bench.capacity.records import (
    article_bytes,
    article_counts_bytes,
    traffic_bytes,
    user_state,
    user_vector_bytes,
)

IMPRESSION_S = 1 / 1_680
"""Seconds of one worker for an impression with all effects: ``freshet bench throughput``."""
ANSWER_S = 7.4e-3
"""Processor time of an answer of ten of 10,000 articles, in the worker: docs/explanation/figures.md."""
TEXTS_PER_S = 157.0
"""Article texts embedded by two cores: ``freshet bench embed``, docs/explanation/figures.md."""
INDEX_BYTES_PER_ARTICLE = 822.0
"""Private memory of the index, d = 64: ``freshet bench index``, docs/explanation/figures.md."""
CATALOG_BYTES_PER_ARTICLE = 890.0
"""Memory of an article in a worker's catalog, d = 64, with room to grow, without co-clicks."""
CO_CLICK_BYTES = 9.6
"""Memory of one article among the contexts of another."""
CACHED_USER_BYTES = 10_500.0
"""Memory of a decoded state with 20 clicks and 100 articles shown, measured with 20,000 states."""
WORKER_BYTES = 108e6
"""Resident memory of ``freshet stream`` without articles and users, by ``/proc/PID/status``."""
TABLE_CACHE_BYTES = (64 + 16) * 2.0**20
"""Upper bound of the store's caches and write buffers, for each partition of each of the two tables."""

_D = 64
"""Dimension of the vectors of the measurements above."""
_TABLES = 2
_DAY_S = 86_400.0
_COMPACTED = 2.0
"""A compacted topic holds as much again of what is replaced: Kafka's ``min.cleanable.dirty.ratio``, 0.5."""
_RECORD_BYTES = 20
"""Kafka's own of each record, in a batch of many."""
_KEY_BYTES = 15
_USERS_CHANGELOG, _ARTICLES_CHANGELOG = "user-state (changelog)", "article-counts (changelog)"
_PARTITIONS_PER_WORKER = 4
_FEWEST_PARTITIONS = 8


@dataclass(frozen=True, slots=True)
class Site:
    """A site to plan for. Replace the defaults by what you know.

    Raises:
        ValueError: A number is out of its range.
    """

    users: int
    """Known by id, active or not: the state of each is kept."""
    articles: int
    """Articles that may be recommended; withdraw or delete the others."""
    impressions_per_day: int
    requests_per_day: int
    articles_per_day: int
    """New or changed."""
    shown: int = 10
    """Articles in an impression."""
    clicks: float = 0.3
    """Clicks of an impression, each published as a click too."""
    remembered_clicks: int = 20
    """Clicks that the average user's state remembers; at most ``FRESHET_MAX_RECENT_CLICKS``."""
    remembered_shown: int = 100
    """Articles shown to the average user; at most ``FRESHET_MAX_EXPOSURES``."""
    co_clicks: int = 50
    """Distinct articles in the contexts of the average article's clicks; at most 500."""
    dimension: int = _D
    heads: int = 3
    """Vectors of a user: one for each half-life, and that of skips."""
    cached_users: int = 50_000
    """``FRESHET_CACHED_USERS``."""
    replication: int = 3
    peak: float = 3.0
    """The busiest minutes' traffic, by the day's mean."""
    utilisation: float = 0.5
    """The share of a worker's time that the peak may take: what is left catches up after a stop."""

    def __post_init__(self) -> None:
        whole = ("users", "articles", "shown", "dimension", "replication")
        if wrong := [name for name in whole if getattr(self, name) < 1]:
            raise ValueError(f"{', '.join(wrong)} must be at least 1")
        traffic = ("impressions_per_day", "requests_per_day", "articles_per_day", "clicks")
        rest = (*traffic, "cached_users", "remembered_clicks", "remembered_shown", "co_clicks")
        if wrong := [name for name in rest if not 0 <= getattr(self, name) < math.inf]:
            raise ValueError(f"{', '.join(wrong)} must not be negative")
        if not 2 <= self.heads <= 16:  # noqa: PLR2004 - an interest and skips; models/pooling.py
            raise ValueError(f"heads is {self.heads}, must be 2 to 16")
        if not 1.0 <= self.peak < math.inf or not 0.0 < self.utilisation <= 1.0:
            raise ValueError("peak must be at least 1, and utilisation above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class TopicSize:
    """Disk that one topic takes."""

    topic: str
    record_bytes: int
    """Key and value."""
    records: float
    """Bytes on disk at any one time, on each replica."""
    disk_bytes: float
    """Bytes on disk with all replicas."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Needs of a site."""

    site: Site
    impressions_per_s: float
    """Events per second at the peak, as the next fields are."""
    clicks_per_s: float
    requests_per_s: float
    worker_seconds_per_s: float
    """Processor time of stream workers."""
    stream_workers: int
    """Stream workers, of one core each."""
    partitions: int
    user_state_bytes: int
    worker_memory_bytes: float
    """Memory of each stream worker with an embedded index."""
    worker_memory_with_server_bytes: float
    """Memory of each stream worker where the index is a Qdrant server."""
    worker_disk_bytes: float
    index_memory_bytes: float
    embedding_workers: int
    """Embedding workers, of two cores each."""
    embed_all_h: float
    """Hours in which these embed all articles, for a new bundle."""
    kafka_disk_bytes: float
    topics: tuple[TopicSize, ...]

    def as_json(self) -> dict[str, Any]:
        """Return all fields as plain values."""
        return asdict(self)


def plan(site: Site) -> Plan:
    """Plan for ``site``."""
    peak = site.peak / _DAY_S
    impressions_per_s = site.impressions_per_day * peak
    clicks_per_s = impressions_per_s * site.clicks
    requests_per_s = site.requests_per_day * peak
    # A click is reckoned as an impression: it costs less.
    busy = (impressions_per_s + clicks_per_s) * IMPRESSION_S + requests_per_s * ANSWER_S
    workers = max(1, math.ceil(busy / site.utilisation))
    partitions = max(_FEWEST_PARTITIONS, 1 << math.ceil(math.log2(workers * _PARTITIONS_PER_WORKER)))
    state = len(
        user_state(
            site.dimension, site.heads, site.remembered_clicks, site.remembered_shown, site.shown
        ).to_bytes()
    )
    vectors = 4.0 * (site.dimension - _D)
    index = site.articles * (INDEX_BYTES_PER_ARTICLE + vectors)
    catalog = site.articles * (CATALOG_BYTES_PER_ARTICLE + vectors + CO_CLICK_BYTES * site.co_clicks)
    cached = min(site.cached_users, site.users / workers) * CACHED_USER_BYTES
    tables = math.ceil(partitions / workers) * _TABLES * TABLE_CACHE_BYTES
    with_server = WORKER_BYTES + catalog + cached + tables
    texts_per_s = site.articles_per_day * peak
    embedders = max(1, math.ceil(texts_per_s / TEXTS_PER_S / site.utilisation))
    sizes = tuple(sorted(_topics(site, state), key=lambda size: -size.disk_bytes))
    return Plan(
        site=site,
        impressions_per_s=impressions_per_s,
        clicks_per_s=clicks_per_s,
        requests_per_s=requests_per_s,
        worker_seconds_per_s=busy,
        stream_workers=workers,
        partitions=partitions,
        user_state_bytes=state,
        worker_memory_bytes=with_server + index,
        worker_memory_with_server_bytes=with_server,
        worker_disk_bytes=_COMPACTED
        * (site.users * state + site.articles * article_counts_bytes(site.co_clicks))
        / workers,
        index_memory_bytes=index,
        embedding_workers=embedders,
        embed_all_h=site.articles / TEXTS_PER_S / embedders / 3_600.0,
        kafka_disk_bytes=sum(size.disk_bytes for size in sizes),
        topics=sizes,
    )


def _topics(site: Site, state: int) -> Iterator[TopicSize]:
    """Every topic whose size grows with the site, tables' changelogs included."""
    traffic = traffic_bytes(site.shown, site.remembered_clicks)
    events = site.impressions_per_day * (1.0 + site.clicks)
    per_day: dict[Topic, float] = {
        topics.IMPRESSIONS: site.impressions_per_day,
        topics.CLICKS: site.impressions_per_day * site.clicks,
        topics.REQUESTS: site.requests_per_day,
        topics.RECOMMENDATIONS: site.requests_per_day,
        topics.SLATES: events,
        topics.RANKER_EXAMPLES: events,
    }
    for topic, records in per_day.items():
        kept = records * topic.retention_ms / 1_000.0 / _DAY_S
        yield _size(topic.name, traffic[topic.name], kept, site)
    of_users = {
        _USERS_CHANGELOG: _KEY_BYTES + state,
        topics.USER_VECTORS.name: user_vector_bytes(site.dimension, site.heads),
    }
    for name, record_bytes in of_users.items():
        yield _size(name, record_bytes, _COMPACTED * site.users, site)
    of_articles = article_bytes(site.dimension, site.co_clicks)
    of_articles[_ARTICLES_CHANGELOG] = _KEY_BYTES + article_counts_bytes(site.co_clicks)
    for name, record_bytes in of_articles.items():
        yield _size(name, record_bytes, _COMPACTED * site.articles, site)


def _size(name: str, record_bytes: int, records: float, site: Site) -> TopicSize:
    disk = records * (record_bytes + _RECORD_BYTES) * site.replication
    return TopicSize(name, record_bytes, records, disk)
