"""Follows the running system by the console's means: its metrics pages, and the articles that are trending.

A metrics page that does not answer for a moment leaves the last view standing.
"""

from __future__ import annotations

from typing import Any

from freshet.streams.settings import Settings
from freshet.workers.console.clock import StreamClock
from freshet.workers.console.feed import StreamFeed
from freshet.workers.console.memory import StreamMemory
from freshet.workers.console.pulse import Pulse
from freshet.workers.processes.background_thread import BackgroundThread

_LOOK_S = 1.0
_JOIN_TIMEOUT_S = 15.0


class DemoMonitor(BackgroundThread):
    """A context manager; its background thread ends with it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("demo-monitor", _JOIN_TIMEOUT_S)
        self.memory = StreamMemory()
        self.view: dict[str, Any] = {}
        """The latest :attr:`~freshet.workers.console.pulse.Pulse.view`; empty before the first."""
        self._feed = StreamFeed(settings, self.memory, StreamClock())
        self._pulse = Pulse([f"http://{settings.metrics_host}:{settings.metrics_port}/metrics"], settings)

    def _run(self) -> None:
        with self._feed:
            while not self._stop.is_set():
                self._pulse.look()
                if self._pulse.view["answering"]:
                    self.view = self._pulse.view
                self._stop.wait(_LOOK_S)
