"""Whether two sets of article vectors still say the same: of two bundles, or of two periods of one bundle.

:func:`compare_bundles` compares vectors of the same articles, :func:`compare_periods` those of different ones
in one space, such as last month's and today's. What categories do is
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
Embeddings") does not change when all vectors are rotated or scaled, so it also compares two trainings of one
model, whose axes have nothing to do with each other. The cosine shift of those is near 1 and means nothing.

No figure tells whether a change is for the worse. Only an evaluation does.
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
"""Articles whose neighbourhoods are looked at; among all the others."""

_BLOCK = 256
_Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far the neighbourhoods of two sets of vectors agree."""

    k: int
    articles: int
    """Whose neighbourhoods were compared."""
    mean: float
    """Of |N_before(a) and N_after(a)| / k over the articles: 1 says that nothing has moved."""
    lowest_tenth: float
    """The 10th percentile over the articles."""
    by_chance: float
    """Of two sets that have nothing to do with each other: k / (n - 1)."""


@dataclass(frozen=True, slots=True)
class NormShift:
    """How long vectors are; where dot products score, what is longer scores more."""

    before_mean: float
    after_mean: float
    before_std: float
    after_std: float

    @property
    def relative(self) -> float:
        """The mean norm after over that before, less 1; NaN where all were 0."""
        return self.after_mean / self.before_mean - 1.0 if self.before_mean else math.nan


@dataclass(frozen=True, slots=True)
class CosineShift:
    """1 - cos(before, after) over articles: 0 is no change, 1 a right angle, 2 the opposite."""

    mean: float
    median: float
    highest_tenth: float
    """The 90th percentile."""


@dataclass(frozen=True, slots=True)
class CentroidShift:
    """How far the mean vector has moved."""

    cosine_distance: float
    """1 - cos of the two means; NaN where one of them is 0."""
    distance: float
    """Euclidean."""
    in_spreads: float
    """The distance over the root mean square distance of all vectors to their own mean; NaN without any."""


@dataclass(frozen=True, slots=True)
class Novelty:
    """1 - the cosine to the nearest earlier article: how unlike all before new articles are."""

    after: float
    """The mean over later articles."""
    before: float
    """The mean over earlier articles, each to the nearest other one: what is usual."""


@dataclass(frozen=True, slots=True)
class BundleDrift:
    """Vectors of two bundles on the same articles."""

    articles: int
    """With a vector in both."""
    only_before: int
    """With a vector in the first bundle alone: all zeros in the second."""
    only_after: int
    overlap: Overlap
    norms: NormShift
    cosines: CosineShift | None
    """``None`` where dimensions differ, as for the next."""
    centroid: CentroidShift | None


@dataclass(frozen=True, slots=True)
class PeriodDrift:
    """Vectors of the articles of two periods, made by one bundle."""

    before: int
    """Articles with a vector."""
    after: int
    norms: NormShift
    centroid: CentroidShift
    novelty: Novelty


def compare_bundles(
    before: FloatMatrix, after: FloatMatrix, k: int = 10, *, sample: int = SAMPLE, seed: int = 0
) -> BundleDrift:
    """Compare two sets of vectors of the same articles.

    Articles that have no vector in one of the sets (all zeros) are counted, and left out of everything else.

    Args:
        before: Shape (n, d_before), row by row the same articles as ``after``.
        after: Shape (n, d_after); the dimension may differ.
        k: Neighbours.
        sample: Articles whose neighbourhoods are looked at, chosen by ``seed``; the neighbours are any.
        seed: Of the sample.

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
    """Compare vectors of different articles that one bundle has made; all-zero ones are left out.

    Args:
        before: Shape (n, d).
        after: Shape (m, d).
        sample: Articles of each period whose nearest earlier one is looked for.
        seed: Of the sample.

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
    """How many of an article's ``k`` nearest others by cosine in ``before`` (n, d) stay in ``after`` (n, e).

    By cosine and not by dot product, under which the few longest vectors are everybody's neighbours.
    Symmetric; the same after any rotation or scaling of either set, ties and rounding aside. It takes
    ``sample * n * (d + e)`` multiplications, in blocks.

    Raises:
        ValueError: There are not more than ``k`` articles, or ``k`` is not positive.
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
    """Of vectors (n, d) and (m, e), each at least one."""
    a, b = np.linalg.norm(before, axis=1), np.linalg.norm(after, axis=1)
    return NormShift(float(a.mean()), float(b.mean()), float(a.std()), float(b.std()))


def centroid_shift(before: _Numbers, after: _Numbers) -> CentroidShift:
    """Of vectors (n, d) and (m, d), each at least one."""
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
    """At most ``sample`` of ``n`` rows, ascending."""
    return np.arange(n) if n <= sample else np.sort(rng.choice(n, sample, replace=False))


def _neighbours(unit: FloatMatrix, rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The ``k`` rows (len(rows), k) of the largest cosines to ``rows``, each itself left out, unordered."""
    scores = unit[rows] @ unit.T
    scores[np.arange(len(rows)), rows] = -np.inf
    nearest: NDArray[np.int64] = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return nearest


def _nearest_cosine(unit: FloatMatrix, among: FloatMatrix, itself: NDArray[np.int64] | None) -> _Numbers:
    """The largest cosine (n,) of each row to any of ``among``, but to ``itself`` where that is given."""
    best = np.empty(len(unit))
    for start in range(0, len(unit), _BLOCK):
        part = slice(start, min(start + _BLOCK, len(unit)))
        scores = unit[part] @ among.T
        if itself is not None:
            scores[np.arange(part.stop - start), itself[part]] = -np.inf
        best[part] = scores.max(axis=1)
    return best
