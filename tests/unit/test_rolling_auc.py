"""Answers are scored by the impressions that name them, each once."""

from __future__ import annotations

import pytest

from freshet.models.events import Impression, RecommendedArticle, from_unix_s
from freshet.streams import metrics, rolling_auc
from freshet.streams.rolling_auc import RollingAuc


def _items(*news_ids: str) -> list[RecommendedArticle]:
    """The best first."""
    return [RecommendedArticle(news_id=news_id, score=-float(i)) for i, news_id in enumerate(news_ids)]


def _impression(request_id: str | None, shown: tuple[str, ...], *clicked: str) -> Impression:
    return Impression(
        impression_id="I",
        user_id="U",
        time=from_unix_s(1_000.0),
        candidates=shown,
        clicked=clicked,
        request_id=request_id,
    )


@pytest.fixture
def rolling() -> RollingAuc:
    metrics.ROLLING_AUC.set(-1.0)
    return RollingAuc()


def _gauge() -> float:
    (sample,) = next(iter(metrics.ROLLING_AUC.collect())).samples
    return float(sample.value)


def test_the_gauge_is_the_mean_over_answers(rolling: RollingAuc) -> None:
    rolling.remember("R1", _items("A", "B", "C"))
    rolling.remember("R2", _items("A", "B", "C"))
    rolling.learn(_impression("R1", ("B", "A", "C"), "A"))
    assert _gauge() == 1.0
    rolling.learn(_impression("R2", ("A", "B", "C"), "C"))
    assert _gauge() == 0.5


def test_an_answer_counts_once(rolling: RollingAuc) -> None:
    rolling.remember("R1", _items("A", "B"))
    rolling.learn(_impression("R1", ("A", "B"), "A"))
    rolling.learn(_impression("R1", ("A", "B"), "B"))
    assert _gauge() == 1.0


def test_what_was_not_answered_is_no_candidate(rolling: RollingAuc) -> None:
    rolling.remember("R1", _items("A", "B"))
    rolling.learn(_impression("R1", ("A", "B", "X"), "B"))
    assert _gauge() == 0.0


@pytest.mark.parametrize("clicked", [(), ("A", "B")], ids=["no clicks", "only clicks"])
def test_one_label_says_nothing(rolling: RollingAuc, clicked: tuple[str, ...]) -> None:
    rolling.remember("R1", _items("A", "B"))
    rolling.learn(_impression("R1", ("A", "B"), *clicked))
    assert _gauge() == -1.0


@pytest.mark.parametrize("request_id", [None, "R-other"])
def test_impressions_of_no_known_answer_are_ignored(rolling: RollingAuc, request_id: str | None) -> None:
    rolling.remember("R1", _items("A", "B"))
    rolling.learn(_impression(request_id, ("A", "B"), "A"))
    assert _gauge() == -1.0


def test_answers_never_shown_are_forgotten_the_oldest_first(
    rolling: RollingAuc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling_auc, "_MAX_OPEN", 2)
    for request_id in ("R1", "R2", "R3"):
        rolling.remember(request_id, _items("A", "B"))
    rolling.learn(_impression("R1", ("A", "B"), "B"))
    assert _gauge() == -1.0
    rolling.learn(_impression("R3", ("A", "B"), "A"))
    assert _gauge() == 1.0
