"""One click, one request and one article followed through real workers and Kafka to a real OTLP receiver.

The same workers log JSON lines; one of them is made to fail on the requests of one user.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import pytest
from kafka import KafkaProducer
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    format_span_id,
    format_trace_id,
    use_span,
)

from freshet.models.articles.exact_index import ExactIndex
from freshet.models.embedding.projection import Projection
from freshet.models.events.events import Article, Recommendation, RecommendationRequest, from_unix_s
from freshet.models.ports import EncoderInfo, FloatMatrix
from freshet.streams.client import Freshet
from freshet.streams.kafka.connection import client_config, topic_name
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.records.otlp_tracer import Tracer
from freshet.streams.records.tracing import CLIENT, EMBED, tracer_of
from freshet.streams.settings import Settings
from freshet.workers.processes.embedding.worker import EmbeddingWorker
from freshet.workers.processes.kafka.broker import LocalKafka
from freshet.workers.processes.worker_process import WorkerProcess
from tests.integration.stream_harness import START_S, read_all, settings_for
from tests.otlp_receiver import Received, ReceivedSpan, otlp_receiver
from tests.waiting import HANG_S, wait_until

pytestmark = pytest.mark.broker

_OLD_TRACE = "00000000000000000000000000000017"
_READER, _FAILS = "U-who-reads", "U-whose-requests-fail"
_WORKER = f"""
from freshet.streams.agents import recommender_agent
answer = recommender_agent.recommend
def recommend(request, *args, **options):
    if request.user_id == {_FAILS!r}:
        raise ArithmeticError("as the test wants it")
    return answer(request, *args, **options)
recommender_agent.recommend = recommend
from freshet.workers.cli.main import main
main(["stream", "--verbose"])
"""

T = TypeVar("T")


class LetterEncoder:
    """Counts the letters of a title."""

    info = EncoderInfo("letters", "mean", 26)

    def encode(self, texts: Sequence[tuple[str, str]]) -> FloatMatrix:
        counts = [[title.lower().count(chr(97 + i)) for i in range(26)] for title, _ in texts]
        return np.array(counts, np.float32).reshape(len(texts), 26)


class Site:
    """A stream worker, an embedding worker and a client, all traced, and what their collector received."""

    def __init__(
        self, settings: Settings, worker: WorkerProcess, client: Freshet, received: Received
    ) -> None:
        self.settings = settings
        self.worker = worker
        self.client = client
        self.received = received
        self._callers = TracerProvider().get_tracer("a web server")

    @contextmanager
    def caller(self) -> Iterator[tuple[str, str]]:
        """Code that is in a trace of its own; its trace and span id."""
        span = self._callers.start_span("page")
        ids = span.get_span_context()
        with use_span(span):
            yield format_trace_id(ids.trace_id), format_span_id(ids.span_id)

    def spans(self, trace_id: str, *names: str) -> dict[str, ReceivedSpan]:
        """The spans of a trace by name (topics without prefix), when those called ``names`` have come."""

        def found() -> dict[str, ReceivedSpan]:
            self.worker.check()
            spans = self.received.of_trace(trace_id)
            by_name = {span.name.replace(self.settings.topic_prefix, ""): span for span in spans}
            return by_name if by_name.keys() >= set(names) else {}

        return wait_until(found, f"spans {names} of trace {trace_id}")

    def steps(self, span: ReceivedSpan) -> list[str]:
        """The names of a span's own steps, in their order."""
        spans = self.received.of_trace(span.trace_id)
        return [step.name for step in spans if step.parent_id == span.span_id and step.kind == 1]

    def log(self, **wanted: Any) -> dict[str, Any]:
        """The first line of the worker's log that has these fields."""

        def found() -> dict[str, Any]:
            lines = self.worker.log_file.read_bytes().splitlines(keepends=True)
            for line in lines:
                if line.endswith(b"\n"):
                    entry: dict[str, Any] = json.loads(line)
                    if wanted.items() <= entry.items():
                        return entry
            return {}

        return wait_until(found, f"a log line with {wanted}")

    def records(self, topic: str) -> list[Any]:
        """Every record on a topic (by short name)."""
        return asyncio.run(read_all(self.settings, topic_name(self.settings, topic)))

    def send_raw(self, topic: str, key: bytes, value: bytes, trace_id: str) -> Any:
        """Publish bytes under a trace, as a program in another language would; where they lie."""
        headers = [("traceparent", f"00-{trace_id}-{1:016x}-01".encode())]
        producer = KafkaProducer(**client_config(self.settings))
        try:
            name = topic_name(self.settings, topic)
            return producer.send(name, value, key=key, headers=headers).get(timeout=HANG_S)
        finally:
            producer.close()

    def record_of(self, answer: Recommendation) -> Any:
        """The record that an answer came in."""
        (record,) = [
            record
            for record in self.records("recommendations")
            if Recommendation.from_json(record.value).request_id == answer.request_id
        ]
        return record


@pytest.fixture(scope="module")
def site(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch, otlp_receiver() as received:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        settings = settings_for(kafka, tmp_path_factory.mktemp("traces")).model_copy(
            update={"otlp_endpoint": received.endpoint, "trace_share": 0.0, "log_format": "json"}
        )
        ensure_topics(settings)
        tower = Projection(LetterEncoder.info, settings.dimension)
        embedding = EmbeddingWorker(settings, LetterEncoder(), tower, ExactIndex(settings.dimension))
        thread = threading.Thread(target=embedding.run)
        thread.start()
        try:
            with Freshet(settings) as client:
                # Before the worker starts, so that it knows both from the start.
                client.set_push(_READER, True)
                _publish_in_trace(client, _OLD_TRACE, "N0")
                wait_until(lambda: received.named("commit"), "the first article's vector")
                log_file = settings.data_dir / "stream.log"
                with WorkerProcess(["-c", _WORKER], settings, log_file) as worker:
                    client.recommend("U-first", timeout_s=HANG_S)
                    yield Site(settings, worker, client, received)
                    assert worker.stop() == 0
        finally:
            embedding.stop()
            thread.join()
            for service in (CLIENT, EMBED):
                tracer = tracer_of(settings, service)
                assert isinstance(tracer, Tracer)
                tracer.close()


def _publish(client: Freshet, *news_ids: str) -> None:
    at = from_unix_s(START_S - 3_600)
    client.publish(*(Article(news_id=n, published_at=at, title=f"About {n * 3}") for n in news_ids))


def _publish_in_trace(client: Freshet, trace_id: str, *news_ids: str) -> None:
    caller = SpanContext(int(trace_id, 16), 1, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    with use_span(NonRecordingSpan(caller)):
        _publish(client, *news_ids)


def _ids(value: Any) -> tuple[str, str]:
    """Trace and span id of the one ``traceparent`` of a record's headers."""
    (parent,) = [header.decode() for name, header in value if name == "traceparent"]
    _, trace_id, span_id, flags = parent.split("-")
    assert int(flags, 16) & 1
    return trace_id, span_id


def test_an_article_is_followed_to_the_index_of_the_worker_that_recommends_it(site: Site) -> None:
    with site.caller() as (trace_id, page):
        _publish(site.client, "N1")
    spans = site.spans(trace_id, "send articles", "process articles", "process article-vectors", "commit")
    sent, embedded, shown = (
        spans[name] for name in ("send articles", "process articles", "process article-vectors")
    )
    assert [span.service for span in (sent, embedded, shown)] == [
        "freshet-client",
        "freshet-embed",
        "freshet-stream",
    ]
    assert (sent.parent_id, embedded.parent_id, shown.parent_id) == (page, sent.span_id, embedded.span_id)
    assert (sent.kind, embedded.kind, shown.kind) == (4, 5, 5)
    assert sent.place == embedded.place
    assert site.steps(embedded) == ["embed", "index", "deliver", "commit"]
    assert site.steps(shown) == ["index"]


def test_an_article_that_a_worker_reads_at_its_start_is_not_traced_again(site: Site) -> None:
    with site.caller() as (trace_id, _):
        _publish(site.client, "N2")
    assert site.spans(trace_id, "process article-vectors")
    assert {"send articles", "process articles"} <= site.spans(_OLD_TRACE).keys()
    assert "process article-vectors" not in site.spans(_OLD_TRACE)


def test_an_article_that_cannot_be_embedded_fails_in_its_trace(site: Site) -> None:
    trace_id = "00000000000000000000000000000018"
    sent = site.send_raw("articles", b"N3", b"no article", trace_id)
    handled = site.spans(trace_id, "process articles")["process articles"]
    assert handled.place == (topic_name(site.settings, "articles"), sent.partition, sent.offset)
    assert handled.error.startswith("Article: ")
    (letter,) = [record for record in site.records("dead-letters") if record.key == b"N3"]
    assert _ids(letter.headers) == (trace_id, handled.span_id)


def test_a_click_is_followed_to_the_answer_that_it_causes(site: Site) -> None:
    with site.client.subscribe(_READER, timeout_s=HANG_S) as pushed:
        with site.caller() as (trace_id, page):
            site.client.click(_READER, "N0", time=from_unix_s(START_S))
        answer = next(pushed)
    assert answer.pushed
    names = "send clicks", "process clicks", "push", "process slate-batches"
    sent, handled, push, counted = (site.spans(trace_id, *names)[name] for name in names)
    assert (sent.parent_id, handled.parent_id) == (page, sent.span_id)
    assert (push.parent_id, counted.parent_id) == (handled.span_id, handled.span_id)
    assert sent.place == handled.place
    assert sent.attributes["messaging.operation.type"] == "send"
    assert site.steps(handled)[:3] == ["state", "rest of the batch", "deliver"]
    assert site.steps(push) == ["state", "candidates", "rank", "choose", "explain", "deliver"]
    assert site.steps(counted) == ["count", "deliver"]
    assert push.attributes["freshet.request_id"] == answer.request_id

    (vectors,) = [r for r in site.records("user-vectors") if r.key == _READER.encode()]
    assert _ids(vectors.headers) == (trace_id, handled.span_id)
    (batch,) = [r for r in site.records("slate-batches") if (r.topic, r.partition, r.offset) == counted.place]
    assert _ids(batch.headers) == (trace_id, handled.span_id)
    assert _ids(site.record_of(answer).headers) == (trace_id, push.span_id)

    with site.caller() as (request_trace, _):
        asked = site.client.recommend(_READER, time=from_unix_s(START_S + 1), timeout_s=HANG_S)
    assert asked.user_clicks == 1
    answered = site.spans(request_trace, "process recommendation-requests")["process recommendation-requests"]
    assert answered.links == {(trace_id, handled.span_id): "last click"}


def test_a_request_is_followed_to_its_answer(site: Site) -> None:
    with site.caller() as (trace_id, page):
        answer = site.client.recommend("U-other", time=from_unix_s(START_S), timeout_s=HANG_S)
    names = "send recommendation-requests", "process recommendation-requests", "wait for the answer"
    sent, answered, waited = (site.spans(trace_id, *names)[name] for name in names)
    assert (sent.parent_id, answered.parent_id, waited.parent_id) == (page, sent.span_id, sent.span_id)
    assert sent.place == answered.place
    assert sent.place[0] == topic_name(site.settings, "recommendation-requests")
    assert site.steps(answered) == [
        "wait for its turn",
        "state",
        "candidates",
        "rank",
        "choose",
        "explain",
        "rest of the batch",
        "deliver",
    ]
    assert answered.attributes["freshet.request_id"] == answer.request_id
    assert answered.attributes["freshet.items"] == len(answer.items)
    assert answered.links == {}
    assert _ids(site.record_of(answer).headers) == (trace_id, answered.span_id)


def test_an_impression_is_followed_to_the_rankers_weights(site: Site) -> None:
    with site.caller() as (trace_id, _):
        site.client.impression("U-shown", ["N0", "N1"], ["N0"], time=from_unix_s(START_S))
    names = "process impressions", "process ranker-examples"
    shown, learned = (site.spans(trace_id, *names)[name] for name in names)
    assert learned.parent_id == shown.span_id
    assert site.steps(learned) == ["learn", "deliver"]


def test_a_record_that_cannot_be_read_is_logged_with_its_place_and_its_trace(site: Site) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    sent = site.send_raw("clicks", b"U-secret", b"{}", trace_id)
    entry = site.log(topic=sent.topic, partition=sent.partition, offset=sent.offset)
    where = f"{sent.topic}[{sent.partition}]@{sent.offset}"
    assert entry["message"].startswith(f"dead letter {where}: Click: ")
    assert (entry["level"], entry["logger"]) == ("warning", "freshet.streams.records.dead_letters")
    assert entry["process"] == site.worker.pid
    handled = site.spans(trace_id, "process clicks")["process clicks"]
    assert (entry["trace_id"], entry["span_id"]) == (trace_id, handled.span_id)
    assert handled.parent_id == f"{1:016x}"
    assert handled.error.startswith("Click: ")
    (letter,) = [record for record in site.records("dead-letters") if record.key == b"U-secret"]
    assert _ids(letter.headers) == (trace_id, handled.span_id)


def test_a_request_that_fails_is_logged_with_its_id_and_its_place(site: Site) -> None:
    request = RecommendationRequest(
        request_id="to-fail", user_id=_FAILS, time=from_unix_s(START_S), candidates=("N0",)
    )
    with site.caller() as (trace_id, _):
        site.client.submit(request).cancel()
    entry = site.log(request_id=request.request_id, level="error")
    assert entry["topic"] == topic_name(site.settings, "recommendation-requests")
    assert entry["exception"]["type"] == "ArithmeticError"
    assert entry["exception"]["message"] == "as the test wants it"
    assert "recommend_to_user(on_step=on_step)" in entry["exception"]["stacktrace"]
    handled = site.spans(trace_id, "process recommendation-requests")["process recommendation-requests"]
    assert (entry["topic"], entry["partition"], entry["offset"]) == handled.place
    assert entry["trace_id"] == trace_id
    assert "as the test wants it" in handled.error


def test_every_line_is_json_those_of_libraries_too_and_nobody_is_named(site: Site) -> None:
    site.log(logger="freshet.streams.records.dead_letters")
    entries = [json.loads(line) for line in site.worker.log_file.read_text().splitlines()]
    for entry in entries:
        assert {"time", "level", "logger", "message", "host", "process"} <= entry.keys()
    assert {entry["logger"].split(".")[0] for entry in entries} >= {"freshet", "faust", "aiokafka"}
    for user in (_READER, _FAILS, "U-secret", "U-shown", "U-other"):
        assert user not in site.worker.log_file.read_text()
        assert not any(user.encode() in body for body in site.received.bodies)
