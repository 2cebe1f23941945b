r"""Metrics of an embedding space: clusters and neighbourhoods.

- **Silhouette** (Rousseeuw, "Silhouettes", J. Comput. Appl. Math. 1987): :math:`(b - a) / \max(a, b)` of each
  article, with a the mean distance to its own group and b that to the nearest other group. The mean is 1 for
  tight groups far apart, 0 for one cloud, and negative for groups that overlap. The silhouette of k-means'
  groups measures how clustered the space is, that of categories how far the space follows them.
- **Coherence** of neighbourhoods: the share of an article's k nearest that have its category, beside the
  share by chance; and the share that is also among its k nearest by another similarity, such as of the texts
  or of shared readers (overlap@k of Wang et al., "Towards understanding the instability of network
  embedding", TKDE 2020).

Distances are cosine distances, :math:`1 - \cos`; zero vectors have no direction and are left out. A space is
measured on a sample, because time and memory grow with the square of its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.kernels.unit_norm import to_unit_norm
from freshet.models.ports import FloatMatrix

MAX_SAMPLE = 2_000
"""Sampled articles: a matrix of 16 MB, and a second of k-means."""
DEFAULT_CLUSTERS = 12
DEFAULT_NEIGHBOURS = 10
_MIN_SAMPLE = 3
_BLOCK = 1_024


@dataclass(frozen=True, slots=True)
class SpaceReport:
    """Metrics of one space; ``None`` where the data does not allow one."""

    articles: int
    """Articles with a vector."""
    sampled: int
    """Articles measured."""
    k: int
    """Neighbours of each article."""
    clusters: int
    """Clusters of k-means."""
    silhouette_clusters: float | None
    silhouette_categories: float | None
    same_category: float | None
    """Share of the k nearest that have the article's category."""
    same_category_by_chance: float | None
    """Share that random neighbours would have."""
    overlap_with_text: float | None
    """Share of the k nearest that are among the k nearest by text vectors."""
    overlap_by_chance: float | None


def measure_space(
    vectors: FloatMatrix,
    categories: Sequence[str],
    text_vectors: FloatMatrix | None = None,
    *,
    k: int = DEFAULT_NEIGHBOURS,
    clusters: int = DEFAULT_CLUSTERS,
    max_sample: int = MAX_SAMPLE,
    seed: int = 0,
) -> SpaceReport:
    """Measure article vectors on a sample; the same arguments give the same report.

    Args:
        vectors: Shape (n, d), zeros where an article has no vector.
        categories: Categories of the ``n`` articles, empty where unknown.
        text_vectors: Shape (n, d_text), zeros without text; neighbourhoods are compared with theirs.
        k: Neighbours of each article.
        clusters: Clusters of k-means.
        max_sample: Largest number of articles measured.
        seed: Seed of the sample and of k-means.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
    """
    known = np.flatnonzero(vectors.any(axis=1))
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(known, max_sample, replace=False)) if len(known) > max_sample else known
    n = len(rows)
    k = max(1, min(k, n - 1))
    clusters = max(2, min(clusters, n - 1))
    sample = vectors[rows]
    codes = category_codes([categories[row] for row in rows.tolist()])
    enough = n >= _MIN_SAMPLE
    near = nearest(sample, k) if enough else None
    shares = (None, None) if near is None else same_group_share(near, codes)
    overlap = None
    if near is not None and text_vectors is not None:
        texts = text_vectors[rows]
        has_text = (texts != 0).any(axis=1)
        if has_text.sum() > k:
            overlap = float(neighbourhood_overlap(near, nearest(texts, k))[has_text].mean())
    return SpaceReport(
        articles=len(known),
        sampled=n,
        k=k,
        clusters=clusters,
        silhouette_clusters=silhouette_of_clusters(sample, clusters, seed) if enough else None,
        silhouette_categories=silhouette(sample, codes) if enough else None,
        same_category=shares[0],
        same_category_by_chance=shares[1],
        overlap_with_text=overlap,
        overlap_by_chance=None if overlap is None else k / (n - 1),
    )


def category_codes(categories: Sequence[str]) -> NDArray[np.int64]:
    """Number the names (n,) from 0 in the order of the alphabet; the empty name is -1."""
    numbers = {name: number for number, name in enumerate(sorted({*categories} - {""}))}
    return np.array([numbers.get(name, -1) for name in categories], np.int64)


def silhouette(vectors: FloatMatrix, groups: NDArray[np.int64]) -> float | None:
    """Mean silhouette by cosine distance; ``None`` with fewer than two groups, or one article in each.

    Args:
        vectors: Shape (n, d), without zero rows.
        groups: Shape (n,); articles of group -1 are left out.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
    """
    from sklearn.metrics import silhouette_score

    kept = groups >= 0
    found = len(np.unique(groups[kept]))
    if not 2 <= found < int(kept.sum()):  # noqa: PLR2004 - a silhouette compares two groups
        return None
    return float(silhouette_score(to_unit_norm(vectors[kept]), groups[kept], metric="cosine"))


def silhouette_of_clusters(vectors: FloatMatrix, clusters: int, seed: int = 0) -> float | None:
    """Mean silhouette of the groups that k-means finds among the unit vectors.

    Args:
        vectors: Shape (n, d), without zero rows.
        clusters: Number of groups, less than ``n``.
        seed: Seed of k-means.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
    """
    from sklearn.cluster import KMeans

    unit = to_unit_norm(vectors)
    distinct = len(np.unique(unit, axis=0))
    if distinct < _MIN_SAMPLE:
        return None
    groups = KMeans(min(clusters, distinct - 1), n_init=4, random_state=seed).fit_predict(unit)
    return silhouette(vectors, groups.astype(np.int64))


def nearest(vectors: FloatMatrix, k: int) -> NDArray[np.int64]:
    """Nearest ``k`` other rows (n, k) by cosine, the nearest first; of equals the lower row.

    Raises:
        ValueError: ``k`` is not between 1 and n - 1.

    >>> nearest(np.array([[1, 0], [1, 0.1], [0, 1]], np.float32), k=1).tolist()
    [[1], [0], [1]]
    """
    n = len(vectors)
    if not 1 <= k < n:
        raise ValueError(f"k is {k}, must be between 1 and {n - 1}, one less than the vectors")
    unit = to_unit_norm(np.asarray(vectors, np.float32))
    found = np.empty((n, k), np.int64)
    for start in range(0, n, _BLOCK):
        part = unit[start : start + _BLOCK] @ unit.T
        part[np.arange(len(part)), np.arange(start, start + len(part))] = -np.inf
        found[start : start + _BLOCK] = np.argsort(-part, axis=1, kind="stable")[:, :k]
    return found


def same_group_share(
    neighbours: NDArray[np.int64], groups: NDArray[np.int64]
) -> tuple[float | None, float | None]:
    """Share of neighbours in an article's own group, and the share by chance; ``None`` without two groups.

    Args:
        neighbours: Shape (n, k): rows of each article's neighbours.
        groups: Shape (n,); articles of group -1 have no group.
    """
    asked = groups >= 0
    if len(np.unique(groups[asked])) < 2:  # noqa: PLR2004 - with one group the share is 1 whatever the space
        return None, None
    same = groups[neighbours[asked]] == groups[asked, None]
    sizes = np.bincount(groups[asked])
    chance = (sizes * (sizes - 1.0)).sum() / asked.sum() / (len(groups) - 1)
    return float(same.mean()), float(chance)


def neighbourhood_overlap(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share (n,) of each article's neighbours by one similarity that are its neighbours by another, too.

    Args:
        one: Shape (n, k): each article's neighbours, distinct rows in any order.
        other: Shape (n, k): its neighbours by the other similarity.

    Raises:
        ValueError: The shapes differ.

    >>> neighbourhood_overlap(np.array([[1, 2], [0, 3]]), np.array([[2, 4], [3, 0]])).tolist()
    [0.5, 1.0]
    """
    if one.shape != other.shape:
        raise ValueError(f"neighbourhoods of {one.shape} and {other.shape} cannot be compared")
    shares: NDArray[np.float64] = (one[:, :, None] == other[:, None, :]).any(axis=2).mean(axis=1)
    return shares


def principal_plane(vectors: FloatMatrix) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Project on the two principal axes: coordinates (n, 2), and each axis' share of the variance.

    Pearson, "On lines and planes of closest fit", 1901. The coordinate farthest from 0 is positive on each
    axis.

    Args:
        vectors: Shape (n, d), n at least 1.
    """
    centred = np.asarray(vectors, np.float64) - np.mean(vectors, axis=0, dtype=np.float64)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    places = centred @ axes[:2].T
    if places.shape[1] == 1:
        places = np.column_stack([places, np.zeros(len(places))])
    farthest = np.abs(places).argmax(axis=0)
    places *= np.where(places[farthest, [0, 1]] < 0, -1.0, 1.0)
    total = float((spread**2).sum())
    shares = [float(s**2 / total) if total > 0 else 0.0 for s in (*spread[:2], 0.0)]
    return places, (shares[0], shares[1])
