"""What a replay that scores promises, on the real broker: it asks before it reveals, and loses nothing.

The recommender is a stand-in that answers in any order.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from freshet.models.events.events import Impression, Recommendation, RecommendationRequest, RecommendedArticle
from freshet.streams.kafka.connection import client_config, topic_name
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.kafka.topics import IMPRESSIONS, RECOMMENDATIONS, REQUESTS
from freshet.streams.settings import Settings
from freshet.workers.replay.report import ReplayError, ReplayOptions, ReplayProgress
from freshet.workers.replay.run import replay
from tests.integration.replayed_log import all_of, ids, impression, mind_folder, reading, revealed, run

pytestmark = pytest.mark.broker


@pytest.fixture(autouse=True)
def topics(settings: Settings) -> None:
    ensure_topics(settings)


class Recommender:
    """Answers rank requests; what is seen of the impressions at each step is written down."""

    def __init__(
        self,
        settings: Settings,
        numbers: dict[tuple[str, float], int],
        reorder: Callable[[list[RecommendationRequest]], Iterable[RecommendationRequest]] = list,
    ) -> None:
        self.settings = settings
        self.numbers = numbers
        self.reorder = reorder
        self.requests: list[RecommendationRequest] = []
        self.revealed_at_request: dict[int, int] = {}
        self.revealed_before_answer: dict[int, int] = {}

    def number(self, request: RecommendationRequest) -> int:
        return self.numbers[request.user_id, request.time.timestamp()]

    async def serve(self) -> None:
        producer = AIOKafkaProducer(**client_config(self.settings))
        await producer.start()
        try:
            async with (
                reading(self.settings, REQUESTS) as requests,
                reading(self.settings, IMPRESSIONS) as impressions,
            ):
                impressions.pause(*impressions.assignment())
                while True:
                    polled = await requests.getmany(timeout_ms=50)
                    batch = [
                        RecommendationRequest.from_json(record.value)
                        for records in polled.values()
                        for record in records
                    ]
                    seen = await revealed(impressions) if batch else 0
                    for request in batch:
                        self.requests.append(request)
                        self.revealed_at_request[self.number(request)] = seen
                    for request in self.reorder(batch):
                        self.revealed_before_answer[self.number(request)] = await revealed(impressions)
                        await self.answer(producer, request)
        finally:
            await producer.stop()

    async def answer(self, producer: AIOKafkaProducer, request: RecommendationRequest) -> None:
        assert request.candidates is not None
        best_first = sorted(request.candidates)
        answer = Recommendation(
            request_id=request.request_id,
            user_id=request.user_id,
            time=request.time,
            bundle="b",
            ranker="r",
            items=tuple(
                RecommendedArticle(news_id=news_id, score=-float(rank))
                for rank, news_id in enumerate(best_first)
            ),
        )
        name = topic_name(self.settings, RECOMMENDATIONS.name)
        await producer.send_and_wait(name, answer.to_json(), key=request.user_id.encode())


@asynccontextmanager
async def serving(recommender: Recommender) -> AsyncIterator[Recommender]:
    task = asyncio.create_task(recommender.serve())
    try:
        yield recommender
    finally:
        task.cancel()
        done, _ = await asyncio.wait([task])
        if not task.cancelled():
            done.pop().result()


def numbers_of(impressions: int, users: int = 7) -> dict[tuple[str, float], int]:
    return {
        (event.user_id, event.time.timestamp()): number
        for number in range(impressions)
        for event in [impression(number, users)]
    }


async def test_no_impression_is_revealed_before_all_answers_up_to_it_have_come(
    settings: Settings, tmp_path: Path
) -> None:
    recommender = Recommender(settings, numbers_of(150, 40), reorder=reversed)
    async with serving(recommender):
        report = await run(settings, mind_folder(tmp_path / "mind", 150, 40), score=True, window=16)
    assert len(recommender.revealed_before_answer) == 150
    early = {n: seen for n, seen in recommender.revealed_before_answer.items() if seen > n}
    assert not early
    assert report.score is not None
    assert (report.score.asked, report.score.unanswered) == (150, 0)


async def test_a_user_is_asked_about_again_only_after_the_reveal_of_the_one_before(
    settings: Settings, tmp_path: Path
) -> None:
    recommender = Recommender(settings, numbers_of(100, 3))
    async with serving(recommender):
        await run(settings, mind_folder(tmp_path / "mind", 100, 3), score=True, window=32)
    for number, seen in recommender.revealed_at_request.items():
        before = [n for n in range(number) if impression(n, 3).user_id == impression(number, 3).user_id]
        assert seen > max(before, default=-1)


async def test_an_impression_names_the_request_that_ranked_it(settings: Settings, tmp_path: Path) -> None:
    recommender = Recommender(settings, numbers_of(10))
    async with serving(recommender):
        await run(settings, mind_folder(tmp_path / "mind", 10), score=True)
    asked = {request.request_id: recommender.number(request) for request in recommender.requests}
    for event in await all_of(settings, IMPRESSIONS, Impression):
        assert event.request_id is not None
        assert f"I{asked[event.request_id]}" == event.impression_id


async def test_missing_answers_are_counted_and_the_replay_goes_on(settings: Settings, tmp_path: Path) -> None:
    def ignore_some(batch: list[RecommendationRequest]) -> Iterable[RecommendationRequest]:
        return [request for request in batch if recommender.number(request) not in {3, 11}]

    recommender = Recommender(settings, numbers_of(30), reorder=ignore_some)
    async with serving(recommender):
        report = await run(settings, mind_folder(tmp_path / "mind", 30), score=True, answer_timeout_s=1.0)
    assert report.score is not None
    assert report.score.unanswered == 2
    assert {ranking.impressions for ranking in report.score.rankings.values()} == {28}
    assert len(await ids(settings)) == 30


async def test_a_replay_that_nobody_answers_ends_with_advice(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="freshet stream"):
        await run(
            settings, mind_folder(tmp_path / "mind", 60, 60), score=True, window=20, answer_timeout_s=0.2
        )


async def test_a_stop_while_scoring_loses_and_repeats_nothing(settings: Settings, tmp_path: Path) -> None:
    folder = mind_folder(tmp_path / "mind", 120)
    stop = threading.Event()

    def stop_in_the_middle(progress: ReplayProgress) -> None:
        if progress.stage == "impressions" and progress.done >= 30:
            stop.set()

    options = ReplayOptions(score=True, window=8, wait_for_vectors=False)
    async with serving(Recommender(settings, numbers_of(120))):
        first = await asyncio.to_thread(replay, settings, folder, options, stop_in_the_middle, stop)
        assert first.stopped
        assert 30 <= first.reached < 120
        second = await run(settings, folder, score=True, resume=True)
    assert second.published.impressions == 120 - first.reached
    assert sorted(await ids(settings)) == sorted(f"I{number}" for number in range(120))
