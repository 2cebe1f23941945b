"""Telling a service to stop: SIGINT and SIGTERM end it in order and with status 0 at any moment.

A supervisor takes another status for a failure, and the moment may be one at which modules are still being
loaded or a broker is being waited for.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def handling_stop_signals(handle: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Have ``handle`` called in the main thread, which this must be, on each of the signals."""
    before = {number: signal.signal(number, handle) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def leave(number: int, frame: FrameType | None) -> None:
    """End the program with status 0, closing on the way out what it has opened."""
    raise SystemExit(0)
