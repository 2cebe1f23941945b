r"""Sequential test of two variants, valid after every impression.

**Why not a t-test.** Its 5 % hold for one look, fixed beforehand. Looking after every impression and stopping
at the first p below 0.05 finds a difference between two equal variants in a third of all experiments, and
eventually in all. The p-value here is *always valid*: under no difference,
:math:`P(\exists t: p_t \le \alpha) \le \alpha`, however often one looks and whenever one stops.

**The test** is the mixture sequential probability ratio test (Robbins, "Statistical methods related to the
law of the iterated logarithm", 1970; Johari, Pekelis and Walsh, "Always valid inference: bringing sequential
analysis to A/B testing", 2015, eqs. 10 and 11). With D the difference of the two variants' ratios, V the
variance of D, and the effect's prior :math:`N(0, \tau^2)`, the evidence against no difference is

.. math:: \Lambda = \sqrt{\frac{V}{V + \tau^2}} \exp\left(\frac{\tau^2 D^2}{2 V (V + \tau^2)}\right), \quad
          p_t = \min_{s \le t} \min(1, 1 / \Lambda_s)

and the interval of all differences that it does not reject, at every moment at once,

.. math:: D \pm \sqrt{\frac{V (V + \tau^2)}{\tau^2}
          \left(2 \log\frac{1}{\alpha} + \log\frac{V + \tau^2}{V}\right)},

which is also the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas
("Time-uniform central limit theory and asymptotic confidence sequences", 2021, theorem 2.2) with
:math:`t \rho^2 = \tau^2 / V`. Any :math:`\tau` that was fixed beforehand is valid; the test is quickest where
it is about the effect's size.

**The unit is the user.** Assignment is by user, and the impressions of one are not independent: an eager
reader clicks in all of them. A variance over impressions would be too small and would find differences that
are not there. So values and weights are summed for each user, and the variance of the ratio
:math:`R = \sum y_u / \sum n_u` is that of a cluster sample (the delta method; Deng, Knoblich and Lu,
"Applying the delta method in metric analytics", 2018, section 3):

.. math:: V(R) = \frac{U}{U - 1} \frac{\sum_u (y_u - R n_u)^2}{(\sum_u n_u)^2}.

**Limits.** The test rests on the central limit theorem: it starts only after ``min_users`` users of each
variant. A ratio's variance grows with its noisiest users: exclude bots beforehand. Impressions of returning
users are exactly independent increments only where all users come back equally
often; ``tests/unit/models/experiments/test_sequential_test.py`` holds the error to alpha where they do not. A
running experiment whose effect changes over time is tested for its mean so far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

MIN_USERS: Final = 100
"""Users of each variant before the first look: with fewer, a sum of rare clicks is far from normal."""

Numbers = TypeVar("Numbers", float, NDArray[np.float64])
"""A number of one experiment, or an array with one number per experiment."""


class ClusteredRatio:
    """Ratio of two sums over a variant's users, with the variance of a cluster sample, updated in O(1).

    >>> ratio = ClusteredRatio()
    >>> ratio.add_observation("U1", value=2.0, weight=10.0)
    >>> ratio.add_observation("U2", value=0.0, weight=10.0)
    >>> ratio.ratio, ratio.users
    (0.1, 2)
    """

    def __init__(self) -> None:
        self._of_user: dict[str, tuple[float, float]] = {}
        self.total = 0.0
        """Numerator of the ratio."""
        self.weight = 0.0
        """Denominator of the ratio."""
        self._yy = self._yn = self._nn = 0.0

    def add_observation(self, user_id: str, value: float, weight: float = 1.0) -> None:
        """Adds an observation of a user.

        Args:
            user_id: The user observed.
            value: Term of the numerator: clicks, or an AUC.
            weight: Term of the denominator: 1 for a mean per impression, slots for a click-through rate.

        Raises:
            ValueError: ``value`` or ``weight`` is not finite.
        """
        if not (math.isfinite(value) and math.isfinite(weight)):
            raise ValueError(f"user {user_id}: the observation {value!r} of weight {weight!r} is not finite")
        y, n = self._of_user.get(user_id, (0.0, 0.0))
        self._of_user[user_id] = (y + value, n + weight)
        self.total += value
        self.weight += weight
        self._yy += value * (2.0 * y + value)
        self._yn += value * n + weight * y + value * weight
        self._nn += weight * (2.0 * n + weight)

    @property
    def users(self) -> int:
        """Number of users observed."""
        return len(self._of_user)

    @property
    def ratio(self) -> float:
        """Numerator over denominator; NaN before the first observation."""
        return self.total / self.weight if self.weight else math.nan

    @property
    def variance(self) -> float:
        """Variance of :attr:`ratio` with the user as the unit; NaN for fewer than two users."""
        if self.users <= 1 or not self.weight:
            return math.nan
        return cluster_variance(
            float(self.users), self.total, self.weight, yy=self._yy, yn=self._yn, nn=self._nn
        )

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Normal confidence interval of the ratio for one look; NaN for fewer than two users."""
        half = NormalDist().inv_cdf(0.5 + confidence / 2.0) * math.sqrt(self.variance)
        return self.ratio - half, self.ratio + half


def cluster_variance(
    users: Numbers, y: Numbers, n: Numbers, *, yy: Numbers, yn: Numbers, nn: Numbers
) -> Numbers:
    """Variance of ``y / n``, both summed over ``users``, from the sums of squares and products by user.

    ``yy``, ``yn`` and ``nn`` are the sums over users of :math:`y_u^2`, :math:`y_u n_u` and :math:`n_u^2` in
    the module's formula. Each is a number or has the shape (experiments,).
    """
    ratio = y / n
    squares = yy - 2.0 * ratio * yn + ratio * ratio * nn
    # Rounding can take what should be 0 below it.
    return 0.5 * (squares + abs(squares)) * users / ((users - 1.0) * n * n)


def log_evidence(difference: Numbers, variance: Numbers, effect_sd: Numbers) -> Numbers:
    r"""Logarithm of the evidence :math:`\Lambda` against no difference, see the module.

    Args:
        difference: D, a number or shape (experiments,).
        variance: V, above 0.
        effect_sd: :math:`\tau`, in the units of D.
    """
    prior = effect_sd * effect_sd
    both = variance + prior
    log: Numbers = np.log(variance / both)
    return 0.5 * log + 0.5 * prior * difference * difference / (variance * both)


def half_width(variance: float, effect_sd: float, alpha: float = 0.05) -> float:
    """Half of the always-valid interval around D, see the module; infinite without variance or prior."""
    prior = effect_sd * effect_sd
    if not (variance > 0.0 and prior > 0.0):
        return math.inf
    both = variance + prior
    return math.sqrt(variance * both / prior * (2.0 * math.log(1.0 / alpha) + math.log(both / variance)))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of a sequential test after its last look."""

    difference: float
    """Ratio of the treatment less that of the control; NaN before both were observed."""
    low: float
    high: float
    """Upper end of the always-valid interval at level ``1 - alpha``; infinite before ``min_users``."""
    p_value: float
    """Always-valid p-value: the smallest of all looks."""
    decided_after: int | None
    """Number of looks until the p-value was first at most alpha; ``None`` if it never was."""
    looks: int
    alpha: float

    @property
    def decided(self) -> bool:
        """Whether the variants differ, at error rate ``alpha``."""
        return self.decided_after is not None


@dataclass(slots=True)
class SequentialTest:
    """Compares a treatment with a control as the caller adds observations to both.

    Raises:
        ValueError: ``expected_effect`` is not above 0, or ``alpha`` not between 0 and 1.
    """

    control: ClusteredRatio
    treatment: ClusteredRatio
    expected_effect: float = field(default=0.05, kw_only=True)
    """Difference worth finding, as a share of the pooled ratio, fixed before the experiment: the prior's
    standard deviation is that share."""
    alpha: float = field(default=0.05, kw_only=True)
    """False-positive rate over all looks together."""
    min_users: int = field(default=MIN_USERS, kw_only=True)
    """Users of each variant before a look counts."""
    _log_evidence: float = field(default=0.0, init=False)
    _looks: int = field(default=0, init=False)
    _decided_after: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not (self.expected_effect > 0.0 and 0.0 < self.alpha < 1.0):
            raise ValueError(
                f"expected_effect is {self.expected_effect!r} and alpha {self.alpha!r}; the one must be "
                "above 0 and the other between 0 and 1"
            )

    def look(self) -> float:
        """Looks at the observations so far; returns the always-valid p-value."""
        self._looks += 1
        if min(self.control.users, self.treatment.users) >= self.min_users:
            variance = self.control.variance + self.treatment.variance
            effect_sd = self._effect_sd()
            if variance > 0.0 and effect_sd > 0.0:
                difference = self.treatment.ratio - self.control.ratio
                now = log_evidence(difference, variance, effect_sd)
                self._log_evidence = max(self._log_evidence, now)
                if self._decided_after is None and self.p_value <= self.alpha:
                    self._decided_after = self._looks
        return self.p_value

    @property
    def p_value(self) -> float:
        """Always-valid p-value: the smallest of all looks so far."""
        return math.exp(-self._log_evidence)

    def comparison(self) -> Comparison:
        """Result of the looks so far."""
        difference = self.treatment.ratio - self.control.ratio
        half = math.inf
        if min(self.control.users, self.treatment.users) >= self.min_users:
            variance = self.control.variance + self.treatment.variance
            half = half_width(variance, self._effect_sd(), self.alpha)
        return Comparison(
            difference=difference,
            low=difference - half,
            high=difference + half,
            p_value=self.p_value,
            decided_after=self._decided_after,
            looks=self._looks,
            alpha=self.alpha,
        )

    def _effect_sd(self) -> float:
        """Standard deviation of the prior, from the pooled ratio, which hardly depends on D."""
        control, treatment = self.control, self.treatment
        pooled = (control.total + treatment.total) / (control.weight + treatment.weight)
        return self.expected_effect * abs(pooled)
