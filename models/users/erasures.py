"""Which users were erased, and when: what may not be known of them any more.

Guarantee: the answers depend on the instructions read, not on their order. An erasure covers everything of
its user up to its own time; what comes after it begins a new user. A state that began after an erasure says
so (:attr:`~freshet.models.users.state.UserState.erased_ms`): any other one of that user is of before it.
"""

from __future__ import annotations

from freshet.models.events.control import Control
from freshet.models.events.wire import to_unix_s
from freshet.models.users.state import UserState


class Erasures:
    """The latest erasure of each user."""

    def __init__(self) -> None:
        self._erased_ms: dict[str, int] = {}

    def apply(self, control: Control) -> bool:
        """Remember an erasure; False if ``control`` is none, or not later than one that is known."""
        if control.kind != "user-erased":
            return False
        erased_ms = erased_ms_of(control)
        if erased_ms <= self._erased_ms.get(control.subject, -1):
            return False
        self._erased_ms[control.subject] = erased_ms
        return True

    def users(self) -> tuple[str, ...]:
        """Everybody who was ever erased."""
        return tuple(self._erased_ms)

    def latest_ms(self, user_id: str) -> int | None:
        """When the user was last erased, Unix milliseconds; ``None`` for never."""
        return self._erased_ms.get(user_id)

    def covers(self, user_id: str, time_s: float) -> bool:
        """Whether an event of the user at ``time_s`` (Unix seconds) may not be known any more."""
        erased_ms = self._erased_ms.get(user_id)
        return erased_ms is not None and time_s * 1_000.0 <= erased_ms

    def covers_state(self, user_id: str, state: UserState) -> bool:
        """Whether ``state``, the user's, is of before the erasure."""
        erased_ms = self._erased_ms.get(user_id)
        return erased_ms is not None and state.erased_ms < erased_ms


def erased_ms_of(control: Control) -> int:
    """The time of an erasure as states keep it, Unix milliseconds."""
    return round(to_unix_s(control.time) * 1_000.0)
