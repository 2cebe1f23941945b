"""Faust's consumer reduced to what freshet takes from it: the group's membership, and the tables' changelogs.

Faust shares the partitions out, brings the tables up to date, and says when the events may be read. Reading
them is left to :class:`freshet.streams.kafka.reader.RecordReader`, for two reasons that were measured: Faust
spends 90 µs on each record before an agent sees it, and it passes the records of all agents through one
loop, which stops while one agent's buffer is full, so that a request waited for a backlog of impressions.

So Faust's own polls say nothing about the agents, and once the tables are up to date there are none. What
counts is :meth:`Progress.idle_s`: the member stays in its group for exactly as long as its agents come back
for records, leaves it when one has hung for ``max_poll_interval_s``, and joins again when that one goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka
from faust.types import TP, ConsumerMessage
from mode import Service

from freshet.streams import metrics
from freshet.streams.kafka.consumers import ISOLATION_LEVEL, mend_aiokafka
from freshet.streams.kafka.progress import Progress
from freshet.streams.kafka.record_batches import UndecodableBatch

_NO_KEY = b""
"""A key that no table has."""

log = logging.getLogger(__name__)

_LOOK_S = 1.0


class AgentsSubscription(SubscriptionState):  # type: ignore[misc] # aiokafka does not say its types
    """The subscription of a member whose records others read; it is idle for as long as they are."""

    def __init__(self, loop: asyncio.AbstractEventLoop, progress: Progress) -> None:
        super().__init__(loop=loop)
        self._progress = progress

    @property
    def fetcher_idle_time(self) -> float:
        """Seconds since the slowest agent came back for records."""
        return self._progress.idle_s()


class GroupThread(aiokafka.AIOKafkaConsumerThread):
    """Runs the member's consumer, which nobody polls, and does itself what a poll would do."""

    def _create_worker_consumer(self, transport: aiokafka.Transport) -> AIOKafkaConsumer:
        mend_aiokafka()
        consumer = super()._create_worker_consumer(transport)
        # Faust asks for it only where it writes in transactions itself.
        consumer._isolation_level = ISOLATION_LEVEL
        progress = cast(GroupTransport, transport).progress
        # Before the consumer starts: it hands the subscription on to the parts that it is made of.
        consumer._subscription = AgentsSubscription(self.thread_loop, progress)
        return consumer

    def _start_thread(self) -> None:
        try:
            super()._start_thread()
        finally:
            # However it ends, cancelled too: the app waits for it.
            self.set_shutdown()

    @Service.task
    async def _go_on_after_errors(self) -> None:
        """Notice errors in coordination, which stops until somebody has, usually a poll."""
        while not self.should_stop:
            await self.sleep(_LOOK_S)
            try:
                self._ensure_consumer()._coordinator.check_errors()
            except KafkaError as error:
                if self._ensure_consumer()._coordinator._coordination_task.done():
                    raise
                log.warning("no place in the consumer group, asking for it again: %s", error)


class GroupMember(aiokafka.Consumer):
    """A consumer that reads only changelogs, and says to :class:`Progress` which events may be read."""

    def _new_consumer_thread(self) -> GroupThread:
        return GroupThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if isinstance(record.value, UndecodableBatch):
            # Recovery ends at the changelog's last record, so there has to be one. The keys whose newest
            # values are lost with the batch keep their values from before.
            metrics.UNDECODABLE_BATCHES.labels(record.topic).inc()
            record = replace(record, key=_NO_KEY, value=None)
        return super()._to_message(tp, record)

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Read the changelogs of ``tps``, and allow their events: Faust's tables are ready."""
        changelogs, events = self._divided(tps)
        super().resume_partitions(changelogs)
        if events:
            self._progress.resume(events)

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Stop reading: a rebalance begins, or the tables are not ready."""
        changelogs, events = self._divided(tps)
        super().pause_partitions(changelogs | events)
        if events:
            self._progress.pause()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: Faust would report every event partition as one that it has stopped reading."""

    @property
    def _progress(self) -> Progress:
        return cast(GroupTransport, self.transport).progress

    def _divided(self, tps: Iterable[TP]) -> tuple[set[TP], set[TP]]:
        every = set(tps)
        changelogs = {tp for tp in every if self._is_changelog_tp(tp)}
        return changelogs, every - changelogs


# mode gives every subclass of its own a logger of its module; this is a part of Faust's.
GroupMember.logger = GroupThread.logger = aiokafka.Consumer.logger


class GroupTransport(aiokafka.Transport):
    """Faust's transport with :class:`GroupMember` as its consumer."""

    Consumer = GroupMember

    def __init__(self, *args: Any, progress: Progress, **options: Any) -> None:
        super().__init__(*args, **options)
        self.progress = progress


def join_group(app: faust.App, progress: Progress) -> None:
    """Let ``app``, finalized and not yet started, say to ``progress`` which partitions may be read."""
    app.transport = GroupTransport(app.conf.broker_consumer, app, app.loop, progress=progress)
