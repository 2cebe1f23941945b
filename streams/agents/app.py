"""Wires the Faust app: one worker's agents, tables, caches and followers. The one place that knows all.

Guarantee: agents start only when the catalog has caught up, and give partitions away only after the batch
under way is durable; what was decoded from a partition's state is forgotten with it.
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
from freshet.streams.agents.learner_agent import LearnerAgent
from freshet.streams.agents.ranker_examples import RankerExamples
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
"""Topics that the group's workers share."""
_READ_BY_EACH = (
    topics.ARTICLE_VECTORS,
    topics.ARTICLE_STATS,
    topics.CO_CLICKS,
    topics.CONTROL,
    topics.RANKER_WEIGHTS,
)


def _no_other(bundle: str) -> Serving:
    raise FreshetError(f"this worker was not told where bundle {bundle} could be")


class StreamApp:
    """One stream worker.

    Args:
        settings: Where Kafka is, and so on.
        index: Where candidates come from.
        serving: Whose vectors to serve, and how.
        replicate: Fill ``index`` from ``article-vectors``: for an embedded index that is this worker's own.
        find_bundle: How to serve another bundle, by its id, to variants of experiments; may raise
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
        self.catalog = ArticleCatalog(serving.d)
        self._index = index
        population = Population(self.catalog)
        self._popularity: dict[str, float] = {}
        self._bundle_adopted = asyncio.Event()
        self._index_prepared = asyncio.Event()
        self.progress = Progress(self.faust, settings)
        self._outboxes = {name: Outbox(settings) for name in ("recommender", "follower", "weights")}
        # What follows from records that this worker owns, and would overwrite what their next owner wrote.
        self._outboxes |= {
            name: Outbox(settings, self.progress.hold) for name in ("user", "stats", "learner", "eraser")
        }
        self._connected = asyncio.Event()
        self._stop_deadline = StopDeadline()
        self._recovery: Any = None
        users = PartitionedTable(self.faust, USER_STATE, settings.partitions)
        counts = PartitionedTable(self.faust, "article-counts", settings.partitions)
        self._tables = (users, counts)
        erasures = Erasures()
        self.states = UserStates(users, serving.pooling, self.catalog, settings.cached_users, erasures)
        self.rankers = Rankers(serving.ranker, serving.model)
        self._variant_bundles = VariantBundles(settings, self.catalog, self.rankers, find_bundle)
        self.experiments = Experiments(
            self.rankers, self._variant_bundles, lambda: self.states.pooling.bundle
        )
        examples = RankerExamples(
            settings=settings,
            catalog=self.catalog,
            rankers=self.rankers,
            population=population,
            rolling_auc=RollingAuc(),
        )
        self._drift = DriftMonitor(self.catalog, settings.drift_interval_s)
        self.bursts = BurstMonitor(self.catalog, settings.burst_interval_s)
        explorer = explorer_of(settings)
        if isinstance(explorer, LearningExplorer):
            examples.on_example = explorer.learn
        self.user_agent = UserAgent(
            settings=settings,
            states=self.states,
            catalog=self.catalog,
            outbox=self._outboxes["user"],
            progress=self.progress,
            population=population,
            examples=examples,
        )
        self.stats_agent = StatsAgent(
            settings=settings,
            table=counts,
            catalog=self.catalog,
            outbox=self._outboxes["stats"],
            progress=self.progress,
            publish_popularity=None if replicate else self._popularity.update,
        )
        self.recommender_agent = RecommenderAgent(
            settings=settings,
            states=self.states,
            catalog=self.catalog,
            index=index,
            rankers=self.rankers,
            experiments=self.experiments,
            outbox=self._outboxes["recommender"],
            progress=self.progress,
            population=population,
            examples=examples,
            explorer=explorer,
            bursts=lambda: self.bursts.ids,
        )
        self._push_users = PushUsers(erasures)
        self.recommender_agent.push_users = self._push_users
        self._eraser = Eraser(
            settings=settings,
            states=self.states,
            outbox=self._outboxes["eraser"],
            progress=self.progress,
            busy=self.user_agent.busy,
            forget=self._forget_user,
        )
        self.follower = CatalogFollower(
            settings,
            self.catalog,
            self._outboxes["follower"],
            index=index,
            replicate=replicate,
            publish_popularity=self._popularity.update,
            known=self.stats_agent.published,
            bundle=serving.bundle,
            other_bundles=serving.others,
            on_bundle=self._adopt_bundle,
            on_control=self._obey,
        )
        self._weights = RankerWeightsFollower(settings, self.rankers, self._outboxes["weights"])
        self.learner_agent = LearnerAgent(
            settings=settings,
            rankers=self.rankers,
            outbox=self._outboxes["learner"],
            progress=self.progress,
            catch_up=self._weights.catch_up,
        )
        self.user_agent.on_impression = self.experiments.shown
        self.user_agent.on_click = self.experiments.clicked
        self.user_agent.on_clicks = self._push
        self.recommender_agent.before_answers = self.stats_agent.show
        self._register()
        metrics.count_from_zero((topic_name(settings, topic.name) for topic in _SHARED_OUT), committed=True)
        metrics.count_from_zero(
            (topic_name(settings, topic.name) for topic in _READ_BY_EACH), committed=False
        )

    async def start(self) -> None:
        """Connect, recover the tables, read the catalog, start the agents; or fail, see :attr:`failure`."""
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
        """Wait until the worker cannot go on; :attr:`failure` then says why."""
        await self.faust.wait_until_stopped()

    @property
    def index(self) -> BundleIndex:
        """Where candidates come from."""
        return self._index

    def followed(self) -> dict[TopicPartition, int]:
        """Of each partition that this worker reads outside the group: the first offset not yet applied."""
        followed = self.follower.read | self._weights.read
        for tp, offset in self._variant_bundles.read.items():
            followed[tp] = min(offset, followed.get(tp, offset))
        return followed

    def member(self) -> Member:
        """This worker's place in its group; from any thread."""
        group, names = stream_group(self.settings)
        restored = [] if self._recovery is None else list(self._recovery.active_offsets.values())
        return Member(
            group=group,
            topics=names,
            name=self.faust.conf.consumer_group_instance_id,
            reading=frozenset((tp.topic, tp.partition) for tp in self.progress.reading()),
            # Of a partition that Faust has not looked up yet there is None.
            restored=sum(offset or 0 for offset in restored),
        )

    def watch(self, running: Callable[[], Awaitable[None]]) -> None:
        """Run ``running`` beside the agents, and stop with its error if it fails; before :meth:`start`."""

        async def task() -> None:
            try:
                await running()
            except Exception as error:
                await self.faust.crash(error)
                raise

        self.faust.task(task)

    async def fail(self, error: BaseException) -> None:
        """Have the worker stop, with ``error`` as its :attr:`failure`."""
        await self.faust.crash(error)

    @property
    def failure(self) -> BaseException | None:
        """Why the worker could not go on."""
        return self.faust.crash_reason

    async def stop(self) -> None:
        """Finish the batch under way, commit, leave the group; without a broker none of it."""
        self._stop_deadline.set()
        if self.failure is None and self.follower.caught_up.is_set():
            async with self._stop_deadline.kept():
                await self._release()
        try:
            await self.faust.stop()
        finally:
            await self.progress.stop()

    def _register(self) -> None:
        app, settings = self.faust, self.settings

        def channel(*names: str) -> Any:
            return app.topic(
                *(topic_name(settings, name) for name in names),
                key_type=bytes,
                value_type=bytes,
                key_serializer="raw",
                value_serializer="raw",
                acks=False,  # see Progress
            )

        async def run(agent: Callable[[RecordReader], Awaitable[None]], *names: str) -> None:
            await self._caught_up()
            full_names = [topic_name(settings, name) for name in names]
            try:
                await agent(RecordReader(settings, self.progress, full_names))
            except Exception as error:
                if app.should_stop:
                    log.warning("%s were left while stopping: %r", ", ".join(full_names), error)
                else:
                    await app.crash(error)
                # Raised, it would have Faust's supervisor start the agent anew while the app stops: the app
                # would wait for it for ever.
                await asyncio.Event().wait()

        # Faust shares the partitions of these streams out; the readers read them, see GroupMember.
        async def users(_: StreamT[Any]) -> None:
            await run(self.user_agent.run, topics.IMPRESSIONS.name, topics.CLICKS.name)

        async def statistics(_: StreamT[Any]) -> None:
            await run(self.stats_agent.run, topics.SLATES.name)

        async def requests(_: StreamT[Any]) -> None:
            await run(self.recommender_agent.run, topics.REQUESTS.name)

        async def learner(_: StreamT[Any]) -> None:
            await run(self.learner_agent.run, topics.RANKER_EXAMPLES.name)

        app.agent(channel(topics.IMPRESSIONS.name, topics.CLICKS.name), name="users")(users)
        app.agent(channel(topics.SLATES.name), name="statistics")(statistics)
        app.agent(channel(topics.REQUESTS.name), name="requests")(requests)
        app.agent(channel(topics.RANKER_EXAMPLES.name), name="learner")(learner)

        app.on_partitions_revoked.connect(self._release)
        app.on_before_shutdown.connect(self._shut_down)
        for running in (
            self._follow,
            self._prepare_index,
            self._follow_weights,
            self._variant_bundles.run,
            self._erase,
            self._write_popularity,
            self._measure_lag,
            self._measure_drift,
            self._find_bursts,
            self._keep_progress,
        ):
            self.watch(running)

    async def _follow(self) -> None:
        for outbox in self._outboxes.values():
            await outbox.start()
        await self.progress.start()
        self._connected.set()
        await self.follower.run()

    async def _follow_weights(self) -> None:
        await self._connected.wait()
        await self._weights.run()

    async def _prepare_index(self) -> None:
        await self._bundle_adopted.wait()
        await asyncio.to_thread(self._index.prepare)
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
        self._index.open(bundle)
        self._bundle_adopted.set()
        self.states.pooling = replace(self.states.pooling, bundle=bundle)
        log.info("vectors of bundle %s", bundle)

    def _obey(self, control: Control) -> None:
        self.experiments.obey(control)
        self.recommender_agent.editorial_rules.obey(control)
        if control.kind == "article-withdrawn":
            self._variant_bundles.hide(control.subject)
        self._push_users.obey(control)
        self._eraser.obey(control)

    async def _push(self, clicks: Any) -> None:
        await self.recommender_agent.push(clicks, self._outboxes["user"])

    async def _write_popularity(self) -> None:
        refused = False
        while True:
            await asyncio.sleep(0.5)
            changed: Mapping[str, float] = dict(self._popularity)
            self._popularity.clear()
            if changed:
                self._variant_bundles.set_popularity(changed)
                try:
                    await asyncio.to_thread(self._index.set_popularity, changed)
                    refused = False
                except IndexUnavailable as error:
                    if not refused:
                        log.warning("the index takes no popularities until it is back: %s", error)
                    refused = True
                    for news_id, value in changed.items():
                        self._popularity.setdefault(news_id, value)

    async def _erase(self) -> None:
        await self._caught_up()
        await self._eraser.run()

    def _forget_user(self, user_id: str) -> None:
        self.recommender_agent.forget(user_id)
        self.user_agent.forget_traces()

    async def _keep_progress(self) -> None:
        await self.follower.caught_up.wait()
        await self.progress.keep()

    async def _measure_drift(self) -> None:
        await self.follower.caught_up.wait()
        await self._drift.run()

    async def _find_bursts(self) -> None:
        await self.follower.caught_up.wait()
        await self.bursts.run()

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
