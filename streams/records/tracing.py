"""Traces of records, where ``FRESHET_OTLP_ENDPOINT`` says where they go: from one record to its effects.

Guarantee: where it says nothing, nothing of OpenTelemetry is imported and no record's headers are looked at.
A record that brings a W3C ``traceparent`` is traced if that is sampled; of those that bring none, a share
begins a trace where events enter freshet, and nowhere else.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from freshet.streams.errors import TracingUnavailable
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import topic_name
from freshet.streams.settings import Settings

if TYPE_CHECKING:
    from freshet.streams.records.otlp_tracer import RecordTrace, Tracer
from freshet.streams.kafka.headers import NO_HEADERS, Headers, joined

STREAM = "freshet-stream"
"""The names by which traces know the processes, here and below; one process may be two of them."""
EMBED = "freshet-embed"
CLIENT = "freshet-client"

_ENTRIES = (topics.CLICKS, topics.IMPRESSIONS, topics.REQUESTS, topics.ARTICLES)


def tracer_of(settings: Settings, service: str) -> Tracer | None:
    """The process' tracer under the name ``service``; ``None`` where traces are off.

    Raises:
        TracingUnavailable: OpenTelemetry is not installed.
    """
    if settings.otlp_endpoint is None:
        return None
    return _tracer(settings.otlp_endpoint, settings.trace_share, service)


@lru_cache
def _tracer(endpoint: str, share: float, service: str) -> Tracer:
    try:
        from freshet.streams.records.otlp_tracer import Tracer
    except ImportError as error:
        raise TracingUnavailable(
            f"FRESHET_OTLP_ENDPOINT is set, and OpenTelemetry is not installed ({error}): "
            "pip install 'freshet[trace]', or unset it"
        ) from error
    return Tracer(endpoint, share, service)


def caller_headers() -> Headers:
    """The trace that the calling program is in, as headers of a record; none if it is in none.

    A program that has never imported OpenTelemetry is in none.
    """
    if "opentelemetry.trace" not in sys.modules:
        return NO_HEADERS
    from opentelemetry.trace.propagation.tracecontext import (
        TraceContextTextMapPropagator,
    )

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return [(name, value.encode()) for name, value in carrier.items()]


class RecordTraces:
    """The traces of the records that an agent is handling. Empty, and of no cost, where traces are off.

    Args:
        settings: Whether there are traces, and which topics begin some.
        service: The process' name in traces; ``None``: nothing is traced.
    """

    def __init__(self, settings: Settings, service: str | None) -> None:
        self.tracer = None if service is None else tracer_of(settings, service)
        self._prefix = settings.topic_prefix
        self._entries: Collection[str] = {topic_name(settings, topic.name) for topic in _ENTRIES}
        self._traces: dict[tuple[str, int, int], RecordTrace] = {}
        """By topic (short), partition and offset."""

    def begin(self, message: Any) -> RecordTrace | None:
        """Begin the trace of ``message``, just about to be handled, if it is to be traced."""
        if self.tracer is None:
            return None
        trace = self.tracer.receive(message, may_begin=message.topic in self._entries)
        if trace is not None:
            self._traces[self._place(message)] = trace
        return trace

    def of(self, message: Any) -> RecordTrace | None:
        """The trace of ``message``, if it is traced and under way."""
        return self._traces.get(self._place(message)) if self._traces else None

    def headers(self, message: Any) -> Headers:
        """The headers of a record that ``message`` causes."""
        return headers_of(self.of(message))

    def headers_of(self, topic: str, partition: int, offsets: Iterable[int]) -> Headers:
        """The headers of a record that the events of ``topic`` (short) at ``offsets`` cause together."""
        if not self._traces:
            return NO_HEADERS
        causes = (self._traces.get((topic, partition, offset)) for offset in offsets)
        return joined(trace.headers for trace in causes if trace is not None)

    def end_step(self, step: str) -> None:
        """Each trace's ``step`` is over; it began where the one before ended."""
        for trace in self._traces.values():
            trace.end_step(step)

    def done(self, step: str = "deliver") -> None:
        """All effects of all records are there, by ``step`` as the last."""
        if self._traces:
            traces, self._traces = self._traces, {}
            for trace in traces.values():
                trace.end_step(step)
                trace.end()

    def _place(self, message: Any) -> tuple[str, int, int]:
        return message.topic.removeprefix(self._prefix), message.partition, message.offset


def headers_of(trace: RecordTrace | None) -> Headers:
    """The headers of a record that ``trace`` causes."""
    return NO_HEADERS if trace is None else trace.headers
