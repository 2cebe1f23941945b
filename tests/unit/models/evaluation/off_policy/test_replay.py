"""The replay knows of a list what was known when it was drawn, and judges another ranker by the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.datasets.recommendation_log import LoggedImpression, RecommendationLog
from freshet.models.evaluation.off_policy.estimate import NoSupport, estimate
from freshet.models.evaluation.off_policy.replay import ClicksOverExpected, OffPolicyReplay, Replayed
from freshet.models.events.events import Recommendation, to_unix_s
from freshet.models.ranking.linear import LinearRanker
from tests.recommendation_logs import POOLING, SHOWN, ServedLists, serve, write_log

OTHER = LinearRanker({"log_ctr_all": 1.0, "log_age": -0.3}, name="other")


def _replay(
    folder: Path, *, ranker: LinearRanker, temperature: float | None = None, warm_up: int = 0
) -> Replayed:
    with RecommendationLog(folder) as log:
        catalog = ArticleCatalog(1)
        for article in log.articles():
            catalog.put_article(article.news_id, None, to_unix_s(article.published_at))
        replay = OffPolicyReplay(catalog, POOLING, ranker, temperature=temperature)
        for position, logged in enumerate(log):
            replay.add_impression(logged, measured=position >= warm_up)
    return replay.result()


@pytest.fixture(scope="module")
def served() -> ServedLists:
    return serve(2_000, seed=5, judged=OTHER)


@pytest.fixture(scope="module")
def folder(served: ServedLists, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("log"), served)


def test_the_policy_that_served_has_its_own_propensities_again(folder: Path) -> None:
    lists = _replay(folder, ranker=LinearRanker(), temperature=0.5).lists
    np.testing.assert_allclose(lists.target, lists.propensity, rtol=1e-5)


def test_the_value_of_another_ranker_is_within_its_interval(folder: Path, served: ServedLists) -> None:
    lists = _replay(folder, ranker=OTHER).lists
    truth = float(np.mean(served.values))
    found = estimate(lists)
    assert found.on_policy.high < truth
    for interval in (found.ips, found.snips, found.doubly_robust):
        assert interval is not None
        assert interval.low < truth < interval.high
    assert found.mean_weight.low < 1.0 < found.mean_weight.high
    assert found.zero_support == 0.0


def test_predicted_rewards_make_the_interval_no_wider(folder: Path) -> None:
    found = estimate(_replay(folder, ranker=OTHER, temperature=0.2).lists)
    assert found.doubly_robust is not None
    assert found.doubly_robust.high - found.doubly_robust.low < found.ips.high - found.ips.low


def test_a_deterministic_log_is_worth_only_its_own_ranker(tmp_path: Path) -> None:
    served = serve(300, temperature=None)
    folder = write_log(tmp_path / "log", served)
    own = estimate(_replay(folder, ranker=LinearRanker()).lists)
    clicks = sum(len(impression.clicked) for impression in served.impressions)
    assert own.ips.mean == own.snips.mean == own.on_policy.mean == clicks / 300
    with pytest.raises(NoSupport, match="deterministic"):
        estimate(_replay(folder, ranker=OTHER).lists)


def test_nothing_of_a_list_or_of_later_ones_reaches_what_is_noted(
    tmp_path: Path, served: ServedLists
) -> None:
    short = ServedLists(served.impressions[:200], served.recommendations[:200])
    clicked = ServedLists(
        [
            *served.impressions[:150],
            *(
                impression.model_copy(update={"clicked": impression.candidates})
                for impression in served.impressions[150:200]
            ),
        ],
        short.recommendations,
    )
    lists, changed = (
        _replay(write_log(tmp_path / name, log), ranker=OTHER, temperature=0.5).lists
        for name, log in (("log", short), ("changed", clicked))
    )
    slots = SHOWN * 151
    assert lists.predicted is not None
    assert changed.predicted is not None
    assert np.array_equal(lists.target[:slots], changed.target[:slots])
    assert np.array_equal(lists.predicted[:slots], changed.predicted[:slots])
    assert not np.array_equal(lists.target[slots:], changed.target[slots:])


def test_the_warm_up_is_learned_from_and_not_judged(folder: Path) -> None:
    whole = _replay(folder, ranker=OTHER)
    rest = _replay(folder, ranker=OTHER, warm_up=500)
    assert rest.impressions == len(rest.lists) == 1_500
    assert np.array_equal(rest.lists.target, whole.lists.target[500 * SHOWN :])


def test_lists_that_cannot_be_judged_are_left_out_and_counted(tmp_path: Path) -> None:
    served = serve(10)

    def change(recommendation: Recommendation) -> Recommendation:
        match recommendation.request_id:
            case "R1":
                items = tuple(item.model_copy(update={"propensity": None}) for item in recommendation.items)
                return recommendation.model_copy(update={"items": items})
            case "R2":
                return recommendation.model_copy(update={"items": recommendation.items[:-1]})
            case "R3":
                return recommendation.model_copy(update={"request_id": "another"})
            case "R4":
                return recommendation.model_copy(update={"candidates": ()})
        return recommendation

    found = _replay(write_log(tmp_path / "log", served, change=change), ranker=LinearRanker())
    assert (found.impressions, len(found.lists)) == (10, 7)
    assert (found.without_propensity, found.foreign, found.without_recommendation) == (1, 1, 1)
    assert found.without_candidates == 1


def test_of_a_list_only_what_was_on_screen_is_judged(tmp_path: Path) -> None:
    served = serve(5)
    shown = [impression.candidates[2:] for impression in served.impressions]
    served.impressions = [
        impression.model_copy(
            update={"candidates": seen, "clicked": tuple(c for c in impression.clicked if c in seen)}
        )
        for impression, seen in zip(served.impressions, shown, strict=True)
    ]
    lists = _replay(write_log(tmp_path / "log", served), ranker=LinearRanker()).lists
    assert lists.position.tolist() == [3, 4] * 5


def test_what_a_rule_put_there_stands_there_for_any_ranker(tmp_path: Path) -> None:
    served = serve(200)

    def pin(recommendation: Recommendation) -> Recommendation:
        first, *rest = recommendation.items
        candidates = tuple(c for c in recommendation.candidates if c != first.news_id)
        pinned = first.model_copy(update={"propensity": 1.0})
        return recommendation.model_copy(update={"items": (pinned, *rest), "candidates": candidates})

    lists = _replay(write_log(tmp_path / "log", served, change=pin), ranker=OTHER).lists
    first = lists.position == 1
    assert (lists.target[first] == 1.0).all()
    assert lists.predicted is not None
    assert lists.expected is not None
    assert np.array_equal(lists.predicted[first], lists.expected[first])
    assert set(lists.target[~first]) == {0.0, 1.0}
    assert estimate(lists).zero_support == 0.0


def test_the_order_of_time_is_needed() -> None:
    replay = OffPolicyReplay(ArticleCatalog(1), POOLING, LinearRanker())
    impressions = serve(2).impressions
    replay.add_impression(LoggedImpression(impressions[1], None))
    with pytest.raises(ValueError, match="60 s older"):
        replay.add_impression(LoggedImpression(impressions[0], None))


def test_a_temperature_must_be_positive() -> None:
    with pytest.raises(ValueError, match="temperature"):
        OffPolicyReplay(ArticleCatalog(1), POOLING, LinearRanker(), temperature=0.0)


def test_predictions_are_clicks_over_expected_clicks() -> None:
    predictor = ClicksOverExpected()
    first, second = np.array([1]), np.array([2])
    assert predictor.predict(["A"], first) == pytest.approx(0.05)
    for _ in range(1_000):
        predictor.learn(["A", "B"], np.array([1, 2]), np.array([True, False]))
        predictor.learn(["B", "A"], np.array([1, 2]), np.array([False, False]))
    assert predictor.predict(["A"], first) > 0.9
    assert predictor.predict(["B"], first) < 0.01
    assert predictor.predict(["new"], first) == pytest.approx(0.5, abs=0.02)
    assert predictor.predict(["new"], second) < 0.01
    assert predictor.predict(["A"], np.array([500])) == pytest.approx(0.1, abs=0.01)
