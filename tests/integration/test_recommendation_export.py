"""``freshet log`` writes from the topics what another ranker can be judged from, and says what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from kafka import KafkaProducer

from freshet.models.datasets.mind import read_news
from freshet.models.datasets.recommendation_log import RecommendationLog
from freshet.models.events.events import Article, Click, Control, Event, Impression, from_unix_s
from freshet.streams.kafka.connection import client_config, topic_name
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.kafka.topics import ARTICLES, CLICKS, CONTROL, IMPRESSIONS, RECOMMENDATIONS, Topic
from freshet.streams.settings import Settings
from freshet.workers.cli.main import main
from tests.recommendation_logs import IDS, START_S, serve
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker

LISTS = 40
SERVED = serve(LISTS)


def _publish(settings: Settings, records: list[tuple[Topic, str, bytes | None]]) -> None:
    producer = KafkaProducer(**client_config(settings))
    try:
        sent = [
            producer.send(topic_name(settings, topic.name), key=key.encode(), value=value)
            for topic, key, value in records
        ]
        producer.flush(timeout=HANG_S)
        for future in sent:
            future.get(timeout=HANG_S)
    finally:
        producer.close()


@pytest.fixture
def topics(settings: Settings) -> Settings:
    """The topics of a system that served some lists; half of the clicks came late."""
    ensure_topics(settings)
    records: list[tuple[Topic, str, bytes | None]] = []

    def add(topic: Topic, key: str, event: Event) -> None:
        records.append((topic, key, event.to_json()))

    for news_id in [*IDS, "deleted"]:
        article = Article(news_id=news_id, published_at=from_unix_s(START_S - 3_600.0), title="Once\tnamed")
        add(ARTICLES, news_id, article)
    records.append((ARTICLES, "deleted", None))
    for number, (shown, recommendation) in enumerate(
        zip(SERVED.impressions, SERVED.recommendations, strict=True)
    ):
        add(RECOMMENDATIONS, shown.user_id, recommendation)
        late = number % 2 == 0
        impression = shown.model_copy(
            update={
                "impression_id": f"I{number}",
                "request_id": shown.impression_id,
                "clicked": () if late else shown.clicked,
            }
        )
        for _ in range(2):  # delivered twice
            add(IMPRESSIONS, shown.user_id, impression)
        for news_id in shown.clicked if late else ():
            click = Click(
                user_id=shown.user_id,
                news_id=news_id,
                time=shown.time,
                impression_id=f"I{number}" if number % 4 else None,
                request_id=recommendation.request_id,
            )
            add(CLICKS, shown.user_id, click)
    nobody = Impression(
        impression_id="I-none", user_id="U-none", time=from_unix_s(START_S + 30.0), candidates=("N1", "N2")
    )
    add(IMPRESSIONS, "U-none", nobody)
    add(CLICKS, "U-none", Click(user_id="U-none", news_id="N1", time=nobody.time))
    records.append((IMPRESSIONS, "U1", b"{"))
    _publish(settings, records)
    return settings


def _freshet(settings: Settings, *arguments: object) -> Result:
    connection = ["--bootstrap-servers", settings.bootstrap_servers, "--topic-prefix", settings.topic_prefix]
    return CliRunner().invoke(main, ["log", *map(str, arguments), *connection])


def test_the_log_is_what_was_served(topics: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    run = _freshet(topics, folder, "--json")
    assert run.exit_code == 0, run.output
    clicks = sum(len(impression.clicked) for impression in SERVED.impressions)
    written = json.loads(run.stdout)
    assert written["impressions"] == LISTS + 1
    assert written["recommendations"] == written["propensities"] == LISTS
    assert written["clicks"] == clicks
    assert 0 < written["late_clicks"] < clicks
    assert (written["clicks_left"], written["unreadable"], written["erased"]) == (1, 1, 0)
    with RecommendationLog(folder) as log:
        found = [logged for logged in log if logged.impression.user_id != "U-none"]
    for logged, shown, recommendation in zip(found, SERVED.impressions, SERVED.recommendations, strict=True):
        assert logged.recommendation == recommendation
        assert set(logged.impression.clicked) == set(shown.clicked)
        assert logged.impression.candidates == shown.candidates
    assert {article.news_id for article in read_news(folder) if isinstance(article, Article)} == set(IDS)
    assert sorted(path.name for path in folder.iterdir()) == [
        "behaviors.tsv",
        "news.tsv",
        "published.tsv",
        "recommendations.jsonl",
    ]
    assert _freshet(topics, folder).exit_code == 1
    assert _freshet(topics, folder, "--force").exit_code == 0


def test_the_time_asked_for_is_that_of_the_events(topics: Settings, tmp_path: Path) -> None:
    since, until = from_unix_s(START_S + 600.0).isoformat(), from_unix_s(START_S + 1_200.0).isoformat()
    run = _freshet(topics, tmp_path / "log", "--from", since, "--until", until, "--json")
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["impressions"] == 10
    empty = _freshet(topics, tmp_path / "none", "--from", "2031-01-01")
    assert empty.exit_code == 1
    assert "there is no impression from 2031-01-01" in " ".join(empty.stderr.split())
    assert not list((tmp_path / "none").iterdir())


def test_an_erased_user_is_not_in_the_log(topics: Settings, tmp_path: Path) -> None:
    user_id = SERVED.impressions[0].user_id
    theirs = sum(impression.user_id == user_id for impression in SERVED.impressions)
    erased = Control(kind="user-erased", subject=user_id, time=from_unix_s(START_S + 86_400.0))
    _publish(topics, [(CONTROL, erased.key, erased.to_json())])
    run = _freshet(topics, tmp_path / "log", "--json")
    assert json.loads(run.stdout)["erased"] == theirs
    assert f"\t{user_id}\t" not in (tmp_path / "log" / "behaviors.tsv").read_text()


def test_wrong_times_are_wrong_usage(settings: Settings, tmp_path: Path) -> None:
    assert _freshet(settings, tmp_path, "--from", "soon").exit_code == 2
    assert _freshet(settings, tmp_path, "--from", "2026-01-02", "--until", "2026-01-01").exit_code == 2
