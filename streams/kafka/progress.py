"""Progress of each partition: whether it may be read, from which offset, and what is committed.

Guarantee: an offset is committed only when an agent has said that everything before it is done, and reading
begins at the committed offset. So every record of a partition is handled, in order, by one worker after
another. A worker that hung, or was stopped, for longer than its session writes nothing of what it had in hand
(:meth:`Progress.hold`): others may have gone on meanwhile, and theirs is newer.

Faust's own bookkeeping promises less. A record that it skips (one fetched before a rebalance was over, say)
it acknowledges like one that was handled; a worker killed soon after starts behind it, and the record is
lost. The test that kills workers in mid-stream showed it in about every third run. Therefore Faust's
acknowledgements are off (``acks=False``).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Collection, Iterable
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP

from freshet.streams import metrics
from freshet.streams.errors import PartitionsLost
from freshet.streams.kafka.consumers import aiokafka_consumer
from freshet.streams.settings import Settings

COMMIT_INTERVAL_S = 0.5


class Progress:
    """The positions of one worker's partitions."""

    def __init__(self, app: faust.App, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._offsets: AIOKafkaConsumer | None = None
        self._begins = True
        """True until the worker stops: readers begin with partitions that become readable."""
        self.generation = 0
        """Number that changes whenever the readable partitions do."""
        self._readable: set[TP] = set()
        self._done: dict[TP, int] = {}
        """First offset of each partition that is not yet done."""
        self._empty: dict[TP, tuple[int, int]] = {}
        """Range of offsets, behind all records handed out, that holds no record to be done."""
        self._committed: dict[TP, int] = {}
        self._ends: dict[TP, int] = {}
        self._waiting_since_s: float | None = time.monotonic()
        """Start of the time in which nothing may be read; ``None`` while something may."""
        self._held_s = -math.inf
        """Time at which the broker last confirmed that the partitions are this worker's."""
        self._came_back_s: dict[object, float] = {}
        """Time at which the agent of each reader last asked for records."""

    async def start(self) -> None:
        """Connect to the offsets of the consumer group."""
        self._offsets = aiokafka_consumer(self._settings, group_id=self._app.conf.id)
        await self._offsets.start()

    def begin_nothing(self) -> None:
        """Leave partitions that become readable from now on to others, because the worker stops."""
        self._begins = False

    async def stop(self) -> None:
        """Disconnect; only when the readers have ended, since they ask where to begin."""
        if self._offsets is not None:
            await self._offsets.stop()
            self._offsets = None

    def resume(self, tps: Iterable[TP]) -> None:
        """Allow reading of ``tps``, which are this worker's and have tables that are up to date."""
        self._readable = set(tps)
        self.generation += 1
        metrics.READABLE.set(len(self._readable))
        if self._waiting_since_s is not None:
            metrics.RECOVERY_SECONDS.observe(time.monotonic() - self._waiting_since_s)
            self._waiting_since_s = None

    def pause(self) -> None:
        """Stop handling records, because a rebalance begins; :meth:`release` follows."""
        self._readable.clear()
        self.generation += 1
        metrics.READABLE.set(0)
        if self._waiting_since_s is None:
            self._waiting_since_s = time.monotonic()

    def came_back(self, reader: object) -> None:
        """Note that the agent of ``reader`` is done with its batch and asks for the next."""
        self._came_back_s[reader] = time.monotonic()

    def idle_s(self) -> float:
        """Seconds since the slowest agent asked for records; 0 before any has begun. Thread-safe."""
        return max((time.monotonic() - at_s for at_s in list(self._came_back_s.values())), default=0.0)

    async def starts(self, names: Collection[str]) -> dict[TP, int]:
        """Return the offset at which to begin in each readable partition of the topics ``names``."""
        offsets, generation = self._offsets, self.generation
        if offsets is None or not self._begins:
            return {}
        readable = [tp for tp in sorted(self._readable) if tp.topic in names]
        starts = {tp: await _start_of(tp, offsets) for tp in readable}
        if self.may_handle(generation):
            for tp, offset in starts.items():
                self._done[tp] = self._committed[tp] = offset
                self._empty.pop(tp, None)
        return starts

    def may_handle(self, generation: int) -> bool:
        """Whether records read in ``generation`` are still this worker's to handle."""
        return generation == self.generation

    def done(self, records: Iterable[Any]) -> None:
        """Note that all effects of ``records``, in the order read, have been delivered."""
        ends = {TP(record.topic, record.partition): record.offset + 1 for record in records}
        for tp, end in ends.items():
            if tp in self._done:
                self._done[tp] = max(self._done[tp], end)
                self._pass_empty(tp)

    def found_empty(self, tp: TP, start: int, end: int) -> None:
        """Note that no record to be done lies from ``start`` up to ``end``; all before ``start`` are known.

        A reader has passed a transaction's marker, records of one that was aborted, or offsets whose records
        compaction has removed. They are done as soon as everything before them is.
        """
        if tp in self._done:
            known = self._empty.get(tp)
            self._empty[tp] = (known[0] if known is not None and known[1] == start else start, end)
            self._pass_empty(tp)

    def _pass_empty(self, tp: TP) -> None:
        start, end = self._empty.get(tp, (0, 0))
        if start <= self._done[tp] < end:
            self._done[tp] = end

    async def commit(self) -> None:
        """Commit the offsets that are done and not yet committed."""
        await self._commit({tp: offset for tp, offset in self._done.items() if offset > self._committed[tp]})

    async def hold(self) -> None:
        """Make sure that the partitions are still this worker's, before it writes their records' effects.

        Where they are not, all readers begin again at the committed offsets.

        Raises:
            PartitionsLost: The broker says that they are not.
        """
        if not self._done or time.monotonic() - self._held_s < self._settings.session_timeout_s:
            return
        if not await self._commit(dict(self._done)):
            self.generation += 1
            raise PartitionsLost(
                "this worker was away so long that others have its partitions: what it had in hand is dropped"
            )

    async def keep(self) -> None:
        """Commit regularly, until cancelled."""
        while True:
            await asyncio.sleep(COMMIT_INTERVAL_S)
            if not self._readable:
                continue  # given away, or lost: what is done then is committed by release()
            await self.commit()
            if time.monotonic() - self._held_s > self._settings.session_timeout_s / 3:
                # Said again, so that a batch after a quiet time need not ask before it writes.
                await self._commit(dict(self._done))

    def found_end(self, tp: TopicPartition, end: int | None) -> None:
        """Note that the committed records of ``tp`` end before ``end``, as far as a reader knows."""
        if end is not None:
            self._ends[TP(tp.topic, tp.partition)] = end

    def lags(self) -> dict[TP, int]:
        """Number of offsets of each partition that are not done."""
        return {tp: max(0, self._ends.get(tp, 0) - offset) for tp, offset in self._done.items()}

    def owned(self) -> frozenset[TP]:
        """Partitions whose records this worker has to handle. Thread-safe."""
        return frozenset(self._done)

    def reading(self) -> frozenset[TP]:
        """Partitions of this worker whose tables are up to date. Thread-safe."""
        return frozenset(self._readable)

    def readable(self, topic: str) -> frozenset[int]:
        """Partitions of ``topic`` that are this worker's and whose tables are up to date."""
        return frozenset(tp.partition for tp in self._readable if tp.topic == topic)

    async def release(self) -> None:
        """Commit, and forget the partitions, because a rebalance begins."""
        await self.commit()
        for positions in (self._done, self._empty, self._committed, self._ends):
            positions.clear()

    async def _commit(self, offsets: dict[TP, int]) -> bool:
        """Commit ``offsets``, if there are any; returns whether the broker accepted them."""
        asked_s = time.monotonic()
        # The only way to commit as the group's member, with its generation.
        consumer: Any = self._app.consumer
        if not offsets or not await consumer._commit(offsets):
            return False
        self._held_s = asked_s
        for tp, offset in offsets.items():
            if tp in self._committed:
                metrics.COMMITTED.labels(tp.topic).inc(offset - self._committed[tp])
                self._committed[tp] = offset
        return True


async def _start_of(tp: TP, offsets: AIOKafkaConsumer) -> int:
    partition = TopicPartition(tp.topic, tp.partition)
    committed: int | None = await offsets.committed(partition)
    earliest: int = (await offsets.beginning_offsets([partition]))[partition]
    return max(committed or 0, earliest)
