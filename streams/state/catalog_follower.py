"""Follower of the compacted topics that describe articles: keeps a process' catalog in step.

Every stream worker reads all of ``article-vectors``, ``article-stats``, ``co-clicks`` and ``control``. Agents
wait for ``caught_up``, so that no click is parked because the vector of an old article has not been read.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.trending import most_popular, popularity_of
from freshet.models.events.events import (
    ArticleStats,
    ArticleVector,
    CoClickCounts,
    Control,
    parse_vector_key,
    to_unix_s,
)
from freshet.models.ports import ArticleIndex
from freshet.streams import metrics
from freshet.streams.kafka import topics
from freshet.streams.kafka.compacted_topic import CompactedTopics
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.outbox import Outbox
from freshet.streams.records.intake import Intake, keyed
from freshet.streams.records.tracing import STREAM, RecordTraces
from freshet.streams.settings import Settings
from freshet.streams.state.article_vectors import checked_vector, indexed_article, put_article
from freshet.streams.state.index_writer import IndexWriter

log = logging.getLogger(__name__)

_POPULARITY_STEP = 0.02
"""Smallest change of a popularity that is written to the index, about one click more in a hundred."""


@dataclass(kw_only=True, eq=False)
class CatalogFollower(CompactedTopics):
    """Applies the article topics and ``control`` to a catalog and to its index."""

    settings: Settings
    catalog: ArticleCatalog
    """Receives vectors, statistics and withdrawals."""
    outbox: Outbox
    index: ArticleIndex
    """Receives withdrawals; with ``replicate`` also every vector."""
    replicate: bool
    """Fill the index: it is embedded, and no embedding worker of this process fills it."""
    publish_popularity: Callable[[Mapping[str, float]], None]
    """Receives popularities that the index may not know."""
    known: Callable[[str, int, int], bool]
    """Whether the catalog already has the record at a topic, partition and offset."""
    bundle: str | None
    """Bundle whose vectors to apply; ``None``: that of the first vector not in ``other_bundles``."""
    other_bundles: Collection[str]
    """Bundles whose vectors to ignore."""
    on_bundle: Callable[[str], None]
    """Called once with the id of the bundle."""
    on_control: Callable[[Control], None]
    """Called with every control record."""

    def __post_init__(self) -> None:
        self._intake = Intake(self.settings, self.outbox)
        self._writer = IndexWriter(self.index, self.catalog)
        handlers: dict[str, Callable[[Any], None]] = {
            topic_name(self.settings, topics.CONTROL.name): self._apply_control,
            topic_name(self.settings, topics.ARTICLE_VECTORS.name): self._apply_vector,
            topic_name(self.settings, topics.ARTICLE_STATS.name): self._apply_stats,
            topic_name(self.settings, topics.CO_CLICKS.name): self._apply_co_clicks,
        }
        self._changed_popularity: set[str] = set()
        self._popularity: dict[str, float] = {}
        """Popularities that the index has, or is about to receive."""
        self._withdrawn: set[str] = set()
        super().__init__(
            self.settings,
            handlers,
            lambda record: self._intake.handle(record, handlers[record.topic]),
            self._settle_poll,
        )

    async def run(self) -> None:
        """Follow until cancelled.

        Raises:
            KafkaError: The broker cannot be reached at the start.
        """
        if self.bundle is not None:
            self.on_bundle(self.bundle)
        await super().run()

    async def _settle_poll(self) -> None:
        await self.outbox.flush()
        metrics.CATALOG_ARTICLES.labels("known").set(len(self.catalog))
        if not self.complete:
            return  # the index gets each article once, with what the other topics say of it
        await self._write_index()
        self._intake.traces.done("index")
        if not self.caught_up.is_set():
            if not self.replicate:  # its index may hold a bundle that was out of service for long
                self.publish_popularity(most_popular(self.catalog))
            # Not earlier: the records read at the start were traced long ago.
            self._intake.traces = RecordTraces(self.settings, STREAM)
            log.info("the catalog has caught up: %d articles", len(self.catalog))

    def _apply_vector(self, record: Any) -> None:
        if record.value is None:
            self._forget(*parse_vector_key(record.key))
            return
        article = keyed(record, ArticleVector, "key")
        if article.bundle != (self.bundle or article.bundle) or article.bundle in self.other_bundles:
            return  # vectors of two bundles are never mixed
        vector = checked_vector(article.vector, self.catalog.d)
        if self.bundle is None:
            self.bundle = article.bundle
            self.on_bundle(article.bundle)
        withdrawn = article.news_id in self._withdrawn
        if withdrawn:
            self._writer.withdrawn.add(article.news_id)  # a new entry in the index is visible again
        put_article(self.catalog, article, vector)
        self.catalog.set_withdrawn(article.news_id, withdrawn)
        if not self.replicate and self.caught_up.is_set():
            self._publish_popularity_of(article.news_id)  # its clicks may be older than its vector
        if self.replicate:
            self._writer.articles[article.news_id] = indexed_article(article, vector, withdrawn=withdrawn)

    def _forget(self, bundle: str, news_id: str) -> None:
        if bundle != self.bundle:
            return
        self.catalog.remove(news_id)
        self._writer.articles[news_id] = None

    def _apply_stats(self, record: Any) -> None:
        if record.value is None:
            return
        if self.known(record.topic, record.partition, record.offset):
            news_id = record.key.decode()
        else:
            stats = keyed(record, ArticleStats, "news_id")
            news_id = stats.news_id
            self.catalog.put_stats(
                news_id,
                min(to_unix_s(stats.time), time.time()),
                [count.clicks for count in stats.counts],
                [count.impressions for count in stats.counts],
                to_unix_s(stats.first_seen),
                expected=[count.expected or 0.0 for count in stats.counts],
                clicked_at_s=math.nan if stats.last_click is None else to_unix_s(stats.last_click),
            )
        if self.replicate:
            self._changed_popularity.add(news_id)

    def _apply_co_clicks(self, record: Any) -> None:
        if record.value is None or self.known(record.topic, record.partition, record.offset):
            return
        counts = keyed(record, CoClickCounts, "news_id")
        self.catalog.co_clicks.replace(counts.news_id, counts.contexts)

    def _publish_popularity_of(self, news_id: str) -> None:
        value = popularity_of(self.catalog, news_id)
        if value > 0.0:
            self.publish_popularity({news_id: value})

    def _apply_control(self, record: Any) -> None:
        if record.value is None:
            return
        control = keyed(record, Control, "key")
        if control.kind == "article-withdrawn":
            self._withdrawn.add(control.subject)
            self._writer.withdrawn.add(control.subject)
            self.catalog.set_withdrawn(control.subject, True)
        self.on_control(control)

    async def _write_index(self) -> None:
        """Write all changes; while the index is unavailable they are kept for later."""
        written = await self._writer.write()
        self._popularity |= written
        self._changed_popularity -= written.keys()
        for news_id in self._changed_popularity - self._writer.articles.keys():
            value = popularity_of(self.catalog, news_id)
            if abs(value - self._popularity.get(news_id, 0.0)) > _POPULARITY_STEP:
                self._popularity[news_id] = value
                self.publish_popularity({news_id: value})
            self._changed_popularity.discard(news_id)
