r"""Plackett-Luce: a list drawn at random as a whole, with better articles more likely at the top.

With scores :math:`s_i` and temperature T, the next article is drawn among those left with probability
proportional to :math:`w_i = \exp(s_i / T)` (Plackett, "The Analysis of Permutations", 1975; Luce, 1959).
Sorting by :math:`s_i / T` plus independent Gumbel noise draws the same lists (Yellott, 1977). Every candidate
can appear at every position, so a log of this policy allows the off-policy evaluation of any other policy on
the same candidates. T is its price: T near 0 approaches the order of scores, a large T a shuffle.

Two different probabilities of a list:

- :func:`plackett_luce_propensities`: :math:`P(\text{article } a \text{ stands at position } j)` over all
  lists, the propensity that the log carries and that inverse propensity scoring by position needs. At the
  first position it is :math:`w_a / \sum_i w_i`; below, an integral over a's noise, by quadrature, exact to
  about 1e-5.
- :func:`log_probability`: the logarithm of the probability of the whole list, the product of
  :math:`w_{a_j} / \sum_{i \text{ left}} w_i`; each factor is the probability of an article *given the
  articles above it*. It falls exponentially with the list's length.

Diversity has no influence on a list that is drawn by scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from freshet.models.recommend.exploration.rank_probabilities import (
    exceedance_counts,
    polynomial_product,
    rank_probabilities,
)
from freshet.models.recommend.slate import Slate

_HIGHEST_TAIL = 15.0
"""Distance of the grid's end above the largest noise expected, exceeded with probability exp(-15)."""
_SELDOM = 0.01
_MAX_GRID = 16_384
LEAST_TEMPERATURE = 0.01
"""Lowest temperature: below it, lists follow the scores, and the quadrature needs too many points."""


@dataclass(frozen=True, slots=True)
class PlackettLuceExplorer:
    """Draws the whole list from the scores.

    Raises:
        ValueError: The temperature is below ``LEAST_TEMPERATURE`` or not finite.
    """

    temperature: float = 0.3

    def __post_init__(self) -> None:
        if not LEAST_TEMPERATURE <= self.temperature < np.inf:
            raise ValueError(f"the temperature must be at least {LEAST_TEMPERATURE}, got {self.temperature}")

    def choose(self, slate: Slate, k: int, seed: int) -> Slate:
        """Draws the whole list; every slot counts as explored."""
        # In the slate's canonical order: the order without exploration cannot influence the draw.
        candidates = np.sort(slate.order)
        scores = slate.scored.scores[candidates]  # (n,)
        drawn = plackett_luce_order(scores, self.temperature, np.random.default_rng(seed))[:k]
        propensities = plackett_luce_propensities(scores, self.temperature, drawn)
        return replace(
            slate,
            picks=candidates[drawn],
            propensities=propensities,
            explored=np.ones(len(drawn), np.bool_),
        )


def plackett_luce_order(
    scores: NDArray[np.float64], temperature: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Positions (n,) of ``scores`` (n,) in an order drawn at ``temperature``."""
    return np.argsort(-(scores / temperature + rng.gumbel(size=len(scores))), kind="stable")


def log_probability(scores: NDArray[np.float64], temperature: float, shown: NDArray[np.intp]) -> float:
    """Logarithm of the probability that ``shown`` (m,) are the first m, in this order.

    >>> round(float(np.exp(log_probability(np.array([0.0, 0.0]), 1.0, np.array([1, 0])))), 6)
    0.5
    """
    logits = scores / temperature
    rest = np.ones(len(logits), np.bool_)
    total = 0.0
    for position in shown.tolist():
        left = logits[rest]
        top = float(left.max())
        total += float(logits[position]) - top - float(np.log(np.exp(left - top).sum()))
        rest[position] = False
    return total


def plackett_luce_propensities(
    scores: NDArray[np.float64], temperature: float, shown: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Probabilities (m,), above 0, of each of ``shown`` at its own position, over all lists.

    Args:
        scores: Shape (n,): scores of all candidates.
        temperature: At least ``LEAST_TEMPERATURE``.
        shown: Shape (m,): distinct positions of ``scores`` in the order shown.
    """
    n, m = len(scores), len(shown)
    if m == 0:
        return np.empty(0)
    logits = scores / temperature
    logits = logits - logits.max()
    log_total = float(np.log(np.exp(logits).sum()))
    grid = _grid(logits, log_total, min(m, n))
    others = np.ones(n, np.bool_)
    others[shown] = False
    low = others & (logits < grid[0] + np.log(_SELDOM))
    high = others & ~low
    # The count of candidates that seldom exceed the lowest grid point is nearly Poisson.
    seldom = _rates(np.log(np.exp(logits[low]).sum() + np.finfo(np.float64).tiny), grid)
    powers = np.cumprod(np.concatenate([np.exp(-seldom)[None], seldom / np.arange(1, m)[:, None]]), axis=0)
    counts = exceedance_counts(-np.expm1(-_rates(logits[high, None], grid)), m)
    rate = _rates(logits[shown, None], grid)
    density = rate * np.exp(-rate) * (grid[1] - grid[0])
    probabilities = rank_probabilities(density, -np.expm1(-rate), polynomial_product(counts, powers, m), m)
    chances = probabilities[np.arange(m), np.arange(m)]
    chances[0] = np.exp(logits[shown[0]] - log_total)
    return np.maximum(chances, np.finfo(np.float64).tiny)


def _grid(logits: NDArray[np.float64], log_total: float, ranks: int) -> NDArray[np.float64]:
    """Grid (q,) over the noisy logits of the first ``ranks``, fine enough for the trapezoidal rule.

    A step of 1 / sqrt(rank) resolves the density of the rank-th largest; the rule's error for so smooth a
    function falls exponentially in the inverse of the step.
    """
    # The grid begins where almost surely at least `ranks` noisy logits lie above.
    wanted = min(ranks + 4.0 * ranks**0.5 + 6.0, len(logits) - 1e-9)
    low, high = float(logits.min()) - 6.0, log_total + _HIGHEST_TAIL
    below, above = low, high
    for _ in range(30):
        middle = 0.5 * (below + above)
        enough = float(-np.expm1(-_rates(logits, middle)).sum()) >= wanted
        below, above = (middle, above) if enough else (below, middle)
    step = min(0.35, ranks**-0.5)
    points = min(max(int((high - below) / step) + 1, 16), _MAX_GRID)
    return np.linspace(below, high, points)


def _rates(logits: NDArray[np.float64] | float, grid: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Rates at which noisy logits exceed the grid's points: with probability 1 - exp(-rate)."""
    return np.asarray(np.exp(np.minimum(logits - grid, 700.0)))
