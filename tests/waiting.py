"""Waiting for what must come, with one deadline that only a hang reaches, however busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

HANG_S = 300.0
"""More than ten times what anything here takes on two free cores; pytest ends a test after four of these."""


def wait_until(probe: Callable[[], T], what: str) -> T:
    """The first true value of ``probe``; fails, saying ``what`` did not come, after :data:`HANG_S`."""
    end = time.monotonic() + HANG_S
    while not (value := probe()):
        assert time.monotonic() < end, f"{what}: not within {HANG_S:g} s"
        time.sleep(0.02)
    return value
