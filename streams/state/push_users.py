"""Users who want a fresh list after each of their clicks, as ``control`` says.

Guarantee: who is in does not depend on the order in which its partitions are read, although an erasure is
another key than the ``push-on`` that it takes back.
"""

from __future__ import annotations

import math

from freshet.models.events.control import Control
from freshet.models.events.wire import to_unix_s
from freshet.models.users.erasures import Erasures


class PushUsers:
    """A container of user ids.

    Args:
        erasures: What users wanted before they were erased does not count.
    """

    def __init__(self, erasures: Erasures) -> None:
        self._erasures = erasures
        self._since_s: dict[str, float] = {}

    def apply(self, control: Control) -> None:
        """Take a user in or out; other instructions are ignored."""
        if control.kind == "push-on":
            self._since_s[control.subject] = to_unix_s(control.time)
        elif control.kind == "push-off":
            self._since_s.pop(control.subject, None)
        elif control.kind == "user-erased":
            since_s = self._since_s.get(control.subject, math.inf)
            if since_s <= to_unix_s(control.time):
                del self._since_s[control.subject]

    def __contains__(self, user_id: object) -> bool:
        """Whether the user wants it."""
        if not isinstance(user_id, str) or user_id not in self._since_s:
            return False
        return not self._erasures.covers(user_id, self._since_s[user_id])
