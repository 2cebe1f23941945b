"""An explanation says where an article stands, and each number that put it there."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from freshet.models.events.editorial_rules import UnmetRule
from freshet.models.events.events import Recommendation, RecommendedArticle, from_unix_s
from freshet.models.ranking.features import FEATURES
from freshet.workers.terminal.explanation_text import Explanation, explanation_table, sentences

TIME = from_unix_s(1_700_000_000.0)


def item(news_id: str, score: float, **fields: Any) -> RecommendedArticle:
    return RecommendedArticle(news_id=news_id, score=score, **fields)


def answer(*items: RecommendedArticle, clicks: int = 2, unmet: tuple[UnmetRule, ...] = ()) -> Recommendation:
    return Recommendation(
        request_id="r",
        user_id="U1",
        time=TIME,
        bundle="b",
        ranker="default-0",
        items=items,
        user_clicks=clicks,
        unmet=unmet,
    )


ALONE = item(
    "N1",
    0.5,
    title="Ferry returns",
    category="news",
    published_at=from_unix_s(1_700_000_000.0 - 7_200.0),
    reasons={"dot_last": 0.7, "log_age": -0.2, "some_new_feature": 0.001},
    features={"dot_last": 1.0, "log_age": 1.3},
    interests={"7d": 0.7},
    because="N9",
    rules=("spread",),
)
LIST = answer(
    item("N2", 0.9),
    item("N1", 0.5, sources=("7d", "newest")),
    unmet=(UnmetRule(rule="spread", reason="x"),),
)
POOL = answer(item("N2", 0.9), item("N3", 0.7), item("N1", 0.5), item("N4", 0.1))
RANKING = answer(item("N2", 0.9), item("N3", 0.7), ALONE, item("N4", 0.1))


def shown(explanation: Explanation) -> str:
    console = Console(width=200, record=True, file=StringIO())
    console.print(explanation_table(explanation))
    return console.export_text()


def test_the_place_the_sources_the_click_the_features_and_the_rules_are_told() -> None:
    explanation = Explanation("N1", LIST, POOL, RANKING, "Harbour reopens")
    assert list(sentences(explanation)) == [
        "It is number 2 of U1's list of 2.",
        "It was found among: 7d, newest.",
        "Because U1 read “Harbour reopens” (N9), which is similar to it (cosine at least 0.4).",
        "It is close to what U1 reads in the long run. (+0.70)",
        "It is some time since it was published. (-0.20)",
        "The editorial rule spread applies to it.",
        "A rule could not be fulfilled: spread: x.",
    ]
    text = shown(explanation)
    for part in ("Ferry returns", "N1 · news · 2 h old", "dot_last", "+0.700", "of that, 7d"):
        assert part in text


def test_an_article_that_is_not_in_the_list_has_its_rank_by_score() -> None:
    ranking = answer(item("N2", 0.9), item("N5", 0.8), *POOL.items[1:])
    explanation = Explanation("N5", answer(item("N2", 0.9), clicks=0), POOL, ranking)
    assert (explanation.position, explanation.rank) == (None, 2)
    assert list(sentences(explanation)) == [
        "The worker does not know the article N5; it is ranked as an average one.",
        "It is not in U1's list of 1; by score it would be number 2 among 5 candidates.",
        "It is not among the candidates: not close enough to an interest, not trending, and not new.",
        "U1 has no clicks yet: this is the population's answer.",
    ]


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("value", [1.0, -1.0])
def test_every_feature_of_the_ranker_has_a_sentence(feature: str, value: float) -> None:
    one = item("N1", 0.5, title="t", reasons={feature: 0.5}, features={feature: value})
    (said,) = [each for each in sentences(Explanation("N1", LIST, POOL, answer(one))) if "(+0.50)" in each]
    assert feature not in said.split()


def test_as_json_everything_is_there() -> None:
    found = Explanation("N1", LIST, POOL, RANKING, "Harbour reopens").to_json()
    assert (found["position"], found["rank"], found["candidates"]) == (2, 3, 4)
    assert found["because"] == {"news_id": "N9", "title": "Harbour reopens"}
    assert found["features"]["dot_last"] == {"value": 1.0, "contribution": 0.7}
    assert found["interests"] == {"7d": 0.7}
