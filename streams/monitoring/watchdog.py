"""Notices a worker that no longer gets its records done, although there are some: nobody else would.

aiokafka's consumers can hang after a broker's restart, with no sign of it: no error, no log, heartbeats as
ever. So a thread of its own, which neither a hanging consumer nor a busy event loop holds up, asks the broker
every three seconds what the groups have committed and what was published.

- ``freshet_group_lag_events``: what is published and not committed, by topic, whichever worker owns it. The
  lag of a worker that is stopped is seen on the metrics of all others. Of topics that every worker reads for
  itself, what this one has not applied.
- ``freshet_consumer_stalled_seconds``: for how long a partition of a topic has had records and no progress.
- :func:`unhealthy_reason`: why this process should be restarted, for a health check: a partition that is its
  own has stalled for a minute, or it has lost its place in its group
  (:mod:`freshet.streams.kafka.group_place`). A broker that does not answer is no reason, a restart would not
  help.
- :func:`unready_reason`: why it can do no work now: it has lost its place for longer than sharing partitions
  out takes.
- :func:`broker_silent_s`: for how long the broker has not answered, for those who would send work here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Set
from types import TracebackType
from typing import Self

from kafka import TopicPartition
from kafka.errors import KafkaError

from freshet.streams import metrics
from freshet.streams.kafka.group_lag import GroupLag, Position
from freshet.streams.kafka.group_place import GroupDescription, Member, Place
from freshet.streams.settings import Settings

log = logging.getLogger(__name__)

INTERVAL_S = 3.0
"""From one look to the next, which takes 9 ms of a processor with 8 partitions."""
UNHEALTHY_S = 60.0
"""A batch takes a second, and a reader that finds itself stalled begins anew after five."""
_SESSIONS_TO_SHARE_OUT = 3
"""Sharing partitions out waits until the sessions of members that are gone have ended."""
_SESSIONS_TO_RETURN = 6
"""A member that was thrown out and can go on is back in a few heartbeats."""
_STOP_TIMEOUT_S = 2.0
"""It may be connecting to a broker that is gone, which takes long; a daemon thread ends with the process."""

Groups = Mapping[str, Collection[str]]
"""The topics (full names) that each consumer group reads."""


class Stalls:
    """For how long each partition has had records and no progress."""

    def __init__(self) -> None:
        self._positions: dict[TopicPartition, Position] = {}
        self._since_s: dict[TopicPartition, float] = {}

    def note(self, positions: Mapping[TopicPartition, Position], now_s: float) -> None:
        """Take in where groups stand at ``now_s``, on any clock; forget what is not in ``positions``."""
        for tp in self._positions.keys() - positions.keys():
            del self._since_s[tp]
        for tp, position in positions.items():
            before = self._positions.get(tp)
            # Any move is progress, back too: somebody has set the group's offsets.
            if before is None or not position.lag or position.done != before.done:
                self._since_s[tp] = now_s
        self._positions = dict(positions)

    def lag_events(self, topic: str) -> int:
        """Records of ``topic`` that are not done."""
        return sum(position.lag for tp, position in self._positions.items() if tp.topic == topic)

    def stalled_s(self, topic: str, now_s: float) -> float:
        """Seconds without progress, of the partition of ``topic`` that has the most."""
        return max((self.of(tp, now_s) for tp in self._positions if tp.topic == topic), default=0.0)

    def of(self, tp: TopicPartition, now_s: float) -> float:
        """Seconds that ``tp`` has had records and no progress; 0 for one that is not known."""
        position = self._positions.get(tp)
        return 0.0 if position is None or not position.lag else now_s - self._since_s[tp]

    def worst(self, among: Collection[tuple[str, int]], now_s: float) -> tuple[TopicPartition, float]:
        """Which partition ``among``, which is not empty, has had no progress for longest; the seconds."""
        stalled = {TopicPartition(*tp): self.of(TopicPartition(*tp), now_s) for tp in among}
        worst = max(stalled, key=lambda tp: stalled[tp])
        return worst, stalled[worst]


class Watchdog:
    """Looks after the partitions of one worker, and at the lag of all; a context manager.

    Args:
        settings: Where Kafka is.
        groups: The groups to look at, asked anew each time.
        mine: The partitions that this worker has to get done now; from any thread.
        followed: Of partitions that it reads outside a group, the first offset not yet applied; as ``mine``.
        member: Its place in its group; as ``mine``.
        interval_s: From one look to the next.
        unhealthy_s: A partition stalled for so long makes the worker unhealthy.
    """

    def __init__(
        self,
        settings: Settings,
        groups: Callable[[], Groups],
        mine: Callable[[], Set[tuple[str, int]]],
        followed: Callable[[], Mapping[tuple[str, int], int]] = dict,
        *,
        member: Callable[[], Member] | None = None,
        interval_s: float = INTERVAL_S,
        unhealthy_s: float = UNHEALTHY_S,
    ) -> None:
        self._settings = settings
        self._groups = groups
        self._mine = mine
        self._followed = followed
        self._member = member
        self._interval_s = interval_s
        self._unhealthy_s = unhealthy_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._reason: str | None = None
        self._unready: str | None = None
        self._blind = False
        self._answered_s = time.monotonic()
        self._stalls = Stalls()
        self._place = Place()

    def __enter__(self) -> Self:
        _running.append(self)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _running.remove(self)
        self._stopping.set()
        self._thread.join(_STOP_TIMEOUT_S)

    @property
    def reason(self) -> str | None:
        """Why the worker should be restarted; ``None`` while it need not."""
        return self._reason

    @property
    def unready(self) -> str | None:
        """Why the worker can do no work now; ``None`` while it can, or has none to do."""
        return self._unready

    @property
    def broker_silent_s(self) -> float:
        """For how long the broker has not answered; 0 for what passes between two looks."""
        silent_s = time.monotonic() - self._answered_s
        return silent_s if silent_s > 2 * self._interval_s else 0.0

    def look(
        self,
        positions: Mapping[TopicPartition, Position],
        now_s: float,
        place: tuple[Member, GroupDescription] | None = None,
    ) -> None:
        """Take in where everybody stands at ``now_s``, on any clock that never goes back."""
        self._blind = False
        if place is not None:
            self._place.note(*place, now_s)
        self._stalls.note(positions, now_s)
        for topic in {tp.topic for tp in positions}:
            metrics.GROUP_LAG.labels(topic).set(self._stalls.lag_events(topic))
            metrics.STALLED_SECONDS.labels(topic).set(self._stalls.stalled_s(topic, now_s))
        self._judge(now_s)

    def blind(self) -> None:
        """The broker does not answer: nothing is known against the worker."""
        self._blind = True
        self._reason = self._unready = None
        self._place.unknown()

    def _judge(self, now_s: float) -> None:
        self._unready = self._without_share(_SESSIONS_TO_SHARE_OUT)
        waiting = self._place.loss is not None and self._place.loss.waiting
        reason = None if waiting else self._without_share(_SESSIONS_TO_RETURN)
        mine = self._mine() | self._followed().keys()
        if mine:
            (topic, partition), stalled_s = self._stalls.worst(mine, now_s)
            if stalled_s >= self._unhealthy_s:
                reason = (
                    f"no record of {topic}[{partition}] was done for {stalled_s:.0f} s, and some wait: "
                    "the consumer hangs, restart this worker"
                )
        if reason is not None and self._reason is None:
            log.error("unhealthy: %s", reason)
        self._reason = reason

    def _without_share(self, sessions: int) -> str | None:
        """What is amiss with the place in the group, if it has been so for longer than ``sessions`` last."""
        place = self._place
        if place.loss is None or place.lost_s < sessions * self._settings.session_timeout_s:
            return None
        return f"{place.loss.what}, for {place.lost_s:.0f} s"

    def _run(self) -> None:
        broker: GroupLag | None = None
        while not self._stopping.is_set():
            try:
                broker = broker or GroupLag(self._settings)
                positions = broker.positions(self._groups()) | broker.positions_at(self._followed())
                place = None
                if self._member is not None:
                    # The member before the group: what it reads it was given before that.
                    member = self._member()
                    place = member, broker.describe(member.group, member.topics)
            except (KafkaError, OSError) as error:
                if not self._blind:
                    log.warning("the broker does not tell how far the groups are: %r", error)
                self.blind()
                if broker is not None:
                    broker.close()
                broker = None
            except Exception as error:
                # A watchdog that ends says for ever what it said last.
                log.exception("the watchdog failed")
                self._reason = self._unready = (
                    f"the watchdog failed, its worker is not looked after: {error!r}"
                )
            else:
                self._answered_s = time.monotonic()
                self.look(positions, self._answered_s, place)
            self._stopping.wait(self._interval_s)
        if broker is not None:
            broker.close()


_running: list[Watchdog] = []


def unhealthy_reason() -> str | None:
    """Why this process should be restarted, in words; ``None`` while it is healthy. From any thread."""
    return next((watchdog.reason for watchdog in list(_running) if watchdog.reason is not None), None)


def unready_reason() -> str | None:
    """Why this process can do no work now, in words; ``None`` while it can. From any thread."""
    return next((watchdog.unready for watchdog in list(_running) if watchdog.unready is not None), None)


def broker_silent_s() -> float:
    """For how long this process' broker has not answered; 0 while it does. From any thread."""
    return max((watchdog.broker_silent_s for watchdog in list(_running)), default=0.0)
