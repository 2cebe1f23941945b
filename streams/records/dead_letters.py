"""What cannot be handled becomes a :class:`DeadLetter`: its bytes, where it came from and why.

Building one never fails on what a record contains: whatever the key, the value or the error text hold, the
letter is valid, and small enough to be published beside a record of the largest size.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime

from freshet.models.events.events import DeadLetter

MAX_REASON_CHARS = 2_000
MAX_SOURCE_CHARS = 128


def dead_letter(
    source: str,
    reason: str,
    time: datetime,
    *,
    partition: int | None = None,
    offset: int | None = None,
    line: int | None = None,
    key: bytes | None = None,
    value: bytes | None = None,
) -> DeadLetter:
    """Describe a record of a topic, or a line of a file, that could not be handled.

    Args:
        source: The topic's or the file's name; of a longer one the last 128 characters stay.
        reason: What was wrong; cut at 2,000 characters.
        time: When it was found, with a time zone.
        partition: The record's partition.
        offset: The record's offset.
        line: The line's number, counted from 1.
        key: The record's key; cut at ``DeadLetter.MAX_DEAD_VALUE_BYTES``.
        value: The record's value or the line's bytes; cut likewise, its full length stays in ``value_bytes``.

    Raises:
        ValueError: ``time`` has no time zone.
    """
    return DeadLetter(
        source=_encodable(source)[-MAX_SOURCE_CHARS:],
        reason=_encodable(reason)[:MAX_REASON_CHARS],
        time=time,
        partition=partition,
        offset=offset,
        line=line,
        key=_base64(key),
        value=_base64(value),
        value_bytes=0 if value is None else len(value),
    )


def _base64(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data[: DeadLetter.MAX_DEAD_VALUE_BYTES]).decode("ascii")


def _encodable(text: str) -> str:
    # A lone surrogate (an undecodable file name, a broken record quoted in an error) has no UTF-8.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
