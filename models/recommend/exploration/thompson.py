r"""Thompson sampling: fresh articles compete for a slot by draws from their click rates' posteriors.

Each competitor's click rate has a Beta posterior (Chapelle and Li, "An Empirical Evaluation of Thompson
Sampling", NIPS 2011): with c clicks and i impressions (decayed), and the global click rate g,

.. math:: \theta_a \sim \text{Beta}(c + \kappa\rho g,\; i - c + \kappa (1 - \rho g)),

:math:`\kappa` impressions' worth of prior at :math:`\rho` times the global rate. The article whose
:math:`\operatorname{logit} \theta_a + \beta s_a` is largest wins, :math:`s_a` its score by the ranker: with
:math:`\beta = 0` every reader is shown possible hits, with :math:`\beta > 0` rather articles that fit the
reader. An article that is shown without clicks is drawn less and less; one that was never shown has the
widest posterior.

Limits: it does not learn from one article about another (unlike
:mod:`freshet.models.recommend.exploration.linucb`), and it cannot distinguish a bad position from a bad
article, so that slots at the end of a list make their articles look worse than they are.

Propensities are exact up to quadrature (:mod:`freshet.models.recommend.exploration.rank_probabilities`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.kernels.priors import GLOBAL_PRIOR_CLICKS, GLOBAL_PRIOR_IMPRESSIONS
from freshet.models.recommend.exploration.rank_probabilities import exceedance_counts, rank_probabilities
from freshet.models.recommend.exploration.slots import ExplorationSlots
from freshet.models.recommend.slate import Slate

_LEAST_PARAMETER = 0.05
_MAX_GRID = 2_048


@dataclass(frozen=True, slots=True)
class ThompsonExplorer:
    """Fills the slots with the competitors of the largest draws.

    Raises:
        ValueError: A prior is not positive, or the relevance negative.
    """

    slots: ExplorationSlots = field(default_factory=ExplorationSlots)
    prior_impressions: float = 10.0
    """Weight of the prior (kappa), in impressions."""
    prior_lift: float = 1.0
    """Click rate of the prior (rho), as a multiple of the global click rate."""
    relevance: float = 2.0
    """Weight of the ranker's score (beta), in log-odds per unit of score."""
    half_life_s: float = 86_400.0
    """Half-life of clicks and impressions; the catalog's nearest one is used."""

    def __post_init__(self) -> None:
        if self.prior_impressions <= 0 or self.prior_lift <= 0 or self.half_life_s <= 0:
            raise ValueError(
                "prior_impressions, prior_lift and half_life_s must be positive, got "
                f"{self.prior_impressions}, {self.prior_lift} and {self.half_life_s}"
            )
        if self.relevance < 0:
            raise ValueError(f"relevance must not be negative, got {self.relevance}")

    def choose(self, slate: Slate, k: int, seed: int) -> Slate:
        """Fills the slots with the competitors of the largest draws, at random positions."""
        competitors = self.slots.competitors(slate, k)
        m = min(self.slots.slots(k, len(slate.order)), len(competitors))
        if m == 0:
            return slate.exploit(k)
        rng = np.random.default_rng(seed)
        clicks, skips = self._posteriors(slate.scored.rows[competitors], slate.catalog, slate.now_s)
        offsets = self.relevance * slate.scored.scores[competitors]  # (c,)
        # A draw may round to 0 or 1, whose log-odds are infinite.
        draws = np.clip(rng.beta(clicks, skips), 1e-300, 1.0 - 1e-16)
        values = np.log(draws) - np.log1p(-draws) + offsets
        best = np.argsort(-values, kind="stable")[:m]
        probabilities = _choice_probabilities(clicks, skips, offsets, best, m)
        return self.slots.fill(slate, k, competitors[best], probabilities, rng)

    def _posteriors(
        self, rows: NDArray[np.int64], catalog: ArticleCatalog, now_s: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Parameters (n,), (n,) of the Beta posteriors."""
        distances = [abs(math.log((each or math.inf) / self.half_life_s)) for each in catalog.half_lives_s]
        count = distances.index(min(distances))
        all_clicks, all_impressions = catalog.global_counts(now_s)
        rate = (all_clicks[count] + GLOBAL_PRIOR_CLICKS) / (all_impressions[count] + GLOBAL_PRIOR_IMPRESSIONS)
        prior = min(float(self.prior_lift * rate), 0.9)
        clicks, impressions = catalog.decayed(rows, now_s)
        # A click without an impression (from a search, say) is no negative skip.
        skips = np.maximum(impressions[:, count] - clicks[:, count], 0.0)
        return (
            np.maximum(clicks[:, count] + self.prior_impressions * prior, _LEAST_PARAMETER),
            skips + self.prior_impressions * (1.0 - prior),
        )


def _choice_probabilities(
    clicks: NDArray[np.float64],
    skips: NDArray[np.float64],
    offsets: NDArray[np.float64],
    chosen: NDArray[np.intp],
    m: int,
) -> NDArray[np.float64]:
    """Probabilities (m, m) that each of ``chosen`` has the largest, second largest, ... of all c draws."""
    if len(clicks) == 1:
        return np.ones((1, 1))
    centres = np.log(clicks / skips) + offsets
    # In log-odds a Beta's tails fall like exp(a v) to the left and exp(-b v) to the right.
    low = float((centres - 14.0 / np.minimum(clicks, 2.0)).min())
    high = float((centres + 14.0 / np.minimum(np.minimum(clicks, skips), 2.0)).max())
    narrowest = float(np.sqrt(1.0 / clicks + 1.0 / skips).min())
    points = min(max(int(1.5 * (high - low) / narrowest), 256), _MAX_GRID)
    grid = np.linspace(low, high, points)[None, :] - offsets[:, None]  # (c, q)
    log_density = clicks[:, None] * grid - (clicks + skips)[:, None] * np.logaddexp(0.0, grid)
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    density /= density.sum(axis=1, keepdims=True)
    # Half of a point's own mass lies above it, and by the Euler-Maclaurin formula a twelfth of its slope: so
    # few points then give the choices' probabilities to 1e-4, without the slope to 3e-2.
    slope = clicks[:, None] - (clicks + skips)[:, None] / (1.0 + np.exp(-grid))
    step = (high - low) / (points - 1)
    above = 1.0 - np.cumsum(density, axis=1) + density * (0.5 + step * slope / 12.0)
    exceeding = np.clip(above, 0.0, 1.0)
    others = np.ones(len(clicks), np.bool_)
    others[chosen] = False
    return rank_probabilities(density[chosen], exceeding[chosen], exceedance_counts(exceeding[others], m), m)
