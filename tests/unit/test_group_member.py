"""A member counts as polling by its agents, and goes on after errors that nobody polls for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import InvalidSessionTimeoutError

from freshet.streams.group_member import AgentsSubscription, GroupThread


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
