r"""Off-policy evaluation: what another ranker's clicks would have been, from a log of the one that served.

A list i was shown to a user; at position k stood article :math:`a_{ik}`, which was clicked or not,
:math:`r_{ik}`. The policy that served puts that article there with probability :math:`p_{ik}`, its
*propensity*; the ranker to be judged, given the same user, moment and candidates, with probability
:math:`\pi_{ik}`. With the weights :math:`w_{ik} = \pi_{ik} / p_{ik}` the clicks per list that it would have
had are estimated, over n lists, by

==================  ====================================================================================
estimator           value
==================  ====================================================================================
IPS                 :math:`\frac1n \sum_{i,k} w_{ik} r_{ik}` (Horvitz and Thompson, 1952): unbiased; its
                    variance grows with the weights
clipped IPS         the same with :math:`\min(w_{ik}, M)` (Ionides, "Truncated Importance Sampling",
                    2008; M is :math:`\sqrt n` there and here): biased downwards, steadier
SNIPS               :math:`\sum_k \frac{n_k}{n} \sum_i w_{ik} r_{ik} / \sum_i w_{ik}`, :math:`n_k` the lists
                    that reach position k (Swaminathan and Joachims, "The Self-Normalized Estimator for
                    Counterfactual Learning", NIPS 2015): never outside what clicks can be, its bias falls
                    as 1 / n; usually the one to read
doubly robust       :math:`\frac1n \sum_{i,k} (E_\pi \hat r_{ik} + w_{ik} (r_{ik} - \hat r_{ik}))` with
                    predicted clicks :math:`\hat r` (Dudík, Langford and Li, ICML 2011): unbiased if the
                    propensities are right, whatever :math:`\hat r` is, and steadier the better it is
==================  ====================================================================================

Summing over positions is the item-position model (Li et al., "Offline Evaluation of Ranking Policies with
Click Models", KDD 2018): it is right if the chance of a click depends on the article and its position, not
on what stands beside it. Clicks at position 1 (``depth`` 1) need no such assumption: that is the contextual
bandit's own estimate. Both :math:`p` and :math:`\pi` are of the article at the position *over all lists* that
the policy may show, given the candidates; not given the articles above it.

**What no estimator can do.** Where the policy that served was deterministic (p = 1), it never showed what
another would have put there, and nothing in the log says how that would have fared: :class:`NoSupport`, if so
on most lists; a bias, told as ``zero_support``, if on some. The weights tell of it too: their mean is 1 where
everything is in order, and less by the probability of what was never shown.

Intervals are percentile bootstrap intervals in which users are drawn, with all their lists (Field and Welsh,
"Bootstrapping Clustered Data", 2007): a user's lists are alike, and as if independent they promise too much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from freshet.models.evaluation.ranking_metrics import DEFAULT_CONFIDENCE, DEFAULT_RESAMPLES, Estimate

MAX_ZERO_SUPPORT: Final = 0.5
"""An estimate is refused where more than this share of the lists has no support."""
OWN_NORMALISER: Final = 32
"""Deeper positions share one normaliser of SNIPS: few lists reach them."""

_CERTAIN = 1.0 - 1e-9
_CHUNK = 1 << 22
"""Numbers held at once while resampling."""


class NoSupport(ValueError):
    """The log cannot say anything about the ranker: what it would show was never shown."""


@dataclass(frozen=True, slots=True)
class LoggedLists:
    """Lists that were shown, slot by slot; n lists of s slots in all, one list after another.

    Raises:
        ValueError: Shapes differ, a propensity is not in (0, 1], or another probability not in [0, 1].
    """

    user: NDArray[np.int64]
    """Shape (n,): a number of each list's user."""
    start: NDArray[np.int64]
    """Shape (n + 1,): list i has the slots ``start[i]`` to before ``start[i + 1]``; at least one."""
    position: NDArray[np.int64]
    """Shape (s,): 1 is the first."""
    reward: NDArray[np.float64]
    """Shape (s,): 1 clicked, 0 not; or any other gain."""
    propensity: NDArray[np.float64]
    """Shape (s,): that the policy which served puts the article there."""
    target: NDArray[np.float64]
    """Shape (s,): that the ranker to be judged does."""
    predicted: NDArray[np.float64] | None = None
    """Shape (s,): the reward expected of the article there, known before the list was shown."""
    expected: NDArray[np.float64] | None = None
    """Shape (s,): the mean of ``predicted`` over what the ranker to be judged puts there."""

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
    """Clicks per list of the ranker to be judged, with what is to be known of the estimate."""

    depth: int | None
    """Clicks at the first so many positions are counted; all where ``None``."""
    lists: int
    users: int
    confidence: float
    on_policy: Estimate
    """Of the policy that served: what was really clicked."""
    ips: Estimate
    clipped: Estimate
    snips: Estimate
    doubly_robust: Estimate | None
    """Unset where no rewards were predicted."""
    gain: Estimate
    """SNIPS less the value on policy, resampled together."""
    mean_weight: Estimate
    """1 if the propensities are right and all that the ranker shows could have been shown."""
    clip: float
    """M of clipped IPS."""
    clipped_slots: int
    largest_weight: float
    effective_sample_size: float
    """As many lists of weight 1 would say as much: :func:`effective_sample_size` of the slots' weights,
    divided by the slots per list."""
    zero_support: float
    """The share of lists with a position at which one article alone could stand, and the ranker would put
    another there with some probability."""
    deterministic: float
    """The share of lists at which one article alone could stand at every position."""


def estimate(
    lists: LoggedLists,
    *,
    depth: int | None = None,
    clip: float | None = None,
    resamples: int = DEFAULT_RESAMPLES,
    confidence: float = DEFAULT_CONFIDENCE,
    seed: int = 0,
) -> OffPolicyEstimate:
    """Estimate another ranker's clicks per list.

    Args:
        lists: What was shown.
        depth: Count the first so many positions; 1: clicks at position 1.
        clip: M of clipped IPS; the root of the number of lists where it is not given.
        resamples: Bootstrap samples of users.
        confidence: Of the intervals.
        seed: Of the resampling.

    Raises:
        NoSupport: No list has a slot within ``depth``, or on more than :data:`MAX_ZERO_SUPPORT` of the lists,
            or everywhere in effect, what the ranker would show was never shown.
        ValueError: ``depth`` or ``clip`` is not positive.
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
    r""":math:`(\sum w)^2 / \sum w^2` of weights (n,), from 1 to n; 0 where all are 0.

    How many equal weights have a mean as steady (Kish, "Survey Sampling", 1965).
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
    """Each user's sums, of which every estimate is a function; u users, b positions with a normaliser."""

    lists: NDArray[np.float64]
    """Shape (u,), as the next four."""
    reward: NDArray[np.float64]
    weighted: NDArray[np.float64]
    clipped: NDArray[np.float64]
    doubly_robust: NDArray[np.float64]
    weight_at: NDArray[np.float64]
    """Shape (u, b), as the next two."""
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
        """The estimates, shape (b, 7), when each user is drawn ``drawn`` (b, users) times."""
        lists = drawn @ self.lists
        on_policy = drawn @ self.reward / lists
        weight, slots = drawn @ self.weight_at, drawn @ self.slots_at
        # Where a position has no weight at all there is no evidence of clicks.
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
