"""The statistics agent: slate batches become decayed clicks and impressions of each article, exactly once.

Guarantee: a batch is done only after the counts that it changed are in the changelog and on
``article-stats``. Counts store the last offset of every source, so a redelivered batch changes nothing, but
is published again. Changes are published several times a second; answers of this process use them at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from freshet.models.articles.catalog import STATS_HALF_LIVES_S, ArticleCatalog
from freshet.models.articles.counts import MAX_TIME_S, ArticleCounts
from freshet.models.articles.trending import popularity
from freshet.models.events.events import EventError, SlateBatch, from_unix_s
from freshet.streams import metrics
from freshet.streams.errors import PartitionsLost
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.outbox import Outbox
from freshet.streams.kafka.partitioned_table import PartitionedTable
from freshet.streams.kafka.progress import Progress
from freshet.streams.kafka.reader import RecordReader
from freshet.streams.records.intake import Intake
from freshet.streams.records.tracing import STREAM
from freshet.streams.settings import Settings

log = logging.getLogger(__name__)

PUBLISH_INTERVAL_S = 0.3
_MAX_PUBLISH_INTERVAL_S = 0.8
_PUBLISH_SHARE = 0.1
"""Largest share of time spent on publishing: the more articles change, the longer the interval."""
_MAX_BATCHES = 20
"""Number of slate batches in one step: with a thousand articles each, requests wait for 20 ms."""
_SOURCES = (topics.IMPRESSIONS.name, topics.CLICKS.name)
_MAX_UNPUBLISHED = 5_000
"""Number of waiting batches that are published without waiting for the interval."""


@dataclass(kw_only=True, eq=False)
class StatsAgent:
    """Maintains the counts of the articles whose partitions this worker owns."""

    settings: Settings
    table: PartitionedTable
    catalog: ArticleCatalog
    """Receives changed counts before each answer."""
    outbox: Outbox
    progress: Progress
    publish_popularity: Callable[[Mapping[str, float]], None] | None
    """Receives popularities for an index that workers share; ``None``: the catalog follower writes those of
    this worker's own index."""

    def __post_init__(self) -> None:
        self._intake = Intake(self.settings, self.outbox, STREAM)
        self._topic = topic_name(self.settings, topics.ARTICLE_STATS.name)
        self._co_clicks = topic_name(self.settings, topics.CO_CLICKS.name)
        self._counts: defaultdict[int, dict[str, ArticleCounts]] = defaultdict(dict)
        """Counts by partition and news id."""
        self._changed: defaultdict[int, set[str]] = defaultdict(set)
        self._unshown: defaultdict[int, set[str]] = defaultdict(set)
        self._clicked: defaultdict[int, set[str]] = defaultdict(set)
        """News ids that were clicked, of those changed."""
        self._unshown_clicks: defaultdict[int, set[str]] = defaultdict(set)
        self._published_from: dict[tuple[str, int], int] = {}
        """First offset that this agent wrote since it owns the partition, by topic and partition."""
        self._unpublished: list[Any] = []
        self.busy = asyncio.Lock()
        """Held while counts change or are published; giving partitions away waits for it."""

    async def run(self, reader: RecordReader) -> None:
        """Count the records of ``reader``. Fails, without a commit, where a delivery fails."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish_regularly())
            tasks.create_task(self._read(reader))

    async def _read(self, reader: RecordReader) -> None:
        async for generation, messages in reader.batches(_MAX_BATCHES):
            async with self.busy:
                if not self.progress.may_handle(generation):
                    continue
                self._apply(messages)
                if len(self._unpublished) >= _MAX_UNPUBLISHED:
                    await self._publish()

    def show(self) -> None:
        """Copy all changes to this process' catalog, so that an answer uses the latest counts."""
        for partition, news_ids in self._unshown.items():
            held = self._counts[partition]
            for news_id in news_ids:
                counts = held[news_id]
                clicks, impressions = counts.at(counts.time_s)
                self.catalog.put_stats(
                    news_id,
                    counts.time_s,
                    clicks,
                    impressions,
                    counts.first_seen_s,
                    expected=counts.expected_at(counts.time_s),
                    clicked_at_s=counts.clicked_at_s if counts.clicked_at_s > -math.inf else math.nan,
                )
            for news_id in self._unshown_clicks[partition]:
                self.catalog.co_clicks.replace(news_id, held[news_id].contexts)
        self._unshown.clear()
        self._unshown_clicks.clear()

    def published(self, topic: str, partition: int, offset: int) -> bool:
        """Whether this agent wrote that record of ``topic``: then the catalog has it already."""
        return offset >= self._published_from.get((topic, partition), offset + 1)

    async def release(self) -> None:
        """Publish all changes and forget the decoded counts, before partitions move."""
        async with self.busy:
            await self._publish()
            self._counts.clear()
            self._published_from.clear()

    def _apply(self, messages: list[Any]) -> None:
        started = time.perf_counter()
        for message in messages:
            self._intake.handle(message, self._apply_batch)
        self._unpublished += messages
        self._intake.traces.end_step("count")
        metrics.BATCH_EVENTS.labels("stats").observe(len(messages))
        metrics.PROCESSING_SECONDS.labels("stats").observe(time.perf_counter() - started)

    def _apply_batch(self, message: Any) -> None:
        batch = SlateBatch.from_json(message.value)
        self._check(batch)
        partition = message.partition
        held, changed, unshown = self._counts[partition], self._changed[partition], self._unshown[partition]
        now_s = time.time()
        for event in batch.events:
            offset = (batch.source, batch.partition, event.offset)
            # The clock of the worker that received the event may be ahead.
            time_s, clicked = min(event.time_s, now_s), event.clicked
            for news_id in event.shown:
                counts = held.get(news_id) or self._load(partition, news_id)
                if clicked and news_id in clicked:
                    context = [before for before in event.context if before != news_id]
                    counts.apply(offset, time_s, 1, clicked.count(news_id), event.slate, context)
                else:
                    counts.apply(offset, time_s, 1, 0, event.slate)
            for news_id in clicked:
                # For an article that was also shown this has no effect: its offset is applied already.
                counts = held.get(news_id) or self._load(partition, news_id)
                context = [before for before in event.context if before != news_id]
                counts.apply(offset, time_s, 0, clicked.count(news_id), 0, context)
            for news_id in event.uncounted or ():
                counts = held.get(news_id) or self._load(partition, news_id)
                if counts.time_s > -math.inf:
                    counts.pass_over(offset)
                    changed.add(news_id)
            if event.context:
                self._clicked[partition].update(clicked)
                self._unshown_clicks[partition].update(clicked)
            for names in (changed, unshown):
                names.update(event.shown)
                names.update(clicked)

    def _check(self, batch: SlateBatch) -> None:
        """Refuse a batch as a whole before any part of it is counted.

        Raises:
            EventError: The batch's source, partition or times are invalid.
        """
        if batch.source not in _SOURCES:
            raise EventError(f"SlateBatch: source {batch.source!r}, must be one of {', '.join(_SOURCES)}")
        if batch.partition >= self.settings.partitions:
            raise EventError(
                f"SlateBatch: partition {batch.partition} of {batch.source}, "
                f"which has {self.settings.partitions}"
            )
        for event in batch.events:
            if not 0.0 <= event.time_s < MAX_TIME_S:
                raise EventError(
                    f"SlateBatch: an event at {event.time_s} s is not between 1970 and the year 10000"
                )

    def _load(self, partition: int, news_id: str) -> ArticleCounts:
        stored = self.table.get(partition, news_id.encode())
        counts = ArticleCounts() if stored is None else ArticleCounts.from_bytes(stored)
        counts.settle(time.time())
        self._counts[partition][news_id] = counts
        return counts

    async def _publish_regularly(self) -> None:
        interval_s = PUBLISH_INTERVAL_S
        while True:
            await asyncio.sleep(interval_s)
            started = time.perf_counter()
            if self._unpublished:
                async with self.busy:
                    await self._publish()
            took_s = time.perf_counter() - started
            interval_s = min(max(PUBLISH_INTERVAL_S, took_s / _PUBLISH_SHARE), _MAX_PUBLISH_INTERVAL_S)

    async def _publish(self) -> None:
        self.show()
        changed, self._changed = self._changed, defaultdict(set)
        co_clicked, self._clicked = self._clicked, defaultdict(set)
        messages, self._unpublished = self._unpublished, []
        stored: dict[int, list[tuple[bytes, bytes | None]]] = {}
        for partition, news_ids in changed.items():
            held = self._counts[partition]
            items = stored[partition] = []
            for news_id in news_ids:
                counts = held[news_id]
                key = news_id.encode()
                items.append((key, counts.to_bytes()))
                self.outbox.add_record(self._topic, partition, key, self._snapshot(news_id, counts))
            for news_id in co_clicked[partition]:
                value = {"version": 1, "news_id": news_id, "contexts": held[news_id].contexts}
                self.outbox.add_record(self._co_clicks, partition, news_id.encode(), orjson.dumps(value))
            self.table.write_changelog(self.outbox, partition, items)
            await asyncio.sleep(0)  # thousands of articles change at full speed, and requests wait
        try:
            offsets = await self.outbox.flush()
        except PartitionsLost as error:
            log.warning("%s", error)
            self._counts.clear()
            return
        for partition, items in stored.items():
            self.table.write_store(partition, items, offsets[self.table.changelog, partition])
            for topic, written in ((self._topic, len(items)), (self._co_clicks, len(co_clicked[partition]))):
                if written:
                    first = offsets[topic, partition] - written + 1
                    self._published_from.setdefault((topic, partition), first)
        self.progress.done(messages)
        self._intake.traces.done()
        if self.publish_popularity is not None:
            self.publish_popularity(
                {
                    news_id: popularity(counts.at(counts.time_s)[0], counts.time_s)
                    for partition, news_ids in changed.items()
                    for news_id, counts in ((name, self._counts[partition][name]) for name in news_ids)
                }
            )

    def _snapshot(self, news_id: str, counts: ArticleCounts) -> bytes:
        clicks, impressions = counts.at(counts.time_s)
        expected = counts.expected_at(counts.time_s)
        snapshot: dict[str, Any] = {
            "version": 1,
            "news_id": news_id,
            "time": from_unix_s(counts.time_s),
            "counts": [
                {
                    "half_life_s": half_life_s,
                    "clicks": clicked,
                    "impressions": shown,
                    "expected": of_slates,
                }
                for half_life_s, clicked, shown, of_slates in zip(
                    STATS_HALF_LIVES_S, clicks, impressions, expected, strict=True
                )
            ],
            "first_seen": datetime.fromtimestamp(counts.first_seen_s, UTC),
        }
        if counts.clicked_at_s > -math.inf:
            snapshot["last_click"] = datetime.fromtimestamp(counts.clicked_at_s, UTC)
        return orjson.dumps(snapshot)
