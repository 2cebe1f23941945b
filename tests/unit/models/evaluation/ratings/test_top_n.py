"""What a list of k items is measured by, against values worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import orjson
import pytest

from freshet.models.datasets.movielens import Ratings
from freshet.models.embedding.bundle import (
    Bundle,
    BundleError,
    Manifest,
    TowerSpec,
    TrainingRecord,
    UserSpec,
    save_bundle,
)
from freshet.models.evaluation.ratings.baselines import (
    decayed_counts,
    item_neighbours_scorer,
    popularity_scorer,
)
from freshet.models.evaluation.ratings.top_n import (
    METRICS,
    ItemScorer,
    TopNProtocol,
    TopNSplit,
    evaluate_bundle_topn,
    evaluate_topn,
    list_metrics,
    top_items,
)

PROTOCOL = TopNProtocol(k=3, until=0.5, minimum_user_ratings=1)


def _ratings(rows: list[tuple[int, int, float]], users: int, items: int) -> Ratings:
    """One rating (user, item, stars) each second."""
    user, item, rating = (np.array(column) for column in zip(*rows, strict=True))
    return Ratings(
        user.astype(np.int32),
        item.astype(np.int32),
        rating.astype(np.float32),
        np.arange(len(rows), dtype=np.float64),
        tuple(f"u{number}" for number in range(users)),
        tuple(f"i{number}" for number in range(items)),
        ("",) * items,
        ((),) * items,
    )


def _fixed(scores: list[float]) -> ItemScorer:
    return lambda users: np.tile(np.array(scores), (len(users), 1))


def _measured(hits: list[int], to_find: int) -> Mapping[str, float]:
    values = list_metrics(np.array([hits], bool), np.array([to_find]))
    return dict(zip(METRICS, values[0].tolist(), strict=True))


def test_metrics_of_one_list_are_those_worked_out_by_hand() -> None:
    # Ranks 2 and 4 of 4 are hits, 3 were to be found.
    found = _measured([0, 1, 0, 1], 3)
    gain = 1 / np.log2(3) + 1 / np.log2(5)
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert found == pytest.approx(
        {"ndcg": gain / ideal, "hit_rate": 1.0, "recall": 2 / 3, "precision": 0.5, "mrr": 0.5}
    )


def test_a_perfect_list_has_ndcg_1_even_where_more_than_k_were_to_be_found() -> None:
    assert _measured([1, 1], 7) == pytest.approx(
        {"ndcg": 1.0, "hit_rate": 1.0, "recall": 2 / 7, "precision": 1.0, "mrr": 1.0}
    )


def test_a_list_without_a_hit_has_0_everywhere() -> None:
    assert set(_measured([0, 0, 0], 2).values()) == {0.0}


@pytest.fixture
def ratings() -> Ratings:
    before = [(0, 0, 5.0), (0, 1, 2.0), (1, 0, 4.0), (1, 2, 4.0), (2, 3, 4.0), (2, 0, 4.0)]
    after = [(0, 2, 5.0), (0, 3, 3.0), (1, 4, 5.0), (3, 0, 4.0), (3, 3, 5.0), (2, 1, 1.0)]
    return _ratings(before + after, users=4, items=5)


def test_what_a_user_rated_before_is_not_recommended_and_unknown_items_neither(ratings: Ratings) -> None:
    split = TopNSplit.of(ratings, PROTOCOL)
    users = np.array([0, 3], np.int32)
    lists = top_items(split, _fixed([5, 4, 3, 2, 99]), users, 3)
    assert lists.tolist() == [[2, 3, -1], [0, 1, 2]]


def test_known_and_new_users_are_measured_apart(ratings: Ratings) -> None:
    report = evaluate_topn(TopNSplit.of(ratings, PROTOCOL), _fixed([5, 4, 3, 2, 1]), PROTOCOL)
    assert report.items == 4
    # User 1 liked item 4 only, which nobody had rated before: nobody could have recommended it.
    assert report.left_out_ratings == 1
    known, new = report.segments["known"], report.segments["new"]
    assert (known.users, known.ratings, new.users, new.ratings) == (1, 1, 1, 2)
    # User 0 gets items 2 and 3, and liked 2; user 3 gets 0, 1, 2, and liked 0 and 3.
    assert known.metrics["ndcg@3"].mean == pytest.approx(1.0)
    assert known.coverage == pytest.approx(2 / 4)
    assert new.metrics["ndcg@3"].mean == pytest.approx(1 / (1 + 1 / np.log2(3)))
    assert new.metrics["recall@3"].mean == pytest.approx(0.5)
    assert new.coverage == pytest.approx(3 / 4)
    everybody = report.segments["all"]
    assert everybody.users == 2
    assert everybody.coverage == pytest.approx(1.0)
    low, high = everybody.metrics["recall@3"].low, everybody.metrics["recall@3"].high
    assert low == pytest.approx(0.5) and high == pytest.approx(1.0)


def test_a_user_with_too_few_ratings_is_left_out(ratings: Ratings) -> None:
    protocol = TopNProtocol(k=3, until=0.5, minimum_user_ratings=3)
    split = TopNSplit.of(ratings, protocol)
    assert set(split.after.user.tolist()) == {0, 1, 2}


def test_an_item_rated_too_seldom_is_not_recommended(ratings: Ratings) -> None:
    protocol = TopNProtocol(k=3, until=0.5, minimum_user_ratings=1, minimum_item_ratings=3)
    assert TopNSplit.of(ratings, protocol).recommendable.tolist() == [True, False, False, False, False]


def test_equal_scores_are_ordered_by_nothing_the_ratings_say(ratings: Ratings) -> None:
    lists = top_items(TopNSplit.of(ratings, PROTOCOL), _fixed([0, 0, 0, 0, 0]), np.array([3], np.int32), 2)
    assert lists.tolist() == [[0, 1]]


def test_a_scorer_that_is_not_a_number_is_refused(ratings: Ratings) -> None:
    split = TopNSplit.of(ratings, PROTOCOL)
    with pytest.raises(ValueError, match="scores of 1 users"):
        top_items(split, _fixed([np.nan] * 5), np.array([3], np.int32), 2)


def test_nothing_after_the_cut_cannot_be_measured(ratings: Ratings) -> None:
    with pytest.raises(ValueError, match="0 after"):
        TopNSplit.cut(ratings, ratings.take(np.zeros(0, np.int64)), PROTOCOL)


def test_recent_popularity_forgets_with_its_half_life(ratings: Ratings) -> None:
    counts = decayed_counts(ratings, 11.0, half_life_s=1.0, minimum_rating=4.0)
    assert counts[4] == pytest.approx(2.0**-3)
    assert counts[3] == pytest.approx(2.0**-7 + 2.0**-1)
    plain = popularity_scorer(ratings)(np.array([0, 1], np.int32))
    assert plain.tolist() == [[4, 2, 2, 3, 1]] * 2


def test_the_neighbours_of_what_was_liked_come_first(ratings: Ratings) -> None:
    before = TopNSplit.of(ratings, PROTOCOL).before
    scores = item_neighbours_scorer(before, shrinkage=0.0)(np.array([0, 3], np.int32))
    # Item 0 was liked by three users, 2 and 3 by one of them each.
    assert scores[0] == pytest.approx([0, 0, 1 / np.sqrt(3), 1 / np.sqrt(3), 0])
    assert scores[1].tolist() == [3, 0, 1, 1, 0]


def _bundle(folder: Path, end_s: float) -> Bundle:
    manifest = Manifest(
        name="films",
        model="test",
        d=2,
        tower=TowerSpec(features=("news_id",)),
        user=UserSpec(half_lives_s=(1.0,), negative_half_life_s=1.0, prior_weight=1.0),
        vocabularies={"news_id": ("i0", "i1", "i2", "i3"), "user_id": ("u0",)},
        training=TrainingRecord(folder="x", data_sha256="", examples=1, end_s=end_s, seed=0),
    )
    weights = {
        "article.news_id.weight": np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0, 2]], np.float32),
        "article.bias": np.array([0, 0, 0, 0.5, 0], np.float32),
        "user.table.weight": np.array([[1, 0], [0, 1]], np.float32),
    }
    return save_bundle(folder, manifest, weights)


def test_a_bundle_is_measured_by_its_users_and_items_ids(tmp_path: Path, ratings: Ratings) -> None:
    report = evaluate_bundle_topn(_bundle(tmp_path / "b", 5.0), ratings, PROTOCOL)
    # User 0 scores items 2 and 3 with 1.5 and 2; the new user 3 has row 0: 1, 0, 1.5, 0.
    assert report.segments["known"].metrics["mrr@3"].mean == pytest.approx(0.5)
    assert report.segments["new"].metrics["mrr@3"].mean == pytest.approx(0.5)
    assert orjson.loads(orjson.dumps(report))["items"] == 4


def test_a_bundle_that_has_seen_the_test_is_refused(tmp_path: Path, ratings: Ratings) -> None:
    with pytest.raises(BundleError, match="test's period"):
        evaluate_bundle_topn(_bundle(tmp_path / "b", 6.0), ratings, PROTOCOL)
