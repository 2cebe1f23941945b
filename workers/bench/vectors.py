"""Article vectors and users' queries to search with: synthetic ones, a file's, or a bundle's.

Synthetic articles lie in 200 clusters and their norms differ by a factor of three, because those of trained
models do; queries lie among them, as users' vectors do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from freshet.models.datasets.impression_log import ImpressionLog, read_impression_log
from freshet.models.datasets.mind import MindError
from freshet.models.embedding.bundle import BundleError, load_bundle
from freshet.models.ports import FloatMatrix
from freshet.streams.settings import Settings
from freshet.workers.errors import WorkerError
from freshet.workers.training.bundle_vectors import bundle_vectors

_CLUSTERS = 200
_LATEST_CLICKS = 20
_NEAR = 20
"""Articles that the synthetic user of a file's vectors chooses from."""
_TASTE = 5
"""Articles that are that user's interest."""


class VectorsUnusable(WorkerError):
    """Vectors to measure with cannot be had, or are none."""


@dataclass(frozen=True, slots=True)
class SearchData:
    """Article vectors and queries."""

    vectors: FloatMatrix
    """Shape (n, d)."""
    queries: FloatMatrix
    """Shape (queries, d)."""
    source: str
    """Origin of both, for the report."""


def clustered(
    rng: np.random.Generator, articles: int, d: int, queries: int
) -> tuple[FloatMatrix, FloatMatrix]:
    """Synthetic vectors (articles, d) and queries (queries, d), float32."""
    centres = rng.normal(size=(_CLUSTERS, d))
    vectors = centres[rng.integers(_CLUSTERS, size=articles)] + rng.normal(scale=0.7, size=(articles, d))
    vectors *= rng.uniform(0.5, 1.5, size=(articles, 1))
    asked = centres[rng.integers(_CLUSTERS, size=queries)] + rng.normal(scale=0.5, size=(queries, d))
    return vectors.astype(np.float32), asked.astype(np.float32)


def synthetic_data(articles: int, d: int, queries: int, seed: int = 7) -> SearchData:
    """Clustered vectors."""
    vectors, asked = clustered(np.random.default_rng(seed), articles, d, queries)
    return SearchData(vectors, asked, f"synthetic: {_CLUSTERS} clusters, norms within a factor of 3")


def file_data(path: Path, queries: int, seed: int = 7) -> SearchData:
    """The vectors of a ``.npy`` file, asked for by the means of articles that lie near each other.

    Raises:
        VectorsUnusable: The file cannot be read, or holds no finite matrix of numbers.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise VectorsUnusable(f"{path} cannot be read as NumPy's .npy: {error}") from error
    if not isinstance(found, np.ndarray) or found.ndim != 2 or not np.issubdtype(found.dtype, np.floating):  # noqa: PLR2004 - a matrix
        raise VectorsUnusable(f"{path}: a matrix (articles, d) of floats is needed, got {_shape(found)}")
    vectors = np.ascontiguousarray(found, np.float32)
    _check_finite(vectors, str(path))
    return SearchData(vectors, _near_means(vectors, queries, seed), f"{path.name}, means of near articles")


def bundle_data(
    folder: Path,
    articles_of: Path,
    settings: Settings,
    queries: int,
    *,
    progress: Callable[[int, int], None] | None = None,
    seed: int = 7,
) -> SearchData:
    """The vectors that a bundle gives the articles of a MIND folder, asked for by its users' mean clicks.

    Articles without a vector (all zeros) are left out.

    Raises:
        VectorsUnusable: The bundle or the folder cannot be read, or no article has a vector.
        TextVectorsUnavailable: The bundle's text encoder is not here.
    """
    try:
        bundle = load_bundle(folder)
        log = read_impression_log(articles_of)
        vectors = bundle_vectors(bundle, log.articles, settings, progress)
    except (BundleError, MindError) as error:
        raise VectorsUnusable(str(error)) from error
    known = vectors.any(axis=1)
    if not known.any():
        raise VectorsUnusable(f"bundle {bundle.id} has no vector for any article of {articles_of}")
    asked = _user_means(log, vectors, queries, seed)
    kept = np.ascontiguousarray(vectors[known])
    if not len(asked):
        return SearchData(kept, _near_means(kept, queries, seed), f"{bundle.id}, means of near articles")
    return SearchData(kept, asked, f"{bundle.id} on {articles_of.name}, users' mean clicks")


def _user_means(log: ImpressionLog, vectors: FloatMatrix, queries: int, seed: int) -> FloatMatrix:
    """The mean vectors (at most ``queries``, d) of the latest clicks in the histories of random users."""
    means: list[FloatMatrix] = []
    for position in np.random.default_rng(seed).permutation(len(log)).tolist():
        clicks = vectors[log.history_of(position)[-_LATEST_CLICKS:]]
        clicks = clicks[clicks.any(axis=1)]
        if len(clicks):
            means.append(clicks.mean(axis=0))
        if len(means) == queries:
            break
    return np.array(means, np.float32).reshape(len(means), vectors.shape[1])


def _near_means(vectors: FloatMatrix, queries: int, seed: int) -> FloatMatrix:
    """Means (queries, d) of a few of the articles with the largest dot products to a random one."""
    rng = np.random.default_rng(seed)
    near = min(_NEAR, len(vectors))
    means = []
    for row in rng.integers(len(vectors), size=queries).tolist():
        scores = vectors @ vectors[row]
        best = np.argpartition(-scores, near - 1)[:near]
        means.append(vectors[rng.choice(best, min(_TASTE, near), replace=False)].mean(axis=0))
    return np.array(means, np.float32)


def _check_finite(vectors: FloatMatrix, what: str) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise VectorsUnusable(f"{what}: {len(bad)} of {len(vectors)} rows are not finite, first row {bad[0]}")


def _shape(found: object) -> str:
    return f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
