"""Trials of the burst detector on synthetic breaking news: delay, detection rate and false alarms.

Articles are clicked with the rhythm of the day and the decay of news. One to five hours after publication,
bursting articles get ``factor`` times their clicks for two hours: from the same exposure (``exposed``), from
an unknown exposure, or from more exposure (``more_exposure``), which is no news. Counts are Poisson. The same
trial gives the same figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.bursts import BurstDetector
from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.datasets.synthetic.world import HOUR_S, START_S, visit_rate

STEP_S = 120.0
"""Time between two updates of the detector."""
BURST_S = 2 * HOUR_S
WARM_UP_S = 12 * HOUR_S
"""Time at the beginning without bursts and without counted alarms, in which the past becomes known."""
_BEFORE_S = 24 * HOUR_S
_LIFE_S = 8 * HOUR_S
_BURSTS = 8
_CLICK_RATE = (4.0, 60.0)


@dataclass(frozen=True, slots=True)
class BurstTrial:
    """Settings of a trial.

    Raises:
        ValueError: A setting is out of range.
    """

    factor: float
    """Factor of the clicks in a burst; 1 is a day without news."""
    clicks_per_hour: float = 60.0
    """Clicks of the median new article at the average hour of the day."""
    articles: int = 200
    hours: float = 36.0
    exposed: bool = True
    """Whether impressions are known."""
    more_exposure: bool = False
    """Whether bursting articles are shown more, at the same click rate."""
    seed: int = 1

    def __post_init__(self) -> None:
        if self.factor < 1 or self.clicks_per_hour <= 0 or self.articles < 1 or self.hours < 1:
            raise ValueError(
                "factor and hours must be at least 1, clicks_per_hour and articles positive, got "
                f"{self.factor}, {self.hours}, {self.clicks_per_hour} and {self.articles}"
            )


@dataclass(frozen=True, slots=True)
class BurstsFound:
    """Detections in a trial."""

    bursts: int
    """Bursts in the trial."""
    delays_s: tuple[float, ...]
    """Seconds from the beginning of each burst to its detection, if it was detected while it lasted."""
    false_alarms: int
    days: float
    """Days in which false alarms were counted."""


def run(trial: BurstTrial) -> BurstsFound:
    """Run the detector on a trial's clicks."""
    rng = np.random.default_rng(trial.seed)
    n, end_s = trial.articles, trial.hours * HOUR_S
    catalog, detector = ArticleCatalog(1), BurstDetector()
    rate = rng.lognormal(np.log(trial.clicks_per_hour), 1.0, n) / HOUR_S
    click_rate = rng.beta(*_CLICK_RATE, n)
    born_s = rng.uniform(-_BEFORE_S, end_s, n)
    life_s = rng.lognormal(np.log(_LIFE_S), 0.4, n)
    burst_s = np.full(n, np.inf)
    if trial.factor > 1:
        able = np.flatnonzero((born_s > WARM_UP_S) & (born_s < end_s - 8 * HOUR_S))[:_BURSTS]
        burst_s[able] = born_s[able] + rng.uniform(1, 5, len(able)) * HOUR_S
    ids = [f"N{row}" for row in range(n)]
    for news_id, published_s in zip(ids, born_s.tolist(), strict=True):
        catalog.put_article(news_id, None, START_S + published_s)
    delays_s: dict[int, float] = {}
    false_alarms = 0
    for now_s in np.arange(STEP_S, end_s, STEP_S).tolist():
        age_s = np.maximum(now_s - born_s, 0.0)
        busy = visit_rate(np.array([START_S + now_s]))[0] * rate
        expected = np.where(age_s > 0, busy * np.exp2(-age_s / life_s), 0.0) * STEP_S
        bursting = (burst_s <= now_s) & (now_s < burst_s + BURST_S)
        factor = np.where(bursting, trial.factor, 1.0)
        shown = rng.poisson(expected / click_rate * (factor if trial.more_exposure else 1.0))
        _count(catalog, ids, rng.poisson(expected * factor), shown * trial.exposed, START_S + now_s)
        for burst in detector.update(catalog, START_S + now_s):
            row = int(burst.news_id[1:])
            if bursting[row]:
                delays_s.setdefault(row, now_s - float(burst_s[row]))
            elif now_s > WARM_UP_S:
                false_alarms += 1
    return BurstsFound(
        int(np.isfinite(burst_s).sum()),
        tuple(delays_s.values()),
        false_alarms,
        max(end_s - WARM_UP_S, 0.0) / (24 * HOUR_S),
    )


def _count(
    catalog: ArticleCatalog,
    ids: list[str],
    clicks: NDArray[np.integer],
    shown: NDArray[np.integer],
    time_s: float,
) -> None:
    """Add counts to the catalog as the statistics would publish them."""
    rows = np.flatnonzero(clicks + shown)
    held_clicks, held_shown = catalog.decayed(catalog.rows([ids[i] for i in rows]), time_s)
    for i, of_clicks, of_shown in zip(rows.tolist(), held_clicks, held_shown, strict=True):
        first_s = float(catalog.first_seen_s[catalog.row(ids[i])])
        catalog.put_stats(
            ids[i],
            time_s,
            (of_clicks + clicks[i]).tolist(),
            (of_shown + shown[i]).tolist(),
            time_s if np.isnan(first_s) else first_s,
        )
