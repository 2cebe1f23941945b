"""A real receiver of OTLP over HTTP on loopback, which decodes what comes with OpenTelemetry's own types."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class ReceivedSpan:
    """One span as it came over the wire; ids in hexadecimal."""

    service: str
    name: str
    kind: int
    """OTLP's number: 1 internal, 3 client, 4 producer, 5 consumer."""
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    links: dict[tuple[str, str], str]
    """By trace and span id: why."""
    start_ns: int
    end_ns: int
    error: str

    @property
    def place(self) -> tuple[str, int, int]:
        """Topic, partition and offset."""
        return (
            self.attributes["messaging.destination.name"],
            int(self.attributes["messaging.destination.partition.id"]),
            self.attributes["messaging.kafka.offset"],
        )


@dataclass
class Received:
    """What has come so far."""

    endpoint: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    status: int = 200
    """What it answers with."""

    def of_trace(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of one trace, in the order of their beginnings."""
        return sorted((s for s in self.spans if s.trace_id == trace_id), key=lambda s: s.start_ns)

    def named(self, name: str) -> list[ReceivedSpan]:
        """The spans of one name."""
        return [span for span in self.spans if span.name == name]


@contextmanager
def otlp_receiver() -> Iterator[Received]:
    """A receiver on a free port, until the end of the block."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.paths.add(self.path)
            received.bodies.append(body)
            received.spans += _spans(ExportTraceServiceRequest.FromString(body))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(received.status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Requests are no news."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _spans(request: Any) -> list[ReceivedSpan]:
    return [
        ReceivedSpan(
            service=_values(group.resource.attributes)["service.name"],
            name=span.name,
            kind=span.kind,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            attributes=_values(span.attributes),
            links={
                (link.trace_id.hex(), link.span_id.hex()): _values(link.attributes).get("freshet.link", "")
                for link in span.links
            },
            start_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
            error=span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else "",
        )
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in attributes}
