r"""Assignment of users to the variants of an experiment, and the test for a sample-ratio mismatch.

**Assignment** is a function of the experiment and the user's id alone: every worker comes to the same answer
without asking another, after any restart. A hash of salt and id puts a user into one of 10,000 buckets, and
each bucket belongs to a variant or to none (Tang, Agarwal, O'Brien and Meyer, "Overlapping experiment
infrastructure", 2010). Guarantees:

- Users spread over the buckets uniformly, and over those of two experiments independently (by their salts),
  so no experiment biases another's groups or moves another's users.
- :func:`reshared` moves as few users as possible: the share that variants lose. A function of the shares
  alone cannot do that (Bavarian, Ghazi, Haramaty, Kamath, Rivest and Sudan, "Optimality of correlated
  sampling strategies", 2016, theorem 3: up to twice as many), so the experiment carries the buckets of each
  variant.

**Sample-ratio mismatch**: if the users counted deviate from the shares by which they were assigned, users of
one variant are lost (the variant crashes, or trips a bot filter), and a comparison of the remaining users is
not valid (Fabijan et al., "Diagnosing sample ratio mismatch in online controlled experiments", 2019).
:func:`sample_ratio` gives the p-value of the chi-square test for one look, and an always-valid one.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, chain, groupby, repeat
from typing import Final

from freshet.models.events.experiment import BUCKETS, Experiment, Segment, Variant, bucket_counts

MISMATCH_P_VALUE: Final = 0.001
"""P-value below which the check fails; Fabijan et al. recommend a threshold from 0.0005 to 0.01."""


class Assigner:
    """Assigns users to the variants of an experiment, in about a microsecond each."""

    def __init__(self, experiment: Experiment) -> None:
        segments = experiment.all_segments()
        variants = {variant.name: variant for variant in experiment.variants}
        self.experiment = experiment
        self._ends = list(accumulate(segment.buckets for segment in segments))
        self._variants = [
            None if segment.variant is None else variants[segment.variant] for segment in segments
        ]

    def variant(self, user_id: str) -> Variant | None:
        """The user's variant; ``None`` for a user outside the experiment."""
        return self._variants[bisect_right(self._ends, bucket(self.experiment.salt, user_id))]


def bucket(salt: str, user_id: str) -> int:
    """Bucket of a user, from 0 to ``BUCKETS - 1``: a keyed hash, uniform for any ids.

    >>> bucket("salt-of-the-test", "U1") == bucket("salt-of-the-test", "U1")
    True
    """
    # The length keeps ("ab", "c") apart from ("a", "bc").
    named = f"{len(salt)}:{salt}{user_id}".encode()
    return int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "big") % BUCKETS


def reshared(experiment: Experiment, variants: Sequence[Variant], at: datetime) -> Experiment:
    """The experiment with other variants or shares from ``at`` on; as few users as possible change variant.

    The share of users who change is the sum of the variants' losses (the users in no variant count as one):
    half the L1 distance of the shares, the lower bound of any assignment.

    Raises:
        ValidationError: The variants do not make an experiment, or there are too many segments.
    """
    names = [variant.name for variant in variants]
    missing: dict[str | None, int] = dict(
        zip(names, bucket_counts([variant.share for variant in variants]), strict=True)
    )
    missing[None] = BUCKETS - sum(missing.values())
    holders: list[str | None] = []  # of each bucket
    keeps: list[bool] = []
    for segment in experiment.all_segments():
        kept = min(segment.buckets, max(0, missing.get(segment.variant, 0)))
        if kept:
            missing[segment.variant] -= kept
        holders += [segment.variant] * segment.buckets
        keeps += [True] * kept + [False] * (segment.buckets - kept)
    new_holders = chain.from_iterable(repeat(name, count) for name, count in missing.items())
    given = [holder if kept else next(new_holders) for holder, kept in zip(holders, keeps, strict=True)]
    segments = [Segment(buckets=len(list(run)), variant=name) for name, run in groupby(given)]
    changed = {"variants": tuple(variants), "segments": tuple(segments), "shares_since": at}
    return Experiment(**(dict(experiment) | changed))


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Agreement of the users counted with the variants' shares."""

    chi_square: float
    p_value: float
    """P-value of the chi-square test, for one look."""
    watched_p_value: float
    """Always-valid p-value: ever below alpha with probability alpha at most, however often one looks."""

    @property
    def mismatch(self) -> bool:
        """Whether the sample ratio invalidates a comparison of the variants."""
        return self.p_value < MISMATCH_P_VALUE


_PRIOR_USERS = 1_000.0
"""Concentration of the Dirichlet prior, which detects mismatches of one or two percent soonest."""


def sample_ratio(users: Sequence[int], shares: Sequence[float]) -> SampleRatio:
    r"""Tests the users counted in each variant against the variants' shares.

    With n users, counts :math:`n_i` and shares :math:`\theta_i` that sum to 1, the statistic is
    :math:`\sum_i (n_i - n \theta_i)^2 / (n \theta_i)` (Pearson, 1900). The p-value to watch is one over the
    Bayes factor of a Dirichlet prior with parameters :math:`c \theta_i` against the shares (Lindon and Malek,
    "Anytime-valid inference for multinomial count data", 2022, eq. 7); its smallest value so far counts.

    Args:
        users: Number of users seen in each variant.
        shares: Share of each variant, above 0; normalised to sum to 1.

    Raises:
        ValueError: ``users`` and ``shares`` differ in length, or a share is not above 0.

    >>> sample_ratio([480, 520], [0.5, 0.5]).mismatch
    False
    """
    if len(users) != len(shares) or not shares or min(shares) <= 0.0:
        raise ValueError(f"users {list(users)} do not go with shares {list(shares)}, each above 0")
    n, total = sum(users), math.fsum(shares)
    expected = [share / total for share in shares]
    if n == 0 or len(shares) == 1:
        return SampleRatio(0.0, 1.0, 1.0)
    chi_square = math.fsum(
        (count - n * theta) ** 2 / (n * theta) for count, theta in zip(users, expected, strict=True)
    )
    log_factor = math.lgamma(_PRIOR_USERS) - math.lgamma(_PRIOR_USERS + n)
    for count, theta in zip(users, expected, strict=True):
        prior = _PRIOR_USERS * theta
        log_factor += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(theta)
    return SampleRatio(
        chi_square, chi_square_tail(chi_square, len(shares) - 1), math.exp(min(0.0, -log_factor))
    )


def chi_square_tail(value: float, degrees: int) -> float:
    """Probability that a chi-square variable with ``degrees`` of freedom is at least ``value``.

    The regularised upper incomplete gamma function Q(degrees / 2, value / 2), by its recurrence in the first
    argument from Q(1/2, x) = erfc(sqrt x) or Q(1, x) = exp(-x) (DLMF 8.4.6 and 8.8.6).

    Raises:
        ValueError: ``value`` is negative, or ``degrees`` less than 1.
    """
    if not value >= 0.0 or degrees < 1:
        raise ValueError(f"chi-square {value!r} of {degrees} degrees of freedom: no such thing")
    x = value / 2.0
    if x == 0.0:
        return 1.0
    a = 0.5 if degrees % 2 else 1.0
    tail = math.erfc(math.sqrt(x)) if degrees % 2 else math.exp(-x)
    while a < degrees / 2.0:
        tail += math.exp(a * math.log(x) - x - math.lgamma(a + 1.0))
        a += 1.0
    return min(1.0, tail)
