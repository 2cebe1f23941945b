"""Signals that stop a service: SIGINT and SIGTERM end it in order and with status 0 at any moment.

A supervisor takes another status for a failure, and the signal may come while modules are being loaded or a
broker is being waited for. A service that hangs while it stops ends all the same, with status 1 and the stack
of each thread on standard error.
"""

from __future__ import annotations

import faulthandler
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOP_TIMEOUT_S = 50.0
"""Time from the first signal to the end by force; what is not committed by then is done again. A supervisor
should wait a little longer before SIGKILL; ``deploy`` waits 60 s."""


@contextmanager
def handling_stop_signals(handle: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Call ``handle`` in the main thread, which must be this one, on each of the signals."""
    first = True

    def received(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if first:
            first = False
            # No thread of Python's: the signal may have come while a lock was held that starting one takes.
            faulthandler.dump_traceback_later(STOP_TIMEOUT_S, exit=True)
        handle(number, frame)

    before = {number: signal.signal(number, received) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def leave(number: int, frame: FrameType | None) -> None:
    """End the program with status 0; contexts are left and files closed on the way out."""
    raise SystemExit(0)
