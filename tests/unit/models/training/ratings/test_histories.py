"""What was known at the moment of a rating, and nothing of what came with it or after it."""

from __future__ import annotations

import numpy as np
import pytest

from freshet.models.datasets.movielens import Ratings
from freshet.models.training.ratings.histories import NOTHING, PopularityInTime, RatingHistories


def _ratings(rows: list[tuple[int, int, float, float]]) -> Ratings:
    user, item, rating, time_s = (np.array(column) for column in zip(*rows, strict=True))
    return Ratings(
        user.astype(np.int32),
        item.astype(np.int32),
        rating.astype(np.float32),
        time_s.astype(np.float64),
        ("u0", "u1"),
        ("i0", "i1", "i2", "i3"),
        ("",) * 4,
        ((),) * 4,
    )


@pytest.fixture
def ratings() -> Ratings:
    return _ratings(
        [
            (0, 0, 5.0, 10.0),
            (1, 0, 5.0, 10.0),
            (0, 1, 2.0, 11.0),
            (0, 2, 4.0, 12.0),
            (0, 3, 5.0, 12.0),
            (1, 3, 5.0, 20.0),
        ]
    )


def test_only_strictly_earlier_likes_are_seen_the_newest_first(ratings: Ratings) -> None:
    items, age_s = RatingHistories(ratings, 4.0).before(ratings.user, ratings.time_s, 5)
    assert items.tolist() == [[NOTHING], [NOTHING], [0], [0], [0], [0]]
    assert age_s[:, 0].tolist() == [0.0, 0.0, 1.0, 2.0, 2.0, 10.0]
    items, age_s = RatingHistories(ratings, 4.0).before(np.array([0, 1]), np.array([30.0, 5.0]), 2)
    assert items.tolist() == [[3, 2], [NOTHING, NOTHING]]
    assert age_s.tolist() == [[18.0, 18.0], [0.0, 0.0]]


def test_tenure_begins_with_the_first_rating_whatever_its_stars(ratings: Ratings) -> None:
    tenure_s = RatingHistories(ratings, 6.0).tenure_s(np.array([0, 0, 1]), np.array([5.0, 12.0, 20.0]))
    assert tenure_s.tolist() == [0.0, 2.0, 10.0]


def test_a_user_who_liked_nothing_has_no_history(ratings: Ratings) -> None:
    items, age_s = RatingHistories(ratings, 5.5).before(np.array([0]), np.array([99.0]), 3)
    assert items.shape == age_s.shape == (1, 0)


def test_popularity_is_that_of_earlier_likes_and_decays(ratings: Ratings) -> None:
    popularity = PopularityInTime(ratings, 4.0, (1.0, 1e9))
    at_20 = popularity.at(np.array([20.0]), np.array([[0, 1, 3]]))[0]
    assert at_20[:, 0] == pytest.approx(np.log1p([2 * 2.0**-10, 0.0, 2.0**-8]), abs=1e-6)
    assert at_20[:, 1] == pytest.approx(np.log1p([2.0, 0.0, 1.0]), abs=1e-6)
    assert popularity.at(np.array([10.0]), np.array([[0]])).max() == 0.0
    assert popularity.last[:, 1] == pytest.approx(np.log1p([2.0, 0.0, 1.0, 2.0]), abs=1e-6)


def test_popularity_of_no_half_life_is_empty(ratings: Ratings) -> None:
    assert PopularityInTime(ratings, 4.0, ()).at(np.array([20.0]), np.array([[0, 1]])).shape == (1, 2, 0)
