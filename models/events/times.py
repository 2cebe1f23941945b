"""Times as text: one parser for events, files and options, which refuses what it would have to guess.

A text is a time if it says its date with a year of four digits and, on the wire, its offset from UTC. Digits
alone are none: whether they mean seconds, milliseconds or a date, nothing says.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo

END_S = 4_102_444_800.0
"""The year 2100, Unix seconds. A file whose times lie after it counts milliseconds, or mistook the year."""

_OLDEST_YEAR = 1_000
"""An earlier one has lost its century: 19 for 2019."""
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt _](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)([Zz]|[+-]\d\d:?\d\d)?)?", re.ASCII
)


def parse_time(text: str, *, default_zone: tzinfo | None = None) -> datetime:
    """The UTC time of ``2026-03-02T08:00:05Z``: RFC 3339, also with a space for the ``T`` or without seconds.

    Args:
        text: What to read.
        default_zone: Where a time without an offset is of, which may then be a date alone; unset, it is
            refused.

    Raises:
        ValueError: The text is not such a time, or is of before the year 1000. It is not quoted: a mistaken
            producer may have put a user's name there.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("must be a time like 2026-03-02T08:00:05Z (RFC 3339)")
    date, clock, offset = match.groups()
    if offset is None and default_zone is None:
        raise ValueError("must say its offset from UTC, such as Z or +01:00")
    time = datetime.fromisoformat(f"{date}T{clock or '00:00'}{(offset or '').upper()}")
    return as_utc(time if offset else time.replace(tzinfo=default_zone))


def as_utc(time: datetime) -> datetime:
    """The same moment in UTC.

    Raises:
        ValueError: It is not between the years 1000 and 9999.
    """
    try:
        time = time.astimezone(UTC)
    except OverflowError:
        pass
    else:
        if time.year >= _OLDEST_YEAR:
            return time
    raise ValueError(f"must lie between the years {_OLDEST_YEAR} and 9999 in UTC, is of {time.year:04}")


def checked_unix_s(seconds: float) -> float:
    """``seconds``, if a file of events may hold them.

    Raises:
        ValueError: They are not between 1970 and 2100.
    """
    if 0.0 <= seconds < END_S:
        return seconds
    hint = "; Unix time in seconds is meant, not in milliseconds" if END_S <= seconds < 1e3 * END_S else ""
    raise ValueError(f"{seconds:.15g} s is not between 1970 and 2100{hint}")
