"""A replay scores the real stream worker: users, statistics and recommendations as they run in production."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from freshet.models.datasets.mind import behaviors_line, news_line
from freshet.models.events.events import Article, Impression, from_unix_s
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from freshet.workers.replay.report import ReplayOptions
from freshet.workers.replay.run import replay
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker

IMPRESSIONS = 150
START_S = 1_573_290_000.0


@pytest.fixture
async def stream(settings: Settings, tmp_path: Path) -> AsyncIterator[None]:
    """A stream worker in a process of its own."""
    ensure_topics(settings)
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "freshet",
        "stream",
        f"--bootstrap-servers={settings.bootstrap_servers}",
        f"--topic-prefix={settings.topic_prefix}",
        f"--data-dir={tmp_path / 'stream'}",
        f"--partitions={settings.partitions}",
        "--metrics-port=0",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(process.wait(), 30.0)
        except TimeoutError:
            process.kill()
            await process.wait()


def popular_first(path: Path) -> Path:
    """A log in which the candidate with the lowest number is always clicked."""
    path.mkdir()
    articles = [Article(news_id=f"N{n}", published_at=from_unix_s(0), title=f"Title {n}") for n in range(8)]
    (path / "news.tsv").write_text("".join(map(news_line, articles)))
    impressions = []
    for number in range(IMPRESSIONS):
        shown = [(number * 3 + step * step) % 8 for step in range(4)]
        candidates = tuple(dict.fromkeys(f"N{n}" for n in shown))
        impressions.append(
            Impression(
                impression_id=f"I{number}",
                user_id=f"U{number % 40}",
                time=from_unix_s(START_S + 20 * number),
                candidates=candidates,
                clicked=(min(candidates),),
            )
        )
    (path / "behaviors.tsv").write_text("".join(map(behaviors_line, impressions)))
    return path


async def test_the_live_system_answers_every_question_and_learns_what_is_popular(
    settings: Settings, stream: None, tmp_path: Path
) -> None:
    options = ReplayOptions(score=True, window=4, wait_for_vectors=False, answer_timeout_s=HANG_S)
    report = await asyncio.to_thread(replay, settings, popular_first(tmp_path / "mind"), options)
    assert report.published.impressions == IMPRESSIONS
    assert report.score is not None
    assert (report.score.asked, report.score.unanswered) == (IMPRESSIONS, 0)
    assert report.score.rankings_last["freshet"].auc > 0.75
