"""Parser of times for events, files and options; it rejects ambiguous texts.

A time has a date with a four-digit year and, on the wire, an offset from UTC. A plain number is rejected,
because it could mean seconds, milliseconds or a date.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo

END_S = 4_102_444_800.0
"""The year 2100, Unix seconds. Later times in a file are milliseconds, or have a wrong year."""

_OLDEST_YEAR = 1_000
"""Lower bound of years: 19 may mean 2019."""
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt _](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)([Zz]|[+-]\d\d:?\d\d)?)?", re.ASCII
)


def parse_time(text: str, *, default_zone: tzinfo | None = None) -> datetime:
    """Parse an RFC 3339 time, also with a space for the ``T`` or without seconds, and convert it to UTC.

    >>> parse_time("2026-03-02 09:00+01:00")
    datetime.datetime(2026, 3, 2, 8, 0, tzinfo=datetime.timezone.utc)

    Args:
        text: The text to parse.
        default_zone: Time zone of a time, or a date alone, without an offset; unset: it is rejected.

    Raises:
        ValueError: The text is not such a time, or lies before the year 1000. It is not quoted, because it
            may be a user's name.
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
    """Convert a time to UTC.

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
    """Return ``seconds`` if they are plausible for an event in a file.

    Raises:
        ValueError: They are not between 1970 and 2100.
    """
    if 0.0 <= seconds < END_S:
        return seconds
    hint = "; Unix time in seconds is meant, not in milliseconds" if END_S <= seconds < 1e3 * END_S else ""
    raise ValueError(f"{seconds:.15g} s is not between 1970 and 2100{hint}")
