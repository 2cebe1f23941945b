"""Seconds that a caller is ready to wait: a number that every clock and lock takes."""

from __future__ import annotations

import threading


def checked_timeout_s(name: str, seconds: float) -> float:
    """``seconds`` as they are.

    Raises:
        ValueError: They are negative, not a number, or more than a lock can wait for; the text says ``name``.
    """
    if not 0.0 <= seconds <= threading.TIMEOUT_MAX:
        raise ValueError(f"{name} is {seconds}; it is between 0 and {threading.TIMEOUT_MAX:.0f} seconds")
    return seconds
