"""Only what is done is committed, and only what may be read is read."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from faust.types import TP

from freshet.streams.errors import PartitionsLost
from freshet.streams.kafka.progress import Progress
from freshet.streams.settings import Settings
from tests.waiting import HANG_S

_CLICKS_0, _CLICKS_1, _REQUESTS_0 = TP("clicks", 0), TP("clicks", 1), TP("requests", 0)


class Group:
    """The worker's consumer and the group's offsets, as far as :class:`Progress` uses them."""

    def __init__(self) -> None:
        self.conf = SimpleNamespace(id="g")
        self.consumer = self
        self.offsets: dict[TP, int] = {}
        self.earliest: dict[TP, int] = {}
        self.refuses = False
        self.during_lookup: Any = None

    async def _commit(self, offsets: dict[TP, int]) -> bool:
        if not self.refuses:
            self.offsets |= offsets
        return not self.refuses

    async def committed(self, tp: TopicPartition) -> int | None:
        if self.during_lookup is not None:
            self.during_lookup()
        return self.offsets.get(TP(*tp))

    async def beginning_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self.earliest.get(TP(*tp), 0) for tp in tps}


@pytest.fixture
def group() -> Group:
    return Group()


@pytest.fixture
def progress(group: Group) -> Progress:
    app: Any = group
    progress = Progress(app, Settings())
    progress._offsets = app
    return progress


def _records(tp: TP, *offsets: int) -> list[Any]:
    return [SimpleNamespace(topic=tp.topic, partition=tp.partition, offset=offset) for offset in offsets]


async def test_reading_begins_where_the_group_has_committed(progress: Progress, group: Group) -> None:
    group.offsets = {_CLICKS_0: 7}
    progress.resume([_CLICKS_0, _CLICKS_1, _REQUESTS_0])
    assert await progress.starts({"clicks"}) == {_CLICKS_0: 7, _CLICKS_1: 0}
    assert await progress.starts({"requests"}) == {_REQUESTS_0: 0}


async def test_a_worker_that_stops_begins_nothing_though_partitions_become_readable(
    progress: Progress,
) -> None:
    progress.begin_nothing()
    progress.resume([_CLICKS_0])
    assert await progress.starts({"clicks"}) == {}


async def test_reading_begins_at_the_oldest_record_kept(progress: Progress, group: Group) -> None:
    group.offsets = {_CLICKS_0: 7}
    group.earliest = {_CLICKS_0: 20, _CLICKS_1: 3}
    progress.resume([_CLICKS_0, _CLICKS_1])
    assert await progress.starts({"clicks"}) == {_CLICKS_0: 20, _CLICKS_1: 3}


async def test_only_what_is_done_is_committed(progress: Progress, group: Group) -> None:
    progress.resume([_CLICKS_0, _CLICKS_1])
    await progress.starts({"clicks"})
    await progress.commit()
    assert group.offsets == {}
    progress.done(_records(_CLICKS_0, 0, 1, 2))
    await progress.commit()
    assert group.offsets == {_CLICKS_0: 3}


async def test_offsets_that_no_record_has_hold_nothing_up(progress: Progress, group: Group) -> None:
    """A transaction's marker, or a record that compaction has removed, leaves a gap."""
    progress.resume([_CLICKS_0])
    await progress.starts({"clicks"})
    progress.done(_records(_CLICKS_0, 0, 1, 5))
    await progress.commit()
    assert group.offsets == {_CLICKS_0: 6}


async def test_offsets_without_records_at_the_end_are_done_with_what_comes_before(
    progress: Progress, group: Group
) -> None:
    """Such as a marker, after which nothing may ever come, or the records of an aborted transaction."""
    progress.resume([_CLICKS_0])
    await progress.starts({"clicks"})
    progress.found_end(TopicPartition("clicks", 0), 9)
    progress.found_empty(_CLICKS_0, 4, 7)
    progress.done(_records(_CLICKS_0, 0, 1, 2))
    assert progress.lags() == {_CLICKS_0: 6}, "3 was handed out and is not done"
    progress.found_empty(_CLICKS_0, 7, 9)
    await progress.commit()
    assert group.offsets == {_CLICKS_0: 3}
    progress.done(_records(_CLICKS_0, 3))
    await progress.commit()
    assert group.offsets == {_CLICKS_0: 9}
    assert progress.lags() == {_CLICKS_0: 0}


async def test_a_partition_of_nothing_but_offsets_without_records_is_done(
    progress: Progress, group: Group
) -> None:
    group.offsets = {_CLICKS_0: 7}
    progress.resume([_CLICKS_0])
    await progress.starts({"clicks"})
    progress.found_empty(_CLICKS_0, 7, 8)
    progress.found_empty(_CLICKS_0, 8, 12)
    progress.found_empty(_CLICKS_1, 0, 5)
    await progress.commit()
    assert group.offsets == {_CLICKS_0: 12}, "another partition is another worker's to commit"


async def test_records_behind_offsets_without_any_are_done_only_when_they_are(
    progress: Progress, group: Group
) -> None:
    progress.resume([_CLICKS_0])
    await progress.starts({"clicks"})
    progress.found_empty(_CLICKS_0, 2, 4)
    progress.found_empty(_CLICKS_0, 6, 7)
    progress.done(_records(_CLICKS_0, 0, 1))
    await progress.commit()
    assert group.offsets == {_CLICKS_0: 2}
    progress.done(_records(_CLICKS_0, 4, 5))
    await progress.commit()
    assert group.offsets == {_CLICKS_0: 7}


async def test_a_commit_that_failed_is_made_again(progress: Progress, group: Group) -> None:
    progress.resume([_CLICKS_0])
    await progress.starts({"clicks"})
    progress.done(_records(_CLICKS_0, 0))
    group.refuses = True
    await progress.commit()
    group.refuses = False
    await progress.commit()
    assert group.offsets == {_CLICKS_0: 1}


async def test_what_is_done_before_partitions_move_is_committed_and_forgotten(
    progress: Progress, group: Group
) -> None:
    progress.resume([_CLICKS_0])
    generation = progress.generation
    await progress.starts({"clicks"})
    progress.done(_records(_CLICKS_0, 0, 1))
    progress.pause()
    assert not progress.may_handle(generation), "what was read before is another worker's now"
    await progress.release()
    assert group.offsets == {_CLICKS_0: 2}
    assert await progress.starts({"clicks"}) == {}
    progress.done(_records(_CLICKS_0, 2))
    await progress.commit()
    assert group.offsets == {_CLICKS_0: 2}
    assert progress.lags() == {}


async def test_partitions_that_come_back_are_read_from_what_others_have_done(
    progress: Progress, group: Group
) -> None:
    progress.resume([_CLICKS_0])
    await progress.starts({"clicks"})
    progress.pause()
    await progress.release()
    group.offsets = {_CLICKS_0: 40}
    progress.resume([_CLICKS_0])
    assert await progress.starts({"clicks"}) == {_CLICKS_0: 40}


async def test_positions_looked_up_for_partitions_that_have_moved_are_not_kept(
    progress: Progress, group: Group
) -> None:
    progress.resume([_CLICKS_0])
    group.during_lookup = progress.pause
    await progress.starts({"clicks"})
    progress.done(_records(_CLICKS_0, 0))
    await progress.commit()
    assert group.offsets == {}


async def test_lag_is_what_is_not_done(progress: Progress) -> None:
    progress.resume([_CLICKS_0, _CLICKS_1])
    await progress.starts({"clicks"})
    progress.found_end(TopicPartition("clicks", 0), 10)
    progress.found_end(TopicPartition("clicks", 1), None)
    progress.done(_records(_CLICKS_0, 0, 1, 2))
    assert progress.lags() == {_CLICKS_0: 7, _CLICKS_1: 0}


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("freshet.streams.kafka.progress.time", clock)
    return clock


async def test_a_worker_that_was_away_for_longer_than_its_session_may_not_write_what_it_had_in_hand(
    progress: Progress, group: Group, clock: Clock
) -> None:
    progress.resume([_CLICKS_0])
    await progress.starts({"clicks"})
    await progress.hold()
    generation = progress.generation
    clock.now_s += Settings().session_timeout_s + 1.0
    group.refuses = True
    with pytest.raises(PartitionsLost):
        await progress.hold()
    assert not progress.may_handle(generation), "its readers begin anew at what is committed"


async def test_a_worker_that_is_still_a_member_may_write(
    progress: Progress, group: Group, clock: Clock
) -> None:
    progress.resume([_CLICKS_0])
    await progress.starts({"clicks"})
    progress.done(_records(_CLICKS_0, 0))
    await progress.commit()
    group.refuses = True
    await progress.hold()  # it need not ask: the broker has just said so
    group.refuses = False
    clock.now_s += Settings().session_timeout_s + 1.0
    await progress.hold()
    assert group.offsets == {_CLICKS_0: 1}


async def test_a_worker_is_idle_since_its_slowest_agent_came_back(progress: Progress, clock: Clock) -> None:
    assert progress.idle_s() == 0.0, "no agent has begun"
    users, requests = object(), object()
    progress.came_back(users)
    progress.came_back(requests)
    clock.now_s += 7.0
    progress.came_back(requests)
    clock.now_s += 3.0
    assert progress.idle_s() == 10.0
    progress.came_back(users)
    assert progress.idle_s() == 3.0


async def test_progress_is_kept_regularly(
    progress: Progress, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freshet.streams.kafka.progress.COMMIT_INTERVAL_S", 0.001)
    progress.resume([_CLICKS_0])
    await progress.starts({"clicks"})
    keeping = asyncio.create_task(progress.keep())
    progress.done(_records(_CLICKS_0, 0))
    async with asyncio.timeout(HANG_S):
        while not group.offsets:
            await asyncio.sleep(0.001)
    keeping.cancel()
    assert group.offsets == {_CLICKS_0: 1}
