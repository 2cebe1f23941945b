"""Clicks in the order of time, of which only the newest are kept, whatever the order of their arrival."""

from __future__ import annotations

from bisect import insort

Click = tuple[float, str]
"""Time and news id, so that the order of tuples is that of time."""


def keep_newest(clicks: list[Click], click: Click, limit: int) -> None:
    """Insert ``click`` into ``clicks``, which are in order; of more than ``limit`` the oldest goes."""
    insort(clicks, click)
    if len(clicks) > limit:
        del clicks[0]
