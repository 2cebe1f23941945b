"""Watchdog of a worker: detects partitions that have records and make no progress.

aiokafka's consumers can hang after a broker's restart without any sign: no error, no log line, heartbeats as
usual. So a thread, which neither a hanging consumer nor a busy event loop delays, asks the broker every three
seconds for the groups' committed offsets and the partitions' ends.

- ``freshet_group_lag_events``: records published and not committed, by topic, whichever worker owns them. All
  other workers show the lag of a stopped one. On topics that every worker reads for itself: records that this
  one has not applied.
- ``freshet_consumer_stalled_seconds``: time that a partition of a topic has had records and no progress.
- :func:`unhealthy_reason`: reason to restart this process, for a health check: one of its partitions has
  stalled for a minute, or it has lost its place in its group (:mod:`freshet.streams.kafka.group_place`). A
  silent broker is no reason: a restart would not help.
- :func:`unready_reason`: reason why it cannot work now: it has lost its place for longer than a rebalance
  takes.
- :func:`broker_silent_s`: time for which the broker has not answered.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass, field
from typing import Self

from kafka import TopicPartition
from kafka.errors import KafkaError

from freshet.streams import metrics
from freshet.streams.kafka.group_lag import GroupLag, Position
from freshet.streams.kafka.group_place import GroupDescription, Member, Place
from freshet.streams.settings import Settings

log = logging.getLogger(__name__)

INTERVAL_S = 3.0
"""Interval between two looks; each takes 9 ms of CPU time with 8 partitions."""
UNHEALTHY_S = 60.0
"""Stall that makes a worker unhealthy: a batch takes a second, and a stalled reader restarts after five."""
_SESSIONS_TO_SHARE_OUT = 3
"""Longest rebalance: it waits until the sessions of lost members have ended."""
_SESSIONS_TO_RETURN = 6
"""Longest return: an expelled member that can go on is back in a few heartbeats."""
_STOP_TIMEOUT_S = 2.0
"""Wait for the thread, which may be connecting to a lost broker; it is a daemon and ends with the process."""

Groups = Mapping[str, Collection[str]]
"""Topics (full names) that each consumer group reads."""


class Stalls:
    """Time that each partition has had records and no progress."""

    def __init__(self) -> None:
        self._positions: dict[TopicPartition, Position] = {}
        self._since_s: dict[TopicPartition, float] = {}

    def note(self, positions: Mapping[TopicPartition, Position], now_s: float) -> None:
        """Record the groups' positions at ``now_s``, on any clock; forget all other partitions."""
        for tp in self._positions.keys() - positions.keys():
            del self._since_s[tp]
        for tp, position in positions.items():
            before = self._positions.get(tp)
            # Any move is progress, also backwards: somebody has set the group's offsets.
            if before is None or not position.lag or position.done != before.done:
                self._since_s[tp] = now_s
        self._positions = dict(positions)

    def lag_events(self, topic: str) -> int:
        """Number of records of ``topic`` that are not done."""
        return sum(position.lag for tp, position in self._positions.items() if tp.topic == topic)

    def stalled_s(self, topic: str, now_s: float) -> float:
        """Longest time without progress of a partition of ``topic``, in seconds."""
        return max((self.of(tp, now_s) for tp in self._positions if tp.topic == topic), default=0.0)

    def of(self, tp: TopicPartition, now_s: float) -> float:
        """Seconds that ``tp`` has had records and no progress; 0 for an unknown partition."""
        position = self._positions.get(tp)
        return 0.0 if position is None or not position.lag else now_s - self._since_s[tp]

    def worst(self, among: Collection[tuple[str, int]], now_s: float) -> tuple[TopicPartition, float]:
        """Partition with the longest stall, and its seconds; ``among`` must not be empty."""
        worst = max((TopicPartition(*tp) for tp in among), key=lambda tp: self.of(tp, now_s))
        return worst, self.of(worst, now_s)


@dataclass(eq=False)
class Watchdog:
    """Watches the partitions of one worker, and the lag of all groups; a context manager."""

    settings: Settings
    groups: Callable[[], Groups]
    """The groups to watch, asked at each look."""
    mine: Callable[[], Set[tuple[str, int]]]
    """Partitions that this worker owns now. Thread-safe, as are the next two."""
    followed: Callable[[], Mapping[tuple[str, int], int]] = dict
    """First offset not yet applied, of each partition that it reads outside a group."""
    member: Callable[[], Member] | None = field(default=None, kw_only=True)
    """Its place in its group."""
    interval_s: float = field(default=INTERVAL_S, kw_only=True)
    """Seconds between two looks."""
    unhealthy_s: float = field(default=UNHEALTHY_S, kw_only=True)
    """Stall of a partition that makes the worker unhealthy, in seconds."""

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self.reason: str | None = None
        """Reason to restart the worker; ``None`` while it is healthy."""
        self.unready: str | None = None
        """Reason why the worker cannot work now; ``None`` while it can, or is a spare."""
        self._blind = False
        self._answered_s = time.monotonic()
        self._stalls = Stalls()
        self._place = Place()

    def __enter__(self) -> Self:
        _running.append(self)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        _running.remove(self)
        self._stopping.set()
        self._thread.join(_STOP_TIMEOUT_S)

    @property
    def broker_silent_s(self) -> float:
        """Seconds for which the broker has not answered; 0 within two looks."""
        silent_s = time.monotonic() - self._answered_s
        return silent_s if silent_s > 2 * self.interval_s else 0.0

    def look(
        self,
        positions: Mapping[TopicPartition, Position],
        now_s: float,
        place: tuple[Member, GroupDescription] | None = None,
    ) -> None:
        """Judge the positions at ``now_s``, on any monotonic clock."""
        self._blind = False
        if place is not None:
            self._place.note(*place, now_s)
        self._stalls.note(positions, now_s)
        for topic in {tp.topic for tp in positions}:
            metrics.GROUP_LAG.labels(topic).set(self._stalls.lag_events(topic))
            metrics.STALLED_SECONDS.labels(topic).set(self._stalls.stalled_s(topic, now_s))
        self._judge(now_s)

    def blind(self) -> None:
        """Withdraw all reasons, because the broker does not answer."""
        self._blind = True
        self.reason = self.unready = None
        self._place.unknown()

    def _judge(self, now_s: float) -> None:
        self.unready = self._without_share(_SESSIONS_TO_SHARE_OUT)
        waiting = self._place.loss is not None and self._place.loss.waiting
        reason = None if waiting else self._without_share(_SESSIONS_TO_RETURN)
        mine = self.mine() | self.followed().keys()
        if mine:
            (topic, partition), stalled_s = self._stalls.worst(mine, now_s)
            if stalled_s >= self.unhealthy_s:
                reason = (
                    f"no record of {topic}[{partition}] was done for {stalled_s:.0f} s, and some wait: "
                    "the consumer hangs, restart this worker"
                )
        if reason is not None and self.reason is None:
            log.error("unhealthy: %s", reason)
        self.reason = reason

    def _without_share(self, sessions: int) -> str | None:
        """Loss of the place in the group, if it has lasted longer than ``sessions``."""
        place = self._place
        if place.loss is None or place.lost_s < sessions * self.settings.session_timeout_s:
            return None
        return f"{place.loss.what}, for {place.lost_s:.0f} s"

    def _run(self) -> None:
        broker: GroupLag | None = None
        while not self._stopping.is_set():
            try:
                broker = broker or GroupLag(self.settings)
                positions = broker.positions(self.groups()) | broker.positions_at(self.followed())
                place = None
                if self.member is not None:
                    # The member before the group: it was given its partitions earlier.
                    member = self.member()
                    place = member, broker.describe(member.group, member.topics)
            except (KafkaError, OSError) as error:
                if not self._blind:
                    log.warning("the broker does not report the groups' offsets: %r", error)
                self.blind()
                if broker is not None:
                    broker.close()
                broker = None
            except Exception as error:
                # A watchdog that ended would report its last finding for ever.
                log.exception("the watchdog failed")
                self.reason = self.unready = f"the watchdog failed, its worker is not monitored: {error!r}"
            else:
                self._answered_s = time.monotonic()
                self.look(positions, self._answered_s, place)
            self._stopping.wait(self.interval_s)
        if broker is not None:
            broker.close()


_running: list[Watchdog] = []


def unhealthy_reason() -> str | None:
    """Reason to restart this process; ``None`` while it is healthy. Thread-safe."""
    return next((watchdog.reason for watchdog in list(_running) if watchdog.reason is not None), None)


def unready_reason() -> str | None:
    """Reason why this process cannot work now; ``None`` while it can. Thread-safe."""
    return next((watchdog.unready for watchdog in list(_running) if watchdog.unready is not None), None)


def broker_silent_s() -> float:
    """Seconds for which this process' broker has not answered. Thread-safe."""
    return max((watchdog.broker_silent_s for watchdog in list(_running)), default=0.0)
