"""The Faust app of one stream worker: connects its agents, tables, caches and followers.

Guarantee: agents start only when the catalog has caught up, and give partitions away only after the current
batch is durable; the decoded states of a partition are forgotten with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from aiokafka import TopicPartition
from faust.types import TP, StreamT

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.events.events import Control
from freshet.models.ports import IndexUnavailable
from freshet.models.recommend.exploration.policy import LearningExplorer
from freshet.models.users.erasures import Erasures
from freshet.streams import metrics
from freshet.streams.agents.eraser import Eraser
from freshet.streams.agents.impression_ranker import ImpressionRanker
from freshet.streams.agents.learner_agent import LearnerAgent
from freshet.streams.agents.recommender_agent import RecommenderAgent
from freshet.streams.agents.stats_agent import StatsAgent
from freshet.streams.agents.user_agent import UserAgent
from freshet.streams.errors import FreshetError
from freshet.streams.index.bundle_index import BundleIndex
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.faust_app import faust_app
from freshet.streams.kafka.group_lag import stream_group
from freshet.streams.kafka.group_member import join_group
from freshet.streams.kafka.group_place import Member
from freshet.streams.kafka.outbox import Outbox
from freshet.streams.kafka.partitioned_table import USER_STATE, PartitionedTable, TableMemory
from freshet.streams.kafka.progress import Progress
from freshet.streams.kafka.reader import RecordReader
from freshet.streams.kafka.stop_deadline import StopDeadline
from freshet.streams.kafka.topic_admin import ensure_changelogs
from freshet.streams.kafka.topics import Topic
from freshet.streams.monitoring.burst_monitor import BurstMonitor
from freshet.streams.monitoring.drift_monitor import DriftMonitor
from freshet.streams.monitoring.rolling_auc import RollingAuc
from freshet.streams.settings import Settings
from freshet.streams.state.catalog_follower import CatalogFollower
from freshet.streams.state.experiments import Experiments
from freshet.streams.state.exploration import explorer_of
from freshet.streams.state.population import Population
from freshet.streams.state.push_users import PushUsers
from freshet.streams.state.ranker_weights import Rankers, RankerWeightsFollower
from freshet.streams.state.serving import Serving
from freshet.streams.state.user_states import UserStates
from freshet.streams.state.variant_bundles import VariantBundles

log = logging.getLogger(__name__)

_LAG_INTERVAL_S = 2.0
_SHARED_OUT = (topics.IMPRESSIONS, topics.CLICKS, topics.SLATES, topics.REQUESTS, topics.RANKER_EXAMPLES)
"""Topics whose partitions the group's workers share."""
_READ_BY_EACH = (
    topics.ARTICLE_VECTORS,
    topics.ARTICLE_STATS,
    topics.CO_CLICKS,
    topics.CONTROL,
    topics.RANKER_WEIGHTS,
)


def _no_other(bundle: str) -> Serving:
    raise FreshetError(f"this worker has no folder of bundles, and so no bundle {bundle}")


class StreamApp:
    """One stream worker.

    Args:
        settings: Settings of the process.
        index: Source of candidates.
        serving: The bundle to serve, with its pooling and its ranker.
        replicate: Fill ``index`` from ``article-vectors``: for an embedded index that is this worker's own.
        find_bundle: Finds another bundle, by its id, for variants of experiments; may raise
            :class:`FreshetError`.
    """

    def __init__(
        self,
        settings: Settings,
        index: BundleIndex,
        serving: Serving,
        *,
        replicate: bool,
        find_bundle: Callable[[str], Serving] = _no_other,
    ) -> None:
        self.settings = settings
        self.faust = faust_app(settings)
        self.index = index
        self._bundle_adopted = asyncio.Event()
        self._index_prepared = asyncio.Event()
        self._connected = asyncio.Event()
        self._stop_deadline = StopDeadline()
        self._recovery: Any = None
        self.progress = Progress(self.faust, settings)
        self._outboxes = {name: Outbox(settings) for name in ("recommender", "follower", "weights")}
        # Effects of records that this worker owns: sent late, they would overwrite what the next owner wrote.
        self._outboxes |= {
            name: Outbox(settings, self.progress.hold) for name in ("user", "stats", "learner", "eraser")
        }
        self._wire_state(serving, find_bundle)
        self._wire_agents(publish_popularity=None if replicate else self._popularity.update)
        self._wire_followers(serving, replicate=replicate)
        self._register()
        for names, committed in ((_SHARED_OUT, True), (_READ_BY_EACH, False)):
            metrics.count_from_zero(
                (topic_name(settings, topic.name) for topic in names), committed=committed
            )

    def _wire_state(self, serving: Serving, find_bundle: Callable[[str], Serving]) -> None:
        """Make what the agents share."""
        settings = self.settings
        self.catalog = ArticleCatalog(serving.d)
        self._population = Population(self.catalog)
        self._popularity: dict[str, float] = {}
        users = PartitionedTable(self.faust, USER_STATE, settings.partitions)
        self._counts = PartitionedTable(self.faust, "article-counts", settings.partitions)
        self._tables = (users, self._counts)
        erasures = Erasures()
        self._push_users = PushUsers(erasures)
        self.states = UserStates(users, serving.pooling, self.catalog, settings.cached_users, erasures)
        self.rankers = Rankers(serving.ranker, serving.model)
        self._variant_bundles = VariantBundles(settings, self.catalog, self.rankers, find_bundle)
        self.experiments = Experiments(
            self.rankers, self._variant_bundles, lambda: self.states.pooling.bundle
        )
        self._drift = DriftMonitor(self.catalog, settings.drift_interval_s)
        self.bursts = BurstMonitor(self.catalog, settings.burst_interval_s)

    def _wire_agents(self, publish_popularity: Callable[[Mapping[str, float]], None] | None) -> None:
        """Make the agents of the events: each takes those made before it, or what the state gives."""
        settings, catalog, progress = self.settings, self.catalog, self.progress
        explorer = explorer_of(settings)
        impression_ranker = ImpressionRanker(
            settings=settings,
            catalog=catalog,
            rankers=self.rankers,
            population=self._population,
            rolling_auc=RollingAuc(),
            on_example=explorer.learn if isinstance(explorer, LearningExplorer) else None,
        )
        self.stats_agent = StatsAgent(
            settings=settings,
            table=self._counts,
            catalog=catalog,
            outbox=self._outboxes["stats"],
            progress=progress,
            publish_popularity=publish_popularity,
        )
        self.recommender_agent = RecommenderAgent(
            settings=settings,
            states=self.states,
            catalog=catalog,
            index=self.index,
            rankers=self.rankers,
            experiments=self.experiments,
            outbox=self._outboxes["recommender"],
            progress=progress,
            population=self._population,
            impression_ranker=impression_ranker,
            explorer=explorer,
            bursts=lambda: self.bursts.ids,
            push_users=self._push_users,
            before_answers=self.stats_agent.show,
        )
        self.user_agent = UserAgent(
            settings=settings,
            states=self.states,
            catalog=catalog,
            outbox=self._outboxes["user"],
            progress=progress,
            population=self._population,
            impression_ranker=impression_ranker,
            on_event=self.experiments.observe,
            on_clicks=lambda clicks: self.recommender_agent.push(clicks, self._outboxes["user"]),
        )
        self._eraser = Eraser(
            settings=settings,
            states=self.states,
            outbox=self._outboxes["eraser"],
            progress=progress,
            busy=self.user_agent.busy,
            forget=self._forget_user,
        )

    def _wire_followers(self, serving: Serving, *, replicate: bool) -> None:
        """Make the readers of compacted topics, and the learner, which begins with the latest weights."""
        settings = self.settings
        self.follower = CatalogFollower(
            settings=settings,
            catalog=self.catalog,
            outbox=self._outboxes["follower"],
            index=self.index,
            replicate=replicate,
            publish_popularity=self._popularity.update,
            known=self.stats_agent.published,
            bundle=serving.bundle,
            other_bundles=serving.others,
            on_bundle=self._adopt_bundle,
            on_control=self._apply_control,
        )
        self._weights = RankerWeightsFollower(settings, self.rankers, self._outboxes["weights"])
        self.learner_agent = LearnerAgent(
            settings=settings,
            rankers=self.rankers,
            outbox=self._outboxes["learner"],
            progress=self.progress,
            catch_up=self._weights.catch_up,
        )

    async def start(self) -> None:
        """Connect, recover the tables, read the catalog and start the agents; see :attr:`failure`."""
        self.faust.finalize()
        changelogs = [table.changelog for table in self._tables]
        await asyncio.to_thread(ensure_changelogs, self.settings, changelogs)
        memory = TableMemory()
        for table in self._tables:
            table.share(memory)
        join_group(self.faust, self.progress)
        tables: Any = self.faust.tables
        self._recovery = tables.recovery
        await self.faust.start()
        known = asyncio.create_task(self._caught_up())
        failed = asyncio.create_task(self.crashed())
        _, pending = await asyncio.wait({known, failed}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()

    async def crashed(self) -> None:
        """Wait until the worker has failed; :attr:`failure` gives the reason."""
        await self.faust.wait_until_stopped()

    def followed(self) -> dict[TopicPartition, int]:
        """First offset not yet applied, of each partition that this worker reads outside the group."""
        followed = self.follower.read | self._weights.read
        for tp, offset in self._variant_bundles.read.items():
            followed[tp] = min(offset, followed.get(tp, offset))
        return followed

    def member(self) -> Member:
        """This worker's place in its group. Thread-safe."""
        group, names = stream_group(self.settings)
        restored = [] if self._recovery is None else list(self._recovery.active_offsets.values())
        return Member(
            group=group,
            topics=names,
            name=self.faust.conf.consumer_group_instance_id,
            reading=frozenset((tp.topic, tp.partition) for tp in self.progress.reading()),
            # None: Faust has not looked the partition up yet.
            restored=sum(offset or 0 for offset in restored),
        )

    def _run_beside(
        self, running: Callable[[], Awaitable[None]], ready: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        """Run ``running`` beside the agents, once ``ready`` returns; its failure stops the worker."""

        async def task() -> None:
            try:
                if ready is not None:
                    await ready()
                await running()
            except Exception as error:
                await self.faust.crash(error)
                raise

        self.faust.task(task)

    async def fail(self, error: BaseException) -> None:
        """Stop the worker, with ``error`` as its :attr:`failure`."""
        await self.faust.crash(error)

    @property
    def failure(self) -> BaseException | None:
        """Error that stopped the worker; ``None`` while it runs."""
        return self.faust.crash_reason

    async def stop(self) -> None:
        """Finish the current batch, commit and leave the group, as far as a broker answers."""
        self._stop_deadline.set()
        if self.failure is None and self.follower.caught_up.is_set():
            async with self._stop_deadline.kept():
                await self._release()
        try:
            await self.faust.stop()
        finally:
            await self.progress.stop()

    def _register(self) -> None:
        """Have Faust run the agents and everything beside them."""
        self._register_agent("users", self.user_agent.run, topics.IMPRESSIONS, topics.CLICKS)
        self._register_agent("statistics", self.stats_agent.run, topics.SLATES)
        self._register_agent("requests", self.recommender_agent.run, topics.REQUESTS)
        self._register_agent("learner", self.learner_agent.run, topics.RANKER_EXAMPLES)
        self.faust.on_partitions_revoked.connect(self._release)
        self.faust.on_before_shutdown.connect(self._shut_down)
        for running in (
            self._follow,
            self._prepare_index,
            self._variant_bundles.run,
            self._write_popularity,
            self._measure_lag,
        ):
            self._run_beside(running)
        for ready, waiting in (
            (self._connected.wait, self._weights.run),
            (self._caught_up, self._eraser.run),
            (self.follower.caught_up.wait, self._drift.run),
            (self.follower.caught_up.wait, self.bursts.run),
            (self.follower.caught_up.wait, self.progress.keep),
        ):
            self._run_beside(waiting, ready)

    def _register_agent(
        self, name: str, agent: Callable[[RecordReader], Awaitable[None]], *read: Topic
    ) -> None:
        names = [topic_name(self.settings, topic.name) for topic in read]
        channel = self.faust.topic(
            *names,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            acks=False,  # see Progress
        )

        # Faust only shares out the partitions of this stream; the reader reads them, see GroupMember.
        async def run(_: StreamT[Any]) -> None:
            await self._caught_up()
            try:
                await agent(RecordReader(self.settings, self.progress, names))
            except Exception as error:
                if self.faust.should_stop:
                    log.warning("%s: not finished when the worker stopped: %r", ", ".join(names), error)
                else:
                    await self.faust.crash(error)
                # Raised, it would have Faust's supervisor start the agent anew while the app stops: the app
                # would wait for it for ever.
                await asyncio.Event().wait()

        self.faust.agent(channel, name=name)(run)

    async def _follow(self) -> None:
        for outbox in self._outboxes.values():
            await outbox.start()
        await self.progress.start()
        self._connected.set()
        await self.follower.run()

    async def _prepare_index(self) -> None:
        await self._bundle_adopted.wait()
        await asyncio.to_thread(self.index.prepare)
        self._index_prepared.set()

    async def _caught_up(self) -> None:
        await self.follower.caught_up.wait()
        if self._bundle_adopted.is_set():
            await self._index_prepared.wait()
        await self._weights.caught_up.wait()
        await self._variant_bundles.caught_up()

    async def _release(self, *_: Any, **__: Any) -> None:
        async with self.user_agent.busy:
            self.states.forget()
        await self.stats_agent.release()
        await self.learner_agent.release()
        await self.progress.release()

    async def _shut_down(self, *_: Any, **__: Any) -> None:
        async with (
            self._stop_deadline.kept(),
            self.user_agent.busy,
            self.stats_agent.busy,
            self.learner_agent.busy,
        ):
            self.recommender_agent.close()
            if self.failure is None:  # else the consumer that would commit is gone
                await self.progress.commit()
            self.progress.begin_nothing()
            for outbox in self._outboxes.values():
                await outbox.stop()

    def _adopt_bundle(self, bundle: str) -> None:
        self.index.open(bundle)
        self._bundle_adopted.set()
        self.states.pooling = replace(self.states.pooling, bundle=bundle)
        log.info("serving the vectors of bundle %s", bundle)

    def _apply_control(self, control: Control) -> None:
        self.experiments.apply(control)
        self.recommender_agent.editorial_rules.apply(control)
        if control.kind == "article-withdrawn":
            self._variant_bundles.hide(control.subject)
        self._push_users.apply(control)
        self._eraser.apply(control)

    async def _write_popularity(self) -> None:
        refused = False
        while True:
            await asyncio.sleep(0.5)
            changed = self._popularity.copy()
            self._popularity.clear()
            if not changed:
                continue
            self._variant_bundles.set_popularity(changed)
            try:
                await asyncio.to_thread(self.index.set_popularity, changed)
                refused = False
            except IndexUnavailable as error:
                if not refused:
                    log.warning("popularities wait until the index is available: %s", error)
                refused = True
                for news_id, value in changed.items():
                    self._popularity.setdefault(news_id, value)

    def _forget_user(self, user_id: str) -> None:
        self.recommender_agent.forget(user_id)
        self.user_agent.forget_traces()

    async def _measure_lag(self) -> None:
        shown: set[TP] = set()
        while True:
            await asyncio.sleep(_LAG_INTERVAL_S)
            lags = self.progress.lags()
            for tp in shown - lags.keys():
                metrics.LAG.remove(tp.topic, str(tp.partition))
            for tp, lag in lags.items():
                metrics.LAG.labels(tp.topic, str(tp.partition)).set(lag)
            shown = set(lags)
