"""Decoded states of the users whose partitions this worker owns: a bounded cache over the table.

Guarantee: a state from before its user's erasure is never returned, whether or not the table still has it.
"""

from __future__ import annotations

import time
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.users.erasures import Erasures
from freshet.models.users.state import Pooling, UserState
from freshet.streams import metrics
from freshet.streams.kafka.outbox import Outbox
from freshet.streams.kafka.partitioned_table import PartitionedTable

UserKey = tuple[int, str]
"""Partition and user id."""


@dataclass(eq=False)
class UserStates:
    """Least-recently-used cache of decoded states, which writes them on demand."""

    table: PartitionedTable
    pooling: Pooling
    catalog: ArticleCatalog
    max_cached: int
    erasures: Erasures

    def __post_init__(self) -> None:
        self._cache: OrderedDict[UserKey, UserState] = OrderedDict()

    def get(self, partition: int, user_id: str) -> UserState | None:
        """State of the user, including clicks on articles that have become known since.

        ``None`` if the user was never seen, or not since an erasure.
        """
        key = (partition, user_id)
        state = self._cache.get(key)
        if state is None:
            stored = self.table.get(partition, user_id.encode())
            if stored is None:
                return None
            state = UserState.from_bytes(stored, self.pooling)
            state.settle(time.time())
            self._cache[key] = state
        else:
            self._cache.move_to_end(key)
        if self.erasures.covers_state(user_id, state):
            return None
        if state.bundle != self.pooling.bundle:
            state = self._cache[key] = state.rebuild(self.pooling, self.catalog)
        state.fold_parked(self.catalog)
        return state

    def get_or_create(self, partition: int, user_id: str) -> UserState:
        """State of the user, an empty one if the user was never seen."""
        state = self.get(partition, user_id)
        if state is None:
            state = UserState.empty(self.pooling, self.erasures.latest_ms(user_id))
            self._cache[partition, user_id] = state
        return state

    async def write(self, changed: Collection[UserKey], outbox: Outbox) -> None:
        """Make the states of ``changed`` durable: changelog first, then the local store.

        All other records in ``outbox`` are delivered with them.
        """
        await self._deliver({user: self._cache[user].to_bytes() for user in changed}, outbox)
        while len(self._cache) > self.max_cached:
            self._cache.popitem(last=False)
        metrics.CACHED_USERS.set(len(self._cache))

    def stored(self, partition: int, user_id: str) -> UserState | None:
        """State as the table has it, even from before an erasure."""
        stored = self.table.get(partition, user_id.encode())
        return None if stored is None else UserState.from_bytes(stored, self.pooling)

    async def erase(self, users: Collection[UserKey], outbox: Outbox) -> None:
        """Delete the states of ``users``: tombstones on the changelog first, then in the local store.

        All other records in ``outbox`` are delivered with them.
        """
        await self._deliver(dict.fromkeys(users), outbox)
        for user in users:
            self._cache.pop(user, None)

    async def _deliver(self, stored: Mapping[UserKey, bytes | None], outbox: Outbox) -> None:
        items: defaultdict[int, list[tuple[bytes, bytes | None]]] = defaultdict(list)
        for (partition, user_id), value in stored.items():
            items[partition].append((user_id.encode(), value))
        for partition, states in items.items():
            self.table.write_changelog(outbox, partition, states)
        offsets = await outbox.flush()
        for partition, states in items.items():
            self.table.write_store(partition, states, offsets[self.table.changelog, partition])

    def forget(self) -> None:
        """Drop all decoded states: after a rebalance another worker may have changed them."""
        self._cache.clear()
