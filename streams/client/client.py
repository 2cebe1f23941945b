"""The Python client: publish articles, clicks and impressions, ask for recommendations, subscribe to them.

The client is synchronous, with one producer and, from the first request on, one background thread that reads
the answers. Publishing returns when Kafka has acknowledged, and raises otherwise. An answer arrives at the
speed of the stream: after the first request, which opens the topic, none waits for a poll.

A :class:`Freshet` may be shared by any number of threads, each with requests of its own outstanding. Its
events and requests belong to the OpenTelemetry trace of the caller's code, if there is one.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from kafka import KafkaProducer
from kafka.errors import KafkaError
from pydantic import ValidationError

from freshet.models.events.editorial_rules import EditorialRule
from freshet.models.events.events import (
    MAX_EVENT_BYTES,
    Article,
    Click,
    Control,
    Event,
    EventError,
    Filters,
    Impression,
    RankerWeights,
    Recommendation,
    RecommendationRequest,
    refusal,
)
from freshet.streams.client.answers import Answers, Subscription
from freshet.streams.client.timeouts import checked_timeout_s
from freshet.streams.errors import ClientClosed, KafkaUnreachable, PublishFailed, RecommendationTimeout
from freshet.streams.kafka.connection import MAX_REQUEST_BYTES, client_config, topic_name
from freshet.streams.kafka.reachability import missing, unreachable, wait_for_broker
from freshet.streams.kafka.topics import (
    ARTICLES,
    CLICKS,
    CONTROL,
    IMPRESSIONS,
    RANKER_WEIGHTS,
    RECOMMENDATIONS,
    REQUESTS,
    Topic,
)
from freshet.streams.records.tracing import CLIENT, caller_headers, tracer_of
from freshet.streams.settings import Settings

E = TypeVar("E", bound=Event)
T = TypeVar("T")

_REQUEST_TIMEOUT_MS = 10_000
_DELIVERY_TIMEOUT_MS = 30_000
"""Time after which the producer gives up on an event."""


class Freshet(AbstractContextManager["Freshet"]):
    """A connection to freshet, for publishing and asking.

    ::

        with Freshet(bootstrap_servers="127.0.0.1:9092") as freshet:
            freshet.click("U13740", "N55189")
            for item in freshet.recommend("U13740", k=5).items:
                print(item.title, item.score)

    A client that cannot connect says so at once:

    >>> Freshet(bootstrap_servers="broker-1", connect_timeout_s=0.1)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    freshet.streams.errors.KafkaUnreachable: Kafka at broker-1 does not answer (an address is written ...

    Args:
        settings: The brokers and the topics' prefix; by default from the environment (``FRESHET_*``).
        bootstrap_servers: Brokers to use in place of the settings'.
        connect_timeout_s: Seconds to wait for the first broker, and for a topic to be known.

    Raises:
        ValueError: ``connect_timeout_s`` is negative, or no number.
        KafkaUnreachable: No broker answers.
        TracingUnavailable: The settings ask for traces, and OpenTelemetry is not installed.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        bootstrap_servers: str | None = None,
        connect_timeout_s: float = 10.0,
    ) -> None:
        settings = settings or Settings()
        if bootstrap_servers is not None:
            settings = settings.model_copy(update={"bootstrap_servers": bootstrap_servers})
        self._settings = settings
        self._connect_timeout_s = connect_timeout_s
        self._answers: Answers | None = None
        self._subscriptions: list[Subscription] = []
        self._lock = threading.Lock()
        self._closed = False
        self._tracer = tracer_of(settings, CLIENT)
        timeout_ms = round(checked_timeout_s("connect_timeout_s", connect_timeout_s) * 1_000)
        wait_for_broker(settings, connect_timeout_s)
        try:
            self._producer = KafkaProducer(
                **client_config(settings) | {"request_timeout_ms": _REQUEST_TIMEOUT_MS},
                acks="all",
                max_request_size=MAX_REQUEST_BYTES,
                allow_auto_create_topics=False,
                bootstrap_timeout_ms=timeout_ms,
                max_block_ms=timeout_ms,
                delivery_timeout_ms=_DELIVERY_TIMEOUT_MS,
                metrics_enabled=False,
            )
        except KafkaError as error:
            raise KafkaUnreachable(unreachable(settings, error)) from error

    def publish(self, *articles: Article) -> None:
        """Announce new or changed articles; an earlier article of the same id is replaced.

        Raises:
            EventError: One of the arguments is no article.
            PublishFailed: Kafka did not acknowledge every one of them.
            KafkaUnreachable: The topic does not exist, or no broker answers.
        """
        for article in articles:
            if not isinstance(article, Article):
                kind = type(article).__name__
                raise EventError(
                    f"publish: got a {kind}, must be Articles; of a list of them, publish(*list)"
                )
        self._publish(ARTICLES, [(article.news_id, article) for article in articles])

    def click(
        self,
        user_id: str,
        news_id: str,
        time: datetime | None = None,
        impression_id: str | None = None,
        request_id: str | None = None,
        *,
        click_id: str | None = None,
    ) -> Click:
        """Publish that a user opened an article at ``time`` (by default now), and return the event.

        Name the ``impression_id`` that showed the article, if one was published without this click: the
        article then no longer counts as skipped. ``request_id`` is that of the recommendation it came from.
        A click that may be published more than once needs a ``click_id``, or the same ``time`` each time, to
        count once.

        Raises:
            EventError: An argument is not what the event allows; the text names it.
            PublishFailed: Kafka did not acknowledge.
            KafkaUnreachable: The topic does not exist, or no broker answers.
        """
        click = _event(
            Click,
            user_id=user_id,
            news_id=news_id,
            time=time or datetime.now(UTC),
            impression_id=impression_id,
            request_id=request_id,
            click_id=click_id,
        )
        self._publish(CLICKS, [(user_id, click)])
        return click

    def impression(
        self,
        user_id: str,
        candidates: Sequence[str],
        clicked: Sequence[str] = (),
        *,
        time: datetime | None = None,
        impression_id: str | None = None,
        history: Sequence[str] = (),
        request_id: str | None = None,
    ) -> Impression:
        """Publish which articles were shown, in this order, and which of them were clicked already.

        Without an ``impression_id`` one is made up; the event returned carries it. The errors are those of
        :meth:`click`.
        """
        impression = _event(
            Impression,
            impression_id=impression_id or _new_id(),
            user_id=user_id,
            time=time or datetime.now(UTC),
            candidates=_listed("candidates", candidates),
            clicked=_listed("clicked", clicked, in_order=False),
            history=_listed("history", history),
            request_id=request_id,
        )
        self._publish(IMPRESSIONS, [(user_id, impression)])
        return impression

    def recommend(
        self,
        user_id: str,
        k: int = 10,
        *,
        candidates: Sequence[str] | None = None,
        filters: Filters | None = None,
        exclude_seen: bool = True,
        diversity: float = 0.3,
        history: Sequence[str] = (),
        time: datetime | None = None,
        explain: bool = True,
        details: bool = False,
        rules: Sequence[EditorialRule] = (),
        timeout_s: float = 5.0,
    ) -> Recommendation:
        """Ask for a user's best ``k`` articles now, or for ``candidates`` in the best order.

        The arguments are the fields of :class:`RecommendationRequest`, which documents them.

        Raises:
            EventError: An argument is not what the request allows; the text names it.
            ValueError: ``timeout_s`` is negative, or no number.
            RecommendationTimeout: No answer within ``timeout_s``.
            PublishFailed: Kafka did not acknowledge the request.
            KafkaUnreachable: A topic does not exist, or no broker answers.
        """
        request = _event(
            RecommendationRequest,
            request_id=_new_id(),
            user_id=user_id,
            time=time or datetime.now(UTC),
            k=k,
            candidates=None if candidates is None else _listed("candidates", candidates),
            history=_listed("history", history),
            filters=filters or Filters(),
            exclude_seen=exclude_seen,
            diversity=diversity,
            explain=explain,
            details=details,
            rules=_listed("rules", rules),
        )
        return self.request(request, timeout_s)

    def request(self, request: RecommendationRequest, timeout_s: float = 5.0) -> Recommendation:
        """Send a request as it is and wait for its answer, with the errors of :meth:`recommend`."""
        checked_timeout_s("timeout_s", timeout_s)
        future = self.submit(request)
        try:
            return future.result(timeout_s)
        except TimeoutError as error:
            future.cancel()
            raise RecommendationTimeout(
                f"no answer to request {request.request_id} of user {request.user_id} on "
                f"{topic_name(self._settings, RECOMMENDATIONS.name)} within {timeout_s:g} s. Is a worker "
                "running (`freshet up` or `freshet stream`), with this topic prefix? Is it behind? "
                "`freshet doctor` checks both."
            ) from error

    def submit(self, request: RecommendationRequest) -> Future[Recommendation]:
        """Send a request and return at once; the future holds its answer, or why there is none.

        A future that is not wanted any more must be cancelled, or it is kept until the client is closed.

        Raises:
            ValueError: An answer to this request id is awaited already.
            KafkaUnreachable: A topic does not exist, or no broker answers.
        """
        future = self._reading().expect(request.request_id, request.user_id)

        def fail(error: Exception) -> None:
            if future.set_running_or_notify_cancel():
                future.set_exception(PublishFailed(f"request {request.request_id} was not sent: {error}"))

        try:
            self._send(REQUESTS, request.user_id, request, answer=future).add_errback(fail)
        except BaseException:
            future.cancel()
            raise
        return future

    def subscribe(self, user_id: str | None = None, timeout_s: float | None = None) -> Subscription:
        """Iterate over every recommendation from now on, or over those of one user.

        The iterator ends when nothing came for ``timeout_s``, or when it or the client is closed. Unlike the
        client, it belongs to one thread.

        Raises:
            ValueError: ``timeout_s`` is negative, or no number.
            KafkaUnreachable: The topic does not exist, or no broker answers.
        """
        if timeout_s is not None:
            checked_timeout_s("timeout_s", timeout_s)
        subscription = Subscription(self._settings, self._connect_timeout_s, user_id, timeout_s)
        with self._lock:
            self._subscriptions.append(subscription)
        return subscription

    def set_push(self, user_id: str, on: bool) -> Control:
        """Turn on or off that each click of a user leads to a fresh recommendation without a request.

        The errors are those of :meth:`click`.
        """
        return self._control("push-on" if on else "push-off", user_id)

    def withdraw(self, news_id: str) -> Control:
        """Withdraw an article from every recommendation, for good, with the errors of :meth:`click`."""
        return self._control("article-withdrawn", news_id)

    def set_rule(self, rule: EditorialRule) -> Control:
        """Apply an editorial rule to every answer, in place of one of its name; raises as :meth:`click`."""
        control = Control(kind="rule-set", subject=rule.name, time=datetime.now(UTC), rule=rule)
        return self.control(control)

    def remove_rule(self, name: str) -> Control:
        """Remove an editorial rule, if there is one of this name, with the errors of :meth:`click`."""
        return self._control("rule-removed", name)

    def control(self, control: Control) -> Control:
        """Publish an operator's instruction, with the errors of :meth:`click`."""
        self._publish(CONTROL, [(control.key, control)])
        return control

    def publish_weights(self, weights: RankerWeights) -> RankerWeights:
        """Publish ``weights``, with which workers then rank for that model, with :meth:`click`'s errors."""
        self._publish(RANKER_WEIGHTS, [(weights.model, weights)])
        return weights

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Send the events under way, stop reading and disconnect; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._answers is not None:
            self._answers.close()
        for subscription in self._subscriptions:
            subscription.close()
        self._producer.close()

    def _control(
        self, kind: Literal["push-on", "push-off", "article-withdrawn", "rule-removed"], subject: str
    ) -> Control:
        return self.control(_event(Control, kind=kind, subject=subject, time=datetime.now(UTC)))

    def _reading(self) -> Answers:
        with self._lock:
            if self._closed:
                raise ClientClosed("the client is closed")
            if self._answers is None or self._answers.failed:
                self._answers = Answers(self._settings, self._connect_timeout_s)
            return self._answers

    def _publish(self, topic: Topic, events: Iterable[tuple[str, Event]]) -> None:
        sent = [self._send(topic, key, event) for key, event in events]
        failures = []
        for record in sent:
            try:
                # The producer settles every record within its delivery timeout; this is its backstop.
                record.get(timeout=_DELIVERY_TIMEOUT_MS / 1_000 + 5.0)
            except KafkaError as error:
                failures.append(error)
        if failures:
            raise PublishFailed(
                f"{topic_name(self._settings, topic.name)}: {len(failures)} of {len(sent)} events not "
                f"acknowledged, the first because of: {failures[0]}"
            ) from failures[0]

    def _send(
        self, topic: Topic, key: str, event: Event, answer: Future[Recommendation] | None = None
    ) -> Any:
        """Send one event; returns the library's future of the record, which has no type."""
        if self._closed:
            raise ClientClosed("the client is closed")
        value = event.to_json()
        if len(value) > MAX_EVENT_BYTES:
            raise EventError(
                f"{type(event).__name__} of {key}: {len(value)} bytes, more than {MAX_EVENT_BYTES}"
            )
        name = topic_name(self._settings, topic.name)
        trace = None if self._tracer is None else self._tracer.send(name)
        headers = list(caller_headers() if trace is None else trace.headers)
        try:
            sent = self._producer.send(name, value=value, key=key.encode(), headers=headers)
            if trace is not None:
                trace.end_with(sent, answer)
            return sent
        except KafkaError as error:
            # It answered when the client was made, so the topic is the likelier trouble.
            raise KafkaUnreachable(f"{missing(self._settings, name)} ({error})") from error


def _new_id() -> str:
    return uuid.uuid4().hex


def _listed(name: str, values: Iterable[T], *, in_order: bool = True) -> tuple[T, ...]:
    """Turn the argument ``name`` into a tuple of its elements, in their order, which a set does not have.

    >>> _listed("candidates", "N301")
    Traceback (most recent call last):
    freshet.models.events.wire.EventError: candidates: got one str, must be a list, such as ['N301']

    Raises:
        EventError: The argument is a text, whose elements would be its letters, or it lists nothing.
    """
    if isinstance(values, str | bytes | bytearray | Mapping) or not isinstance(values, Iterable):
        raise EventError(f"{name}: got one {type(values).__name__}, must be a list, such as ['N301']")
    if in_order and isinstance(values, set | frozenset):
        raise EventError(f"{name}: got a {type(values).__name__}, whose order is arbitrary; must be a list")
    return tuple(values)


def _event(kind: type[E], /, **fields: Any) -> E:
    try:
        return kind(**fields)
    except ValidationError as error:
        raise EventError(refusal(kind.__name__, error)) from error
