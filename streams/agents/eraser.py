"""The eraser: tombstones for an erased user's vectors and state, and deletion from the local store.

Guarantee: once a worker has read an erasure, no answer knows the user any more; the worker that owns the
user's partition then deletes the stored data, however often it crashes on the way. The vectors' tombstone is
delivered before the state's: a remaining state means that the erasure is not finished. A worker that receives
a partition also deletes all data from before an erasure, such as from a disk that was away for long.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from freshet.models.events.control import Control
from freshet.streams import metrics
from freshet.streams.errors import PartitionsLost
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.outbox import Outbox, partition_of
from freshet.streams.kafka.progress import Progress
from freshet.streams.settings import Settings
from freshet.streams.state.user_states import UserKey, UserStates

log = logging.getLogger(__name__)

_POLL_S = 0.2
_AT_ONCE = 200
"""Number of users looked up while the user agent waits."""
_CONFIRMED_S = 3_600.0
"""Age up to which an erasure is confirmed by tombstones even without data: the client waits for them."""


@dataclass(kw_only=True, eq=False)
class Eraser:
    """Deletes the data of erased users in this worker's partitions."""

    settings: Settings
    states: UserStates
    outbox: Outbox
    """Outbox of the eraser alone."""
    progress: Progress
    busy: asyncio.Lock
    """Lock held while states change."""
    forget: Callable[[str], None]
    """Drops an erased user's data in memory."""

    def __post_init__(self) -> None:
        self._partitions = self.settings.partitions
        self._impressions = topic_name(self.settings, topics.IMPRESSIONS.name)
        self._vectors = topic_name(self.settings, topics.USER_VECTORS.name)
        self._new: set[str] = set()
        self._confirmed: dict[str, int] = {}
        """Recent erasures that this worker has confirmed, in Unix milliseconds, by user id."""

    def apply(self, control: Control) -> None:
        """Accept an erasure; other controls are ignored."""
        if self.states.erasures.apply(control):
            self._new.add(control.subject)
            self.forget(control.subject)

    async def run(self) -> None:
        """Erase until cancelled, or until a delivery fails."""
        swept = -1
        while True:
            generation = self.progress.generation
            # New partitions may hold data of any erased user.
            users = self.states.erasures.users() if generation != swept else tuple(self._new)
            self._new.clear()
            await self._erase(users, generation)
            swept = generation
            await asyncio.sleep(_POLL_S)

    async def _erase(self, users: Sequence[str], generation: int) -> None:
        for start in range(0, len(users), _AT_ONCE):
            async with self.busy:
                if not self.progress.may_handle(generation):
                    return  # all of them again after the rebalance
                due = self._due(users[start : start + _AT_ONCE])
                if due:
                    for partition, user_id in due:
                        self.outbox.add_record(self._vectors, partition, user_id.encode(), None)
                    try:
                        await self.outbox.flush()
                        await self.states.erase(due, self.outbox)
                    except PartitionsLost as error:
                        log.warning("%s", error)
                        return  # as above
            for _, user_id in due:
                self.forget(user_id)
                metrics.ERASED_USERS.inc()
            if due:
                log.info("erased %d users", len(due))
            await asyncio.sleep(0)

    def _due(self, users: Sequence[str]) -> list[UserKey]:
        owned = self.progress.readable(self._impressions)
        recent_ms = (time.time() - _CONFIRMED_S) * 1_000.0
        due: list[UserKey] = []
        for user_id in users:
            partition = partition_of(user_id, self._partitions)
            erased_ms = self.states.erasures.latest_ms(user_id)
            if partition not in owned or erased_ms is None:
                continue
            state = self.states.stored(partition, user_id)
            if state is not None:
                left = state.is_blank or self.states.erasures.covers_state(user_id, state)
            else:
                left = erased_ms > recent_ms and self._confirmed.get(user_id, -1) < erased_ms
            if left:
                due.append((partition, user_id))
            if erased_ms > recent_ms:
                self._confirmed[user_id] = erased_ms
            else:
                self._confirmed.pop(user_id, None)
        return due
