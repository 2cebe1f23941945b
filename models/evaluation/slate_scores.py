"""Metrics of several methods on the same impressions, kept by impression, and AUCs of parts of the slates.

All methods rank exactly the same impressions, so that their differences can be resampled in pairs.
Impressions whose candidates are all clicked or all skipped are left out and counted. Memory is 40 bytes for
each impression and method, and 16 more for each measured part of a slate.

A **part** restricts each slate to the candidates of one kind, such as the articles not seen in training. Its
AUC is over the pairs of clicked and skipped candidates within the part, and an impression counts for it only
if the part has both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from freshet.models import kernels
from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.evaluation.baselines import random_order
from freshet.models.evaluation.list_metrics import coverage, diversity, novelty
from freshet.models.evaluation.ranking_metrics import RankedSlates
from freshet.models.ports import FloatMatrix

METRICS = (
    *("auc", "mrr", "ndcg@5", "ndcg@10", "hit@5", "hit@10", "recall@5", "recall@10"),
    *("diversity@5", "novelty@5"),
)
"""Metrics of each impression and method, in this order; the last two measure the list of the best 5."""
LIST_LENGTH = 5
MAX_RANK = 20
"""Number of ranks with a click-through rate."""
BATCH = 1_024
"""Impressions ranked and measured at once."""
_RANKING = METRICS.index("diversity@5")


@dataclass(frozen=True, slots=True)
class Slates:
    """Batch of a log's impressions, one after another."""

    positions: NDArray[np.int64]
    """Shape (b,): positions in the log."""
    candidates: NDArray[np.int32]
    """Shape (sum of sizes,): article numbers."""
    clicked: NDArray[np.bool_]
    """Shape (sum of sizes,)."""
    sizes: NDArray[np.int64]
    """Shape (b,): numbers of candidates, each at least 1."""

    @classmethod
    def of(cls, log: ImpressionLog, start: int, stop: int) -> Slates:
        """Take the impressions in ``range(start, stop)``."""
        part = slice(int(log.slate_start[start]), int(log.slate_start[stop]))
        sizes = np.diff(log.slate_start[start : stop + 1])
        return cls(np.arange(start, stop), log.candidates[part], log.clicked[part], sizes)


class Division(Protocol):
    """Division of slates into parts by the kinds of their candidates."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts."""
        ...

    def codes_of(self, positions: NDArray[np.integer], candidates: NDArray[np.integer]) -> NDArray[np.int32]:
        """Part (n,) of each candidate (n,) in the impression at its position (n,), -1 for none."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """Division by a property of the articles."""

    names: tuple[str, ...]
    codes: NDArray[np.int32]
    """Shape (articles,): part of each article, -1 for none."""

    def codes_of(self, positions: NDArray[np.integer], candidates: NDArray[np.integer]) -> NDArray[np.int32]:
        """Look up the parts (n,) of the articles ``candidates`` (n,)."""
        codes: NDArray[np.int32] = self.codes[candidates]
        return codes


@dataclass(frozen=True, slots=True)
class AgeParts:
    """Division by the articles' age at the impression."""

    names: tuple[str, ...]
    limits_s: NDArray[np.float64]
    """Shape (parts - 1,), ascending: an article of exactly this age is in the next part."""
    published_at_s: NDArray[np.float64]
    """Shape (articles,), Unix seconds."""
    time_s: NDArray[np.float64]
    """Shape (impressions of the log,), Unix seconds."""

    def codes_of(self, positions: NDArray[np.integer], candidates: NDArray[np.integer]) -> NDArray[np.int32]:
        """Classify candidates (n,) by their age at the impressions (n,)."""
        age_s = self.time_s[positions] - self.published_at_s[candidates]
        codes: NDArray[np.int32] = np.searchsorted(self.limits_s, age_s, side="right").astype(np.int32)
        return codes


@dataclass(frozen=True, slots=True)
class PartScores:
    """AUCs within the parts of slates, for each impression and part with a click and a skip."""

    positions: NDArray[np.int64]
    """Shape (m,): positions in the log."""
    codes: NDArray[np.int32]
    """Shape (m,): indices into the parts' names."""
    auc: NDArray[np.float32]
    """Shape (m, methods)."""


class SlateScores:
    """Collects the metrics of one batch of impressions after another.

    Args:
        methods: Names of the ranking methods.
        compared: Names of further methods, of which only the AUC of whole slates is measured.
        parts: Divisions of the candidates, by name.
        vectors: Shape (articles, d), for the diversity of lists, which is NaN without them.
        information: Shape (articles,), for the novelty of lists, which is NaN without it.

    >>> slates = Slates(np.array([0]), np.array([4, 7, 9]), np.array([True, False, False]), np.array([3]))
    >>> scores = SlateScores(["newest"])
    >>> scores.add_slates(slates, {"newest": np.array([2.0, 3.0, 1.0])})
    >>> dict(zip(METRICS, scores.values[0, 0].tolist()))["auc"]
    0.5
    """

    def __init__(
        self,
        methods: Sequence[str],
        *,
        compared: Sequence[str] = (),
        parts: Mapping[str, Division] | None = None,
        vectors: FloatMatrix | None = None,
        information: NDArray[np.float64] | None = None,
    ) -> None:
        self.methods = tuple(methods)
        self.compared = tuple(compared)
        self.parts = dict(parts or {})
        self.left_out = 0
        """Impressions whose candidates are all clicked or all skipped."""
        self._vectors = vectors
        self._information = information
        self._positions: list[NDArray[np.int64]] = []
        self._values: list[NDArray[np.float32]] = []
        self._compared: list[NDArray[np.float32]] = []
        self._part_scores: dict[str, list[PartScores]] = {name: [] for name in self.parts}
        self._listed: dict[str, set[int]] = {name: set() for name in self.methods}
        self._candidates: set[int] = set()
        self._clicks_at_rank = np.zeros((len(self.methods), MAX_RANK))
        self._shown_at_rank = np.zeros(MAX_RANK)

    def add_slates(self, slates: Slates, scores: Mapping[str, NDArray[np.floating]]) -> None:
        """Measure a batch.

        Args:
            slates: The impressions.
            scores: Scores (sum of sizes,) by method, including the compared ones; larger is better.

        Raises:
            ValueError: A score is NaN; the message names the method.
        """
        clicks = np.add.reduceat(slates.clicked.astype(np.int64), np.cumsum(slates.sizes) - slates.sizes)
        measured = (clicks > 0) & (clicks < slates.sizes)
        self.left_out += int((~measured).sum())
        if not measured.any():
            return
        kept = np.repeat(measured, slates.sizes)
        candidates, sizes = slates.candidates[kept], slates.sizes[measured].astype(np.intp)
        labels = slates.clicked[kept].astype(np.float64)
        positions = slates.positions[measured]
        self._positions.append(positions)
        self._candidates.update(np.unique(candidates).tolist())
        values = np.full((len(sizes), len(self.methods), len(METRICS)), np.nan, np.float32)
        columns = []
        for m, method in enumerate(self.methods):
            score = np.asarray(scores[method], np.float64)[kept]
            if np.isnan(score).any():
                raise ValueError(f"{method}: a score is NaN")
            columns.append(score)
            ranked = RankedSlates.of(labels, score, sizes)
            self._measure(values[:, m], m, ranked)
            self._measure_lists(values[:, m], method, _best(positions, candidates, ranked))
        compared = [
            kernels.slate_auc(labels, np.asarray(scores[name], np.float64)[kept], sizes)
            for name in self.compared
        ]
        self._compared.append(np.array(compared, np.float32).reshape(len(compared), len(sizes)).T)
        self._shown_at_rank += (sizes[:, None] > np.arange(MAX_RANK)).sum(axis=0)
        self._values.append(values)
        for name, parts in self.parts.items():
            codes = parts.codes_of(np.repeat(positions, sizes), candidates)
            self._part_scores[name].append(_measure_parts(positions, codes, labels, columns, sizes))

    def __len__(self) -> int:
        """Number of measured impressions."""
        return sum(len(positions) for positions in self._positions)

    @property
    def positions(self) -> NDArray[np.int64]:
        """Positions (n,) of the measured impressions in the log, in the order they were added."""
        return np.concatenate([np.empty(0, np.int64), *self._positions])

    @property
    def values(self) -> NDArray[np.float32]:
        """Metrics (n, methods, len(METRICS)); NaN where a list has none."""
        empty = np.empty((0, len(self.methods), len(METRICS)), np.float32)
        return np.concatenate([empty, *self._values])

    @property
    def compared_auc(self) -> NDArray[np.float32]:
        """AUCs (n, compared methods)."""
        return np.concatenate([np.empty((0, len(self.compared)), np.float32), *self._compared])

    def part_scores(self, name: str) -> PartScores:
        """AUCs within the parts of one division."""
        found = self._part_scores[name]
        return PartScores(
            np.concatenate([np.empty(0, np.int64), *(scores.positions for scores in found)]),
            np.concatenate([np.empty(0, np.int32), *(scores.codes for scores in found)]),
            np.concatenate([np.empty((0, len(self.methods)), np.float32), *(scores.auc for scores in found)]),
        )

    def coverage(self) -> dict[str, float]:
        """Coverage by method: the share of all candidates that were in any list of the best 5."""
        if not self._candidates:
            return {}
        return {
            method: coverage(np.array([list(listed)]), len(self._candidates))
            for method, listed in self._listed.items()
        }

    def click_rates(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Click-through rates (methods, MAX_RANK) by rank, and numbers of slates (MAX_RANK,) with it."""
        shown = self._shown_at_rank
        nothing = np.full_like(self._clicks_at_rank, np.nan)
        return np.divide(self._clicks_at_rank, shown, out=nothing, where=shown > 0), shown.copy()

    def _measure(self, values: NDArray[np.float32], method: int, ranked: RankedSlates) -> None:
        by_cut = (metric(k) for metric in (ranked.ndcg, ranked.hit_rate, ranked.recall) for k in (5, 10))
        values[:, :_RANKING] = np.column_stack([ranked.auc(), ranked.mrr(), *by_cut])
        near = ranked.ranks <= MAX_RANK
        self._clicks_at_rank[method] += np.bincount(
            ranked.ranks[near].astype(np.intp) - 1, ranked.labels[near], MAX_RANK
        )

    def _measure_lists(self, values: NDArray[np.float32], method: str, lists: NDArray[np.int32]) -> None:
        if self._vectors is not None:
            values[:, _RANKING] = diversity(lists, self._vectors)
        if self._information is not None:
            values[:, _RANKING + 1] = novelty(lists, self._information)
        self._listed[method].update(np.unique(lists[lists >= 0]).tolist())


def _best(
    positions: NDArray[np.int64], candidates: NDArray[np.int32], ranked: RankedSlates
) -> NDArray[np.int32]:
    """Articles (b, LIST_LENGTH) with the best scores, -1 where a slate is shorter."""
    order, sizes = ranked.order, ranked.sizes
    slate = np.repeat(np.arange(len(sizes)), sizes)
    ranks = ranked.ranks.astype(np.intp) - 1
    near = ranks < LIST_LENGTH
    if len(ranked.ties) < len(order):
        # Reorder only ties that begin near the top.
        lengths = np.diff(ranked.ties, append=len(order))
        moved = np.repeat((lengths > 1) & near[ranked.ties], lengths)
        group = np.repeat(np.arange(len(lengths)), lengths)[moved]
        tied = order[moved]
        order = order.copy()
        order[moved] = tied[np.lexsort((random_order(positions[slate[moved]], candidates[tied]), group))]
    lists = np.full((len(sizes), LIST_LENGTH), -1, np.int32)
    lists[slate[near], ranks[near]] = candidates[order[near]]
    return lists


def _measure_parts(
    positions: NDArray[np.int64],
    codes: NDArray[np.int32],
    labels: NDArray[np.float64],
    columns: Sequence[NDArray[np.float64]],
    sizes: NDArray[np.intp],
) -> PartScores:
    slate = np.repeat(np.arange(len(sizes)), sizes)
    # Group by slate and part. Timsort on one key: slates are in order already, and half of their codes are.
    order = np.argsort(slate * (int(codes.max(initial=0)) + 1) + np.maximum(codes, 0), kind="stable")
    order = order[codes[order] >= 0]
    empty = PartScores(np.empty(0, np.int64), np.empty(0, np.int32), np.empty((0, len(columns)), np.float32))
    if not len(order):
        return empty
    new = np.ones(len(order), np.bool_)
    new[1:] = (slate[order][1:] != slate[order][:-1]) | (codes[order][1:] != codes[order][:-1])
    starts = np.flatnonzero(new)
    lengths = np.diff(starts, append=len(order))
    clicks = np.add.reduceat(labels[order], starts)
    both = (clicks > 0) & (clicks < lengths)
    if not both.any():
        return empty
    first = order[starts[both]]
    kept = order[np.repeat(both, lengths)]
    auc = [kernels.slate_auc(labels[kept], scores[kept], lengths[both]) for scores in columns]
    return PartScores(positions[slate[first]], codes[first], np.column_stack(auc).astype(np.float32))
