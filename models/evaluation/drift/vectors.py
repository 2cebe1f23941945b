"""Drift of article vectors between two bundles, or between two periods of one bundle.

:func:`compare_bundles` compares vectors of the same articles, :func:`compare_periods` those of different
articles in one space, such as last month's and today's. The drift of categories is measured in
:mod:`freshet.models.evaluation.drift.categories`.

============== ============================================================== =====================
figure         of                                                             needs
============== ============================================================== =====================
overlap@k      the share of an article's k nearest (by cosine) that stay      the same articles
cosine shift   1 - cos(before, after) of each article                         the same articles, axes
norm shift     the mean norm, after over before, less 1                       nothing
centroid shift 1 - cos of the mean vectors, and their distance                the same axes
novelty        1 - the cosine to the nearest earlier article                  the same axes
============== ============================================================== =====================

Neighbourhood overlap (Wendlandt et al. 2018, "Factors Influencing the Surprising Instability of Word
Embeddings") is invariant to rotation and scaling, so that it also compares two trainings of one model, whose
axes are unrelated. The cosine shift of those is near 1 and meaningless.

No figure shows whether a change is for the worse; an evaluation does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.evaluation.drift.space import neighbourhood_overlap
from freshet.models.kernels.unit_norm import to_unit_norm
from freshet.models.ports import FloatMatrix

SAMPLE = 2_000
"""Articles whose neighbours, any of all articles, are compared."""

_BLOCK = 256
_Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Agreement of the neighbourhoods in two sets of vectors."""

    k: int
    articles: int
    """Articles whose neighbourhoods were compared."""
    mean: float
    """Mean over the articles a of |N_before(a) and N_after(a)| / k; 1 if all neighbours are the same."""
    lowest_tenth: float
    """10th percentile over the articles."""
    by_chance: float
    """Expected overlap of unrelated vectors, k / (n - 1)."""


@dataclass(frozen=True, slots=True)
class NormShift:
    """Change of the vectors' norms; longer vectors have larger dot products."""

    before_mean: float
    after_mean: float
    before_std: float
    after_std: float

    @property
    def relative(self) -> float:
        """Relative change of the mean norm; NaN if all were 0 before."""
        return self.after_mean / self.before_mean - 1.0 if self.before_mean else math.nan


@dataclass(frozen=True, slots=True)
class CosineShift:
    """Cosine distance between vectors before and after: 0 is no change, 1 a right angle, 2 the opposite."""

    mean: float
    median: float
    highest_tenth: float
    """90th percentile."""


@dataclass(frozen=True, slots=True)
class CentroidShift:
    """Shift of the mean vector."""

    cosine_distance: float
    """1 - cos of the two means; NaN if one of them is 0."""
    distance: float
    """Euclidean distance of the two means."""
    in_spreads: float
    """Distance in units of the vectors' root mean square distance to their own mean; NaN if that is 0."""


@dataclass(frozen=True, slots=True)
class Novelty:
    """Cosine distance to the nearest earlier article."""

    after: float
    """Mean over later articles."""
    before: float
    """Mean over earlier articles, each to the nearest other one: the usual value."""


@dataclass(frozen=True, slots=True)
class BundleDrift:
    """Drift between two bundles' vectors of the same articles."""

    articles: int
    """Articles with a vector in both."""
    only_before: int
    """Articles with a vector in the first bundle only; it is all zeros in the second."""
    only_after: int
    overlap: Overlap
    norms: NormShift
    cosines: CosineShift | None
    """``None`` if the dimensions differ."""
    centroid: CentroidShift | None
    """``None`` if the dimensions differ."""


@dataclass(frozen=True, slots=True)
class PeriodDrift:
    """Drift between one bundle's vectors of the articles of two periods."""

    before: int
    """Earlier articles with a vector."""
    after: int
    """Later articles with a vector."""
    norms: NormShift
    centroid: CentroidShift
    novelty: Novelty


def compare_bundles(
    before: FloatMatrix, after: FloatMatrix, k: int = 10, *, sample: int = SAMPLE, seed: int = 0
) -> BundleDrift:
    """Compare two sets of vectors of the same articles.

    Articles without a vector in one of the sets (all zeros) are counted and otherwise left out.

    Args:
        before: Shape (n, d_before).
        after: Shape (n, d_after), the same articles; the dimension may differ.
        k: Neighbours of each article.
        sample: Largest number of articles whose neighbourhoods are compared.
        seed: Seed of the sample.

    Raises:
        ValueError: The numbers of rows differ, or not more than ``k`` articles have both vectors.
    """
    if before.ndim != 2 or after.ndim != 2 or len(before) != len(after):  # noqa: PLR2004 - matrices
        raise ValueError(f"vectors of shape {before.shape} and {after.shape} are not of the same articles")
    has_before, has_after = before.any(axis=1), after.any(axis=1)
    both = has_before & has_after
    a, b = before[both].astype(np.float64), after[both].astype(np.float64)
    same_axes = a.shape[1] == b.shape[1]
    return BundleDrift(
        int(both.sum()),
        int((has_before & ~has_after).sum()),
        int((has_after & ~has_before).sum()),
        compare_neighbourhoods(before[both], after[both], k, sample=sample, seed=seed),
        norm_shift(a, b),
        _cosine_shift(a, b) if same_axes else None,
        centroid_shift(a, b) if same_axes else None,
    )


def compare_periods(
    before: FloatMatrix, after: FloatMatrix, *, sample: int = SAMPLE, seed: int = 0
) -> PeriodDrift:
    """Compare one bundle's vectors of different articles; zero vectors are left out.

    Args:
        before: Shape (n, d).
        after: Shape (m, d).
        sample: Largest number of articles of each period whose novelty is measured.
        seed: Seed of the sample.

    Raises:
        ValueError: The dimensions differ, there are fewer than two vectors before, or none after.
    """
    if before.ndim != 2 or after.ndim != 2 or before.shape[1] != after.shape[1]:  # noqa: PLR2004 - matrices
        raise ValueError(f"vectors of shape {before.shape} and {after.shape} are not of one space")
    a, b = before[before.any(axis=1)], after[after.any(axis=1)]
    if len(a) < 2 or not len(b):  # noqa: PLR2004 - one and its nearest
        raise ValueError(
            f"{len(a)} earlier and {len(b)} later articles with a vector: at least 2 and 1 are needed"
        )
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    rng = np.random.default_rng(seed)
    unit_a, unit_b = to_unit_norm(a64).astype(np.float32), to_unit_norm(b64).astype(np.float32)
    own = _sampled(len(a), sample, rng)
    nearest_to_new = _nearest_cosine(unit_b[_sampled(len(b), sample, rng)], unit_a, None)
    nearest_to_own = _nearest_cosine(unit_a[own], unit_a, own)
    return PeriodDrift(
        len(a),
        len(b),
        norm_shift(a64, b64),
        centroid_shift(a64, b64),
        Novelty(float(1.0 - nearest_to_new.mean()), float(1.0 - nearest_to_own.mean())),
    )


def compare_neighbourhoods(
    before: FloatMatrix, after: FloatMatrix, k: int, *, sample: int = SAMPLE, seed: int = 0
) -> Overlap:
    """Overlap of the articles' ``k`` nearest others by cosine in ``before`` (n, d) and ``after`` (n, e).

    Neighbours are nearest by cosine: by dot product the few longest vectors are neighbours of all. The
    overlap is symmetric, and invariant to rotation and scaling of either set, except for ties and rounding.
    It takes ``sample * n * (d + e)`` multiplications, in blocks.

    Raises:
        ValueError: There are at most ``k`` articles, or ``k`` is not positive.

    >>> vectors = np.array([[1, 0], [1, 0.1], [0, 1]], np.float32)
    >>> compare_neighbourhoods(vectors, -2 * vectors, k=1).mean
    1.0
    """
    n = len(before)
    if not 1 <= k < n:
        raise ValueError(f"{n} articles with both vectors: more than k = {k} are needed, k at least 1")
    # Norms in float64: cosines that differ in float32's last digit would change places.
    unit_before = to_unit_norm(before.astype(np.float64)).astype(np.float32)
    unit_after = to_unit_norm(after.astype(np.float64)).astype(np.float32)
    rows = _sampled(n, sample, np.random.default_rng(seed))
    shares = np.concatenate(
        [
            neighbourhood_overlap(_neighbours(unit_before, block, k), _neighbours(unit_after, block, k))
            for block in np.split(rows, range(_BLOCK, len(rows), _BLOCK))
        ]
    )
    return Overlap(k, len(rows), float(shares.mean()), float(np.quantile(shares, 0.1)), k / (n - 1))


def norm_shift(before: _Numbers, after: _Numbers) -> NormShift:
    """Compare the norms of vectors (n, d) and (m, e), n and m at least 1."""
    a, b = np.linalg.norm(before, axis=1), np.linalg.norm(after, axis=1)
    return NormShift(float(a.mean()), float(b.mean()), float(a.std()), float(b.std()))


def centroid_shift(before: _Numbers, after: _Numbers) -> CentroidShift:
    """Compare the means of vectors (n, d) and (m, d), n and m at least 1."""
    a, b = before.mean(axis=0), after.mean(axis=0)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    distance = float(np.linalg.norm(a - b))
    squares = np.square(before - a).sum() + np.square(after - b).sum()
    spread = math.sqrt(float(squares) / (len(before) + len(after)))
    return CentroidShift(
        max(0.0, 1.0 - float(a @ b) / norms) if norms else math.nan,
        distance,
        distance / spread if spread else math.nan,
    )


def _cosine_shift(before: _Numbers, after: _Numbers) -> CosineShift:
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    distances = np.maximum(1.0 - np.einsum("ij,ij->i", before, after) / norms, 0.0)
    mean, median = float(distances.mean()), float(np.median(distances))
    return CosineShift(mean, median, float(np.quantile(distances, 0.9)))


def _sampled(n: int, sample: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw at most ``sample`` of ``n`` rows, in ascending order."""
    return np.arange(n) if n <= sample else np.sort(rng.choice(n, sample, replace=False))


def _neighbours(unit: FloatMatrix, rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Find the ``k`` other rows (len(rows), k) with the largest cosines to ``rows``, in any order."""
    scores = unit[rows] @ unit.T
    scores[np.arange(len(rows)), rows] = -np.inf
    nearest: NDArray[np.int64] = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return nearest


def _nearest_cosine(unit: FloatMatrix, among: FloatMatrix, itself: NDArray[np.int64] | None) -> _Numbers:
    """Largest cosine (n,) of each row to the rows of ``among``, except to row ``itself`` if given."""
    best = np.empty(len(unit))
    for start in range(0, len(unit), _BLOCK):
        part = slice(start, min(start + _BLOCK, len(unit)))
        scores = unit[part] @ among.T
        if itself is not None:
            scores[np.arange(part.stop - start), itself[part]] = -np.inf
        best[part] = scores.max(axis=1)
    return best
