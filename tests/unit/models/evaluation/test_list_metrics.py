"""Coverage, diversity, novelty and RMSE are what their formulas say, on cases worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from freshet.models.evaluation.list_metrics import coverage, diversity, novelty, self_information
from freshet.models.evaluation.ratings.metrics import rmse, rmse_estimate


def test_coverage_counts_each_article_once() -> None:
    assert coverage(np.array([[0, 1, -1], [1, 2, 0]]), 6) == 0.5


@pytest.mark.parametrize("recommendable", [0, 1])
def test_coverage_of_more_than_there_is_is_refused(recommendable: int) -> None:
    with pytest.raises(ValueError, match="hold 2 articles"):
        coverage(np.array([[0, 1]]), recommendable)


def test_diversity_is_the_mean_distance_of_pairs_whatever_their_length() -> None:
    vectors = np.array([[2, 0], [0, 3], [-1, 0], [0, 0]], np.float32)

    lists = np.array([[0, 1, 2], [0, 0, -1], [0, 2, 3], [0, 3, -1], [-1, -1, -1]])

    # Cosines 0, -1, 0: distances 1, 2, 1. The zero vector and the empty places are passed over.
    assert diversity(lists, vectors).tolist() == pytest.approx([4 / 3, 0, 2, math.nan, math.nan], nan_ok=True)


def test_diversity_equals_the_plain_loop() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(30, 5)).astype(np.float32)
    lists = np.array([random.choice(30, 6, replace=False) for _ in range(20)])

    def distance(i: int, j: int) -> float:
        norms = np.linalg.norm(vectors[i]) * np.linalg.norm(vectors[j])
        return float(1.0 - vectors[i] @ vectors[j] / norms)

    loop = [np.mean([distance(i, j) for i in row for j in row if i < j]) for row in lists]
    assert diversity(lists, vectors) == pytest.approx(np.array(loop), abs=1e-5)


def test_novelty_is_the_information_of_a_rare_article() -> None:
    information = self_information(np.array([5, 1, 0]))

    assert information.tolist() == pytest.approx([math.log2(9 / 6), math.log2(9 / 2), math.log2(9)])
    assert novelty(np.array([[0, 2], [1, -1], [-1, -1]]), information).tolist() == pytest.approx(
        [(math.log2(9 / 6) + math.log2(9)) / 2, math.log2(9 / 2), math.nan], nan_ok=True
    )


def test_rmse_by_hand_with_its_interval() -> None:
    assert rmse([1, 2, 3], [1, 4, 2]) == pytest.approx(math.sqrt(5 / 3))

    random = np.random.default_rng(0)
    errors = random.normal(size=4_000)
    estimate = rmse_estimate(errors, np.zeros(4_000))
    assert estimate.mean == pytest.approx(1.0, abs=0.05)
    assert estimate.low < estimate.mean < estimate.high
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 / math.sqrt(2 * 4_000), rel=0.2)


@pytest.mark.parametrize(("predicted", "given"), [([], []), ([1], [1, 2]), ([math.nan], [1]), ([[1]], [[1]])])
def test_ratings_that_cannot_be_measured_are_refused(predicted: list[float], given: list[float]) -> None:
    with pytest.raises(ValueError, match="rating"):
        rmse(predicted, given)
