"""The bundles that variants of experiments serve, beside the bundle in service.

A worker answers a user of such a variant by the other bundle's vectors, found in that bundle's own index,
ranked by its own ranker, with the statistics that all bundles share. Guarantees:

- No second consumer group and no second answer: which bundle answers a request is decided by the worker that
  has it, so that an experiment starts, changes and stops at one record.
- The user's vectors are made of the same state as ever, anew for each answer: of the recent clicks and the
  exposures (:meth:`freshet.models.users.state.UserState.rebuild`). Nothing of the other bundle is stored, so
  that nothing is to be recovered, and the bundle in service answers all others as if there were none beside.
- A bundle serves when all of its vectors that were on the topic have been read; until then, and where its
  folder is not here, its variant serves nobody.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from aiokafka import TopicPartition

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.trending import most_popular, popularity_of
from freshet.models.events.events import ArticleVector, EventError, parse_vector_key, to_unix_s
from freshet.models.ports import IndexedArticle, IndexUnavailable
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
from freshet.streams.state.article_vectors import checked_vector, indexed_article
from freshet.streams.state.population import Population
from freshet.streams.state.ranker_weights import Rankers
from freshet.streams.state.serving import Serving

log = logging.getLogger(__name__)

_RETRY_S = 1.0
_LOOK_AGAIN_S = 10.0
"""For a bundle's folder that is not here yet."""


@dataclass(slots=True)
class _Writes:
    """What an index is yet to be told."""

    articles: dict[str, IndexedArticle | None] = field(default_factory=dict)
    """By news id; ``None`` where one is to be forgotten."""
    withdrawn: set[str] = field(default_factory=set)
    popularity: dict[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.articles or self.withdrawn or self.popularity)

    def followed_by(self, later: _Writes) -> _Writes:
        """These, and then ``later``."""
        return _Writes(
            self.articles | later.articles,
            self.withdrawn | later.withdrawn,
            self.popularity | later.popularity,
        )


class VariantBundle:
    """One such bundle: its vectors, its index, its way to make vectors of users.

    Args:
        settings: Where Kafka is.
        serving: The bundle.
        catalog: Of the bundle in service; this one's vectors are held beside.
        index: This bundle's, closed by :meth:`run`.
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
        self._settings = settings
        self._outbox = Outbox(settings)
        self._intake = Intake(settings, self._outbox)
        self._key_prefix = f"{self.id}/".encode()
        self._writes = _Writes()
        self._next_write = 0.0
        self._refused = False
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
        """How this bundle makes vectors of users."""
        return self.serving.pooling

    def state(self, state: UserState | None) -> UserState | None:
        """A user's state of the bundle in service, made again for this one."""
        return None if state is None else state.rebuild(self.pooling, self.catalog)

    def hide(self, news_id: str) -> None:
        """Tell the index of a withdrawn article."""
        self._writes.withdrawn.add(news_id)

    def set_popularity(self, values: Mapping[str, float]) -> None:
        """Tell the index how popular articles are."""
        self._writes.popularity.update(values)

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
            self._writes.popularity |= most_popular(self.catalog)
        if self._writes and time.monotonic() >= self._next_write:
            await self._write_index()
        if not self.ready.is_set():
            log.info("bundle %s serves variants: %d articles", self.id, self.catalog.vectors_held)

    def _apply(self, record: Any) -> None:
        _, news_id = parse_vector_key(record.key)
        if record.value is None:
            self.catalog.put_vector(news_id, None)
            self._writes.articles[news_id] = None
            return
        try:
            article = keyed(record, ArticleVector, "key")
        except EventError:
            return  # the catalog's follower reads the record too, and makes the dead letter
        vector = checked_vector(article.vector, self.catalog.d)
        row = self.catalog.row(news_id)
        if row < 0 or math.isnan(self.catalog.published_at_s[row]):
            row = self.catalog.put_article(
                news_id,
                vector,
                to_unix_s(article.published_at),
                title=article.title,
                category=article.category,
                subcategory=article.subcategory,
                language=article.language,
            )
        else:  # what else is known of it may be newer than this bundle's record
            self.catalog.put_vector(news_id, vector)
        if self._settings.qdrant_url is None:  # a server's index is filled by the embedding workers
            withdrawn = bool(self.catalog.withdrawn[row])
            self._writes.articles[news_id] = indexed_article(article, vector, withdrawn=withdrawn)

    async def _write_index(self) -> None:
        """Write what has changed; without an answer it is kept for later."""
        writes, self._writes = self._writes, _Writes()
        try:
            await asyncio.to_thread(self._write, writes)
            self._refused = False
        except IndexUnavailable as error:
            if not self._refused:
                log.warning(
                    "the index of bundle %s takes no writes, trying every %g s: %s", self.id, _RETRY_S, error
                )
            self._refused = True
            self._writes = writes.followed_by(self._writes)
            self._next_write = time.monotonic() + _RETRY_S

    def _write(self, writes: _Writes) -> None:
        articles = [
            replace(article, popularity=popularity_of(self.catalog, news_id))
            for news_id, article in writes.articles.items()
            if article is not None
        ]
        if articles:
            self.index.upsert(articles)
        gone = [news_id for news_id, article in writes.articles.items() if article is None]
        if gone and self._settings.qdrant_url is None:
            self.index.delete(gone)
        if writes.withdrawn:
            self.index.set_withdrawn(sorted(writes.withdrawn))
        if writes.popularity:
            self.index.set_popularity(writes.popularity)


class VariantBundles:
    """Opens the bundles that experiments need, and closes those that none needs any more.

    Args:
        settings: Where Kafka is, and the index.
        catalog: Of the bundle in service.
        rankers: Told how each bundle's ranker begins.
        find: How to serve the bundle of an id; may raise :class:`FreshetError`.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: ArticleCatalog,
        rankers: Rankers,
        find: Callable[[str], Serving],
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._rankers = rankers
        self._find = find
        self._settled: dict[str, asyncio.Event] = {}
        """Of each bundle needed: set when it is ready, or known not to be here."""
        self._open: dict[str, VariantBundle] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._missing: set[str] = set()
        self._changed = asyncio.Event()

    def need(self, bundles: Collection[str]) -> None:
        """From now on exactly these bundles are to be open."""
        self._settled = {bundle: self._settled.get(bundle) or asyncio.Event() for bundle in bundles}
        self._changed.set()

    def get(self, bundle: str) -> VariantBundle | None:
        """A bundle that is needed and ready."""
        found = self._open.get(bundle)
        return found if found is not None and found.ready.is_set() and bundle in self._settled else None

    @property
    def read(self) -> dict[TopicPartition, int]:
        """The first offset that some bundle has not yet applied, of each partition; from any thread."""
        every = [bundle.read for bundle in list(self._open.values())]
        return {tp: min(read[tp] for read in every if tp in read) for tp in set().union(*every)}

    def hide(self, news_id: str) -> None:
        """Tell every index of a withdrawn article."""
        for bundle in self._open.values():
            bundle.hide(news_id)

    def set_popularity(self, values: Mapping[str, float]) -> None:
        """Tell every index how popular articles are."""
        for bundle in self._open.values():
            bundle.set_popularity(values)

    async def caught_up(self) -> None:
        """Wait until each bundle that is needed is ready, or is known not to be here."""
        while waiting := [settled for settled in self._settled.values() if not settled.is_set()]:
            await waiting[0].wait()

    async def run(self) -> None:
        """Open and close until cancelled.

        Raises:
            ExceptionGroup: A bundle's vectors cannot be read any more.
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
            log.info("bundle %s serves no variant any more", bundle)
        self._missing &= set(self._settled)

    async def _try_to_open(self, bundle: str, tasks: asyncio.TaskGroup) -> None:
        try:
            serving = await asyncio.to_thread(self._find, bundle)
        except FreshetError as error:
            if bundle not in self._missing:
                log.error("variants of bundle %s serve nobody: %s", bundle, error)
                self._missing.add(bundle)
            self._settle(bundle)
            return
        self._missing.discard(bundle)
        self._rankers.begin(serving.model, serving.ranker)
        opened = VariantBundle(
            self._settings, serving, self._catalog, index_of(self._settings, serving.d, serves=False)
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
