"""Traces from a record to its effects, sent to ``FRESHET_OTLP_ENDPOINT``.

Guarantee: without an endpoint, OpenTelemetry is not imported and no record's headers are read. A record with
a W3C ``traceparent`` is traced if that is sampled; of those without one, a share begins a trace where events
enter freshet, and nowhere else.
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
"""Service names in traces, here and below; one process may act as two of them."""
EMBED = "freshet-embed"
CLIENT = "freshet-client"

_ENTRIES = (topics.CLICKS, topics.IMPRESSIONS, topics.REQUESTS, topics.ARTICLES)


def tracer_of(settings: Settings, service: str) -> Tracer | None:
    """Tracer of the process as ``service``; ``None`` where traces are off.

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
    """Headers of a record that continue the calling program's trace, if it has one."""
    if "opentelemetry.trace" not in sys.modules:  # without OpenTelemetry the program has no trace
        return NO_HEADERS
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return [(name, value.encode()) for name, value in carrier.items()]


class RecordTraces:
    """Traces of the records that an agent is handling; empty and without cost where traces are off.

    Args:
        settings: The endpoint, the share of records that begin a trace, and topic names.
        service: The process' name in traces; ``None`` turns them off.
    """

    def __init__(self, settings: Settings, service: str | None) -> None:
        self.tracer = None if service is None else tracer_of(settings, service)
        self._prefix = settings.topic_prefix
        self._entries: Collection[str] = {topic_name(settings, topic.name) for topic in _ENTRIES}
        self._traces: dict[tuple[str, int, int], RecordTrace] = {}
        """Traces by topic (short name), partition and offset."""

    def begin(self, message: Any) -> RecordTrace | None:
        """Begin the trace of ``message`` before it is handled; ``None`` if it is not sampled."""
        if self.tracer is None:
            return None
        trace = self.tracer.receive(message, may_begin=message.topic in self._entries)
        if trace is not None:
            self._traces[self._place(message)] = trace
        return trace

    def of(self, message: Any) -> RecordTrace | None:
        """Trace of ``message``, unless it is not traced or done."""
        return self._traces.get(self._place(message)) if self._traces else None

    def headers(self, message: Any) -> Headers:
        """Headers of a record that ``message`` causes."""
        return headers_of(self.of(message))

    def headers_of(self, topic: str, partition: int, offsets: Iterable[int]) -> Headers:
        """Headers of a record that the events of ``topic`` (short name) at ``offsets`` cause together."""
        if not self._traces:
            return NO_HEADERS
        causes = (self._traces.get((topic, partition, offset)) for offset in offsets)
        return joined(trace.headers for trace in causes if trace is not None)

    def end_step(self, step: str) -> None:
        """End ``step`` in each trace; it began when the previous one ended."""
        for trace in self._traces.values():
            trace.end_step(step)

    def done(self, step: str = "deliver") -> None:
        """End all traces, with ``step`` as the last."""
        if self._traces:
            traces, self._traces = self._traces, {}
            for trace in traces.values():
                trace.end_step(step)
                trace.end()

    def _place(self, message: Any) -> tuple[str, int, int]:
        return message.topic.removeprefix(self._prefix), message.partition, message.offset


def headers_of(trace: RecordTrace | None) -> Headers:
    """Headers of a record that ``trace`` causes."""
    return NO_HEADERS if trace is None else trace.headers
