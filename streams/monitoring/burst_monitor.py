"""Detection of bursting articles, for the metrics and as candidates.

Time is event time: the newest of the statistics. All data comes from the catalog, so all workers of a cluster
see the same bursts, a few seconds apart.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import numpy as np

from freshet.models.articles.bursts import Burst, BurstDetector
from freshet.models.articles.catalog import ArticleCatalog
from freshet.streams import metrics

log = logging.getLogger(__name__)


@dataclass(eq=False)
class BurstMonitor:
    """Detects bursts every ``interval_s`` seconds; 0 turns it off."""

    catalog: ArticleCatalog
    interval_s: float

    def __post_init__(self) -> None:
        self._detector = BurstDetector()
        self.ids: tuple[str, ...] = ()
        """News ids of bursting articles, the most surprising first."""

    async def run(self) -> None:
        """Detect until cancelled."""
        while self.interval_s:
            self.detect()
            await asyncio.sleep(self.interval_s)

    def detect(self) -> tuple[Burst, ...]:
        """Detect once and return the bursts that have begun. 100,000 articles take about 30 ms."""
        times_s = self.catalog.stats_time_s[: len(self.catalog.ids)]
        known = ~np.isnan(times_s)
        if not known.any():
            return ()
        begun = self._detector.update(self.catalog, float(times_s[known].max()))
        for burst in begun:
            log.info(
                "article %s bursts: %.0f recent clicks, %.0f expected",
                burst.news_id,
                burst.clicks,
                burst.expected_clicks,
            )
        self.ids = tuple(burst.news_id for burst in self._detector.bursts)
        metrics.BURSTS.set(len(self.ids))
        metrics.BURSTS_BEGUN.inc(len(begun))
        return begun
