"""A member counts as polling by its agents, goes on after errors that nobody polls for, and recovers tables.

A batch of a changelog that is damaged is recovered as a record of nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rocksdict
from aiokafka.errors import InvalidSessionTimeoutError
from aiokafka.structs import ConsumerRecord
from faust.types import TP

from freshet.streams.kafka.group_member import AgentsSubscription, GroupMember, GroupThread
from freshet.streams.kafka.record_batches import UndecodableBatch

_TP = TP("stream-user-state-changelog", 3)


async def test_a_member_is_idle_for_as_long_as_its_agents_are_whatever_was_fetched() -> None:
    progress: Any = SimpleNamespace(idle_s=lambda: 7.0)
    subscription = AgentsSubscription(asyncio.get_running_loop(), progress)
    assert subscription.fetcher_idle_time == 7.0
    with subscription.fetch_context():
        assert subscription.fetcher_idle_time == 7.0


class Thread:
    """A member's thread whose coordination has failed, and which looks twice."""

    def __init__(self, *, ended: bool) -> None:
        self.looks = 0
        self.coordinator = SimpleNamespace(
            check_errors=self._fail, _coordination_task=SimpleNamespace(done=lambda: ended)
        )

    @property
    def should_stop(self) -> bool:
        return self.looks == 2

    async def sleep(self, seconds: float) -> None:
        self.looks += 1

    def _ensure_consumer(self) -> Any:
        return SimpleNamespace(_coordinator=self.coordinator)

    def _fail(self) -> None:
        raise InvalidSessionTimeoutError


async def test_coordination_goes_on_after_an_error_and_says_which(caplog: pytest.LogCaptureFixture) -> None:
    thread: Any = Thread(ended=False)
    await GroupThread._go_on_after_errors.fun(thread)
    assert thread.looks == 2
    assert "no place in the consumer group, asking for it again" in caplog.text
    assert "InvalidSessionTimeoutError" in caplog.text


async def test_a_worker_whose_coordination_has_ended_for_good_ends() -> None:
    thread: Any = Thread(ended=True)
    with pytest.raises(InvalidSessionTimeoutError):
        await GroupThread._go_on_after_errors.fun(thread)


def _message(key: bytes | None, value: bytes) -> Any:
    member: Any = GroupMember.__new__(GroupMember)
    member.app = SimpleNamespace(consumer_generation_id=1)
    sizes = (-1 if key is None else len(key), len(value))
    return member._to_message(_TP, ConsumerRecord(*_TP, 7, 1_000, 0, key, value, None, *sizes, ()))


def test_a_record_is_recovered_as_it_is() -> None:
    message = _message(b"U1", b"state")
    assert (message.key, message.value, message.offset) == (b"U1", b"state", 7)


def test_a_batch_that_cannot_be_decoded_changes_no_state_and_ends_at_its_last_offset(tmp_path: Path) -> None:
    message = _message(None, UndecodableBatch.of(memoryview(b"..."), "its checksum is wrong"))
    assert message.offset == 7, "recovery waits for the changelog's last offset"
    assert message.value is None
    # As Faust's store applies it.
    store = rocksdict.Rdict(str(tmp_path), rocksdict.Options(raw_mode=True))
    store[b"U1"] = b"state"
    batch = rocksdict.WriteBatch(raw_mode=True)
    batch.delete(message.key)
    store.write(batch)
    assert dict(store.items()) == {b"U1": b"state"}
    store.close()
