r"""How well impressions were ranked: AUC, MRR, nDCG@k and hit rate as MIND's own evaluation defines them.

Every measure is the mean over impressions of the measure of one impression; impressions whose candidates are
all clicked or all skipped say nothing and are left out (counted). Scores that tie count as the average over
all orders of the tied candidates, so neither the order of candidates nor a label can break a tie.

All four of AUC, MRR and the nDCGs are linear in the labels in ranked order :math:`y_r`; the average over the
orders of ties is therefore the same formula with each tied group's labels replaced by their mean
:math:`\bar y_r` (McSherry and Najork, "Computing Information Retrieval Performance Measures Efficiently in
the Presence of Tied Scores", ECIR 2008). With P clicked among n candidates:

- AUC :math:`= (\sum_r \bar y_r (n - r + 1) - P (P + 1) / 2) / (P (n - P))`
- MRR :math:`= \sum_r \bar y_r / r / P` (MIND averages over all clicked, not only the first)
- nDCG@k :math:`= \sum_{r \le k} \bar y_r / \log_2(r + 1) / \sum_{r \le \min(k, P)} 1 / \log_2(r + 1)`
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

METRICS = ("auc", "mrr", "ndcg@5", "ndcg@10")
"""What :class:`RankingScores` measures of each impression, in this order."""

DEFAULT_RESAMPLES = 1_000
DEFAULT_CONFIDENCE = 0.95

_CUTS = (5, 10)
_TABLE = 1_024
_RANKS = np.arange(1, _TABLE + 1, dtype=np.float64)
_RECIPROCAL_RANKS = 1.0 / _RANKS
_DISCOUNTS = 1.0 / np.log2(_RANKS + 1.0)
_IDEAL_DCG = np.cumsum(_DISCOUNTS)


def _ranked_labels(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], int]:
    """Labels best score first, averaged over ties, shape (n,), and the number of clicked.

    Raises:
        ValueError: The shapes differ, a label is not 0 or 1, a score is NaN, or one label only is present.
    """
    clicked = np.asarray(labels, np.float64)
    score = np.asarray(scores, np.float64)
    if clicked.ndim != 1 or clicked.shape != score.shape:
        raise ValueError(
            f"labels and scores must be two vectors of one length, got {clicked.shape}, {score.shape}"
        )
    positives = int(np.count_nonzero(clicked))
    if clicked.sum() != positives or (positives and clicked.max() != 1.0):
        raise ValueError("labels must be 0 or 1")
    if not 0 < positives < len(clicked):
        raise ValueError("an impression needs at least one clicked and one skipped candidate")
    order = np.argsort(-score, kind="stable")
    score, clicked = score[order], clicked[order]
    if score[-1] != score[-1]:
        raise ValueError("a score is NaN")
    steps = score[1:] != score[:-1]
    if not steps.all():
        starts = np.concatenate(([0], np.flatnonzero(steps) + 1))
        sizes = np.diff(starts, append=len(score))
        clicked = np.repeat(np.add.reduceat(clicked, starts) / sizes, sizes)
    return clicked, positives


def _table(values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    if n > _TABLE:
        raise ValueError(f"an impression may have at most {_TABLE} candidates, got {n}")
    return values[:n]


def _auc(ranked: NDArray[np.float64], positives: int) -> float:
    n = len(ranked)
    worse_or_equal = positives * (n + 1) - float(ranked @ _table(_RANKS, n))
    return (worse_or_equal - positives * (positives + 1) / 2) / (positives * (n - positives))


def _mrr(ranked: NDArray[np.float64], positives: int) -> float:
    return float(ranked @ _table(_RECIPROCAL_RANKS, len(ranked))) / positives


def _ndcg(ranked: NDArray[np.float64], positives: int, k: int) -> float:
    top = min(k, len(ranked))
    return float(ranked[:top] @ _table(_DISCOUNTS, top) / _IDEAL_DCG[min(top, positives) - 1])


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Probability that a clicked candidate scores above a skipped one, a tie counting one half.

    Args:
        labels: Shape (n,), 1 clicked, 0 skipped.
        scores: Shape (n,), larger is better.

    Raises:
        ValueError: The shapes differ, a label is not 0 or 1, a score is NaN, or one label only is present.
    """
    return _auc(*_ranked_labels(labels, scores))


def mrr(labels: ArrayLike, scores: ArrayLike) -> float:
    """Mean over the clicked candidates of 1 / rank; arguments and errors as in :func:`auc`."""
    return _mrr(*_ranked_labels(labels, scores))


def ndcg(labels: ArrayLike, scores: ArrayLike, k: int) -> float:
    """Normalised discounted cumulative gain of the best ``k``; arguments and errors as in :func:`auc`."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return _ndcg(*_ranked_labels(labels, scores), k)


def hit_rate(labels: ArrayLike, scores: ArrayLike, k: int) -> float:
    """Probability that a clicked candidate is among the best ``k``, over all orders of ties.

    Arguments and errors are those of :func:`auc`.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    _ranked_labels(labels, scores)
    clicked = np.asarray(labels, np.float64)
    score = np.asarray(scores, np.float64)
    if k >= len(score):
        return 1.0
    cut = np.sort(score)[::-1][k - 1]
    if clicked[score > cut].any():
        return 1.0
    tied = clicked[score == cut]
    places = k - int(np.count_nonzero(score > cut))
    # Hypergeometric: no clicked one among `places` drawn from the tied.
    skipped = len(tied) - int(tied.sum())
    return 1.0 - math.comb(skipped, places) / math.comb(len(tied), places)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its percentile bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RankingReport:
    """Means over impressions, by metric name (:data:`METRICS`)."""

    impressions: int
    """Measured: with at least one clicked and one skipped candidate."""
    left_out: int
    """Impressions with one label only."""
    confidence: float
    metrics: Mapping[str, Estimate]

    @property
    def auc(self) -> float:
        """Mean AUC."""
        return self.metrics["auc"].mean

    def as_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return {
            "impressions": self.impressions,
            "left_out": self.left_out,
            "confidence": self.confidence,
            "metrics": {
                name: {"mean": estimate.mean, "low": estimate.low, "high": estimate.high}
                for name, estimate in self.metrics.items()
            },
        }


class RankingScores:
    """Collects the metrics of one impression after another; 32 bytes each."""

    def __init__(self) -> None:
        self._values = array("d")
        self._left_out = 0

    def __len__(self) -> int:
        return len(self._values) // len(METRICS)

    def add(self, labels: ArrayLike, scores: ArrayLike) -> tuple[float, ...] | None:
        """Measure one impression; returns its :data:`METRICS`, None if it has one label only.

        Raises:
            ValueError: As in :func:`auc`, but for one label only.
        """
        clicked = np.asarray(labels, np.float64)
        if np.count_nonzero(clicked) in (0, len(clicked)):
            self._left_out += 1
            return None
        ranked, positives = _ranked_labels(clicked, scores)
        values = (
            _auc(ranked, positives),
            _mrr(ranked, positives),
            *(_ndcg(ranked, positives, k) for k in _CUTS),
        )
        self._values.extend(values)
        return values

    def report(
        self,
        *,
        resamples: int = DEFAULT_RESAMPLES,
        confidence: float = DEFAULT_CONFIDENCE,
        seed: int = 0,
    ) -> RankingReport:
        """Means and percentile bootstrap intervals; the same calls and seed give the same report.

        Args:
            resamples: Bootstrap samples of whole impressions.
            confidence: Of the interval, between 0 and 1.
            seed: Of the resampling.

        Raises:
            ValueError: No impression was measured.
        """
        # A copy: an exported buffer would keep the array from growing.
        values = np.array(self._values).reshape(-1, len(METRICS))
        n = len(values)
        if not n:
            raise ValueError("no impression with both a clicked and a skipped candidate was measured")
        random = np.random.default_rng(seed)
        means = np.empty((resamples, len(METRICS)))
        for sample in means:
            sample[:] = values[random.integers(0, n, n)].mean(axis=0)
        tail = (1.0 - confidence) / 2
        low, high = np.quantile(means, (tail, 1.0 - tail), axis=0)
        mean = values.mean(axis=0)
        return RankingReport(
            impressions=n,
            left_out=self._left_out,
            confidence=confidence,
            metrics={
                name: Estimate(float(mean[i]), float(low[i]), float(high[i]))
                for i, name in enumerate(METRICS)
            },
        )
