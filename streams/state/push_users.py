"""Users who want a fresh list after each of their clicks, as ``control`` says.

Guarantee: the result does not depend on the order in which partitions of ``control`` are read, although an
erasure has another key than the ``push-on`` that it revokes.
"""

from __future__ import annotations

import math

from freshet.models.events.control import Control
from freshet.models.events.wire import to_unix_s
from freshet.models.users.erasures import Erasures


class PushUsers:
    """Container of user ids; an erasure revokes what its user wanted before.

    Args:
        erasures: Erasures of users.
    """

    def __init__(self, erasures: Erasures) -> None:
        self._erasures = erasures
        self._since_s: dict[str, float] = {}

    def apply(self, control: Control) -> None:
        """Add or remove a user; other controls are ignored."""
        if control.kind == "push-on":
            self._since_s[control.subject] = to_unix_s(control.time)
        elif control.kind == "push-off":
            self._since_s.pop(control.subject, None)
        elif control.kind == "user-erased":
            since_s = self._since_s.get(control.subject, math.inf)
            if since_s <= to_unix_s(control.time):
                del self._since_s[control.subject]

    def __contains__(self, user_id: object) -> bool:
        """Whether the user wants fresh lists."""
        since_s = self._since_s.get(user_id) if isinstance(user_id, str) else None
        return since_s is not None and not self._erasures.covers(str(user_id), since_s)
