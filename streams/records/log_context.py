"""What is being handled just now, for whatever is logged meanwhile: a record's place, a request, a trace.

Guarantee: a line that is logged while a record is handled can say which, whoever logs it, freshet or a
library. A record is named by topic, partition and offset, never by its key: that is a user's id.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class TraceIds(Protocol):
    """What a log line says of a trace: hexadecimal, as W3C writes them."""

    trace_id: str
    span_id: str


HANDLED: ContextVar[tuple[Any, str | None, TraceIds | None] | None] = ContextVar("handled", default=None)
"""The record (anything with ``topic``, ``partition`` and ``offset``), the request's id, the trace.

Set directly where every record passes: a context manager would cost ten times the 0.1 µs.
"""


@contextmanager
def handling(
    message: Any = None, request_id: str | None = None, trace: TraceIds | None = None
) -> Iterator[None]:
    """What is logged inside is about ``message``, or about the request."""
    token = HANDLED.set((message, request_id, trace))
    try:
        yield
    finally:
        HANDLED.reset(token)


async def handled(
    work: Awaitable[T], message: Any = None, request_id: str | None = None, trace: TraceIds | None = None
) -> T:
    """Await ``work``; what it logs is about ``message``, or about the request."""
    with handling(message, request_id, trace):
        return await work


def fields() -> dict[str, str | int]:
    """What is known of what is being handled; empty where nothing is.

    Of ``topic``, ``partition``, ``offset``, ``request_id``, ``trace_id`` and ``span_id``.
    """
    found: dict[str, str | int] = {}
    handled = HANDLED.get()
    if handled is None:
        return found
    message, request_id, trace = handled
    if message is not None:
        found |= {"topic": message.topic, "partition": message.partition, "offset": message.offset}
    if request_id is not None:
        found["request_id"] = request_id
    if trace is not None:
        found |= {"trace_id": trace.trace_id, "span_id": trace.span_id}
    return found
