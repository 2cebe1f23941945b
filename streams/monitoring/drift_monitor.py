"""Drift gauges of a running worker: the categories of clicks and the vectors of new articles.

- Population stability index of the clicks' categories: about the last day (a half-life of 24 hours) against
  all older clicks (:mod:`freshet.models.evaluation.drift.categories`). It is NaN while clicks are so few
  that chance alone could look like a shift.
- Vectors of articles published in the last 24 hours against older ones
  (:mod:`freshet.models.evaluation.drift.vectors`).

Time is event time: the newest of the statistics. All data comes from the catalog, so every worker of a
cluster shows the same, also after a restart. The event loop only takes a sample, a few milliseconds for
100,000 articles; a thread computes.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.evaluation.drift.categories import MODERATE_PSI, category_shift
from freshet.models.evaluation.drift.vectors import PeriodDrift, compare_periods
from freshet.models.ports import FloatMatrix
from freshet.streams import metrics

NEW_S = 86_400.0
"""Age up to which an article is new."""
SAMPLE = 1_000
"""Number of vectors of each kind in a sample."""
_CLICKS_HALF_LIFE_S = 86_400.0
_LEAST = 2


@dataclass(frozen=True, slots=True)
class DriftSample:
    """Data of one measurement, copied from the catalog."""

    recent_clicks: NDArray[np.float64]
    """Decayed clicks (categories,); entry 0, the unknown category, stays 0."""
    older_clicks: NDArray[np.float64]
    new: FloatMatrix
    """Vectors (n, d) of new articles."""
    older: FloatMatrix
    """Vectors (n, d) of older articles."""


@dataclass(frozen=True, slots=True)
class DriftGauges:
    """One measurement; ``None`` where there is too little data."""

    psi: float | None
    vectors: PeriodDrift | None


@dataclass(eq=False)
class DriftMonitor:
    """Measures drift every ``interval_s`` seconds; 0 turns it off."""

    catalog: ArticleCatalog
    interval_s: float

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(0)

    async def run(self) -> None:
        """Measure until cancelled."""
        while self.interval_s:
            show(await asyncio.to_thread(measured, sampled(self.catalog, self._rng)))
            await asyncio.sleep(self.interval_s)


def sampled(catalog: ArticleCatalog, rng: np.random.Generator) -> DriftSample:
    """Copy the data of a measurement from the catalog, in time linear in its articles."""
    n = len(catalog.ids)
    stats_time_s = catalog.stats_time_s[:n]
    has_stats = ~np.isnan(stats_time_s)
    now_s = float(stats_time_s[has_stats].max()) if has_stats.any() else catalog.newest_published_at_s
    has_vector = catalog.has_vector[:n] & ~catalog.withdrawn[:n]
    published_at_s = catalog.published_at_s[:n]
    return DriftSample(
        *_clicks(catalog, now_s),
        _some(catalog, has_vector & (published_at_s > now_s - NEW_S), rng),
        _some(catalog, has_vector & (published_at_s <= now_s - NEW_S), rng),
    )


def measured(sample: DriftSample) -> DriftGauges:
    """Gauges of a sample. Thread-safe."""
    psi = None
    if sample.recent_clicks.sum() > 0 and sample.older_clicks.sum() > 0:
        shift = category_shift(_by_code(sample.older_clicks), _by_code(sample.recent_clicks))
        psi = shift.psi if shift.by_chance <= MODERATE_PSI else None
    vectors = None
    if len(sample.older) >= _LEAST and len(sample.new):
        vectors = compare_periods(sample.older, sample.new, sample=SAMPLE)
    return DriftGauges(psi, vectors)


def show(found: DriftGauges) -> None:
    """Set the metrics."""
    metrics.DRIFT_CATEGORIES_PSI.set(math.nan if found.psi is None else found.psi)
    vectors = found.vectors
    metrics.DRIFT_SAMPLED_ARTICLES.labels("new").set(vectors.after if vectors else 0)
    metrics.DRIFT_SAMPLED_ARTICLES.labels("older").set(vectors.before if vectors else 0)
    metrics.DRIFT_NORM_SHIFT.set(vectors.norms.relative if vectors else math.nan)
    metrics.DRIFT_CENTROID_SHIFT.set(vectors.centroid.cosine_distance if vectors else math.nan)
    metrics.DRIFT_NOVELTY.labels("new").set(vectors.novelty.after if vectors else math.nan)
    metrics.DRIFT_NOVELTY.labels("older").set(vectors.novelty.before if vectors else math.nan)


def _clicks(catalog: ArticleCatalog, now_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recent and older clicks by category code, both (categories,).

    A click of age t is recent by 2^(-t / 24 h), and older by the rest.
    """
    n, bins = len(catalog.ids), len(catalog.category_names)
    half_lives_s = catalog.half_lives_s
    if None not in half_lives_s or _CLICKS_HALF_LIFE_S not in half_lives_s:
        return np.zeros(bins), np.zeros(bins)
    rows = np.flatnonzero(~np.isnan(catalog.stats_time_s[:n]) & (catalog.category[:n] > 0))
    clicks, _ = catalog.decayed(rows, now_s)  # (rows, half-lives)
    recent = clicks[:, half_lives_s.index(_CLICKS_HALF_LIFE_S)]  # (rows,)
    older = np.maximum(clicks[:, half_lives_s.index(None)] - recent, 0.0)
    category = catalog.category[rows]
    return (
        np.bincount(category, recent, minlength=bins).astype(np.float64),
        np.bincount(category, older, minlength=bins).astype(np.float64),
    )


def _some(catalog: ArticleCatalog, where: NDArray[np.bool_], rng: np.random.Generator) -> FloatMatrix:
    """Non-zero vectors (at most ``SAMPLE``, d) of random rows that are True in ``where`` (n,)."""
    rows = np.flatnonzero(where)
    if len(rows) > SAMPLE:
        rows = rng.choice(rows, SAMPLE, replace=False)
    vectors: FloatMatrix = catalog.vectors[rows]  # (rows, d)
    return vectors[vectors.any(axis=1)]


def _by_code(counts: NDArray[np.float64]) -> dict[str, float]:
    return {str(code): count for code, count in enumerate(counts.tolist())}
