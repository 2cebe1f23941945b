"""A circuit breaker: fails fast while the index is out of order, and probes it until it is back.

Guarantees
    - It opens at the second failure in a row, so that one query that fails by itself does not cost others
      their answers. While it is open, :meth:`CircuitBreaker.check` raises without asking anybody.
    - The index is probed by a thread of the breaker's own, never by a caller's call, and the breaker closes
      as soon as a probe succeeds: at once where it opened by chance, otherwise within a second of the return.
      A breaker that opens again soon after it closed waits longer and longer before its first probe.
    - It logs once that it opened and why, and once that it closed, however many calls there are.

pybreaker, circuitbreaker, purgatory and aiobreaker all try again with a caller's call, which a hanging server
makes wait; pybreaker also holds a lock during each call, so that one that hangs holds up all others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from freshet.models.ports import IndexUnavailable
from freshet.streams import metrics

log = logging.getLogger(__name__)

_FAILURES = 2
"""Failures in a row that open it."""
_PAUSE_S = 0.25
"""Seconds from a probe that failed to the next."""
_RELAPSE_S = 10.0
"""An index that fails again this soon after its return is not steady yet."""
_LONGEST_WAIT_S = 8.0
"""The longest delay of the first probe after a relapse."""


class CircuitBreaker:
    """Stands between the requests and one bundle's index.

    Args:
        bundle: The bundle's id, shown in the log and the metric.
        probe: Raises while the index is out of order.
    """

    def __init__(self, bundle: str, probe: Callable[[], object]) -> None:
        self._bundle = bundle
        self._probe = probe
        self._lock = threading.Lock()
        self._reason: str | None = None
        """Why the breaker is open; ``None`` while it is closed."""
        self._failures = 0
        self._closed_at = -_RELAPSE_S
        self._wait_s = 0.0
        self._stopped = threading.Event()
        self._gauge = metrics.INDEX_OPEN_BREAKERS.labels(bundle)
        self._gauge.set(0)

    def check(self) -> None:
        """Let a call pass while the breaker is closed.

        Raises:
            IndexUnavailable: The breaker is open.
        """
        if (reason := self._reason) is not None:
            raise IndexUnavailable(f"the index of bundle {self._bundle} is out of order: {reason}")

    def succeeded(self) -> None:
        """Note that the index answered."""
        self._failures = 0

    def failed(self, reason: object) -> None:
        """Note that the index failed, or was late; the second time in a row opens the breaker."""
        with self._lock:
            self._failures += 1
            if self._failures >= _FAILURES:
                self._open(str(reason))

    def open(self, reason: object) -> None:
        """Open the breaker now: the index is known to be out of order."""
        with self._lock:
            self._open(str(reason))

    def stop(self) -> None:
        """End the probes, because the index is closed."""
        if not self._stopped.is_set():
            self._stopped.set()
            metrics.INDEX_OPEN_BREAKERS.remove(self._bundle)

    def _open(self, reason: str) -> None:
        if self._reason is not None or self._stopped.is_set():
            return
        relapse = time.monotonic() - self._closed_at < _RELAPSE_S
        self._wait_s = min(max(2 * self._wait_s, _PAUSE_S), _LONGEST_WAIT_S) if relapse else 0.0
        self._reason = reason
        self._gauge.set(1)
        log.warning(
            "the index of bundle %s is out of order, answers come without it until it is back: %s",
            self._bundle,
            reason,
        )
        threading.Thread(target=self._recover, name=f"probe-{self._bundle}", daemon=True).start()

    def _recover(self) -> None:
        opened_at, wait_s, unforeseen = time.monotonic(), self._wait_s, ""
        while not self._stopped.wait(wait_s):
            try:
                self._probe()
            except IndexUnavailable as error:
                log.debug("the index of bundle %s is still out of order: %s", self._bundle, error)
            except Exception as error:
                if repr(error) != unforeseen:  # such as a collection of another dimension
                    unforeseen = repr(error)
                    log.exception("the index of bundle %s cannot be used", self._bundle)
            else:
                with self._lock:
                    self._reason, self._failures, self._closed_at = None, 0, time.monotonic()
                self._gauge.set(0)
                log.info(
                    "the index of bundle %s is back after %.1f s", self._bundle, self._closed_at - opened_at
                )
                return
            wait_s = _PAUSE_S
