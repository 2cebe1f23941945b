"""Dead letters: records that cannot be handled, with their bytes, their origin and the reason.

Building one never fails on what a record contains: whatever the key, the value or the error text hold, the
letter is valid, and small enough to be published beside a record of the largest size.
"""

from __future__ import annotations

import logging
from base64 import b64encode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from freshet.models.events.events import DeadLetter
from freshet.streams import metrics

if TYPE_CHECKING:
    from freshet.streams.records.otlp_tracer import RecordTrace

log = logging.getLogger(__name__)

MAX_REASON_CHARS = 2_000
MAX_SOURCE_CHARS = 128
_MAX_KEY_BYTES = 1_024
"""Largest key of a dead letter: a bad record may be all key, and the letter beside it must fit a request."""
_MAX_LOGGED_CHARS = 1_000


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
        source: Name of the topic or file; the last 128 characters are kept.
        reason: The error; cut at 2,000 characters.
        time: Time of detection, with a time zone.
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


def dead_record(message: Any, reason: str, topic_prefix: str) -> tuple[bytes | None, bytes]:
    """Key and value of the record that reports ``message``, which could not be handled."""
    letter = dead_letter(
        message.topic.removeprefix(topic_prefix),
        reason,
        datetime.now(UTC),
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        value=message.value,
    )
    return None if message.key is None else message.key[:_MAX_KEY_BYTES], letter.to_json()


def report_dead_letter(message: Any, reason: str, trace: RecordTrace | None) -> None:
    """Count and log the dead letter of ``message``, and mark its trace as failed.

    ``reason`` must name no user: it goes to the log.
    """
    reason = reason[:_MAX_LOGGED_CHARS]
    metrics.DEAD_LETTERS.labels(message.topic).inc()
    log.warning("dead letter %s[%d]@%d: %s", message.topic, message.partition, message.offset, reason)
    if trace is not None:
        trace.fail(reason)


def _base64(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data[: DeadLetter.MAX_DEAD_VALUE_BYTES]).decode("ascii")


def _encodable(text: str) -> str:
    # A lone surrogate (an undecodable file name, a broken record quoted in an error) has no UTF-8.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
