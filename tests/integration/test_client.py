"""The client on a real broker, with a stand-in that answers requests the way the recommender's worker does.

A green run says that requests, answers, clicks and articles meet on the right topics and partitions. It does
not say that a worker recommends anything sensible.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from freshet.models.events.events import (
    Article,
    EventError,
    Filters,
    RecommendationRequest,
)
from freshet.streams.client import Freshet
from freshet.streams.errors import ClientClosed, KafkaUnreachable, RecommendationTimeout
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.kafka.topics import (
    ARTICLES,
    CLICKS,
    CONTROL,
    IMPRESSIONS,
    Topic,
)
from freshet.streams.settings import Settings
from tests.integration.stand_in_recommender import SILENT, StandIn, answer, assigned
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


@pytest.fixture
def client(topics: Settings) -> Iterator[Freshet]:
    with Freshet(topics) as client:
        yield client


def test_a_request_is_answered_and_carries_every_argument(client: Freshet, stand_in: StandIn) -> None:
    time = datetime(2026, 3, 2, 8, tzinfo=UTC)
    filters = Filters(categories=("news",), max_age_s=60.0)
    got = client.recommend(
        "U1", k=3, filters=filters, exclude_seen=False, diversity=0.0, time=time, timeout_s=HANG_S
    )
    assert [item.news_id for item in got.items] == ["U1-0", "U1-1", "U1-2"]
    (request,) = stand_in.requests
    assert request == RecommendationRequest(
        request_id=got.request_id,
        user_id="U1",
        time=time,
        k=3,
        filters=filters,
        exclude_seen=False,
        diversity=0.0,
    )


def test_given_candidates_are_sent_for_ranking(client: Freshet, stand_in: StandIn) -> None:
    got = client.recommend("U1", candidates=["N2", "N1"], history=["N0"], timeout_s=HANG_S)
    assert [item.news_id for item in got.items] == ["N2", "N1"]
    assert stand_in.requests[0].history == ("N0",)


def test_no_answer_in_time_says_what_to_check_and_harms_no_other_request(
    client: Freshet, stand_in: StandIn
) -> None:
    with pytest.raises(RecommendationTimeout, match=rf"user {SILENT} .*recommendations within 0.5 s.*doctor"):
        client.recommend(SILENT, timeout_s=0.5)
    assert client.recommend("U1", k=1, timeout_s=HANG_S).items[0].news_id == "U1-0"


def test_threads_with_requests_outstanding_each_get_their_own_answer(
    client: Freshet, stand_in: StandIn
) -> None:
    users = [f"U{number % 7}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        asked = pool.map(lambda user: client.recommend(user, k=2, timeout_s=HANG_S), users)
        answers = list(asked)
    assert [got.user_id for got in answers] == users
    assert len({got.request_id for got in answers}) == len(users)


def test_one_thread_may_have_many_requests_outstanding(client: Freshet, stand_in: StandIn) -> None:
    time = datetime(2026, 3, 2, 8, tzinfo=UTC)
    requests = [
        RecommendationRequest(request_id=f"R{number}", user_id=f"U{number}", time=time)
        for number in range(20)
    ]
    futures = [client.submit(request) for request in requests]
    assert [future.result(HANG_S).request_id for future in futures] == [r.request_id for r in requests]


def test_an_unreadable_or_repeated_answer_harms_no_other(
    client: Freshet, stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    time = datetime(2026, 3, 2, 8, tzinfo=UTC)
    request = RecommendationRequest(request_id="R1", user_id=SILENT, time=time, k=1)
    future = client.submit(request)
    stand_in.send(SILENT, b"not JSON")
    stand_in.send(SILENT, answer(request).to_json())
    stand_in.send(SILENT, answer(request).to_json())
    assert future.result(HANG_S).request_id == "R1"
    assert "recommendations[" in caplog.text
    assert client.recommend("U1", timeout_s=HANG_S).user_id == "U1"


def test_an_awaited_request_id_cannot_be_sent_again(client: Freshet, stand_in: StandIn) -> None:
    request = RecommendationRequest(request_id="R1", user_id=SILENT, time=datetime.now(UTC))
    first = client.submit(request)
    with pytest.raises(ValueError, match="R1"):
        client.submit(request)
    first.cancel()
    client.submit(request).cancel()


def test_closing_ends_what_is_awaited(topics: Settings, stand_in: StandIn) -> None:
    client = Freshet(topics)
    future = client.submit(RecommendationRequest(request_id="R1", user_id=SILENT, time=datetime.now(UTC)))
    client.close()
    client.close()
    with pytest.raises(ClientClosed):
        future.result(HANG_S)
    with pytest.raises(ClientClosed):
        client.recommend("U1")
    with pytest.raises(ClientClosed):
        client.click("U1", "N1")


def test_a_subscription_gives_one_user_or_all(client: Freshet, stand_in: StandIn) -> None:
    with client.subscribe("U1") as mine, client.subscribe() as all_of_them:
        for user in ("U2", "U1", "U3", "U1"):
            client.recommend(user, k=1, timeout_s=HANG_S)
        assert [next(mine).user_id for _ in range(2)] == ["U1", "U1"]
        assert sorted(next(all_of_them).user_id for _ in range(4)) == ["U1", "U1", "U2", "U3"]


def test_a_subscription_begins_when_it_is_made_and_ends_when_nothing_comes(
    client: Freshet, stand_in: StandIn
) -> None:
    before = client.recommend("U1", timeout_s=HANG_S)
    subscription = client.subscribe("U1", timeout_s=1.0)
    after = client.recommend("U1", timeout_s=HANG_S)
    assert list(subscription) == [after]
    assert before != after
    subscription.close()
    assert list(subscription) == []


def test_what_is_published_lies_on_its_topic_under_its_key(client: Freshet, topics: Settings) -> None:
    time = datetime(2026, 3, 2, 8, tzinfo=UTC)
    articles = [Article(news_id=f"N{number}", published_at=time) for number in range(5)]
    client.publish(*articles)
    click = client.click("U1", "N1", time=time, impression_id="I1", request_id="R1")
    impression = client.impression("U1", ["N1", "N2"], ["N2"], time=time, history=["N0"])
    controls = [client.set_push("U1", True), client.withdraw("N1")]

    def records(topic: Topic, count: int) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        with assigned(topics, topic) as consumer:
            while len(found) < count:
                polled = consumer.poll(timeout_ms=round(HANG_S * 1_000))
                assert polled, f"{topic.name}: {len(found)} of {count} records"
                found += [(record.key.decode(), record.value) for rs in polled.values() for record in rs]
        return sorted(found)

    assert records(ARTICLES, 5) == [(article.news_id, article.to_json()) for article in articles]
    assert records(CLICKS, 1) == [("U1", click.to_json())]
    assert records(IMPRESSIONS, 1) == [("U1", impression.to_json())]
    assert records(CONTROL, 2) == [
        ("article:N1", controls[1].to_json()),
        ("push:U1", controls[0].to_json()),
    ]


def test_an_argument_that_the_event_refuses_is_named(client: Freshet) -> None:
    with pytest.raises(EventError, match="Click: user_id"):
        client.click("two words", "N1")
    with pytest.raises(EventError, match="RecommendationRequest: k"):
        client.recommend("U1", k=0)
    with pytest.raises(EventError, match=r"RecommendationRequest of U1: [0-9]+ bytes"):
        longest = ("\U00020000" * 128,) * 1_000
        client.recommend("U1", candidates=longest, history=longest, filters=Filters(exclude_ids=longest))


def test_a_topic_that_does_not_exist_is_named(settings: Settings) -> None:
    with Freshet(settings, connect_timeout_s=1.0) as client:
        with pytest.raises(KafkaUnreachable, match=rf"{settings.topic_prefix}clicks.*prefix"):
            client.click("U1", "N1")
        with pytest.raises(KafkaUnreachable, match=rf"{settings.topic_prefix}recommendations.*prefix"):
            client.subscribe()
