"""What time it is on the stream: now, or where a replay of older events has got to.

A log that is replayed with its own times lives in the past. A click of today would end it: all counts would
decay as if months had gone by. So the console asks and clicks at the time of what others publish, and goes on
from there with the wall clock's speed. Guarantee: it is never ahead of the wall clock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime

from freshet.models.events.events import from_unix_s

_HEARD = 200
"""The newest of this many events decides, so that one of a wrong time is soon forgotten."""
_LIVE_S = 3_600.0
"""Events published this late still count as live: sites report in batches."""


class StreamClock:
    """Event time, for requests and clicks; shared by threads.

    Args:
        wall_s: Unix seconds, the wall clock's.
    """

    def __init__(self, wall_s: Callable[[], float] = time.time) -> None:
        self._wall_s = wall_s
        self._lock = threading.Lock()
        self._ahead_s: deque[float] = deque(maxlen=_HEARD)
        self.known = threading.Event()
        """Set when what was on the stream has been heard: before that the time may be far too late."""

    def heard(self, time_s: float, arrived_s: float) -> None:
        """Somebody else's event of ``time_s`` came to Kafka at ``arrived_s``, both Unix seconds."""
        with self._lock:
            self._ahead_s.append(time_s - arrived_s)

    @property
    def now_s(self) -> float:
        """The stream's time, Unix seconds."""
        with self._lock:
            ahead_s = max(self._ahead_s, default=0.0)
        return self._wall_s() + (ahead_s if ahead_s < -_LIVE_S else 0.0)

    @property
    def now(self) -> datetime:
        """The stream's time, UTC."""
        return from_unix_s(self.now_s)

    @property
    def live(self) -> bool:
        """Whether the stream's time is the wall clock's."""
        with self._lock:
            return max(self._ahead_s, default=0.0) >= -_LIVE_S
