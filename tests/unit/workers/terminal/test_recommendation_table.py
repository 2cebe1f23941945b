"""What people see of a recommendation."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from freshet.models.events.events import Recommendation, RecommendedArticle
from freshet.models.ranking.features import FEATURES
from freshet.workers.terminal.recommendation_table import age, reasons_in_words, recommendation_table

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


def shown(**fields: object) -> str:
    recommendation = Recommendation.model_validate(
        {"request_id": "R1", "user_id": "U1", "time": NOW, "bundle": "b1", "ranker": "default", "items": ()}
        | fields
    )
    console = Console(file=io.StringIO(), width=160)
    console.print(recommendation_table(recommendation))
    text = console.file.getvalue()
    assert isinstance(text, str)
    return text


def test_an_item_shows_title_category_age_score_reasons_and_sources() -> None:
    item = RecommendedArticle(
        news_id="N1",
        score=1.25,
        title="Ferry [bold]returns",
        category="news",
        published_at=NOW - timedelta(hours=3),
        sources=("2h", "trending"),
        reasons={"dot_best": 1.5, "log_age": -0.25},
    )
    text = shown(items=(item,), user_clicks=1)
    for part in (
        "(1 click)",
        "vectors b1, ranker default",
        "N1 · news",
        "Ferry [bold]returns",
        "3 h old",
        "score 1.250: interest +1.50, age -0.25",
        "from 2h, trending",
    ):
        assert part in text


def test_an_item_without_title_shows_its_id() -> None:
    assert "N1" in shown(items=(RecommendedArticle(news_id="N1", score=0.0),))


@pytest.mark.parametrize(("degraded", "said"), [("cached", "last answer"), ("trending", "trending")])
def test_a_degraded_answer_is_marked(degraded: str, said: str) -> None:
    text = shown(degraded=degraded)
    assert "degraded" in text
    assert said in text


def test_an_unknown_user_and_an_empty_answer_are_said() -> None:
    text = shown(pushed=True)
    assert "no clicks: the population's answer, pushed" in text
    assert "No article" in text


def test_the_largest_reasons_are_shown_whatever_their_sign() -> None:
    item = RecommendedArticle(
        news_id="N1", score=0.0, reasons={"a": 0.1, "b": -3.0, "c": 2.0, "d": 0.0, "e": 0.5}
    )
    assert reasons_in_words(item, 3) == "b -3.00, c +2.00, e +0.50"


def test_features_of_one_kind_are_one_reason() -> None:
    reasons = {"dot_first": 0.2, "dot_last": 0.2, "log_age": -0.3, "log_ctr_3h": 0.1, "unseen": 0.001}
    item = RecommendedArticle(news_id="N1", score=0.2, reasons=reasons)
    assert reasons_in_words(item, 9) == "interest +0.40, age -0.30, popularity +0.10"


@pytest.mark.parametrize("feature", FEATURES)
def test_every_feature_of_the_ranker_has_words(feature: str) -> None:
    item = RecommendedArticle(news_id="N1", score=1.0, reasons={feature: 1.0})
    assert feature not in reasons_in_words(item, 1)


@pytest.mark.parametrize(
    ("old", "text"),
    [
        (timedelta(minutes=5), "5 min"),
        (timedelta(hours=1), "1 h"),
        (timedelta(hours=47), "47 h"),
        (timedelta(days=3), "3 d"),
    ],
)
def test_an_age_is_in_its_largest_unit(old: timedelta, text: str) -> None:
    assert age(NOW - old, NOW) == text
    assert age(None, NOW) == ""


def test_rules_and_the_click_that_an_article_is_like_are_shown() -> None:
    item = RecommendedArticle(news_id="N1", score=1.0, rules=("lead",), because="N9")
    text = shown(items=(item,), unmet=({"rule": "travel", "reason": "1 of 2 articles of travel"},))
    assert "like N9, read before · rules lead" in text
    assert "rule travel: 1 of 2 articles of travel" in text
