"""Forwarding of records that lie on another partition than murmur2 gives to their user.

librdkafka partitions by CRC32 by default. A worker forwards such a record, once, to the partition where the
user's state is, with its key, value, timestamp and headers, and with a header that names the original's
place. The copy is delivered before the original's offset is committed.

Guarantee: a copy counts once, however often a crash has its original forwarded. The copies of one partition's
records come in the order of their originals, so the last original's offset says what a state has applied.
"""

from __future__ import annotations

import re
from typing import Any

from freshet.models.events.events import EventError

ORIGIN_HEADER = "freshet-origin"
"""The header's name; its value is the original's partition and offset, such as ``3/1234``."""
REMEDY = "set partitioner=murmur2_random in producers built on librdkafka (kcat, Confluent's clients)"

_ORIGIN = re.compile(rb"(\d{1,5})/(\d{1,18})")


class Elsewhere(Exception):
    """The state of a record's user is in another partition."""

    def __init__(self, partition: int) -> None:
        super().__init__(partition)
        self.partition = partition


def is_forwarded(record: Any) -> bool:
    """Whether ``record`` is a copy, whose original is on the same topic."""
    return any(name == ORIGIN_HEADER for name, _ in record.headers)


def origin_of(record: Any) -> tuple[int, int] | None:
    """Return the partition and offset of a copy's original; ``None`` for a record that is no copy.

    Raises:
        EventError: The header is not one that a worker writes.
    """
    for name, value in record.headers:
        if name == ORIGIN_HEADER:
            match = _ORIGIN.fullmatch(value or b"")
            if match is None:
                raise EventError(
                    f"the header {ORIGIN_HEADER} is not like 3/1234: it is freshet's own, leave it out"
                )
            return int(match[1]), int(match[2])
    return None


def origin_header(record: Any) -> tuple[str, bytes]:
    """The header that names ``record`` as a copy's original."""
    return ORIGIN_HEADER, b"%d/%d" % (record.partition, record.offset)
