"""Bundles that variants of experiments serve, beside the bundle in service.

A worker answers a user of such a variant with the other bundle's vectors, index and ranker, and with the
statistics that all bundles share. Guarantees:

- There is no second consumer group and no second answer: the worker that owns a request chooses the bundle,
  so that an experiment starts, changes and stops at one record.
- Each answer rebuilds the user's vectors from the recent clicks and exposures of the user's one state
  (:meth:`freshet.models.users.state.UserState.rebuild`). Nothing of the other bundle is stored or recovered,
  and the bundle in service is not affected.
- A bundle serves once all of its vectors that were on the topic have been read; until then, and without its
  folder, its variant serves nobody.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.trending import most_popular
from freshet.models.events.events import ArticleVector, EventError, parse_vector_key
from freshet.models.users.pooling import Pooling
from freshet.models.users.state import UserState
from freshet.streams.errors import FreshetError
from freshet.streams.index.bundle_index import BundleIndex, index_of
from freshet.streams.kafka import topics
from freshet.streams.kafka.compacted_topic import CompactedTopics
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.outbox import Outbox
from freshet.streams.records.intake import Intake, keyed
from freshet.streams.settings import Settings
from freshet.streams.state.article_vectors import checked_vector, indexed_article, put_article
from freshet.streams.state.index_writer import IndexWriter
from freshet.streams.state.population import Population
from freshet.streams.state.ranker_weights import Rankers
from freshet.streams.state.serving import Serving

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 10.0
"""Interval between two looks for a missing bundle's folder."""


class VariantBundle:
    """One bundle beside the one in service: its vectors, its index and its pooling.

    Args:
        settings: Where Kafka is.
        serving: The bundle.
        catalog: Catalog of the bundle in service; the two share everything except vectors.
        index: Index of this bundle, closed by :meth:`run`.
    """

    def __init__(
        self, settings: Settings, serving: Serving, catalog: ArticleCatalog, index: BundleIndex
    ) -> None:
        assert serving.bundle is not None, "a variant's bundle is a trained one"
        self.id = serving.bundle
        self.serving = serving
        self.catalog = catalog.beside(serving.d)
        self.index = index
        self.population = Population(self.catalog)
        self._embedded = settings.qdrant_url is None
        """False for a server's index, which the embedding workers fill."""
        self._outbox = Outbox(settings)
        self._intake = Intake(settings, self._outbox)
        self._key_prefix = f"{self.id}/".encode()
        self._writer = IndexWriter(index, self.catalog, f"the index of bundle {self.id}")
        names = [topic_name(settings, topics.ARTICLE_VECTORS.name)]
        self._vectors = CompactedTopics(settings, names, self._handle, self._settle_poll)
        self.ready = self._vectors.caught_up
        """Set once every vector that was on the topic at the start has been applied."""

    @property
    def read(self) -> Mapping[TopicPartition, int]:
        """First offset not yet applied of each partition; empty until it is ready."""
        return self._vectors.read

    @property
    def pooling(self) -> Pooling:
        """Pooling of clicks into user vectors."""
        return self.serving.pooling

    def state(self, state: UserState | None) -> UserState | None:
        """Rebuild a user's state for this bundle."""
        return None if state is None else state.rebuild(self.pooling, self.catalog)

    def hide(self, news_id: str) -> None:
        """Hide a withdrawn article in the index."""
        self._writer.withdrawn.add(news_id)

    def set_popularity(self, values: Mapping[str, float]) -> None:
        """Write popularities to the index."""
        self._writer.popularity.update(values)

    async def run(self) -> None:
        """Follow ``article-vectors`` until cancelled.

        Raises:
            KafkaError: The broker cannot be reached at the start.
        """
        self.index.open(self.id)
        try:
            await asyncio.to_thread(self.index.prepare)
            await self._outbox.start()
            await self._vectors.run()
        finally:
            self.catalog.close()
            self.index.close()
            await self._outbox.stop()

    def _handle(self, record: Any) -> None:
        if record.key is not None and record.key.startswith(self._key_prefix):
            self._intake.handle(record, self._apply)

    async def _settle_poll(self) -> None:
        await self._outbox.flush()
        if not self._vectors.complete:
            return  # the index gets each article once
        if not self.ready.is_set():
            self._writer.popularity |= most_popular(self.catalog)
        await self._writer.write()
        if not self.ready.is_set():
            log.info("bundle %s serves variants: %d articles", self.id, self.catalog.vectors_held)

    def _apply(self, record: Any) -> None:
        _, news_id = parse_vector_key(record.key)
        if record.value is None:
            self.catalog.put_vector(news_id, None)
            if self._embedded:
                self._writer.articles[news_id] = None
            return
        try:
            article = keyed(record, ArticleVector, "key")
        except EventError:
            return  # the catalog's follower reads the record too, and makes the dead letter
        vector = checked_vector(article.vector, self.catalog.d)
        row = self.catalog.row(news_id)
        if row < 0 or math.isnan(self.catalog.published_at_s[row]):
            row = put_article(self.catalog, article, vector)
        else:  # its metadata may be newer than this record
            self.catalog.put_vector(news_id, vector)
        if self._embedded:
            withdrawn = bool(self.catalog.withdrawn[row])
            self._writer.articles[news_id] = indexed_article(article, vector, withdrawn=withdrawn)


@dataclass(eq=False)
class VariantBundles:
    """Opens the bundles that experiments need, and closes the others."""

    settings: Settings
    catalog: ArticleCatalog
    """Catalog of the bundle in service."""
    rankers: Rankers
    """Receives the initial ranker of each bundle."""
    find: Callable[[str], Serving]
    """Finds a bundle by its id; may raise :class:`FreshetError`."""

    def __post_init__(self) -> None:
        self._settled: dict[str, asyncio.Event] = {}
        """Events by needed bundle: set when it is ready, or known to be missing."""
        self._open: dict[str, VariantBundle] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._missing: set[str] = set()
        self._changed = asyncio.Event()

    def need(self, bundles: Collection[str]) -> None:
        """Set the bundles to be open."""
        self._settled = {bundle: self._settled.get(bundle) or asyncio.Event() for bundle in bundles}
        self._changed.set()

    def get(self, bundle: str) -> VariantBundle | None:
        """The bundle, if it is needed and ready."""
        found = self._open.get(bundle)
        return found if found is not None and found.ready.is_set() and bundle in self._settled else None

    @property
    def read(self) -> dict[TopicPartition, int]:
        """First offset that some bundle has not yet applied, of each partition. Thread-safe."""
        every = [bundle.read for bundle in list(self._open.values())]
        return {tp: min(read[tp] for read in every if tp in read) for tp in set().union(*every)}

    def hide(self, news_id: str) -> None:
        """Hide a withdrawn article in every index."""
        for bundle in self._open.values():
            bundle.hide(news_id)

    def set_popularity(self, values: Mapping[str, float]) -> None:
        """Write popularities to every index."""
        for bundle in self._open.values():
            bundle.set_popularity(values)

    async def caught_up(self) -> None:
        """Wait until each needed bundle is ready, or known to be missing."""
        while waiting := [settled for settled in self._settled.values() if not settled.is_set()]:
            await waiting[0].wait()

    async def run(self) -> None:
        """Open and close bundles until cancelled.

        Raises:
            ExceptionGroup: A bundle's vectors can no longer be read.
        """
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                await self._close_others()
                for bundle in set(self._settled) - set(self._open):
                    await self._try_to_open(bundle, tasks)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_AGAIN_S if self._missing else None):
                        await self._changed.wait()

    async def _close_others(self) -> None:
        for bundle in set(self._open) - set(self._settled):
            del self._open[bundle]
            task = self._following.pop(bundle)
            task.cancel()
            await asyncio.wait([task])
            log.info("no variant uses bundle %s any more", bundle)
        self._missing &= set(self._settled)

    async def _try_to_open(self, bundle: str, tasks: asyncio.TaskGroup) -> None:
        try:
            serving = await asyncio.to_thread(self.find, bundle)
        except FreshetError as error:
            if bundle not in self._missing:
                log.error("variants of bundle %s serve nobody: %s", bundle, error)
                self._missing.add(bundle)
            self._settle(bundle)
            return
        self._missing.discard(bundle)
        self.rankers.begin(serving.model, serving.ranker)
        opened = VariantBundle(
            self.settings, serving, self.catalog, index_of(self.settings, serving.d, serves=False)
        )
        self._open[bundle] = opened
        self._following[bundle] = tasks.create_task(self._follow(opened))

    async def _follow(self, bundle: VariantBundle) -> None:
        running = asyncio.ensure_future(bundle.run())
        ready = asyncio.ensure_future(bundle.ready.wait())
        try:
            await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
            self._settle(bundle.id)
            await running
        finally:
            ready.cancel()
            running.cancel()
            await asyncio.wait([running])

    def _settle(self, bundle: str) -> None:
        if bundle in self._settled:
            self._settled[bundle].set()
