r"""What an embedding space is like: clusters, neighbours, and whether they mean anything.

- **Silhouette** (Rousseeuw, "Silhouettes", J. Comput. Appl. Math. 1987): of each article, with a the mean
  distance to its own group and b that to the nearest other group, :math:`(b - a) / \max(a, b)`; the mean is
  1 for tight groups far apart, 0 for one cloud, negative where groups lie within one another. Over the groups
  that k-means finds it says how clustered the space is; over categories, how far it follows them.
- **Coherence** of neighbourhoods: how many of an article's k nearest have its category, against what chance
  would give; and how many are also among its k nearest by another similarity, such as that of the texts or of
  shared readers (the overlap@k of Wang et al., "Towards understanding the instability of network embedding",
  TKDE 2020).

All distances are cosines' (:math:`1 - \cos`); a zero vector has no direction and is left out. A space is
measured on a sample, because both take time and memory in the square of its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.kernels.unit_norm import to_unit_norm
from freshet.models.ports import FloatMatrix

MAX_SAMPLE = 2_000
"""Articles; a matrix of 16 MB, and a second of k-means."""
DEFAULT_CLUSTERS = 12
DEFAULT_NEIGHBOURS = 10
_MIN_SAMPLE = 3
_BLOCK = 1_024


@dataclass(frozen=True, slots=True)
class SpaceReport:
    """Figures of one space; ``None`` where the data does not allow one."""

    articles: int
    """With a vector."""
    sampled: int
    """Of them measured."""
    k: int
    """Neighbours looked at."""
    clusters: int
    """Of k-means."""
    silhouette_clusters: float | None
    silhouette_categories: float | None
    same_category: float | None
    """Share of the k nearest that have the article's category."""
    same_category_by_chance: float | None
    """What it would be with neighbours drawn at random."""
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
        vectors: Shape (n, d); zeros where an article has no vector.
        categories: Of the ``n`` articles, empty where unknown.
        text_vectors: Shape (n, d_text), zeros without text: what neighbourhoods are compared with.
        k: Neighbours of each article.
        clusters: Of k-means.
        max_sample: Articles measured at most.
        seed: Of the sample and of k-means.

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
    """Numbers (n,) from 0 on for names; -1 for the empty one."""
    numbers = {name: number for number, name in enumerate(sorted({name for name in categories if name}))}
    return np.array([numbers.get(name, -1) for name in categories], np.int64)


def silhouette(vectors: FloatMatrix, groups: NDArray[np.int64]) -> float | None:
    """The mean silhouette by cosine distance; ``None`` with fewer than two groups, or one group each.

    Args:
        vectors: Shape (n, d), without zero rows.
        groups: Shape (n,); an article of group -1 is left out.

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
    """The mean silhouette over the groups that k-means finds among the unit vectors.

    Args:
        vectors: Shape (n, d), without zero rows.
        clusters: How many groups, fewer than ``n``.
        seed: Of k-means.

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
    """The ``k`` nearest other rows (n, k) by cosine, the nearest first, the lower row of equals.

    Raises:
        ValueError: ``k`` is not between 1 and n - 1.
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
    """The share of neighbours in an article's own group, and what chance would give; ``None`` without groups.

    Args:
        neighbours: Shape (n, k): rows.
        groups: Shape (n,); articles of group -1 are not asked, and no one's kin.
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
    """Coordinates (n, 2) on the two principal axes, and the share of the variance that each holds.

    Pearson, "On lines and planes of closest fit", 1901. The sign of an axis is chosen so that the coordinate
    farthest from 0 is positive.

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
