"""The statistics agent: slate batches become decayed clicks and impressions of each article, exactly once.

Guarantee: a batch is done only after the counts that it changed are in the changelog and on
``article-stats``. Counts remember the last offset of every source, so a redelivered batch changes nothing,
yet is published again. Changes are published several times a second; this process's answers know them at
once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import faust
import orjson

from freshet.models.article_stats import MAX_TIME_S, ArticleCounts
from freshet.models.catalog import STATS_HALF_LIVES_S, ArticleCatalog
from freshet.models.events import EventError, SlateBatch, from_unix_s
from freshet.streams import metrics, topics
from freshet.streams.intake import Intake
from freshet.streams.kafka import topic_name
from freshet.streams.outbox import Outbox
from freshet.streams.partitioned_table import PartitionedTable
from freshet.streams.popularity import popularity
from freshet.streams.progress import Progress
from freshet.streams.record_reader import RecordReader
from freshet.streams.settings import Settings

PUBLISH_INTERVAL_S = 0.3
_SOURCES = (topics.IMPRESSIONS.name, topics.CLICKS.name)
_MAX_UNPUBLISHED = 5_000
"""Batches waiting for publication before the agent publishes without waiting for its interval."""


class StatsAgent:
    """Keeps the counts of the articles whose partitions this worker owns."""

    def __init__(
        self,
        app: faust.App,
        *,
        settings: Settings,
        table: PartitionedTable,
        catalog: ArticleCatalog,
        outbox: Outbox,
        progress: Progress,
        publish_popularity: Callable[[Mapping[str, float]], None] | None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._table = table
        self._catalog = catalog
        self._outbox = outbox
        self._progress = progress
        self._publish_popularity = publish_popularity
        self._intake = Intake(settings, outbox)
        self._topic = topic_name(settings, topics.ARTICLE_STATS.name)
        self._counts: dict[tuple[int, str], ArticleCounts] = {}
        self._changed: set[tuple[int, str]] = set()
        self._unshown: set[tuple[int, str]] = set()
        self._unpublished: list[Any] = []
        self.busy = asyncio.Lock()
        """Held while counts change or are published; whoever gives partitions away waits for it."""

    async def run(self, reader: RecordReader) -> None:
        """Handle what ``reader`` reads. A failure to deliver stops the worker; nothing is committed."""
        publisher = asyncio.create_task(self._publish_regularly())
        try:
            async for generation, messages in reader.batches(self._settings.batch_events):
                async with self.busy:
                    if not self._progress.may_handle(generation):
                        continue
                    self._apply(messages)
                    if len(self._unpublished) >= _MAX_UNPUBLISHED:
                        await self._publish()
        except Exception as error:
            await self._app.crash(error)
            raise
        finally:
            publisher.cancel()

    def show(self) -> None:
        """Tell this process's catalog of every change, so that an answer rests on what is known by now."""
        for key in self._unshown:
            counts = self._counts[key]
            clicks, impressions = counts.at(counts.time_s)
            self._catalog.put_stats(key[1], counts.time_s, clicks, impressions, counts.first_seen_s)
        self._unshown.clear()

    async def release(self) -> None:
        """Publish what has changed and forget everything decoded: partitions are about to move."""
        async with self.busy:
            await self._publish()
            self._counts.clear()

    def _apply(self, messages: list[Any]) -> None:
        started = time.perf_counter()
        for message in messages:
            self._intake.handle(message, self._apply_batch)
        self._unpublished += messages
        metrics.BATCH_EVENTS.labels("stats").observe(len(messages))
        metrics.PROCESSING_SECONDS.labels("stats").observe(time.perf_counter() - started)

    def _apply_batch(self, message: Any) -> None:
        batch = SlateBatch.from_json(message.value)
        self._check(batch)
        partition = message.partition
        source = (batch.source, batch.partition)
        for event in batch.events:
            clicks: dict[str, int] = {}
            for news_id in event.clicked:
                clicks[news_id] = clicks.get(news_id, 0) + 1
            offset = (*source, event.offset)
            for news_id in event.shown:
                self._count(partition, news_id).apply(offset, event.time_s, 1, clicks.pop(news_id, 0))
            for news_id, clicked in clicks.items():
                self._count(partition, news_id).apply(offset, event.time_s, 0, clicked)

    def _check(self, batch: SlateBatch) -> None:
        """Refuse the whole of a batch that the counts could not take or store, before they take a part."""
        if batch.source not in _SOURCES:
            raise EventError(f"SlateBatch: source {batch.source!r}, must be one of {', '.join(_SOURCES)}")
        if batch.partition >= self._settings.partitions:
            raise EventError(
                f"SlateBatch: partition {batch.partition} of {batch.source}, "
                f"which has {self._settings.partitions}"
            )
        for event in batch.events:
            if not 0.0 <= event.time_s < MAX_TIME_S:
                raise EventError(
                    f"SlateBatch: an event at {event.time_s} s is not between 1970 and the year 10000"
                )

    def _count(self, partition: int, news_id: str) -> ArticleCounts:
        key = (partition, news_id)
        self._changed.add(key)
        self._unshown.add(key)
        counts = self._counts.get(key)
        if counts is None:
            stored = self._table.get(partition, news_id.encode())
            counts = ArticleCounts() if stored is None else ArticleCounts.from_bytes(stored)
            self._counts[key] = counts
        return counts

    async def _publish_regularly(self) -> None:
        try:
            while True:
                await asyncio.sleep(PUBLISH_INTERVAL_S)
                if self._unpublished:
                    async with self.busy:
                        await self._publish()
        except Exception as error:
            await self._app.crash(error)
            raise

    async def _publish(self) -> None:
        self.show()
        changed, self._changed = self._changed, set()
        messages, self._unpublished = self._unpublished, []
        stored: dict[int, list[tuple[bytes, bytes | None]]] = {}
        for partition, news_id in changed:
            counts = self._counts[partition, news_id]
            key = news_id.encode()
            stored.setdefault(partition, []).append((key, counts.to_bytes()))
            self._outbox.add(self._topic, partition, key, self._snapshot(news_id, counts))
        for partition, items in stored.items():
            self._table.write_changelog(self._outbox, partition, items)
        offsets = await self._outbox.flush()
        for partition, items in stored.items():
            self._table.write_store(partition, items, offsets[self._table.changelog, partition])
        self._progress.done(messages)
        if self._publish_popularity is not None:
            self._publish_popularity(
                {
                    news_id: popularity(counts.at(counts.time_s)[0], counts.time_s)
                    for news_id, counts in ((key[1], self._counts[key]) for key in changed)
                }
            )

    def _snapshot(self, news_id: str, counts: ArticleCounts) -> bytes:
        clicks, impressions = counts.at(counts.time_s)
        return orjson.dumps(
            {
                "version": 1,
                "news_id": news_id,
                "time": from_unix_s(counts.time_s),
                "counts": [
                    {"half_life_s": half_life_s, "clicks": clicked, "impressions": shown}
                    for half_life_s, clicked, shown in zip(
                        STATS_HALF_LIVES_S, clicks, impressions, strict=True
                    )
                ],
                "first_seen": datetime.fromtimestamp(counts.first_seen_s, UTC),
            }
        )
