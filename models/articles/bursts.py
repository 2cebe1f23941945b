r"""Burst detection: articles clicked far more recently than their past and their exposure explain.

All inputs are decayed counts that the catalog holds anyway. c and i are an article's clicks and impressions
at a short half-life h (30 minutes). c' and i' are its past: the counts at a long half-life H (24 hours) less
the short ones. Three forecasts of c are made:

- from its past, :math:`\mu_v = \rho\, c'\, h f_h / (H f_H - h f_h)`, where
  :math:`f_x = 1 - 2^{-\text{age}/x}` is the share of a count that an article of its age can have filled, and
  :math:`\rho` is the click rate of the whole site now over its rate since publication, which corrects for
  busy hours;
- from its exposure, :math:`\mu_e = i \cdot (c' + \kappa g) / (i' + \kappa)`, with g the global click rate;
- the mean number of recent clicks of all articles that are clicked at all.

The expected count is the largest of the three, because neither more exposure nor a missing past makes a
burst. The surprise is the signed root of the deviance of a negative binomial count,

.. math:: z = \operatorname{sign}(n - m)
   \sqrt{2\,\bigl(n \log\tfrac{n}{m} - (n + r) \log\tfrac{n + r}{m + r}\bigr)}, \qquad n = 2c,\; m = 2\mu,

about standard normal without a burst (McCullagh and Nelder, "Generalized Linear Models", 1989). Counts are
doubled because the variance of a decayed count of Poisson events is half its mean. The dispersion r allows
for ordinary changes of rates (r0: ``PROCESS_DISPERSION``) and for a past that rests on few clicks:
:math:`1/r = 1/r_0 + 1/(c' + 4)`.

A burst begins at a surprise of ``begins`` and ends below ``ends``, so that it does not flicker. The state is
bounded by ``max_bursts``. Kleinberg's automaton ("Bursty and Hierarchical Structure in Streams", KDD 2002)
uses the same two thresholds, but needs the times of all events.

Limits: a story spread over many articles, none of which bursts alone, is not detected, and manipulated clicks
look like news.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog

SHORT_HALF_LIFE_S: Final = 1_800.0
LONG_HALF_LIFE_S: Final = 86_400.0
PROCESS_DISPERSION: Final = 50.0
"""Dispersion r0: rates change by a seventh for reasons that the counts do not show."""
UNEXPOSED_DISPERSION: Final = 20.0
"""Dispersion r0 of an article without known impressions, forecast from its past alone. That forecast is too
low at the end of the night: with 50 there are three times as many false alarms."""
PRIOR_IMPRESSIONS: Final = 50.0
"""Kappa: impressions at the global click rate that are added to an article's past."""
_PRIOR_CLICKS: Final = 4.0


@dataclass(frozen=True, slots=True)
class Burst:
    """An article that bursts."""

    news_id: str
    since_s: float
    """Time at which the burst was detected, Unix seconds."""
    surprise: float
    """Current z."""
    clicks: float
    """Current clicks, decayed at the short half-life."""
    expected_clicks: float


@dataclass(frozen=True, slots=True)
class Surprises:
    """Surprise of the clicks of each catalog row in use; every array has the shape (len(catalog.ids),)."""

    surprise: NDArray[np.float64]
    clicks: NDArray[np.float64]
    expected_clicks: NDArray[np.float64]


class BurstDetector:
    """Detector that follows which articles burst; update it every few seconds or minutes.

    Args:
        begins: Surprise at which a burst begins.
        ends: Surprise below which it ends.
        least_clicks: Clicks, decayed at the short half-life, that a burst begins with at least.
        max_bursts: Bursts kept at one time, the most surprising ones.

    Raises:
        ValueError: ``ends`` is above ``begins``, or a bound is not positive.
    """

    def __init__(
        self, begins: float = 4.0, ends: float = 2.0, least_clicks: float = 5.0, max_bursts: int = 50
    ) -> None:
        if ends > begins or least_clicks <= 0 or max_bursts < 1:
            raise ValueError(
                f"ends must not be above begins, least_clicks and max_bursts must be positive, got {ends}, "
                f"{begins}, {least_clicks} and {max_bursts}"
            )
        self._begins, self._ends, self._least_clicks = begins, ends, least_clicks
        self._max_bursts = max_bursts
        self._bursts: dict[str, Burst] = {}
        self.begun = 0
        """Number of bursts that have begun."""

    @property
    def bursts(self) -> tuple[Burst, ...]:
        """Bursts of the last update, the most surprising first."""
        return tuple(self._bursts.values())

    def update(self, catalog: ArticleCatalog, now_s: float) -> tuple[Burst, ...]:
        """Examine all articles and return those whose burst has begun.

        Args:
            catalog: With statistics.
            now_s: Event time, Unix seconds.
        """
        found = surprises(catalog, now_s)
        new = (found.surprise >= self._begins) & (found.clicks >= self._least_clicks)
        rows = set(np.flatnonzero(new).tolist())
        rows.update(
            row
            for row in catalog.rows(list(self._bursts)).tolist()
            if row >= 0 and found.surprise[row] >= self._ends
        )
        best = sorted(rows, key=lambda row: (-found.surprise[row], catalog.ids[row]))[: self._max_bursts]
        before, self._bursts, begun = self._bursts, {}, []
        for row in best:
            news_id = catalog.ids[row]
            held = before.get(news_id)
            burst = Burst(
                news_id,
                now_s if held is None else held.since_s,
                float(found.surprise[row]),
                float(found.clicks[row]),
                float(found.expected_clicks[row]),
            )
            self._bursts[news_id] = burst
            if held is None:
                begun.append(burst)
        self.begun += len(begun)
        return tuple(begun)


def surprises(catalog: ArticleCatalog, now_s: float) -> Surprises:
    """Surprise of every article's clicks at ``now_s`` (Unix seconds), minus infinity for withdrawn ones."""
    n = len(catalog.ids)
    short, long = catalog.nearest_count(SHORT_HALF_LIFE_S), catalog.nearest_count(LONG_HALF_LIFE_S)
    h, big_h = (catalog.half_lives_s[j] or 1e9 for j in (short, long))
    rows = np.arange(n)
    clicks, impressions = catalog.decayed(rows, now_s)
    recent, past = clicks[:, short], np.maximum(clicks[:, long] - clicks[:, short], 0.0)
    past_shown = np.maximum(impressions[:, long] - impressions[:, short], 0.0)
    all_clicks, all_impressions = catalog.global_counts(now_s)

    published_at_s, first_seen_s = catalog.published_at_s[:n], catalog.first_seen_s[:n]
    since_s = np.where(np.isnan(first_seen_s), published_at_s, first_seen_s)
    age_s = np.maximum(np.where(np.isnan(since_s), 0.0, now_s - since_s), 1.0)
    filled_short, filled_long = 1.0 - np.exp2(-age_s / h), 1.0 - np.exp2(-age_s / big_h)
    by_age = h * filled_short / np.maximum(big_h * filled_long - h * filled_short, 1e-9)
    by_past = past * by_age * _rhythm(catalog, all_clicks, age_s)
    rate = (float(all_clicks[long]) + 1.0) / (float(all_impressions[long]) + 20.0)
    by_exposure = impressions[:, short] * (past + PRIOR_IMPRESSIONS * rate) / (past_shown + PRIOR_IMPRESSIONS)
    active = recent >= 0.5  # noqa: PLR2004 - one click half an hour ago
    mean = float(recent[active].mean()) if active.any() else 1.0
    expected = np.maximum(np.maximum(by_past, by_exposure), max(mean, 1.0))

    count, forecast = 2.0 * recent, 2.0 * expected
    exposed = impressions[:, long] > 0
    process = np.where(exposed, PROCESS_DISPERSION, UNEXPOSED_DISPERSION)
    r = 1.0 / (1.0 / process + 1.0 / (past + _PRIOR_CLICKS))
    log_ratio = np.log(np.maximum(count, 1e-300) / forecast)
    deviance = 2.0 * (count * log_ratio - (count + r) * np.log((count + r) / (forecast + r)))
    surprise = np.sign(count - forecast) * np.sqrt(np.maximum(deviance, 0.0))
    surprise[catalog.withdrawn[:n]] = -np.inf
    return Surprises(surprise, recent, expected)


def _rhythm(
    catalog: ArticleCatalog, all_clicks: NDArray[np.float64], age_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rho (n,): the site's recent click rate over its rate since articles of these ages (n,) appeared."""
    decaying = [(h, float(n)) for h, n in zip(catalog.half_lives_s, all_clicks, strict=True) if h is not None]
    half_lives_s, clicks = (np.array(column) for column in zip(*sorted(decaying), strict=True))
    rates = (clicks + 1.0) / half_lives_s
    while_there = np.interp(np.log(0.5 * age_s * math.log(2.0)), np.log(half_lives_s), rates)
    return np.asarray(rates[0] / while_there)
