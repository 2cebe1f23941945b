r"""Ranking metrics of impressions: AUC, MRR, nDCG@k, recall@k and hit rate, as in MIND's evaluation.

Each metric is the mean over impressions. Impressions whose candidates are all clicked or all skipped are left
out and counted. Tied scores count as the average over all orders of the tied candidates, so neither the order
of candidates nor a label breaks a tie.

AUC, MRR, the nDCGs and recall are linear in the labels in ranked order :math:`y_r`; the average over the
orders of ties is therefore the same formula with each tied group's labels replaced by their mean
:math:`\bar y_r` (McSherry and Najork, "Computing Information Retrieval Performance Measures Efficiently in
the Presence of Tied Scores", ECIR 2008). With P clicked among n candidates:

- AUC :math:`= (\sum_r \bar y_r (n - r + 1) - P (P + 1) / 2) / (P (n - P))`
- MRR :math:`= \sum_r \bar y_r / r / P` (MIND averages over all clicked, not only the first)
- nDCG@k :math:`= \sum_{r \le k} \bar y_r / \log_2(r + 1) / \sum_{r \le \min(k, P)} 1 / \log_2(r + 1)`
  (Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002)
- recall@k :math:`= \sum_{r \le k} \bar y_r / P`

The hit rate ("exist"), the probability that any clicked candidate is among the best k, is not linear: of a
tied group of T with c clicked, p of which fall within k, none is clicked with probability
:math:`\binom{T - c}{p} / \binom{T}{p}` (hypergeometric).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freshet.models import kernels

METRICS = ("auc", "mrr", "ndcg@5", "ndcg@10")
"""Metrics that :class:`RankingScores` collects of each impression, in this order."""

DEFAULT_RESAMPLES = 1_000
DEFAULT_CONFIDENCE = 0.95

_CUTS = (5, 10)
_BATCH = 1_024
"""Impressions measured at once: a few array operations take as long for all of them as for one."""


@dataclass(frozen=True, slots=True)
class RankedSlates:
    """Ranked candidates of several impressions, best score first, with labels averaged over ties.

    Every metric has the shape (impressions,), float64.
    """

    labels: NDArray[np.float64]
    """Shape (sum of sizes,)."""
    ranks: NDArray[np.float64]
    """Shape (sum of sizes,): 1, 2, ... within each impression."""
    starts: NDArray[np.intp]
    """Shape (impressions,): position of each impression's first candidate."""
    sizes: NDArray[np.intp]
    """Shape (impressions,): number of candidates."""
    clicked: NDArray[np.float64]
    """Shape (impressions,): number of clicked candidates, P."""
    ties: NDArray[np.intp]
    """Shape (groups,): position at which each group of equal scores starts."""
    order: NDArray[np.intp]
    """Shape (sum of sizes,): each candidate's position in the input; the order within a tie is arbitrary."""

    @classmethod
    def of(
        cls, labels: NDArray[np.float64], scores: NDArray[np.float64], sizes: NDArray[np.intp]
    ) -> RankedSlates:
        """Rank impressions, each with at least one clicked and one skipped candidate.

        Args:
            labels: Shape (sum of sizes,), 1 clicked, 0 skipped, one impression after another.
            scores: Shape (sum of sizes,), larger is better; not NaN.
            sizes: Shape (impressions,), numbers of candidates.
        """
        starts = np.cumsum(sizes) - sizes
        order = kernels.order_slates(scores, sizes)
        labels, scores = labels[order], scores[order]
        clicked = np.add.reduceat(labels, starts)
        new = np.empty(len(scores), np.bool_)
        new[0] = True
        np.not_equal(scores[1:], scores[:-1], out=new[1:])
        new[starts] = True
        ties = np.flatnonzero(new)
        if len(ties) < len(scores):
            lengths = np.diff(ties, append=len(scores))
            labels = np.repeat(np.add.reduceat(labels, ties) / lengths, lengths)
        ranks = np.arange(1.0, len(scores) + 1.0) - np.repeat(starts, sizes)
        return cls(labels, ranks, starts, sizes, clicked, ties, order)

    def auc(self) -> NDArray[np.float64]:
        """Area under the ROC curve: the probability that a clicked candidate ranks above a skipped one."""
        worse_or_equal = self.clicked * (self.sizes + 1) - self._sum(self.labels * self.ranks)
        pairs = self.clicked * (self.sizes - self.clicked)
        return (worse_or_equal - self.clicked * (self.clicked + 1) / 2) / pairs

    def mrr(self) -> NDArray[np.float64]:
        """Mean reciprocal rank of the clicked candidates."""
        return self._sum(self.labels / self.ranks) / self.clicked

    def ndcg(self, k: int) -> NDArray[np.float64]:
        """Normalised discounted cumulative gain of the best ``k``."""
        discounts = 1.0 / np.log2(np.arange(2.0, k + 2.0))
        best = np.minimum(self.clicked, k).astype(np.intp)
        gain: NDArray[np.float64] = self._top(k) @ discounts
        gain /= np.cumsum(discounts)[best - 1]
        return gain

    def recall(self, k: int) -> NDArray[np.float64]:
        """Share of the clicked candidates among the best ``k``."""
        found: NDArray[np.float64] = self._top(k).sum(axis=1) / self.clicked
        return found

    def hit_rate(self, k: int) -> NDArray[np.float64]:
        """Probability that a clicked candidate is among the best ``k``."""
        hits = np.ones(len(self.sizes))
        longer = np.flatnonzero(self.sizes > k)
        if not len(longer):
            return hits
        starts = self.starts[longer]
        last = starts + k - 1
        group = np.searchsorted(self.ties, last, side="right") - 1
        first = self.ties[group]
        tied = np.append(self.ties, len(self.labels))[group + 1] - first
        clicked = np.rint(self.labels[first] * tied).astype(np.intp)
        up_to = np.concatenate([np.zeros(1), np.cumsum(self.labels)])
        clicked_above = up_to[first] - up_to[starts] > 0.5  # noqa: PLR2004 - a whole number, but for rounding
        places = last - first + 1
        skipped = tied - clicked
        log_factorial = np.concatenate([np.zeros(1), np.cumsum(np.log(np.arange(1, tied.max() + 1)))])
        possible = skipped >= places
        places = np.minimum(places, skipped)
        misses = np.exp(
            (log_factorial[skipped] - log_factorial[skipped - places])
            - (log_factorial[tied] - log_factorial[tied - places])
        )
        hits[longer] = np.where(clicked_above | ~possible, 1.0, 1.0 - misses)
        return hits

    def _top(self, k: int) -> NDArray[np.float64]:
        """Labels (impressions, k) of the best ``k``; 0 where a slate is shorter."""
        rank = np.arange(k)
        inside = rank < self.sizes[:, None]
        return np.where(inside, self.labels[np.where(inside, self.starts[:, None] + rank, 0)], 0.0)

    def _sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums: NDArray[np.float64] = np.add.reduceat(values, self.starts)
        return sums


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    clicked = np.asarray(labels, np.float64)
    score = np.asarray(scores, np.float64)
    if clicked.ndim != 1 or clicked.shape != score.shape:
        raise ValueError(
            f"labels and scores must be two vectors of one length, got {clicked.shape} and {score.shape}"
        )
    if ((clicked != 0.0) & (clicked != 1.0)).any():
        raise ValueError("labels must be 0 or 1")
    if np.isnan(score).any():
        raise ValueError("a score is NaN")
    return clicked, score


def _has_both(labels: NDArray[np.float64]) -> bool:
    return 0 < int(np.count_nonzero(labels)) < len(labels)


def _ranked(labels: ArrayLike, scores: ArrayLike) -> RankedSlates:
    clicked, score = _checked(labels, scores)
    if not _has_both(clicked):
        raise ValueError("an impression needs at least one clicked and one skipped candidate")
    return RankedSlates.of(clicked, score, np.array([len(clicked)]))


def _checked_k(k: int) -> int:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return k


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: the probability that a clicked candidate scores above a skipped one.

    A tie counts one half.

    Args:
        labels: Shape (n,), 1 clicked, 0 skipped.
        scores: Shape (n,), larger is better.

    Raises:
        ValueError: The shapes differ, a label is not 0 or 1, a score is NaN, or one label only is present.

    >>> auc([1, 0, 0], [0.9, 0.2, 0.9])
    0.75
    """
    return float(_ranked(labels, scores).auc()[0])


def mrr(labels: ArrayLike, scores: ArrayLike) -> float:
    """Mean reciprocal rank of the clicked candidates; arguments and errors are those of :func:`auc`.

    >>> mrr([0, 1, 0], [0.9, 0.5, 0.2])
    0.5
    """
    return float(_ranked(labels, scores).mrr()[0])


def ndcg(labels: ArrayLike, scores: ArrayLike, k: int) -> float:
    """Normalised discounted cumulative gain of the best ``k``; arguments and errors are those of :func:`auc`.

    >>> round(ndcg([0, 1, 0], [0.9, 0.5, 0.2], k=2), 3)
    0.631
    """
    return float(_ranked(labels, scores).ndcg(_checked_k(k))[0])


def hit_rate(labels: ArrayLike, scores: ArrayLike, k: int) -> float:
    """Probability that a clicked candidate is among the best ``k``, over all orders of ties.

    Arguments and errors are those of :func:`auc`.

    >>> hit_rate([0, 1, 0], [0.9, 0.5, 0.5], k=2)
    0.5
    """
    return float(_ranked(labels, scores).hit_rate(_checked_k(k))[0])


def recall(labels: ArrayLike, scores: ArrayLike, k: int) -> float:
    """Share of the clicked candidates among the best ``k``; arguments and errors are those of :func:`auc`.

    >>> recall([1, 1, 0], [0.9, 0.2, 0.5], k=2)
    0.5
    """
    return float(_ranked(labels, scores).recall(_checked_k(k))[0])


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its percentile bootstrap interval."""

    mean: float
    low: float
    high: float


def bootstrap(
    values: NDArray[np.floating],
    *,
    resamples: int = DEFAULT_RESAMPLES,
    confidence: float = DEFAULT_CONFIDENCE,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper ends (m,) of the percentile bootstrap intervals of the columns' means.

    Rows are resampled whole, which keeps the correlation between columns (Efron and Tibshirani, "An
    Introduction to the Bootstrap", 1993, ch. 13). The same values and seed give the same intervals.

    Args:
        values: Shape (n, m), n at least 1: one row for each impression.
        resamples: Number of bootstrap samples.
        confidence: Coverage of the intervals, between 0 and 1.
        seed: Seed of the resampling.

    >>> low, high = bootstrap(np.array([[0.0], [1.0], [1.0], [1.0]]))
    >>> low.tolist(), high.tolist()
    ([0.25], [1.0])
    """
    n = len(values)
    random = np.random.default_rng(seed)
    means = np.empty((resamples, values.shape[1]))
    for sample in means:
        # How often each was drawn; the product is three times as fast as gathering the rows.
        sample[:] = np.bincount(random.integers(0, n, n), minlength=n) @ values / n
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(means, (tail, 1.0 - tail), axis=0)
    return low, high


def estimates_by_name(
    names: Iterable[str], mean: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> dict[str, Estimate]:
    """Pair names with the means and interval ends (m,) of their metrics."""
    figures = zip(mean.tolist(), low.tolist(), high.tolist(), strict=True)
    return {name: Estimate(*each) for name, each in zip(names, figures, strict=True)}


@dataclass(frozen=True, slots=True)
class RankingReport:
    """Mean metrics of impressions with their intervals."""

    impressions: int
    """Impressions measured: those with at least one clicked and one skipped candidate."""
    left_out: int
    """Impressions whose candidates are all clicked or all skipped."""
    confidence: float
    metrics: Mapping[str, Estimate]
    """Estimates by the names of :data:`METRICS`."""

    @property
    def auc(self) -> float:
        """Mean AUC."""
        return self.metrics["auc"].mean


class RankingScores:
    """Collects the metrics of one impression after another, 32 bytes each.

    >>> scores = RankingScores()
    >>> scores.add_impression([1, 0, 0], [0.9, 0.2, 0.1]), scores.add_impression([0, 0], [0.3, 0.1])
    (True, False)
    >>> report = scores.report()
    >>> report.auc, report.impressions, report.left_out
    (1.0, 1, 1)
    """

    def __init__(self) -> None:
        self._values = array("d")
        self._left_out = 0
        self._labels: list[NDArray[np.float64]] = []
        self._scores: list[NDArray[np.float64]] = []

    def __len__(self) -> int:
        """Number of measured impressions."""
        return len(self._values) // len(METRICS) + len(self._labels)

    def add_impression(self, labels: ArrayLike, scores: ArrayLike) -> bool:
        """Measure one impression, or count it and return False if all its labels are the same.

        Raises:
            ValueError: The shapes differ, a label is not 0 or 1, or a score is NaN.
        """
        clicked, score = _checked(labels, scores)
        if not _has_both(clicked):
            self._left_out += 1
            return False
        self._labels.append(clicked)
        self._scores.append(score)
        if len(self._labels) == _BATCH:
            self._measure()
        return True

    def values(self) -> NDArray[np.float64]:
        """Metrics (n, len(METRICS)) of the measured impressions in the order they were added."""
        self._measure()
        # A copy: an exported buffer would keep the array from growing.
        return np.array(self._values).reshape(-1, len(METRICS))

    def _measure(self) -> None:
        if not self._labels:
            return
        sizes = np.array([len(labels) for labels in self._labels])
        ranked = RankedSlates.of(np.concatenate(self._labels), np.concatenate(self._scores), sizes)
        columns = (ranked.auc(), ranked.mrr(), *(ranked.ndcg(k) for k in _CUTS))
        self._values.frombytes(np.column_stack(columns).tobytes())
        self._labels.clear()
        self._scores.clear()

    def report(
        self,
        *,
        resamples: int = DEFAULT_RESAMPLES,
        confidence: float = DEFAULT_CONFIDENCE,
        seed: int = 0,
    ) -> RankingReport:
        """Means with percentile bootstrap intervals; the same calls and seed give the same report.

        Args:
            resamples: Number of bootstrap samples of whole impressions.
            confidence: Coverage of the intervals, between 0 and 1.
            seed: Seed of the resampling.

        Raises:
            ValueError: No impression was measured.
        """
        values = self.values()
        n = len(values)
        if not n:
            raise ValueError("no impression with both a clicked and a skipped candidate was measured")
        low, high = bootstrap(values, resamples=resamples, confidence=confidence, seed=seed)
        return RankingReport(
            impressions=n,
            left_out=self._left_out,
            confidence=confidence,
            metrics=estimates_by_name(METRICS, values.mean(axis=0), low, high),
        )
