"""Bounded list of clicks in the order of time: keeps the newest, whatever the order of arrival."""

from __future__ import annotations

from bisect import insort

Click = tuple[float, str]
"""Time (Unix seconds) and news id, so that tuples sort by time."""


def keep_newest(clicks: list[Click], click: Click, limit: int) -> None:
    """Insert ``click`` into sorted ``clicks``; with more than ``limit`` the oldest is dropped."""
    insort(clicks, click)
    if len(clicks) > limit:
        del clicks[0]
