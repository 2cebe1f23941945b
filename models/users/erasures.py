"""Erasures of users: which events and states must not be kept any more.

Guarantee: the result depends on the instructions read, not on their order. An erasure covers all events of
its user up to its own time; later events begin a new user. A state that began after an erasure records its
time (:attr:`~freshet.models.users.state.UserState.erased_ms`); any other state of that user is older.
"""

from __future__ import annotations

import math

from freshet.models.events.control import Control
from freshet.models.events.wire import to_unix_s
from freshet.models.users.state import UserState


class Erasures:
    """Latest erasure of each user.

    >>> from datetime import UTC, datetime
    >>> erasures = Erasures()
    >>> erasures.apply(Control(kind="user-erased", subject="U1", time=datetime(2026, 3, 2, tzinfo=UTC)))
    True
    >>> erasures.covers("U1", datetime(2026, 3, 1, tzinfo=UTC).timestamp())
    True
    """

    def __init__(self) -> None:
        self._erased_ms: dict[str, int] = {}

    def apply(self, control: Control) -> bool:
        """Record an erasure; False if ``control`` is another instruction, or no later than a known one."""
        if control.kind != "user-erased":
            return False
        erased_ms = erased_ms_of(control)
        if erased_ms <= self._erased_ms.get(control.subject, -1):
            return False
        self._erased_ms[control.subject] = erased_ms
        return True

    def users(self) -> tuple[str, ...]:
        """All users who were ever erased."""
        return tuple(self._erased_ms)

    def latest_ms(self, user_id: str) -> int | None:
        """Time of the user's last erasure, Unix milliseconds; ``None`` if there was none."""
        return self._erased_ms.get(user_id)

    def covers(self, user_id: str, time_s: float) -> bool:
        """Whether an event of the user at ``time_s`` (Unix seconds) is erased."""
        return time_s * 1_000.0 <= self._erased_ms.get(user_id, -math.inf)

    def covers_state(self, user_id: str, state: UserState) -> bool:
        """Whether the user's ``state`` began before the erasure."""
        return state.erased_ms < self._erased_ms.get(user_id, -1)


def erased_ms_of(control: Control) -> int:
    """Time of an erasure in the unit that states keep, Unix milliseconds."""
    return round(to_unix_s(control.time) * 1_000.0)
