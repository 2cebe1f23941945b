"""Events that come in any order and more than once are joined as if they had come rightly."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from freshet.models.events.events import (
    Article,
    Click,
    Impression,
    Recommendation,
    RecommendedArticle,
    from_unix_s,
)
from freshet.workers.evaluation.off_policy.event_join import EventJoin


@pytest.fixture
def join(tmp_path: Path) -> Iterator[EventJoin]:
    with EventJoin(tmp_path / "events.sqlite") as join:
        yield join


def _impression(number: int, *candidates: str, user: str = "U1", **fields: object) -> Impression:
    return Impression.model_validate(
        {
            "impression_id": f"I{number}",
            "user_id": user,
            "time": from_unix_s(60.0 * number),
            "candidates": candidates,
            **fields,
        }
    )


def _click(news_id: str, time_s: float = 500.0, **fields: object) -> Click:
    return Click.model_validate({"user_id": "U1", "news_id": news_id, "time": from_unix_s(time_s), **fields})


def _recommendation(request_id: str, user: str = "U1") -> Recommendation:
    return Recommendation(
        request_id=request_id,
        user_id=user,
        time=from_unix_s(30.0),
        bundle="ids",
        ranker="default-0",
        items=(RecommendedArticle(news_id="N1", score=1.0, propensity=0.5),),
    )


def _add(join: EventJoin, event: Impression | Click | Recommendation) -> None:
    match event:
        case Impression():
            join.add_impression(event, event.to_json())
        case Recommendation():
            join.add_recommendation(event, event.to_json())
        case Click():
            join.add_click(event)


EVENTS = (
    _impression(1, "N1", "N2", "N3", clicked=("N3",), request_id="R1"),
    _recommendation("R1"),
    _click("N1", impression_id="I1"),
    _click("N2", request_id="R1"),
)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_order_of_arrival_does_not_matter(join: EventJoin, order: tuple[int, ...]) -> None:
    for number in order:
        _add(join, EVENTS[number])
    (found,) = join.impressions()
    assert set(found.impression.clicked) == {"N1", "N2", "N3"}
    assert found.recommendation == EVENTS[1]
    assert found.late_clicks == 2
    assert join.clicks_left() == 0


def test_what_comes_twice_counts_once(join: EventJoin) -> None:
    for event in (*EVENTS, *EVENTS):
        _add(join, event)
    (found,) = join.impressions()
    assert found.late_clicks == 2


def test_impressions_come_in_the_order_of_time(join: EventJoin) -> None:
    for number in (3, 1, 2):
        _add(join, _impression(number, "N1"))
    assert [found.impression.impression_id for found in join.impressions()] == ["I1", "I2", "I3"]


def test_a_click_on_a_request_joins_the_impression_that_shows_the_article(join: EventJoin) -> None:
    _add(join, _impression(1, "N1", request_id="R1"))
    _add(join, _impression(2, "N1", "N2", request_id="R1"))
    for news_id in ("N1", "N2"):
        _add(join, _click(news_id, request_id="R1"))
    first, second = join.impressions()
    assert (first.impression.clicked, second.impression.clicked) == (("N1",), ("N2",))


def test_a_click_that_leads_nowhere_is_left(join: EventJoin) -> None:
    _add(join, _impression(1, "N1", request_id="R1"))
    for click in (
        _click("N1", 1.0),
        _click("N2", 2.0, impression_id="I1"),
        _click("N1", 3.0, impression_id="I9"),
        _click("N1", 4.0, request_id="R9"),
    ):
        _add(join, click)
    (found,) = join.impressions()
    assert found.impression.clicked == ()
    assert join.clicks_left() == 4


def test_another_users_events_are_not_joined(join: EventJoin) -> None:
    _add(join, _impression(1, "N1", user="U2", request_id="R1"))
    _add(join, _recommendation("R1"))
    _add(join, _click("N1", impression_id="I1"))
    (found,) = join.impressions()
    assert found.recommendation is None
    assert found.impression.clicked == ()


def test_a_forgotten_user_has_no_events_up_to_then(join: EventJoin) -> None:
    for number in (1, 2):
        _add(join, _impression(number, "N1"))
        _add(join, _impression(number, "N1", user="U2"))
    assert join.forget_user("U1", 60.0) == 1
    left = [(found.impression.user_id, found.impression.impression_id) for found in join.impressions()]
    assert left == [("U2", "I1"), ("U1", "I2"), ("U2", "I2")]


def test_the_last_of_an_article_stands_until_it_is_deleted(join: EventJoin) -> None:
    for news_id, title in (("N1", "old"), ("N2", "gone"), ("N1", "new")):
        article = Article(news_id=news_id, published_at=from_unix_s(1.0), title=title)
        join.put_article(article, article.to_json())
    join.delete_article("N2")
    assert [article.title for article in join.articles()] == ["new"]
