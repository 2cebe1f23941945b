"""Event time of the stream: the wall clock's, or the time that a replay of older events has reached.

A log replayed with its own times lies in the past. A click with today's time would spoil it: all counts would
decay as if months had passed. So the console requests and clicks at the time of what others publish, and
advances from there with the wall clock. Guarantee: it is never ahead of the wall clock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime

from freshet.models.events.events import from_unix_s

_HEARD = 200
"""Number of latest events of which the newest decides, so that a wrong time is soon forgotten."""
_LIVE_S = 3_600.0
"""Delay up to which events count as live: sites publish in batches."""


class StreamClock:
    """Event time for requests and clicks; safe to share between threads.

    Args:
        wall_s: Wall clock, in Unix seconds.
    """

    def __init__(self, wall_s: Callable[[], float] = time.time) -> None:
        self._wall_s = wall_s
        self._lock = threading.Lock()
        self._ahead_s: deque[float] = deque(maxlen=_HEARD)
        self.known = threading.Event()
        """Event set once the stream's latest events were read: before that, the time may be far too late."""

    def heard(self, time_s: float, arrived_s: float) -> None:
        """Note that another client's event of ``time_s`` reached Kafka at ``arrived_s`` (Unix seconds)."""
        with self._lock:
            self._ahead_s.append(time_s - arrived_s)

    @property
    def now_s(self) -> float:
        """Event time of the stream, Unix seconds."""
        with self._lock:
            ahead_s = max(self._ahead_s, default=0.0)
        return self._wall_s() + (ahead_s if ahead_s < -_LIVE_S else 0.0)

    @property
    def now(self) -> datetime:
        """Event time of the stream, UTC."""
        return from_unix_s(self.now_s)

    @property
    def live(self) -> bool:
        """Whether the stream's time is the wall clock's."""
        with self._lock:
            return max(self._ahead_s, default=0.0) >= -_LIVE_S
