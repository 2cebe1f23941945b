"""What a replay promises, on the real broker. The recommender is a stand-in that answers in any order."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from freshet.models.events import (
    Article,
    ArticleVector,
    DeadLetter,
    Event,
    Impression,
    Recommendation,
    RecommendationRequest,
    RecommendedArticle,
    from_unix_s,
)
from freshet.models.mind import behaviors_line, news_line
from freshet.streams.kafka import client_config, topic_name
from freshet.streams.settings import Settings
from freshet.streams.topic_admin import ensure_topics
from freshet.streams.topics import (
    ARTICLE_VECTORS,
    ARTICLES,
    DEAD_LETTERS,
    IMPRESSIONS,
    RECOMMENDATIONS,
    REQUESTS,
    Topic,
)
from freshet.workers.replay import replay
from freshet.workers.replay_report import ReplayError, ReplayOptions, ReplayProgress, ReplayReport

pytestmark = pytest.mark.broker

E = TypeVar("E", bound=Event)

START_S = 1_573_290_000.0
DEADLINE_S = 60.0


@pytest.fixture(autouse=True)
def topics(settings: Settings) -> None:
    ensure_topics(settings)


def impression(number: int, users: int = 7) -> Impression:
    candidates = tuple(f"N{(number + step) % 10}" for step in range(4))
    return Impression(
        impression_id=f"I{number}",
        user_id=f"U{number * 5 % users}",
        time=from_unix_s(START_S + number),
        candidates=candidates,
        clicked=(candidates[number % 4],),
        history=("N1", "N2"),
    )


def mind_folder(path: Path, impressions: int, users: int = 7) -> Path:
    """A folder whose lines are not in the order of time."""
    path.mkdir()
    articles = [
        Article(news_id=f"N{n}", published_at=from_unix_s(0), title=f"Title {n}", category="news")
        for n in range(10)
    ]
    (path / "news.tsv").write_text("".join(map(news_line, articles)))
    numbers = sorted(range(impressions), key=lambda n: n * 7_919 % 1_009)
    (path / "behaviors.tsv").write_text("".join(behaviors_line(impression(n, users)) for n in numbers))
    return path


QUICK = {"wait_for_vectors": False, "answer_timeout_s": 20.0}


async def run(settings: Settings, folder: Path, **options: object) -> ReplayReport:
    return await asyncio.to_thread(replay, settings, folder, ReplayOptions(**(QUICK | options)))


@asynccontextmanager
async def reading(settings: Settings, topic: Topic) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(**client_config(settings), enable_auto_commit=False)
    await consumer.start()
    try:
        name = topic_name(settings, topic.name)
        consumer.assign([TopicPartition(name, number) for number in range(settings.partitions)])
        await consumer.seek_to_beginning()
        yield consumer
    finally:
        await consumer.stop()


async def all_of(settings: Settings, topic: Topic, event: type[E]) -> list[E]:
    """Everything on a topic, each partition in its order."""
    async with reading(settings, topic) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        events = []
        async with asyncio.timeout(DEADLINE_S):
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    events += [event.from_json(record.value) for record in records]
        return events


async def ids(settings: Settings) -> list[str]:
    return [event.impression_id for event in await all_of(settings, IMPRESSIONS, Impression)]


async def revealed(consumer: AIOKafkaConsumer) -> int:
    return sum((await consumer.end_offsets(consumer.assignment())).values())


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


async def test_each_line_is_published_once_with_its_clicks_and_each_users_in_the_order_of_time(
    settings: Settings, tmp_path: Path
) -> None:
    report = await run(settings, mind_folder(tmp_path / "mind", 300))
    events = await all_of(settings, IMPRESSIONS, Impression)
    assert sorted(events, key=lambda event: event.time) == [impression(number) for number in range(300)]
    for user in range(7):
        times = [event.time for event in events if event.user_id == f"U{user}"]
        assert times == sorted(times)
    articles = await all_of(settings, ARTICLES, Article)
    assert {article.news_id for article in articles} == {f"N{n}" for n in range(10)}
    assert (report.published.impressions, report.published.articles, report.reached) == (300, 10, 300)


async def test_no_article_is_published_after_it_was_first_shown(settings: Settings, tmp_path: Path) -> None:
    await run(settings, mind_folder(tmp_path / "mind", 20))
    published = {a.news_id: a.published_at for a in await all_of(settings, ARTICLES, Article)}
    for event in await all_of(settings, IMPRESSIONS, Impression):
        assert all(published[news_id] < event.time for news_id in event.candidates)


async def test_bad_lines_become_dead_letters_with_file_and_line_and_nothing_stops(
    settings: Settings, tmp_path: Path
) -> None:
    folder = mind_folder(tmp_path / "mind", 20)
    with (folder / "behaviors.tsv").open("ab") as file:
        file.write(b"I20\tU1\tyesterday\t\tN1-0 N2-1\n")
        file.write(b"\xff\xfe\n")
        file.write(b"I21\tU1\t11/9/2019 9:00:05 AM\t\tN1 N2\n")
        file.write(b"I 22\tU1\t11/9/2019 9:00:05 AM\t\tN1-0 N2-1\n")
    with (folder / "news.tsv").open("a") as file:
        file.write("N11\tnews\n")
    report = await run(settings, folder)
    letters = await all_of(settings, DEAD_LETTERS, DeadLetter)
    assert sorted((letter.source, letter.line) for letter in letters) == [
        ("behaviors.tsv", 21),
        ("behaviors.tsv", 22),
        ("behaviors.tsv", 23),
        ("behaviors.tsv", 24),
        ("news.tsv", 11),
    ]
    assert all(letter.reason and letter.value for letter in letters)
    assert report.published.bad_lines == 5
    assert len(await ids(settings)) == 20


async def test_two_runs_with_resume_publish_every_line_once(settings: Settings, tmp_path: Path) -> None:
    folder = mind_folder(tmp_path / "mind", 50)
    with (folder / "behaviors.tsv").open("a") as file:
        file.write("not a line\n")
    first = await run(settings, folder, limit=20)
    assert (first.reached, first.stopped) == (20, False)
    second = await run(settings, folder, resume=True)
    assert (second.started_at, second.reached, second.resumed) == (20, 50, True)
    third = await run(settings, folder, resume=True)
    assert third.published.impressions == 0
    assert sorted(await ids(settings)) == sorted(f"I{number}" for number in range(50))
    assert len(await all_of(settings, ARTICLES, Article)) == 10
    assert len(await all_of(settings, DEAD_LETTERS, DeadLetter)) == 1


async def test_a_run_without_resume_starts_again(settings: Settings, tmp_path: Path) -> None:
    folder = mind_folder(tmp_path / "mind", 10)
    await run(settings, folder, limit=5)
    assert (await run(settings, folder)).published.impressions == 10


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


async def test_the_lag_of_the_stream_stays_within_its_bound(settings: Settings, tmp_path: Path) -> None:
    lags: list[int] = []
    name = topic_name(settings, IMPRESSIONS.name)
    consumer = AIOKafkaConsumer(
        name,
        **client_config(settings),
        group_id=topic_name(settings, "stream"),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )

    async def read_slowly() -> None:
        await consumer.start()
        try:
            while True:
                records = await consumer.getmany(timeout_ms=50, max_records=10)
                done = {tp: batch[-1].offset + 1 for tp, batch in records.items()}
                ends = await consumer.end_offsets(consumer.assignment())
                if consumer.assignment():
                    committed = {tp: await consumer.committed(tp) or 0 for tp in consumer.assignment()}
                    lags.append(sum(end - committed[tp] for tp, end in ends.items()))
                if done:
                    await consumer.commit(done)
        finally:
            await consumer.stop()

    task = asyncio.create_task(read_slowly())
    try:
        report = await run(settings, mind_folder(tmp_path / "mind", 300), max_lag=40)
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert report.published.impressions == 300
    assert report.peak_lag is not None
    assert report.peak_lag <= 40
    assert 0 < max(lags) <= 40


async def test_without_a_stream_a_replay_ends_with_advice_and_can_be_resumed(
    settings: Settings, tmp_path: Path
) -> None:
    folder = mind_folder(tmp_path / "mind", 60)
    with pytest.raises(ReplayError, match="--max-lag 0"):
        await run(settings, folder, max_lag=25, lag_timeout_s=0.5)
    assert len(await ids(settings)) == 25
    await run(settings, folder, max_lag=0, resume=True)
    assert sorted(await ids(settings)) == sorted(f"I{number}" for number in range(60))


async def test_impressions_wait_until_the_articles_have_vectors(settings: Settings, tmp_path: Path) -> None:
    folder = mind_folder(tmp_path / "mind", 10)
    seen_before_last_vector: list[int] = []

    async def embed() -> None:
        producer = AIOKafkaProducer(**client_config(settings))
        await producer.start()
        try:
            async with (
                reading(settings, ARTICLES) as articles,
                reading(settings, IMPRESSIONS) as impressions,
            ):
                async for record in articles:
                    article = Article.from_json(record.value)
                    vector = ArticleVector(
                        news_id=article.news_id, bundle="b", vector=(1.0,), published_at=article.published_at
                    )
                    seen_before_last_vector.append(await revealed(impressions))
                    name = topic_name(settings, ARTICLE_VECTORS.name)
                    await producer.send_and_wait(name, vector.to_json(), key=vector.key.encode())
        finally:
            await producer.stop()

    task = asyncio.create_task(embed())
    try:
        report = await run(settings, folder, wait_for_vectors=True)
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert report.articles_without_vector == 0
    assert seen_before_last_vector == [0] * 10


async def test_missing_vectors_are_reported_and_do_not_hold_the_replay_for_ever(
    settings: Settings, tmp_path: Path
) -> None:
    report = await run(
        settings, mind_folder(tmp_path / "mind", 10), wait_for_vectors=True, vectors_timeout_s=0.3
    )
    assert report.articles_without_vector == 10
    assert report.published.impressions == 10


async def test_ctrl_c_stops_cleanly_and_says_where(settings: Settings, tmp_path: Path) -> None:
    folder = mind_folder(tmp_path / "mind", 40)
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "freshet",
        "replay",
        str(folder),
        "--speed=1",
        "--no-wait",
        "--json",
        f"--bootstrap-servers={settings.bootstrap_servers}",
        f"--topic-prefix={settings.topic_prefix}",
        f"--data-dir={settings.data_dir}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with reading(settings, IMPRESSIONS) as impressions, asyncio.timeout(DEADLINE_S):
        while not await revealed(impressions):
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = await process.communicate()
    assert process.returncode == 130, stderr.decode()
    report = json.loads(stdout)
    assert report["stopped"]
    assert len(await ids(settings)) == report["published"]["impressions"] == report["reached"]
    await run(settings, folder, resume=True)
    assert sorted(await ids(settings)) == sorted(f"I{number}" for number in range(40))


async def test_shifted_to_now_the_first_event_happens_now(settings: Settings, tmp_path: Path) -> None:
    began_s = time.time()
    await run(settings, mind_folder(tmp_path / "mind", 10), shift_to_now=True)
    events = sorted(await all_of(settings, IMPRESSIONS, Impression), key=lambda event: event.time)
    assert [event.impression_id for event in events] == [f"I{number}" for number in range(10)]
    assert began_s <= events[0].time.timestamp() <= time.time()
    assert (events[-1].time - events[0].time).total_seconds() == 9
