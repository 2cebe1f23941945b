"""Context of log lines: the record, the request and the trace that are being handled.

Guarantee: a line that freshet or a library logs while a record is handled can name it, by topic, partition
and offset. The key is left out: it is a user's id.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class TraceIds(Protocol):
    """Ids of a trace and its span, in the hexadecimal form of W3C Trace Context."""

    trace_id: str
    span_id: str


HANDLED: ContextVar[tuple[Any, str | None, TraceIds | None] | None] = ContextVar("handled", default=None)
"""The record (any object with ``topic``, ``partition`` and ``offset``), the request's id and the trace.

The intake of records sets it directly: a context manager would cost ten times the 0.1 µs.
"""


@contextmanager
def handling(
    message: Any = None, request_id: str | None = None, trace: TraceIds | None = None
) -> Iterator[None]:
    """Attribute all log lines of the block to ``message``, or to the request."""
    token = HANDLED.set((message, request_id, trace))
    try:
        yield
    finally:
        HANDLED.reset(token)


async def handled(
    work: Awaitable[T], message: Any = None, request_id: str | None = None, trace: TraceIds | None = None
) -> T:
    """Await ``work`` with its log lines attributed to ``message``, or to the request."""
    with handling(message, request_id, trace):
        return await work


def fields() -> dict[str, str | int]:
    """Known fields of the current context: those of a record, a request and a trace.

    The keys are among ``topic``, ``partition``, ``offset``, ``request_id``, ``trace_id`` and ``span_id``.
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
