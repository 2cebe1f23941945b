"""The figures of an embedding space are what their formulas say, and chance is what chance gives."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from freshet.models.evaluation.drift.space import (
    measure_space,
    nearest,
    neighbourhood_overlap,
    principal_plane,
    same_group_share,
    silhouette,
    silhouette_of_clusters,
)


def clusters(
    n: int, groups: int, spread: float, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    codes = np.arange(n) % groups
    centres = np.eye(8)[:groups]
    return (centres[codes] + spread * random.normal(size=(n, 8))).astype(np.float32), codes


def test_a_silhouette_worked_by_hand() -> None:
    # Cosine distances: 0 within a group, 1 between the first two groups.
    vectors = np.array([[1, 0], [2, 0], [0, 1], [0, 3]], np.float32)

    assert silhouette(vectors, np.array([0, 0, 1, 1])) == pytest.approx(1.0)
    # Each alone in being near the other group: a = 1, b = (0 + 1) / 2.
    assert silhouette(vectors, np.array([0, 1, 0, 1])) == pytest.approx(-0.5)


def test_a_silhouette_needs_two_groups_and_two_of_a_kind() -> None:
    vectors = np.eye(3, dtype=np.float32)

    assert silhouette(vectors, np.array([0, 0, 0])) is None
    assert silhouette(vectors, np.array([0, 1, 2])) is None
    assert silhouette(vectors, np.array([0, 0, -1])) is None


def test_k_means_finds_the_clusters_that_are_there() -> None:
    tight, _ = clusters(120, 4, 0.05)
    cloud, _ = clusters(120, 1, 3.0)

    found, none = silhouette_of_clusters(tight, 4), silhouette_of_clusters(cloud, 4)
    assert found is not None and none is not None
    assert found > 0.9
    assert none < 0.3
    assert silhouette_of_clusters(np.ones((5, 2), np.float32), 3) is None


def test_the_nearest_are_by_cosine_and_never_the_article_itself() -> None:
    vectors = np.array([[1, 0], [9, 1], [0, 1], [-1, 0]], np.float32)

    assert nearest(vectors, 2).tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    with pytest.raises(ValueError, match="between 1 and 3"):
        nearest(vectors, 4)


def test_neighbours_of_the_same_category_against_chance() -> None:
    tight, codes = clusters(60, 3, 0.05)
    same, chance = same_group_share(nearest(tight, 5), codes)

    assert same == 1.0
    assert chance == pytest.approx(19 / 59)

    random = np.random.default_rng(0)
    drawn = np.array([random.choice(np.delete(np.arange(60), i), 20, replace=False) for i in range(60)])
    by_chance, _ = same_group_share(drawn, codes)
    assert by_chance == pytest.approx(chance, abs=0.04)
    assert same_group_share(drawn, np.zeros(60, np.int64)) == (None, None)


def test_overlap_by_hand() -> None:
    one, other = np.array([[1, 2], [0, 2]]), np.array([[2, 3], [0, 2]])

    assert neighbourhood_overlap(one, other).mean() == pytest.approx((0.5 + 1.0) / 2)
    assert neighbourhood_overlap(one, other)[np.array([True, False])].mean() == 0.5
    with pytest.raises(ValueError, match="cannot be compared"):
        neighbourhood_overlap(one, other[:1])


def test_the_principal_plane_holds_the_variance_and_the_distances() -> None:
    random = np.random.default_rng(0)
    flat = random.normal(size=(50, 2)) * [3.0, 1.0]
    turn = np.linalg.qr(random.normal(size=(5, 5)))[0][:2]
    places, shares = principal_plane((flat @ turn).astype(np.float32))

    assert sum(shares) == pytest.approx(1.0, abs=1e-5)
    assert shares[0] > shares[1]
    between = np.linalg.norm(flat[0] - flat[1])
    assert np.linalg.norm(places[0] - places[1]) == pytest.approx(between, rel=1e-4)


@pytest.mark.parametrize("vectors", [np.zeros((1, 4)), np.zeros((3, 2)), np.ones((4, 1))])
def test_a_plane_of_almost_nothing(vectors: NDArray[np.float64]) -> None:
    places, shares = principal_plane(vectors.astype(np.float32))

    assert places.shape == (len(vectors), 2)
    assert shares == (0.0, 0.0)


def test_a_space_is_measured_on_what_has_a_vector() -> None:
    vectors, codes = clusters(90, 3, 0.1)
    vectors[::9] = 0
    names = [("", "sports", "travel")[code] for code in codes]
    report = measure_space(vectors, names, vectors, k=4, clusters=3, max_sample=50)

    assert (report.articles, report.sampled) == (80, 50)
    assert report.overlap_with_text == 1.0
    assert report.overlap_by_chance == pytest.approx(4 / 49)
    assert report.silhouette_categories is not None and report.silhouette_categories > 0.8
    assert report.same_category is not None and report.same_category_by_chance is not None
    assert report.same_category > report.same_category_by_chance
    assert measure_space(vectors, names, vectors, k=4, clusters=3, max_sample=50) == report


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_space_of_almost_nothing_has_no_figures(n: int) -> None:
    report = measure_space(np.ones((n, 3), np.float32), ["sports"] * n)

    assert report.articles == n
    assert report.silhouette_clusters is report.same_category is report.overlap_with_text is None
