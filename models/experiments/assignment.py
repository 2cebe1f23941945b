r"""Experiments: which variant of the service a user gets, and whether as many got each as should have.

**Assignment** is a function of the experiment and the user's id, nothing else: every worker comes to the same
answer without asking another, after any restart. A hash of salt and id puts a user into one of 10,000
buckets, and each bucket belongs to a variant or to none (Tang, Agarwal, O'Brien and Meyer, "Overlapping
experiment infrastructure", 2010). Guarantees:

- Users spread over the buckets uniformly, and over those of two experiments independently (by their salts),
  so no experiment tilts another's groups and none moves another's users.
- :func:`reshared` moves as few users as possible: the share that variants lose, no more. A function of the
  shares alone cannot do that (Bavarian, Ghazi, Haramaty, Kamath, Rivest and Sudan, "Optimality of correlated
  sampling strategies", 2016, theorem 3: up to twice as many), so the experiment carries who has which
  buckets.

**Sample-ratio mismatch**: if the users counted do not come in the proportions in which they were assigned,
something loses users of one variant (a variant that crashes, a bot filter that it trips), and no comparison
of those that are left can be believed (Fabijan et al., "Diagnosing sample ratio mismatch in online controlled
experiments", 2019). :func:`sample_ratio` gives the chi-square test, right for one look, and a p-value that
may be watched.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Final

from freshet.models.events.experiment import BUCKETS, Experiment, Segment, Variant, bucket_counts

MISMATCH_P_VALUE: Final = 0.001
"""A sample-ratio check below this has failed: Fabijan et al. recommend to alarm between 0.0005 and 0.01."""


class Assigner:
    """Which variant each user gets; a microsecond a user.

    Args:
        experiment: Whose variants.
    """

    def __init__(self, experiment: Experiment) -> None:
        segments = experiment.all_segments()
        variants = {variant.name: variant for variant in experiment.variants}
        self.experiment = experiment
        self._ends = list(accumulate(segment.buckets for segment in segments))
        self._variants = [
            None if segment.variant is None else variants[segment.variant] for segment in segments
        ]

    def variant(self, user_id: str) -> Variant | None:
        """The user's variant; none where the user is not in the experiment."""
        return self._variants[bisect_right(self._ends, bucket(self.experiment.salt, user_id))]


def bucket(salt: str, user_id: str) -> int:
    """The bucket of a user, from 0 to ``BUCKETS - 1``: a keyed hash, uniform for any ids."""
    # The length keeps ("ab", "c") apart from ("a", "bc").
    named = f"{len(salt)}:{salt}{user_id}".encode()
    return int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "big") % BUCKETS


def reshared(experiment: Experiment, variants: Sequence[Variant], at: datetime) -> Experiment:
    """The experiment with other variants or shares from ``at`` on; as few users change theirs as possible.

    The share of users who change is the sum of what variants lose (those that are gone lose all, and so does
    the rest that is in no variant): half the L1 distance of the shares, below which no assignment can be.

    Raises:
        ValidationError: The variants do not make an experiment, or their segments are too many.
    """
    target: dict[str | None, int] = {}
    for variant, count in zip(variants, bucket_counts([v.share for v in variants]), strict=True):
        target[variant.name] = count
    target[None] = BUCKETS - sum(target.values())
    missing = dict(target)
    kept: list[tuple[str | None, int, bool]] = []
    for segment in experiment.all_segments():
        keeps = min(segment.buckets, missing.get(segment.variant, 0))
        if keeps:
            missing[segment.variant] -= keeps
            kept.append((segment.variant, keeps, True))
        if segment.buckets > keeps:
            kept.append((None, segment.buckets - keeps, False))
    given: list[tuple[str | None, int]] = []
    wanting = [(name, count) for name, count in missing.items() if count]
    for holder, count, keeps_it in kept:
        if keeps_it:
            given.append((holder, count))
            continue
        free = count
        while free:
            name, wanted = wanting.pop(0)
            taken = min(free, wanted)
            given.append((name, taken))
            free -= taken
            if wanted > taken:
                wanting.insert(0, (name, wanted - taken))
    segments: list[Segment] = []
    for name, count in given:
        if segments and segments[-1].variant == name:
            segments[-1] = Segment(buckets=segments[-1].buckets + count, variant=name)
        else:
            segments.append(Segment(buckets=count, variant=name))
    fields = {name: getattr(experiment, name) for name in Experiment.model_fields}
    changed = {"variants": tuple(variants), "segments": tuple(segments), "shares_since": at}
    return Experiment(**(fields | changed))


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Whether users came in the proportions of the shares."""

    chi_square: float
    p_value: float
    """Of the chi-square test, for one look."""
    watched_p_value: float
    """May be looked at after every user: below alpha ever, with probability alpha at most."""

    @property
    def mismatch(self) -> bool:
        """Whether the comparison of the variants cannot be believed."""
        return self.p_value < MISMATCH_P_VALUE


_PRIOR_USERS = 1_000.0
"""Concentration of the Dirichlet prior: mismatches of one or two percent are found soonest."""


def sample_ratio(users: Sequence[int], shares: Sequence[float]) -> SampleRatio:
    r"""Test the users counted of each variant against the variants' shares.

    With n users, counts :math:`n_i` and shares :math:`\theta_i` that sum to 1, the statistic is
    :math:`\sum_i (n_i - n \theta_i)^2 / (n \theta_i)` (Pearson, 1900). The p-value to watch is one over the
    Bayes factor of a Dirichlet prior with parameters :math:`c \theta_i` against the shares (Lindon and Malek,
    "Anytime-valid inference for multinomial count data", 2022, eq. 7); its smallest value so far counts.

    Args:
        users: How many were seen of each variant.
        shares: Of each variant, above 0; made to sum to 1 here.

    Raises:
        ValueError: There are other numbers of users than of shares, or a share is not above 0.
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
    """The probability that a chi-square variable of ``degrees`` of freedom is ``value`` or larger.

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
