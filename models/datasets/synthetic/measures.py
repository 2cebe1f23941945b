"""Measures the oracle and simple rankers on a synthetic stream while it is generated.

The metric is the mean AUC over the last four fifths of the impressions, without those with a single label;
ties count one half. The definition is that of :mod:`freshet.models.evaluation.ranking_metrics`, computed for
all impressions of a window at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.ragged import concatenated_ranges
from freshet.models.datasets.synthetic.stream import ImpressionBatch, examination
from freshet.models.datasets.synthetic.world import HOUR_S, World

WARM_UP = 0.2
"""Share of the impressions before measuring starts, from which click-through rates are learned."""

CTR_PRIOR_IMPRESSIONS = 10.0
FRESH_S = HOUR_S
MOST_CLICKS_WITHIN_S = 48 * HOUR_S
POPULAR_SHARE = 0.1

ORACLE = "oracle"
CTR_SO_FAR = "ctr_so_far"


@dataclass(frozen=True, slots=True)
class SynthReport:
    """Summary of a synthetic stream. Shares are between 0 and 1."""

    users: int
    """Readers with an impression."""
    articles: int
    """Articles published, shown or not."""
    shown_articles: int
    impressions: int
    candidates: int
    clicks: int
    hours: float
    click_rate: float
    """Clicks divided by candidates."""
    clicks_per_impression: float
    newcomer_impressions: float
    """Share of impressions of readers without any history."""
    fresh_candidates: float
    """Share of candidates published less than an hour earlier."""
    clicks_within_48h: float
    """Share of clicks within 48 hours of publication."""
    clicks_on_popular: float
    """Share of clicks on the most clicked tenth of the shown articles."""
    measured_impressions: int
    auc: dict[str, float] = field(default_factory=dict)
    """Mean AUC of the oracle, its parts, the position and simple rankers; empty if nothing was measured."""


class Measures:
    """Accumulates measures over batches, in memory that depends on articles and users only."""

    def __init__(self, world: World) -> None:
        self._world = world
        n = len(world.articles.ids)
        self._clicks = np.zeros(n)
        self._shown = np.zeros(n)
        self._seen = np.zeros(len(world.readers.ids), np.bool_)
        self._impressions = self._newcomers = self._fresh = self._young_clicks = self._measured = 0
        self._auc_sums: dict[str, float] = {}

    def add_batch(self, batch: ImpressionBatch) -> None:
        """Measure a batch with the counts of the batches before it, then count it."""
        if self._impressions >= WARM_UP * self._world.config.impressions:
            self._measure(batch)
        age_s = batch.times_s[batch.rows] - self._world.articles.published_s[batch.articles]
        self._impressions += len(batch.users)
        self._newcomers += int(batch.newcomers.sum())
        self._fresh += int((age_s < FRESH_S).sum())
        self._young_clicks += int((age_s[batch.clicked] < MOST_CLICKS_WITHIN_S).sum())
        self._seen[batch.users] = True
        self._shown += np.bincount(batch.articles, minlength=len(self._shown))
        self._clicks += np.bincount(batch.articles[batch.clicked], minlength=len(self._shown))

    def report(self) -> SynthReport:
        """Summarize the batches added so far."""
        candidates, clicks = float(self._shown.sum()), float(self._clicks.sum())
        shown = int((self._shown > 0).sum())
        popular = np.sort(self._clicks)[::-1][: max(int(POPULAR_SHARE * shown), 1)]
        return SynthReport(
            users=int(self._seen.sum()),
            articles=len(self._shown),
            shown_articles=shown,
            impressions=self._impressions,
            candidates=int(candidates),
            clicks=int(clicks),
            hours=self._world.config.hours,
            click_rate=_rounded(clicks / candidates),
            clicks_per_impression=_rounded(clicks / self._impressions),
            newcomer_impressions=_rounded(self._newcomers / self._impressions),
            fresh_candidates=_rounded(self._fresh / candidates),
            clicks_within_48h=_rounded(self._young_clicks / clicks),
            clicks_on_popular=_rounded(float(popular.sum()) / clicks),
            measured_impressions=self._measured,
            auc={name: _rounded(total / self._measured) for name, total in self._auc_sums.items()},
        )

    def _measure(self, batch: ImpressionBatch) -> None:
        overall = self._clicks.sum() / max(self._shown.sum(), 1.0)
        rate = (self._clicks + CTR_PRIOR_IMPRESSIONS * overall) / (self._shown + CTR_PRIOR_IMPRESSIONS)
        log_odds = batch.interest + batch.quality + batch.timeliness + batch.fatigue
        scores = {
            ORACLE: log_odds,
            "interest": batch.interest,
            "quality": batch.quality,
            "timeliness": batch.timeliness,
            "quality_and_timeliness": batch.quality + batch.timeliness,
            "position": examination(batch.positions),
            CTR_SO_FAR: rate[batch.articles],
            "newest_first": self._world.articles.published_s[batch.articles],
        }
        for name, aucs in slate_aucs(batch, scores).items():
            if len(aucs):
                self._auc_sums[name] = self._auc_sums.get(name, 0.0) + float(aucs.sum())
        sizes = np.diff(batch.starts)
        clicks = np.bincount(batch.rows[batch.clicked], minlength=len(sizes))
        self._measured += int((clicks < sizes).sum())


def slate_aucs(
    batch: ImpressionBatch, scores: dict[str, NDArray[np.floating] | NDArray[np.integer]]
) -> dict[str, NDArray[np.float64]]:
    """Compute the AUC of each impression with both labels, for each of ``scores`` (c,)."""
    clicked = np.flatnonzero(batch.clicked)
    sizes = np.diff(batch.starts)
    # (pairs,): each click with every candidate of its slate, then with the skipped ones only.
    row = batch.rows[clicked]
    pair_row = np.repeat(row, sizes[row])
    click = np.repeat(clicked, sizes[row])
    other = concatenated_ranges(batch.starts[row], sizes[row])
    skipped = ~batch.clicked[other]
    pair_row, click, other = pair_row[skipped], click[skipped], other[skipped]
    pairs = np.bincount(pair_row, minlength=len(sizes))
    both = pairs > 0
    aucs = {}
    for name, score in scores.items():
        # A pair is won if the click scores higher; ties count one half.
        won = (score[click] > score[other]) + 0.5 * (score[click] == score[other])
        aucs[name] = np.bincount(pair_row, won, minlength=len(sizes))[both] / pairs[both]
    return aucs


def _rounded(value: float) -> float:
    return round(value, 4)
