"""Starts the local broker again when it has died: a few times, then its end is final.

Guarantee: the broker comes back at the same address with everything that it has acknowledged, since a process
that is killed leaves what it wrote to the operating system. One that cannot stay alive is given up.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from concurrent.futures import Future
from types import TracebackType

from freshet.workers.errors import BrokerFailed
from freshet.workers.processes.background_thread import BackgroundThread
from freshet.workers.processes.kafka.broker import LocalKafka

log = logging.getLogger(__name__)

MAX_STARTS = 3
"""So often it is started again within ``PERIOD_S``; what killed it by then will not stop doing so."""
PERIOD_S = 600.0
_POLL_S = 0.1
_PAUSE_S = 1.0
"""Before a start that follows one that failed: what it needs may be free by then, such as its port."""
_JOIN_TIMEOUT_S = 30.0


class KafkaKeeper(BackgroundThread):
    """A thread beside a running broker; a context manager that stops the broker at its end.

    Args:
        kafka: Started, at a port that was given: clients know no other.
    """

    def __init__(self, kafka: LocalKafka) -> None:
        super().__init__("kafka-keeper", _JOIN_TIMEOUT_S)
        self._kafka = kafka
        self._starts_s: deque[float] = deque(maxlen=MAX_STARTS)
        self.given_up: Future[None] = Future()
        """Fails with :class:`BrokerFailed` when the broker is started no more; otherwise it never ends."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._kafka.stop()  # ends a start under way, too
        super().__exit__(kind, error, trace)

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
        """Start the broker, however often that takes.

        Raises:
            BrokerFailed: It has been started as often as it may be.
            Exception: It can no longer be started.
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
