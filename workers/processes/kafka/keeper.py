"""Restarts the local broker when it has died: a few times, then its end is final.

Guarantee: the broker comes back at the same address with everything that it has acknowledged, since the
operating system keeps the writes of a killed process. A broker that keeps dying is given up.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from concurrent.futures import Future

from freshet.workers.errors import BrokerFailed
from freshet.workers.processes.background_thread import BackgroundThread
from freshet.workers.processes.kafka.broker import LocalKafka

log = logging.getLogger(__name__)

MAX_STARTS = 3
"""The most restarts within ``PERIOD_S``; after that, the cause is not going to go away."""
PERIOD_S = 600.0
_POLL_S = 0.1
_PAUSE_S = 1.0
"""Pause after a failed start: what the broker needs, such as its port, may be free then."""
_JOIN_TIMEOUT_S = 30.0


class KafkaKeeper(BackgroundThread):
    """A thread beside a running broker; a context manager that stops the broker at its end.

    Args:
        kafka: A started broker, at a port that was given, since clients know no other.
    """

    def __init__(self, kafka: LocalKafka) -> None:
        super().__init__("kafka-keeper", _JOIN_TIMEOUT_S)
        self._kafka = kafka
        self._starts_s: deque[float] = deque(maxlen=MAX_STARTS)
        self.given_up: Future[None] = Future()
        """Future that fails with :class:`BrokerFailed` when the broker is given up; else it never ends."""

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._kafka.stop()  # ends a start under way, too
        super().__exit__()

    def _run(self) -> None:
        while not self._stop.wait(_POLL_S):
            if self._kafka.is_running():
                continue
            try:
                self._start_again()
            except Exception as error:
                if not self._stop.is_set():
                    self.given_up.set_exception(error)
                return

    def _start_again(self) -> None:
        """Start the broker, in several attempts if need be.

        Raises:
            BrokerFailed: The restarts allowed are used up.
            Exception: The broker can no longer be started.
        """
        ended = f"The local Kafka ended with status {self._kafka.exit_status}"
        while not self._kafka.is_running():
            now_s = time.monotonic()
            if len(self._starts_s) == MAX_STARTS and now_s - self._starts_s[0] < PERIOD_S:
                raise BrokerFailed(
                    f"{ended}, after {MAX_STARTS} restarts within {PERIOD_S / 60:.0f} minutes. Its log "
                    f"({self._kafka.log_file}) says why; `freshet doctor` checks Java, ports and disk."
                )
            self._starts_s.append(now_s)
            log.error("%s: starting it again (%d of %d)", ended, len(self._starts_s), MAX_STARTS)
            try:
                self._kafka.start()
            except BrokerFailed as error:
                if self._stop.wait(_PAUSE_S) or len(self._starts_s) == MAX_STARTS:
                    raise
                log.error("%s", error)
            else:
                log.warning("the local Kafka answers again, with everything that it had acknowledged")
