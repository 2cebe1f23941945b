"""Paces a replay: no impression before its time, and none while the lag is at its bound.

The bound is on the lag of the stream's consumer group, as committed to Kafka. What was committed has been
read, so the true lag is never above what is counted here, and the bound holds whatever the batch sizes.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from freshet.workers.replay.report import ReplayError

POLL_S = 0.1
"""Interval at which a stop is noticed and a lag at its bound is measured."""
_UNHURRIED_S = 1.0
"""Interval at which a lag far from its bound is measured."""


class ReplayClock:
    """The log's time during a replay at ``speed`` times real time; at ``None`` everything is due at once.

    A replay that was held up by its lag afterwards catches up: the clock does not wait for it.
    """

    def __init__(
        self, speed: float | None, start_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._speed = speed
        self._start_s = start_s
        self._monotonic = monotonic
        self._began = monotonic()

    def now_s(self) -> float:
        """The log's time now, Unix seconds; infinite at full speed."""
        if self._speed is None:
            return math.inf
        return self._start_s + (self._monotonic() - self._began) * self._speed

    def wait_s(self, event_s: float) -> float:
        """Real seconds until an event of the log is due; 0 if it is."""
        if self._speed is None:
            return 0.0
        return max(0.0, (event_s - self.now_s()) / self._speed)


class LagBound:
    """Keeps the lag of one consumer group on one topic at or under ``max_lag`` events; 0 is no bound."""

    def __init__(
        self,
        admin: AIOKafkaAdminClient,
        consumer: AIOKafkaConsumer,
        group: str,
        partitions: list[TopicPartition],
        *,
        max_lag: int,
        timeout_s: float,
    ) -> None:
        self._admin = admin
        self._consumer = consumer
        self._group = group
        self._partitions = partitions
        self._max_lag = max_lag
        self._timeout_s = timeout_s
        self._lag: int | None = None
        self._read = -1
        self._read_at = time.monotonic()
        self._measured_at = -math.inf
        self._since = 0
        self.peak_lag: int | None = None
        """The largest lag measured."""

    def published(self, events: int) -> None:
        """Count events that were just published."""
        self._since += events

    async def room(self) -> int:
        """Return the number of events that may be published now; 0: ask again after ``POLL_S``.

        Raises:
            ReplayError: The group has read nothing for the time allowed while the lag is at its bound.
        """
        if not self._max_lag:
            return 1 << 62
        lag = self._max_lag if self._lag is None else self._lag + self._since
        interval_s = POLL_S if 2 * lag >= self._max_lag else _UNHURRIED_S
        if time.monotonic() - self._measured_at >= interval_s:
            lag = await self._measure()
        return max(0, self._max_lag - lag)

    async def _measure(self) -> int:
        self._measured_at = time.monotonic()
        failure: KafkaError | None = None
        try:
            committed = await self._admin.list_consumer_group_offsets(
                self._group, partitions=self._partitions
            )
            ends = await self._consumer.end_offsets(self._partitions)
            begins = await self._consumer.beginning_offsets(self._partitions)
        except KafkaError as error:
            # A coordinator that moves or starts up says so in an error; the deadline below decides.
            failure = error
        else:
            read = {
                partition: max(
                    begins[partition], committed[partition].offset if partition in committed else 0
                )
                for partition in self._partitions
            }
            self._since = 0
            self._lag = sum(ends[partition] - read[partition] for partition in self._partitions)
            self.peak_lag = max(self.peak_lag or 0, self._lag)
            total = sum(read.values())
            if total > self._read or self._lag < self._max_lag:
                self._read, self._read_at = total, self._measured_at
        waiting_s = time.monotonic() - self._read_at
        if waiting_s > self._timeout_s:
            raise ReplayError(
                f"consumer group {self._group} has read nothing of {self._partitions[0].topic} for "
                f"{waiting_s:.0f} s, "
                f"{'its lag is unknown' if self._lag is None else f'{self._lag} events wait'}"
                f"{f' ({failure})' if failure else ''}. Is `freshet up` or `freshet stream` running? "
                "--resume goes on from here; --max-lag 0 publishes without regard to the stream."
            )
        return self._max_lag if self._lag is None else self._lag + self._since


async def pause(seconds: float) -> None:
    """Wait for ``seconds``, but never longer than it takes to notice a stop."""
    await asyncio.sleep(min(seconds, POLL_S))
