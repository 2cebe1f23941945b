"""The user agent: impressions and clicks move their user's vectors, each exactly once.

Guarantee: an event is done only after its user's state, the ``user-vectors`` record, the slate batches and
the ranker's examples that it causes have been delivered. A redelivered event changes no state, but everything
except its examples is sent again, because the crash that caused the redelivery may have come before they were
sent. An event that is published again, or that exceeds what one user may contribute
(:mod:`freshet.models.users.user_share`), changes no statistics and teaches nothing. The slate batches that
record this are delivered before the states that know it: sent again, they are complete, and recognised by
their offsets.

An event from before its user's erasure counts in the articles' statistics, which know no users, and changes
nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.events.events import Click, Impression
from freshet.models.ports import FloatVector
from freshet.models.users.user_share import mark_of
from freshet.streams import metrics
from freshet.streams.agents.impression_ranker import ImpressionRanker
from freshet.streams.agents.slates import SlateCollector
from freshet.streams.errors import PartitionsLost
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.forwarding import is_forwarded, origin_of
from freshet.streams.kafka.headers import NO_HEADERS, Headers, joined
from freshet.streams.kafka.outbox import Outbox
from freshet.streams.kafka.progress import Progress
from freshet.streams.kafka.reader import RecordReader
from freshet.streams.records.intake import Intake
from freshet.streams.records.tracing import STREAM
from freshet.streams.settings import Settings
from freshet.streams.state.user_states import UserKey, UserStates

if TYPE_CHECKING:
    from freshet.streams.records.otlp_tracer import RecordTrace

log = logging.getLogger(__name__)

_YIELD_EVERY = 32
"""Number of events between two turns of the event loop: a request waits 10 ms for them."""


@dataclass(frozen=True, slots=True)
class Applied:
    """Effect of one impression or click."""

    user: UserKey
    time_s: float
    clicked: bool
    offset_name: str
    """Topic, partition and offset, joined by hyphens."""
    trace: RecordTrace | None = None


@dataclass(kw_only=True, eq=False)
class UserAgent:
    """Applies impressions and clicks to user states and passes the slates on to the statistics."""

    settings: Settings
    states: UserStates
    catalog: ArticleCatalog
    outbox: Outbox
    """Receives vectors, slate batches, examples and states."""
    progress: Progress
    population: Callable[[float], FloatVector]
    """Mean vector (d,) of clicked articles at a time."""
    impression_ranker: ImpressionRanker
    on_event: Callable[[Impression | Click], None] | None = None
    """Called once with each new event."""
    on_clicks: Callable[[list[Applied]], Awaitable[None]] | None = None
    """Called with the clicks of each batch after it is durable."""

    def __post_init__(self) -> None:
        self._intake = Intake(self.settings, self.outbox, STREAM)
        self._generation = -1
        self._collected = SlateCollector(self.settings)
        self._topics: dict[str, tuple[str, type[Impression | Click]]] = {
            topic_name(self.settings, topics.IMPRESSIONS.name): (topics.IMPRESSIONS.name, Impression),
            topic_name(self.settings, topics.CLICKS.name): (topics.CLICKS.name, Click),
        }
        """Short name and event type by full topic name."""
        self._vectors = topic_name(self.settings, topics.USER_VECTORS.name)
        self.busy = asyncio.Lock()
        """Held while a batch is handled; giving partitions away waits for it."""

    async def run(self, reader: RecordReader) -> None:
        """Apply the records of ``reader``. Fails, without a commit, where a delivery fails."""
        async for generation, messages in reader.batches(self.settings.batch_events):
            async with self.busy:
                if not self.progress.may_handle(generation):
                    continue
                self._note_generation(generation)
                try:
                    clicks = await self._handle(messages)
                except PartitionsLost as error:
                    log.warning("%s", error)
                    self.states.forget()
                    continue
                self.progress.done(messages)
                self._intake.traces.done()
            if clicks and self.on_clicks is not None:
                await self.on_clicks(clicks)

    async def _handle(self, messages: list[Any]) -> list[Applied]:
        started = time.perf_counter()
        self.impression_ranker.behind = self._is_behind(len(messages))
        changed: dict[UserKey, float] = {}
        clicks: list[Applied] = []
        causes: dict[UserKey, list[Headers]] = {}
        click_timestamps: list[float] = []
        for number, message in enumerate(messages, 1):
            if number % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
            applied = self._intake.handle(message, self._apply)
            if applied is None:
                continue
            changed[applied.user] = max(applied.time_s, changed.get(applied.user, applied.time_s))
            if applied.trace is not None:
                causes.setdefault(applied.user, []).append(self._headers_of(applied, applied.trace))
            if applied.clicked:
                clicks.append(applied)
                click_timestamps.append(message.timestamp / 1_000)
        self._intake.traces.end_step("rest of the batch")
        self._publish_vectors(changed, {user: joined(headers) for user, headers in causes.items()})
        left_out = self._collected.left_out
        self._collected.publish(self.outbox, self._intake.traces)
        if left_out:
            await self.outbox.flush()
        self.impression_ranker.publish(self.outbox, self._intake.traces)
        if any(is_forwarded(message) for message in messages):
            # A copy may come a second time, as another record. If the state knows it by then, its effects
            # must have been delivered, since nothing is sent again.
            await self.outbox.flush()
        await self.states.write(changed, self.outbox)
        metrics.USER_UPDATES.inc(len(changed))
        now_s = time.time()
        for timestamp in click_timestamps:
            metrics.CLICK_TO_VECTOR_SECONDS.observe(max(0.0, now_s - timestamp))
        metrics.BATCH_EVENTS.labels("user").observe(len(messages))
        metrics.PROCESSING_SECONDS.labels("user").observe(time.perf_counter() - started)
        return clicks

    def _is_behind(self, under_way: int) -> bool:
        """Whether another full batch is waiting."""
        waiting = sum(lag for tp, lag in self.progress.lags().items() if tp.topic in self._topics)
        return waiting - under_way >= self.settings.batch_events

    def _apply(self, message: Any) -> Applied | None:
        source, event_type = self._topics[message.topic]
        partition, offset = message.partition, message.offset
        event = self._intake.of_user(message, event_type)
        user_id = event.user_id
        time_s = self._intake.checked_time_s(event.time, time.time())
        shown: tuple[str, ...] = ()
        if isinstance(event, Impression):
            shown, clicked = event.candidates, event.clicked
        else:
            clicked = (event.news_id,)
        if self.states.erasures.covers(user_id, time_s):
            self._collected.add_event(source, partition, offset, time_s, shown=shown, clicked=clicked)
            return None
        state = self.states.get_or_create(partition, user_id)
        applied_as = (source, *(origin_of(message) or (partition, offset)))
        if is_forwarded(message) and state.has_applied(applied_as):
            metrics.DUPLICATES.labels(message.topic).inc()
            return None
        mark = mark_of(event)
        counted = state.counted(applied_as, time_s, shown, clicked, mark)
        if counted.teaches:
            self.impression_ranker.learn(event, (source, partition, offset), time_s, state)
        if isinstance(event, Impression):
            state.seed_history(time_s, event.history, self.catalog)
            context = state.context(time_s) if clicked else ()
            new = state.apply_impression(applied_as, time_s, shown, clicked, self.catalog, mark=mark)
        else:
            context = state.context(time_s)
            new = state.apply_click(
                applied_as,
                time_s,
                event.news_id,
                self.catalog,
                impression_known=event.impression_id is not None,
                mark=mark,
            )
        if not new:
            metrics.DUPLICATES.labels(message.topic).inc()
        elif self.on_event is not None:
            self.on_event(event)
        if not counted.whole:
            metrics.UNCOUNTED.labels(message.topic).inc()
        self._collected.add_event(
            source, partition, offset, time_s, shown=shown, clicked=clicked, context=context, counted=counted
        )
        trace = self._intake.traces.of(message)
        return Applied((partition, user_id), time_s, bool(clicked), f"{source}-{partition}-{offset}", trace)

    def _headers_of(self, applied: Applied, trace: RecordTrace) -> Headers:
        """Headers that link the user's vectors to a traced event; answers will link to a click."""
        trace.end_step("state")
        if applied.clicked and self._intake.traces.tracer is not None:
            self._intake.traces.tracer.clicked(applied.user[1], trace)
        return trace.headers

    def _note_generation(self, generation: int) -> None:
        """Forget traces after a rebalance: users may have clicked on another worker."""
        if generation != self._generation:
            self.forget_traces()
        self._generation = generation

    def forget_traces(self) -> None:
        """Forget the last traced click of each user."""
        if self._intake.traces.tracer is not None:
            self._intake.traces.tracer.forget_clicks()

    def _publish_vectors(self, changed: dict[UserKey, float], causes: dict[UserKey, Headers]) -> None:
        pooling = self.states.pooling
        half_lives_s = (*pooling.half_lives_s, pooling.negative_half_life_s)
        for (partition, user_id), time_s in changed.items():
            state = self.states.get_or_create(partition, user_id)
            at_s = max(time_s, state.reference_s)
            heads = zip(
                pooling.head_names,
                half_lives_s,
                state.weights(at_s).tolist(),
                state.vectors(at_s, self.population(at_s) if pooling.prior is None else pooling.prior),
                strict=True,
            )
            value = orjson.dumps(
                {
                    "version": 1,
                    "user_id": user_id,
                    "time": datetime.fromtimestamp(at_s, UTC),
                    "bundle": pooling.bundle,
                    "clicks": state.clicks,
                    "heads": [
                        {"name": name, "half_life_s": half_life_s, "weight": weight, "vector": vector}
                        for name, half_life_s, weight, vector in heads
                    ],
                },
                option=orjson.OPT_SERIALIZE_NUMPY,
            )
            headers = causes.get((partition, user_id), NO_HEADERS)
            self.outbox.add_record(self._vectors, partition, user_id.encode(), value, headers)
