"""What a replay promises of the stream that it publishes, on the real broker."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from freshet.models.events.events import Article, ArticleVector, DeadLetter, Impression
from freshet.streams.kafka.connection import client_config, topic_name
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.kafka.topics import ARTICLE_VECTORS, ARTICLES, DEAD_LETTERS, IMPRESSIONS
from freshet.streams.settings import Settings
from freshet.workers.replay.report import ReplayError
from tests.integration.replayed_log import (
    all_of,
    ids,
    impression,
    mind_folder,
    reading,
    revealed,
    run,
)
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker


@pytest.fixture(autouse=True)
def topics(settings: Settings) -> None:
    ensure_topics(settings)


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
        file.write(b"I23\tU1\t11/9/19 9:00:05 AM\t\tN1-0 N2-1\n")
        file.write(b"I24\tU1\t11/9/2099 9:00:05 AM\t\tN1-0 N2-1\n")
    with (folder / "news.tsv").open("a") as file:
        file.write("N11\tnews\n")
    report = await run(settings, folder)
    letters = await all_of(settings, DEAD_LETTERS, DeadLetter)
    assert sorted((letter.source, letter.line) for letter in letters) == [
        ("behaviors.tsv", 21),
        ("behaviors.tsv", 22),
        ("behaviors.tsv", 23),
        ("behaviors.tsv", 24),
        ("behaviors.tsv", 25),
        ("behaviors.tsv", 26),
        ("news.tsv", 11),
    ]
    assert all(letter.reason and letter.value for letter in letters)
    assert report.published.bad_lines == 7
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
    async with reading(settings, IMPRESSIONS) as impressions, asyncio.timeout(HANG_S):
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
