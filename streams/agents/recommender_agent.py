"""Recommender agent: answers each request from its user's state.

Guarantee: every readable request gets exactly one answer per delivery. If the index does not answer in time,
the articles last recommended to the user, or else the trending ones, are ranked instead, and the answer is
marked ``degraded``. No answer waits for a remote index longer than ``qdrant_search_timeout_s``, searching and
queueing included; while more requests wait than are answered at once, the index is not searched, so that the
backlog clears soon. Requests to rank named candidates need no index.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.events.events import (
    MAX_EVENT_BYTES,
    Recommendation,
    RecommendationRequest,
    RecommendedArticle,
    from_unix_s,
    to_unix_s,
)
from freshet.models.ports import FloatVector, IndexUnavailable
from freshet.models.recommend.candidates import EXPLORATION, OF_ONE_LIST, from_cache, from_catalog, from_index
from freshet.models.recommend.exploration.policy import Explorer
from freshet.models.recommend.pipeline import OnStep, ignore_step, recommend
from freshet.models.recommend.slate import Slate
from freshet.models.users.state import Pooling, UserState
from freshet.models.users.view import UserView
from freshet.streams import metrics
from freshet.streams.agents.impression_ranker import ImpressionRanker
from freshet.streams.agents.user_agent import Applied
from freshet.streams.index.bundle_index import BundleIndex
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.outbox import Outbox
from freshet.streams.kafka.progress import Progress
from freshet.streams.kafka.reader import RecordReader
from freshet.streams.records.intake import Intake
from freshet.streams.records.log_context import handled, handling
from freshet.streams.records.tracing import STREAM, headers_of
from freshet.streams.settings import Settings
from freshet.streams.state.editorial_rules import EditorialRules
from freshet.streams.state.experiments import Experiments
from freshet.streams.state.ranker_weights import Rankers
from freshet.streams.state.user_states import UserStates

if TYPE_CHECKING:
    from freshet.streams.records.otlp_tracer import RecordTrace

log = logging.getLogger(__name__)

_MAX_CACHED_ANSWERS = 20_000
_MAX_AT_ONCE = 16
"""Requests that search a remote index concurrently; the slowest delays all of them."""
_MAX_IN_TURN = 8
_MAX_SEARCHES = 4

_DESCRIBED = ("request_id", "degraded", "bundle", "ranker", "experiment", "variant", "user_clicks")
"""Fields of an answer in its trace."""

Degraded = Literal["cached", "trending"] | None


@dataclass(frozen=True, slots=True)
class _Vectors:
    """Vectors, index and pooling of the bundle that answers a request."""

    pooling: Pooling
    catalog: ArticleCatalog
    index: BundleIndex
    population: Callable[[float], FloatVector]

    @property
    def pooling_of_unknown_users(self) -> Pooling | None:
        """Pooling that gives unknown users a vector per head; ``None`` if one vector serves all heads."""
        pooling = self.pooling
        plain = pooling.prior is None and not pooling.layers and not pooling.normalise
        return None if plain else pooling


class RecommenderAgent:
    """Answers requests with the best k articles or with a ranking of named candidates.

    Args:
        settings: Topic names and where the index is.
        states: States of the users.
        catalog: Vectors and statistics of articles.
        index: Source of candidates.
        rankers: Rankers by name.
        experiments: Assigns users to variants.
        outbox: Receives answers and dead letters.
        progress: Partitions that this worker owns.
        population: Mean vector (d,) of clicked articles at a time.
        impression_ranker: Remembers answers, to learn from their impressions.
        explorer: Policy that explores little-known articles.
        bursts: News ids of articles that are bursting.
        push_users: Users who want a fresh list after each of their clicks.
        before_answers: Called before a batch of requests is answered.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        states: UserStates,
        catalog: ArticleCatalog,
        index: BundleIndex,
        rankers: Rankers,
        experiments: Experiments,
        outbox: Outbox,
        progress: Progress,
        population: Callable[[float], FloatVector],
        impression_ranker: ImpressionRanker,
        explorer: Explorer | None = None,
        bursts: Callable[[], Sequence[str]] = tuple,
        push_users: Container[str] = frozenset(),
        before_answers: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._states = states
        self._catalog = catalog
        self._index = index
        self._rankers = rankers
        self._experiments = experiments
        self._outbox = outbox
        self._progress = progress
        self._population = population
        self._impression_ranker = impression_ranker
        self._explorer = explorer
        self._bursts = bursts
        self._push_users = push_users
        self._before_answers = before_answers
        self._behind = False
        """Whether more requests wait than may search a remote index at once."""
        self._intake = Intake(settings, outbox, STREAM)
        self._answers = topic_name(settings, topics.RECOMMENDATIONS.name)
        self._requests = topic_name(settings, topics.REQUESTS.name)
        self._cache: OrderedDict[str, dict[str, tuple[str, ...]]] = OrderedDict()
        """Sources by news id of the last answer to each user."""
        # Only for a remote index. Qdrant Edge holds the interpreter's lock while it searches: in a thread it
        # stalls the event loop for whole switch intervals instead of the 2 ms of a search.
        self._threads: ThreadPoolExecutor | None = None
        if settings.qdrant_url is not None:
            self._threads = ThreadPoolExecutor(_MAX_SEARCHES, thread_name_prefix="index")
        self.editorial_rules = EditorialRules()
        """Editorial rules for all answers."""

    async def run(self, reader: RecordReader) -> None:
        """Answers the requests of ``reader``; ends without a commit if an answer cannot be delivered."""
        # The answers to a batch leave together, so that a batch is small where one search follows another.
        at_once = _MAX_IN_TURN if self._threads is None else _MAX_AT_ONCE
        async for generation, messages in reader.batches(at_once):
            if self._progress.may_handle(generation):
                await self._answer_all(messages)
                self._progress.done(messages)
                self._intake.traces.done()

    async def push(self, clicks: list[Applied], outbox: Outbox) -> None:
        """Sends a fresh list to each user of ``clicks`` who has push on."""
        wanted = [click for click in clicks if click.user[1] in self._push_users]
        traces: list[RecordTrace] = []
        for click in wanted:
            partition, user_id = click.user
            request = RecommendationRequest(
                request_id=f"push-{click.offset_name}", user_id=user_id, time=from_unix_s(click.time_s)
            )
            trace = None if click.trace is None else click.trace.child("push")
            answering = self._answer(request, partition, pushed=True, trace=trace)
            answer = await handled(answering, None, request.request_id, trace)
            outbox.add_record(self._answers, partition, user_id.encode(), _encoded(answer), headers_of(trace))
            if trace is not None:
                traces.append(trace)
        if wanted:
            await outbox.flush()
        for trace in traces:
            trace.end_step("deliver")
            trace.end()

    def forget(self, user_id: str) -> None:
        """Drops the remembered answers to the user."""
        self._cache.pop(user_id, None)
        self._impression_ranker.forget(user_id)

    def close(self) -> None:
        """Ends the threads that search."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _answer_all(self, messages: list[Any]) -> None:
        started = time.perf_counter()
        self._behind = self._threads is not None and self._waiting() - len(messages) >= _MAX_AT_ONCE
        asked: list[tuple[Any, RecommendationRequest]] = []
        for message in messages:
            request = self._intake.handle(message, self._decode)
            if request is not None:
                asked.append((message, request))
        self._before_answers()
        answers = await asyncio.gather(
            *(self._answer_to(message, request) for message, request in asked), return_exceptions=True
        )
        self._intake.traces.end_step("rest of the batch")
        for (message, request), answer in zip(asked, answers, strict=True):
            if isinstance(answer, Exception):
                with handling(message, request.request_id, self._intake.traces.of(message)):
                    log.error("request %s@%d", message.topic, message.offset, exc_info=answer)
                    self._intake.dead_letter(message, f"cannot be answered: {answer!r}")
            elif isinstance(answer, BaseException):
                raise answer
            else:
                headers = self._intake.traces.headers(message)
                self._outbox.add_record(
                    self._answers, message.partition, message.key, _encoded(answer), headers
                )
        await self._outbox.flush()
        now_s = time.time()
        for message, request in asked:
            kind = "recommend" if request.candidates is None else "rank"
            metrics.REQUEST_SECONDS.labels(kind).observe(max(0.0, now_s - message.timestamp / 1_000))
        metrics.BATCH_EVENTS.labels("recommender").observe(len(messages))
        metrics.PROCESSING_SECONDS.labels("recommender").observe(time.perf_counter() - started)

    def _waiting(self) -> int:
        """Number of requests known to have arrived and not been answered."""
        return sum(lag for tp, lag in self._progress.lags().items() if tp.topic == self._requests)

    def _decode(self, message: Any) -> RecommendationRequest:
        request = self._intake.of_user(message, RecommendationRequest)
        now_s = time.time()
        if self._intake.checked_time_s(request.time, now_s) < now_s:
            return request
        return request.model_copy(update={"time": from_unix_s(now_s)})

    async def _answer_to(self, message: Any, request: RecommendationRequest) -> Recommendation:
        trace = self._intake.traces.of(message)
        if trace is not None and self._intake.traces.tracer is not None:
            trace.end_step("wait for its turn")
            trace.follows(self._intake.traces.tracer.last_click(request.user_id), "last click")
        answering = self._answer(request, message.partition, trace=trace)
        return await handled(answering, message, request.request_id, trace)

    async def _answer(
        self,
        request: RecommendationRequest,
        partition: int,
        *,
        pushed: bool = False,
        trace: RecordTrace | None = None,
    ) -> Recommendation:
        on_step = ignore_step if trace is None else trace.end_step
        now_s = to_unix_s(request.time)
        treatment = self._experiments.treatment(request.user_id, request.time)
        ranker = self._rankers.get() if treatment is None else treatment.ranker
        bundle = None if treatment is None else treatment.bundle
        state = self._states.get(partition, request.user_id)
        if bundle is None:
            vectors = _Vectors(self._states.pooling, self._catalog, self._index, self._population)
        else:
            vectors = _Vectors(bundle.pooling, bundle.catalog, bundle.index, bundle.population)
            state = bundle.state(state)
        if state is None and request.history:
            state = UserState.empty(vectors.pooling)
            state.seed_history(now_s, request.history, vectors.catalog)
        user = UserView.of(state, now_s, vectors.population(now_s), vectors.pooling_of_unknown_users)
        on_step("state")
        book, degraded = self.editorial_rules.book, None
        recommend_to_user = partial(recommend, request, user, vectors.catalog, ranker, now_s, book=book)
        if request.candidates is not None:
            found = recommend_to_user(on_step=on_step)
        else:
            found, degraded = await self._recommended(
                recommend_to_user, request.user_id, vectors.index, on_step
            )
            explored = sum(EXPLORATION in item.sources for item in found.items)
            metrics.RECOMMENDED.labels("explored").inc(explored)
            metrics.RECOMMENDED.labels("ranked").inc(len(found.items) - explored)
        self._impression_ranker.answered(
            request, now_s, found, None if bundle is None else bundle.serving.model
        )
        metrics.CANDIDATES.observe(len(found.items))
        if degraded is not None:
            metrics.DEGRADED.labels(degraded).inc()
        answer = Recommendation(
            request_id=request.request_id,
            user_id=request.user_id,
            time=request.time,
            bundle=vectors.pooling.bundle,
            ranker=ranker.id,
            items=tuple(found.items),
            user_clicks=user.clicks,
            unmet=found.unmet,
            candidates=found.drawn_from,
            degraded=degraded,
            pushed=pushed,
            experiment=None if treatment is None else treatment.experiment,
            variant=None if treatment is None else treatment.variant,
        )
        self._experiments.answered(answer, ranked=request.candidates is not None)
        if trace is not None:
            described = {name: getattr(answer, name) for name in _DESCRIBED}
            trace.describe(items=len(answer.items), **described)
        return answer

    async def _recommended(
        self, recommend_to_user: Callable[..., Slate], user_id: str, index: BundleIndex, on_step: OnStep
    ) -> tuple[Slate, Degraded]:
        """The slate from the index, or a degraded one from the cache or the catalog."""
        bursts = self._bursts()

        def search(deadline_s: float) -> Slate:
            def on_step_in_time(step: str) -> None:
                if time.monotonic() < deadline_s:  # else the answer is on its way without this one
                    on_step(step)

            with index.answering(deadline_s) as search_index:
                source = from_index(search_index, bursts)
                return recommend_to_user(source=source, explorer=self._explorer, on_step=on_step_in_time)

        try:
            found = await self._in_time(search, index.answer_timeout_s)
        except IndexUnavailable as error:
            log.debug("answered without the index: %s", error)
            found = recommend_to_user(source=from_cache(self._cache.get(user_id, {})))
            return (found, "cached") if found.items else (recommend_to_user(source=from_catalog), "trending")
        self._cache[user_id] = {
            item.news_id: again
            for item in found.items
            if (again := tuple(source for source in item.sources if source not in OF_ONE_LIST))
            or not item.sources
        }
        self._cache.move_to_end(user_id)
        if len(self._cache) > _MAX_CACHED_ANSWERS:
            self._cache.popitem(last=False)
        return found, None

    async def _in_time(self, search: Callable[[float], Slate], timeout_s: float) -> Slate:
        """The slate that ``search`` finds before its deadline.

        Raises:
            IndexUnavailable: It found nothing before the deadline.
        """
        if self._threads is None:
            return search(math.inf)
        if self._behind:
            raise IndexUnavailable("more requests wait than it can be asked for in time")
        loop = asyncio.get_running_loop()
        searching = loop.run_in_executor(self._threads, search, time.monotonic() + timeout_s)
        await asyncio.wait([searching], timeout=timeout_s)
        if searching.done():
            return await searching
        searching.cancel()
        raise IndexUnavailable(f"no answer within {timeout_s:g} s")


def _encoded(answer: Recommendation) -> bytes:
    """Encodes an answer, without explanations if they make the record too large."""
    value = answer.to_json()
    if len(value) <= MAX_EVENT_BYTES:
        return value
    bare = tuple(RecommendedArticle(news_id=item.news_id, score=item.score) for item in answer.items)
    return answer.model_copy(update={"items": bare}).to_json()
