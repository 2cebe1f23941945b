"""Maximal marginal relevance: the best first, near-copies later, no surprises at the ends of the scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from freshet.models.recommend.diversity import maximal_marginal_relevance

shapes = st.integers(1, 12)


def vectors_of(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, 4)).astype(np.float32)


@given(arrays.arrays(np.float64, shapes, elements=st.floats(-5, 5)), st.integers(0, 15), st.floats(0, 1))
def test_picks_are_distinct_as_many_as_asked_and_begin_with_the_best(
    scores: np.ndarray, k: int, diversity: float
) -> None:
    picks = maximal_marginal_relevance(scores, vectors_of(len(scores)), k, diversity)

    assert len(picks) == len(set(picks)) == min(k, len(scores))
    if picks:
        assert picks[0] == int(np.argmax(scores))


@given(arrays.arrays(np.float64, shapes, elements=st.floats(-5, 5)))
def test_no_diversity_is_the_order_of_the_scores(scores: np.ndarray) -> None:
    n = len(scores)

    assert maximal_marginal_relevance(scores, vectors_of(n), n, 0.0) == sorted(
        range(n), key=lambda i: (-scores[i], i)
    )


def test_a_near_copy_of_a_pick_gives_way_to_another_story() -> None:
    scores = np.array([1.0, 0.95, 0.7])
    vectors = np.array([[1, 0], [0.99, 0.1], [0, 1]], np.float32)

    assert maximal_marginal_relevance(scores, vectors, 3, 0.0) == [0, 1, 2]
    assert maximal_marginal_relevance(scores, vectors, 3, 0.6) == [0, 2, 1]


def test_an_article_without_a_vector_is_similar_to_nothing() -> None:
    scores = np.array([1.0, 0.9, 0.5])
    vectors = np.array([[1, 0], [1, 0], [0, 0]], np.float32)

    assert maximal_marginal_relevance(scores, vectors, 2, 0.5) == [0, 2]


def test_the_length_of_a_vector_does_not_matter() -> None:
    scores = np.array([1.0, 0.8, 0.6, 0.4, 0.2])
    vectors = vectors_of(5)

    assert maximal_marginal_relevance(scores, vectors, 5, 0.5) == maximal_marginal_relevance(
        scores, vectors * np.array([[1], [10], [0.1], [5], [3]], np.float32), 5, 0.5
    )


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        maximal_marginal_relevance(np.zeros(2), np.zeros((3, 4), np.float32), 1, 0.5)
    with pytest.raises(ValueError, match="diversity"):
        maximal_marginal_relevance(np.zeros(2), np.zeros((2, 4), np.float32), 1, 1.5)
