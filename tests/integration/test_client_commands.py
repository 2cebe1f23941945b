"""The verbs that a client uses, as a shell uses them, with a stand-in for the worker that answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from kafka import KafkaConsumer

from freshet.models.events.events import Article, Click, Control, Recommendation
from freshet.streams.client import Freshet
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.kafka.topics import ARTICLES, CLICKS, CONTROL, Topic
from freshet.streams.settings import Settings
from freshet.workers.cli.main import main
from tests.integration.stand_in_recommender import SILENT, StandIn, assigned
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker


@pytest.fixture
def topics(settings: Settings) -> Settings:
    ensure_topics(settings)
    return settings


@pytest.fixture
def stand_in(topics: Settings) -> Iterator[StandIn]:
    with StandIn(topics) as stand_in:
        yield stand_in


def freshet(settings: Settings, *args: str, stdin: bytes | None = None) -> Result:
    connection = ["--bootstrap-servers", settings.bootstrap_servers, "--topic-prefix", settings.topic_prefix]
    return CliRunner().invoke(main, [*args, *connection], input=stdin)


def values(settings: Settings, topic: Topic, count: int) -> list[bytes]:
    """The first ``count`` records of a topic, in the order of their partitions."""
    consumer: KafkaConsumer
    found: list[bytes] = []
    with assigned(settings, topic) as consumer:
        while len(found) < count:
            polled = consumer.poll(timeout_ms=round(HANG_S * 1_000))
            assert polled, f"{topic.name}: {len(found)} of {count} records"
            found += [record.value for records in polled.values() for record in records]
    return found


def test_click_publishes_and_prints_the_event(topics: Settings) -> None:
    result = freshet(topics, "click", "U1", "N1", "--request-id", "R1", "--json")
    assert result.exit_code == 0, result.output
    click = Click.from_json(result.stdout.encode())
    assert (click.user_id, click.news_id, click.request_id) == ("U1", "N1", "R1")
    assert values(topics, CLICKS, 1) == [click.to_json()]


def test_an_argument_that_the_event_refuses_is_wrong_usage(topics: Settings) -> None:
    result = freshet(topics, "click", "two words", "N1")
    assert result.exit_code == 2
    assert "user_id" in result.stderr


def test_publish_reads_files_and_stdin_and_reports_bad_lines(topics: Settings, tmp_path: Path) -> None:
    articles = [Article(news_id=f"N{n}", published_at=datetime(2026, 3, 2, tzinfo=UTC)) for n in range(4)]
    one = tmp_path / "one.json"
    one.write_text(json.dumps(json.loads(articles[0].to_json()), indent=2))
    lines = tmp_path / "lines.jsonl"
    lines.write_bytes(articles[1].to_json() + b"\n{}\n" + articles[2].to_json())
    result = freshet(topics, "publish", str(one), str(lines), "-", stdin=articles[3].to_json())
    assert result.exit_code == 1
    assert result.stdout == "4 articles published, 1 refused\n"
    assert f"{lines}:2: Article: news_id: Field required" in result.stderr
    assert sorted(values(topics, ARTICLES, 4)) == [article.to_json() for article in articles]


def test_publish_reports_as_json(topics: Settings) -> None:
    result = freshet(topics, "publish", "-", "--json", stdin=b"oops\n")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert (report["published"], report["refused"]) == (0, 1)
    assert report["problems"][0]["line"] == 1


def test_recommend_shows_a_table_or_the_event(topics: Settings, stand_in: StandIn) -> None:
    shown = freshet(topics, "recommend", "U1", "-k", "2", "--category", "news", "--max-age", "1")
    assert shown.exit_code == 0, shown.output
    assert "U1-0" in shown.stdout
    assert "U1-1" in shown.stdout
    printed = freshet(topics, "recommend", "U1", "-k", "2", "--include-seen", "--json")
    answer = Recommendation.from_json(printed.stdout.encode())
    assert [item.news_id for item in answer.items] == ["U1-0", "U1-1"]
    first, second = stand_in.requests
    assert (first.k, first.filters.categories, first.filters.max_age_s) == (2, ("news",), 3_600.0)
    assert (first.exclude_seen, second.exclude_seen) == (True, False)


def test_recommend_without_an_answer_fails_and_says_what_to_check(
    topics: Settings, stand_in: StandIn
) -> None:
    result = freshet(topics, "recommend", SILENT, "--timeout", "0.5")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "freshet doctor" in result.stderr


def test_subscribe_shows_what_comes_and_turns_push_on_meanwhile(topics: Settings, stand_in: StandIn) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(freshet, topics, "subscribe", "U1", "--push", "--count", "2", "--json")
        (on,) = values(topics, CONTROL, 1)
        assert Control.from_json(on).kind == "push-on"
        with Freshet(topics) as client:
            for user in ("U2", "U1", "U1"):
                client.recommend(user, k=1, timeout_s=HANG_S)
        result = running.result(HANG_S)
    assert result.exit_code == 0, result.output
    shown = [Recommendation.from_json(line.encode()) for line in result.stdout.splitlines()]
    assert [recommendation.user_id for recommendation in shown] == ["U1", "U1"]
    assert Control.from_json(values(topics, CONTROL, 2)[-1]).kind == "push-off"


def test_subscribe_fails_where_fewer_came_than_asked_for(topics: Settings) -> None:
    result = freshet(topics, "subscribe", "--count", "1", "--timeout", "0.3")
    assert result.exit_code == 1
    assert "0 of 1" in result.stderr


def test_push_is_turned_on_and_off(topics: Settings) -> None:
    assert freshet(topics, "push", "U1", "on").stdout == "push is on for U1\n"
    assert freshet(topics, "push", "U1", "off").exit_code == 0
    assert freshet(topics, "push", "U1", "perhaps").exit_code == 2
    kinds = [Control.from_json(value).kind for value in values(topics, CONTROL, 2)]
    assert kinds == ["push-on", "push-off"]


def test_a_kafka_that_cannot_be_reached_is_an_error_without_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("freshet.streams.kafka.reachability._RETRY_S", 1e6)
    result = CliRunner().invoke(main, ["click", "U1", "N1", "--bootstrap-servers", "127.0.0.1:1"])
    assert result.exit_code == 1
    assert "127.0.0.1:1 does not answer" in result.stderr


def test_push_without_a_user_is_wrong_usage(topics: Settings) -> None:
    assert freshet(topics, "subscribe", "--push").exit_code == 2
