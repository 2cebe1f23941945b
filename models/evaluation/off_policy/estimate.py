r"""Off-policy evaluation: estimates a target policy's reward from logs of the behaviour policy.

List i was shown to a user, with article :math:`a_{ik}` at position k, which was clicked or not,
:math:`r_{ik}`. The behaviour policy puts that article there with probability :math:`p_{ik}`, its
*propensity*; the target policy, given the same user, time and candidates, with probability :math:`\pi_{ik}`.
With the weights :math:`w_{ik} = \pi_{ik} / p_{ik}`, its clicks per list are estimated over n lists by

==================  ====================================================================================
estimator           value
==================  ====================================================================================
IPS                 :math:`\frac1n \sum_{i,k} w_{ik} r_{ik}` (Horvitz and Thompson, 1952): unbiased; its
                    variance grows with the weights
clipped IPS         IPS with the weights :math:`\min(w_{ik}, M)` (Ionides, "Truncated Importance
                    Sampling", 2008, with :math:`M = \sqrt n`): biased downwards, with less variance
SNIPS               :math:`\sum_k \frac{n_k}{n} \sum_i w_{ik} r_{ik} / \sum_i w_{ik}`, :math:`n_k` the lists
                    that reach position k (Swaminathan and Joachims, "The Self-Normalized Estimator for
                    Counterfactual Learning", NIPS 2015): always within the range of the rewards, with a
                    bias that falls as 1 / n; usually the one to read
doubly robust       :math:`\frac1n \sum_{i,k} (E_\pi \hat r_{ik} + w_{ik} (r_{ik} - \hat r_{ik}))` with
                    predicted clicks :math:`\hat r` (Dudík, Langford and Li, ICML 2011): unbiased if the
                    propensities are right, with less variance the better :math:`\hat r` is
==================  ====================================================================================

Summing over positions is the item-position model (Li et al., "Offline Evaluation of Ranking Policies with
Click Models", KDD 2018): the probability of a click depends on the article and its position, not on the other
articles. Clicks at position 1 (``depth`` 1) need no such assumption: that is the estimate of contextual
bandits. Both :math:`p` and :math:`\pi` are marginal over all lists that the policy may show of the
candidates, not conditional on the articles above.

**Support.** A deterministic behaviour policy (p = 1) never shows what another policy would have put there,
and the log holds no evidence of its reward. On most lists, that raises :class:`NoSupport`; on some, it is a
bias, reported as ``zero_support``. It shows in the weights, too: their mean is 1 minus the probability of
articles that were never shown.

Intervals are percentile bootstrap intervals over users with all their lists (Field and Welsh, "Bootstrapping
Clustered Data", 2007): a user's lists are correlated, and intervals over lists would be too narrow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from freshet.models.evaluation.ranking_metrics import DEFAULT_CONFIDENCE, DEFAULT_RESAMPLES, Estimate

MAX_ZERO_SUPPORT: Final = 0.5
"""Largest share of lists without support for which an estimate is made."""
OWN_NORMALISER: Final = 32
"""Last position with a SNIPS normaliser of its own; deeper ones, which few lists reach, share one."""

_CERTAIN = 1.0 - 1e-9
_CHUNK = 1 << 22
"""Counts held at once while resampling."""


class NoSupport(ValueError):
    """The log has no evidence of the target policy: what it would show was never shown."""


@dataclass(frozen=True, slots=True)
class LoggedLists:
    """Logged lists: n lists of s slots in all, one list after another.

    Raises:
        ValueError: Shapes differ, a propensity is not in (0, 1], or another probability not in [0, 1].
    """

    user: NDArray[np.int64]
    """Shape (n,): user numbers."""
    start: NDArray[np.int64]
    """Shape (n + 1,): list i has the slots in ``range(start[i], start[i + 1])``, at least one."""
    position: NDArray[np.int64]
    """Shape (s,): positions from 1."""
    reward: NDArray[np.float64]
    """Shape (s,): 1 clicked, 0 not clicked; or any other reward."""
    propensity: NDArray[np.float64]
    """Shape (s,): probability that the behaviour policy puts the article there."""
    target: NDArray[np.float64]
    """Shape (s,): probability that the target policy puts the article there."""
    predicted: NDArray[np.float64] | None = None
    """Shape (s,): reward of the article there, predicted before the list was shown."""
    expected: NDArray[np.float64] | None = None
    """Shape (s,): mean of the predicted rewards over the articles that the target policy puts there."""

    def __post_init__(self) -> None:
        slots = len(self.position)
        if len(self.start) != len(self.user) + 1 or self.start[0] != 0 or self.start[-1] != slots:
            raise ValueError(f"start must lead from 0 to {slots} slots in {len(self.user)} steps")
        if (np.diff(self.start) < 1).any():
            raise ValueError("a list without slots says nothing: leave it out")
        if (self.predicted is None) != (self.expected is None):
            raise ValueError("predicted and expected belong together")
        columns = (self.reward, self.propensity, self.target, self.predicted, self.expected)
        for column in columns:
            if column is not None and (column.shape != (slots,) or not np.isfinite(column).all()):
                raise ValueError(f"a column of slots is not {slots} finite numbers")
        if slots and not (self.propensity.min() > 0 and self.propensity.max() <= 1):
            raise ValueError("a propensity must be above 0 and at most 1")
        if slots and not (self.target.min() >= 0 and self.target.max() <= 1):
            raise ValueError("a probability must be between 0 and 1")

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True, slots=True)
class OffPolicyEstimate:
    """Estimated clicks per list of the target policy, with diagnostics."""

    depth: int | None
    """Last position whose clicks are counted; ``None`` for all."""
    lists: int
    users: int
    confidence: float
    on_policy: Estimate
    """Clicks per list of the behaviour policy."""
    ips: Estimate
    clipped: Estimate
    snips: Estimate
    doubly_robust: Estimate | None
    """``None`` without predicted rewards."""
    gain: Estimate
    """SNIPS minus the behaviour policy's clicks, resampled in pairs."""
    mean_weight: Estimate
    """Mean weight, 1 if the propensities are right and the support is complete."""
    clip: float
    """M of clipped IPS."""
    clipped_slots: int
    largest_weight: float
    effective_sample_size: float
    """Number of lists of weight 1 with as much evidence: :func:`effective_sample_size` of the slots' weights
    over the slots per list."""
    zero_support: float
    """Share of lists with a position that is deterministic, and where the target policy may show another
    article."""
    deterministic: float
    """Share of lists whose positions are all deterministic."""


def estimate(
    lists: LoggedLists,
    *,
    depth: int | None = None,
    clip: float | None = None,
    resamples: int = DEFAULT_RESAMPLES,
    confidence: float = DEFAULT_CONFIDENCE,
    seed: int = 0,
) -> OffPolicyEstimate:
    """Estimate the target policy's clicks per list.

    Args:
        lists: The logged lists.
        depth: Last position whose clicks are counted; 1 counts clicks at position 1.
        clip: M of clipped IPS; by default the square root of the number of lists.
        resamples: Number of bootstrap samples of users.
        confidence: Coverage of the intervals.
        seed: Seed of the resampling.

    Raises:
        NoSupport: No list has a slot within ``depth``, all weights are 0, or more than
            :data:`MAX_ZERO_SUPPORT` of the lists have no support.
        ValueError: ``depth`` or ``clip`` is not positive.

    >>> lists = LoggedLists(
    ...     user=np.array([1, 2]),
    ...     start=np.array([0, 1, 2]),
    ...     position=np.array([1, 1]),
    ...     reward=np.array([1.0, 0.0]),
    ...     propensity=np.array([0.5, 0.5]),
    ...     target=np.array([0.9, 0.1]),
    ... )
    >>> round(estimate(lists).snips.mean, 2)
    0.9
    """
    if depth is not None and depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be above 0, got {clip}")
    if not len(lists):
        raise NoSupport("no list was shown: there is nothing to estimate from")
    n = len(lists)
    counted = lists.position <= (math.inf if depth is None else depth)
    if not counted.any():
        raise NoSupport(f"no list reaches the first {depth} positions: there is nothing to estimate from")
    of_list = np.repeat(np.arange(n), np.diff(lists.start))[counted]
    certain = lists.propensity[counted] >= _CERTAIN
    unsupported = _any(of_list, certain & (lists.target[counted] < _CERTAIN), n)
    zero_support = float(unsupported.mean())
    deterministic = float((~_any(of_list, ~certain, n)).mean())
    _refuse_without_support(zero_support, deterministic)
    weight = lists.target[counted] / lists.propensity[counted]
    if not weight.any():
        raise NoSupport(
            "the ranker would put no article where it was shown, on no list of the log: all weights are 0, "
            "and nothing says what its clicks would be. A temperature (--temperature) makes it overlap."
        )
    clip = math.sqrt(n) if clip is None else clip
    sums = _Sums.of(lists, counted, of_list, weight, clip)
    values = sums.values(np.ones((1, len(sums.lists))))[0]
    low, high = _intervals(sums, resamples, confidence, seed)
    found = [Estimate(*map(float, figures)) for figures in zip(values, low, high, strict=True)]
    on_policy, ips, clipped, snips, doubly_robust, gain, mean_weight = found
    return OffPolicyEstimate(
        depth=depth,
        lists=n,
        users=len(sums.lists),
        confidence=confidence,
        on_policy=on_policy,
        ips=ips,
        clipped=clipped,
        snips=snips,
        doubly_robust=None if lists.predicted is None else doubly_robust,
        gain=gain,
        mean_weight=mean_weight,
        clip=clip,
        clipped_slots=int((weight > clip).sum()),
        largest_weight=float(weight.max()),
        effective_sample_size=effective_sample_size(weight) * n / len(weight),
        zero_support=zero_support,
        deterministic=deterministic,
    )


def effective_sample_size(weights: NDArray[np.float64]) -> float:
    r"""Effective sample size :math:`(\sum w)^2 / \sum w^2` of weights (n,), from 1 to n; 0 if all are 0.

    It is the number of equal weights whose mean has the same variance (Kish, "Survey Sampling", 1965).

    >>> effective_sample_size(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    largest = float(weights.max(initial=0.0))
    if not largest:
        return 0.0
    scaled = weights / largest
    return float(scaled.sum() ** 2 / (scaled**2).sum())


def _refuse_without_support(zero_support: float, deterministic: float) -> None:
    if zero_support <= MAX_ZERO_SUPPORT:
        return
    how = (
        "the policy that served was deterministic (propensity 1) on every list"
        if deterministic == 1.0
        else f"the policy that served left no choice (propensity 1) on {zero_support:.0%} of the lists"
    )
    raise NoSupport(
        f"{how}, and the ranker would have shown something else there: the log cannot say how that would "
        "have fared, and no weighting can make up for it. Serve with exploration (a policy that draws its "
        "lists and logs the propensities), or compare the two in an experiment."
    )


def _any(of_list: NDArray[np.int64], slots: NDArray[np.bool_], lists: int) -> NDArray[np.bool_]:
    found = np.zeros(lists, np.bool_)
    found[of_list[slots]] = True
    return found


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums of each user, from which all estimates are computed; u users, b positions with a normaliser."""

    # (u,)
    lists: NDArray[np.float64]
    reward: NDArray[np.float64]
    weighted: NDArray[np.float64]
    clipped: NDArray[np.float64]
    doubly_robust: NDArray[np.float64]
    # (u, b)
    weight_at: NDArray[np.float64]
    weighted_at: NDArray[np.float64]
    slots_at: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        lists: LoggedLists,
        counted: NDArray[np.bool_],
        of_list: NDArray[np.int64],
        weight: NDArray[np.float64],
        clip: float,
    ) -> _Sums:
        _, user = np.unique(lists.user, return_inverse=True)
        users = int(user.max()) + 1
        of_user = user[of_list]
        normaliser = np.minimum(lists.position[counted], OWN_NORMALISER + 1) - 1
        width = int(normaliser.max()) + 1
        reward = lists.reward[counted]
        weighted = weight * reward
        robust = np.zeros(len(reward))
        if lists.predicted is not None and lists.expected is not None:
            robust = lists.expected[counted] + weight * (reward - lists.predicted[counted])

        def by_user(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.bincount(of_user, weights=values, minlength=users).astype(np.float64)

        def by_position(values: NDArray[np.float64]) -> NDArray[np.float64]:
            place = of_user * width + normaliser
            sums = np.bincount(place, weights=values, minlength=users * width)
            return sums.astype(np.float64).reshape(users, width)

        return cls(
            np.bincount(user, minlength=users).astype(np.float64),
            by_user(reward),
            by_user(weighted),
            by_user(np.minimum(weight, clip) * reward),
            by_user(robust),
            by_position(weight),
            by_position(weighted),
            by_position(np.ones(len(reward))),
        )

    def values(self, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the 7 estimates (r, 7) of r resamples that draw each user ``drawn`` (r, u) times."""
        lists = drawn @ self.lists
        on_policy = drawn @ self.reward / lists
        weight, slots = drawn @ self.weight_at, drawn @ self.slots_at
        # A position without any weight has no evidence of clicks.
        rate = np.divide(drawn @ self.weighted_at, weight, out=np.zeros_like(weight), where=weight > 0)
        snips = (slots * rate).sum(axis=1) / lists
        return np.column_stack(
            [
                on_policy,
                drawn @ self.weighted / lists,
                drawn @ self.clipped / lists,
                snips,
                drawn @ self.doubly_robust / lists,
                snips - on_policy,
                weight.sum(axis=1) / slots.sum(axis=1),
            ]
        )


def _intervals(
    sums: _Sums, resamples: int, confidence: float, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    users = len(sums.lists)
    at_once = max(1, _CHUNK // users)
    found = []
    for first in range(0, resamples, at_once):
        rows = min(at_once, resamples - first)
        drawn = np.empty((rows, users))
        for row in drawn:
            row[:] = np.bincount(random.integers(0, users, users), minlength=users)
        found.append(sums.values(drawn))
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(np.concatenate(found), (tail, 1.0 - tail), axis=0)
    return low, high
