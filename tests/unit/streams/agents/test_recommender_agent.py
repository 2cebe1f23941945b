"""An index that goes down makes answers worse, never wrong and never missing."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from faust.types import TP

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.exact_index import ExactIndex
from freshet.models.events.editorial_rules import Pin
from freshet.models.events.events import Control, Filters, Recommendation, RecommendationRequest, from_unix_s
from freshet.models.ports import EVERYTHING, ArticleFilter, FloatMatrix, Hit, IndexedArticle, IndexUnavailable
from freshet.models.ranking.linear import LinearRanker
from freshet.models.recommend.exploration.plackett_luce import PlackettLuceExplorer
from freshet.models.recommend.exploration.policy import Explorer
from freshet.models.users.state import UserState
from freshet.streams.agents.impression_ranker import ImpressionRanker
from freshet.streams.agents.recommender_agent import RecommenderAgent
from freshet.streams.index.bundle_index import BundleIndex
from freshet.streams.kafka.outbox import Outbox, partition_of
from freshet.streams.kafka.reader import RecordBatch
from freshet.streams.monitoring.rolling_auc import RollingAuc
from freshet.streams.settings import Settings
from freshet.streams.state.experiments import Experiments
from freshet.streams.state.ranker_weights import Rankers
from freshet.streams.state.serving import pooling
from tests.waiting import HANG_S

_D = 4
_NOW_S = 1_767_000_000.0
_SETTINGS = Settings(dimension=_D, topic_prefix="t.")


class FragileIndex(ExactIndex):
    """Answers until it is down, or hangs."""

    down = False

    def __init__(self, d: int) -> None:
        super().__init__(d)
        self.goes_on = threading.Event()
        self.goes_on.set()

    def search(self, queries: FloatMatrix, k: int, where: ArticleFilter = EVERYTHING) -> list[list[Hit]]:
        assert self.goes_on.wait(HANG_S)
        if self.down:
            raise IndexUnavailable("down")
        return super().search(queries, k, where)


class Answers(Outbox):
    """Keeps what is delivered."""

    def __init__(self) -> None:
        super().__init__(_SETTINGS)
        self.delivered: list[tuple[str, bytes | None]] = []

    def add_record(self, topic: str, partition: int, key: bytes | None, value: bytes | None, *_: Any) -> None:
        self.delivered.append((topic, value))

    async def flush(self) -> dict[tuple[str, int], int]:
        return {}


class World:
    """A recommender agent, the user's state and the articles that it knows of."""

    def __init__(
        self,
        explorer: Explorer | None = None,
        bursts: tuple[str, ...] = (),
        settings: Settings = _SETTINGS,
        answer_timeout_s: float = math.inf,
    ) -> None:
        self.catalog = ArticleCatalog(_D)
        self.index = FragileIndex(_D)
        self.bundle_index = BundleIndex(_D, lambda bundle: self.index, answer_timeout_s=answer_timeout_s)
        self.bundle_index.open("b1")
        self.outbox = Answers()
        self.state: UserState | None = None
        self.done: list[Any] = []
        states: Any = SimpleNamespace(get=lambda partition, user: self.state, pooling=pooling(_SETTINGS))
        self.waiting = 0
        """Requests that have arrived and are not handled."""
        progress: Any = SimpleNamespace(
            may_handle=lambda generation: True,
            done=self.done.extend,
            lags=lambda: {TP("t.recommendation-requests", 0): self.waiting, TP("t.clicks", 0): 1_000},
        )
        rankers = Rankers(LinearRanker())
        self.agent = RecommenderAgent(
            settings=settings,
            states=states,
            catalog=self.catalog,
            index=self.bundle_index,
            rankers=rankers,
            experiments=Experiments(rankers),
            outbox=self.outbox,
            progress=progress,
            population=lambda now_s: np.full(_D, 0.5, np.float32),
            impression_ranker=ImpressionRanker(
                settings=_SETTINGS,
                catalog=self.catalog,
                rankers=rankers,
                population=lambda now_s: np.full(_D, 0.5, np.float32),
                rolling_auc=RollingAuc(),
            ),
            explorer=explorer,
            bursts=lambda: bursts,
        )

    def close(self) -> None:
        self.agent.close()
        self.bundle_index.close()

    def publish(self, news_id: str, category: str, *, indexed: bool = True) -> None:
        vector = np.eye(_D, dtype=np.float32)[len(news_id) % _D]
        self.catalog.put_article(news_id, vector, _NOW_S - 60.0, category=category)
        if indexed:
            self.index.upsert([IndexedArticle(news_id, vector, _NOW_S - 60.0, category=category)])

    async def ask(self, **asked: Any) -> Recommendation:
        (answer,) = await self.ask_all(
            RecommendationRequest(request_id="R", user_id="U", time=from_unix_s(_NOW_S), **asked)
        )
        return answer

    async def ask_all(self, *requests: RecommendationRequest) -> Sequence[Recommendation]:
        records = [
            SimpleNamespace(
                topic="t.recommendation-requests",
                partition=partition_of(request.user_id, _SETTINGS.partitions),
                offset=i,
                key=request.user_id.encode(),
                value=request.to_json(),
                timestamp=0,
            )
            for i, request in enumerate(requests)
        ]

        async def batches(max_records: int) -> AsyncIterator[RecordBatch]:
            yield RecordBatch(1, records)

        reader: Any = SimpleNamespace(batches=batches)
        already = len(self.outbox.delivered)
        await self.agent.run(reader)
        assert self.done[-len(records) :] == records
        delivered = self.outbox.delivered[already:]
        assert {topic for topic, _ in delivered} == {"t.recommendations"}
        return [Recommendation.from_json(value) for _, value in delivered]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    for i in range(6):
        world.publish(f"S{i}", "sport")
        world.publish(f"P{i}", "politics")
    yield world
    world.close()


def _ids(answer: Recommendation) -> set[str]:
    return {item.news_id for item in answer.items}


async def test_a_user_recommended_to_before_gets_the_same_articles(world: World) -> None:
    before = await world.ask(k=5)
    assert before.degraded is None
    world.index.down = True
    after = await world.ask(k=5)
    assert after.degraded == "cached"
    assert _ids(after) == _ids(before)
    assert len((await world.ask(k=2)).items) == 2


async def test_a_request_ahead_of_the_clock_is_answered_as_of_now(world: World) -> None:
    """Nor does it see what is under embargo until then."""
    before_s = time.time()
    world.catalog.put_article("embargo", np.ones(_D, np.float32), before_s + 200.0)
    world.index.upsert([IndexedArticle("embargo", np.ones(_D, np.float32), before_s + 200.0)])
    ahead = RecommendationRequest(request_id="R", user_id="U", time=from_unix_s(before_s + 250.0), k=20)
    (answer,) = await world.ask_all(ahead)
    assert before_s - 1e-3 <= answer.time.timestamp() <= time.time()
    assert "embargo" not in _ids(answer)
    assert len(_ids(answer)) == 12


async def test_what_is_served_from_before_still_is_what_is_asked_for(world: World) -> None:
    await world.ask(k=12)
    world.index.down = True
    world.catalog.set_withdrawn("S0", True)
    world.state = UserState.empty(pooling(_SETTINGS))
    world.state.apply_click(("clicks", 0, 0), _NOW_S - 1.0, "S1", world.catalog, impression_known=False)
    filters = Filters(categories=("sport",), exclude_ids=("S2",))
    answer = await world.ask(k=12, filters=filters)
    assert answer.degraded == "cached"
    assert answer.user_clicks == 1
    assert _ids(answer) == {"S3", "S4", "S5"}


async def test_what_was_pinned_is_no_candidate_after_its_rule_is_gone(world: World) -> None:
    world.publish("X-old", "sport", indexed=False)
    rules, time = world.agent.editorial_rules, from_unix_s(_NOW_S)
    pin = Pin(name="lead", news_id="X-old")
    rules.apply(Control(kind="rule-set", subject="lead", time=time, rule=pin))
    before = await world.ask(k=3)
    assert before.items[0].news_id == "X-old"
    assert before.items[0].rules == ("lead",)
    world.index.down = True
    assert (await world.ask(k=3)).items[0].news_id == "X-old"
    rules.apply(Control(kind="rule-removed", subject="lead", time=time))
    after = await world.ask(k=3)
    assert after.degraded == "cached"
    assert _ids(after) == _ids(before) - {"X-old"}


async def test_where_nothing_from_before_fits_what_is_known_does(world: World) -> None:
    await world.ask(k=12, filters=Filters(categories=("sport",)))
    world.publish("P-new", "politics", indexed=False)
    world.index.down = True
    answer = await world.ask(k=12, filters=Filters(categories=("politics",)))
    assert answer.degraded == "trending"
    assert _ids(answer) == {"P-new", *(f"P{i}" for i in range(6))}


async def test_given_candidates_are_ranked_as_ever(world: World) -> None:
    before = await world.ask(candidates=("S1", "P1", "X"))
    world.index.down = True
    after = await world.ask(candidates=("S1", "P1", "X"))
    assert after.degraded is None
    assert after == before


async def test_an_index_that_is_back_is_asked_again(world: World) -> None:
    world.index.down = True
    assert (await world.ask()).degraded == "trending"
    world.index.down = False
    assert (await world.ask()).degraded is None


async def test_an_explored_answer_says_how_likely_it_was_and_what_it_was_drawn_from() -> None:
    world = World(PlackettLuceExplorer(1.0))
    for i in range(6):
        world.publish(f"S{i}", "sport")
    answer, again = [await world.ask(k=3) for _ in range(2)]
    assert all(0 < (item.propensity or 0) < 1 for item in answer.items)
    assert all("exploration" in item.sources for item in answer.items)
    assert set(answer.candidates) == {f"S{i}" for i in range(6)}
    assert [item.news_id for item in again.items] == [item.news_id for item in answer.items]
    world.index.down = True
    cached = await world.ask(k=3)
    assert cached.degraded == "cached"
    assert not any("exploration" in item.sources for item in cached.items)
    world.close()


async def test_what_bursts_is_a_candidate_wherever_else_it_was_not_found() -> None:
    world = World(bursts=("X1",))
    world.publish("S1", "sport")
    world.publish("X1", "sport", indexed=False)
    answer = await world.ask(k=2)
    assert {item.news_id: "burst" in item.sources for item in answer.items} == {"S1": False, "X1": True}
    world.close()


async def test_an_index_elsewhere_that_hangs_holds_up_nobody_and_is_asked_again_when_it_is_back() -> None:
    elsewhere = _SETTINGS.model_copy(update={"qdrant_url": "http://127.0.0.1:9"})
    world = World(settings=elsewhere, answer_timeout_s=0.2)
    world.bundle_index.prepare()
    world.publish("S1", "sport")
    requests = [
        RecommendationRequest(request_id=f"R{i}", user_id=f"U{i}", time=from_unix_s(_NOW_S))
        for i in range(100)
    ]
    world.index.goes_on.clear()
    # While it hangs, which it does until the test lets it go: the threads that search do not come back.
    answers = await world.ask_all(*requests)
    assert [answer.request_id for answer in answers] == [request.request_id for request in requests]
    assert {answer.degraded for answer in answers} == {"trending"}
    assert {item.news_id for answer in answers for item in answer.items} == {"S1"}
    world.index.goes_on.set()
    async with asyncio.timeout(HANG_S):
        while (await world.ask()).degraded is not None:
            await asyncio.sleep(0.05)
    world.close()


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_while_many_requests_wait_none_is_searched_for_in_an_index_elsewhere(elsewhere: bool) -> None:
    url = "http://127.0.0.1:9" if elsewhere else None
    world = World(settings=_SETTINGS.model_copy(update={"qdrant_url": url}), answer_timeout_s=HANG_S)
    world.bundle_index.prepare()
    world.publish("S1", "sport")
    assert (await world.ask()).degraded is None
    world.waiting = 100
    assert (await world.ask()).degraded == ("cached" if elsewhere else None)
    world.waiting = 1
    assert (await world.ask()).degraded is None
    world.close()
