"""Telling a service to stop: SIGINT and SIGTERM end it in order and with status 0 at any moment.

A supervisor takes another status for a failure, and the moment may be one at which modules are still being
loaded or a broker is being waited for. A service that hangs while it stops ends all the same: with status 1,
and with what each thread was doing on standard error.
"""

from __future__ import annotations

import faulthandler
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOP_TIMEOUT_S = 50.0
"""From the first signal to the end by force: what is not committed by then is done again. Whoever deploys a
service waits a little longer before killing it without a word, 60 s in ``deploy``."""


@contextmanager
def handling_stop_signals(handle: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Have ``handle`` called in the main thread, which this must be, on each of the signals."""
    first = True

    def told(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if first:
            first = False
            # No thread of Python's: the signal may have come while a lock was held that starting one takes.
            faulthandler.dump_traceback_later(STOP_TIMEOUT_S, exit=True)
        handle(number, frame)

    before = {number: signal.signal(number, told) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def leave(number: int, frame: FrameType | None) -> None:
    """End the program with status 0, closing on the way out what it has opened."""
    raise SystemExit(0)
