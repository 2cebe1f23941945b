"""Drift of vectors: by hand where a hand can, and its laws: what stays, what rotates, what is symmetric."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.models.evaluation.drift.vectors import (
    centroid_shift,
    compare_bundles,
    compare_neighbourhoods,
    compare_periods,
    norm_shift,
)
from freshet.models.ports import FloatMatrix

seeds = st.integers(0, 1_000)


def _vectors(seed: int, n: int = 60, d: int = 8) -> FloatMatrix:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def _rotation(seed: int, d: int = 8) -> FloatMatrix:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))
    return q.astype(np.float32)


def _square() -> FloatMatrix:
    """Two pairs of near vectors."""
    return np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]], np.float32)


@given(seeds)
def test_identical_vectors_have_not_drifted(seed: int) -> None:
    vectors = _vectors(seed)
    drift = compare_bundles(vectors, vectors, k=5)
    assert drift.overlap.mean == drift.overlap.lowest_tenth == 1.0
    assert drift.norms.relative == 0.0
    assert drift.cosines is not None
    assert drift.cosines.highest_tenth == pytest.approx(0.0, abs=1e-12)
    assert drift.centroid is not None
    assert drift.centroid.cosine_distance == pytest.approx(0.0, abs=1e-9)
    assert drift.centroid.distance == drift.centroid.in_spreads == 0.0


@given(seeds, st.floats(0.1, 10))
def test_neighbourhoods_survive_a_rotation_and_a_scaling(seed: int, scale: float) -> None:
    vectors = _vectors(seed)
    rotated = np.float32(scale) * vectors @ _rotation(seed + 1)
    drift = compare_bundles(vectors, rotated, k=5)
    assert drift.overlap.mean > 0.99, "all but what float32 ties"
    assert drift.norms.relative == pytest.approx(scale - 1.0, rel=1e-4, abs=1e-4)


@given(seeds)
def test_comparing_backwards_gives_the_same(seed: int) -> None:
    a, b = _vectors(seed), _vectors(seed + 1) * 2
    there, back = compare_bundles(a, b, k=5), compare_bundles(b, a, k=5)
    assert there.overlap == back.overlap
    assert there.cosines == back.cosines
    assert there.centroid == back.centroid
    assert (1 + there.norms.relative) * (1 + back.norms.relative) == pytest.approx(1.0)


def test_unrelated_vectors_overlap_as_chance_has_it() -> None:
    found = compare_bundles(_vectors(1, 800, 16), _vectors(2, 800, 16), k=20).overlap
    assert found.by_chance == pytest.approx(20 / 799)
    assert found.mean == pytest.approx(found.by_chance, rel=0.2)


def test_overlap_is_what_a_hand_counts() -> None:
    before = _square()
    after = before[[0, 2, 1, 3]]  # articles 1 and 2 have changed places
    assert compare_neighbourhoods(before, after, 1).mean == 0.0
    # Article 3 keeps both of its two nearest, 1 and 2; each of the others keeps 3 alone.
    assert compare_neighbourhoods(before, after, 2).mean == (3 * 0.5 + 1.0) / 4
    assert compare_neighbourhoods(before, after, 3).mean == 1.0


def test_a_sample_is_looked_at_among_all() -> None:
    vectors = _vectors(0, 300)
    found = compare_neighbourhoods(vectors, vectors + np.float32(0.1), 5, sample=40)
    assert found.articles == 40
    everything = compare_neighbourhoods(vectors, vectors + np.float32(0.1), 5)
    assert everything.articles == 300
    assert found.mean == pytest.approx(everything.mean, abs=0.1)


def test_articles_without_a_vector_are_counted_and_left_out() -> None:
    before, after = _vectors(0), _vectors(0)
    before[:3], after[[2, 5]] = 0.0, 0.0
    drift = compare_bundles(before, after, k=5)
    assert (drift.articles, drift.only_before, drift.only_after) == (56, 1, 2)
    assert drift.overlap.mean == 1.0


def test_other_dimensions_leave_what_needs_no_axes() -> None:
    drift = compare_bundles(_vectors(0, d=8), _vectors(0, d=4), k=5)
    assert drift.cosines is None
    assert drift.centroid is None
    assert 0 < drift.overlap.mean < 1


def test_norms_and_centroids_are_what_a_hand_computes() -> None:
    before = np.array([[3.0, 4.0], [0.0, 1.0]])
    after = np.array([[6.0, 8.0], [0.0, 2.0]])
    norms = norm_shift(before, after)
    assert (norms.before_mean, norms.after_mean, norms.before_std, norms.after_std) == (3.0, 6.0, 2.0, 4.0)
    assert norms.relative == 1.0
    centroid = centroid_shift(np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([[1.0, 1.0], [-1.0, 1.0]]))
    assert centroid.cosine_distance == pytest.approx(1.0)
    assert centroid.distance == pytest.approx(math.sqrt(2))
    assert centroid.in_spreads == pytest.approx(math.sqrt(2))


def test_nothing_to_divide_by_is_not_a_number() -> None:
    zero = np.zeros((2, 2))
    assert math.isnan(norm_shift(zero, zero).relative)
    shift = centroid_shift(zero, zero)
    assert math.isnan(shift.cosine_distance)
    assert math.isnan(shift.in_spreads)


def test_periods_tell_how_unlike_all_before_new_articles_are() -> None:
    before = _square()
    after = np.array([[2.0, 0.1], [-1.0, 0.0], [0.0, 0.0]], np.float32)
    drift = compare_periods(before, after)
    assert (drift.before, drift.after) == (4, 2)
    like = math.cos(math.atan(0.1) - math.atan(0.05))
    nearest_to_left = 0.0  # (0, 1) is at a right angle
    assert drift.novelty.after == pytest.approx(1 - (like + nearest_to_left) / 2, abs=1e-6)
    assert drift.novelty.before == pytest.approx(1 - math.cos(math.atan(0.1)), abs=1e-6)


@given(seeds)
def test_a_period_like_the_last_is_no_news(seed: int) -> None:
    drift = compare_periods(_vectors(seed, 50), _vectors(seed, 50))
    assert drift.norms.relative == 0.0
    assert drift.centroid.distance == 0.0
    assert drift.novelty.after == pytest.approx(0.0, abs=1e-5)
    assert drift.novelty.before > 0.0


@pytest.mark.parametrize(
    ("before", "after", "k", "message"),
    [
        (_vectors(0, 5), _vectors(0, 6), 2, "not of the same articles"),
        (_vectors(0, 5), _vectors(0, 5), 5, "5 articles with both vectors: more than k = 5"),
        (_vectors(0, 5), _vectors(0, 5), 0, "k at least 1"),
        (np.zeros((5, 8), np.float32), _vectors(0, 5), 1, "0 articles with both vectors"),
    ],
)
def test_bundles_that_cannot_be_compared_are_refused(
    before: FloatMatrix, after: FloatMatrix, k: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compare_bundles(before, after, k)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (_vectors(0, 5), _vectors(0, 5, 4), "not of one space"),
        (_vectors(0, 1), _vectors(0, 5), "1 earlier and 5 later"),
        (_vectors(0, 5), np.zeros((3, 8), np.float32), "5 earlier and 0 later"),
    ],
)
def test_periods_that_cannot_be_compared_are_refused(
    before: FloatMatrix, after: FloatMatrix, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compare_periods(before, after)
