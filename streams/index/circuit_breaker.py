"""Gives up at once on what is out of order, and finds out in the background when it is back.

Guarantees
    - It opens at the second failure in a row, so that one query that fails by itself does not cost others
      their answers. While it is open, :meth:`CircuitBreaker.check` raises without asking anybody.
    - Whoever was asked is asked again by a thread of the breaker's own, never by a caller's call, and the
      breaker closes as soon as that succeeds: at once where it opened by chance, otherwise within a second of
      the return. Where it opens again soon after it closed, it waits longer and longer before it asks.
    - It says once that it opened and why, and once that it closed, however many calls there are.

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
"""In a row, to open."""
_PAUSE_S = 0.25
"""From one probe that failed to the next."""
_RELAPSE_S = 10.0
"""What opens again this soon after it closed is not steady yet."""
_LONGEST_WAIT_S = 8.0
"""The most that the first probe is put off for a relapse."""


class CircuitBreaker:
    """Between the requests and one bundle's index.

    Args:
        bundle: The bundle's id, for the log and the metric.
        probe: Raises while the index is out of order.
    """

    def __init__(self, bundle: str, probe: Callable[[], object]) -> None:
        self._bundle = bundle
        self._probe = probe
        self._lock = threading.Lock()
        self._reason: str | None = None
        """Why it is open; ``None`` while it is closed."""
        self._failures = 0
        self._closed_at = -_RELAPSE_S
        self._wait_s = 0.0
        self._stopped = threading.Event()
        self._gauge = metrics.INDEX_OPEN_BREAKERS.labels(bundle)
        self._gauge.set(0)

    def check(self) -> None:
        """Do nothing while it is closed.

        Raises:
            IndexUnavailable: It is open.
        """
        if (reason := self._reason) is not None:
            raise IndexUnavailable(f"the index of bundle {self._bundle} is out of order: {reason}")

    def succeeded(self) -> None:
        """Note that the index did as asked."""
        self._failures = 0

    def failed(self, reason: object) -> None:
        """Note that it did not, or too late; opens at the second time in a row."""
        with self._lock:
            self._failures += 1
            if self._failures >= _FAILURES:
                self._open(str(reason))

    def open(self, reason: object) -> None:
        """Open now: it is known to be out of order."""
        with self._lock:
            self._open(str(reason))

    def stop(self) -> None:
        """Probe no more; the index is closed."""
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
