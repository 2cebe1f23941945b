"""What the eraser deletes, in which order, and what it leaves to others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.events.control import Control
from freshet.models.users.erasures import Erasures
from freshet.models.users.state import UserState
from freshet.streams.agents.eraser import Eraser
from freshet.streams.kafka.outbox import Outbox, partition_of
from freshet.streams.kafka.progress import Progress
from freshet.streams.settings import Settings
from freshet.streams.state.serving import pooling
from freshet.streams.state.user_states import UserKey, UserStates
from tests.waiting import HANG_S

_SETTINGS = Settings(partitions=2, dimension=4)


class _Worker:
    """An eraser amid stand-ins that write down what happens."""

    def __init__(self, owned: Collection[int] = (0, 1)) -> None:
        self.done: list[tuple[str, UserKey]] = []
        self.forgotten: list[str] = []
        self.states: dict[str, UserState] = {}
        self.erasures = Erasures()
        self.generation = 0
        self.owned = owned
        self._due: list[tuple[str, UserKey]] = []
        self.busy = asyncio.Lock()
        self.eraser = Eraser(
            settings=_SETTINGS,
            states=cast(UserStates, self),
            outbox=cast(Outbox, self),
            progress=cast(Progress, self),
            busy=self.busy,
            forget=self.forgotten.append,
        )

    # As an outbox
    def add_record(self, topic: str, partition: int, key: bytes, value: bytes | None) -> None:
        assert topic == "freshet.user-vectors"
        assert value is None
        self._due.append(("vectors", (partition, key.decode())))

    async def flush(self) -> None:
        self.done += self._due
        self._due.clear()

    # As the states
    def stored(self, partition: int, user_id: str) -> UserState | None:
        assert partition in self.owned, "another worker's store"
        return self.states.get(user_id)

    async def erase(self, users: Collection[UserKey], outbox: Any) -> None:
        assert self.busy.locked()
        self.done += [("state", user) for user in users]
        for _, user_id in users:
            self.states.pop(user_id, None)

    # As the progress
    def may_handle(self, generation: int) -> bool:
        return generation == self.generation

    def readable(self, topic: str) -> frozenset[int]:
        assert topic == "freshet.impressions"
        return frozenset(self.owned)

    async def until(
        self, met: Callable[[], bool], steps: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Run the eraser until ``met``."""
        running = asyncio.create_task(self.eraser.run())
        try:
            async with asyncio.timeout(HANG_S):
                if steps is not None:
                    await steps()
                while not met():
                    await asyncio.sleep(0.01)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


def _erasure(user_id: str, age: timedelta = timedelta()) -> Control:
    return Control(kind="user-erased", subject=user_id, time=datetime.now(UTC) - age)


def _state(erased_ms: int | None = None) -> UserState:
    state = UserState.empty(pooling(_SETTINGS), erased_ms)
    state.apply_click(("clicks", 0, 0), 1.0, "N1", ArticleCatalog(4), impression_known=False)
    return state


def _key(user_id: str) -> UserKey:
    return partition_of(user_id, _SETTINGS.partitions), user_id


async def test_vectors_are_gone_before_the_state_which_shows_that_there_is_something_left() -> None:
    worker = _Worker()
    worker.states["U1"] = _state()
    worker.eraser.apply(_erasure("U1"))
    assert worker.forgotten == ["U1"], "at once, whoever owns the partition"
    await worker.until(lambda: len(worker.done) == 2)
    assert worker.done == [("vectors", _key("U1")), ("state", _key("U1"))]
    assert worker.forgotten == ["U1", "U1"], "and what an answer under way has remembered since"


async def test_a_recent_erasure_is_confirmed_once_where_nothing_is_left() -> None:
    worker = _Worker()
    worker.eraser.apply(_erasure("U1"))

    async def share_out_anew() -> None:
        while len(worker.done) < 2:
            await asyncio.sleep(0.01)
        worker.states["U2"] = _state()
        worker.eraser.apply(_erasure("U2"))
        worker.generation += 1

    await worker.until(lambda: len(worker.done) == 4, share_out_anew)
    assert [key for _, key in worker.done] == [_key("U1"), _key("U1"), _key("U2"), _key("U2")]


async def test_an_old_erasure_without_a_state_writes_nothing_and_with_one_of_before_deletes_it() -> None:
    worker = _Worker()
    for user in ("U-old", "U-stale", "U-new"):
        worker.eraser.apply(_erasure(user, timedelta(days=30)))
    worker.states["U-stale"] = _state()
    worker.states["U-new"] = _state(worker.erasures.latest_ms("U-new"))
    await worker.until(lambda: len(worker.done) == 2)
    assert {key for _, key in worker.done} == {_key("U-stale")}
    assert "U-new" in worker.states


async def test_a_state_without_any_event_is_deleted_too() -> None:
    worker = _Worker()
    worker.eraser.apply(_erasure("U1", timedelta(days=30)))
    worker.states["U1"] = UserState.empty(pooling(_SETTINGS), worker.erasures.latest_ms("U1"))
    await worker.until(lambda: len(worker.done) == 2)


@pytest.mark.parametrize("mine", [0, 1])
async def test_another_workers_partition_is_left_to_it_until_it_is_this_ones(mine: int) -> None:
    worker = _Worker(owned=(mine,))
    users = [f"U{i}" for i in range(20)]
    own = {_key(user) for user in users if _key(user)[0] == mine}
    assert 0 < len(own) < len(users)
    for user in users:
        worker.states[user] = _state()
        worker.eraser.apply(_erasure(user))

    async def take_all_over() -> None:
        while len(worker.done) < 2 * len(own):
            await asyncio.sleep(0.01)
        assert {key for _, key in worker.done} == own
        worker.owned = (0, 1)
        worker.generation += 1

    await worker.until(lambda: not worker.states, take_all_over)
    assert sorted(worker.done) == sorted(
        (what, _key(user)) for user in users for what in ("vectors", "state")
    )


async def test_what_a_rebalance_has_interrupted_is_done_by_the_partitions_after_it() -> None:
    worker = _Worker()
    worker.states["U1"] = _state()
    worker.eraser.apply(_erasure("U1"))

    async def rebalance() -> None:
        async with worker.busy:
            await asyncio.sleep(0)  # the eraser waits for the lock with the generation of before
            worker.owned = ()
            worker.generation += 1
        for _ in range(5):
            await asyncio.sleep(0)
        assert not worker.done
        worker.owned = (0, 1)
        worker.generation += 1

    await worker.until(lambda: len(worker.done) == 2, rebalance)
