"""Which records are traced, how traces join, and that nothing is paid for while they are off."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.future import Future as KafkaFuture
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import use_span

from freshet.streams.errors import TracingUnavailable
from freshet.streams.kafka.headers import MAX_CAUSES
from freshet.streams.records.otlp_tracer import PromptExporter, Tracer
from freshet.streams.records.tracing import STREAM, RecordTraces, caller_headers, tracer_of
from freshet.streams.settings import Settings
from tests.otlp_receiver import Received, otlp_receiver

_SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_UNSAMPLED = _SAMPLED[:-2] + "00"


def _record(*parents: str, topic: str = "freshet.clicks", offset: int = 7, **more: bytes) -> Any:
    headers = [("traceparent", parent.encode()) for parent in parents] + list(more.items())
    return SimpleNamespace(
        topic=topic, partition=3, offset=offset, headers=headers, timestamp=1_700_000_000_000
    )


@pytest.fixture
def collector() -> Iterator[Received]:
    with otlp_receiver() as received:
        yield received


def _traces(collector: Received, share: float = 0.0) -> RecordTraces:
    return RecordTraces(Settings(otlp_endpoint=collector.endpoint, trace_share=share), STREAM)


def _sent(traces: RecordTraces) -> None:
    traces.done()
    assert isinstance(traces.tracer, Tracer)
    traces.tracer.close()


def test_a_record_goes_on_with_the_trace_that_its_header_names(collector: Received) -> None:
    traces = _traces(collector)
    trace = traces.begin(_record(_SAMPLED, tracestate=b"shop=1"))
    assert trace is not None
    headers = dict(traces.headers(_record()))
    trace.end_step("state")
    _sent(traces)
    (span,) = collector.named("process freshet.clicks")
    assert (span.trace_id, span.parent_id) == (_SAMPLED[3:35], _SAMPLED[36:52])
    assert span.kind == 5
    assert span.place == ("freshet.clicks", 3, 7)
    assert span.attributes["messaging.system"] == "kafka"
    assert span.attributes["messaging.operation.type"] == "process"
    assert headers["traceparent"].decode() == f"00-{span.trace_id}-{span.span_id}-01"
    assert headers["tracestate"] == b"shop=1"
    steps = [step for step in collector.of_trace(span.trace_id) if step.parent_id == span.span_id]
    assert [step.name for step in steps] == ["state", "deliver"]
    assert steps[0].start_ns == span.start_ns
    assert steps[0].end_ns == steps[1].start_ns
    assert collector.paths == {"/v1/traces"}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_who_is_not_sampled_stays_so_whatever_the_share(collector: Received, share: float) -> None:
    traces = _traces(collector, share)
    assert traces.begin(_record(_UNSAMPLED)) is None
    assert traces.headers(_record()) == ()


@pytest.mark.parametrize("topic", ["clicks", "impressions", "recommendation-requests", "articles"])
def test_the_share_of_events_from_outside_begins_a_trace(collector: Received, topic: str) -> None:
    assert _traces(collector, 1.0).begin(_record(topic=f"freshet.{topic}")) is not None
    assert _traces(collector, 0.0).begin(_record(topic=f"freshet.{topic}")) is None


@pytest.mark.parametrize("topic", ["slate-batches", "ranker-examples", "article-vectors"])
def test_what_freshet_itself_writes_begins_none(collector: Received, topic: str) -> None:
    assert _traces(collector, 1.0).begin(_record(topic=f"freshet.{topic}")) is None


@pytest.mark.parametrize(
    "header", ["", "00-x-y-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "z" * 100_000]
)
def test_a_header_that_is_none_counts_as_no_header(collector: Received, header: str) -> None:
    assert _traces(collector, 0.0).begin(_record(header)) is None
    trace = _traces(collector, 1.0).begin(_record(header))
    assert trace is not None
    assert trace.trace_id != "0" * 32


def test_a_record_of_several_causes_goes_on_with_the_last_and_links_the_others(collector: Received) -> None:
    parents = [f"00-{number:032x}-{number:016x}-01" for number in range(1, MAX_CAUSES + 11)]
    traces = _traces(collector)
    traces.begin(_record(*parents, topic="freshet.slate-batches"))
    _sent(traces)
    (span,) = collector.named("process freshet.slate-batches")
    assert span.parent_id == f"{MAX_CAUSES + 10:016x}"
    assert len(span.links) == MAX_CAUSES - 1
    assert span.links[f"{11:032x}", f"{11:016x}"] == "cause"


def test_what_several_events_cause_names_them_all_but_not_without_end(collector: Received) -> None:
    traces = _traces(collector, 1.0)
    for offset in range(40):
        traces.begin(_record(offset=offset))
    assert len(traces.headers_of("clicks", 3, [1, 2, 99])) == 2
    assert len(traces.headers_of("clicks", 3, range(40))) == MAX_CAUSES
    assert traces.headers_of("impressions", 3, range(40)) == ()


def test_an_answer_that_overtakes_the_acknowledgement_keeps_the_place_of_its_request(
    collector: Received,
) -> None:
    tracer = Tracer(collector.endpoint, 1.0, STREAM)
    tracer_provider = TracerProvider()
    with use_span(tracer_provider.get_tracer("site").start_span("page")):
        trace = tracer.send("freshet.recommendation-requests")
    assert trace is not None
    sent, answer = KafkaFuture(), Future[None]()
    trace.end_with(sent, answer)
    answer.set_result(None)
    sent.success(SimpleNamespace(partition=5, offset=9))
    tracer.close()
    (span,) = collector.named("send freshet.recommendation-requests")
    assert span.place == ("freshet.recommendation-requests", 5, 9)


def test_a_callers_span_is_what_a_record_is_sent_with() -> None:
    assert caller_headers() == []
    span = TracerProvider().get_tracer("a web server").start_span("page")
    with use_span(span):
        ((name, value),) = caller_headers()
    ids = span.get_span_context()
    assert name == "traceparent"
    assert value.decode() == f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{ids.trace_flags:02x}"


def test_without_an_endpoint_opentelemetry_is_not_even_imported() -> None:
    program = (
        "import sys; from freshet.streams import agents, client; from freshet.streams.agents import app; "
        "from freshet.workers.processes import logs; from freshet.workers.processes.embedding import worker; "
        "from freshet.streams.settings import Settings; from freshet.streams.records.tracing import *; "
        "assert tracer_of(Settings(otlp_endpoint=None), STREAM) is None; assert not caller_headers(); "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ran.stdout == "[]\n"


def test_an_endpoint_without_opentelemetry_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "freshet.streams.records.otlp_tracer", None)
    with pytest.raises(TracingUnavailable, match=r"pip install 'freshet\[trace\]'"):
        tracer_of(Settings(otlp_endpoint="http://127.0.0.1:1/not-there"), STREAM)


def test_a_collector_that_refuses_does_not_hold_up_the_end(collector: Received) -> None:
    collector.status = 400
    exporter = PromptExporter(collector.endpoint + "/v1/traces")
    assert [exporter.export([]).name for _ in range(2)] == ["FAILURE", "FAILURE"]
    assert len(collector.bodies) == 2
    exporter.ending = True
    assert [exporter.export([]).name for _ in range(3)] == ["FAILURE", "FAILURE", "FAILURE"]
    assert len(collector.bodies) == 3, "after the first failure at the end nothing more is tried"
