"""Checks of the seconds that a caller is ready to wait: every clock and lock must accept them."""

from __future__ import annotations

import threading


def checked_timeout_s(name: str, seconds: float) -> float:
    """Return ``seconds`` unchanged.

    >>> checked_timeout_s("timeout_s", 2.5)
    2.5
    >>> checked_timeout_s("timeout_s", -1.0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: timeout_s is -1.0; it is between 0 and ... seconds

    Raises:
        ValueError: They are negative, not a number, or more than a lock can wait for; the text says ``name``.
    """
    if not 0.0 <= seconds <= threading.TIMEOUT_MAX:
        raise ValueError(f"{name} is {seconds}; it is between 0 and {threading.TIMEOUT_MAX:.0f} seconds")
    return seconds
