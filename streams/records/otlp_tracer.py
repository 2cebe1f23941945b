"""OpenTelemetry spans of records, exported by OTLP over HTTP; the only module that imports OpenTelemetry.

Names and attributes follow the semantic conventions of messaging and of Kafka
(https://opentelemetry.io/docs/specs/semconv/messaging/kafka/), except ``messaging.kafka.message.key``, which
would be a user's id. Guarantee: no record ever waits for the collector; spans are dropped when the queue is
full, or when the collector does not accept them within seconds.
"""

from __future__ import annotations

import atexit
import os
import random
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from importlib.metadata import version
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_TIMEOUT,
    OTEL_EXPORTER_OTLP_TRACES_TIMEOUT,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from freshet.streams.kafka.headers import MAX_CAUSES, Headers

_W3C = TraceContextTextMapPropagator()
_EXPORT_TIMEOUT_S = 3.0
"""Timeout of an export, retries included; ``OTEL_EXPORTER_OTLP_TIMEOUT`` takes precedence."""
_MAX_LAST_CLICKS = 10_000
_MAX_TRACESTATE_BYTES = 512
"""Size of a ``tracestate`` that W3C Trace Context asks everyone to propagate."""


class RecordTrace:
    """Span of one record, or of an effect of it; its steps are child spans without gaps."""

    __slots__ = ("_context", "_headers", "_span", "_step_ns", "_tracer", "span_id", "trace_id")

    def __init__(self, tracer: trace.Tracer, span: Span, start_ns: int) -> None:
        self._tracer = tracer
        self._span = span
        self._context = trace.set_span_in_context(span, Context())
        self._headers: Headers | None = None
        self._step_ns = start_ns
        ids = span.get_span_context()
        self.trace_id = trace.format_trace_id(ids.trace_id)
        self.span_id = trace.format_span_id(ids.span_id)

    @property
    def headers(self) -> Headers:
        """Headers of a record that this one causes."""
        if self._headers is None:
            carrier: dict[str, str] = {}
            _W3C.inject(carrier, self._context)
            self._headers = tuple((name, value.encode()) for name, value in carrier.items())
        return self._headers

    @property
    def at(self) -> SpanContext:
        """Context for links from other spans."""
        return self._span.get_span_context()

    def end_step(self, step: str) -> None:
        """End ``step``; it began when the previous one ended. Not for two threads at once."""
        now_ns = time.time_ns()
        span = self._tracer.start_span(step, self._context, start_time=self._step_ns)
        span.end(now_ns)
        self._step_ns = now_ns

    def child(self, name: str) -> RecordTrace:
        """Begin a child span with steps of its own; the caller ends it."""
        start_ns = time.time_ns()
        span = self._tracer.start_span(name, self._context, start_time=start_ns)
        return RecordTrace(self._tracer, span, start_ns)

    def describe(self, **values: str | int | float | bool | None) -> None:
        """Set attributes ``freshet.NAME``, except ``None``. User ids are not allowed."""
        for name, value in values.items():
            if value is not None:
                self._span.set_attribute(f"freshet.{name}", value)

    def end_with(self, sent: Any, answer: Future[Any] | None) -> None:
        """End the span once kafka-python has acknowledged ``sent`` and ``answer`` has come, in any order."""
        lock = threading.Lock()
        awaited = {"acknowledge"} if answer is None else {"acknowledge", "wait for the answer"}

        def end_awaited(step: str) -> None:
            if self._span.is_recording():
                self.end_step(step)
                awaited.discard(step)
                if not awaited:
                    self.end()

        def acknowledged(record: Any) -> None:
            with lock:
                self._span.set_attributes(_place(record.partition, record.offset))
                end_awaited("acknowledge")

        def refused(error: Exception) -> None:
            with lock:
                self.fail(f"not sent: {error}")
                self.end()

        def answered(_: Future[Any]) -> None:
            with lock:
                end_awaited("wait for the answer")

        sent.add_callback(acknowledged)
        sent.add_errback(refused)
        if answer is not None:
            answer.add_done_callback(answered)

    def follows(self, cause: SpanContext | None, why: str) -> None:
        """Link to another cause, if there is one."""
        if cause is not None:
            self._span.add_link(cause, {"freshet.link": why})

    def fail(self, reason: str) -> None:
        """Mark the record as failed."""
        self._span.set_status(Status(StatusCode.ERROR, reason))

    def end(self) -> None:
        """End the span."""
        self._span.end()


class Tracer:
    """Begins the spans of records, and remembers the trace of each user's last click.

    Args:
        endpoint: Base URL of the receiver; ``/v1/traces`` is added. Headers and certificates come from
            OpenTelemetry's own variables, ``OTEL_EXPORTER_OTLP_*``.
        share: Share of records without a trace that begin one.
        service: The process' name.
    """

    def __init__(self, endpoint: str, share: float, service: str) -> None:
        instance = f"{socket.gethostname()}-{os.getpid()}"
        resource = Resource.create(
            {
                "service.name": service,
                "service.version": version("freshet"),
                "service.instance.id": instance,
            }
        )
        # This class decides which records begin a trace; all other spans follow their parent.
        sampler = ParentBased(ALWAYS_ON)
        self._provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
        self._exporter = PromptExporter(endpoint.rstrip("/") + "/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        atexit.register(self.close)
        self._tracer = self._provider.get_tracer("freshet", version("freshet"))
        self._share = share
        self._last_clicks: OrderedDict[str, SpanContext] = OrderedDict()

    def receive(self, message: Any, *, may_begin: bool) -> RecordTrace | None:
        """Begin the span of a record before it is handled; ``None`` if it is not sampled.

        The record's last ``traceparent`` becomes the parent, the others become links.
        """
        causes = _causes(message.headers)
        parent: Context = Context()
        links: list[Link] = []
        if causes:
            sampled = [cause for cause in causes if cause.trace_flags.sampled]
            if not sampled:
                return None
            parent = trace.set_span_in_context(trace.NonRecordingSpan(sampled[-1]), parent)
            links = [Link(cause, {"freshet.link": "cause"}) for cause in sampled[:-1]]
        elif not may_begin or random.random() >= self._share:
            return None
        start_ns = time.time_ns()
        span = self._tracer.start_span(
            f"process {message.topic}",
            parent,
            SpanKind.CONSUMER,
            _destination(message.topic, "process")
            | _place(message.partition, message.offset)
            | {"freshet.record.age_s": max(0.0, start_ns / 1e9 - message.timestamp / 1e3)},
            links,
            start_ns,
        )
        return RecordTrace(self._tracer, span, start_ns)

    def send(self, topic: str) -> RecordTrace | None:
        """Begin the span of a record to be sent: in the caller's trace, or for a share of the others."""
        caller = trace.get_current_span().get_span_context()
        if not (caller.trace_flags.sampled if caller.is_valid else random.random() < self._share):
            return None
        start_ns = time.time_ns()
        span = self._tracer.start_span(
            f"send {topic}",
            kind=SpanKind.PRODUCER,
            attributes=_destination(topic, "send"),
            start_time=start_ns,
        )
        return RecordTrace(self._tracer, span, start_ns)

    def close(self) -> None:
        """Export the remaining spans and stop tracing; also called when the process exits."""
        self._exporter.ending = True
        self._provider.shutdown()
        atexit.unregister(self.close)

    def clicked(self, user_id: str, click: RecordTrace) -> None:
        """Remember the trace of a user's last click."""
        self._last_clicks[user_id] = click.at
        self._last_clicks.move_to_end(user_id)
        if len(self._last_clicks) > _MAX_LAST_CLICKS:
            self._last_clicks.popitem(last=False)

    def last_click(self, user_id: str) -> SpanContext | None:
        """Span of the user's last traced click, if this process handled and remembers it."""
        return self._last_clicks.get(user_id)

    def forget_clicks(self) -> None:
        """Forget all last clicks: users may have moved to another worker, and clicked there."""
        self._last_clicks.clear()


class PromptExporter(OTLPSpanExporter):
    """OTLP exporter that gives up early: a lost collector must not delay the process' exit."""

    def __init__(self, url: str) -> None:
        configured = os.environ.keys() & {OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_EXPORTER_OTLP_TRACES_TIMEOUT}
        super().__init__(url, timeout=None if configured else _EXPORT_TIMEOUT_S)
        self.ending = False
        self._given_up = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send ``spans``, with retries; while the process exits, only until the first failure."""
        if self._given_up:
            return SpanExportResult.FAILURE
        result = super().export(spans)
        self._given_up = self.ending and result is not SpanExportResult.SUCCESS
        return result


def _causes(headers: Sequence[tuple[str, bytes]]) -> list[SpanContext]:
    """Contexts of the latest valid ``traceparent`` headers; a ``tracestate`` belongs to the last."""
    parents = [value for name, value in headers if name == "traceparent" and value is not None]
    if not parents:
        return []
    states = [value for name, value in headers if name == "tracestate" and value is not None]
    causes = []
    for number, value in enumerate(parents[-MAX_CAUSES:], 1):
        carrier = {"traceparent": value[:512].decode("ascii", "replace")}
        if number == min(len(parents), MAX_CAUSES) and states and len(states[-1]) <= _MAX_TRACESTATE_BYTES:
            carrier["tracestate"] = states[-1].decode("ascii", "replace")
        cause = trace.get_current_span(_W3C.extract(carrier, Context())).get_span_context()
        if cause.is_valid:
            causes.append(cause)
    return causes


def _destination(topic: str, operation: str) -> dict[str, str | int | float]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }


def _place(partition: int, offset: int) -> dict[str, str | int | float]:
    return {"messaging.destination.partition.id": str(partition), "messaging.kafka.offset": offset}
